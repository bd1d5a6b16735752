"""The engine of `import`: videos made elsewhere, checked one by one and taken over byte for byte."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ti2v_bench.provenance import imported
from ti2v_bench.records import Job, Pair
from ti2v_bench.runner.jobs import RunError, video_name
from ti2v_bench.store import Store, open_store
from ti2v_bench.video import VideoError, read_video


@dataclass(frozen=True)
class ImportReport:
    """What `import_videos` did with every file and every pair; names are file names."""

    copied: tuple[str, ...]
    present: tuple[str, ...]
    """Taken over before, byte for byte the same."""
    unmatched: tuple[str, ...]
    """Files whose name is no `<pair_id>_<seed>.mp4` of the bench."""
    broken: tuple[str, ...]
    """`name: why` of files that cannot be decoded to their end."""
    different: tuple[str, ...]
    """`name: why` of files that would replace another video of that name."""
    missing: tuple[str, ...]
    """Pairs without a video, for the seeds that the source has."""
    expected: int
    """Pairs times seeds."""

    @property
    def complete(self) -> bool:
        """Whether every pair has its video and no file was refused."""
        return not (self.unmatched or self.broken or self.different or self.missing)


def import_videos(source: Path, model: str, pairs: Sequence[Pair], out: Path | str) -> ImportReport:
    """Copy `<pair_id>_<seed>.mp4` files of `source` to `<out>/<model>`, each after decoding it to its end.

    Running it again changes nothing. Seeds are those that the source's names carry.

    Raises:
        RunError: no such folder, no video in it, or a name that cannot be a folder.
        StorageError: a file cannot be written.
    """
    if not re.fullmatch(r"[\w+-][\w.+-]*", model):
        raise RunError(f"{model!r} cannot be the name of a folder of videos. Use letters, digits, '-', '_', '.'.")
    files = _videos(source)
    store = open_store(out)
    by_id = {pair.id: pair for pair in pairs}
    jobs = {file: _job(file, model, by_id) for file in files}
    results: dict[str, list[str]] = {"copied": [], "present": [], "broken": [], "different": []}
    for file, job in jobs.items():
        if job is not None:
            status, text = _take_over(file, job, store)
            results[status].append(text)
    store.tidy(model)
    matched = [job for job in jobs.values() if job is not None]
    seeds = sorted({job.seed for job in matched}) or [0]
    have = {(job.pair.id, job.seed) for job in matched}
    missing = [f"{pair.id}_{seed}.mp4" for seed in seeds for pair in pairs if (pair.id, seed) not in have]
    return ImportReport(
        **{status: tuple(texts) for status, texts in results.items()},
        unmatched=tuple(file.name for file, job in jobs.items() if job is None),
        missing=tuple(missing),
        expected=len(pairs) * len(seeds),
    )


def _videos(source: Path) -> list[Path]:
    if not source.is_dir():
        raise RunError(f"There is no folder {source}. Give the folder that holds the videos.")
    files = sorted(path for path in source.iterdir() if path.suffix.lower() == ".mp4" and not path.name.startswith("."))
    if not files:
        raise RunError(f"There is no .mp4 file in {source}. Videos must be named <pair_id>_<seed>.mp4.")
    return files


def _job(file: Path, model: str, pairs: dict[str, Pair]) -> Job | None:
    pair_id, _, seed = file.stem.rpartition("_")
    if pair_id not in pairs or not re.fullmatch(r"0|[1-9][0-9]*", seed):
        return None
    return Job(model, pairs[pair_id], int(seed))


def _take_over(file: Path, job: Job, store: Store) -> tuple[str, str]:
    """Status and text for the report; the video is written only after it was decoded."""
    name = video_name(job)
    content = file.read_bytes()
    claim = store.claim(name)
    if claim is None:
        return "different", f"{file.name}: another process is making this video now"
    try:
        if (there := store.read(name)) is not None:
            if there == content:
                return "present", file.name
            return (
                "different",
                f"{file.name}: {store.url}/{name} holds another video ({_origin(store.read(_json(name)))})",
            )
        try:
            video = read_video(file)
        except VideoError as error:
            return "broken", f"{file.name}: {error}"
        frames, height, width, _ = video.frames.shape
        store.publish(name, content, imported(job, content, (frames, height, width), video.fps, file.name))
        return "copied", file.name
    finally:
        claim.release()


def _json(name: str) -> str:
    return name.removesuffix(".mp4") + ".json"


def _origin(sidecar: bytes | None) -> str:
    return str(json.loads(sidecar).get("origin", "unknown")) if sidecar else "no sidecar"
