"""How often 95 % intervals cover the truth, in simulated studies of the benchmark's size.

    OMP_NUM_THREADS=1 nice python tests/benchmarks/coverage.py --out results/stats

writes `coverage.json` and `coverage.md` there (a few minutes of one core).
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import scipy

sys.path.insert(0, str(Path(__file__).parents[2]))

from ti2v_bench.stats.averages import joint_majorities
from ti2v_bench.stats.clusters import ClusteredMeans, intervals
from ti2v_bench.stats.proportions import wilson_interval
from ti2v_bench.stats.shares import fixed_bench_shares, majorities, vote_shares
from ti2v_bench.stats.simulate import (
    Design,
    Effects,
    Simulated,
    even_design,
    population_majority,
    share_given_scenarios,
    simulate,
)

BATCH = 200
IMAGES_PER_SCENARIO = (4, 4, 4, 4, 4, 4, 3, 4, 4, 4, 5, 4, 4, 4, 3, 4, 4, 6, 4, 3, 4, 4)
PAIRS_PER_IMAGE = (4, 4, 4, 3, 4, 4, 3, 4, 5, 4, 4, 3, 4, 4, 6, 5, 3, 2, 2, 3, 3, 3)
"""TI2V-Bench's own sizes, scenario by scenario (every image of a scenario has equally many pairs)."""
TARGET = (93.0, 97.0)
TEXT = """# Coverage of 95 % intervals in simulated studies

Each study: 320 pairs of 88 images in 22 scenarios, k votes per pair by different annotators drawn from A; normal
effects on the logit of preferring the model: image sd {image}, scenario {scenario}, annotator {annotator}. Every study
draws its images, scenarios and annotators anew. {replicates:,} studies per row; standard error of a coverage near
95 %: {error:.2f} points.

**What is to be covered.** For vote shares p: the share of votes for the model over all images, scenarios and
annotators of which the study's are a sample, E[expit(mu + scenario + image + annotator)] = p (mu solved by quadrature),
not the share among the study's own. For the fixed bench: the same mean with the study's own scenarios given. For
majorities: the share of pairs that a majority of k random annotators prefers, over all images and scenarios.

Target: {low:g}–{high:g} % for the two-way interval in every row. {verdict}

{machine}. Repeat with `OMP_NUM_THREADS=1 nice python tests/benchmarks/coverage.py --out results/stats`.
"""


@dataclass(frozen=True)
class Method:
    name: str
    limits: Callable[[Simulated], tuple[np.ndarray, np.ndarray]]
    target: str
    """`share`, `bench` or `majority`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--replicates", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    rows = [
        measure(name, design(name, annotators, votes), Effects(), share, arguments.replicates, arguments.seed)
        for name in ("TI2V-Bench's sizes", "even sizes")
        for annotators in (10, 40)
        for votes in (3, 5)
        for share in (0.5, 0.7, 0.9)
    ]
    arguments.out.mkdir(parents=True, exist_ok=True)
    write(arguments.out, rows, arguments.replicates, arguments.seed, time.perf_counter() - start)


def design(name: str, annotators: int, votes: int) -> Design:
    if name == "even sizes":
        return even_design(320, 88, 22, annotators, votes)
    scenario_of_image = np.repeat(np.arange(22), IMAGES_PER_SCENARIO)
    pairs = np.repeat(PAIRS_PER_IMAGE, IMAGES_PER_SCENARIO)
    image = np.repeat(np.arange(88), pairs)
    return Design(image, scenario_of_image[image], annotators, votes)


def methods(scheme: Design) -> list[Method]:
    def one_way(study: Simulated) -> tuple[np.ndarray, np.ndarray]:
        table = study.table
        means = vote_shares(table)
        rest = np.zeros((len(table.matches), 22))
        np.add.at(rest, (table.match, table.scenario), table.score - means.value[table.match])
        variance = (rest**2).sum(1) / means.n**2 * 22 / 21
        alone = ClusteredMeans(means.value, means.n, variance, (means.clusters[0],) * 2, means.units, means.names)
        return intervals(alone, 0.95)

    def wilson_votes(study: Simulated) -> tuple[np.ndarray, np.ndarray]:
        means = vote_shares(study.table)
        return wilson_interval(means.value * means.n, means.n, 0.95)

    def wilson_pairs(study: Simulated) -> tuple[np.ndarray, np.ndarray]:
        found = majorities(study.table, 0.95)
        return np.array([e.low for e in found]), np.array([e.high for e in found])

    def majority(study: Simulated) -> tuple[np.ndarray, np.ndarray]:
        return intervals(joint_majorities(study.table, np.eye(len(study.table.matches))), 0.95)

    def fixed(study: Simulated) -> tuple[np.ndarray, np.ndarray]:
        means = fixed_bench_shares(study.table)
        assert means is not None
        return intervals(means, 0.95)

    return [
        Method("vote_share, two-way", lambda study: intervals(vote_shares(study.table), 0.95), "share"),
        Method("vote_share, scenarios only", one_way, "share"),
        Method("vote_share, Wilson on votes", wilson_votes, "share"),
        Method("vote_share_fixed_bench", fixed, "bench"),
        Method("majority_clustered", majority, "majority"),
        Method("majority, Wilson on pairs", wilson_pairs, "majority"),
    ]


def measure(name: str, scheme: Design, effects: Effects, p: float, replicates: int, seed: int) -> dict[str, object]:
    rng = np.random.default_rng([seed, scheme.annotators, scheme.votes, round(100 * p), len(name)])
    used = methods(scheme)
    covered, width = np.zeros(len(used)), np.zeros(len(used))
    majority = population_majority(p, effects, scheme.votes)
    for done in range(0, replicates, BATCH):
        study = simulate(scheme, effects, p, min(BATCH, replicates - done), rng)
        truth = {
            "share": p,
            "majority": majority,
            "bench": share_given_scenarios(p, effects, scheme, study.scenario_effect),
        }
        for at, method in enumerate(used):
            low, high = method.limits(study)
            covered[at] += ((low <= truth[method.target]) & (truth[method.target] <= high)).sum()
            width[at] += (high - low).sum()
    print(name, scheme.annotators, scheme.votes, p, np.round(100 * covered / replicates, 1), flush=True)
    return {
        "design": name,
        "annotators": scheme.annotators,
        "votes": scheme.votes,
        "p": p,
        "population_majority": majority,
        "coverage": {m.name: 100 * c / replicates for m, c in zip(used, covered, strict=True)},
        "mean_width": {m.name: 100 * w / replicates for m, w in zip(used, width, strict=True)},
    }


def write(out: Path, rows: list[dict], replicates: int, seed: int, seconds: float) -> None:
    names = list(rows[0]["coverage"])
    ours = [row["coverage"][names[0]] for row in rows]
    inside = all(TARGET[0] <= value <= TARGET[1] for value in ours)
    met = "met in every row" if inside else "NOT met in every row"
    verdict = f"It is between {min(ours):.1f} and {max(ours):.1f} %: {met}."
    machine = (
        f"{cpu()}, one core, {seconds:.0f} s, seed {seed}; numpy {np.__version__}, scipy {scipy.__version__}, "
        f"Python {platform.python_version()}, {datetime.now(UTC).date()}"
    )
    effects = Effects()
    text = TEXT.format(
        image=effects.image, scenario=effects.scenario, annotator=effects.annotator, replicates=replicates,
        error=100 * np.sqrt(0.95 * 0.05 / replicates), low=TARGET[0], high=TARGET[1], verdict=verdict, machine=machine,
    )  # fmt: skip
    lines = [text, "Coverage in % (mean width in points).", ""]
    lines += ["| design | A | k | p | " + " | ".join(names) + " |", "|" + " --- |" + " ---: |" * (3 + len(names))]
    for row in rows:
        cells = [f"{row['coverage'][name]:.1f} ({row['mean_width'][name]:.1f})" for name in names]
        head = f"| {row['design']} | {row['annotators']} | {row['votes']} | {row['p']} | "
        lines.append(head + " | ".join(cells) + " |")
    (out / "coverage.md").write_text("\n".join(lines) + "\n")
    document = {"machine": machine, "replicates": replicates, "seed": seed, "effects": vars(effects), "rows": rows}
    (out / "coverage.json").write_text(json.dumps(document, indent=1) + "\n")


def cpu() -> str:
    lines = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return lines[0].split(":", 1)[1].strip() if lines else platform.processor()


if __name__ == "__main__":
    main()
