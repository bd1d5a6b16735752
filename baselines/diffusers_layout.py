"""Weights as diffusers' folders hold them, under the names that today's classes use."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath

from torch import nn

from baselines.checkpoints import State, renamed, without_storage
from ti2v_bench.model import WeightFile

_OLD_ATTENTION = (
    (r"(attentions\.\d+\.)query\.", r"\1to_q."),
    (r"(attentions\.\d+\.)key\.", r"\1to_k."),
    (r"(attentions\.\d+\.)value\.", r"\1to_v."),
    (r"(attentions\.\d+\.)proj_attn\.", r"\1to_out.0."),
)
"""The autoencoder's attention had these names until diffusers 0.17; Stable Diffusion's files still do."""


def pickled(file: WeightFile) -> WeightFile:
    """The name that the same weights have where a repository holds no safetensors."""
    path = PurePosixPath(file.file)
    stem = "pytorch_model" if path.stem == "model" else path.stem
    return replace(file, file=str(path.with_name(f"{stem}.bin")))


def autoencoder_state(published: State) -> State:
    """An autoencoder's `diffusion_pytorch_model`, old names or new; attention kernels (O, I, 1, 1) become matrices."""
    state = renamed(published, _OLD_ATTENTION)
    return {
        key: value[..., 0, 0] if ".attentions." in key and value.ndim == 4 else value for key, value in state.items()
    }


def text_state(published: State, factory: Callable[[], nn.Module]) -> State:
    """A CLIP text model's file for `factory`'s class, which may or may not say `text_model.` before its keys."""
    prefix = (
        "text_model." if any(key.startswith("text_model.") for key in without_storage(factory).state_dict()) else ""
    )
    return {
        prefix + key.removeprefix("text_model."): value
        for key, value in published.items()
        if not key.endswith("position_ids")  # a counted buffer that older versions stored
    }
