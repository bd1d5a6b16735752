"""RAFT-large for CUDA: the network of `raft`, its convolutions as there, all between them in one pass each.

Against the plain form: the GRU's convolutions of the context, which is the same in every update, run once; those of z
and r are one; widths that tensor cores cannot take (2, 3, 126, 324) are filled up with zeros; nothing is joined by
copying. Shapes as in `raft`, and as in `raft_kernels` where rows are meant. Importing this needs Triton.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ti2v_bench.motion.raft import LEVELS, Encoder, Raft, ResidualBlock
from ti2v_bench.motion.raft_kernels import TAPS, blend, gate, instance_norm, look_up, shift_and_relu, upsample

_WHOLE = 8
"""Channels are filled up to a multiple of this: 16 bytes in half precision, which tensor cores ask for."""


def _filled(count: int) -> int:
    return -(-count // _WHOLE) * _WHOLE


@dataclass(frozen=True)
class Convolution:
    """Weights for channels-last pictures, with zeros for channels that only fill up."""

    weight: Tensor
    """(outputs, inputs, kernel, kernel), channels-last, in the precision of the pictures."""
    bias: Tensor
    """(1, outputs) float32, to be added by whoever calls."""
    stride: int = 1

    def __call__(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride), without the bias."""
        height, width = self.weight.shape[-2:]
        return F.conv2d(x, self.weight, None, self.stride, (height // 2, width // 2))


def _convolution(weight: Tensor, bias: Tensor | None, dtype: torch.dtype, stride: int = 1) -> Convolution:
    outputs, inputs = weight.shape[:2]
    more = _filled(outputs) - outputs
    whole = F.pad(weight, (0, 0, 0, 0, 0, _filled(inputs) - inputs, 0, more))
    vector = weight.new_zeros(outputs) if bias is None else bias
    return Convolution(
        whole.to(dtype).contiguous(memory_format=torch.channels_last), F.pad(vector, (0, more)).float()[None], stride
    )


def _taken(conv: nn.Module, dtype: torch.dtype) -> Convolution:
    assert isinstance(conv, nn.Conv2d)
    return _convolution(conv.weight, conv.bias, dtype, conv.stride[0])


@dataclass(frozen=True)
class Unit:
    """A convolution and the norm after it, as a scale and a shift."""

    conv: Convolution
    norm: tuple[Tensor, Tensor] | None
    """Scale and shift (1, C) of a batch norm, with the convolution's bias in it; None for an instance norm, which
    takes any bias away again."""
    epsilon: float

    @classmethod
    def of(cls, conv: nn.Module, norm: nn.Module, dtype: torch.dtype) -> "Unit":
        """From the two modules, in evaluation mode."""
        taken = _taken(conv, dtype)
        if isinstance(norm, nn.InstanceNorm2d):
            return cls(taken, None, norm.eps)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias + (taken.bias - norm.running_mean) * scale
        return cls(taken, (scale.float()[None].contiguous(), shift.float().contiguous()), norm.eps)

    def convolved(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Pictures to what the norm has yet to be applied to, as rows, and the norm."""
        made = self.conv(x)
        rows = as_rows(made)
        return rows, self.norm or instance_norm(rows, len(made), self.epsilon)


def as_rows(x: Tensor) -> Tensor:
    """(N, C, h, w) to rows (N*h*w, C), without copying where it lies channels-last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def as_pictures(rows: Tensor, height: int, width: int) -> Tensor:
    """Rows (N*h*w, C), contiguous, to (N, C, h, w) that lies channels-last; no copy."""
    return rows.view(-1, height, width, rows.shape[1]).permute(0, 3, 1, 2)


class FusedEncoder:
    """`raft.Encoder`."""

    def __init__(self, encoder: Encoder, dtype: torch.dtype) -> None:
        stem = encoder.convnormrelu
        self._stem = Unit.of(stem[0], stem[1], dtype)
        blocks = [block for layer in (encoder.layer1, encoder.layer2, encoder.layer3) for block in layer]
        self._blocks = [_units(block, dtype) for block in blocks]
        self._last = _taken(encoder.conv, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, 3 filled up, H, W) to (N, 256, h, w)."""
        x = _normed(self._stem, x)
        for first, second, short in self._blocks:
            rows, (scale, shift) = second.convolved(_normed(first, x))
            skip, norm = (as_rows(x), None) if short is None else short.convolved(x)
            shift_and_relu(rows, shift, rows, scale, skip, norm)
            stride = first.conv.stride
            x = as_pictures(rows, x.shape[2] // stride, x.shape[3] // stride)
        return self._last(x) + self._last.bias.to(x.dtype)[..., None, None]


def _units(block: nn.Module, dtype: torch.dtype) -> tuple[Unit, Unit, Unit | None]:
    assert isinstance(block, ResidualBlock)
    one, two, short = block.convnormrelu1, block.convnormrelu2, block.downsample
    third = Unit.of(short[0], short[1], dtype) if isinstance(short, nn.Sequential) else None
    return Unit.of(one[0], one[1], dtype), Unit.of(two[0], two[1], dtype), third


def _normed(unit: Unit, x: Tensor) -> Tensor:
    rows, (scale, shift) = unit.convolved(x)
    shift_and_relu(rows, shift, rows, scale)
    return as_pictures(rows, x.shape[2] // unit.conv.stride, x.shape[3] // unit.conv.stride)


class FusedGru:
    """`raft.ConvGRU`, its input channels apart: 128 hidden, 128 context, 128 motion."""

    def __init__(self, gru: nn.Module, dtype: torch.dtype) -> None:
        z, r, q = (gru.get_submodule(name) for name in ("convz", "convr", "convq"))
        weights, biases = [[getattr(conv, name) for conv in (z, r, q)] for name in ("weight", "bias")]
        changing = [torch.cat([weight[:, :128], weight[:, 256:]], dim=1) for weight in weights]
        self._gates = _convolution(torch.cat(changing[:2]), None, dtype)
        self._fresh = _convolution(changing[2], None, dtype)
        self._context = _convolution(torch.cat([w[:, 128:256] for w in weights]), torch.cat(biases), dtype)

    def constant(self, context: Tensor) -> Tensor:
        """What context (N, 128, h, w) adds to z, r and q, biases included: rows (N*h*w, 384)."""
        return as_rows(self._context(context) + self._context.bias.to(context.dtype)[..., None, None])

    def __call__(self, state: "State", constant: Tensor) -> None:
        """The next hidden state."""
        hidden, (height, width) = state.both[:, :128], state.size
        gates = as_rows(self._gates(as_pictures(state.both, height, width)))
        gate(gates, constant, hidden, state.update, state.reset[:, :128])
        fresh = as_rows(self._fresh(as_pictures(state.reset, height, width)))
        blend(fresh, constant[:, 256:], state.update, hidden, state.hidden)


@dataclass(frozen=True)
class State:
    """What the updates read and write in place; rows of all cells."""

    size: tuple[int, int]
    """(h, w)."""
    flow: Tensor
    """(R, 2) float32, in cells."""
    flow_in: Tensor
    """(R, 2 filled up): flow in the precision of the convolutions."""
    correlations: Tensor
    """(R, 324 filled up)."""
    encoded: Tensor
    """(R, 256): 192 from the correlations, 64 from the flow."""
    both: Tensor
    """(R, 256): hidden state and motion."""
    reset: Tensor
    """(R, 256): hidden state times the reset gate, and motion."""
    update: Tensor
    """(R, 128): the update gate."""
    hidden: Tensor
    """(R, 128): the hidden state by itself."""

    @classmethod
    def begin(cls, hidden: Tensor) -> "State":
        """No flow yet; `hidden` is (N, 128, h, w)."""
        rows = as_rows(hidden)
        count = len(rows)
        state = cls(
            (hidden.shape[2], hidden.shape[3]),
            torch.zeros(count, 2, dtype=torch.float32, device=rows.device),
            *(rows.new_zeros(count, _filled(width)) for width in (2, LEVELS * TAPS, 256, 256, 256, 128, 128)),
        )
        state.both[:, :128].copy_(rows)
        return state


class FusedRaft:
    """`raft.Raft` for inference; weights are taken as they are when this is made."""

    def __init__(self, model: Raft, dtype: torch.dtype) -> None:
        """`dtype` is that of the convolutions; correlations and flow are float32."""
        block, self._dtype = model.update_block, dtype
        self._features = FusedEncoder(model.feature_encoder, dtype)
        self._context = FusedEncoder(model.context_encoder, dtype)
        seen, head, mask = block.motion_encoder, block.flow_head, model.mask_predictor
        self._corr1, self._corr2 = _taken(seen.convcorr1[0], dtype), _taken(seen.convcorr2[0], dtype)
        self._flow1, self._flow2 = _taken(seen.convflow1[0], dtype), _taken(seen.convflow2[0], dtype)
        self._motion = _taken(seen.conv[0], dtype)
        self._grus = [FusedGru(gru, dtype) for gru in (block.recurrent_block.convgru1, block.recurrent_block.convgru2)]
        self._head1, self._head2 = _taken(head.conv1, dtype), _taken(head.conv2, dtype)
        self._mask1 = _taken(mask.convrelu[0], dtype)
        # Published: the weights of the up-sampling times a quarter.
        last = _taken(mask.conv, torch.float32)
        self._mask2 = Convolution((0.25 * last.weight).to(dtype), 0.25 * last.bias)

    @torch.no_grad()
    def adjacent(self, video: Tensor, updates: int) -> Tensor:
        """As `raft.Raft.adjacent`: (T, 3, H, W) in [-1, 1] to (T-1, 2, H, W) float32 in pixels."""
        here = torch.cuda.device_of(video)  # type: ignore[no-untyped-call]  # Triton launches on the current device
        with here, torch.autocast(video.device.type, enabled=False):
            return self._flows(self._prepared(video), updates)

    def _prepared(self, video: Tensor) -> Tensor:
        count, channels, height, width = video.shape
        rows = torch.zeros(count * height * width, _filled(channels), dtype=self._dtype, device=video.device)
        pictures = as_pictures(rows, height, width)
        pictures[:, :channels].copy_(video)
        return pictures

    def _flows(self, pictures: Tensor, updates: int) -> Tensor:
        pyramid = transposed_pyramid(self._features(pictures).float())
        hidden, context = self._context(pictures[:-1]).chunk(2, dim=1)
        state = State.begin(hidden.tanh())
        constants = [gru.constant(context.relu()) for gru in self._grus]
        for _ in range(updates):
            look_up(pyramid, state.flow, state.size, state.correlations)
            self._see(state)
            for gru, constant in zip(self._grus, constants, strict=True):
                gru(state, constant)
            change = self._head2(self._relu(self._head1, as_pictures(state.hidden, *state.size)))
            state.flow.add_((as_rows(change) + self._head2.bias)[:, :2])
        weights = self._mask2(self._relu(self._mask1, as_pictures(state.hidden, *state.size)))
        return upsample(as_rows(weights), self._mask2.bias, state.flow, state.size)

    def _see(self, state: State) -> None:
        """Motion, (N*h*w, 128), of the looked-up correlations and the flow; its last two channels are the flow."""
        state.flow_in[:, :2].copy_(state.flow)
        looked = self._relu(self._corr1, as_pictures(state.correlations, *state.size))
        corr = as_rows(self._corr2(looked))
        shift_and_relu(corr, self._corr2.bias, state.encoded[:, :192])
        flow = as_rows(self._flow2(self._relu(self._flow1, as_pictures(state.flow_in, *state.size))))
        shift_and_relu(flow, self._flow2.bias, state.encoded[:, 192:])
        motion = as_rows(self._motion(as_pictures(state.encoded, *state.size)))
        shift_and_relu(motion, self._motion.bias, state.both[:, 128:], again=state.reset[:, 128:])
        for place in (state.both, state.reset):
            place[:, 254:].copy_(state.flow)

    def _relu(self, conv: Convolution, x: Tensor) -> Tensor:
        rows = as_rows(conv(x))
        shift_and_relu(rows, conv.bias, rows)
        return as_pictures(rows, x.shape[2], x.shape[3])


def transposed_pyramid(features: Tensor) -> list[Tensor]:
    """Correlations of each picture with the next, as `raft.correlation_pyramid` but with x before y.

    Args:
        features: (T, C, h, w) float32.

    Returns:
        Levels ((T-1)*h*w, w/2^l, h/2^l), contiguous.
    """
    _, channels, height, width = features.shape
    first = (features[:-1] / channels**0.5).flatten(2).transpose(1, 2)
    second = features[1:].transpose(2, 3).flatten(2)
    levels = [torch.bmm(first, second).view(-1, 1, width, height)]
    for _ in range(LEVELS - 1):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return [level[:, 0] for level in levels]
