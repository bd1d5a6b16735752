"""The two shipped small models on the embedded bench: what they show, and how long a video takes.

    OMP_NUM_THREADS=1 python tests/benchmarks/mini_pair.py --out results/mini_motif --seeds 4

Draws the default bench (96 pairs), animates each pair with each seed by both models, judges each clip by the nearest
drawn alternative, and writes `shipped.json`. The bench's words are not split: 15 % of its combinations were held out in
training, as of all. Clips of one pair are not independent, so intervals are over pairs, of each pair's mean.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch

from motif.mini.judge import OUTCOMES, Judge, cases
from motif.mini.model import CHECKPOINTS, Mini, SampleSettings, picture
from motif.mini.report import student
from tests.benchmarks.metrics_speed import processor
from ti2v_bench.bench import load_bench
from ti2v_bench.shapes import join, read_scenes, write_shapes

OVER_PAIRS = "Student's t over pairs, seeds averaged"


def main() -> None:
    """Draw, animate, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    if args.pairs < 2 or args.seeds < 1:
        parser.error("an interval needs two pairs or more, and one seed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shapes(folder, pairs=args.pairs)
        bench, (_, known) = load_bench(folder), read_scenes(folder)
        scenes = join([known[pair.id] for pair in bench.pairs])
        given = torch.cat([((picture(pair.image, 64) + 1) * 127.5).round().byte() for pair in bench.pairs])
        judge = Judge(scenes, cases(scenes, 64, 8), given)
        found: dict[str, object] = {}
        right: dict[str, np.ndarray] = {}
        for name in ("motif-mini", "plain-mini"):
            model = Mini(name, CHECKPOINTS / f"{name}.safetensors", SampleSettings())
            used, outcomes, still, first = time.process_time(), [], [], []
            for seed in range(args.seeds):
                clips = np.stack([model.generate(pair, seed) for pair in bench.pairs])
                verdicts = judge(torch.from_numpy(clips).permute(0, 4, 1, 2, 3))
                outcomes.append(verdicts.outcome)
                still.append(float(np.nanmean(verdicts.still_psnr)))
                first.append(float(verdicts.first_psnr.mean()))
            cpu = (time.process_time() - used) / (args.pairs * args.seeds)
            right[name] = (np.stack(outcomes) == 0).mean(0)
            found[name] = {
                "accuracy": asdict(student(right[name], OVER_PAIRS)),
                "outcomes": dict(
                    zip(OUTCOMES, np.bincount(np.concatenate(outcomes), minlength=5).tolist(), strict=True)
                ),
                "still_psnr": float(np.mean(still)),
                "first_psnr": float(np.mean(first)),
                "cpu_seconds_per_video": cpu,
            }
            print(name, found[name], flush=True)
    found["difference"] = asdict(student(right["motif-mini"] - right["plain-mini"], OVER_PAIRS))
    found["settings"] = asdict(SampleSettings()) | {"seeds": args.seeds, "pairs": args.pairs}
    found["machine"] = f"{processor()}, {torch.get_num_threads()} thread, torch {torch.__version__}"
    found["date"] = datetime.now(UTC).date().isoformat()
    found["command"] = f"python tests/benchmarks/mini_pair.py --pairs {args.pairs} --seeds {args.seeds} --out OUT"
    (args.out / "shipped.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
