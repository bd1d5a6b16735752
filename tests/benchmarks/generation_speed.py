"""How fast each model makes videos, end to end through the runner's own code, and what it needs.

    python tests/benchmarks/generation_speed.py --device cuda --out results/speed            # every model, ~15 minutes
    python tests/benchmarks/generation_speed.py --models seine,cinemo --batches 1,4 --out OUT

Each model runs in a process of its own, with random weights of full size (`--weights`), at its published size and
steps. The first video is told apart (it warms up kernels); then videos are timed until `--seconds` have passed.
Writes generation.json, which `ti2v-bench generate --plan` reads, and generation.md.
"""

import argparse
import json
import platform
import resource
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

TFLOP = {
    "animate_anything": 44.26 * 25, "cinemo": 16.22 * 50, "cond_leak": 25.21 * 50, "consisti2v": 10.88 * 50,
    "dynamicrafter": 25.21 * 50, "i2vgen_xl": 176.19 * 50, "seine": 13.49 * 250, "ti2v_zero": 9.77 * 750,
    "videocrafter": 25.20 * 50,
}  # fmt: skip
"""Arithmetic of the denoising network per video at the published size and steps (multiply-adds times two), counted
on the official networks; VAE and encoders not included."""


def main() -> None:
    options = arguments()
    if options.child:
        print(json.dumps(measure(options)))
        return
    from ti2v_bench.runner.costs import matmul_tflops

    rows = []
    for model in options.models.split(",") if options.models else networks():
        for batch in options.batches.split(","):
            print(f"{model}, batch {batch} …", flush=True)
            rows.append(in_child(options, model, batch))
            print("   ", rows[-1], flush=True)
    side = 8192 if options.device != "cpu" else 512
    table = {
        "what": "whole videos through the runner's own code: model, encoding, publishing; random weights",
        "device": device_name(options.device),
        "matmul_tflops": round(matmul_tflops(options.device, side), 2),
        "matmul_note": f"square products of side {side}, bfloat16 on a GPU, float32 on the CPU, in this run",
        "machine": platform.processor() or platform.machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "packages": versions(),
        "command": " ".join(["python", "tests/benchmarks/generation_speed.py", *sys.argv[1:]]),
        "rows": [with_share(row, options) for row in rows],
    }
    for row in table["rows"]:
        if "tflop_per_video" in row:
            row["mfu"] = round(row["tflop_per_video"] / row["network_seconds_per_video"] / table["matmul_tflops"], 3)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "generation.json").write_text(json.dumps(table, indent=1) + "\n")
    (options.out / "generation.md").write_text(markdown(table))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", help="comma-separated; default: all with a network")
    parser.add_argument("--batches", default="1")
    parser.add_argument("--weights", default="random-full")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--limit", type=float, default=900, help="seconds that one model may take in all")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def networks() -> list[str]:
    from ti2v_bench.registry import MODELS
    from ti2v_bench.runner.devices import has_network

    return [name for name in MODELS if has_network(name)]


def in_child(options: argparse.Namespace, model: str, batch: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", "--out", str(options.out), "--models", model, "--batches", batch]
    command += ["--weights", options.weights, "--device", options.device, "--seconds", str(options.seconds)]
    command += [part for text in options.set for part in ("--set", text)]
    try:
        end = subprocess.run(command, capture_output=True, text=True, timeout=options.limit, cwd=ROOT)
    except subprocess.TimeoutExpired:
        return {"model": model, "batch": int(batch), "error": f"took more than {options.limit:.0f} s"}
    if end.returncode:
        lines = end.stderr.strip().splitlines() or [f"exit status {end.returncode}"]
        return {"model": model, "batch": int(batch), "error": lines[-1][:300]}
    row: dict[str, Any] = json.loads(end.stdout.strip().splitlines()[-1])
    return row


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One model in this process."""
    from ti2v_bench.bench import load_bench
    from ti2v_bench.model import ModelOptions
    from ti2v_bench.runner import plan_jobs
    from ti2v_bench.runner.making import Maker, Recipe
    from ti2v_bench.shapes import write_shapes

    name, batch = options.models, int(options.batches)
    with tempfile.TemporaryDirectory() as scratch:
        write_shapes(Path(scratch) / "bench", pairs=max(8, batch), size=320)
        bench = load_bench(Path(scratch) / "bench")
        settings = dict(text.split("=", 1) for text in options.set)
        model_options = ModelOptions(options.device, options.weights, None, bench.root, batch, settings)
        started = time.perf_counter()
        recipe = Recipe(name, name, model_options, str(Path(scratch) / "out"), (options.device,))
        maker = Maker(recipe, overlap=True)  # as a GPU's worker: files are written while the next call computes
        loaded = time.perf_counter() - started
        calls: list[float] = []
        while len(calls) < 2 or sum(calls[1:]) < options.seconds:
            started = time.perf_counter()
            outcomes = maker.make(plan_jobs(name, bench.pairs[:batch], [len(calls)]))
            calls.append(time.perf_counter() - started)
            bad = [outcome.reason for outcome in outcomes if outcome.status != "made"]
            if bad:
                raise SystemExit(f"{name}: {bad[0]}")
        bad = [outcome.reason for outcome in maker.finish() if outcome.status != "made"]
        if bad:
            raise SystemExit(f"{name}: {bad[0]}")
        first, *times = [seconds / batch for seconds in calls]
        sidecars = [json.loads(path.read_text()) for path in (Path(scratch) / "out" / name).glob("*.json")]
    warm = [record for record in sidecars if record["seed"]]
    return {
        "model": name,
        "precision": sidecars[0]["precision"],
        "batch": batch,
        "frames": sidecars[0]["frames"],
        "size": f"{sidecars[0]['height']}x{sidecars[0]['width']}",
        "seconds_per_video": round(median(times), 3),
        "network_seconds_per_video": round(median(record["seconds"]["generate"] for record in warm), 3),
        "first_video_seconds": round(first, 3),
        "load_seconds": round(loaded, 2),
        "timed_calls": len(times),
        "gpu_memory_gib": gpu_memory(options.device),
        "host_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "video_bytes": round(median(record["bytes"] for record in sidecars)),
        "weights": options.weights,
        "settings": settings,
    }


def with_share(row: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    if "seconds_per_video" not in row:
        return row
    row["outside_network"] = round(max(0.0, 1 - row["network_seconds_per_video"] / row["seconds_per_video"]), 3)
    if row["model"] in TFLOP and options.weights != "random-tiny" and not options.set:
        row["tflop_per_video"] = TFLOP[row["model"]]
    return row


def gpu_memory(device: str) -> float | None:
    if device == "cpu":
        return None
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**30, 2)


def device_name(device: str) -> str:
    if device == "cpu":
        return platform.processor() or platform.machine()
    import torch

    return str(torch.cuda.get_device_name(0))


def versions() -> dict[str, str]:
    import torch

    from ti2v_bench.provenance import packages

    return {**packages(), "torch": torch.__version__, "cuda": str(torch.version.cuda)}


def markdown(table: dict[str, Any]) -> str:
    lines = [
        "# Generation, measured",
        "",
        f"{table['what']}. {table['device']}, {table['date']}; matrix rate {table['matmul_tflops']} TFLOP/s "
        f"({table['matmul_note']}).",
        "",
        f"`{table['command']}`",
        "",
        "MFU: arithmetic of the denoising network alone over the whole call (encoders and VAE included in the time),",
        "as a share of the matrix rate of the same run. Outside: share of wall time beside the model (mp4, files).",
        "",
        "| model | size | precision | batch | s / video | first | load s | MFU | outside | GPU GiB | host GiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in table["rows"]:
        if "error" in row:
            lines.append(f"| {row['model']} | | | {row['batch']} | failed: {row['error']} | | | | | | |")
            continue
        mfu = f"{row['mfu']:.1%}" if "mfu" in row else "–"
        lines.append(
            f"| {row['model']} | {row['size']}x{row['frames']} | {row['precision']} | {row['batch']} | "
            f"{row['seconds_per_video']} | {row['first_video_seconds']} | {row['load_seconds']} | {mfu} | "
            f"{row['outside_network']:.1%} | {row['gpu_memory_gib'] or '–'} | {row['host_memory_gib']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
