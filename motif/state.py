"""What a run needs to go on: weights, optimiser, average; copied or sharded, whatever number of processes wrote them.

Written by torch's distributed checkpointing: every process writes what it holds (what all hold alike, only once), and
another number of processes can read it back.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from baselines.lvdm.unet import UNet
from ti2v_bench.errors import TI2VError
from ti2v_bench.files import storage_errors


class StateError(TI2VError):
    """A checkpoint that cannot be written, or not be gone on from."""


def shard(unet: UNet, device: torch.device) -> None:
    """Shard every block of `unet` over all processes (FSDP2); in place, before its optimiser is made.

    Raises:
        StateError: there are no processes to shard over.
    """
    if not dist.is_initialized():
        raise StateError("--fsdp shards over processes: start with 'torchrun --nproc-per-node N -m ti2v_bench ...'.")
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    unet.to(device)
    for parameter in unet.parameters():
        parameter.data = parameter.data.contiguous()  # FSDP takes no other
    for stage in (*unet.input_blocks, unet.init_attn, unet.middle_block, *unet.output_blocks):
        fully_shard(stage, mesh=mesh)
    fully_shard(unet, mesh=mesh)


def save_state(folder: Path, unet: UNet, optimizer: torch.optim.Optimizer, average: Sequence[Tensor]) -> None:
    """Write everything that `load_state` reads; all processes call it.

    Raises:
        StateError, StorageError: the disk is full, or refuses.
    """
    weights, moments = get_state_dict(unet, optimizer)
    with _refusals(folder):
        save(_parts(unet, weights, moments, average), checkpoint_id=folder)


def load_state(folder: Path, unet: UNet, optimizer: torch.optim.Optimizer, average: Sequence[Tensor]) -> None:
    """Read into the given network, optimiser and average, in place; all processes call it.

    Raises:
        StateError: damaged, or of another form.
    """
    weights, moments = get_state_dict(unet, optimizer)
    try:
        with _alone():
            load(_parts(unet, weights, moments, average), checkpoint_id=folder)
    except (CheckpointException, OSError, RuntimeError, ValueError) as error:
        raise StateError(
            f"{folder} cannot be gone on from ({_said(error)}). Remove {folder.parent} and run again: the checkpoint "
            "before it is taken."
        ) from error
    set_state_dict(unet, optimizer, model_state_dict=weights, optim_state_dict=moments)


def write_weights(path: Path, unet: UNet) -> None:
    """Write the whole network as safetensors, from the first process; all processes call it.

    Raises:
        StateError, StorageError: the disk is full, or refuses.
    """
    whole = get_model_state_dict(unet, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if not dist.is_initialized() or dist.get_rank() == 0:
        with _refusals(path):
            save_file({key: v.contiguous() for key, v in whole.items() if isinstance(v, Tensor)}, path)


def _parts(
    unet: UNet, weights: Mapping[str, object], moments: Mapping[str, object], average: Sequence[Tensor]
) -> dict[str, object]:
    names = [name for name, _ in unet.named_parameters()]
    return {"unet": weights, "optimizer": moments, "average": dict(zip(names, average, strict=False))}


@contextmanager
def _alone() -> Iterator[None]:
    """Without the warning that a single process is a single process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Each writer has its own exception for a full disk."""
    try:
        with _alone(), storage_errors(path):
            yield
    except (CheckpointException, RuntimeError, SafetensorError) as error:
        raise StateError(
            f"Cannot write {path}: {_said(error)}. Free some space and run the same command again; it goes on from "
            "the newest whole checkpoint."
        ) from error


def _said(error: BaseException) -> str:
    """The last line of an exception's text, where these libraries put the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
