"""Per-video values as a table, and each model's means with intervals that allow for alike scenes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from ti2v_bench.files import write_bytes
from ti2v_bench.metrics.catalogue import METRICS, MetricCard, MetricError
from ti2v_bench.metrics.evaluate import Measured
from ti2v_bench.metrics.videos import STATIC
from ti2v_bench.records import Estimate
from ti2v_bench.stats.clusters import clustered_means, estimates

IDENTITY = ("model", "pair_id", "image_id", "scenario", "seed", "video", "sha256")
_SETTINGS = b"ti2v_bench_metrics"


def to_frame(measured: Sequence[Measured]) -> pd.DataFrame:
    """One row per video: what it is, one column per metric (NaN where undefined), and `undefined` (JSON: why)."""
    rows = []
    for one in measured:
        video, pair = one.video, one.video.pair
        why = {name: value.why for name, value in one.values.items() if value.value is None}
        rows.append(
            {
                "model": video.model,
                "pair_id": pair.id,
                "image_id": pair.image_id,
                "scenario": pair.scenario,
                "seed": video.seed,
                "video": "" if video.still else video.path.name,
                "sha256": one.sha256,
                **{name: np.nan if value.value is None else value.value for name, value in one.values.items()},
                "undefined": json.dumps(why) if why else "",
            }
        )
    return pd.DataFrame(rows)


def write_frame(frame: pd.DataFrame, path: Path, settings: Mapping[str, Any]) -> None:
    """Write as parquet (with the settings inside) or csv, by the suffix.

    Raises:
        MetricError: another suffix.
        StorageError: the file cannot be written.
    """
    if path.suffix == ".csv":
        write_bytes(path, frame.to_csv(index=False, lineterminator="\n").encode())
        return
    check_suffix(path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _SETTINGS: json.dumps(settings).encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_bytes(path, sink.getvalue().to_pybytes())


def check_suffix(path: Path) -> None:
    """Raise MetricError unless `path` ends in .parquet or .csv."""
    if path.suffix not in (".parquet", ".csv"):
        raise MetricError(f"{path} ends in neither .parquet nor .csv. Name the table accordingly.")


def read_frame(path: Path) -> pd.DataFrame:
    """A table that `write_frame` wrote.

    Raises:
        MetricError: missing, another kind of file, or without the needed columns.
    """
    check_suffix(path)
    if not path.is_file():
        raise MetricError(
            f"There is no file {path}. Make it with 'ti2v-bench metrics VIDEOS --bench DIR --out {path}'."
        )
    try:
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except Exception as error:  # pandas and pyarrow raise what they like on foreign files
        raise MetricError(f"{path} cannot be read as a table of metrics. Make it again.") from error
    missing = [name for name in ("model", "pair_id") if name not in frame.columns]
    if missing or not metric_columns(frame):
        raise MetricError(f"{path} is no table of metrics: it lacks {', '.join(missing) or 'a column of any metric'}.")
    return frame


def metric_columns(frame: pd.DataFrame) -> list[str]:
    """Names of the metrics that the table has, in the catalogue's order."""
    return [name for name in METRICS if name in frame.columns]


@dataclass(frozen=True)
class Cell:
    """One model's mean of one metric."""

    model: str
    metric: str
    mean: Estimate


def model_means(frame: pd.DataFrame, level: float = 0.95) -> list[Cell]:
    """Mean of every metric for every model; the static control first, then by name."""
    models = sorted(frame["model"].unique(), key=lambda name: (name != STATIC, name))
    return [
        Cell(model, metric, _mean_of(part, metric, level))
        for metric in metric_columns(frame)
        for model in models
        for part in (frame[frame["model"] == model],)
    ]


def _mean_of(part: pd.DataFrame, metric: str, level: float) -> Estimate:
    part = part[part[metric].notna()]
    values = part[metric].to_numpy(float)
    if not len(values):
        return Estimate(None, None, None, level, 0, "mean over videos", why="undefined for every video")
    for kind in ("scenario", "image_id", "pair_id"):
        if kind in part.columns and part[kind].nunique() > 1:
            codes = pd.factorize(part[kind])[0].astype(np.int64)
            if METRICS[metric].binary:
                return _share_of(values, codes, kind, level)
            return _within(clustered_mean(values, codes, kind, level), METRICS[metric])
    return Estimate(float(values.mean()), None, None, level, len(values), "mean over videos", why="only one image")


def _share_of(values: NDArray[np.float64], clusters: NDArray[np.int64], kind: str, level: float) -> Estimate:
    """Mean of ones and noughts: on the logit scale, and exact where all are alike."""
    every = np.arange(len(values))
    means = clustered_means(values, np.zeros_like(every), 1, clusters, every, (f"{kind}s", "videos"))
    return estimates(means, level)[0]


def _within(mean: Estimate, card: MetricCard) -> Estimate:
    """The interval cut to the metric's range."""
    if mean.low is None or mean.high is None:
        return mean
    low = mean.low if card.low is None else max(mean.low, card.low)
    high = mean.high if card.high is None else min(mean.high, card.high)
    return replace(mean, low=low, high=high)


def clustered_mean(values: NDArray[np.float64], clusters: NDArray[np.int64], kind: str, level: float) -> Estimate:
    """Mean with a cluster-robust interval by t.

    Args:
        values: (n,) any unit.
        clusters: (n,) codes from 0, at least two different ones.
        kind: What the clusters are, e.g. `scenario`.
        level: Two-sided coverage.

    Source: Liang and Zeger (1986) with G / (G - 1); t with G - 1 degrees of freedom (Cameron and Miller 2015).
    """
    mean = float(values.mean())
    sums = np.bincount(clusters, values - mean)
    groups = len(sums)
    error = float(np.sqrt(groups / (groups - 1) * np.square(sums).sum()) / len(values))
    reach = float(special.stdtrit(groups - 1, (1 + level) / 2)) * error
    method = f"mean over videos, cluster-robust by {kind} ({groups} clusters), t with {groups - 1} df"
    return Estimate(mean, mean - reach, mean + reach, level, len(values), method)


def as_json(cells: Sequence[Cell], settings: Mapping[str, Any]) -> bytes:
    """All means with their intervals, and what they were made with."""
    return json.dumps({"settings": settings, "means": [asdict(cell) for cell in cells]}, indent=1).encode()


def as_markdown(cells: Sequence[Cell]) -> str:
    """Metrics down, models across: mean [low, high]."""
    models = list(dict.fromkeys(cell.model for cell in cells))
    metrics = list(dict.fromkeys(cell.metric for cell in cells))
    by_place = {(cell.metric, cell.model): cell.mean for cell in cells}
    counts = {model: max(by_place[metric, model].n for metric in metrics) for model in models}
    lines = [
        f"| metric | unit | {' | '.join(f'{model} (n={counts[model]})' for model in models)} |",
        "| --- | --- |" + " ---: |" * len(models),
    ]
    for metric in metrics:
        card = METRICS[metric]
        unit = f"{card.unit} × {card.scale:g}" if card.scale != 1 else card.unit
        row = " | ".join(_cell(by_place[metric, model], card.scale) for model in models)
        lines.append(f"| {card.title} (`{metric}`) | {unit} | {row} |")
    level = cells[0].mean.level if cells else 0.95
    lines += ["", f"[{level:.0%} interval], cluster-robust by scenario; n counts videos."]
    return "\n".join(lines) + "\n"


def _cell(mean: Estimate, scale: float) -> str:
    if mean.value is None:
        return "–"
    digits = 4 if abs(mean.value * scale) < 1 else 2
    value = f"{mean.value * scale:.{digits}f}"
    if mean.low is None or mean.high is None:
        return value
    return f"{value} [{mean.low * scale:.{digits}f}, {mean.high * scale:.{digits}f}]"
