"""RAFT's kernels and the network made of them, run by Triton's interpreter; that is chosen before Triton is imported.

TRITON_INTERPRET=1 python tests/ti2v_bench/motion/interpreted_raft.py kernels    # or network

Prints what test_raft_fused.py looks at.
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

import torch
import torch.nn.functional as F
from torch import Tensor

from ti2v_bench.motion import raft_kernels
from ti2v_bench.motion.raft import Raft, correlation_pyramid, lookup, upsample_convex
from ti2v_bench.motion.raft_fused import FusedRaft, as_rows, transposed_pyramid
from ti2v_bench.motion.raft_kernels import blend, gate, instance_norm, look_up, shift_and_relu, upsample

SIZES = [(16, 16), (17, 16), (18, 23)]
"""Cells; the odd ones lose a row or column from level to level."""


def looked_up(height: int, width: int, spread: float) -> float:
    """Largest difference from torch's grid_sample in float64."""
    features = torch.randn(2, 8, height, width)
    flow = spread * torch.randn(1, 2, height, width)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pyramid = [level.double() for level in correlation_pyramid(features[:1], features[1:])]
    exact = lookup(pyramid, torch.stack([columns, rows])[None].double() + flow.double())
    out = torch.full((height * width, 328), 7.0)
    look_up(transposed_pyramid(features), as_rows(flow).contiguous(), (height, width), out)
    assert float((out[:, 324:] - 7).abs().max()) == 0
    return float((out[:, :324] - as_rows(exact)).abs().max())


def lookups() -> dict[str, float]:
    found = {f"{h}x{w}": looked_up(h, w, 3.0) for h, w in SIZES}
    found["on cells"] = looked_up(16, 16, 0.0)
    found["mostly outside"] = looked_up(16, 16, 60.0)
    found["ran away"] = looked_up(16, 16, 1e12)
    return found


def off(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).abs().max())


def elements() -> dict[str, float]:
    """Each kernel on parts of wider matrices, with sizes that fill no tile, from torch in float64."""
    wide, rows = torch.randn(77, 600), 77
    x, skip, h, z, q = (wide[:, 120 * k : 120 * k + 96] for k in range(5))
    scale, shift = torch.randn(1, 96), torch.randn(1, 96)
    scales, shifts = torch.randn(7, 96), torch.randn(7, 96)
    each = [vector.repeat_interleave(11, 0) for vector in (scales, shifts)]
    out, again = torch.zeros(rows, 200)[:, 40:136], torch.zeros(rows, 96)
    shift_and_relu(x, shift, out, again=again)
    found = {"shift": off(out, (x + shift).relu()), "twice": off(again, out)}
    shift_and_relu(x, shift, out, scale, skip)
    found["skip"] = off(out, ((x.double() * scale + shift).relu() + skip).relu())
    shift_and_relu(x, shifts, out, scales, skip, (scales, shifts))
    by_hand = ((x.double() * each[0] + each[1]).relu() + skip.double() * each[0] + each[1]).relu()
    found["norms of each picture"] = off(out, by_hand)
    both, constant = torch.randn(rows, 192), torch.randn(rows, 300)
    update, reset = torch.zeros(rows, 96), torch.zeros(rows, 200)[:, :96]
    gate(both, constant, h, update, reset)
    gates = (both.double() + constant[:, :192]).sigmoid()
    found["gates"] = max(off(update, gates[:, :96]), off(reset, gates[:, 96:] * h))
    state = h.clone()
    blend(q, constant[:, 192:288], z, state, again)
    found["blend"] = off(state, (1 - z.double()) * h + z.double() * (q.double() + constant[:, 192:288]).tanh())
    found["blend twice"] = off(again, state)
    return found


def norms() -> float:
    x = 3 + torch.randn(2, 40, 15, 21)
    x[1, 3] = 5  # a channel without variance
    scale, shift = instance_norm(as_rows(x), 2, 1e-5)
    return off(x * scale[..., None, None] + shift[..., None, None], F.instance_norm(x.double()))


def upsampled() -> float:
    flow, mask, bias = torch.randn(2, 2, 5, 7), 3 * torch.randn(2, 576, 5, 7), torch.randn(576)
    exact = upsample_convex(flow.double(), (mask + bias[:, None, None]).double())
    return off(upsample(as_rows(mask).contiguous(), bias, as_rows(flow).contiguous(), (5, 7)), exact)


def network() -> dict[str, Any]:
    # What is slow here is the number of programs.
    raft_kernels._ROWS, raft_kernels._CHANNELS, raft_kernels._TILE, raft_kernels._CELLS = 1024, 256, 1024, 64
    model = Raft().eval().requires_grad_(False)
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.copy_(torch.randn_like(weight) / weight[0].numel() ** 0.5)
    for norm in model.context_encoder.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean = 0.1 * torch.randn(norm.num_features)
            norm.running_var = 0.5 + torch.rand(norm.num_features)
    video = F.interpolate(torch.randn(3, 3, 16, 17), size=(128, 136), mode="bicubic")
    exact = model.double().adjacent(video.double(), 2)
    model.float()
    half = FusedRaft(model, torch.float16).adjacent(video, 2)
    found = FusedRaft(model, torch.float32).adjacent(video, 2)
    return {
        "size": list(found.shape),
        "longest": float(exact.abs().max()),
        "float32": off(found, exact),
        "float16": off(half, exact),
    }


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    if sys.argv[1] == "network":
        found = network()
    else:
        found = {"elements": elements(), "norms": norms(), "upsampled": upsampled()}
        raft_kernels._CELLS = 32  # fewer programs, each of which takes as long
        found |= {"lookups": lookups()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
