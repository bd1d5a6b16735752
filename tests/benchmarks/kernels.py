"""Our own Triton kernels beside the libraries', at the sizes of the networks: microseconds, rate and rounding.

    python tests/benchmarks/kernels.py --out results/speed

writes `kernels-by-shape.json` and `.md` there, anew after every row; it needs a GPU, and stops by itself after
`--seconds`. Every time is the median of replays of a CUDA graph, with the L2 cache emptied before each. To try it
without a GPU: TRITON_INTERPRET=1 python tests/benchmarks/kernels.py --tiny --out OUT
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

import torch
import triton
from torch import Tensor
from torch.nn import functional as F

from baselines.nn import few_tokens, frame_conv, gated
from baselines.nn.attention import FEW_TOKENS

REPEATS, WARM = 15, 3
FLUSHED = 64 * 2**20
"""Numbers of four bytes that are read to empty the L2 cache, which holds 50 MB."""


@dataclass(frozen=True)
class Level:
    """Activations of one level of a network, with both branches of guidance."""

    model: str
    clips: int
    frames: int
    height: int
    width: int
    channels: int
    heads: int

    @property
    def tokens(self) -> int:
        return self.clips * self.frames * self.height * self.width

    def __str__(self) -> str:
        size = f"{self.frames} frames of {self.height}×{self.width}, {self.channels} channels, {self.heads} heads"
        return f"{self.model}: {self.clips} × {size}"


def levels(model: str, frames: int, height: int, width: int, heads: tuple[int, int, int]) -> list[Level]:
    sizes = ((height >> level, width >> level, 320 << level, heads[level]) for level in range(3))
    return [Level(model, 2, frames, *size) for size in sizes]


ANIMATE = levels("AnimateAnything", 17, 64, 64, (5, 10, 20))
CRAFTER = levels("DynamiCrafter, VideoCrafter", 16, 40, 64, (5, 10, 20))
DEEPEST = [Level("AnimateAnything", 2, 17, 8, 8, 1280, 20), Level("DynamiCrafter, VideoCrafter", 2, 16, 5, 8, 1280, 20)]
SEINE = levels("Cinemo, SEINE", 16, 40, 64, (8, 8, 8))

GATED = [
    gated.Tile(128, 128, 64, 8, 3),
    gated.Tile(128, 64, 64, 4, 3),
    gated.Tile(128, 128, 64, 8, 4),
    gated.Tile(128, 64, 32, 4, 4),
    gated.Tile(64, 128, 32, 4, 4),
    gated.Tile(64, 128, 64, 4, 2),
    gated.Tile(256, 64, 64, 8, 3),
    gated.Tile(128, 128, 64, 8, 4, together=16),
]
CONVOLUTION = [
    frame_conv.Tile(128, 256, 64, 64, 8, 4),
    frame_conv.Tile(128, 128, 0, 64, 8, 3),
    frame_conv.Tile(128, 256, 0, 64, 8, 4),
    frame_conv.Tile(128, 256, 64, 64, 8, 3),
    frame_conv.Tile(128, 128, 0, 64, 8, 4),
    frame_conv.Tile(128, 128, 32, 64, 4, 3),
    frame_conv.Tile(64, 256, 64, 64, 4, 3),
    frame_conv.Tile(128, 64, 0, 64, 4, 4),
    frame_conv.Tile(256, 128, 0, 64, 8, 4),
    frame_conv.Tile(64, 128, 0, 64, 4, 4),
    frame_conv.Tile(128, 256, 64, 32, 8, 4),
]
ATTENTION = [
    few_tokens.Tile(rows, warps)
    for rows, warps in ((32, 4), (64, 4), (32, 2), (32, 1), (64, 2), (16, 1), (128, 8), (128, 4), (64, 8))
]

Tile = gated.Tile | frame_conv.Tile | few_tokens.Tile
TILES: dict[str, Sequence[Tile]] = {"gated": GATED, "frames": CONVOLUTION, "attention": ATTENTION, "pictures": []}
TRIED = "cuDNN, cudnn.benchmark"
LIBRARY = {
    "gated": ("torch.compile: cuBLAS and an elementwise kernel",),
    "frames": ("cuDNN as it chooses", TRIED),
    "attention": ("scaled_dot_product_attention",),
    "pictures": ("cuDNN as it chooses", TRIED),
}
KINDS = {
    "gated": "GEGLU's projection and gate, inner width 4 × channels",
    "frames": "Convolution over 3 frames",
    "attention": "Attention between the frames of a cell",
    "pictures": "3×3 convolution of every frame, for information",
}


@dataclass(frozen=True)
class Case:
    """One kernel at one size."""

    kind: str
    level: Level
    way: str
    tile: Tile | None
    dtype: str
    device: str


@dataclass(frozen=True)
class Row:
    """What was measured; `rate` in TFLOP/s, of attention in GB/s."""

    kind: str
    level: str
    way: str
    microseconds: float
    rate: float
    rel_l2: float


def main() -> None:
    started = time.perf_counter()
    asked = arguments()
    if asked.tiny:
        device, dtype = "cpu", "float16"
    elif torch.cuda.is_available():
        device, dtype = "cuda", asked.dtype
    else:
        raise SystemExit("No GPU. Run it where torch.cuda.is_available(), or with TRITON_INTERPRET=1 and --tiny.")
    plan = [case for case in planned(asked.tiny, asked.configs, dtype, device) if case.kind in asked.kinds]
    # cuDNN keeps its first choice for a size, whoever asks: what it finds by trial is measured in another process.
    with multiprocessing.get_context("spawn").Pool(1) as trial:
        if asked.workers:
            compiled_ahead(plan, asked.workers, asked.seconds / 2)
            print(f"compiled ahead after {time.perf_counter() - started:.0f} s", flush=True)
        rows = followed(plan, trial, asked.out, started + asked.seconds)
    print("\n".join(table(rows)))
    print(f"{len(rows)} of {len(plan)} cases, {time.perf_counter() - started:.0f} s")


def followed(plan: Sequence[Case], trial: Pool, out: Path, end: float) -> list[Row]:
    """Measure case after case until the clock says `end`, and write after each."""
    rows: list[Row] = []
    failed: list[str] = []
    held: tuple[str, Level, tuple[Tensor, ...], Tensor] | None = None
    for done, case in enumerate(plan, 1):
        if time.perf_counter() > end:
            break
        try:
            if case.way == TRIED:
                rows.append(trial.apply_async(measured_alone, (case,)).get(60))
            else:
                if held is None or held[:2] != (case.kind, case.level):
                    held = None  # before the next: both would be gigabytes
                    inputs = given(case)
                    held = (case.kind, case.level, inputs, exact(case.kind, inputs))
                    del inputs
                rows.append(measured(case, *held[2:]))
            print(rows[-1], flush=True)
        except Exception as error:  # a tile that does not fit, say: the others are worth measuring
            failed.append(f"{case.kind}, {case.level}, {case.way}: {type(error).__name__}: {str(error)[:300]}")
            print("SKIPPED", failed[-1], flush=True)
        write(out, rows, failed, len(plan) - done, case.device)
    return rows


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument(
        "--configs", type=int, default=99, help="at most so many tiles of each kind, the likeliest first"
    )
    parser.add_argument("--seconds", type=float, default=95, help="no case is begun after these")
    parser.add_argument("--dtype", choices=("float16", "bfloat16"), default="float16")
    parser.add_argument("--workers", type=int, default=min(12, (os.cpu_count() or 1) - 1), help="that compile ahead")
    parser.add_argument("--tiny", action="store_true", help="small sizes on the CPU; times mean nothing")
    return parser.parse_args()


def planned(tiny: bool, configs: int, dtype: str, device: str) -> Iterator[Case]:
    """The dearest network first."""
    products = [(kind, level) for model in (ANIMATE, CRAFTER) for kind in ("gated", "frames") for level in model]
    attention = [("attention", level) for model in (ANIMATE, CRAFTER, SEINE) for level in model]
    pictures = [("pictures", level) for model in (ANIMATE, CRAFTER) for level in model]
    deepest = [("frames", level) for level in DEEPEST]
    for kind, level in (*products[:6], *attention[:3], *deepest, *products[6:], *attention[3:], *pictures):
        size = replace(level, clips=1, height=2, width=3, channels=8 * level.heads) if tiny else level
        for way in LIBRARY[kind]:
            yield Case(kind, size, way, None, dtype, device)
        for tile in TILES[kind][:configs]:
            if not isinstance(tile, few_tokens.Tile) or tile.rows >= level.frames:
                yield Case(kind, size, named(tile), tile, dtype, device)


def named(tile: Tile) -> str:
    return ", ".join(f"{key} {value}" for key, value in asdict(tile).items())


def compiled_ahead(plan: Sequence[Case], workers: int, seconds: float) -> None:
    """Compile kernels side by side, in processes that leave them in Triton's cache on disk."""
    cases = [case for case in plan if case.tile is not None or case.kind == "gated"]
    pool = multiprocessing.get_context("spawn").Pool(workers)
    try:
        told = pool.map_async(compiled, cases, chunksize=1).get(seconds)
        print(f"{sum(told)} of {len(cases)} compiled", flush=True)
    except multiprocessing.TimeoutError:
        print(f"not all compiled within {seconds:.0f} s", flush=True)
    finally:
        pool.terminate()
        pool.join()


def compiled(case: Case) -> bool:
    """In a worker: whether it could be run."""
    try:
        with torch.no_grad():
            launch(case, given(case))()
        if case.device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
    except Exception:  # told by the run that measures
        return False
    return True


@torch.no_grad()
def given(case: Case) -> tuple[Tensor, ...]:
    """Inputs, laid out in memory as in the networks."""
    level = case.level
    torch.manual_seed(0)

    def drawn(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(shape, device=case.device) * scale).to(getattr(torch, case.dtype))

    c, cells = level.channels, level.height * level.width
    if case.kind == "gated":
        return drawn(level.tokens, c), drawn(8 * c, c, scale=c**-0.5), drawn(8 * c)
    if case.kind == "frames":
        x = drawn(level.clips, level.frames, cells, c).permute(0, 3, 1, 2)
        weight = drawn(c, c, 3, 1, 1, scale=(3 * c) ** -0.5)
        return x, weight.contiguous(memory_format=torch.channels_last_3d), drawn(c)
    if case.kind == "pictures":
        x = drawn(level.clips * level.frames, level.height, level.width, c).permute(0, 3, 1, 2)
        weight = drawn(c, c, 3, 3, scale=(9 * c) ** -0.5)
        return x, weight.contiguous(memory_format=torch.channels_last), drawn(c)
    joined = drawn(level.clips * cells, level.frames, 3 * c)
    return tuple(torch.unflatten(part, -1, (level.heads, -1)).transpose(1, 2) for part in joined.chunk(3, -1))


@torch.no_grad()
def exact(kind: str, inputs: tuple[Tensor, ...]) -> Tensor:
    """In float32, from the same rounded inputs."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False  # not beyond: it also keeps half precision from the tensor cores
    try:
        return formula(kind, *(part.float() for part in inputs))
    finally:
        torch.backends.cudnn.allow_tf32 = True


def formula(kind: str, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    if kind == "gated":
        return gated_gelu(a, b, c)
    if kind == "frames":
        return F.conv2d(a, b.squeeze(-1), c, padding=(1, 0))
    if kind == "pictures":
        return F.conv2d(a, b, c, padding=1)
    return torch.softmax(a @ b.transpose(-2, -1) * a.shape[-1] ** -0.5, -1) @ c


def gated_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    value, gate = F.linear(x, weight, bias).chunk(2, -1)
    return value * F.gelu(gate)


def launch(case: Case, inputs: tuple[Tensor, ...]) -> Callable[[], Tensor]:
    """What is timed; the operators read their tile from their module at every call."""
    a, b, c = inputs
    if isinstance(case.tile, gated.Tile):
        gated.TILE = case.tile
        return lambda: gated.gated_product(a, b, c)
    if isinstance(case.tile, frame_conv.Tile):
        frame_conv.TILE, frame_conv.TILES, frame_conv.PROGRAMS = case.tile, {}, 0
        return lambda: frame_conv.frame_convolution(a, b, c)
    if isinstance(case.tile, few_tokens.Tile):
        few_tokens.TILES = {FEW_TOKENS: case.tile}
        return lambda: few_tokens.attention_over_few(a, b, c, None)
    torch.backends.cudnn.benchmark = case.way == TRIED
    if case.kind == "gated":
        torch._dynamo.reset()
        compiler = "inductor" if case.device == "cuda" else "eager"
        together = torch.compile(gated_gelu, backend=compiler, dynamic=False)
        return lambda: together(a, b, c)
    if case.kind == "attention":
        return lambda: F.scaled_dot_product_attention(a, b, c)
    return lambda: formula(case.kind, a, b, c)


@torch.no_grad()
def measured(case: Case, inputs: tuple[Tensor, ...], wanted: Tensor) -> Row:
    work = launch(case, inputs)
    made = work()
    assert made.shape == wanted.shape, (made.shape, wanted.shape)
    rel_l2 = float((made.float() - wanted).norm() / wanted.norm())
    del made
    seconds = median(work) if case.device == "cuda" else by_the_clock(work)
    rate = amount(case) / seconds
    return Row(case.kind, str(case.level), case.way, round(seconds * 1e6, 1), round(rate, 1), float(f"{rel_l2:.3g}"))


def measured_alone(case: Case) -> Row:
    """In a process of its own."""
    inputs = given(case)
    return measured(case, inputs, exact(case.kind, inputs))


def amount(case: Case) -> float:
    """TFLOP, of attention GB that are read and written at least."""
    m, c = case.level.tokens, case.level.channels
    if case.kind == "attention":
        return 4 * m * c * torch.finfo(getattr(torch, case.dtype)).bits / 8 / 1e9
    per_token = {"gated": 2 * c * 8 * c, "frames": 2 * 3 * c * c, "pictures": 2 * 9 * c * c}
    return m * per_token[case.kind] / 1e12


def by_the_clock(work: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def median(work: Callable[[], Tensor]) -> float:
    """Seconds on the GPU; the cache is emptied by reading, since what was written would be written back meanwhile."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()
        work()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = work()
    cold = torch.zeros(FLUSHED, device="cuda")
    new = partial(torch.cuda.Event, enable_timing=True)
    pairs = [(new(), new()) for _ in range(WARM + REPEATS)]
    for before, after in pairs:
        cold.sum()  # longer than it takes to ask for the next three
        before.record()
        graph.replay()
        after.record()
    torch.cuda.synchronize()
    spent: float = statistics.median(before.elapsed_time(after) for before, after in pairs[WARM:]) / 1e3
    del kept, graph
    torch.cuda.empty_cache()
    return spent


def write(out: Path, rows: Sequence[Row], failed: Sequence[str], left: int, device: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    told = {
        "what": "Our Triton kernels beside the libraries', at the sizes of the networks",
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU, interpreted: times mean nothing",
        "torch": torch.__version__,
        "triton": triton.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join(["python", *sys.argv]),
        "method": f"Median of {REPEATS} replays of a CUDA graph, the L2 cache emptied before each; "
        "rel_l2: relative L2 distance from torch in float32 on the same inputs",
        "not_measured": left,
        "failed": list(failed),
        "rows": [asdict(row) for row in rows],
    }
    (out / "kernels-by-shape.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    lines = [
        "# Kernels by shape",
        "",
        f"{told['what']}; {told['device']}, torch {told['torch']}, Triton {told['triton']}, {told['date']}.",
        f"{told['method']}.",
        f"Repeat with `{told['command']}`.",
        *([f"{left} cases were not measured."] if left else []),
        *table(rows),
        *(["", "## Failed", "", *(f"- {line}".replace("\n", " ") for line in failed)] if failed else []),
    ]
    (out / "kernels-by-shape.md").write_text("\n".join(lines) + "\n")


def table(rows: Sequence[Row]) -> list[str]:
    """One table per kind and size; the quickest in bold, speed beside that of its first row."""
    lines: list[str] = []
    for kind, level in dict.fromkeys((row.kind, row.level) for row in rows):
        same = [row for row in rows if (row.kind, row.level) == (kind, level)]
        least = min(row.microseconds for row in same)
        unit = "GB/s" if kind == "attention" else "TFLOP/s"
        lines += ["", f"## {KINDS[kind]}. {level}", ""]
        lines += [f"| way | µs | {unit} | × the first | rel. L2 |", "| --- | ---: | ---: | ---: | ---: |"]
        for row in same:
            spent = f"**{row.microseconds:,}**" if row.microseconds == least else f"{row.microseconds:,}"
            faster = same[0].microseconds / max(row.microseconds, 0.1)
            lines.append(f"| {row.way} | {spent} | {row.rate:,} | {faster:.2f} | {row.rel_l2:.1e} |")
    return lines


if __name__ == "__main__":
    main()
