"""RAFT-large in torch alone (Teed & Deng, "RAFT: Recurrent All-Pairs Field Transforms", ECCV 2020).

Shapes: N pairs, C channels, H x W pixels, h x w = H/8 x W/8 cells. Attribute names are those of torchvision's
checkpoints; princeton-vl's are renamed on loading (`raft_weights`). 5 257 536 parameters.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ti2v_bench.model import Frames
from ti2v_bench.motion.flow import Flow, FlowError, check_frames
from ti2v_bench.motion.raft_weights import read_raft_weights
from ti2v_bench.replay import Replayed

if TYPE_CHECKING:
    from ti2v_bench.motion.raft_fused import FusedRaft

_log = logging.getLogger(__name__)

LEVELS, RADIUS = 4, 4
"""Correlation pyramid: levels, and cells looked up on each side; the published values."""
_CORRELATIONS = 2**29
"""Most correlations of one call, 2 GiB in float32: at 320x512 pixels 16 pairs need a fifth of them."""
MIN_SIDE = 128
"""The coarsest pyramid level must keep two cells per axis."""


def _unit(inputs: int, outputs: int, kernel: int, stride: int, norm: type[nn.Module]) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), norm(outputs), nn.ReLU())


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with norm, and a 1x1 shortcut where the resolution halves."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: type[nn.Module]) -> None:
        super().__init__()
        self.convnormrelu1 = _unit(inputs, outputs, 3, stride, norm)
        self.convnormrelu2 = _unit(outputs, outputs, 3, 1, norm)
        self.downsample = (
            nn.Identity() if stride == 1 else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), norm(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        return F.relu(self.downsample(x) + self.convnormrelu2(self.convnormrelu1(x)))


class Encoder(nn.Module):
    """Image to 256 channels on the 1/8 grid; instance norm for features, batch norm for context."""

    def __init__(self, norm: type[nn.Module]) -> None:
        super().__init__()
        self.convnormrelu = _unit(3, 64, 7, 2, norm)
        self.layer1 = nn.Sequential(ResidualBlock(64, 64, 1, norm), ResidualBlock(64, 64, 1, norm))
        self.layer2 = nn.Sequential(ResidualBlock(64, 96, 2, norm), ResidualBlock(96, 96, 1, norm))
        self.layer3 = nn.Sequential(ResidualBlock(96, 128, 2, norm), ResidualBlock(128, 128, 1, norm))
        self.conv = nn.Conv2d(128, 256, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] to (N, 256, h, w)."""
        result: Tensor = self.conv(self.layer3(self.layer2(self.layer1(self.convnormrelu(x)))))
        return result


class MotionEncoder(nn.Module):
    """Looked-up correlations and the current flow to 128 channels (the last two are the flow itself)."""

    def __init__(self) -> None:
        super().__init__()
        self.convcorr1 = nn.Sequential(nn.Conv2d(LEVELS * (2 * RADIUS + 1) ** 2, 256, 1), nn.ReLU())
        self.convcorr2 = nn.Sequential(nn.Conv2d(256, 192, 3, padding=1), nn.ReLU())
        self.convflow1 = nn.Sequential(nn.Conv2d(2, 128, 7, padding=3), nn.ReLU())
        self.convflow2 = nn.Sequential(nn.Conv2d(128, 64, 3, padding=1), nn.ReLU())
        self.conv = nn.Sequential(nn.Conv2d(192 + 64, 126, 3, padding=1), nn.ReLU())

    def forward(self, flow: Tensor, corr: Tensor) -> Tensor:
        """Flow (N, 2, h, w) and correlations (N, 324, h, w) to (N, 128, h, w)."""
        both = torch.cat([self.convcorr2(self.convcorr1(corr)), self.convflow2(self.convflow1(flow))], dim=1)
        return torch.cat([self.conv(both), flow], dim=1)


class ConvGRU(nn.Module):
    """One direction of the separable convolutional GRU."""

    def __init__(self, kernel: tuple[int, int]) -> None:
        super().__init__()
        pad = (kernel[0] // 2, kernel[1] // 2)
        self.convz = nn.Conv2d(128 + 256, 128, kernel, padding=pad)
        self.convr = nn.Conv2d(128 + 256, 128, kernel, padding=pad)
        self.convq = nn.Conv2d(128 + 256, 128, kernel, padding=pad)

    def forward(self, hidden: Tensor, x: Tensor) -> Tensor:
        """Hidden (N, 128, h, w) and input (N, 256, h, w) to the next hidden state."""
        both = torch.cat([hidden, x], dim=1)
        z, r = torch.sigmoid(self.convz(both)), torch.sigmoid(self.convr(both))
        q = torch.tanh(self.convq(torch.cat([r * hidden, x], dim=1)))
        return (1 - z) * hidden + z * q


class RecurrentBlock(nn.Module):
    """The GRU along rows, then along columns."""

    def __init__(self) -> None:
        super().__init__()
        self.convgru1 = ConvGRU((1, 5))
        self.convgru2 = ConvGRU((5, 1))

    def forward(self, hidden: Tensor, x: Tensor) -> Tensor:
        """As ConvGRU, both directions."""
        result: Tensor = self.convgru2(self.convgru1(hidden, x), x)
        return result


class FlowHead(nn.Module):
    """Hidden state to a flow update in 1/8-scale pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(128, 256, 3, padding=1)
        self.conv2 = nn.Conv2d(256, 2, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, 128, h, w) to (N, 2, h, w)."""
        result: Tensor = self.conv2(F.relu(self.conv1(hidden)))
        return result


class UpdateBlock(nn.Module):
    """One recurrent update: look at the correlations, move the hidden state, propose a flow change."""

    def __init__(self) -> None:
        super().__init__()
        self.motion_encoder = MotionEncoder()
        self.recurrent_block = RecurrentBlock()
        self.flow_head = FlowHead()

    def forward(self, hidden: Tensor, context: Tensor, corr: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Next hidden state (N, 128, h, w), and the flow change (N, 2, h, w)."""
        hidden = self.recurrent_block(hidden, torch.cat([context, self.motion_encoder(flow, corr)], dim=1))
        return hidden, self.flow_head(hidden)


class MaskPredictor(nn.Module):
    """Weights of the convex up-sampling: 9 neighbours for each of 8x8 sub-cells."""

    def __init__(self) -> None:
        super().__init__()
        self.convrelu = nn.Sequential(nn.Conv2d(128, 256, 3, padding=1), nn.ReLU())
        self.conv = nn.Conv2d(256, 9 * 64, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, 128, h, w) to unnormalised weights (N, 576, h, w)."""
        weights: Tensor = self.conv(self.convrelu(hidden))
        return 0.25 * weights  # Published: scaled to balance the gradients.


def correlation_pyramid(first: Tensor, second: Tensor) -> list[Tensor]:
    """All-pairs dot products over sqrt(C), (N*h*w, 1, h, w), and three halvings of the last two axes."""
    n, c, h, w = first.shape
    corr = torch.einsum("ncp,ncq->npq", first.flatten(2), second.flatten(2)) / c**0.5
    levels = [corr.reshape(n * h * w, 1, h, w)]
    for _ in range(LEVELS - 1):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def lookup(pyramid: list[Tensor], coords: Tensor) -> Tensor:
    """Correlations in a 9x9 window around `coords` (N, 2, h, w; x then y) on every level: (N, 324, h, w).

    Published: the window's slow axis is x, its fast axis y; the weights expect it.
    """
    n, _, h, w = coords.shape
    step = torch.arange(-RADIUS, RADIUS + 1, device=coords.device, dtype=coords.dtype)
    window = torch.stack(torch.meshgrid(step, step, indexing="ij"), dim=-1)  # (9, 9, xy)
    centre = coords.permute(0, 2, 3, 1).reshape(n * h * w, 1, 1, 2)
    found = []
    for level, corr in enumerate(pyramid):
        # Filled on the device, not copied to it, so that the call can be recorded as a graph.
        size = torch.stack([coords.new_full((), side - 1) for side in (corr.shape[-1], corr.shape[-2])])
        grid = 2 * (centre / 2**level + window) / size - 1
        found.append(F.grid_sample(corr, grid, align_corners=True).reshape(n, h, w, -1))
    return torch.cat(found, dim=-1).permute(0, 3, 1, 2)


def upsample_convex(flow: Tensor, mask: Tensor) -> Tensor:
    """1/8-scale flow (N, 2, h, w) to pixels (N, 2, 8h, 8w): each pixel a convex mix of 3x3 coarse cells."""
    n, _, h, w = flow.shape
    weights = mask.reshape(n, 1, 9, 8, 8, h, w).softmax(dim=2)
    around = F.unfold(8 * flow, 3, padding=1).reshape(n, 2, 9, 1, 1, h, w)
    return (weights * around).sum(dim=2).permute(0, 1, 4, 2, 5, 3).reshape(n, 2, 8 * h, 8 * w)


class Raft(nn.Module):
    """RAFT-large."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_encoder = Encoder(nn.InstanceNorm2d)
        self.context_encoder = Encoder(nn.BatchNorm2d)
        self.update_block = UpdateBlock()
        self.mask_predictor = MaskPredictor()

    def forward(self, first: Tensor, second: Tensor, updates: int = 20) -> Tensor:
        """Flow from `first` to `second`.

        Args:
            first: images (N, 3, H, W) in [-1, 1]; H and W multiples of 8, at least 128.
            second: the same shape.
            updates: recurrent updates; 20 in princeton-vl's demo and VBench, 12 in training.

        Returns:
            (N, 2, H, W) in pixels, channels x, y.
        """
        return self.predict(first, second, updates)[0]

    def predict(self, first: Tensor, second: Tensor, updates: int) -> tuple[Tensor, Tensor]:
        """Full-resolution flow, and the 1/8-scale flow (N, 2, h, w) in 1/8-scale pixels."""
        before, after = self.feature_encoder(torch.cat([first, second])).chunk(2)
        return self._refined(first, before, after, updates)

    def adjacent(self, video: Tensor, updates: int) -> Tensor:
        """Flow from each frame of (T, 3, H, W) to the next, (T-1, 2, H, W), each frame's features made once."""
        features = self.feature_encoder(video)
        return self._refined(video[:-1], features[:-1], features[1:], updates)[0]

    def _refined(self, first: Tensor, before: Tensor, after: Tensor, updates: int) -> tuple[Tensor, Tensor]:
        with torch.autocast(first.device.type, enabled=False):  # coordinates of 64 cells need more than 8 bits
            pyramid = correlation_pyramid(before.to(first.dtype), after.to(first.dtype))
        hidden, context = self.context_encoder(first).chunk(2, dim=1)
        hidden, context = hidden.tanh(), context.relu()
        n, _, h, w = hidden.shape
        rows, columns = torch.meshgrid(
            torch.arange(h, device=first.device), torch.arange(w, device=first.device), indexing="ij"
        )
        start = torch.stack([columns, rows]).to(first.dtype).expand(n, -1, -1, -1)
        flow = torch.zeros_like(start)
        for _ in range(updates):
            corr = lookup(pyramid, start + flow).to(hidden.dtype)
            hidden, change = self.update_block(hidden, context, corr, flow.to(hidden.dtype))
            flow = flow + change.to(flow.dtype)
        return upsample_convex(flow, self.mask_predictor(hidden).to(flow.dtype)), flow


class RaftFlow:
    """RAFT-large as a flow backend: pads to multiples of 8, runs adjacent frames in batches.

    On CUDA the network runs in its fused form (`raft_fused`), or plainly where Triton does not work; and a batch is one
    replayed graph where shapes repeat, since an update is some thirty small kernels.
    """

    def __init__(
        self,
        model: Raft,
        source: str,
        device: str = "cpu",
        updates: int = 20,
        batch: int = 16,
        precision: str = "float32",
    ) -> None:
        """`batch` is the most pairs per call; `precision` other than float32 runs the convolutions so.

        Correlations and flow stay float32.
        """
        self.model = model.eval().requires_grad_(False).to(device)
        if torch.device(device).type == "cuda":
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._adjacent = Replayed(self._adjacent_in, keep=2)  # all frames, and every so many (dynamic degree)
        self._fused: dict[str, FusedRaft | None] = {}
        """By precision; None where it cannot run here."""
        self.device, self.updates, self.batch, self.precision = device, updates, batch, precision
        self.name = f"raft-large ({source}, {updates} updates, {precision})"

    @classmethod
    def load(cls, weights: Path, device: str = "cpu", updates: int = 20, batch: int = 16) -> "RaftFlow":
        """Strictly load a checkpoint of either published form.

        Raises:
            FlowError: unreadable file, or keys that are not RAFT-large's.
        """
        model = Raft()
        state = read_raft_weights(weights)
        expected = model.state_dict()
        wrong = sorted(set(state) ^ set(expected)) or [k for k in state if state[k].shape != expected[k].shape]
        if wrong:
            raise FlowError(f"{weights} is not a RAFT-large checkpoint: {len(wrong)} keys differ (first: {wrong[0]}).")
        model.load_state_dict(state)
        return cls(model, weights.name, device, updates, batch)

    def flow(self, frames: Frames) -> Flow:
        """Flow of a clip (see FlowBackend)."""
        check_frames(frames)
        video = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device).permute(0, 3, 1, 2)
        result: Flow = self.flow_tensor(video.float() / 127.5 - 1).cpu().numpy()
        return result

    @torch.no_grad()
    def flow_tensor(self, video: Tensor) -> Tensor:
        """Flow of (T, 3, H, W) in [-1, 1] that already lies on the device: (T-1, 2, H, W) float32 in pixels."""
        height, width = video.shape[-2:]
        if min(height, width) < MIN_SIDE:
            raise FlowError(
                f"RAFT needs frames of at least {MIN_SIDE}x{MIN_SIDE} pixels, got {height}x{width}: enlarge them, "
                "or use flow backend 'dis'."
            )
        left, top = -width % 8 // 2, -height % 8 // 2
        padded = F.pad(video, (left, -width % 8 - left, top, -height % 8 - top), mode="replicate")
        each = (padded.shape[-2] // 8 * (padded.shape[-1] // 8)) ** 2
        batch = min(self.batch, max(1, _CORRELATIONS // each))
        chunks = [padded[i : i + batch + 1] for i in range(0, len(padded) - 1, batch)]
        flow = torch.cat([self._adjacent(chunk, self.updates, self.precision) for chunk in chunks])
        return flow[..., top : top + height, left : left + width].float()

    def _adjacent_in(self, chunk: Tensor, updates: int, precision: str) -> Tensor:
        fused = self._fused_in(precision) if chunk.is_cuda else None
        if fused is not None:
            return fused.adjacent(chunk, updates)
        lower = precision != "float32"
        with torch.autocast(chunk.device.type, getattr(torch, precision) if lower else None, enabled=lower):
            return self.model.adjacent(chunk, updates)

    def _fused_in(self, precision: str) -> "FusedRaft | None":
        if precision not in self._fused:
            self._fused[precision] = fused_where_it_runs(self.model, getattr(torch, precision), self.device)
        return self._fused[precision]


def fused_where_it_runs(model: Raft, dtype: torch.dtype, device: str) -> "FusedRaft | None":
    """The fused form of `model`, tried on two small frames; None, and the reason logged, where that fails."""
    try:
        from ti2v_bench.motion.raft_fused import FusedRaft

        fused = FusedRaft(model, dtype)
        fused.adjacent(torch.zeros(2, 3, MIN_SIDE, MIN_SIDE, device=device), 1)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a compiler, a driver or a package that is missing or old fails in ways of its own
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        _log.warning("RAFT runs without Triton kernels, only slower: %s", first)
        return None
    return fused
