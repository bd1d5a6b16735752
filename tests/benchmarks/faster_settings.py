"""How far a faster setting of a model takes its videos from those of the published one, and how much faster it is.

    python tests/benchmarks/faster_settings.py --model motif-mini --published steps=50 \
        --faster steps=25 steps=12 steps=6 --pairs 24 --out results/speed
    python tests/benchmarks/faster_settings.py --model dynamicrafter --bench BENCH --device cuda \
        --faster fast fast,precision=bfloat16 fast,steps=25 --out OUT

A setting is a comma-separated list of what `generate --set` takes, and `fast` or `precision=…`. Every video is made
with seed 0 from the same pictures and prompts, by one setting after another. Without --bench, the embedded bench is
drawn. Writes `faster_<model>.json` and `.md`. With random weights only the seconds mean anything.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from ti2v_bench.bench import load_bench
from ti2v_bench.model import Frames, ModelOptions
from ti2v_bench.motion.dis import DisFlow
from ti2v_bench.records import Pair
from ti2v_bench.registry import load_model
from ti2v_bench.shapes import write_shapes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--published", default="", help="the setting that all are compared with; default: the model's")
    parser.add_argument("--faster", nargs="+", required=True)
    parser.add_argument("--bench", type=Path)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--weights")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.bench is None:
            write_shapes(Path(folder), pairs=given.pairs)
        pairs = load_bench(given.bench or Path(folder)).pairs[: given.pairs]
        published, seconds = videos(given, given.published, pairs)
        rows = [row(given.published or "default", seconds, seconds, [], [])]
        flows = [DisFlow().flow(frames) for frames in published]
        for setting in given.faster:
            made, spent = videos(given, setting, pairs)
            likeness = [psnr(a, b) for a, b in zip(made, published, strict=True)]
            moved = [float(np.hypot(*(DisFlow().flow(a) - b).transpose(1, 0, 2, 3)).mean())
                     for a, b in zip(made, flows, strict=True)]  # fmt: skip
            rows.append(row(setting, spent, seconds, likeness, moved))
            print(rows[-1], flush=True)
            write(given, rows, float(np.mean([np.hypot(*flow.transpose(1, 0, 2, 3)).mean() for flow in flows])))


def videos(given: argparse.Namespace, setting: str, pairs: Sequence[Pair]) -> tuple[list[Frames], list[float]]:
    """One video per pair, and the seconds that each took; the first is made twice, its first time not counted."""
    words = [word for word in setting.split(",") if word]
    changes = dict(word.split("=", 1) for word in words if "=" in word)
    precision = changes.pop("precision", None)
    options = ModelOptions(given.device, given.weights, precision, given.bench, 1, changes, "fast" in words)
    model = load_model(given.model, options)
    for _ in range(2 if "fast" in words else 1):  # the second call is recorded as a graph
        model.generate(pairs[0], 0)
    made, seconds = [], []
    for pair in pairs:
        started = time.perf_counter()
        made.append(model.generate(pair, 0))
        seconds.append(time.perf_counter() - started)
    return made, seconds


def psnr(found: Frames, wanted: Frames) -> float:
    """Over all frames but the first, which is given; 99 dB at most."""
    error = np.square(found[1:].astype(float) - wanted[1:]).mean()
    return float(min(99.0, 10 * np.log10(255**2 / max(error, 1e-12))))


def row(
    setting: str, spent: Sequence[float], base: Sequence[float], likeness: Sequence[float], moved: Sequence[float]
) -> dict[str, Any]:
    each = float(np.median(spent))
    return {
        "setting": setting,
        "videos": len(spent),
        "seconds_per_video": round(each, 3),
        "times_faster": round(float(np.median(base)) / each, 2),
        "psnr_to_published_db": interval(likeness),
        "flow_difference_px": interval(moved),
    }


def interval(values: Sequence[float]) -> list[float] | None:
    """Mean and Student's 95 % interval over videos."""
    if len(values) < 2:
        return None
    mean, wide = np.mean(values), stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return [round(float(number), 3) for number in (mean, mean - wide, mean + wide)]


def write(given: argparse.Namespace, rows: Sequence[dict[str, Any]], flow: float) -> None:
    """Both files, after every row."""
    on_gpu = torch.device(given.device).type == "cuda"
    bench = "--bench BENCH " if given.bench else ""
    weights = f"--weights {given.weights} " if given.weights else ""
    table = {
        "model": given.model,
        "weights": given.weights or "its own",
        "machine": torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"python tests/benchmarks/faster_settings.py --model {given.model} "
        f"--published {given.published or repr('')} --faster {' '.join(given.faster)} {bench}{weights}"
        f"--pairs {given.pairs} --device {given.device} --out OUT",
        "mean_flow_of_published_px": round(flow, 3),
        "rows": list(rows),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / f"faster_{given.model}.json").write_text(json.dumps(table, indent=1) + "\n")
    lines = [
        f"# Faster settings of {given.model}, and what they change",
        "",
        f"{table['machine']}, torch {table['torch']}, {table['date']}; weights: {table['weights']}.",
        "",
        f"`{table['command']}`",
        "",
        "Against the videos of the first row, same pictures, prompts and seed; brackets: Student's 95 % over videos.",
        "Flow: mean length of the difference of DIS flow, in pixels of the video; the first row's own flow is",
        f"{flow:.2f} px on average. Seconds are medians.",
        "",
        "| setting | videos | s per video | times faster | PSNR dB | flow difference px |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for each in rows:
        figures = (
            "–" if value is None else f"{value[0]} [{value[1]}, {value[2]}]"
            for value in (each["psnr_to_published_db"], each["flow_difference_px"])
        )
        lines.append(
            f"| {each['setting']} | {each['videos']} | {each['seconds_per_video']} | {each['times_faster']} | "
            f"{' | '.join(figures)} |"
        )
    (given.out / f"faster_{given.model}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
