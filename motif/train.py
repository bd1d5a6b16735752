"""Trains MotiF on accelerate: one GPU, DDP, or FSDP over many nodes (start with torchrun or accelerate launch).

Nothing random depends on how a run got where it is: samples, timesteps and noises are drawn from generators seeded by
(seed, step, process), so that a run that was killed and resumed ends with the same weights as one that was not.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from motif.batches import Numbers, Stacker, loader
from motif.data import Sample, Samples
from motif.diffusion import alphas_cumprod
from motif.folder import STATE, WEIGHTS, Saved, latest, prune, publish, write_settings
from motif.journal import Journal
from motif.network import checkpointed
from motif.objective import Batch, draw, objective
from motif.parts import Encoders, build_unet, start_state, to_json
from motif.settings import MotifSettings, TrainSettings
from ti2v_bench.errors import TI2VError


class TrainError(TI2VError):
    """Settings that no run can be made with."""


@dataclass(frozen=True)
class Plan:
    """Everything about a run but its clips."""

    model: MotifSettings
    train: TrainSettings
    out: Path
    weights: str | None = None
    """As `ModelOptions.weights`: where VideoCrafter2 comes from."""
    flow: str = "dis"
    """The flow backend's recorded name."""


Watch = Callable[[nn.Module, int], dict[str, float]]
"""Called with the averaged network and the step at every `sample_every`; writes pictures, returns numbers to log."""


class Trainer:
    """One run, from its beginning or from its newest checkpoint."""

    def __init__(
        self, plan: Plan, samples: Samples, stack: Stacker, encoders: Encoders, accelerator: Accelerator
    ) -> None:
        self.plan, self.samples, self.stack = plan, samples, stack
        self.encoders, self.accelerator = encoders, accelerator
        train = plan.train
        self.accumulate = _accumulation(train, accelerator.num_processes)
        unet = build_unet(plan.model, start_state(plan.model, plan.weights), torch.float32, "cpu")
        unet.requires_grad_(True).train()
        if train.checkpointing:
            checkpointed(unet)
        optimizer = torch.optim.AdamW(
            unet.parameters(), lr=train.learning_rate, betas=train.betas, weight_decay=train.weight_decay
        )
        self.unet, self.optimizer = accelerator.prepare(unet, optimizer)
        self.ema = [p.detach().clone() for p in self.unet.parameters()] if train.ema else []
        self.alphas = alphas_cumprod().to(accelerator.device)
        self.step = 0
        newest = latest(plan.out)
        if newest is not None:
            self._resume(newest)
        self.journal = Journal(plan.out, self.step) if accelerator.is_main_process else None

    def run(self, watch: Watch | None = None, until: int | None = None) -> None:
        """Train to the last step (or `until`), saving on the way.

        Raises:
            ClipsError: no clip can be decoded.
        """
        train = self.plan.train
        last = min(train.steps, until or train.steps)
        batches = self._batches(last)
        bar = tqdm(
            total=train.steps, initial=self.step, unit="step", disable=not self.accelerator.is_local_main_process
        )
        while self.step < last:
            started = time.perf_counter()
            values, broken = self._one_step(batches)
            self.step += 1
            values |= {"seconds": time.perf_counter() - started}
            if watch and train.sample_every and self.step % train.sample_every == 0:
                values |= self._watched(watch)
            if self.journal:
                self.journal.broken(self.step, broken)
                self.journal.write(self.step, values | {"passed_over": self.journal.passed_over})
            bar.update()
            bar.set_postfix(loss=f"{values['loss']:.4f}", hot=f"{values['hot']:.3f}")
            if self.step % train.save_every == 0 or self.step == train.steps:
                self.save()
        bar.close()
        if self.journal:
            self.journal.close()

    def _batches(self, last: int) -> Iterator[list[Sample]]:
        train, accelerator = self.plan.train, self.accelerator
        numbers = Numbers(self.step, last, train.batch, accelerator.process_index, accelerator.num_processes)
        return iter(loader(self.samples, numbers, train.per_device, train.workers))

    def _one_step(self, batches: Iterator[list[Sample]]) -> tuple[dict[str, float], dict[str, str]]:
        """One optimiser step over `accumulate` forward passes; what to log, and the clips passed over."""
        train = self.plan.train
        generator = torch.Generator().manual_seed(_mixed(train.seed, self.step, self.accelerator.process_index))
        sums = torch.zeros(4, device=self.accelerator.device)
        broken: dict[str, str] = {}
        for part in range(self.accumulate):
            samples = next(batches)
            broken |= dict(entry for sample in samples for entry in sample.broken)
            final = part + 1 == self.accumulate
            with nullcontext() if final else self.accelerator.no_sync(self.unet):
                sums += self._backward(samples, generator)
        norm = self.accelerator.clip_grad_norm_(self.unet.parameters(), train.clip)
        rate = train.learning_rate * min(1.0, (self.step + 1) / max(1, train.warmup))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._average()
        diffusion, motion, hot, mean = (self.accelerator.reduce(sums, "mean") / self.accumulate).tolist()
        values = {
            "loss": diffusion + train.motion_weight * motion, "diffusion": diffusion, "motion": motion,
            "hot": hot, "mean_heat": mean, "gradient": float(norm), "rate": rate,
        }  # fmt: skip
        return values, broken

    def _backward(self, samples: list[Sample], generator: torch.Generator) -> Tensor:
        """Gradients of one forward pass; (diffusion, motion, hot share, mean heat)."""
        train, model = self.plan.train, self.plan.model
        video, heat, fps = self.stack(samples)
        latents = self.encoders.latents(video, generator)
        keep = torch.tensor([sample.keep_image for sample in samples], device=latents.device)
        image = latents[:, :, 0] * keep[:, None, None, None]
        shown = video[:, :, 0] * keep[:, None, None, None]
        context = self.encoders.context([sample.caption for sample in samples], shown).float()
        batch = Batch(latents, image, context, fps, heat)
        timestep, noise = draw(batch, generator)
        with self.accelerator.autocast():
            terms = objective(self.unet, model.network(), batch, timestep, noise, self.alphas, model.prediction)
        self.accelerator.backward(terms.total(train.motion_weight) / self.accumulate)
        with torch.no_grad():
            return torch.stack([terms.diffusion.mean(), terms.motion.mean(), (heat > 0.5).float().mean(), heat.mean()])

    @torch.no_grad()
    def _average(self) -> None:
        for kept, parameter in zip(self.ema, self.unet.parameters(), strict=False):
            kept.lerp_(parameter.detach(), 1 - self.plan.train.ema)

    @torch.no_grad()
    def _swap(self) -> None:
        """Exchange the network's weights and their average."""
        for kept, parameter in zip(self.ema, self.unet.parameters(), strict=False):
            now = parameter.detach().clone()
            parameter.copy_(kept)
            kept.copy_(now)

    def _watched(self, watch: Watch) -> dict[str, float]:
        self._swap()
        self.unet.eval()
        try:
            return watch(self.unet, self.step)
        finally:
            self.unet.train()
            self._swap()

    def save(self) -> None:
        """Write a whole checkpoint, then remove what is too old."""
        plan, accelerator = self.plan, self.accelerator
        final = plan.out / f"checkpoint-{self.step:06d}"
        partial = final.with_name(final.name + ".partial")
        partial.mkdir(parents=True, exist_ok=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(partial / STATE), safe_serialization=True)
        torch.save(self.ema, partial / STATE / f"ema-{accelerator.process_index}.pt")
        self._swap()
        # Copied before the average is swapped out again: these tensors are the network's own.
        weights = {key: value.detach().cpu().clone() for key, value in accelerator.get_state_dict(self.unet).items()}
        self._swap()
        if accelerator.is_main_process:
            save_file({key: value.contiguous() for key, value in weights.items()}, partial / WEIGHTS)
            about = asdict(plan.train) | {"flow": plan.flow}
            saved = Saved(to_json(plan.model), about, plan.weights, self.step)
            write_settings(partial, saved, plan.model, plan.train)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            publish(partial, final)
            prune(plan.out, plan.train.keep)
        accelerator.wait_for_everyone()

    def _resume(self, folder: Path) -> None:
        from motif.folder import read_settings

        saved = read_settings(folder)
        if saved.model != to_json(self.plan.model) and saved.model != _lists(to_json(self.plan.model)):
            raise TrainError(f"{folder} was trained with other model settings; choose another --out, or the same ones.")
        self.accelerator.load_state(str(folder / STATE))
        kept = torch.load(
            folder / STATE / f"ema-{self.accelerator.process_index}.pt", map_location=self.accelerator.device,
            weights_only=True,
        )  # fmt: skip
        self.ema = kept if self.plan.train.ema else []
        self.step = saved.step


def _lists(content: dict[str, object]) -> dict[str, object]:
    """As JSON gives it back: lists for tuples."""
    import json

    result: dict[str, object] = json.loads(json.dumps(content))
    return result


def _accumulation(train: TrainSettings, processes: int) -> int:
    share, rest = divmod(train.batch, processes * train.per_device)
    if rest or not share:
        raise TrainError(
            f"A global batch of {train.batch} cannot be shared by {processes} processes of {train.per_device} clips. "
            "Choose batch as a multiple of both."
        )
    return share


def _mixed(seed: int, step: int, process: int) -> int:
    """One seed of three numbers, without collisions in any run that ends."""
    return (seed * 1_000_003 + step) * 65_537 + process
