"""How fast votes become reports, rankings and resamples, on one core; libraries beside us in the same run.

    OMP_NUM_THREADS=1 python tests/benchmarks/stats_speed.py --out results/stats

writes `speed.json` and `speed.md` there (about two minutes). Needs the `test` extra (choix, evalica, statsmodels).
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))

REASONS = ("none", "object_motion", "text_alignment;image_alignment", "overall_quality;object_motion")
REPORT = """
import resource, sys, time
from pathlib import Path
import matplotlib.backends.backend_agg, matplotlib.backends.backend_svg, matplotlib.figure
import scipy.optimize, scipy.sparse.csgraph
from ti2v_bench.leaderboard import ReportSettings, write_report
from ti2v_bench.votes import read_votes
start, cpu = time.perf_counter(), time.process_time()
write_report(read_votes(sys.argv[1]), Path(sys.argv[2]), ReportSettings())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(time.perf_counter() - start, time.process_time() - cpu, peak)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scale", type=float, default=1.0, help="Of the numbers of votes, to try the script.")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    size = arguments.scale
    rows = [
        report("14,400 votes, 10 models (star: 9 comparisons), 40 annotators", star_votes(size), "2 s, 300 MB"),
        report("250,000 votes, 20 models (190 comparisons), 500 annotators", round_robin(int(250_000 * size)), "-"),
        report("500,000 votes, the same", round_robin(int(500_000 * size)), "-"),
        report("1,000,000 votes, the same", round_robin(int(1_000_000 * size)), "15 s, memory linear"),
        *bradley_terry(int(144_000 * size)),
        resamples(star_votes(size)),
    ]
    arguments.out.mkdir(parents=True, exist_ok=True)
    write(arguments.out, rows)


def star_votes(scale: float = 1.0) -> pd.DataFrame:
    """Nine comparisons of 320 pairs, five different annotators of 40 each."""
    rng = np.random.default_rng(0)
    pairs = max(int(320 * scale), 4)
    pair = np.repeat(np.tile(np.arange(pairs), 9), 5)
    annotator = np.concatenate([rng.permutation(40)[:5] for _ in range(9 * pairs)])
    return votes(np.zeros(len(pair), dtype=int), np.repeat(np.arange(1, 10), pairs * 5), pair, annotator, rng)


def round_robin(n: int) -> pd.DataFrame:
    """Twenty models, all against all; 500 annotators."""
    rng = np.random.default_rng(1)
    first, second = np.triu_indices(20, 1)
    match = rng.integers(0, len(first), n)
    return votes(first[match], second[match], rng.integers(0, 320, n), rng.integers(0, 500, n), rng)


def votes(
    first: np.ndarray, second: np.ndarray, pair: np.ndarray, annotator: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """Simulated votes with every column of the contract."""
    n = len(pair)
    flip = rng.random(n) < 0.5
    won = rng.random(n) < 1 / (1 + np.exp(-0.1 * (second - first)))

    def names(letter: str, codes: np.ndarray) -> np.ndarray:
        return np.char.add(letter, codes.astype(str))

    return pd.DataFrame(
        {
            "vote_id": names("v", np.arange(n)),
            "study": "speed",
            "pair_id": names("p", pair),
            "image_id": names("i", pair % 88),
            "scenario": names("s", pair % 22),
            "left": names("m", np.where(flip, second, first)),
            "right": names("m", np.where(flip, first, second)),
            "choice": np.where(won != flip, "left", "right"),
            "reasons": np.array(REASONS)[rng.integers(0, 4, n)],
            "annotator": names("a", annotator),
            "kind": "main",
            "shown_at": "2026-01-01T00:00:00Z",
            "answered_at": np.char.add(np.char.add("2026-01-01T00:00:", rng.integers(10, 60, n).astype(str)), "Z"),
            "simulated": "true",
        }
    )


def report(name: str, frame: pd.DataFrame, target: str) -> dict[str, object]:
    """Read the csv and write all files in a process of its own; imports are not timed."""
    with tempfile.TemporaryDirectory() as folder:
        frame.to_csv(f"{folder}/votes.csv", index=False)
        command = [sys.executable, "-c", REPORT, f"{folder}/votes.csv", f"{folder}/out"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    wall, cpu, peak = map(float, done.stdout.split())
    size = f"{frame.shape[0]:,} votes"
    print(name, size, wall, cpu, peak, flush=True)
    return {"what": f"csv to all report files: {name}", "seconds": cpu, "wall": wall, "mb": peak, "target": target}


def bradley_terry(n: int) -> list[dict[str, object]]:
    """The same votes, each library from what it takes; equal answers checked."""
    import choix
    import evalica

    from ti2v_bench.stats.ranking import fit, outcomes
    from ti2v_bench.stats.table import tabulate
    from ti2v_bench.votes import check_votes

    frame = check_votes(round_robin(n))
    table = tabulate(frame)
    left_wins = (frame["choice"] == "left").to_numpy()
    left, right = (frame[side].astype(str).tolist() for side in ("left", "right"))
    place = {name: at for at, name in enumerate(table.models)}
    xs, ys = np.array([place[x] for x in left]), np.array([place[y] for y in right])
    winners = [evalica.Winner.X if win else evalica.Winner.Y for win in left_wins]
    pairs = list(zip(np.where(left_wins, xs, ys).tolist(), np.where(left_wins, ys, xs).tolist(), strict=True))
    ours, coded = best(lambda: fit(outcomes(table)).theta, 20)
    _, whole = best(lambda: fit(outcomes(tabulate(frame))).theta, 5)
    found = [
        ("ours, from coded votes", coded, ours),
        ("ours, from the vote table", whole, ours),
    ]
    theta, seconds = best(lambda: choix.opt_pairwise(20, pairs, tol=1e-9), 1)
    found.append(("choix.opt_pairwise", seconds, theta))
    theta, seconds = best(lambda: choix.mm_pairwise(20, pairs, tol=1e-10), 1)
    found.append(("choix.mm_pairwise", seconds, theta))

    def by_evalica() -> np.ndarray:
        scores = evalica.bradley_terry(left, right, winners, tolerance=1e-10, limit=10_000).scores
        logs = np.log([scores[name] for name in table.models])
        return logs - logs.mean()

    theta, seconds = best(by_evalica, 3)
    found.append(("evalica.bradley_terry, from names", seconds, theta))
    codes_x, codes_y = xs.tolist(), ys.tolist()

    def by_its_core() -> np.ndarray:
        scores, _ = evalica._brzo.bradley_terry(
            xs=codes_x, ys=codes_y, winners=winners, weights=ones, total=20,
            win_weight=1.0, tie_weight=0.5, tolerance=1e-10, limit=10_000,
        )  # fmt: skip
        logs = np.log(scores)
        return logs - logs.mean()

    ones = evalica._wrap_weights(None, len(xs))
    theta, seconds = best(by_its_core, 5)
    found.append(("evalica's compiled core (private), from codes", seconds, theta))
    rows = []
    for name, seconds, theta in found:
        difference = float(np.abs(theta - ours).max())
        print(name, seconds, difference, flush=True)
        rows.append(
            {
                "what": f"Bradley-Terry, {n:,} votes, 20 models: {name}",
                "seconds": seconds,
                "ratio": seconds / coded,
                "difference": difference,
                "target": "1/50 of choix, evalica; 1e-6" if name == "ours, from coded votes" else "-",
            }
        )
    return rows


def resamples(frame: pd.DataFrame) -> dict[str, object]:
    """2,000 draws of scenarios and 2,000 of annotators, all comparisons and models at once."""
    from ti2v_bench.stats.averages import joint_vote_shares, model_mix
    from ti2v_bench.stats.table import tabulate
    from ti2v_bench.votes import check_votes

    table = tabulate(check_votes(frame))
    mix = model_mix(table)
    _, seconds = best(lambda: joint_vote_shares(table, mix, 2000, 0), 5)
    print("resamples", seconds, flush=True)
    return {"what": f"2,000 joint cluster resamples, {table.n:,} votes", "seconds": seconds, "target": "0.5 s"}


def best(work: Callable[[], object], times: int) -> tuple[np.ndarray, float]:
    """The result and the least CPU seconds of several runs (other work on the machine does not count)."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    return result, min(seconds)  # type: ignore[return-value]


def write(out: Path, rows: list[dict[str, object]]) -> None:
    names = ("numpy", "scipy", "pandas", "choix", "evalica")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    machine = (
        f"{cpu()}, pinned to one core, load average {os.getloadavg()[0]:.1f} (other work ran beside it); {versions}, "
        f"Python {platform.python_version()}, {datetime.now(UTC).date()}"
    )
    lines = [
        "# Speed of reports, rankings and resamples",
        "",
        f"{machine}. Repeat with `OMP_NUM_THREADS=1 python tests/benchmarks/stats_speed.py --out results/stats`.",
        "",
        "Simulated votes. CPU seconds are what one free core needs; the least of several runs, or one run in a process "
        "of its own where wall seconds stand beside them (imports apart, peak memory with them). 'From coded "
        "votes': models and pairs are integers already, as in a "
        "VoteTable.",
        "",
        "| what | CPU, s | wall, s | peak, MB | ratio to ours | largest difference | target |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        cells = [f"{row['seconds']:.4g}", cell(row, "wall", ".3g"), cell(row, "mb", ".0f"), cell(row, "ratio", ".1f")]
        cells += [cell(row, "difference", ".1e"), str(row["target"])]
        lines.append(f"| {row['what']} | " + " | ".join(cells) + " |")
    (out / "speed.md").write_text("\n".join(lines) + "\n")
    (out / "speed.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


def cell(row: dict[str, object], name: str, form: str) -> str:
    return format(row[name], form) if name in row else ""


def cpu() -> str:
    lines = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return lines[0].split(":", 1)[1].strip() if lines else platform.processor()


if __name__ == "__main__":
    main()
