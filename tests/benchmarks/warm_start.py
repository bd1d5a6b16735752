"""Seconds from the birth of a process to the end of its first denoising step, with a filled compiler's cache.

    python tests/benchmarks/warm_start.py --models cinemo,dynamicrafter --device cuda --out results/speed
    python tests/benchmarks/warm_start.py --models cinemo --device cpu --weights random-tiny --out OUT

One start fills the cache and is not counted; then every start is a process of its own. Writes warm_start.json and .md.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.bench_generation import MODELS, surroundings

PARTS = ("import", "load", "to the network", "first step", "all")


class StepIsOverError(Exception):
    """The first step is over."""


def main() -> None:
    options = arguments()
    if options.child is not None:
        print(json.dumps(started(options, options.child)))
        return
    models, rows = options.models.split(","), []
    unknown = sorted(set(models) - set(MODELS))
    if unknown:
        raise SystemExit(f"--models: {', '.join(unknown)} is not among {', '.join(MODELS)}.")
    for model in models:
        fill, *starts = [one(options, model) for _ in range(1 + options.starts)]
        row: dict[str, Any] = {"model": model, "starts": options.starts, "filling": fill["all"]}
        for part in PARTS:
            seconds = [start[part] for start in starts]
            row[part] = [round(value, 2) for value in (statistics.median(seconds), min(seconds), max(seconds))]
        rows.append(row)
        print(row, flush=True)
        write(options, rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True, help="comma-separated")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--weights", default="random-full")
    parser.add_argument("--form", choices=("exact", "fast"), default="fast")
    parser.add_argument("--starts", type=int, default=3, help="that are counted")
    parser.add_argument("--compile-cache", type=Path, help="folder; default: the user's cache folder")
    parser.add_argument("--child", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def one(options: argparse.Namespace, model: str) -> dict[str, float]:
    """The parts of one start."""
    given = [*sys.argv[1:], "--models", model, "--child", repr(time.time())]
    done = subprocess.run([sys.executable, __file__, *given], cwd=Path.cwd(), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{model} did not start (exit status {done.returncode}); its own words stand above.")
    parts: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return parts


def started(options: argparse.Namespace, born: float) -> dict[str, float]:
    """In a process of its own: load the model and make a video up to the end of its first network call."""
    from tests.benchmarks.generation_child import Task, imported, loaded

    laps = [born]
    imported(options.models)
    laps.append(time.time())

    import torch

    from baselines.fast import default_cache
    from tests.benchmarks.denoising_step import make, networks, noise_pair, wait

    cache = str((options.compile_cache or default_cache()).absolute())
    task = Task(options.models, options.form, 1, options.weights, options.device, 0, "", cache, born)

    def lap(*_: object) -> None:
        wait(options.device)
        laps.append(time.time())

    def last(*_: object) -> None:
        lap()
        raise StepIsOverError

    with torch.inference_mode(), noise_pair() as pair:
        model = loaded(task)
        lap()
        network = max(networks(model), key=lambda each: sum(value.numel() for value in each.parameters()))
        network.register_forward_pre_hook(lap)
        network.register_forward_hook(last)
        with suppress(StepIsOverError):
            make(model, pair)
    spent = [after - before for before, after in pairwise(laps)]
    return dict(zip(PARTS, [*spent, laps[-1] - born], strict=True))


def write(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    import platform

    shown = f"--models {options.models} --device {options.device} --weights {options.weights} --form {options.form}"
    table = {
        "what": "Seconds from the birth of a process to the end of its first denoising step, with a filled cache",
        **surroundings(options.device),
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"python tests/benchmarks/warm_start.py {shown} --starts {options.starts} --out OUT",
        "rows": rows,
    }
    lines = [
        "# Warm starts",
        "",
        f"{table['what']}: median [least, most] of {options.starts}. {options.weights} weights, {options.form} form; "
        f"{table['device']}, torch {table['torch']}, {table['date']}.",
        "",
        f"`{table['command']}`",
        "",
        f"| model | {' | '.join(PARTS)} | the start that filled the cache |",
        "| --- |" + " --- |" * (len(PARTS) + 1),
    ]
    for row in rows:
        cells = [f"{row[part][0]} [{row[part][1]}, {row[part][2]}]" for part in PARTS]
        lines.append(f"| {row['model']} | {' | '.join(cells)} | {row['filling']:.1f} |")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "warm_start.json").write_text(json.dumps(table, indent=1) + "\n")
    (options.out / "warm_start.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
