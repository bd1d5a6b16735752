"""Nothing that reaches the browser tells models apart: every byte of two hundred tasks is looked at."""

import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from scipy.stats import binom

from annotation_app.create import StudyPlan, create_study
from annotation_app.settings import StudySettings
from tests.annotation_app.conftest import MODELS, PLAIN, SMALL, Served, start_server, vote_over_http, write_bench
from ti2v_bench.bench import Bench
from ti2v_bench.video import write_video

PAIRS = 14
ENCODER_TAGS = (b"x264", b"Lavf", b"Lavc", b"libx264", b"crf=", b"FFmpeg", b"isom2avc1x")


def write_unlike_videos(folder: Path, bench: Bench) -> Path:
    """Each model's files differ in encoder, size, length and tags, as files from four laboratories would."""
    draw = np.random.default_rng(2)
    for pair in bench.pairs:
        pixels = draw.integers(0, 255, (12, 8, 8, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
        write_video(folder / "comet" / f"{pair.id}_0.mp4", pixels[:4], 8, crf=10)
        write_video(folder / "alpha" / f"{pair.id}_0.mp4", pixels[:8], 24, crf=35)
        write_video(folder / "bravo" / f"{pair.id}_0.mp4", pixels[:, :48, :56], Fraction(30000, 1001), crf=20)
        _write_tagged(folder / "delta" / f"{pair.id}_0.mp4", pixels[:6])
    return folder


def _write_tagged(path: Path, frames: np.ndarray) -> None:  # type: ignore[type-arg]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        out.metadata["title"] = "made by delta"
        stream = out.add_stream("mpeg4", rate=12)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"  # type: ignore[attr-defined]
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))  # type: ignore[attr-defined]
        out.mux(stream.encode(None))  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blind")


@pytest.fixture(scope="module")
def served(sources: Path) -> Iterator[Served]:
    bench = write_bench(sources / "bench", PAIRS)
    write_unlike_videos(sources / "videos", bench)
    settings = StudySettings(protocol=replace(PLAIN, watch=0.0, gold_every=10, repeat_every=15), presentation=SMALL)
    plan = StudyPlan(MODELS, "star", "comet", 20, "Blind", settings)
    create_study(sources / "study.db", bench, sources / "videos", plan)
    yield from start_server(sources / "study.db", rate=1000.0)


class Recorder:
    """Everything that a client received, as bytes, and every address that it asked for."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def note(self, reply: httpx.Response) -> None:
        reply.read()
        head = "\n".join(f"{name}: {value}" for name, value in reply.headers.items())
        self.received.append(f"{reply.request.url}\n{head}\n\n".encode() + reply.content)


def test_two_hundred_tasks_reveal_no_model_no_path_no_encoder_and_repeat_no_id(served: Served, sources: Path) -> None:
    recorder = Recorder()
    ids: Counter[str] = Counter()
    tasks = 0
    for number in range(5):
        client = served.client(event_hooks={"response": [recorder.note]})
        client.post("/api/enter", json={"name": f"watcher {number}"})
        client.post("/api/consent", json={"agreed": True})
        state = client.post("/api/begin", json={}).json()["state"]
        while state["stage"] == "task":
            tasks += 1
            addresses = [state["image"], state["left"], state["right"]]
            ids.update([state["token"], *addresses])
            ids.update({address.rsplit("/", 1)[1].split(".")[0][24:] for address in addresses})
            for address in addresses:
                assert client.get(address).status_code == 200
            state = vote_over_http(client, state["token"])["state"]
    assert tasks >= 200
    assert set(ids.values()) == {1}
    hidden = [path.name.encode() for path in (sources / "study.media").iterdir()]
    words = [*(name.encode() for name in MODELS), b"static", b"reference", str(sources).encode(), b"study.media"]
    for content in recorder.received:
        found = [word for word in (*words, *ENCODER_TAGS, *hidden) if word in content]
        assert found == [], content[:200]


def test_a_task_in_the_browser_reveals_nothing_either(served: Served, sources: Path, browser) -> None:  # type: ignore[no-untyped-def]
    page = browser.new_page()
    replies = []
    page.on("response", lambda reply: replies.append(reply))
    page.goto(served.url)
    page.fill("#ti2v-name", "looking")
    page.keyboard.press("Enter")
    page.click("[data-act=agree]")
    page.click("[data-act=begin]")
    page.wait_for_selector("[data-id=choiceSet]:not([disabled])")
    page.keyboard.press("a")
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('[data-id=count]').textContent.startsWith('2 ')", polling=100)
    texts = [page.content(), page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")]
    for reply in replies:
        if "/assets/" in reply.url or "/static/" in reply.url:
            continue  # Gradio's own program, the same for every study
        texts.append(f"{reply.url} {reply.all_headers()}")
        if reply.status == 200 and reply.request.resource_type in ("document", "fetch", "xhr"):
            texts.append(reply.text() if "/media/" not in reply.url else "")
    everything = "\n".join(texts)
    assert "/api/state" in everything
    for word in (*MODELS, str(sources), "study.db", "study.media", served.database.parent.name):
        assert re.search(rf"\b{re.escape(word)}\b", everything) is None, word
    page.close()


def test_metadata_of_the_shown_files_tells_models_no_better_than_chance(served: Served, sources: Path) -> None:
    with served.store._database.read() as connection:
        rows = connection.exec_driver_sql("SELECT v.file, m.name FROM video v JOIN model m ON m.id = v.model").all()
    shown = [(features(sources / "study.media" / file), name) for file, name in rows if name in MODELS]
    made = [(features(path), path.parent.name) for path in sorted((sources / "videos").rglob("*.mp4"))]
    assert accuracy(made) > 0.95  # the classifier does see what there is to see
    chance = 1 / len(MODELS)
    assert accuracy(shown) <= binom.ppf(0.9999, len(shown), chance) / len(shown)


def features(path: Path) -> tuple[object, ...]:
    """Technical facts of a file, sizes aside: boxes, codec set-up, times, tags."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        facts = (
            tuple(sorted(container.metadata.items())),
            tuple(sorted(stream.metadata.items())),
            codec.name,
            codec.profile,
            codec.pix_fmt,
            (codec.width, codec.height),
            codec.extradata,
            stream.time_base,
            stream.average_rate,
            stream.duration,
            stream.start_time,
            stream.frames,
            tuple(packet.is_keyframe for packet in container.demux(stream)),
        )
    return (*facts, tuple(boxes(path.read_bytes())))


def boxes(data: bytes, depth: int = 0) -> Iterator[str]:
    """Names of an mp4 file's boxes, in order."""
    place = 0
    while place + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        if size < 8:
            return
        yield f"{depth}{name.decode('latin-1')}"
        if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"udta", b"edts"):
            yield from boxes(data[place + 8 : place + size], depth + 1)
        place += size


def accuracy(samples: list[tuple[tuple[object, ...], str]]) -> float:
    """Leave-one-out: guess the label most common among the other files that agree in most features."""
    right = 0
    for number, (own, label) in enumerate(samples):
        others = [entry for place, entry in enumerate(samples) if place != number]
        likeness = [sum(a == b for a, b in zip(own, other, strict=True)) for other, _ in others]
        best = max(likeness)
        votes = Counter(name for score, (_, name) in zip(likeness, others, strict=True) if score == best)
        right += max(sorted(votes), key=lambda name: votes[name]) == label
    return right / len(samples)


def test_served_files_have_one_date_one_cache_rule_and_ranges(served: Served) -> None:
    client = served.client()
    client.post("/api/enter", json={"name": "ranger"})
    client.post("/api/consent", json={"agreed": True})
    state = client.post("/api/begin", json={}).json()["state"]
    heads = []
    for side in ("left", "right"):
        whole = client.get(state[side])
        part = client.get(state[side], headers={"range": "bytes=100-199"})
        assert part.status_code == 206
        assert part.content == whole.content[100:200]
        assert client.head(state[side]).headers["content-length"] == str(len(whole.content))
        heads.append({k: v for k, v in whole.headers.items() if k not in ("etag", "content-length")})
        assert whole.headers["etag"] == f'"{state[side].split("/")[2].removesuffix(".mp4")}"'
        assert whole.headers["cache-control"] == "private, max-age=86400, immutable"
    assert heads[0] == heads[1]


@pytest.mark.parametrize("change", ["swap", "cut", "flip", "suffix", "path", "long"])
def test_a_media_address_cannot_be_made_up(served: Served, change: str) -> None:
    client = served.client()
    client.post("/api/enter", json={"name": "forger"})
    client.post("/api/consent", json={"agreed": True})
    state = client.post("/api/begin", json={}).json().get("state") or client.get("/api/state").json()["state"]
    address, suffix = state["left"].split("/")[2].split(".")
    other = state["next"]["left"].split("/")[2].split(".")[0]
    made_up = {
        "swap": f"{address[:24]}{other[24:]}.{suffix}",
        "cut": f"{address[:-1]}.{suffix}",
        "flip": f"{address[:-1]}{'0' if address[-1] != '0' else '1'}.{suffix}",
        "suffix": f"{address}.jpg",
        "path": "..%2f..%2fstudy.db",
        "long": "a" * 5000,
    }[change]
    assert client.get(f"/media/{made_up}").status_code in (404, 400)
