"""How generation grows with the number of GPUs of one host: `ti2v-bench generate` itself, on 1, 2, 4 … devices.

    python tests/benchmarks/generation_scaling.py --devices 1,2,4 --model dynamicrafter --fast --out results/speed
    python tests/benchmarks/generation_scaling.py --kind cpu --devices 1,2 --weights random-tiny --videos 3 --out OUT

Every run makes `--videos` videos per device, with random weights of full size. Told apart: the whole run from start to
end, and the working part, in which the speed-up is counted: from the moment at which as many videos are finished as
there are workers, to the last video. Writes generation_scaling.json and .md.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--devices", default="1,2,4")
    parser.add_argument("--kind", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--model", default="dynamicrafter")
    parser.add_argument("--weights", default="random-full")
    parser.add_argument("--videos", type=int, default=6, help="per device; the first of each is not counted")
    parser.add_argument("--fast", action="store_true", help="the model's fast form")
    parser.add_argument("--batch", default="1", help="pairs per call, or auto")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    if options.videos < 2:
        parser.error("--videos must be at least 2: the first of each device is not counted")
    rows = []
    for count in (int(text) for text in options.devices.split(",")):
        rows.append(measure(options, count))
        print(rows[-1], flush=True)
    for row in rows:
        row["speed_up"] = round(row["videos_per_second"] / rows[0]["videos_per_second"] * rows[0]["devices"], 2)
    table = {
        "what": "ti2v-bench generate on several devices of one host, random weights",
        "machine": name_of(options.kind),
        "model": options.model,
        "fast": options.fast,
        "date": datetime.now(UTC).date().isoformat(),
        "command": again(options),
        "rows": rows,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "generation_scaling.json").write_text(json.dumps(table, indent=1) + "\n")
    (options.out / "generation_scaling.md").write_text(markdown(table))


def again(options: argparse.Namespace) -> str:
    """The command that makes the table."""
    said = [f"--{name} {getattr(options, name)}" for name in ("devices", "kind", "model", "weights", "videos", "batch")]
    said += ["--fast"] * options.fast + [f"--set {text}" for text in options.set]
    return " ".join(["python tests/benchmarks/generation_scaling.py", *said, "--out OUT"])


def measure(options: argparse.Namespace, count: int) -> dict[str, Any]:
    """One run on `count` devices."""
    from ti2v_bench.shapes import write_shapes

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_shapes(folder / "bench", pairs=options.videos * count, size=320)
        devices = ",".join(["cpu"] * count if options.kind == "cpu" else [f"cuda:{index}" for index in range(count)])
        command = [sys.executable, "-m", "ti2v_bench", "generate", "--bench", str(folder / "bench")]
        command += ["--model", options.model, "--weights", options.weights, "--out", str(folder / "out")]
        command += ["--fast"] * options.fast + ["--batch", options.batch]
        command += ["--device", devices, *(part for text in options.set for part in ("--set", text))]
        started = time.time()
        subprocess.run(command, cwd=ROOT, check=True)
        whole = time.time() - started
        finished = sorted(path.stat().st_mtime for path in (folder / "out").rglob("*.mp4"))
        records = [json.loads(path.read_text()) for path in (folder / "out").rglob("*.json")]
    working = finished[-1] - finished[count - 1]
    each = median(record["seconds"]["generate"] for record in records)
    return {
        "devices": count,
        "videos": len(finished),
        "whole_seconds": round(whole, 1),
        "working_seconds": round(working, 2),
        "videos_per_second": round((len(finished) - count) / working, 4),
        "model_seconds_per_video": round(each, 3),
        "outside_model": round(max(0.0, 1 - each * (len(finished) - count) / count / working), 3),
    }


def name_of(kind: str) -> str:
    import platform

    if kind == "cpu":
        return platform.processor() or platform.machine()
    import torch

    return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"


def markdown(table: dict[str, Any]) -> str:
    lines = [
        "# Several GPUs of one host, measured",
        "",
        f"{table['what']}: {table['model']}, {table['machine']}, {table['date']}.",
        "",
        f"`{table['command']}`",
        "",
        "Working: from the moment at which as many videos are finished as there are workers, to the last video.",
        "Outside: share of the working part in which a worker's model did not compute (files, mp4, waiting).",
        "",
        "| devices | videos | whole s | working s | videos / s | speed-up | model s / video | outside |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['devices']} | {row['videos']} | {row['whole_seconds']} | {row['working_seconds']} | "
        f"{row['videos_per_second']} | {row['speed_up']} | {row['model_seconds_per_video']} | "
        f"{row['outside_model']:.1%} |"
        for row in table["rows"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
