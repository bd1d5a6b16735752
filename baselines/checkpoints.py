"""Published weights onto a network: found, read without running code, and fitted key by key.

An adapter names its file, its network and how the file's keys are called; everything else is here::

    FILE = WeightFile("owner/name", "model.ckpt", revision="…")

    path = fetch(FILE, options.weights)                       # Hub cache, or the user's file or folder
    state = read_state(path)                                  # key -> tensor, memory-mapped
    unet = build(
        lambda: UNet(settings),                               # made without storage
        below(state, "model.diffusion_model."),
        expected=FILE, dtype=torch.float16, device="cuda",
    )

    state = random_state(lambda: UNet(settings), seed=0, dtype=torch.float16, device="cuda")   # random-full
    unet = build(lambda: UNet(settings), state, expected=FILE)

Where the file's keys differ from the network's, `renamed` rewrites the mapping first; where tensors must be cut or
reshaped, write a function from mapping to mapping (views of memory-mapped tensors cost nothing).
"""

import hashlib
import os
import pickle
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from zipfile import is_zipfile

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from baselines.memory import give_back
from ti2v_bench.errors import TI2VError
from ti2v_bench.model import WeightFile

State = Mapping[str, Tensor]
"""State dict: key -> tensor."""

RANDOM = ("random-tiny", "random-full")
"""Values of `ModelOptions.weights` that ask for seeded random weights instead of a file."""

_Module = TypeVar("_Module", bound=nn.Module)
_POOL = 2**22 + 15  # odd, so that rows of a matrix never repeat at the same column


class CheckpointError(TI2VError):
    """A weight file is absent, unreadable, or not the one the model needs."""


def is_random(weights: str | None) -> bool:
    """Whether `weights` asks for random weights."""
    return weights in RANDOM


def fetch(file: WeightFile, weights: str | None = None) -> Path:
    """Where the published `file` lies on this machine.

    Args:
        file: repository, path and pinned revision.
        weights: None downloads from the Hub (into its cache; `HF_ENDPOINT` and `HF_HOME` are honoured); a file is taken
            as it is; in a folder `<repo>/<file>`, `<file>` and the bare file name are tried in this order.

    Raises:
        CheckpointError: nothing there, the download failed, or the pinned sha256 differs.
    """
    path = _download(file) if weights is None else _local(file, Path(weights))
    if file.sha256 is not None and sha256(path) != file.sha256:
        raise CheckpointError(f"{path} has sha256 {sha256(path)}, expected {file.sha256}. Expected {describe(file)}.")
    return path


def describe(file: WeightFile) -> str:
    """The published file in words, for messages."""
    revision = f" at revision {file.revision}" if file.revision else ""
    digest = f", sha256 {file.sha256}" if file.sha256 else ""
    return f"the file {file.file} of https://huggingface.co/{file.repo}{revision}{digest}"


def sha256(path: Path) -> str:
    """Digest of a file; for large files in the Hub's cache it is the blob's own name and costs nothing."""
    blob = path.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", blob):
        return blob
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def weight_record(file: WeightFile, path: Path) -> dict[str, object]:
    """What a sidecar says of one loaded file, JSON-ready."""
    return {"repo": file.repo, "revision": file.revision, "file": file.file, "sha256": sha256(path)}


def _download(file: WeightFile) -> Path:
    from huggingface_hub import hf_hub_download  # slow to import, and not needed for local files

    try:
        return Path(
            hf_hub_download(
                repo_id=file.repo, filename=file.file, revision=file.revision, endpoint=os.environ.get("HF_ENDPOINT")
            )
        )
    except Exception as error:  # the Hub's client raises many kinds; all of them mean "not here" to the user
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(
            f"Could not download {describe(file)}: {type(error).__name__}: {reason} "
            "Download it elsewhere and name it with --weights, or try --weights random-tiny."
        ) from error


def _local(file: WeightFile, given: Path) -> Path:
    if given.is_file():
        return given
    tried = [given / file.repo / file.file, given / file.file, given / Path(file.file).name]
    for path in tried:
        if path.is_file():
            return path
    where = f"no file {file.file} below {given}" if given.is_dir() else f"no file or folder {given}"
    raise CheckpointError(f"There is {where}. Expected {describe(file)}.")


def read_state(path: Path, within: Sequence[str] = ("state_dict", "module")) -> dict[str, Tensor]:
    """The tensors of a weight file, memory-mapped where the format allows; nothing in it is executed.

    Args:
        path: `.safetensors`, or anything `torch.save` wrote.
        within: names of dictionaries that may wrap the state dict, opened one after another as they appear.

    Returns:
        Key -> tensor; prefixes that wrappers put before every key (`module.`, `_forward_module.`) are removed.

    Raises:
        CheckpointError: not a weight file, or one that only running its code could open.
    """
    content: Any = _safetensors(path) if path.suffix == ".safetensors" else _pickle(path)
    while isinstance(content, Mapping) and (key := next((name for name in within if name in content), None)):
        content = content[key]
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a state dict.")
    state = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    for prefix in ("_forward_module.", "module."):
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        loaded: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a safetensors file that can be read: {error}.") from error
    return loaded


def _pickle(path: Path) -> object:
    try:
        mapped = is_zipfile(path)  # the format since torch 1.6; older files cannot be mapped
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (pickle.UnpicklingError, OSError, RuntimeError, EOFError, ValueError, LookupError) as error:
        raise CheckpointError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    """One line; torch's own are many, and advise to run the file's code."""
    if isinstance(error, OSError) and error.strerror:
        return f"{path} cannot be read: {error.strerror}."
    code = re.search(r"GLOBAL (\S+)", str(error))
    if code:
        return (
            f"{path} holds more than tensors ({code[1]}), and opening it would run code from the file. "
            "Re-save its state dict as safetensors on a machine where you trust it."
        )
    with path.open("rb") as stream:
        start = stream.read(16)
    return (
        f"{path} is not a weight file that can be read: it is cut short, damaged or something else "
        f"({path.stat().st_size} bytes, beginning with {start!r}). Download it again."
    )


def below(state: State, prefix: str) -> dict[str, Tensor]:
    """The part of `state` whose keys begin with `prefix`, without it."""
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def renamed(state: State, renames: Iterable[tuple[str, str]]) -> dict[str, Tensor]:
    """`state` with every (pattern, replacement) applied to its keys in order; patterns are regular expressions."""
    pairs = [(re.compile(pattern), replacement) for pattern, replacement in renames]
    result = {}
    for key, value in state.items():
        for pattern, replacement in pairs:
            key = pattern.sub(replacement, key)
        result[key] = value
    return result


class _StorageLater(TorchFunctionMode):
    """Parameters are made without storage; small computed buffers (position ids, tables) are real."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def without_storage(factory: Callable[[], _Module]) -> _Module:
    """The module `factory` makes, its parameters on the meta device: shapes and names, no memory, no initialisation."""
    with _StorageLater():
        return factory()


def build(
    factory: Callable[[], _Module],
    state: State,
    *,
    expected: WeightFile,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    unused: Sequence[str] = (),
) -> _Module:
    """The module `factory` makes, in evaluation mode, holding `state` and nothing else.

    Parameters are made without storage and the file's tensors put in their place one by one; what has been read from
    a mapped file and converted is given back, so that the host never holds the weights twice.

    Args:
        factory: makes the network; called once.
        state: key -> tensor, keys as the network names them.
        expected: the published file, named in the error.
        dtype: floating tensors are converted to it on `device`; None keeps the file's own.
        device: where the network lives.
        unused: regular expressions for keys that the file has and the network has no use for.

    Raises:
        CheckpointError: keys missing, left over, or of another shape; says how many and the first of each.
    """
    module = without_storage(factory)
    kept = {key: value for key, value in state.items() if not any(re.search(pattern, key) for pattern in unused)}
    _require_equal(module.state_dict(), kept, expected)
    device = torch.device(device)
    placed = {key: _place(value, dtype, device) for key, value in kept.items()}
    module.load_state_dict(placed, strict=True, assign=True)
    return module.to(device).requires_grad_(False).eval()


def _place(value: Tensor, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    on_device = value.to(device)
    placed = on_device.to(dtype) if dtype is not None and value.is_floating_point() else on_device
    if placed is not value and value.device.type == "cpu":
        give_back(value)
    return placed


def _require_equal(needed: State, given: State, expected: WeightFile) -> None:
    missing = [key for key in needed if key not in given]
    extra = [key for key in given if key not in needed]
    bent = [key for key in needed if key in given and needed[key].shape != given[key].shape]
    if not (missing or extra or bent):
        return
    faults = []
    if extra:
        faults.append(f"have {len(extra)} keys the model lacks (first: {extra[0]})")
    if missing:
        faults.append(f"lack {len(missing)} it needs (first: {missing[0]})")
    if bent:
        first = bent[0]
        shapes = f"{tuple(given[first].shape)}, needed {tuple(needed[first].shape)}"
        faults.append(f"have {len(bent)} of another shape (first: {first} is {shapes})")
    raise CheckpointError(f"The weights {' and '.join(faults)}. Expected {describe(expected)}.")


def random_state(
    factory: Callable[[], nn.Module],
    seed: int,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
) -> dict[str, Tensor]:
    """Seeded weights for every key of the network, bitwise the same on every device, within a second per billion.

    Matrices and kernels are normal with variance 1 / fan-in, norms near one, biases near zero, so that activations of
    networks with residual branches stay of order one to ten. Values come from one pool of normals, read from a place
    that depends on seed and key only; they repeat after about four million, which no timing or shape test sees.
    """
    shapes = without_storage(factory).state_dict()
    pool = torch.randn(_POOL, generator=torch.Generator().manual_seed(seed)).to(device)
    return {key: _random(key, value, pool, seed, dtype) for key, value in shapes.items()}


def _random(key: str, like: Tensor, pool: Tensor, seed: int, dtype: torch.dtype | None) -> Tensor:
    if not like.is_floating_point():
        return torch.zeros(like.shape, dtype=like.dtype, device=pool.device)
    start = int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8], "little") % _POOL
    count = like.numel()
    tail = pool[start : start + count]
    rounds = [pool] * ((count - tail.numel()) // _POOL)
    normal = torch.cat([tail, *rounds, pool[: (count - tail.numel()) % _POOL]]).view(like.shape)
    name = key.rpartition(".")[2]
    value: Tensor
    if like.ndim >= 2:
        value = normal / (count / like.shape[0]) ** 0.5
    elif name in ("weight", "running_var", "gamma", "scale"):
        value = 1 + 0.1 * normal.clamp(-3, 3)
    else:
        value = 0.02 * normal
    return value.to(like.dtype if dtype is None else dtype)
