"""One model in one form, alone in a process: what a denoising step, a start and its memory cost.

    python tests/benchmarks/generation_child.py '{"model": "seine", "form": "exact", …}'      # bench_generation.py asks

The exact form makes a short video and keeps what its network was given and gave in one step (`<scratch>/<model>.pt`);
every form is then timed on those calls alone, and its output compared with the exact one. With `whole`, the fast forms
then make two videos at the published steps, the second by the clock.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
if TYPE_CHECKING:
    from tests.benchmarks.denoising_step import Calls

SHORT = {"ti2v_zero": 1}
"""Sampling steps of the short video, where two would take long: 75 calls of the network per step."""


@dataclass(frozen=True)
class Task:
    """What one process does; travels as JSON."""

    model: str
    form: str
    """exact; fast; half = fast in float16, for models that are published in float32."""
    batch: int
    weights: str
    device: str
    timed: int
    """Repetitions that are timed."""
    scratch: str
    cache: str
    born: float
    """When the process was asked for, Unix seconds."""
    whole: float = 0
    """Make whole videos too, in the fast forms, where one takes at most so many seconds."""
    only_compile: bool = False
    """Fill the compiler's cache and end."""
    wait: bool = False
    """Import, then wait for a line of input, so that the time before it is not the GPU's."""


def main() -> None:
    task = Task(**json.loads(sys.argv[1]))
    import torch

    if task.wait:
        imported(task.model)
        ready = time.time()
        sys.stdin.readline()
        task = replace(task, born=task.born + time.time() - ready)
    with torch.inference_mode():
        if task.only_compile:
            from tests.benchmarks.denoising_step import make, noise_pair

            with noise_pair() as pair:
                make(loaded(task), pair, task.batch)
        else:
            print(json.dumps(measured(task)))


def imported(model: str) -> None:
    """What making the model imports anyway."""
    from ti2v_bench.registry import MODELS

    import_module(MODELS[model].build.partition(":")[0])


def loaded(task: Task) -> Any:
    from ti2v_bench.model import ModelOptions
    from ti2v_bench.registry import load_model

    precision = "float16" if task.form == "half" else None
    fast, cache = task.form != "exact", Path(task.cache)
    whole = task.whole > 0 and fast and not task.only_compile
    steps = {"steps": str(published_steps(task.model) if whole else SHORT.get(task.model, 2))}
    options = ModelOptions(task.device, task.weights, precision, None, task.batch, steps, fast, cache)
    return load_model(task.model, options)


def measured(task: Task) -> dict[str, Any]:
    """The row of the table."""
    from tests.benchmarks.denoising_step import cast, deviation, kernels, networks, wait, whole_video
    from ti2v_bench.runner.costs import matmul_tflops

    started = time.perf_counter()
    model = loaded(task)
    wait(task.device)
    load = time.perf_counter() - started
    calls = known_calls(task, model)
    network = networks(model)[calls.network]
    weights = [value for each in networks(model) for value in each.parameters()]
    dtype = next(value.dtype for value in network.parameters() if value.is_floating_point())
    inputs = [(cast(args, dtype), cast(kwargs, dtype)) for args, kwargs in calls.inputs]

    def step() -> list[Any]:
        return [network(*args, **kwargs) for args, kwargs in inputs]

    started = time.perf_counter()
    outputs = step()
    wait(task.device)
    first, born = time.perf_counter() - started, time.time() - task.born
    off = deviation(outputs, calls.outputs)
    del outputs
    rate = matmul_tflops(task.device, 8192 if task.device != "cpu" else 256)
    speed = timed(task, step, calls, rate)
    if task.device != "cpu":
        speed["kernel_ms"], speed["kernels"] = kernels(step)
    whole = (
        whole_video(model, task.batch) if measures_whole(task.form, speed["seconds_per_video"], task.whole) else None
    )
    return {
        "model": task.model,
        "form": task.form,
        "fast": task.form != "exact",
        "batch": task.batch,
        "precision": str(dtype).removeprefix("torch."),
        "weights": task.weights,
        "settings": {},
        "calls_per_step": len(inputs),
        "tflop_per_step": round(calls.tflop, 3),
        "matmul_tflops": round(rate, 1),
        "load_seconds": round(load, 1),
        "first_step_seconds": round(first, 2),
        # The exact form makes its short video first, so only the others start as a run does.
        "start_to_first_step_seconds": None if task.form == "exact" else round(born, 1),
        "deviation": off,
        **speed,
        "measured_seconds_per_video": None if whole is None else round(whole, 3),
        "weights_gib": round(sum(value.nbytes for value in weights) / 2**30, 2),
        "host_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def measures_whole(form: str, seconds: float, most: float) -> bool:
    """Whether a whole video, expected to take so long, is made by the clock."""
    return form != "exact" and seconds <= most


def known_calls(task: Task, model: Any) -> "Calls":
    """What the exact form's network was given and gave in one step, made now or read."""
    import torch

    from tests.benchmarks.denoising_step import captured

    path = Path(task.scratch) / f"{task.model}_{task.batch}.pt"
    if task.form != "exact":
        calls: Calls = torch.load(path, map_location=task.device, weights_only=False)
        return calls
    calls = captured(model, task.device, SHORT.get(task.model, 2), published_steps(task.model), task.batch)
    torch.save(calls, path)
    return calls


def published_steps(name: str) -> int:
    """The default of the model's `steps` setting."""
    if name == "motif":
        return int(import_module("motif.settings").SampleSettings().steps)
    return int(import_module(f"baselines.{name}.settings").Settings().steps)


def timed(task: Task, step: Callable[[], object], calls: "Calls", rate: float) -> dict[str, Any]:
    """Median seconds of a step after two more, its peak memory, and what follows for a whole video."""
    from tests.benchmarks.denoising_step import memory, wait

    if task.device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        step()
    seconds = []
    for _ in range(task.timed):
        wait(task.device)
        started = time.perf_counter()
        step()
        wait(task.device)
        seconds.append(time.perf_counter() - started)
    each = median(seconds)
    return {
        "seconds_per_step": round(each, 5),
        "spread_seconds": [round(min(seconds), 5), round(max(seconds), 5)],
        "mfu": round(calls.tflop / each / rate, 4),
        "denoise_seconds_per_video": round(each * calls.per_video, 3),
        "autoencoder_seconds_per_video": round(calls.autoencoder_seconds, 3),
        "rest_seconds_per_video": round(calls.rest_seconds, 3),
        "seconds_per_video": round(each * calls.per_video + calls.autoencoder_seconds + calls.rest_seconds, 3),
        "gpu_memory_gib": memory(task.device),
    }


if __name__ == "__main__":
    main()
