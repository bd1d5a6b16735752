"""Official names of ModelScope's and VGen's `UNetSD` and what diffusers calls the same tensors.

The table is built from the sizes, one row per module: below a row's two names the rest of a key is equal.
`temopral_conv` is how the published checkpoints spell it.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from baselines.modelscope.trunk import TrunkShape

RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
"""Inside a residual block."""
ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "input_blocks.0.1": "transformer_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
"""Before and behind the levels."""
IMAGE = {
    "local_image_concat": "image_latents_proj_in",
    "local_temporal_encoder.layers.0.0.norm": "image_latents_temporal_encoder.norm1",
    "local_temporal_encoder.layers.0.0.fn.to_out.0": "image_latents_temporal_encoder.attn1.to_out.0",
    "local_temporal_encoder.layers.0.1.net.0.0": "image_latents_temporal_encoder.ff.net.0.proj",
    "local_temporal_encoder.layers.0.1.net.2": "image_latents_temporal_encoder.ff.net.2",
    "local_image_embedding": "image_latents_context_embedding",
    "context_embedding": "context_embedding",
    "fps_embedding": "fps_embedding",
}
"""I2VGen-XL's additions, but for the one below."""
JOINED = "local_temporal_encoder.layers.0.0.fn.to_qkv.weight"
"""Query, key and value as one matrix; diffusers keeps three."""
SPLIT = tuple(f"image_latents_temporal_encoder.attn1.to_{part}.weight" for part in "qkv")


def modules(shape: TrunkShape, image: bool = False) -> dict[str, str]:
    """Official module name to diffusers' module name, for a network of these sizes.

    Args:
        shape: Sizes.
        image: Whether it is I2VGen-XL's network.
    """
    table = dict(ENDS) | (IMAGE if image else {})
    for official, ours in _entries(shape):
        if ".resnets." in ours:
            table |= {f"{official}.{theirs}": f"{ours}.{name}" for theirs, name in RESIDUAL.items()}
            table[f"{official}.temopral_conv"] = ours.replace(".resnets.", ".temp_convs.")
        else:
            table[official] = ours
    return table


def to_diffusers(official: Mapping[str, Tensor], shape: TrunkShape, image: bool = False) -> dict[str, Tensor]:
    """The official state dict under diffusers' names; a key that no row knows keeps its name, for the strict loader.

    Kernel-1 convolutions of the temporal transformers, (O, I, 1), become matrices (O, I).
    """
    table = modules(shape, image)
    renamed: dict[str, Tensor] = {}
    for key, value in official.items():
        if image and key == JOINED:
            renamed |= dict(zip(SPLIT, value.chunk(3), strict=True))
            continue
        renamed[_rename(key, table)] = value.squeeze(-1) if _is_kernel_one(key, value) else value
    return renamed


def to_official(state: Mapping[str, Tensor], shape: TrunkShape, image: bool = False) -> dict[str, Tensor]:
    """The inverse of `to_diffusers`: a state dict laid out as the published file."""
    table = {ours: official for official, ours in modules(shape, image).items()}
    renamed = {}
    for key, value in state.items():
        if key in SPLIT:
            continue
        temporal = "temp_attentions." in key or key.startswith("transformer_in.")
        matrix = temporal and key.endswith((".proj_in.weight", ".proj_out.weight"))
        renamed[_rename(key, table)] = value[..., None] if matrix else value
    if image:
        renamed[JOINED] = torch.cat([state[key] for key in SPLIT])
    return renamed


def _entries(shape: TrunkShape) -> Iterator[tuple[str, str]]:
    """Official and diffusers' name of every residual block, transformer and resampling, in the network's order."""
    last = len(shape.widths) - 1
    number = 1
    for level, attention in enumerate(shape.attention):
        for layer in range(shape.layers):
            yield from _stage(f"input_blocks.{number}", f"down_blocks.{level}", layer, attention)
            number += 1
        if level < last:
            yield f"input_blocks.{number}.op", f"down_blocks.{level}.downsamplers.0.conv"
            number += 1
    yield from _stage("middle_block", "mid_block", 0, attention=True)
    yield "middle_block.3", "mid_block.resnets.1"
    number = 0
    for level, attention in enumerate(reversed(shape.attention)):
        for layer in range(shape.layers + 1):
            yield from _stage(f"output_blocks.{number}", f"up_blocks.{level}", layer, attention)
            if layer == shape.layers and level < last:
                yield f"output_blocks.{number}.{3 if attention else 1}.conv", f"up_blocks.{level}.upsamplers.0.conv"
            number += 1


def _stage(official: str, ours: str, layer: int, attention: bool) -> Iterator[tuple[str, str]]:
    yield f"{official}.0", f"{ours}.resnets.{layer}"
    if attention:
        yield f"{official}.1", f"{ours}.attentions.{layer}"
        yield f"{official}.2", f"{ours}.temp_attentions.{layer}"


def _rename(key: str, table: Mapping[str, str]) -> str:
    """Replace the longest known module name at the front of `key`."""
    parts = key.split(".")
    for length in range(len(parts) - 1, 0, -1):
        found = table.get(".".join(parts[:length]))
        if found is not None:
            return ".".join([found, *parts[length:]])
    return key


def _is_kernel_one(key: str, value: Tensor) -> bool:
    return key.endswith(("proj_in.weight", "proj_out.weight")) and value.ndim == 3
