"""The two shipped small models on the embedded bench: what they show, and how long a video takes.

    OMP_NUM_THREADS=1 python tests/benchmarks/mini_pair.py --out results/mini_motif

Draws the default bench (96 pairs), animates each pair with seed 0 by both models, judges each clip by the nearest drawn
alternative, and writes `shipped.json`. The bench's words are not split: 15 % of its combinations were held out in
training, as of all.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch
from scipy import stats

from motif.mini.judge import OUTCOMES, Judge, cases
from motif.mini.model import CHECKPOINTS, Mini, SampleSettings, picture
from ti2v_bench.bench import load_bench
from ti2v_bench.records import Estimate
from ti2v_bench.shapes import join, read_scenes, write_shapes


def main() -> None:
    """Draw, animate, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=96)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shapes(folder, pairs=args.pairs)
        bench, (_, known) = load_bench(folder), read_scenes(folder)
        scenes = join([known[pair.id] for pair in bench.pairs])
        given = torch.cat([((picture(pair.image, 64) + 1) * 127.5).round().byte() for pair in bench.pairs])
        judge = Judge(scenes, cases(scenes, 64, 8), given)
        found: dict[str, object] = {}
        right = {}
        for name in ("motif-mini", "plain-mini"):
            model = Mini(name, CHECKPOINTS / f"{name}.safetensors", SampleSettings())
            used = time.process_time()
            clips = np.stack([model.generate(pair, 0) for pair in bench.pairs])
            cpu = time.process_time() - used
            verdicts = judge(torch.from_numpy(clips).permute(0, 4, 1, 2, 3))
            right[name] = verdicts.outcome == 0
            count, n = int(right[name].sum()), len(clips)
            interval = stats.binomtest(count, n).proportion_ci(0.95, "wilson")
            found[name] = {
                "accuracy": asdict(Estimate(count / n, interval.low, interval.high, 0.95, n, "Wilson")),
                "outcomes": dict(zip(OUTCOMES, np.bincount(verdicts.outcome, minlength=5).tolist(), strict=True)),
                "still_psnr": float(np.nanmean(verdicts.still_psnr)),
                "first_psnr": float(verdicts.first_psnr.mean()),
                "cpu_seconds_per_video": cpu / n,
            }
            print(name, found[name], flush=True)
    only = [int((right[a] & ~right[b]).sum()) for a, b in (("motif-mini", "plain-mini"), ("plain-mini", "motif-mini"))]
    found["only_motif_right"], found["only_plain_right"] = only
    found["mcnemar_exact_p"] = float(stats.binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0
    found["settings"] = asdict(SampleSettings()) | {"seed": 0, "pairs": args.pairs}
    found["machine"] = f"{platform.machine()}, {torch.get_num_threads()} thread, torch {torch.__version__}"
    (args.out / "shipped.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
