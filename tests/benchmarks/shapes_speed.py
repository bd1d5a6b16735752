"""How fast scenes are sampled and drawn on one CPU core.

    OMP_NUM_THREADS=1 python tests/benchmarks/shapes_speed.py --out results/speed

writes `shapes.json` and `shapes.md` there.
"""

import argparse
import json
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ti2v_bench.shapes import render, sample_scenes

BATCH = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=10_000)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    rows = [
        measure(arguments.clips, 64, 8),
        measure(arguments.clips // 20, 128, 16),
        measure(arguments.clips // 100, 320, 16),
    ]
    write(arguments.out, rows)


def measure(clips: int, size: int, frames: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    scenes = sample_scenes(clips, rng)
    sampled = time.perf_counter()
    for first in range(0, clips, BATCH):
        render(scenes[first : first + BATCH], size, frames)
    drawn = time.perf_counter()
    return {
        "clips": clips,
        "size": size,
        "frames": frames,
        "sample_seconds": round(sampled - start, 2),
        "render_seconds": round(drawn - sampled, 2),
        "clips_per_second": round(clips / (drawn - start), 1),
    }


def write(out: Path, rows: list[dict[str, float]]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    told = {
        "what": "sample_scenes and render of ti2v_bench.shapes, one CPU core",
        "machine": _processor(),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
        "command": "OMP_NUM_THREADS=1 python tests/benchmarks/shapes_speed.py --out results/speed",
        "rows": rows,
    }
    (out / "shapes.json").write_text(json.dumps(told, indent=1) + "\n")
    lines = [
        "# Speed of the drawn world",
        "",
        f"{told['what']}; {told['machine']}, numpy {told['numpy']}, Python {told['python']}, {told['date']}.",
        f"Repeat with `{told['command']}`.",
        "",
        "| clips | size | frames | sampling, s | drawing, s | clips/s |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {row['clips']:,} | {row['size']}×{row['size']} | {row['frames']} | {row['sample_seconds']} "
            f"| {row['render_seconds']} | {row['clips_per_second']:,} |"
            for row in rows
        ),
    ]
    (out / "shapes.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
