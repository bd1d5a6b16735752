"""The paper's ablations in miniature: `python -m motif.mini.study --out FOLDER --minutes M` on one GPU.

Runs are ordered seed by seed, so that a run cut short by its time limit still compares all cells on the same seeds.
Every finished checkpoint is one line of `runs.jsonl`; `--resume` skips the runs that a file already holds.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
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
from motif.mini.world import Clips, draw_clips, heat_bytes, on_device, vocabularies
from ti2v_bench.motion.heatmap import HeatmapSettings, share
from ti2v_bench.shapes import join


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
    frames: int = 8
    clips: int = 16384
    """Training clips."""
    tests: int = 256
    """Generated per checkpoint: the first half from the training words' combinations, the second held out."""
    steps: int = 1500
    checkpoints: tuple[int, ...] = (300, 600, 900, 1200, 1500)
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
        return MiniSettings(known, WORDS_PER_PROMPT, self.size, self.frames)


@dataclass
class World:
    """Training and test clips, drawn once for all runs."""

    train: Clips
    test: Clips
    against: list[Case]


def draw_world(settings: StudySettings, workers: int) -> World:
    """Draw everything on the CPU; call before CUDA is touched."""
    seen, unseen = vocabularies()
    half = settings.tests // 2
    train = draw_clips(settings.clips, 1, seen, settings.size, settings.frames, workers)
    parts = [draw_clips(half, 2, seen, settings.size, settings.frames, workers)]
    parts.append(draw_clips(settings.tests - half, 3, unseen, settings.size, settings.frames, workers))
    columns = [np.concatenate([getattr(p, name) for p in parts]) for name in ("frames", "flow", "mask", "ids")]
    test = Clips(join([p.scenes for p in parts]), *columns)
    return World(train, test, cases(test.scenes, settings.size, settings.frames, workers))


class Study:
    """Runs cells on one device and measures them at checkpoints."""

    def __init__(self, settings: StudySettings, world: World, device: str, compiled: bool) -> None:
        self.settings, self.world, self.device = settings, world, device
        frames = on_device(world.train.frames, device)
        heat = torch.zeros(frames.shape[0], *frames.shape[2:], dtype=torch.uint8, device=device)
        self.flow = torch.from_numpy(world.train.flow).to(device)
        self.mask = torch.from_numpy(world.train.mask).to(device)
        data = TrainingData(frames, torch.from_numpy(world.train.ids).to(device), heat)
        self.trainer = MiniTrainer(settings.net(), settings.train, data, settings.steps + 8, compiled)
        self.trainer.prepare()
        self.model = MiniUNet(settings.net()).to(device, self.trainer.dtype).requires_grad_(False)
        self.flat = torch.zeros_like(self.trainer.weights)
        flatten(self.model, self.flat)
        self.model.requires_grad_(False)
        self.test = on_device(world.test.frames, device)
        self.test_ids = torch.from_numpy(world.test.ids).to(device)
        region = heat_bytes(torch.from_numpy(world.test.flow), HeatmapSettings()).to(device)
        self.ratio = ErrorRatio(self.test, self.test_ids, region)
        image = self.test[:, :, 0]
        noise = torch.randn(self.test.shape, generator=torch.Generator().manual_seed(4)).to(device)
        self.judge = Judge(world.test.scenes, world.against, image)
        given = image.float() / 127.5 - 1
        self.sampler = GraphSampler(self.model, given, self.test_ids, noise, settings.ddim, settings.guidance)

    def run(self, name: str, seed: int) -> Iterator[tuple[dict[str, object], Tensor]]:
        """Train one cell; at every checkpoint its record and its generated clips."""
        cell, trainer = CELLS[name], self.trainer
        heat = self.mask * 255 if cell.heat is None else heat_bytes(self.flow, cell.heat)
        trainer.data.heat.copy_(heat)
        hot = share(trainer.data.heat[:2048].float() / 255)
        trainer.reset(seed, cell.weight, cell.conditioning)
        done = 0
        for step in self.settings.checkpoints:
            started = time.perf_counter()
            trainer.train(step - done)
            if trainer.cuda:
                torch.cuda.synchronize()
            trained = time.perf_counter()
            measured, clips = self._measure()
            losses = trainer.losses[done:step].mean(0).tolist()
            seconds = {"train": trained - started, "measure": time.perf_counter() - trained}
            yield {
                "cell": name, "seed": seed, "step": step, **measured, "loss": losses[0], "motion_loss": losses[1],
                "hot": hot.hot, "mean_heat": hot.mean, "seconds": {k: round(v, 3) for k, v in seconds.items()},
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
        partial = path.with_name(path.name + ".partial")
        net = {"net": json.dumps(asdict(self.settings.net())), "words": " ".join(vocabulary())}
        save_file(state, partial, metadata=net | about)
        partial.replace(path)


def _in_flat_order(model: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            yield f"{prefix}.{name}" if prefix else name, parameter


@dataclass(frozen=True)
class Order:
    """What one call is asked to do."""

    out: Path
    minutes: float
    cells: tuple[str, ...]
    seeds: tuple[int, ...]
    keep: tuple[str, ...] = ()
    """Cells whose seed-0 weights are written."""
    keep_at: tuple[int, ...] = ()
    """At these checkpoints besides the last."""
    resume: tuple[Path, ...] = ()


def carry_out(study: Study, order: Order, began: float) -> None:
    """Run what is missing until the time is up; every checkpoint is on disk at once."""
    done = {(row["cell"], row["seed"]) for path in order.resume for row in read_runs(path)}
    todo = [(c, s) for s in order.seeds for c in order.cells if (c, s) not in done]
    longest, shown = 0.0, {}
    with (order.out / "runs.jsonl").open("a") as log:
        for count, (name, seed) in enumerate(todo):
            started, clips = time.perf_counter(), None
            if started - began + longest > 60 * order.minutes:
                print(f"time is up: {count} of {len(todo)} runs done", flush=True)
                break
            for record, clips in study.run(name, seed):  # noqa: B007 - the last clips are shown below
                log.write(json.dumps(record) + "\n")
                log.flush()
                print(_line(record), flush=True)
                step = int(str(record["step"]))
                if seed == 0 and name in order.keep and step in (*order.keep_at, study.settings.checkpoints[-1]):
                    study.save(order.out / f"{name}-{step}.safetensors", {"cell": name, "seed": "0", "step": str(step)})
            if seed == order.seeds[0] and clips is not None:
                shown[name] = clips[:: max(1, len(clips) // 8)].cpu().numpy()
            longest = max(longest, time.perf_counter() - started)
    if shown:
        _montage(order.out / "samples.png", shown)


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


def _timed_eager(settings: StudySettings, study: Study) -> float:
    """Seconds per step without the compiler, to know what it saves."""
    trainer = MiniTrainer(settings.net(), settings.train, study.trainer.data, 64)
    trainer.prepare()
    torch.cuda.synchronize()
    started = time.perf_counter()
    trainer.train(30)
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / 30


def main() -> None:
    """Parse, draw, train, measure."""
    began = time.perf_counter()
    args = _arguments()
    settings = StudySettings(
        clips=args.clips, tests=args.tests, steps=args.checkpoints[-1], checkpoints=args.checkpoints,
        train=TrainSettings(batch=args.batch), tiny=args.tiny, size=args.size,
    )  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    world = draw_world(settings, args.workers)
    print(f"drawn after {time.perf_counter() - began:.1f} s", flush=True)
    try:
        study = Study(settings, world, args.device, args.compile)
    except Exception as error:  # the compiler is a convenience; the study must not die of it
        if not args.compile:
            raise
        print(f"compiling failed, going on without: {str(error)[:2000]}", flush=True)
        study = Study(settings, world, args.device, False)
    print(f"ready after {time.perf_counter() - began:.1f} s", flush=True)
    machine = torch.cuda.get_device_name() if args.device == "cuda" else "cpu"
    about: dict[str, object] = {
        "settings": asdict(settings),
        "machine": machine,
        "torch": torch.__version__,
        "args": vars(args),
    }
    if args.time_eager and args.device == "cuda":
        eager = _timed_eager(settings, study)
        about["eager_seconds_per_step"] = eager
        print(f"eager: {eager:.4f} s per step", flush=True)
    (args.out / "about.json").write_text(json.dumps(about, default=str, indent=1))
    order = Order(args.out, args.minutes, args.cells, args.seeds, args.keep, args.keep_at, args.resume)
    carry_out(study, order, began)
    if args.device == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    print(f"all done after {time.perf_counter() - began:.1f} s", flush=True)


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
    parser.add_argument("--checkpoints", type=ints, default=StudySettings.checkpoints)
    parser.add_argument("--keep", type=words, default=(), help="cells whose seed-0 weights are written")
    parser.add_argument("--keep-at", type=ints, default=(), help="checkpoints at which, besides the last")
    parser.add_argument("--resume", type=Path, nargs="*", default=(), help="runs.jsonl files whose runs are skipped")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--clips", type=int, default=StudySettings.clips)
    parser.add_argument("--tests", type=int, default=StudySettings.tests)
    parser.add_argument("--batch", type=int, default=TrainSettings.batch)
    parser.add_argument("--size", type=int, default=StudySettings.size)
    parser.add_argument("--tiny", action="store_true", help="a toy network, to try the script on a CPU")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--time-eager", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
