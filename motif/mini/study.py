"""The paper's ablations in miniature: `python -m motif.mini.study --out FOLDER --minutes M` on one GPU.

Runs are ordered seed by seed, so that a run cut short by its time limit still compares all cells on the same seeds.
Every finished checkpoint is one line of `runs.jsonl`; `--resume` skips the runs that a file already holds.
"""

import argparse
import json
import os
import pickle
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from multiprocessing import Process
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from motif.mini.judge import Case, Judge, cases
from motif.mini.measure import ErrorRatio
from motif.mini.net import MiniSettings, MiniUNet
from motif.mini.sampling import GraphSampler
from motif.mini.text import WORDS_PER_PROMPT, vocabulary
from motif.mini.training import MiniTrainer, TrainingData, TrainSettings, as_view, flatten
from motif.mini.world import WORDS, Clips, draw_clips, heat_bytes, on_device, vocabularies
from ti2v_bench.motion.heatmap import HeatmapSettings, share
from ti2v_bench.shapes import join

LONGEST = 20_000
"""Most steps of one run."""


@dataclass(frozen=True)
class Cell:
    """One setting of the ablation."""

    weight: float
    """lambda."""
    heat: HeatmapSettings | None = field(default_factory=HeatmapSettings)
    """None: the drawing's own mask of the moving object, in the place of the paper's SAM masks."""
    conditioning: str = "x-cat"


CELLS: dict[str, Cell] = {
    "plain": Cell(0.0),
    "lambda-1": Cell(1.0),
    "inverse": Cell(1.0, HeatmapSettings(variant="inverse")),
    "lambda-5": Cell(5.0),
    "lambda-2": Cell(2.0),
    "lambda-0.5": Cell(0.5),
    "mask": Cell(1.0, None),
    "half_size": Cell(1.0, HeatmapSettings(unit="half_size")),
    "minmax_clip": Cell(1.0, HeatmapSettings(unit="minmax_clip")),
    "diag": Cell(1.0, HeatmapSettings(unit="diag")),
    "cx-attn": Cell(0.0, conditioning="cx-attn"),
    "both": Cell(0.0, conditioning="both"),
}
"""Unless named otherwise: x-cat, heatmap of estimated flow in unit `size`. As in the paper's Table 3, the conditioning
variants are compared without the motion focal loss."""


@dataclass(frozen=True)
class StudySettings:
    """Everything that decides the numbers."""

    size: int = 64
    flow_size: int = 64
    """Side of the frames on which flow is estimated."""
    channels: tuple[int, ...] = (32, 64, 128, 192)
    """Of the network's levels; the grids of 8 cells and less have attention."""
    frames: int = 8
    clips: int = 16384
    """Training clips."""
    words: str = "small"
    """Key of `motif.mini.world.WORDS`."""
    tests: int = 192
    """Generated per checkpoint: the first half from the training words' combinations, the second held out."""
    checkpoints: tuple[int, ...] = (300, 600, 900, 1200)
    """Steps at which a run is measured; the last one ends it."""
    ddim: int = 8
    guidance: float = 2.0
    train: TrainSettings = field(default_factory=TrainSettings)
    tiny: bool = False
    """A toy network, to try the script on a CPU."""

    def net(self) -> MiniSettings:
        """The network of every cell."""
        known = len(vocabulary()) + 2
        if self.tiny:
            return MiniSettings(known, WORDS_PER_PROMPT, self.size, self.frames, 4, (32, 32), (False, True), 32)
        attention = tuple(self.size // 2 // 2**level <= 8 for level in range(len(self.channels)))
        return MiniSettings(
            known, WORDS_PER_PROMPT, self.size, self.frames, channels=self.channels, attention=attention
        )


@dataclass
class World:
    """Training and test clips, drawn once for all runs."""

    train: Clips
    test: Clips
    against: list[Case]


def draw_world(settings: StudySettings, workers: int, cache: Path | None = None) -> World:
    """Draw everything on the CPU, or read it from a former call's cache; call before CUDA is touched."""
    sizes = (settings.size, settings.flow_size, settings.frames, settings.clips, settings.tests)
    key = f"{settings.words}-{'-'.join(map(str, sizes))}.pickle"
    path = cache / key if cache else None
    if path and path.exists():
        world: World = pickle.loads(path.read_bytes())
        return world
    seen, unseen = vocabularies(settings.words)
    half = settings.tests // 2
    draw = partial(
        draw_clips, size=settings.size, frames=settings.frames, workers=workers, flow_size=settings.flow_size
    )
    train = draw(settings.clips, 1, seen)
    parts = [draw(half, 2, seen), draw(settings.tests - half, 3, unseen)]
    columns = [np.concatenate([getattr(p, name) for p in parts]) for name in ("frames", "flow", "mask", "ids")]
    test = Clips(join([p.scenes for p in parts]), *columns)
    world = World(train, test, cases(test.scenes, settings.size, settings.frames, workers))
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".partial")
        unfinished.write_bytes(pickle.dumps(world, protocol=5))
        unfinished.replace(path)
    return world


class Study:
    """Runs cells on one device and measures them at checkpoints."""

    def __init__(self, settings: StudySettings, world: World, device: str, compiled: bool) -> None:
        self.settings, self.device = settings, device
        frames = on_device(world.train.frames, device)
        heat = torch.zeros(frames.shape[0], *frames.shape[2:], dtype=torch.uint8, device=device)
        data = TrainingData(frames, torch.from_numpy(world.train.ids).to(device), heat)
        self.trainer = MiniTrainer(settings.net(), settings.train, data, LONGEST, compiled)
        self.trainer.prepare()
        self.model = MiniUNet(settings.net()).to(device, self.trainer.dtype)
        self.flat = torch.zeros_like(self.trainer.weights)
        flatten(self.model, self.flat)
        self.model.requires_grad_(False)
        test = on_device(world.test.frames, device)
        self.test_ids = torch.from_numpy(world.test.ids).to(device)
        noise = torch.randn(test.shape, generator=torch.Generator().manual_seed(4)).to(device)
        self.given = test[:, :, 0].float() / 127.5 - 1
        self.sampler = GraphSampler(self.model, self.given, self.test_ids, noise, settings.ddim, settings.guidance)
        self.load(world)

    def load(self, world: World) -> None:
        """Study this world from now on; as large as the one before, since recorded graphs read the same memory."""
        train, test = world.train, world.test
        self.trainer.data.frames.copy_(on_device(train.frames, self.device))
        self.trainer.data.ids.copy_(torch.from_numpy(train.ids))
        self.flow = torch.from_numpy(train.flow).to(self.device)
        self.mask = torch.from_numpy(train.mask).to(self.device)
        shown = on_device(test.frames, self.device)
        self.given.copy_(shown[:, :, 0].float() / 127.5 - 1)
        self.test_ids.copy_(torch.from_numpy(test.ids))
        self.judge = Judge(test.scenes, world.against, shown[:, :, 0])
        region = heat_bytes(torch.from_numpy(test.flow[::2]), HeatmapSettings(), self.settings.size).to(self.device)
        self.ratio = ErrorRatio(shown[::2], torch.from_numpy(test.ids[::2]).to(self.device), region)

    def pace(self) -> tuple[float, float]:
        """Seconds of one training step, and of one measurement."""
        self.trainer.reset(0, 1.0, "x-cat")
        started = time.perf_counter()
        self.trainer.train(5 if self.trainer.cuda else 1)
        self._measure()
        middle = time.perf_counter()
        steps = 100 if self.trainer.cuda else 2
        self.trainer.train(steps)
        self._wait()
        trained = time.perf_counter()
        self._measure()
        done = time.perf_counter()
        print(f"first steps and measurement {middle - started:.2f} s", flush=True)
        return (trained - middle) / steps, done - trained

    def _wait(self) -> None:
        if self.trainer.cuda:
            torch.cuda.synchronize()

    def run(self, name: str, seed: int, checkpoints: tuple[int, ...]) -> Iterator[tuple[dict[str, object], Tensor]]:
        """Train one cell; at every checkpoint its record and its generated clips."""
        cell, trainer = CELLS[name], self.trainer
        trainer.data.heat.copy_(
            self.mask * 255 if cell.heat is None else heat_bytes(self.flow, cell.heat, self.settings.size)
        )
        hot = share(trainer.data.heat[:2048].float() / 255)
        trainer.reset(seed, cell.weight, cell.conditioning)
        done = 0
        for step in checkpoints:
            started = time.perf_counter()
            trainer.train(step - done)
            self._wait()
            trained = time.perf_counter()
            measured, clips = self._measure()
            losses = trainer.losses[done:step].mean(0).tolist()
            seconds = {"train": trained - started, "measure": time.perf_counter() - trained}
            yield {
                "cell": name, "seed": seed, "step": step, "words": self.settings.words, **measured,
                "loss": losses[0], "motion_loss": losses[1], "hot": hot.hot, "mean_heat": hot.mean,
                "seconds": {k: round(v, 3) for k, v in seconds.items()},
            }, clips  # fmt: skip
            done = step

    def _measure(self) -> tuple[dict[str, object], Tensor]:
        self.flat.copy_(self.trainer.ema)
        for name in ("gate_cat", "gate_cross"):
            getattr(self.model, name).copy_(getattr(self.trainer.model, name))
        clips = self.sampler()
        verdicts = self.judge(clips)
        measured: dict[str, object] = {
            "outcomes": "".join(map(str, verdicts.outcome)),
            "first_psnr": [round(float(x), 2) for x in verdicts.first_psnr],
            "still_psnr": [round(float(x), 2) for x in verdicts.still_psnr],
            "error_ratio": self.ratio(self.model),
        }
        return measured, clips

    def save(self, path: Path, about: dict[str, str]) -> None:
        """Write the averaged weights as float16."""
        state, start = {}, 0
        model = MiniUNet(self.settings.net())
        for key, parameter in _in_flat_order(model):
            end = start + parameter.numel()
            state[key] = as_view(self.trainer.ema[start:end], parameter).half().contiguous().cpu()
            start = end
        unfinished = path.with_name(path.name + ".partial")
        net = {"net": json.dumps(asdict(self.settings.net())), "vocabulary": " ".join(vocabulary())}
        save_file(state, unfinished, metadata=net | about)
        unfinished.replace(path)


def _in_flat_order(model: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            yield f"{prefix}.{name}" if prefix else name, parameter


@dataclass(frozen=True)
class Order:
    """Which runs, until when."""

    out: Path
    until: float
    """No run is begun that would end after this time of `time.perf_counter`."""
    cells: tuple[str, ...]
    seeds: tuple[int, ...]
    checkpoints: tuple[int, ...]
    name: str = "runs"
    """Of the log: `<name>.jsonl`."""
    keep_at: tuple[int, ...] = ()
    """Checkpoints at which seed 0's weights are written."""
    resume: tuple[Path, ...] = ()
    """Logs whose finished runs are skipped."""


def carry_out(study: Study, order: Order) -> None:
    """Run what is missing until the time is up; every checkpoint is on disk at once."""
    last = order.checkpoints[-1]
    done = {(row["cell"], row["seed"]) for path in order.resume for row in read_runs(path) if row["step"] == last}
    todo = [(c, s) for s in order.seeds for c in order.cells if (c, s) not in done]
    longest, shown = 0.0, {}
    with (order.out / f"{order.name}.jsonl").open("a") as log:
        for count, (name, seed) in enumerate(todo):
            started, clips = time.perf_counter(), None
            if started + longest > order.until:
                print(f"time is up: {count} of {len(todo)} runs done", flush=True)
                break
            for record, clips in study.run(name, seed, order.checkpoints):  # noqa: B007 - the last are shown below
                log.write(json.dumps(record) + "\n")
                log.flush()
                print(_line(record), flush=True)
                step = int(str(record["step"]))
                if seed == 0 and step in order.keep_at:
                    about = {"cell": name, "seed": "0", "step": str(step), "words": study.settings.words}
                    study.save(order.out / f"{name}-{step}.safetensors", about)
            if seed == order.seeds[0] and clips is not None:
                shown[name] = clips[:: max(1, len(clips) // 6)].cpu().numpy()
            longest = max(longest, time.perf_counter() - started)
    if shown:
        _montage(order.out / f"{order.name}.png", shown)


def read_runs(path: Path) -> list[dict[str, object]]:
    """The records of one `runs.jsonl`."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def _line(record: dict[str, object]) -> str:
    text = str(record["outcomes"])
    half = len(text) // 2
    right = [part.count("0") / max(1, len(part)) for part in (text[:half], text[half:])]
    still = text.count("3") / len(text)
    psnr = float(np.nanmean(np.array(record["still_psnr"], float)))
    ratios = [round(v, 1) for v in record["error_ratio"].values()]  # type: ignore[attr-defined]
    return (
        f"{record['cell']:>12} seed {record['seed']} step {record['step']:>5}: right {right[0]:.3f} seen "
        f"{right[1]:.3f} held out, still {still:.2f}, PSNR {psnr:.1f} dB, ratio {ratios}, "
        f"loss {record['loss']:.4f}, {record['seconds']}"
    )


def _montage(path: Path, shown: dict[str, np.ndarray]) -> None:
    """One row per test scene and cell, frames side by side; all cells of one scene below each other."""
    from PIL import Image

    rows = [
        np.concatenate(list(clips[index].transpose(1, 2, 3, 0)), axis=1)
        for index in range(len(next(iter(shown.values()))))
        for clips in shown.values()
    ]
    Image.fromarray(np.concatenate(rows)).save(path)


def paced(step: float, measurement: float, seconds: float, parts: int = 4) -> tuple[int, ...]:
    """Evenly spaced checkpoints of a run that takes `seconds` in all, its measurements included; 300 steps at least."""
    steps = max(300, int((seconds - parts * measurement) / step))
    each = max(1, steps // parts // 25) * 25
    return tuple(each * (part + 1) for part in range(parts))


def main() -> None:
    """Draw, train, measure: first the pair of checkpoints if asked for, then the ablation."""
    began = time.perf_counter()
    args = _arguments()
    until = began + 60 * args.minutes
    args.out.mkdir(parents=True, exist_ok=True)
    train = TrainSettings(batch=args.batch, learning_rate=args.learning_rate)
    small = StudySettings(
        words=args.words, clips=args.clips, tests=args.tests, tiny=args.tiny, size=args.size,
        flow_size=max(args.size, StudySettings.flow_size), channels=args.channels, train=train,
    )  # fmt: skip
    full = replace(small, words="full")
    first = full if args.pair else small
    world = draw_world(first, args.workers, args.cache)
    print(f"drawn after {time.perf_counter() - began:.1f} s", flush=True)
    later = Process(target=draw_world, args=(small, args.workers, args.cache))  # drawn while the first one is used
    if args.pair and small != full:
        later.start()
    study = _prepared(first, world, args)
    print(f"ready after {time.perf_counter() - began:.1f} s", flush=True)
    if args.pair:
        carry_out(study, Order(args.out, until, ("lambda-1", "plain"), (0,), args.pair, "pair", args.keep_at))
        if small != full:
            later.join()
            study.settings = small
            study.load(draw_world(small, args.workers, args.cache))
        print(f"pair done after {time.perf_counter() - began:.1f} s", flush=True)
    step, measurement = study.pace()
    print(f"{step:.5f} s per step, {measurement:.3f} s per measurement", flush=True)
    checkpoints = args.checkpoints or _as_before(args.resume) or paced(step, measurement, args.run_seconds)
    about = {
        "settings": asdict(small),
        "checkpoints": checkpoints,
        "machine": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "seconds_per_step": step,
        "seconds_per_measurement": measurement,
        "parameters": study.flat.numel(),
        "arguments": sys.argv[1:],
    }
    (args.out / "about.json").write_text(json.dumps(about, default=str, indent=1))
    order = Order(args.out, until, args.cells, args.seeds, checkpoints, keep_at=(), resume=tuple(args.resume))
    carry_out(study, order)
    if args.device == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    print(f"all done after {time.perf_counter() - began:.1f} s", flush=True)


def _as_before(logs: Sequence[Path]) -> tuple[int, ...] | None:
    """The checkpoints of the runs that are resumed."""
    steps = sorted({int(str(row["step"])) for path in logs for row in read_runs(path)})
    return tuple(steps) or None


def _prepared(settings: StudySettings, world: World, args: argparse.Namespace) -> Study:
    try:
        return Study(settings, world, args.device, args.compile)
    except Exception as error:  # the compiler is a convenience; the study must not die of it
        if not args.compile:
            raise
        print(f"compiling failed, going on without: {str(error)[:2000]}", flush=True)
        return Study(settings, world, args.device, False)


def _arguments() -> argparse.Namespace:
    def ints(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.split(",") if part)

    def words(text: str) -> tuple[str, ...]:
        return tuple(part for part in text.split(",") if part)

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.0, help="no run is begun that would end later")
    parser.add_argument("--cells", type=words, default=tuple(CELLS))
    parser.add_argument("--seeds", type=ints, default=(0, 1, 2, 3, 4))
    parser.add_argument("--checkpoints", type=ints, default=(), help="steps; default: as many as --run-seconds allows")
    parser.add_argument("--run-seconds", type=float, default=9.0, help="length of one run of the ablation")
    parser.add_argument("--pair", type=ints, default=(), help="first train the pair of checkpoints to these steps")
    parser.add_argument("--keep-at", type=ints, default=(), help="of the pair, write the weights at these steps")
    parser.add_argument("--resume", type=Path, nargs="*", default=(), help="runs.jsonl files whose runs are skipped")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the drawn clips, 5 GB each")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--words", choices=tuple(WORDS), default="full", help="vocabulary of the ablation's world")
    parser.add_argument("--clips", type=int, default=StudySettings.clips)
    parser.add_argument("--tests", type=int, default=StudySettings.tests)
    parser.add_argument("--size", type=int, default=StudySettings.size)
    parser.add_argument("--channels", type=ints, default=StudySettings.channels, help="of the network's levels")
    parser.add_argument("--batch", type=int, default=TrainSettings.batch)
    parser.add_argument("--learning-rate", type=float, default=TrainSettings.learning_rate)
    parser.add_argument("--tiny", action="store_true", help="a toy network, to try the script on a CPU")
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
