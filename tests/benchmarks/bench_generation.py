"""What making a video costs, for every published model at its published size and steps, exact and fast.

    python tests/benchmarks/bench_generation.py --device cuda --out results/speed --whole 20 --limit 580
    python tests/benchmarks/bench_generation.py --device cuda --out OUT --resume results/speed/generation.json
    python tests/benchmarks/bench_generation.py --weights random-tiny --device cpu --models seine --out OUT

Weights are random, of full size. First the compiler's cache is filled by several processes at once; then each model and
form is measured alone, in a process of its own. generation.json and generation.md are written after every row, and a
run goes on where an earlier one on the same device ended (`--resume`, by default the file of `--out`).
`ti2v-bench generate --plan` reads generation.json. kernels.json lists every form's kernels, the longest first.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
MODELS = (
    "dynamicrafter", "seine", "consisti2v", "cinemo", "animate_anything", "videocrafter", "cond_leak", "ti2v_zero",
    "i2vgen_xl", "motif",
)  # fmt: skip
LEAST = 15.0
"""Seconds without which no further process is begun."""
TO_COMPILE = 0.6
"""Part of --limit after which compiling ahead is broken off; what is left compiles where it is measured."""


def main() -> None:
    options = arguments()
    end = time.monotonic() + options.limit
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        tasks = list(planned(options, scratch))
        rows = known_rows(options, tasks)
        have = {name_of(row) for row in rows}
        kernels = known_kernels(options)
        tasks = [task for task in tasks if name_of(task) not in have or needs_exact(task, tasks, have)]
        if not options.no_warm_up:
            warm_up([task for task in tasks if task["form"] != "exact"], options)
        following = born(tasks[0]) if tasks else None
        for task, after in zip_longest(tasks, tasks[1:]):
            if end - time.monotonic() < LEAST:
                print(f"--limit {options.limit:.0f} is reached; {task['model']} and later ones are left", flush=True)
                break
            print(f"{task['model']}, {task['form']}, batch {task['batch']} …", flush=True)
            child, following = following, born(after) if after else None  # which imports meanwhile
            row = finished(task, child, min(options.each, end - time.monotonic()))
            kernels[" ".join(map(str, name_of(row)))] = row.pop("kernels", [])
            rows = [*(row for row in rows if name_of(row) != name_of(task)), row]
            print("   ", row, flush=True)
            write(options, rows, kernels)
        if following is not None:
            following.kill()
    write(options, rows, kernels)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", default=",".join(MODELS), help="comma-separated, in this order")
    parser.add_argument("--forms", default="exact,fast,half", help="half: only of models published in float32")
    parser.add_argument("--batches", default="1", help="comma-separated pairs per call")
    parser.add_argument("--weights", default="random-full")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--timed", type=int, default=5, help="repetitions that are timed")
    parser.add_argument(
        "--whole",
        type=float,
        default=0,
        metavar="SECONDS",
        help="make whole videos by the clock in the fast forms, where one takes at most so long",
    )
    parser.add_argument("--limit", type=float, default=3600, help="seconds in all")
    parser.add_argument("--each", type=float, default=240, help="seconds that one process may take")
    parser.add_argument("--resume", type=Path, help="generation.json of an earlier run")
    parser.add_argument("--parallel", type=int, default=4, help="processes that fill the compiler's cache at once")
    parser.add_argument("--no-warm-up", action="store_true", help="the compiler's cache is filled already")
    parser.add_argument("--compile-cache", type=Path, help="folder; default: the user's cache folder")
    return parser.parse_args()


def planned(options: argparse.Namespace, scratch: str) -> Iterator[dict[str, Any]]:
    """Tasks in the order in which they are measured; the exact form of a model comes first."""
    from baselines.fast import default_cache
    from ti2v_bench.registry import load_card

    for model in options.models.split(","):
        halved = load_card(model).precision.startswith("float32")
        for batch in (int(text) for text in options.batches.split(",")):
            for form in ("exact", "fast", "half"):
                if form in options.forms.split(",") and (form != "half" or halved) and (batch == 1 or model != "motif"):
                    yield {
                        "model": model,
                        "form": form,
                        "batch": batch,
                        "weights": options.weights,
                        "device": options.device,
                        "timed": options.timed,
                        "whole": options.whole,
                        "scratch": scratch,
                        "cache": str((options.compile_cache or default_cache()).absolute()),
                    }


def name_of(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["model"], row["form"], row["batch"]


def needs_exact(task: dict[str, Any], tasks: Sequence[dict[str, Any]], have: set[tuple[str, str, int]]) -> bool:
    """Whether an exact form that is known must run again, since a form that is missing is compared with it."""
    others = [t for t in tasks if (t["model"], t["batch"]) == (task["model"], task["batch"])]
    return task["form"] == "exact" and any(name_of(other) not in have for other in others)


def known_rows(options: argparse.Namespace, tasks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of an earlier run with the same device, torch and weights, without its failures.

    With --whole, fast rows of a run without it are missing, where a video takes no longer.
    """
    from tests.benchmarks.generation_child import measures_whole

    path = options.resume or options.out / "generation.json"
    if not path.exists():
        return []
    table: dict[str, Any] = json.loads(path.read_text())
    if {key: table.get(key) for key in ("device", "torch")} != surroundings(options.device):
        print(f"{path} was measured elsewhere and is not taken up", flush=True)
        return []
    wanted = {(*name_of(task), task["weights"]) for task in tasks}
    rows = [row for row in table["rows"] if "error" not in row and (*name_of(row), row["weights"]) in wanted]

    def is_complete(row: dict[str, Any]) -> bool:
        made = row.get("measured_seconds_per_video") is not None
        return made or not measures_whole(row["form"], row["seconds_per_video"], options.whole)

    return [row for row in rows if is_complete(row)]


def known_kernels(options: argparse.Namespace) -> dict[str, Any]:
    """The kernels that an earlier run in the same folder listed."""
    path = options.out / "kernels.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def warm_up(tasks: Sequence[dict[str, Any]], options: argparse.Namespace) -> None:
    """Fill the compiler's cache, several models at once: compiling takes cores, not the GPU."""
    waiting, running = list(tasks), dict[subprocess.Popen[bytes], str]()
    started = time.monotonic()
    threads = max(1, (os.cpu_count() or 1) // options.parallel)
    environment = {"TORCHINDUCTOR_COMPILE_THREADS": str(threads), **os.environ}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    while waiting or running:
        while waiting and len(running) < options.parallel:
            task = waiting.pop(0) | {"only_compile": True}
            print(f"compiling {task['model']}, {task['form']}, batch {task['batch']} …", flush=True)
            child = subprocess.Popen(command(task), cwd=ROOT, **quiet)
            running[child] = f"{task['model']} {task['form']}"
        time.sleep(0.2)
        for child in [child for child in running if child.poll() is not None]:
            name = running.pop(child)
            print(f"    {name}: {child.returncode} after {time.monotonic() - started:.0f} s", flush=True)
        if time.monotonic() - started > TO_COMPILE * options.limit:
            waiting.clear()
            for child in running:
                child.kill()


def command(task: dict[str, Any]) -> list[str]:
    child = Path(__file__).with_name("generation_child.py")
    return [sys.executable, str(child), json.dumps(task | {"born": time.time()})]


def born(task: dict[str, Any]) -> "subprocess.Popen[str]":
    """A process for the task that waits for a line before it touches the GPU."""
    pipe = subprocess.PIPE
    waiting = command(task | {"wait": True})
    return subprocess.Popen(waiting, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT)


def finished(task: dict[str, Any], child: "subprocess.Popen[str]", seconds: float) -> dict[str, Any]:
    """The row of one process, or one that says how it ended."""
    about = {key: task[key] for key in ("model", "form", "batch", "weights")}
    try:
        said, complaints = child.communicate("go\n", timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        return about | {"error": f"stopped after {seconds:.0f} s"}
    if child.returncode:
        lines = complaints.strip().splitlines() or [f"exit status {child.returncode}"]
        return about | {"error": lines[-1][:300]}
    row: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return row


def surroundings(device: str) -> dict[str, str]:
    import torch

    on_gpu = device != "cpu" and torch.cuda.is_available()
    return {"device": torch.cuda.get_device_name(0) if on_gpu else "CPU", "torch": torch.__version__}


def again(options: argparse.Namespace) -> str:
    """The command that makes the table, without what only says where and for how long."""
    said = [f"--{name} {getattr(options, name)}" for name in ("models", "forms", "batches", "weights", "device")]
    said += [f"--timed {options.timed}", *([f"--whole {options.whole:g}"] if options.whole else []), "--out OUT"]
    return " ".join(["python tests/benchmarks/bench_generation.py", *said])


def write(options: argparse.Namespace, rows: Sequence[dict[str, Any]], kernels: dict[str, Any]) -> None:
    """All files, whole at every time."""
    from tests.benchmarks.generation_table import gpu_hours, markdown, with_ratio

    order = {name: place for place, name in enumerate(options.models.split(","))}
    rows = sorted((with_ratio(row) for row in rows), key=lambda row: order[row["model"]])
    table = {
        "what": "Models at their published size and steps, random weights",
        **surroundings(options.device),
        "date": datetime.now(UTC).date().isoformat(),
        "command": again(options),
        "matmul_tflops": max((row["matmul_tflops"] for row in rows if "error" not in row), default=0.0),
        "whole_bench": gpu_hours(rows),
        "rows": rows,
    }
    files = {
        "generation.json": json.dumps(table, indent=1) + "\n",
        "generation.md": markdown(table),
        "kernels.json": json.dumps(kernels, indent=1) + "\n",
    }
    for name, text in files.items():
        partial = options.out / f".{name}.partial"
        partial.write_text(text)
        partial.replace(options.out / name)


if __name__ == "__main__":
    main()
