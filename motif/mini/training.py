"""Trains small networks one after another on one device, each step a single replayed CUDA graph.

All parameters of a network lie in one flat buffer: bfloat16 for the network, float32 for the optimiser and its moving
average. One AdamW step is then a dozen kernels, and the next run starts by overwriting the buffers: the captured graph
serves every run, whatever its seed, loss weight, heatmap or conditioning. On a CPU the same step runs eagerly in
float32.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from motif.diffusion import STEPS, add_noise, alphas_cumprod, training_target
from motif.loss import loss_terms
from motif.mini.net import MiniSettings, MiniUNet


@dataclass(frozen=True)
class TrainSettings:
    """How every network of the study is trained; our choices, the paper's are for a 1.4 B network."""

    batch: int = 32
    learning_rate: float = 5e-4
    warmup: int = 100
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0
    """Largest norm of the whole gradient."""
    text_drop: float = 0.1
    """Share of clips trained with the empty prompt; published."""
    ema: float = 0.99
    """Of the weights that are evaluated; (1 + n) / (10 + n) while that is less."""


@dataclass
class TrainingData:
    """Everything a training step reads, on the training device."""

    frames: Tensor
    """(N, 3, F, H, W) uint8."""
    ids: Tensor
    """(N, L) int64."""
    heat: Tensor
    """(N, F, H, W) uint8, m times 255; overwritten when a run wants another heatmap."""


def flatten(model: nn.Module, buffer: Tensor) -> None:
    """Make every parameter of `model` a view into `buffer`; 4-D ones with channels last in memory."""
    start = 0
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            end = start + parameter.numel()
            setattr(module, name, nn.Parameter(as_view(buffer[start:end], parameter)))
            start = end


def as_view(piece: Tensor, like: Tensor) -> Tensor:
    """A 1-D piece in the shape of a parameter."""
    if like.ndim != 4:
        return piece.view(like.shape)
    o, i, h, w = like.shape
    return piece.view(o, h, w, i).permute(0, 3, 1, 2)


def flat_weights(model: nn.Module) -> Tensor:
    """All parameters as one float32 vector, in the order and layout of `flatten`."""
    pieces = [p.detach().permute(0, 2, 3, 1) if p.ndim == 4 else p.detach() for p in _ordered(model)]
    return torch.cat([p.float().reshape(-1) for p in pieces])


def _ordered(model: nn.Module) -> Iterable[nn.Parameter]:
    for module in model.modules():
        yield from (p for _, p in module.named_parameters(recurse=False))


class MiniTrainer:
    """One network, its optimiser and its training step, reusable for run after run."""

    def __init__(
        self, net: MiniSettings, settings: TrainSettings, data: TrainingData, longest: int, compiled: bool = False
    ) -> None:
        self.settings, self.data, self.net = settings, data, net
        self.device = data.frames.device
        self.cuda = self.device.type == "cuda"
        self.dtype = torch.bfloat16 if self.cuda else torch.float32
        self.model = MiniUNet(net).to(self.device, self.dtype)
        for gate in (self.model.gate_cat, self.model.gate_cross):
            gate.data = gate.data.to(self.dtype)
        size = sum(p.numel() for p in self.model.parameters())
        self.weights, self.grad = (torch.zeros(size, device=self.device, dtype=self.dtype) for _ in range(2))
        self.master, self.first, self.second, self.ema = (torch.zeros(size, device=self.device) for _ in range(4))
        flatten(self.model, self.weights)
        start = 0
        for parameter in _ordered(self.model):
            end = start + parameter.numel()
            parameter.grad = as_view(self.grad[start:end], parameter)
            start = end
        self.alphas = alphas_cumprod().to(self.device)
        self.weight = torch.zeros((), device=self.device)
        self.count = torch.zeros((), device=self.device)
        self.losses = torch.zeros(longest, 2, device=self.device)
        self.run: Callable[..., Tensor] = (
            torch.compile(self.model, fullgraph=True, dynamic=False) if compiled else self.model
        )
        self._replay: Callable[[], None] | None = None

    def reset(self, seed: int, weight: float, conditioning: str) -> None:
        """Begin a new run: seeded weights, empty optimiser, this loss weight and conditioning."""
        torch.manual_seed(seed)
        start = flat_weights(MiniUNet(self.net)).to(self.device)
        with torch.no_grad():
            self.master.copy_(start)
            self.ema.copy_(start)
            self.weights.copy_(start)
            for state in (self.first, self.second, self.count, self.losses):
                state.zero_()
            self.weight.fill_(weight)
            self.model.gate_cat.fill_(float(conditioning != "cx-attn"))
            self.model.gate_cross.fill_(float(conditioning != "x-cat"))
        torch.manual_seed(seed + 1)  # same seed, same order of clips, noises and timesteps in every cell

    def prepare(self) -> None:
        """Compile and, on CUDA, record the step; the state it leaves is rubbish, so `reset` comes next."""
        self.reset(0, 1.0, "both")
        if not self.cuda:
            return
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        self._replay = graph.replay

    def train(self, steps: int) -> None:
        """Take `steps` steps."""
        step = self._replay or self._step
        for _ in range(steps):
            step()

    def _draw(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """A batch: clean clips, heat, word ids (some dropped), timesteps, noise."""
        data, n = self.data, self.settings.batch
        which = torch.randint(len(data.frames), (n,), device=self.device)
        clean = data.frames[which].float() / 127.5 - 1
        heat = data.heat[which].float() / 255
        keep = torch.rand(n, 1, device=self.device) >= self.settings.text_drop
        timestep = torch.randint(STEPS, (n,), device=self.device)
        return clean, heat, data.ids[which] * keep, timestep, torch.randn_like(clean)

    def _step(self) -> None:
        clean, heat, ids, timestep, noise = self._draw()
        noisy = add_noise(clean, noise, timestep, self.alphas).to(self.dtype)
        target = training_target(clean, noise, timestep, self.alphas, "v")
        self.grad.zero_()
        terms = loss_terms(self.run(noisy, timestep, clean[:, :, 0].to(self.dtype), ids), target, heat)
        terms.total(self.weight).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            row = torch.stack([terms.diffusion.mean(), terms.motion.mean()])[None]
            self.losses.index_copy_(0, self.count.long()[None], row)
            self._update()

    def _update(self) -> None:
        """AdamW (Loshchilov & Hutter 2019) on the flat vector, then the moving average and the network's copy."""
        s, (b1, b2) = self.settings, self.settings.betas
        grad = self.grad.float()
        grad = grad * (s.clip / (grad.norm() + 1e-6)).clamp(max=1.0)
        self.count += 1
        self.first.lerp_(grad, 1 - b1)
        self.second.lerp_(grad.square(), 1 - b2)
        rate = s.learning_rate * (self.count / s.warmup).clamp(max=1.0)
        mean = self.first / (1 - b1**self.count)
        spread = (self.second / (1 - b2**self.count)).sqrt() + 1e-8
        self.master.mul_(1 - rate * s.weight_decay).sub_(rate * mean / spread)
        decay = torch.minimum((1 + self.count) / (10 + self.count), torch.full_like(self.count, s.ema))
        self.ema.lerp_(self.master, 1 - decay)
        self.weights.copy_(self.master)
