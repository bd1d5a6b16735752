"""What a run will take, from measured tables, before anything starts.

Measured tables are the files `results/speed/*.json` that have `device`, `matmul_tflops` (half-precision matrix rate of
that device in the same run) and rows with `model`, `precision`, `batch`, `seconds_per_video`, `gpu_memory_gib`,
`settings`, `fast` (and `video_bytes`, where known); `tests/benchmarks/bench_generation.py` writes them. On another
device, seconds are scaled by the ratio of matrix rates: an estimate, and said to be one.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ti2v_bench.model import ModelOptions
from ti2v_bench.registry import MODELS, load_card
from ti2v_bench.runner.jobs import RunError

VENDOR_TFLOPS = {
    "A10": 125, "A100": 312, "A40": 149.7, "A6000": 154.8, "B200": 2250, "H100": 989, "H200": 989, "L4": 121,
    "L40S": 362, "RTX 3090": 71, "RTX 4090": 165.2, "T4": 65, "V100": 125,
}  # fmt: skip
"""Dense half-precision tensor peaks with float32 accumulation as the vendor's data sheets print them, in TFLOP/s
(SXM where there are several forms; float16 for T4 and V100). Used only as ratios."""

_SLICE = "MIG"
"""In the name of a part of a GPU, behind the name of the whole."""


@dataclass(frozen=True)
class Speed:
    """One measured row."""

    model: str
    device: str
    matmul_tflops: float
    date: str
    precision: str
    batch: int
    seconds_per_video: float
    gpu_memory_gib: float | None
    """Peak of a sampling step."""
    video_bytes: int | None
    settings: Mapping[str, str]
    """Changes to the model's own settings, as `--set` gives them."""
    fast: bool = False
    """Whether the model was in its fast form."""


@dataclass(frozen=True)
class Target:
    """The device that a run is planned for."""

    name: str
    tflops: float
    """In the same terms as what it is compared with."""
    vendor: bool
    """The rate is the vendor's, not measured here."""


@dataclass(frozen=True)
class Cost:
    """What one model of a run will take; None where nothing was measured."""

    model: str
    missing: int
    """Videos still to be made."""
    gpu_hours: float | None
    gpu_memory_gib: float | None
    """Peak of a sampling step."""
    weights_bytes: int | None
    videos_bytes: int | None
    basis: str
    """What the numbers rest on."""


def read_speeds(folder: Path) -> list[Speed]:
    """All measured rows below `folder`; files of other kinds are passed over.

    Raises:
        RunError: a table is broken.
    """
    speeds = []
    for path in sorted(folder.glob("*.json")):
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            if {"device", "matmul_tflops", "rows"} <= content.keys():
                head = (str(content["device"]), float(content["matmul_tflops"]), str(content.get("date", "?")))
                speeds += [_speed(head, row) for row in content["rows"] if _counts(row)]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{path} is no table of measured speeds ({error!r}). Make it again.") from error
    return speeds


def _counts(row: Mapping[str, Any]) -> bool:
    """Whether a row tells of whole videos by a full-size model."""
    return "seconds_per_video" in row and row.get("weights") != "random-tiny"


def _speed(head: tuple[str, float, str], row: dict[str, Any]) -> Speed:
    return Speed(
        row["model"],
        *head,
        row.get("precision", ""),
        int(row.get("batch", 1)),
        float(row["seconds_per_video"]),
        row.get("gpu_memory_gib"),
        row.get("video_bytes"),
        row.get("settings", {}),
        bool(row.get("fast", False)),
    )


def estimate(model: str, missing: int, options: ModelOptions, target: Target | None, speeds: Sequence[Speed]) -> Cost:
    """What `missing` videos of a model will take on `target`; None means the measured device itself.

    Only rows with the asked settings, precision and form (exact or fast) count. Of these the one on the target's own
    device comes first, then the largest batch up to the one asked for.
    """
    weights = [weight.bytes for weight in load_card(model).weights] if model in MODELS else [None]
    known = sum(size for size in weights if size) if all(weights) else None
    bare = Cost(model, missing, None, None, known, None, "not measured")
    if model in MODELS and not weights:
        return replace(bare, gpu_hours=0.0, gpu_memory_gib=0.0, basis="no network: seconds on the CPU")
    if options.weights == "random-tiny":
        return bare
    measured = [speed for speed in speeds if speed.model == model]
    fitting = [speed for speed in measured if _fits(speed, options)]
    if not fitting:
        return replace(bare, basis=_what_is(measured)) if measured else bare
    best = max(fitting, key=lambda speed: (target is not None and _same(speed.device, target.name), speed.batch))
    factor, words = _scale(best, target)
    return replace(
        bare,
        gpu_hours=missing * best.seconds_per_video * factor / 3600,
        gpu_memory_gib=best.gpu_memory_gib,
        videos_bytes=None if best.video_bytes is None else missing * best.video_bytes,
        basis=f"measured on {best.device}, {best.date}, batch {best.batch}{words}",
    )


def _what_is(measured: Iterable[Speed]) -> str:
    """Of a model that was measured otherwise than it is asked for: how."""
    ways = set()
    for speed in measured:
        changes = (f"{name}={value}" for name, value in speed.settings.items())
        ways.add(" ".join(["fast" if speed.fast else "exact", speed.precision, *changes]))
    return f"not measured like this, only {', '.join(sorted(ways))}"


def _fits(speed: Speed, options: ModelOptions) -> bool:
    return (
        speed.batch <= options.batch
        and dict(speed.settings) == dict(options.settings)
        and speed.fast == options.fast
        and (options.precision or _official_precision(speed.model)) in ("", speed.precision)
    )


def _official_precision(model: str) -> str:
    """`float16` of a card's `float16 (autocast)`; empty where nothing is known."""
    return load_card(model).precision.partition(" ")[0] if model in MODELS else ""


def _scale(speed: Speed, target: Target | None) -> tuple[float, str]:
    if target is None or _same(speed.device, target.name):
        return 1.0, ""
    here = vendor_tflops(speed.device) if target.vendor else speed.matmul_tflops
    if here is None:
        return 1.0, f"; NOT scaled to {target.name}: no rate known of {speed.device}"
    kind = "vendor's matrix peaks" if target.vendor else "measured matrix rates"
    return here / target.tflops, f"; scaled to {target.name} by {kind} {here:.0f} : {target.tflops:.0f}"


def _same(one: str, other: str) -> bool:
    words = (set(name.upper().replace("NVIDIA", "").split()) for name in (one, other))
    first, second = words
    return (first <= second or second <= first) and (_SLICE in first) == (_SLICE in second)


def vendor_tflops(device: str) -> float | None:
    """The vendor's peak for a device named as torch or as people name it; None also for a slice of one."""
    spaced = f" {device.upper().replace('-', ' ')} "
    if f" {_SLICE} " in spaced:
        return None
    found = [name for name in VENDOR_TFLOPS if f" {name} " in spaced]
    return VENDOR_TFLOPS[max(found, key=len)] if found else None


def vendor_target(name: str) -> Target:
    """A device that is not here, by name.

    Raises:
        RunError: its rate is not in our table.
    """
    rate = vendor_tflops(name)
    if rate is None:
        raise RunError(f"No rate is known of device {name!r}. Known: {', '.join(VENDOR_TFLOPS)}.")
    return Target(name, rate, vendor=True)


def local_target() -> Target | None:
    """This machine's first GPU, its matrix rate measured now (about a second); None without one."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    return Target(torch.cuda.get_device_name(0), matmul_tflops("cuda"), vendor=False)


def matmul_tflops(device: str, side: int = 8192, seconds: float = 0.5) -> float:
    """Matrix rate in TFLOP/s: bfloat16 square products on a GPU (float32 on the CPU), best of several rounds."""
    import torch

    on_gpu = device.startswith("cuda")
    kind = torch.bfloat16 if on_gpu else torch.float32
    left = torch.randn(side, side, device=device, dtype=kind)
    right = torch.randn(side, side, device=device, dtype=kind)
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        if on_gpu:
            torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(4):
            left @ right
        if on_gpu:
            torch.cuda.synchronize()
        best = min(best, (time.perf_counter() - started) / 4)
    return float(2 * side**3 / best / 1e12)


def cost_table(costs: Iterable[Cost], workers: int, price: float | None) -> list[tuple[str, ...]]:
    """Header, one row per model, and the sum over those that are measured (of memory the largest), as text.

    Args:
        costs: one per model.
        workers: GPUs that share the work.
        price: money per GPU-hour, in whatever currency; None leaves the column out.
    """
    costs = list(costs)
    header = ("model", "missing", "GPU-hours", f"hours on {workers}", "GPU memory", "weights", "videos", "rests on")
    rows = [_cells(cost, workers) for cost in costs]
    known = [cost.gpu_hours for cost in costs if cost.gpu_hours is not None]
    unknown = len(costs) - len(known)
    more = f"not measured and not counted: {unknown} of {len(costs)} models" if unknown else ""
    total = Cost(
        "total",
        sum(cost.missing for cost in costs),
        sum(known) if known else None,
        max((cost.gpu_memory_gib for cost in costs if cost.gpu_memory_gib is not None), default=None),
        _sum(cost.weights_bytes for cost in costs),
        _sum(cost.videos_bytes for cost in costs),
        more,
    )
    table = [header, *rows, _cells(total, workers)]
    if price is None:
        return table
    money = ["cost", *(_money(cost.gpu_hours, price) for cost in [*costs, total])]
    return [(*row[:3], text, *row[3:]) for row, text in zip(table, money, strict=True)]


def _sum(sizes: Iterable[int | None]) -> int | None:
    """None where one is unknown: the sum of the others would look like a sum of all."""
    sizes = list(sizes)
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _cells(cost: Cost, workers: int) -> tuple[str, ...]:
    hours = cost.gpu_hours
    return (
        cost.model,
        str(cost.missing),
        "–" if hours is None else f"{hours:.2f}",
        "–" if hours is None else f"{hours / workers:.2f}",
        "–" if cost.gpu_memory_gib is None else f"{cost.gpu_memory_gib:.1f} GiB",
        "–" if cost.weights_bytes is None else f"{cost.weights_bytes / 1e9:.1f} GB",
        "–" if cost.videos_bytes is None else f"{cost.videos_bytes / 1e6:.0f} MB",
        cost.basis,
    )


def _money(hours: float | None, price: float) -> str:
    return "–" if hours is None else f"{hours * price:.2f}"
