"""Tables and curves of the study: `python -m motif.mini.report STUDY... --out FOLDER`.

Each STUDY is a folder that `python -m motif.mini` wrote, or one that this command wrote.

Intervals: over samples, Wilson's for an accuracy and a paired normal one for a difference of two models on the same
test scenes; over seeds, Student's t of the differences to the plain loss at the same seed (same initial weights, same
clips in the same order, same noises), so that what seeds share cancels out.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from motif.mini.cells import CELLS
from motif.mini.judge import OUTCOMES
from motif.mini.runs import PAIR, RUNS, StudyError, montage, read_runs
from ti2v_bench.records import Estimate

Row = Mapping[str, object]
LEVEL = 0.95


def outcomes(row: Row) -> NDArray[np.int64]:
    """Index into OUTCOMES per test scene; the second half is of held-out combinations."""
    return np.array([int(letter) for letter in str(row["outcomes"])])


def right(row: Row) -> NDArray[np.float64]:
    """1 where the named object did the named thing."""
    found: NDArray[np.float64] = (outcomes(row) == OUTCOMES.index("right")).astype(np.float64)
    return found


def ratio(row: Row) -> float:
    """Figure 6 measure, geometric mean over its timesteps."""
    values = [float(v) for v in dict(row["error_ratio"]).values()]  # type: ignore[call-overload]
    return float(np.exp(np.mean(np.log(values))))


def accuracy(rows: Sequence[Row], part: str) -> Estimate:
    """Share right, pooled over runs; `part` is `seen`, `held out` or `all`. Samples of one scene are taken as apart."""
    values = np.concatenate([_part(right(row), part) for row in rows])
    found = stats.binomtest(int(values.sum()), len(values)).proportion_ci(LEVEL, "wilson")
    return Estimate(float(values.mean()), float(found.low), float(found.high), LEVEL, len(values), "Wilson")


def _part(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], part: str
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    half = len(values) // 2
    return {"seen": values[:half], "held out": values[half:], "all": values}[part]


def paired(one: Row, other: Row) -> Estimate:
    """Difference in accuracy of two models on the same scenes, normal interval over scenes."""
    difference = right(one) - right(other)
    mean, n = float(difference.mean()), len(difference)
    half = float(stats.norm.ppf((1 + LEVEL) / 2) * difference.std(ddof=1) / n**0.5)
    return Estimate(mean, mean - half, mean + half, LEVEL, n, "paired normal over test scenes")


def against_plain(rows: Sequence[Row], cell: str, measure: Callable[[Row], float | None]) -> Estimate:
    """Mean difference of a measure to the plain loss at the same seed, Student's t over seeds.

    A measure may be None for a run that has none, e.g. one that never reached a level; then there is no mean.
    """
    plain = {row["seed"]: measure(row) for row in rows if row["cell"] == "plain"}
    both = [(measure(row), plain[row["seed"]]) for row in rows if row["cell"] == cell and row["seed"] in plain]
    values = [own - other for own, other in both if own is not None and other is not None]
    n, method = len(values), "Student's t over seeds, paired with plain"
    if len(values) < len(both):
        return Estimate(None, None, None, LEVEL, n, method, f"not reached in {len(both) - n} of {len(both)} pairs")
    if not n:
        return Estimate(None, None, None, LEVEL, 0, method, "no run")
    if n == 1:
        return Estimate(values[0], None, None, LEVEL, 1, method, "one seed has no spread")
    return student(values, method)


def student(values: Sequence[float] | NDArray[np.float64], method: str) -> Estimate:
    """Mean of two or more values with Student's interval; `method` says over what."""
    mean, n = float(np.mean(values)), len(values)
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.std(values, ddof=1) / n**0.5)
    return Estimate(mean, mean - half, mean + half, LEVEL, n, method)


def steps_to(rows: Sequence[Row], cell: str, seed: object, level: float) -> float | None:
    """Steps at which a run's accuracy first reaches `level`, linear between checkpoints; None if never."""
    points = sorted(
        (int(str(r["step"])), float(right(r).mean())) for r in rows if r["cell"] == cell and r["seed"] == seed
    )
    before = (0, 0.0)
    for point in points:
        if point[1] >= level:
            span = point[1] - before[1]
            return before[0] + (point[0] - before[0]) * (level - before[1]) / span if span > 0 else float(point[0])
        before = point
    return None


def _log_hot(row: Row) -> float | None:
    """Error in the hot region, geometric mean over timesteps; None where a log does not hold it."""
    if "error_hot" not in row:
        return None
    values = [float(v) for v in dict(row["error_hot"]).values()]  # type: ignore[call-overload]
    return float(np.mean(np.log(values)))


def _still_psnr(row: Row) -> float:
    return float(np.nanmean(np.array(row["still_psnr"], float)))


def _log_ratio(row: Row) -> float:
    return float(np.log(ratio(row)))


def _accuracy(row: Row) -> float:
    return float(right(row).mean())


def ablation(rows: Sequence[Row]) -> dict[str, dict[str, object]]:
    """Per cell, at the last checkpoint; and the steps to two levels of accuracy."""
    last = max(int(str(row["step"])) for row in rows)
    final = [row for row in rows if row["step"] == last]
    named = dict.fromkeys([*CELLS, *(str(row["cell"]) for row in final)])
    return {cell: _cell(rows, final, cell) for cell in named if any(row["cell"] == cell for row in final)}


def _cell(rows: Sequence[Row], final: Sequence[Row], cell: str) -> dict[str, object]:
    own = [row for row in final if row["cell"] == cell]

    def steps(level: float) -> dict[str, object]:
        change = against_plain(final, cell, lambda row: steps_to(rows, str(row["cell"]), row["seed"], level))
        return {"runs": [steps_to(rows, cell, row["seed"], level) for row in own], "against_plain": asdict(change)}

    return {
        "seeds": len(own),
        "steps": own[0]["step"],
        "lambda": own[0].get("lambda"),
        "heat": own[0].get("heat"),
        "hot": own[0]["hot"],
        "mean_heat": own[0]["mean_heat"],
        "error_ratio": float(np.exp(np.mean([_log_ratio(row) for row in own]))),
        "error_ratio_against_plain": asdict(_exponential(against_plain(final, cell, _log_ratio))),
        "error_hot_against_plain": asdict(_exponential(against_plain(final, cell, _log_hot))),
        "accuracy": {part: asdict(accuracy(own, part)) for part in ("seen", "held out", "all")},
        "accuracy_against_plain": asdict(against_plain(final, cell, _accuracy)),
        "accuracy_by_step": _by_step([row for row in rows if row["cell"] == cell], rows),
        "steps_to_quarter": steps(0.25),
        "steps_to_half": steps(0.5),
        "outcomes": dict(zip(OUTCOMES, _shares(own), strict=True)),
        "still_psnr": float(np.mean([_still_psnr(row) for row in own])),
        "still_psnr_against_plain": asdict(against_plain(final, cell, _still_psnr)),
        "first_psnr": float(np.mean([np.mean(np.array(row["first_psnr"], float)) for row in own])),
    }


def _by_step(own: Sequence[Row], rows: Sequence[Row]) -> dict[str, dict[str, object]]:
    """Accuracy at fixed steps, and its difference to the plain loss there."""
    table: dict[str, dict[str, object]] = {}
    for step in sorted({int(str(row["step"])) for row in own}):
        there = [row for row in rows if row["step"] == step]
        table[str(step)] = {
            "all": asdict(accuracy([row for row in own if row["step"] == step], "all")),
            "against_plain": asdict(against_plain(there, str(own[0]["cell"]), _accuracy)),
        }
    return table


def _shares(rows: Sequence[Row]) -> list[float]:
    pooled = np.concatenate([outcomes(row) for row in rows])
    return [float(share) for share in np.bincount(pooled, minlength=len(OUTCOMES)) / len(pooled)]


def _exponential(log: Estimate) -> Estimate:
    """A difference of logarithms as a change in percent of 1."""
    low, value, high = (None if x is None else float(np.expm1(x)) for x in (log.low, log.value, log.high))
    return Estimate(value, low, high, log.level, log.n, log.method + ", of logarithms", log.why)


def pair(rows: Sequence[Row]) -> list[dict[str, object]]:
    """The two shipped networks at every checkpoint."""
    table: list[dict[str, object]] = []
    for step in sorted({int(str(row["step"])) for row in rows}):
        ours, plain = (next(r for r in rows if r["cell"] == c and r["step"] == step) for c in ("lambda-1", "plain"))
        entry: dict[str, object] = {"step": step, "difference": asdict(paired(ours, plain))}
        for name, row in (("lambda-1", ours), ("plain", plain)):
            entry[name] = {
                **{part: asdict(accuracy([row], part)) for part in ("seen", "held out", "all")},
                "error_ratio": ratio(row),
                "error_ratio_by_timestep": row["error_ratio"],
                "still_psnr": _still_psnr(row),
                "first_psnr": float(np.mean(np.array(row["first_psnr"], float))),
            }
        table.append(entry)
    return table


def draw(rows: Sequence[Row], both: Sequence[Row], path: Path) -> None:
    """Curves: error ratio of the ablation, accuracy of the pair, and of the ablation."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(15, 4.2), layout="constrained")
    named = dict.fromkeys([*CELLS, *(str(row["cell"]) for row in rows)])
    colours = dict(zip(named, plt.get_cmap("tab20").colors, strict=False))
    for cell in (name for name in named if any(row["cell"] == name for row in rows)):
        own = [row for row in rows if row["cell"] == cell]
        for axis, measure in ((axes[0], ratio), (axes[2], _accuracy)):
            steps, middle, spread = _curve(own, measure)
            axis.errorbar(steps, middle, yerr=spread, label=cell, capsize=2, linewidth=1, color=colours[cell])
    for cell in ("lambda-1", "plain"):
        own = [row for row in both if row["cell"] == cell]
        for part, style in (("seen", "-"), ("held out", "--")):
            found = [accuracy([row], part) for row in own]
            values = np.array([(e.value, e.low, e.high) for e in found], float)
            bars = np.abs(values[:, 1:] - values[:, :1]).T
            steps = [int(str(row["step"])) for row in own]
            axes[1].errorbar(steps, values[:, 0], yerr=bars, linestyle=style, label=f"{cell}, {part}", capsize=2)
    titles = ("error ratio: hot region over all, the ablation", "text-motion accuracy, the pair (one seed)",
              "text-motion accuracy, the ablation")  # fmt: skip
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, xlabel="steps")
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _curve(rows: Sequence[Row], measure: Callable[[Row], float]) -> tuple[list[int], list[float], list[float]]:
    """Steps, mean and standard error over seeds."""
    steps = sorted({int(str(row["step"])) for row in rows})
    values = [[measure(row) for row in rows if row["step"] == step] for step in steps]
    errors = [float(np.std(v, ddof=1) / len(v) ** 0.5) if len(v) > 1 else 0.0 for v in values]
    return steps, [float(np.mean(v)) for v in values], errors


def records(studies: Sequence[Path], name: str) -> list[Row]:
    """All records of this name (`runs` or `pair`), seed by seed, each run once."""
    places = [place for study in studies for place in (study / name, study / f"{name}.jsonl") if place.exists()]
    found = {(str(r["cell"]), str(r["seed"]), int(str(r["step"]))): r for r in reversed(read_runs(places))}
    order = list(dict.fromkeys([*CELLS, *(key[0] for key in found)]))
    return [found[key] for key in sorted(found, key=lambda key: (int(key[1]), order.index(key[0]), key[2]))]


def _about(studies: Sequence[Path]) -> dict[str, Any]:
    """What the first study that says so was made with."""
    found = next((path for study in studies if (path := study / "about.json").is_file()), None)
    if found is None:
        raise StudyError(f"None of {', '.join(map(str, studies))} has an about.json. Name the --out folder of a study.")
    about: dict[str, Any] = json.loads(found.read_text())
    return about


def main() -> None:
    """Read studies; write `study.json`, `study.md`, `curves.png`, their logs in one file each, and pictures."""
    from PIL import Image

    parser = argparse.ArgumentParser(prog="python -m motif.mini.report", description=__doc__)
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    try:
        rows, both = records(args.studies, RUNS), records(args.studies, PAIR)
        about = _about(args.studies)
    except StudyError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    args.out.mkdir(parents=True, exist_ok=True)
    for name, found, scenes in ((RUNS, rows, 2), (PAIR, both, 6)):
        (args.out / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
        pictures = montage([study / name for study in args.studies], CELLS, seed=0, scenes=scenes)
        if pictures is not None:
            Image.fromarray(pictures).save(args.out / f"{name}.png")
    (args.out / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    tables: dict[str, Any] = {"about": about, "pair": pair(both), "ablation": ablation(rows)}
    (args.out / "study.json").write_text(json.dumps(tables, indent=1) + "\n")
    (args.out / "study.md").write_text(markdown(tables["pair"], tables["ablation"], about, pace(rows)))
    draw(rows, both, args.out / "curves.png")


def pace(rows: Sequence[Row]) -> float:
    """Seconds per training step, median over checkpoints."""
    steps: dict[tuple[object, object], int] = {}
    values = []
    for row in rows:
        run, step = (row["cell"], row["seed"]), int(str(row["step"]))
        values.append(float(dict(row["seconds"])["train"]) / (step - steps.get(run, 0)))  # type: ignore[call-overload]
        steps[run] = step
    return float(np.median(values))


HOW = (
    "`python -m motif.mini --out STUDY --cache CACHE --compile --pair 1000,2000,3000,5000`, repeated until no run is",
    "missing; then `python -m motif.mini.report STUDY --out results/mini_motif`. docs/motif.md says what was found.",
    "",
    "Brackets: 95 %; of an accuracy Wilson's over scenes, of the pair's difference a paired normal one over scenes, of",
    "a difference to the plain loss Student's t over seeds. Right: the named object did the named thing. Error ratio:",
    "loss where m > 0.5 over all loss, as the paper's Figure 6. Still PSNR: where nothing should move. Steps to half:",
    "until half of the scenes are right, each seed, interpolated.",
)
PAIR_HEAD = (
    "steps", "seen, lambda 1", "seen, plain", "held out, lambda 1", "held out, plain", "difference, all scenes",
    "error ratio, lambda 1 / plain", "still PSNR dB, lambda 1 / plain",
)  # fmt: skip
CELL_HEAD = (
    "cell", "seeds", "hot share", "error ratio", "against plain", "hot error against plain", "accuracy",
    "against plain", "steps to half", "against plain", "still PSNR dB", "against plain",
)  # fmt: skip


def markdown(
    both: Sequence[Mapping[str, Any]], cells: Mapping[str, Mapping[str, Any]], about: Mapping[str, Any], pace: float
) -> str:
    """All tables, and how they come about."""
    settings = about["settings"]
    lines = [
        "# The motion focal loss in miniature",
        "",
        f"{about['machine']}, torch {about['torch']}, {about['date']}; {1e3 * pace:.1f} ms per step of batch "
        f"{settings['train']['batch']}; {settings['tests']} test scenes per run and checkpoint, half of them with "
        "combinations of words that training never saw.",
        "",
        *HOW,
    ]
    if both:
        lines += ["", "The pair, one seed, all words; accuracy of", "", *_head(PAIR_HEAD), *map(_pair_line, both)]
    lines += ["", f"The ablation at its last step, words `{settings['words']}`", "", *_head(CELL_HEAD)]
    lines += [_cell_line(name, cell) for name, cell in cells.items()]
    steps = list(next(iter(cells.values()))["accuracy_by_step"])
    lines += ["", "Accuracy at fixed steps, and its difference to the plain loss at the same seeds", ""]
    lines += _head(("cell", *(f"{step} steps" for step in steps)))
    for name, cell in cells.items():
        found = [cell["accuracy_by_step"].get(step) for step in steps]
        shown = [f"{_shown(f['all'])}; {_shown(f['against_plain'])}" if f else "–" for f in found]
        lines.append(_line([name, *shown]))
    return "\n".join(lines) + "\n"


def _pair_line(row: Mapping[str, Any]) -> str:
    ours, plain = row["lambda-1"], row["plain"]
    entries = [str(row["step"])]
    entries += [_shown(model[part]) for part in ("seen", "held out") for model in (ours, plain)]
    entries += [_shown(row["difference"])]
    entries += [f"{ours[name]:.2f} / {plain[name]:.2f}" for name in ("error_ratio", "still_psnr")]
    return _line(entries)


def _cell_line(name: str, cell: Mapping[str, Any]) -> str:
    half = cell["steps_to_half"]
    entries = [name, str(cell["seeds"]), f"{cell['hot']:.3f}", f"{cell['error_ratio']:.2f}"]
    entries += [_shown(cell["error_ratio_against_plain"]), _shown(cell["error_hot_against_plain"])]
    entries += [_shown(cell["accuracy"]["all"]), _shown(cell["accuracy_against_plain"]), _shown_steps(half["runs"])]
    entries += [_shown(half["against_plain"], percent=False), f"{cell['still_psnr']:.1f}"]
    return _line([*entries, _shown(cell["still_psnr_against_plain"], percent=False)])


def _head(names: Sequence[str]) -> list[str]:
    return [_line(names), "|" + "---|" * len(names)]


def _line(entries: Sequence[str]) -> str:
    return "| " + " | ".join(entries) + " |"


def _shown_steps(found: Sequence[float | None]) -> str:
    return ", ".join("not reached" if steps is None else f"{steps:.0f}" for steps in found)


def _shown(estimate: Mapping[str, Any], percent: bool = True) -> str:
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    scale, unit = (100, " %") if percent else (1, "")
    if value is None:
        return "–"
    if low is None or high is None:
        return f"{scale * value:.1f}{unit}"
    return f"{scale * value:.1f}{unit} [{scale * low:.1f}, {scale * high:.1f}]"


if __name__ == "__main__":
    main()
