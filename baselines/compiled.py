"""Blocks compiled once for all processes: a later one reads what was compiled and calls it.

torch's own cache keeps kernels, but every process traces each block again before it can look them up: half a second per
block and shape, much of a start. Here the whole result of a compilation ahead of time is kept, with the conditions
("guards") under which it holds, which are checked in every call. What torch cannot keep of them (module globals, code
of functions) is in the entry's name instead, by way of the package's sources; a constant that a process changes by
itself is not.

torch calls this way experimental. Whatever fails, a block is compiled as `nn.Module.compile` does it.
"""

import io
import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from ti2v_bench.files import StorageError, write_bytes

_log = logging.getLogger(__name__)

_OURS = __name__.partition(".")[0]
"""The package whose sources tell its compiled code from that of another version of it."""
_OTHERS = ("torch", "triton", "diffusers")
"""Packages whose code is compiled or compiles, told by their versions."""
_BY_CHANCE = "_use_default_values"
"""In diffusers' configurations, the names of what was not asked for: of no matter, and in another order every time."""
_DIGEST = sha256().digest_size


class Shelf:
    """A folder of compiled blocks, each under a name made of all that its code depends on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[object, Any] = {}
        """By block and arguments, the functions that this process has read or compiled; equal blocks share them."""
        self._refused: set[type[nn.Module]] = set()
        """Kinds of blocks of which one could not be had; it is not tried again and again."""

    def function(self, block: nn.Module, made_of: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The compiled `forward` of blocks like this one for arguments like these; its first argument is the block.

        Args:
            block: whose class has the `forward`.
            made_of: of `description`.
            args: of this call.
            kwargs: of this call.

        Returns:
            None: there is none.
        """
        if type(block) in self._refused:
            return None
        try:
            return self._held(block, made_of, args, kwargs)
        except Exception as error:  # experimental: it may raise anything
            _log.info("%s is compiled in each process: %s", type(block).__name__, error)
            self._refused.add(type(block))
            return None

    def _held(self, block: nn.Module, made_of: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.backends.cuda.matmul.allow_tf32
        asked = (made_of, form((args, kwargs)), *modes)
        function = self._known.get(asked)
        if function is None:
            function = self._known[asked] = self._found(asked, block, args, kwargs)
        return function if function.guard_check(block, *args, **kwargs) else None

    def _found(self, asked: object, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        device = next((value.device for value in block.parameters()), torch.device("cpu"))
        path = self._folder / sha256(repr((surroundings(device), asked)).encode()).hexdigest()
        forward = type(block).forward
        function = _read(path, forward.__globals__)
        if function is None or not function.guard_check(block, *args, **kwargs):
            function = _compiled(forward, (block, *args), kwargs)
            _write(path, function)
        function.disable_guard_check()  # `Shelf.function` checks them, once per call
        return function


class Shelved:
    """Stands for the `forward` of a block, with what lies on the shelf."""

    def __init__(self, block: nn.Module, shelf: Shelf) -> None:
        self._block, self._shelf = block, shelf
        self._made_of = description(block)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the block's own."""
        function = self._shelf.function(self._block, self._made_of, args, kwargs)
        if function is not None:
            return function(self._block, *args, **kwargs)
        del self._block.forward  # this object; what is left is the class's
        self._block.compile(dynamic=False)
        return self._block(*args, **kwargs)

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        """With a compiled function torch keeps a picture of its block, for which this object has no meaning."""
        return object, ()


def shelve(block: nn.Module, shelf: Shelf) -> None:
    """Let a block, whose weights change and move no more, run compiled from the shelf."""
    try:
        block.forward = Shelved(block, shelf)
    except TypeError as error:  # no entry could be told from that of another block
        _log.info("%s is compiled in each process: %s", type(block).__name__, error)
        block.compile(dynamic=False)


def description(block: nn.Module) -> str:
    """All in a block that its compiled code may depend on but the weights' values; equal blocks have equal ones.

    Raises:
        TypeError: it has an attribute that cannot be described, or a part whose code may change unseen.
    """
    foreign = {part.__module__.partition(".")[0] for part in map(type, block.modules())} - {_OURS, *_OTHERS}
    if foreign:
        raise TypeError(f"it has code of {', '.join(sorted(foreign))}")
    of_torch = vars(nn.Module()).keys() - {"training", "_parameters", "_buffers"}
    parts = [
        (name, _name(type(part)), form({key: value for key, value in vars(part).items() if key not in of_torch}))
        for name, part in block.named_modules(remove_duplicate=False)
    ]
    return sha256(repr(parts).encode()).hexdigest()


def form(value: object) -> object:
    """What compiled code may depend on in an argument or an attribute: hashable, in every process of the same `repr`.

    Raises:
        TypeError: the value is of a kind that cannot be described.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return type(value).__name__, value
    if isinstance(value, Tensor):
        layout = (tuple(value.shape), value.stride(), str(value.dtype), str(value.device))
        return _name(type(value)), *layout, value.requires_grad, value.is_inference()
    if isinstance(value, Mapping):
        return _name(type(value)), *((form(key), form(part)) for key, part in value.items() if key != _BY_CHANCE)
    if isinstance(value, list | tuple):
        return _name(type(value)), *map(form, value)
    if isinstance(value, type | FunctionType | BuiltinFunctionType) and "<" not in value.__qualname__:
        return "named", _name(value)
    if type(value).__module__.partition(".")[0] == _OURS:
        return _name(type(value)), form(vars(value))
    raise TypeError(f"{type(value).__name__} has no description")


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


@cache
def surroundings(device: torch.device) -> tuple[object, ...]:
    """All that compiled code depends on beside block and arguments: sources, versions, options, the device's kind."""
    import torch._inductor.config as inductor

    chip: tuple[object, ...] = (torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())
    if device.type == "cuda":
        chip = (torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device), torch.version.cuda)
    versions = [platform.python_version(), torch.__version__, *map(_version, _OTHERS)]
    options = sorted(inductor.save_config_portable().items())
    return sources(Path(__file__).parent), *versions, str(options), *chip


def sources(package: Path) -> str:
    """Digest of a package's Python files and their names."""
    digest = sha256()
    for path in sorted(package.rglob("*.py")):
        text = path.read_bytes()
        digest.update(f"{path.relative_to(package)} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _compiled(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    import torch._dynamo.config as dynamo

    with dynamo.patch(enable_aot_compile=True):
        options: dict[str, Any] = {"guard_filter_fn": _keepable}
        compile_: Any = torch.compile(forward, fullgraph=True, dynamic=False, options=options)
        return compile_.aot_compile((args, kwargs))


def _keepable(conditions: Sequence[Any]) -> list[bool]:
    """Which conditions are kept: all but those on globals and addresses, as torch chooses by itself, and on functions'
    code, for which it fails. What is left out, `description` and `surroundings` tell apart."""
    from torch._dynamo.guards import CheckFunctionManager

    by_address = CheckFunctionManager.UNSUPPORTED_SERIALIZATION_GUARD_TYPES
    return [
        not (each.is_global or each.guard_type in by_address or isinstance(each.value, CodeType)) for each in conditions
    ]


def _write(path: Path, function: Any) -> None:
    """Keep a compiled function, if there is room for it; its digest lies before it."""
    try:
        with TemporaryDirectory() as folder:
            whole = Path(folder) / "function"
            function.save_compiled_function(str(whole))
            data = whole.read_bytes()
        write_bytes(path, sha256(data).digest() + data)
    except (StorageError, OSError) as error:
        _log.warning("what was compiled is not kept: %s", error)


def _read(path: Path, names: dict[str, Any]) -> Any:
    """The function that was kept, or None where there is none that can be used."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, whole = data[:_DIGEST], data[_DIGEST:]
    if digest != sha256(whole).digest():
        return None
    try:
        with _kernels_kept():
            return torch.compiler.load_compiled_function(io.BytesIO(whole), f_globals=names)
    except Exception as error:  # experimental: it may raise anything
        _log.info("compiled again, as %s could not be read: %s", path, error)
        return None


@contextmanager
def _kernels_kept() -> Iterator[None]:
    """Keep torch's numbers of Triton kernels. Reading a function writes those of the process that compiled it over
    those of this one, and what is compiled next would be given the wrong kernel; what is read needs no numbers."""
    from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table as table

    numbers: list[dict[Any, Any]] = [table.id_to_kernel, table.kernel_to_id, table.constant_args]
    before = [dict(each) for each in numbers]
    try:
        yield
    finally:
        for each, kept in zip(numbers, before, strict=True):
            each.clear()
            each.update(kept)
