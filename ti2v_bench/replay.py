"""A network's call recorded once as a CUDA graph, then replayed: thousands of small kernels are launched as one.

Results are those of the recorded kernels, to the last bit; what goes is the time between them (results/speed).
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock, get_ident
from typing import Any

import torch
from torch import Tensor

_log = logging.getLogger(__name__)

Forward = Callable[..., Any]

_RECORDER = Lock()
"""One recording at a time: each begins by emptying torch's cache, which no other may be filling."""


@dataclass(frozen=True)
class _Like:
    """Stands for a tensor where two calls are compared."""

    shape: torch.Size
    dtype: torch.dtype
    device: torch.device


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    """What the graph reads."""
    output: Any
    """What it writes; overwritten by the next replay."""
    read: torch.cuda.Event
    """When the latest output had been copied; threads may replay on streams of their own."""

    def replayed(self, inputs: list[Tensor]) -> Any:
        with torch.cuda.device(self.inputs[0].device):
            self.read.wait()
            for place, value in zip(self.inputs, inputs, strict=True):
                place.copy_(value)
            self.graph.replay()
            result = mapped(self.output, torch.clone)
            self.read.record()
        return result


@dataclass
class _Seen:
    """A call that came lately."""

    form: object
    thread: int
    recording: _Recording | None = None


class Replayed:
    """A function of CUDA tensors that is called again and again with the same shapes.

    A call is recorded when it is like one of the `keep` kinds of calls that came last: by then everything is compiled,
    and shapes that come only once, or with more others in turn, are never recorded. Only the recordings of those kinds
    are kept, since each keeps the memory of a call. Calls with tensors of other devices go through, and so does every
    call after one that CUDA would not record, which is logged. Several threads may call; one at a time is served.
    """

    def __init__(self, forward: Forward, keep: int = 1) -> None:
        self._forward, self._keep = forward, keep
        self._seen: list[_Seen] = []
        """The latest kind of call last."""
        self._recordable = True
        self._turn = Lock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the function; what it returns is the caller's own."""
        inputs, form = described((args, kwargs))
        if not on_one_gpu(inputs):
            return self._forward(*args, **kwargs)
        with self._turn:
            known = next((seen for seen in self._seen if seen.form == form), None)
            if known is None:
                self._make_room()
                self._seen.append(_Seen(form, get_ident()))
                return self._forward(*args, **kwargs)
            self._seen.sort(key=lambda seen: seen is known)
            if known.recording is None and self._recordable:
                if known.thread != get_ident():
                    self._forward(*args, **kwargs)  # cuDNN remembers its choice of kernels for each thread
                known.recording = self._tried(args, kwargs)
            if known.recording is None:
                return self._forward(*args, **kwargs)
            return known.recording.replayed(inputs)

    def _make_room(self) -> None:
        while len(self._seen) >= self._keep:
            oldest = self._seen.pop(0).recording
            if isinstance(oldest, _Recording):
                oldest.read.synchronize()  # its memory may be another stream's at once

    def _tried(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Recording | None:
        try:
            return self._recorded(args, kwargs)
        except torch.OutOfMemoryError:
            raise  # whoever runs this makes its batch smaller and comes again
        except RuntimeError as error:
            self._recordable = False
            _log.warning("not replayed as a CUDA graph, only slower: %s", str(error).splitlines()[0])
            return None

    def _recorded(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Recording:
        inputs: list[Tensor] = []

        def kept(value: Tensor) -> Tensor:
            inputs.append(value.clone())
            return inputs[-1]

        own_args, own_kwargs = mapped((args, kwargs), kept)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile: only this one's calls are looked at.
        with _RECORDER, torch.cuda.graph(graph, capture_error_mode="thread_local"):
            output = self._forward(*own_args, **own_kwargs)
        return _Recording(graph, inputs, output, torch.cuda.Event())  # type: ignore[no-untyped-call]


def on_one_gpu(tensors: list[Tensor]) -> bool:
    """Whether there are any, and all lie on one CUDA device."""
    devices = {value.device for value in tensors}
    return len(devices) == 1 and devices.pop().type == "cuda"


def described(value: Any) -> tuple[list[Tensor], Any]:
    """The tensors of a nest, in order, and the nest with their kinds in their places."""
    tensors: list[Tensor] = []

    def kind(tensor: Tensor) -> _Like:
        tensors.append(tensor)
        return _Like(tensor.shape, tensor.dtype, tensor.device)

    return tensors, mapped(value, kind)


def mapped(value: Any, change: Callable[[Tensor], object]) -> Any:
    """A nest of tuples, lists and dictionaries with every tensor changed; named tuples stay as they are."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: mapped(part, change) for key, part in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(mapped(part, change) for part in value)
    return value
