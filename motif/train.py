"""Trains MotiF on accelerate: one GPU, DDP, or sharded over many nodes (start with torchrun or accelerate launch).

Nothing random depends on how a run got where it is: samples follow from their number; timesteps and noises from
(seed, step, place in the global batch). A run that was killed and resumed ends with the same weights as one that was
not, and so does one on another number of processes, up to rounding.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from tqdm import tqdm

from motif.batches import Numbers, Stacker, loader
from motif.data import Sample, Samples
from motif.diffusion import alphas_cumprod
from motif.folder import STATE, WEIGHTS, Saved, as_json, latest, prune, publish, read_settings, sweep, write_settings
from motif.journal import Journal
from motif.network import checkpointed, place
from motif.objective import Batch, draw, objective
from motif.parts import Encoders, build_unet, start_state, to_json
from motif.settings import FREE, MotifSettings, TrainSettings
from motif.state import load_state, save_state, shard, write_weights
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
    fsdp: bool = False
    """Shard network, optimiser and average over all processes instead of copying them."""

    def record(self) -> dict[str, object]:
        """The training settings and the flow backend, as a checkpoint keeps them."""
        return as_json(asdict(self.train) | {"flow": self.flow})


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
        self.network = build_unet(plan.model, start_state(plan.model, plan.weights), torch.float32, "cpu")
        self.network.requires_grad_(True).train()
        if train.checkpointing:
            checkpointed(self.network)
        self.unet, self.optimizer = self._placed()
        self.average = [p.detach().clone() for p in self.network.parameters()] if train.ema else []
        self.alphas = alphas_cumprod().to(accelerator.device)
        self.step = 0
        newest = latest(plan.out)
        if newest is not None:
            self._resume(newest)
        self.journal: Journal | None = None
        if accelerator.is_main_process:
            sweep(plan.out)
            self.journal = Journal(plan.out, self.step)

    def _placed(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The network as it is called, and its optimiser: on the device, copied to all processes or sharded."""
        train, plan = self.plan.train, self.plan
        if plan.fsdp:
            if self.accelerator.mixed_precision == "fp16":
                raise TrainError("--fsdp has no loss scaling for precision=fp16; take precision=bf16.")
            shard(self.network, self.accelerator.device)
        else:
            place(self.network, self.accelerator.device)
        self._plain_optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=train.learning_rate, betas=train.betas, weight_decay=train.weight_decay,
            fused=self.accelerator.device.type == "cuda",
        )  # fmt: skip
        if plan.fsdp:
            return self.network, self._plain_optimizer
        unet, optimizer = self.accelerator.prepare(self.network, self._plain_optimizer)
        return unet, optimizer

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
        first = self.accelerator.process_index * self.accumulate * train.per_device
        sums = torch.zeros(5, device=self.accelerator.device)
        broken: dict[str, str] = {}
        for part in range(self.accumulate):
            samples = next(batches)
            broken |= dict(entry for sample in samples for entry in sample.broken)
            places = range(first + part * train.per_device, first + (part + 1) * train.per_device)
            with self._synchronised(part + 1 == self.accumulate):
                sums[:4] += self._backward(samples, places)
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), train.clip)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        rate = train.learning_rate * min(1.0, (self.step + 1) / max(1, train.warmup))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._follow()
        sums[4] = len(broken) * self.accumulate
        diffusion, motion, hot, mean, passed_over = (self.accelerator.reduce(sums, "mean") / self.accumulate).tolist()
        if passed_over:  # the same on all processes; the clips themselves are not
            broken = dict(entry for part in gather_object([broken]) for entry in part.items())
        values = {
            "loss": diffusion + train.motion_weight * motion, "diffusion": diffusion, "motion": motion,
            "hot": hot, "mean_heat": mean, "gradient": float(norm), "rate": rate,
        }  # fmt: skip
        return values, broken

    def _synchronised(self, final: bool) -> AbstractContextManager[None]:
        """Gradients are exchanged after the last part only."""
        if self.plan.fsdp:
            self.network.set_requires_gradient_sync(final)  # type: ignore[operator]  # a method that sharding adds
        elif not final:
            without: AbstractContextManager[None] = self.accelerator.no_sync(self.unet)
            return without
        return nullcontext()

    def _backward(self, samples: list[Sample], places: range) -> Tensor:
        """Gradients of one forward pass; (diffusion, motion, hot share, mean heat)."""
        train, model = self.plan.train, self.plan.model
        video, heat, fps = self.stack(samples)
        draws = draw(train.seed, self.step, places, self.encoders.latent_shape(video))
        latents = self.encoders.latents(video, draws.posterior)
        keep = torch.tensor([sample.keep_image for sample in samples], device=latents.device)
        image = latents[:, :, 0] * keep[:, None, None, None]
        shown = video[:, :, 0] * keep[:, None, None, None]
        context = self.encoders.context([sample.caption for sample in samples], shown).float()
        batch = Batch(latents, image, context, fps, heat)
        timestep, noise = draws.timestep.to(latents.device), draws.noise.to(latents.device)
        with self.accelerator.autocast():
            terms = objective(self.unet, model.network(), batch, timestep, noise, self.alphas, model.prediction)
        self.accelerator.backward(terms.total(train.motion_weight) / self.accumulate)
        with torch.no_grad():
            return torch.stack([terms.diffusion.mean(), terms.motion.mean(), (heat > 0.5).float().mean(), heat.mean()])

    @torch.no_grad()
    def _follow(self) -> None:
        for kept, parameter in zip(self.average, self.network.parameters(), strict=False):
            kept.lerp_(parameter.detach(), 1 - self.plan.train.ema)

    @torch.no_grad()
    def _swap(self) -> None:
        """Exchange the network's weights and their average."""
        for kept, parameter in zip(self.average, self.network.parameters(), strict=False):
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
        """Write a whole checkpoint, then remove what is too old.

        Raises:
            StateError, StorageError: the disk is full, or refuses; older checkpoints are untouched.
        """
        plan, accelerator = self.plan, self.accelerator
        final = plan.out / f"checkpoint-{self.step:06d}"
        partial = final.with_name(final.name + ".partial")
        partial.mkdir(parents=True, exist_ok=True)
        accelerator.wait_for_everyone()
        save_state(partial / STATE, self.network, self._plain_optimizer, self.average)
        self._swap()
        write_weights(partial / WEIGHTS, self.network)
        self._swap()
        if accelerator.is_main_process:
            saved = Saved(to_json(plan.model), plan.record(), plan.weights, self.step)
            write_settings(partial, saved, plan.model, plan.train)
            publish(partial, final)
            prune(plan.out, plan.train.keep)
        accelerator.wait_for_everyone()

    def _resume(self, folder: Path) -> None:
        saved = read_settings(folder)
        ours = as_json(to_json(self.plan.model)) | self.plan.record()
        _same(folder, saved.model | saved.train, {k: v for k, v in ours.items() if k not in FREE})
        load_state(folder / STATE, self.network, self._plain_optimizer, self.average)
        self.step = saved.step


def _same(folder: Path, theirs: Mapping[str, object], ours: Mapping[str, object]) -> None:
    """Refuse to go on with other settings than a checkpoint's."""
    changed = [f"{name} {theirs.get(name)!r} there and {value!r} here" for name, value in ours.items()
               if theirs.get(name) != value]  # fmt: skip
    if changed:
        raise TrainError(
            f"{folder} was trained with other settings: {'; '.join(changed)}. Use the same ones, or another --out."
        )


def _accumulation(train: TrainSettings, processes: int) -> int:
    share, rest = divmod(train.batch, processes * train.per_device)
    if rest or not share:
        raise TrainError(
            f"A global batch of {train.batch} cannot be shared by {processes} processes of {train.per_device} clips. "
            "Choose batch as a multiple of both."
        )
    return share
