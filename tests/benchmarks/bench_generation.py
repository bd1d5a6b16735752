"""What one denoising step costs: every baseline's network alone, exact and in its fastest exact form.

    python tests/benchmarks/bench_generation.py --device cuda --out results/speed                 # all, ~2 minutes each
    python tests/benchmarks/bench_generation.py --models dynamicrafter,seine --only exact --out OUT
    python tests/benchmarks/bench_generation.py --weights random-tiny --device cpu --models dynamicrafter --out OUT

Each model runs in a process of its own, with random weights of full size, at its published size. A short video
(`--steps`) is made first; what its network was given in one step is kept, and those calls are timed by themselves:

- exact: the adapter's default, eager, official precision
- fast: the adapter's `compiled` setting; where the official precision is float32, with TF32 matrix products
- half: only where the official precision is float32: compiled, float16

each as called (`eager` or `compiled`) and replayed as one CUDA graph (`+graph`), which leaves the launches out. The
first output of every form is compared with the exact one. Arithmetic is counted by torch's FlopCounterMode on the calls
themselves; the share (MFU) is of the matrix rate measured in the same run. Writes steps.json and steps.md; rows are
kept as they come, so that a model that fails or runs out of time leaves what it had.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
if TYPE_CHECKING:
    from tests.benchmarks.denoising_step import Calls
MODELS = (
    "dynamicrafter", "videocrafter", "cond_leak", "seine", "cinemo", "consisti2v", "animate_anything", "i2vgen_xl",
    "ti2v_zero",
)  # fmt: skip


@dataclass(frozen=True)
class Form:
    """One way to run a model."""

    name: str
    compiled: bool = False
    precision: str | None = None
    tf32: bool = False


def forms(official: str) -> list[Form]:
    """Ways to run a model of an official precision, the exact one first."""
    if official.startswith("float32"):
        return [Form("exact"), Form("fast", compiled=True, tf32=True), Form("half", compiled=True, precision="float16")]
    return [Form("exact"), Form("fast", compiled=True)]


def main() -> None:
    options = arguments()
    if options.child:
        measure(options)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for model in options.models.split(","):
        print(f"{model} …", flush=True)
        rows += in_child(options, model)
        for row in rows:
            if row["model"] == model:
                print("   ", {key: value for key, value in row.items() if key != "model"}, flush=True)
        write(options, rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", default=",".join(MODELS), help="comma-separated")
    parser.add_argument("--only", help="comma-separated forms: exact, fast, half; the exact one is always run")
    parser.add_argument("--weights", default="random-full")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=2, help="of the short video")
    parser.add_argument("--timed", type=int, default=5, help="repetitions that are timed")
    parser.add_argument("--limit", type=float, default=240, help="seconds that one model may take in all")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="setting of the models")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def in_child(options: argparse.Namespace, model: str) -> list[dict[str, Any]]:
    """The rows that one model's process wrote before it ended, and an error row if it ended badly."""
    with tempfile.TemporaryDirectory() as scratch:
        lines = Path(scratch) / "rows.jsonl"
        lines.touch()
        command = [sys.executable, __file__, "--child", str(lines), "--out", str(options.out), "--models", model]
        for name in ("weights", "device", "steps", "timed", "only"):
            if getattr(options, name) is not None:
                command += [f"--{name}", str(getattr(options, name))]
        command += [part for text in options.set for part in ("--set", text)]
        try:
            end = subprocess.run(command, capture_output=True, text=True, timeout=options.limit, cwd=ROOT)
            error = (end.stderr.strip().splitlines() or [str(end.returncode)])[-1][:300] if end.returncode else None
        except subprocess.TimeoutExpired:
            error = f"stopped after {options.limit:.0f} s"
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines.read_text().splitlines()]
    return [*rows, {"model": model, "form": "–", "error": error}] if error else rows


def measure(options: argparse.Namespace) -> None:
    """One model in this process: a line of JSON per measured form."""
    import torch

    from ti2v_bench.registry import load_card
    from ti2v_bench.runner.costs import matmul_tflops

    name, only = options.models, options.only.split(",") if options.only else ["exact", "fast", "half"]
    rate = matmul_tflops(options.device, 8192 if options.device != "cpu" else 256)
    calls: Calls | None = None
    for form in forms(load_card(name).precision):
        if form.name != "exact" and form.name not in only:
            continue
        torch.set_float32_matmul_precision("high" if form.tf32 else "highest")
        try:
            with torch.inference_mode():
                calls = one_form(options, name, form, calls, rate)
        except Exception as error:  # whatever goes wrong with one form must not lose the others
            if calls is None:
                raise
            emit(options, {"model": name, "form": form.name, "error": f"{type(error).__name__}: {error}"[:300]})
        gc.collect()
        if options.device != "cpu":
            torch.cuda.empty_cache()


def one_form(options: argparse.Namespace, name: str, form: Form, calls: "Calls | None", rate: float) -> "Calls":
    import torch

    from tests.benchmarks.denoising_step import captured, cast, deviation, graphed, networks, wait
    from ti2v_bench.model import ModelOptions
    from ti2v_bench.registry import load_model

    settings = dict(text.split("=", 1) for text in options.set)
    official = published_steps(name)
    settings |= {"steps": str(options.steps), "compiled": str(form.compiled)}
    started = time.perf_counter()
    model = load_model(name, ModelOptions(options.device, options.weights, form.precision, settings=settings))
    loaded = time.perf_counter() - started
    if calls is None:
        calls = captured(model, options.device, options.steps, official)
    network = networks(model)[calls.network]
    dtype = next(value.dtype for value in network.parameters() if value.is_floating_point())
    inputs = [(cast(args, dtype), cast(kwargs, dtype)) for args, kwargs in calls.inputs]

    def step() -> list[Any]:
        return [network(*args, **kwargs) for args, kwargs in inputs]

    started = time.perf_counter()
    output = step()
    wait(options.device)
    base = {
        "model": name,
        "form": form.name,
        "precision": str(dtype).removeprefix("torch.") + (" (TF32 products)" if form.tf32 else ""),
        "calls_per_step": len(inputs),
        "tflop_per_step": round(calls.tflop, 3),
        "load_seconds": round(loaded, 1),
        "first_step_seconds": round(time.perf_counter() - started, 2),
        "deviation": deviation(output, calls.outputs),
    }
    del output
    how = "compiled" if form.compiled else "eager"
    emit(options, base | {"how": how} | timed(options, step, calls, rate))
    if options.device != "cpu":
        replay, found = graphed(step)
        extra = {"deviation": deviation(found, calls.outputs)}
        emit(options, base | extra | {"how": f"{how}+graph"} | timed(options, replay, calls, rate))
        torch.cuda.synchronize()
    return calls


def published_steps(name: str) -> int:
    """The default of the model's `steps` setting."""
    from importlib import import_module

    return int(import_module(f"baselines.{name}.settings").Settings().steps)


def timed(options: argparse.Namespace, step: Callable[[], object], calls: "Calls", rate: float) -> dict[str, Any]:
    """Median seconds of a step after two more, its peak memory, and what follows for a whole video."""
    from tests.benchmarks.denoising_step import memory, wait

    if options.device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        step()
    seconds = []
    for _ in range(options.timed):
        wait(options.device)
        started = time.perf_counter()
        step()
        wait(options.device)
        seconds.append(time.perf_counter() - started)
    each = median(seconds)
    return {
        "seconds_per_step": round(each, 5),
        "spread_seconds": [round(min(seconds), 5), round(max(seconds), 5)],
        "mfu": round(calls.tflop / each / rate, 4),
        "matmul_tflops": round(rate, 1),
        "denoise_seconds_per_video": round(each * calls.per_video, 2),
        "total_seconds_per_video": round(each * calls.per_video + calls.rest_seconds, 2),
        "gpu_memory_gib": memory(options.device),
    }


def emit(options: argparse.Namespace, row: dict[str, Any]) -> None:
    with Path(options.child).open("a") as stream:
        stream.write(json.dumps(row) + "\n")


def write(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    import torch

    on_gpu = options.device != "cpu" and torch.cuda.is_available()
    table = {
        "what": "one guided denoising step of each network, its own published size, random weights",
        "device": torch.cuda.get_device_name(0) if on_gpu else "CPU",
        "date": datetime.now(UTC).date().isoformat(),
        "torch": torch.__version__,
        "weights": options.weights,
        "command": " ".join(["python", "tests/benchmarks/bench_generation.py", *sys.argv[1:]]),
        "rows": rows,
    }
    (options.out / "steps.json").write_text(json.dumps(table, indent=1) + "\n")
    (options.out / "steps.md").write_text(markdown(table))


def markdown(table: dict[str, Any]) -> str:
    lines = [
        "# Denoising steps, measured",
        "",
        f"{table['what']}. {table['device']}, torch {table['torch']}, {table['date']}, weights {table['weights']}.",
        "",
        f"`{table['command']}`",
        "",
        "A step is all network calls of one sampling step, all guidance branches; where a model calls its network",
        "more than three times per step, one call. MFU: counted arithmetic over the time, as a share of the bfloat16",
        "matrix rate of the same run. Deviation: of the step's output from the exact form's, relative L2 (largest",
        "difference at root mean square). Total: denoising at the published number of steps, and what else making a",
        "video took in the exact form (encoders, decoder).",
        "",
        "| model | form | precision | ms / step | MFU | GPU GiB | deviation | first step s | denoise s | total s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in table["rows"]:
        if "error" in row:
            lines.append(f"| {row['model']} | {row['form']} | | failed: {row['error']} | | | | | | |")
            continue
        off = row["deviation"]
        cells = (
            row["model"],
            f"{row['form']}, {row['how']}",
            row["precision"],
            f"{1000 * row['seconds_per_step']:.1f}",
            f"{row['mfu']:.1%}",
            row["gpu_memory_gib"] or "–",
            f"{off['rel_l2']:.1e} ({off['max_abs']:.1e} at {off['rms']:.1e})",
            row["first_step_seconds"],
            row["denoise_seconds_per_video"],
            row["total_seconds_per_video"],
        )
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
