"""Trains the cells of the ablation on one device and measures them at checkpoints."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from motif.mini.cells import CELLS, UNIT, StudySettings
from motif.mini.drawn import World
from motif.mini.judge import Judge
from motif.mini.measure import RegionErrors
from motif.mini.net import MiniUNet
from motif.mini.sampling import GraphSampler
from motif.mini.text import vocabulary
from motif.mini.training import MiniTrainer, TrainingData, as_view, flatten
from motif.mini.world import heat_bytes, on_device
from ti2v_bench.motion.heatmap import share

_LONGEST = 20_000
"""Most steps of one run."""


class Study:
    """Runs cells on one device and measures them at checkpoints."""

    def __init__(self, settings: StudySettings, world: World, device: str, compiled: bool) -> None:
        self.settings, self.device = settings, device
        frames = on_device(world.train.frames, device)
        heat = torch.zeros(frames.shape[0], *frames.shape[2:], dtype=torch.uint8, device=device)
        data = TrainingData(frames, torch.from_numpy(world.train.ids).to(device), heat)
        self.trainer = MiniTrainer(settings.net(), settings.train, data, _LONGEST, compiled)
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
        region = heat_bytes(torch.from_numpy(test.flow[::2]), UNIT, self.settings.size).to(self.device)
        self.errors = RegionErrors(shown[::2], torch.from_numpy(test.ids[::2]).to(self.device), region)

    def _wait(self) -> None:
        if self.trainer.cuda:
            torch.cuda.synchronize()

    def run(self, name: str, seed: int, checkpoints: tuple[int, ...]) -> Iterator[tuple[dict[str, object], Tensor]]:
        """Train one cell; at every checkpoint its record and its generated clips (overwritten by the next)."""
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
                "cell": name, "seed": seed, "step": step, "words": self.settings.words, "lambda": cell.weight,
                "heat": "mask" if cell.heat is None else f"{cell.heat.unit} {cell.heat.variant}", **measured,
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
            **self.errors(self.model),
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
