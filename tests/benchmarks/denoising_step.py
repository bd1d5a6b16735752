"""One denoising step of any model: found by watching a short video being made, kept, and run again by itself."""

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ti2v_bench.records import Pair
from ti2v_bench.replay import mapped

Given = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments of one call."""


@dataclass(frozen=True)
class Calls:
    """What the network was given in one step, and what it gave."""

    network: int
    """Which of the model's networks."""
    inputs: list[Given]
    outputs: list[Any]
    tflop: float
    """Of these calls."""
    per_video: float
    """Such groups of calls in a video at the published number of steps."""
    autoencoder_seconds: float
    """Of a video: encoding its picture and decoding its frames."""
    rest_seconds: float
    """Of a video beside its network calls and the autoencoder: text and picture encoders, sampler."""


class Watch:
    """Notes what a network is given and how long it takes, until it is told to stop; of an autoencoder, how long."""

    def __init__(self, network: nn.Module, device: str) -> None:
        self.network, self.device = network, device
        self.seconds: list[float] = []
        self.coding = 0.0
        self.inputs: list[Given] = []
        self._hooks = [
            network.register_forward_pre_hook(self._before, with_kwargs=True),
            network.register_forward_hook(self._after),
        ]
        parts = [getattr(network, name, None) for name in ("encoder", "decoder")]
        if all(isinstance(part, nn.Module) for part in parts):  # an autoencoder, whose halves are called by themselves
            self._hooks += [part.register_forward_pre_hook(self._coding_begins) for part in parts]
            self._hooks += [part.register_forward_hook(self._coding_ends) for part in parts]

    def _before(self, _: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if len(self.inputs) < 3:
            self.inputs.append((copied(args), copied(kwargs)))
        wait(self.device)
        self.seconds.append(-time.perf_counter())

    def _after(self, *_: object) -> None:
        wait(self.device)
        self.seconds[-1] += time.perf_counter()

    def _coding_begins(self, *_: object) -> None:
        wait(self.device)
        self.coding -= time.perf_counter()

    def _coding_ends(self, *_: object) -> None:
        wait(self.device)
        self.coding += time.perf_counter()

    def stop(self) -> None:
        for hook in self._hooks:
            hook.remove()


def networks(model: object) -> list[nn.Module]:
    """The networks that can be reached from a model, in an order that is the same for every form of it."""
    return list({id(module): module for module in reachable(model, 4)}.values())


def reachable(thing: object, depth: int) -> Iterator[nn.Module]:
    if isinstance(thing, nn.Module):
        yield thing
    elif depth:
        inner = thing.values() if isinstance(thing, Mapping) else thing if isinstance(thing, list | tuple) else ()
        cells = getattr(thing, "__closure__", None) or ()
        for part in [*inner, *getattr(thing, "__dict__", {}).values(), *(cell.cell_contents for cell in cells)]:
            yield from reachable(part, depth - 1)


def captured(model: Any, device: str, steps: int, official: int, batch: int = 1) -> Calls:
    """Make a short video twice, the second time by the clock, and keep the first calls of the busiest network.

    Args:
        model: anything with `generate(pair, seed)`; with `generate_batch` for a batch.
        device: where it runs.
        steps: sampling steps it was built with.
        official: the published number, to which `Calls.per_video` is scaled.
        batch: videos per call; `per_video` and `rest_seconds` are shares of one.
    """
    with noise_pair() as pair:
        make(model, pair, batch)  # kernels are chosen
        watches = [Watch(network, device) for network in networks(model)]
        started = time.perf_counter()
        make(model, pair, batch)
        whole = time.perf_counter() - started
    for watch in watches:
        watch.stop()
    busiest = max(range(len(watches)), key=lambda index: sum(watches[index].seconds))
    watch = watches[busiest]
    each = len(watch.seconds) / steps
    count = int(each) if each in (1, 2, 3) else 1
    inputs = watch.inputs[:count]
    with FlopCounterMode(display=False) as counter:
        outputs = [watch.network(*args, **kwargs) for args, kwargs in inputs]
    tflop = counter.get_total_flops() / 1e12
    coding = sum(watch.coding for watch in watches)
    rest = (whole - sum(watch.seconds) - coding) / batch
    return Calls(busiest, inputs, outputs, tflop, each / count * official / batch, coding / batch, rest)


def make(model: Any, pair: Pair, batch: int = 1) -> None:
    """One call of the model."""
    if batch == 1:
        model.generate(pair, 0)
    else:
        model.generate_batch([pair] * batch, list(range(batch)))


def whole_video(model: Any, batch: int) -> float:
    """Wall seconds of one video from picture and prompt to frames, as a user's second one takes them."""
    with noise_pair() as pair:
        make(model, pair, batch)
        started = time.perf_counter()
        make(model, pair, batch)
        return (time.perf_counter() - started) / batch


@contextmanager
def noise_pair() -> Iterator[Pair]:
    """A prompt with a noise picture, which is there for as long."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cat1.png"
        Image.effect_noise((512, 512), 60).convert("RGB").save(path)
        yield Pair("cat1_a_cat", "cat1", "cat", "A cat walks.", path)


def copied(value: Any) -> Any:
    return mapped(value, lambda tensor: tensor.clone())


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Floating tensors of less than float64 in the network's type, where they are of a network's type already."""
    kinds = (torch.float32, torch.float16, torch.bfloat16)
    return mapped(value, lambda tensor: tensor.to(dtype) if tensor.dtype in kinds else tensor)


def tensors(value: Any) -> list[Tensor]:
    found: list[Tensor] = []
    mapped(value, lambda tensor: found.append(tensor))
    return found


def deviation(outputs: Sequence[Any], exact: Sequence[Any]) -> dict[str, float]:
    """Of the step's outputs: largest difference, relative L2 error, and the exact outputs' root mean square."""
    pairs = [(a.double(), b.double()) for a, b in zip(tensors(outputs), tensors(exact), strict=True)]
    wrong = sum(float((a - b).square().sum()) for a, b in pairs)
    power = sum(float(b.square().sum()) for _, b in pairs)
    count = sum(b.numel() for _, b in pairs)
    return {
        "max_abs": max(float((a - b).abs().max()) for a, b in pairs),
        "rel_l2": math.sqrt(wrong / power) if power else math.nan,
        "rms": math.sqrt(power / count),
    }


KINDS = {
    "attention": ("sdpa", "fmha", "flash", "_attend"),
    "convolutions": ("fprop", "cudnn", "conv2d", "implicit", "_convolve"),
    "matrix products": ("nvjet", "gemm", "cutlass", "splitk", "_gated"),
}
"""Parts of kernels' names, asked for in this order; all others are norms, elementwise and copies."""


def kernels(step: Callable[[], object]) -> tuple[dict[str, float], list[tuple[str, float, int]]]:
    """Milliseconds of one step on a GPU by kind of kernel, and the kernels: name, milliseconds, launches."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        step()
        torch.cuda.synchronize()
    each: dict[str, tuple[float, int]] = {}
    for event in found.events() or ():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            spent, count = each.get(event.name, (0.0, 0))
            each[event.name] = (spent + event.device_time / 1000, count + 1)
    shares = dict.fromkeys((*KINDS, "norms, elementwise, copies"), 0.0)
    for name, (spent, _) in each.items():
        shares[kind_of(name)] += spent
    ordered = sorted(((name, *cost) for name, cost in each.items()), key=lambda entry: -entry[1])
    return {kind: round(spent, 2) for kind, spent in shares.items()}, ordered


def kind_of(kernel: str) -> str:
    name = kernel.lower()
    if name.startswith("triton_"):
        return "norms, elementwise, copies"
    found = (kind for kind, parts in KINDS.items() if any(part in name for part in parts))
    return next(found, "norms, elementwise, copies")


def memory(device: str) -> float | None:
    if device == "cpu":
        return None
    return round(torch.cuda.max_memory_allocated() / 2**30, 2)


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
