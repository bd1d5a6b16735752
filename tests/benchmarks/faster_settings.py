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
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from motif.mini.report import student
from tests.benchmarks.metrics_speed import processor
from ti2v_bench.bench import load_bench
from ti2v_bench.errors import TI2VError
from ti2v_bench.model import Frames, ModelOptions
from ti2v_bench.motion.dis import DisFlow
from ti2v_bench.motion.flow import Flow
from ti2v_bench.records import Pair
from ti2v_bench.registry import load_model
from ti2v_bench.shapes import write_shapes

METHOD = "Student's t over videos"


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
    if given.pairs < 2:
        parser.error(f"an interval needs two videos or more, not {given.pairs}")
    for word in ",".join([given.published, *given.faster]).split(","):
        if word not in ("", "fast") and "=" not in word:
            parser.error(f"{word!r} is neither fast nor of the form name=value")
    try:
        compare(given)
    except TI2VError as error:
        sys.exit(f"Error: {error}")


def compare(given: argparse.Namespace) -> None:
    """Make, measure, write."""
    with tempfile.TemporaryDirectory() as folder:
        if given.bench is None:
            write_shapes(Path(folder), pairs=given.pairs)
        pairs = load_bench(given.bench or Path(folder)).pairs[: given.pairs]
        published, seconds = videos(given, given.published, pairs)
        flows = [DisFlow().flow(frames) for frames in published]
        table = about(given) | {"mean_flow_of_published_px": round(float(np.mean([length(flow) for flow in flows])), 3)}
        base = float(np.median(seconds))
        rows = [{"setting": given.published or "default", "videos": len(pairs), "seconds_per_video": round(base, 3)}]
        for setting in given.faster:
            made, spent = videos(given, setting, pairs)
            if made[0].shape != published[0].shape:
                raise TI2VError(f"Setting {setting} makes videos of {made[0].shape}, not of {published[0].shape}.")
            each = float(np.median(spent))
            moved = [length(DisFlow().flow(a) - b) for a, b in zip(made, flows, strict=True)]
            rows.append(
                {
                    "setting": setting,
                    "videos": len(pairs),
                    "seconds_per_video": round(each, 3),
                    "times_faster": round(base / each, 2),
                    "psnr_to_published_db": asdict(student(list(map(psnr, made, published)), METHOD)),
                    "flow_difference_px": asdict(student(moved, METHOD)),
                }
            )
            print(rows[-1], flush=True)
            write(given.out, table | {"rows": rows})


def videos(given: argparse.Namespace, setting: str, pairs: Sequence[Pair]) -> tuple[list[Frames], list[float]]:
    """One video per pair, and the seconds that each took; the first is made before, its time not counted."""
    words = [word for word in setting.split(",") if word]
    changes = dict(word.split("=", 1) for word in words if "=" in word)
    precision = changes.pop("precision", None)
    options = ModelOptions(given.device, given.weights, precision, given.bench, 1, changes, "fast" in words)
    model = load_model(given.model, options)
    model.generate(pairs[0], 0)
    made, seconds = [], []
    for pair in pairs:
        started = time.perf_counter()
        made.append(model.generate(pair, 0))
        seconds.append(time.perf_counter() - started)
    return made, seconds


def psnr(found: Frames, wanted: Frames) -> float:
    """Over all frames but the first, which is given; 99 dB at most."""
    one, other = (torch.from_numpy(frames[1:].astype(np.float64)) for frames in (found, wanted))
    return min(99.0, float(peak_signal_noise_ratio(one, other, data_range=255.0)))


def length(flow: Flow) -> float:
    """Mean length of its vectors, in pixels."""
    return float(np.hypot(flow[:, 0], flow[:, 1]).mean())


def about(given: argparse.Namespace) -> dict[str, Any]:
    """What was compared, where, and how to do it again."""
    on_gpu = torch.device(given.device).type == "cuda"
    bench = "--bench BENCH " if given.bench else ""
    weights = f"--weights {given.weights} " if given.weights else ""
    return {
        "model": given.model,
        "weights": given.weights or "its own",
        "machine": torch.cuda.get_device_name()
        if on_gpu
        else f"{processor()}, {torch.get_num_threads()} torch threads",
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"python tests/benchmarks/faster_settings.py --model {given.model} "
        f"--published {given.published or repr('')} --faster {' '.join(given.faster)} {bench}{weights}"
        f"--pairs {given.pairs} --device {given.device} --out OUT",
    }


def write(out: Path, table: Mapping[str, Any]) -> None:
    """Both files."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"faster_{table['model']}.json").write_text(json.dumps(table, indent=1) + "\n")
    lines = [
        f"# Faster settings of {table['model']}, and what they change",
        "",
        f"{table['machine']}, torch {table['torch']}, {table['date']}; weights: {table['weights']}.",
        "",
        f"`{table['command']}`",
        "",
        "Against the videos of the first row, same pictures, prompts and seed; brackets: Student's 95 % over videos.",
        "Flow: mean length of the difference of DIS flow, in pixels of the video; the first row's own flow is",
        f"{table['mean_flow_of_published_px']:.2f} px on average. Seconds are medians.",
        "",
        "| setting | videos | s per video | times faster | PSNR dB | flow difference px |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in table["rows"]:
        entries = [row["setting"], row["videos"], row["seconds_per_video"], row.get("times_faster", 1.0)]
        entries += [shown(row.get(name)) for name in ("psnr_to_published_db", "flow_difference_px")]
        lines.append(f"| {' | '.join(map(str, entries))} |")
    (out / f"faster_{table['model']}.md").write_text("\n".join(lines) + "\n")


def shown(estimate: Mapping[str, Any] | None) -> str:
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]" if estimate else "–"


if __name__ == "__main__":
    main()
