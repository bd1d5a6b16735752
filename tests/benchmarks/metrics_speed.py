"""How many videos a second the metrics take, and which part takes how much.

    python tests/benchmarks/metrics_speed.py --out results/speed                    # CPU, no weights
    python tests/benchmarks/metrics_speed.py --out results/speed --device cuda      # and the networks, random weights

Clips are drawn here: 320x320, 16 frames, H.264. Writes `metrics_<device>.json` and `.md`.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from ti2v_bench.bench import load_bench
from ti2v_bench.metrics.build import Wishes, build_tools
from ti2v_bench.metrics.cache import ValueCache
from ti2v_bench.metrics.evaluate import Stopwatch, evaluate
from ti2v_bench.metrics.threads import usable_cores
from ti2v_bench.metrics.videos import find_videos
from ti2v_bench.shapes import reference_frames, write_shapes
from ti2v_bench.video import write_video

NETWORKS = ("alignment", "subject_consistency", "background_consistency", "aesthetic_quality", "i2v_subject")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--videos", type=int, default=64)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--weights", default="random-full", help="random-tiny to try this script")
    parser.add_argument("--networks", action="store_true", help="measure the networks on the CPU too (slow)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        draw(root, given.videos, given.size, given.frames)
        rows: list[dict[str, Any]] = []
        for plan in plans(given):
            rows.append(measure(root, plan, given))
            text = write(given, rows)  # after every row: a run that is cut short keeps what it has
    print(text)


def plans(given: argparse.Namespace) -> Sequence[dict[str, Any]]:
    """What is measured: name, metrics, flow, threads, whether products are in TF32."""
    cores = usable_cores()
    free = {"metrics": ("free",), "flow": "dis", "tf32": False}
    found = [
        {"what": "decode + all weight-free metrics (DIS), 1 thread", "workers": 1} | free,
        {"what": "decode + all weight-free metrics (DIS), 2 threads", "workers": 2} | free,
    ]
    if torch.device(given.device).type == "cpu" and not given.networks:
        return found
    every = {"metrics": ("all",), "flow": "raft", "workers": cores}
    return [
        *found,
        {"what": f"the same, {cores} threads", "workers": cores} | free,
        {"what": "all metrics but opt-in ones (CLIP fp16, DINO and RAFT fp32)", "tf32": False} | every,
        {"what": "the same, TF32 matrix products", "tf32": True} | every,
        {"what": f"the same, TF32, {max(1, cores // 2)} threads", "tf32": True}
        | every
        | {"workers": max(1, cores // 2)},
        {"what": "flow metrics alone (RAFT-large, 20 updates)", "tf32": True} | every | {"metrics": ("motion",)},
        {
            "what": "networks alone (CLIP B/32 and L/14, DINO B/16)",
            "tf32": True,
            **every,
            "flow": "dis",
            "metrics": (
                "alignment",
                "subject_consistency",
                "background_consistency",
                "aesthetic_quality",
                "i2v_subject",
            ),
        },
    ]


def draw(root: Path, videos: int, size: int, frames: int) -> None:
    write_shapes(root / "bench", pairs=videos, size=size, frames=frames)
    bench = load_bench(root / "bench")
    for pair in bench.pairs:
        write_video(root / "videos" / "truth" / f"{pair.id}_0.mp4", reference_frames(bench.root, pair), 8)


def measure(root: Path, plan: dict[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    wishes = Wishes(
        plan["metrics"],
        plan["flow"],
        given.device,
        {"all": given.weights},
        batch=128,
        workers=plan["workers"],
        tf32=plan["tf32"],
    )
    tools = build_tools(wishes)
    videos, _ = find_videos(root / "videos", load_bench(root / "bench"))
    with tempfile.TemporaryDirectory() as folder:
        # Twice what the networks take at once: the second time a GPU's calls are recorded, as in any long run.
        evaluate(videos[: min(16, len(videos))], tools, ValueCache(Path(folder) / "warm.jsonl"))
        watch = Stopwatch()
        start, busy = time.perf_counter(), time.process_time()
        evaluate(videos, tools, ValueCache(Path(folder) / "cache.jsonl"), watch=watch)
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
    total = sum(watch.seconds.values())
    shares = {name: round(part / total, 4) for name, part in sorted(watch.seconds.items(), key=lambda item: -item[1])}
    row = {
        "what": plan["what"],
        "videos": len(videos),
        "seconds": round(seconds, 2),
        "videos_per_second": round(len(videos) / seconds, 2),
        "cpu_seconds_per_video": round(busy / len(videos), 3),
        "load_average": round(os.getloadavg()[0], 1),
        "threads": plan["workers"],
        "share_of_busy_time": shares,
    }
    print(json.dumps(row), flush=True)
    return row


def write(given: argparse.Namespace, rows: list[dict[str, Any]]) -> str:
    """Both files; returns the table."""
    device = torch.device(given.device).type
    name = torch.cuda.get_device_name() if device == "cuda" else processor()
    told = {
        "machine": name,
        "processor": processor(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"python tests/benchmarks/metrics_speed.py --out results/speed --device {given.device} "
        f"--videos {given.videos}",
        "clips": f"{given.videos} drawn clips, {given.size}x{given.size}, {given.frames} frames, H.264",
        "weights": given.weights,
        "rows": rows,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / f"metrics_{device}.json").write_text(json.dumps(told, indent=1) + "\n")
    lines = [
        f"# Speed of the metrics ({device})",
        "",
        f"{told['clips']}; {name}, {told['cores']} cores, torch {told['torch']}, {told['date']}; networks with "
        f"{given.weights} weights. Repeat with `{told['command']}`.",
        "",
        "| what | threads | videos/s | CPU s per video | load average | where the busy time goes |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        parts = ", ".join(f"{part} {share:.0%}" for part, share in row["share_of_busy_time"].items() if share >= 0.01)
        figures = (row[name] for name in ("threads", "videos_per_second", "cpu_seconds_per_video", "load_average"))
        lines.append(f"| {row['what']} | {' | '.join(map(str, figures))} | {parts} |")
    lines += [
        "",
        "Busy time is summed over threads; parts under 1 % are left out. Where the load average exceeds the cores,",
        "other work shared the machine: videos/s is then too low, and cores / CPU seconds per video is closer to what",
        "it would be alone.",
    ]
    text = "\n".join(lines) + "\n"
    (given.out / f"metrics_{device}.md").write_text(text)
    return text


def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
