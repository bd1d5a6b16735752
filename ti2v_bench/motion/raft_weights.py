"""The two published forms of RAFT-large's checkpoint, brought to one."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ti2v_bench.motion.flow import FlowError

RENAMES = (
    (r"^module\.", ""),
    (r"^fnet\.", "feature_encoder."),
    (r"^cnet\.", "context_encoder."),
    (r"^(\w+_encoder)\.conv1\.", r"\1.convnormrelu.0."),
    (r"^(\w+_encoder)\.norm1\.", r"\1.convnormrelu.1."),
    (r"^(\w+_encoder)\.conv2\.", r"\1.conv."),
    (r"(layer\d\.\d)\.conv([12])\.", r"\1.convnormrelu\2.0."),
    (r"(layer\d\.\d)\.norm([12])\.", r"\1.convnormrelu\2.1."),
    (r"^update_block\.encoder\.convc([12])\.", r"update_block.motion_encoder.convcorr\1.0."),
    (r"^update_block\.encoder\.convf([12])\.", r"update_block.motion_encoder.convflow\1.0."),
    (r"^update_block\.encoder\.conv\.", "update_block.motion_encoder.conv.0."),
    (r"^update_block\.gru\.conv([zrq])([12])\.", r"update_block.recurrent_block.convgru\2.conv\1."),
    (r"^update_block\.mask\.0\.", "mask_predictor.convrelu.0."),
    (r"^update_block\.mask\.2\.", "mask_predictor.conv."),
)
"""princeton-vl (commit 2888e15) to torchvision; all other keys are equal."""

_REPEATED = re.compile(r"layer\d\.0\.norm3\.")
"""princeton-vl registers the shortcut's norm twice: as `norm3` and as `downsample.1`."""


def torchvision_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of either form under torchvision's names (which pass through unchanged)."""
    renamed = {}
    for key, value in state.items():
        if _REPEATED.search(key):
            continue
        for pattern, replacement in RENAMES:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    return renamed


def read_raft_weights(path: Path) -> dict[str, Tensor]:
    """Read a `.pth` (tensors only, no code is run) or `.safetensors` file.

    Raises:
        FlowError: absent, or not a file of named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return torchvision_names(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
        return torchvision_names(dict(state))
    except FileNotFoundError as error:
        raise FlowError(f"RAFT checkpoint {path} does not exist. Name a downloaded file.") from error
    except Exception as error:
        raise FlowError(f"RAFT checkpoint {path} could not be read: {error}") from error
