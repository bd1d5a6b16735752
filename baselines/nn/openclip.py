"""OpenCLIP's two towers (ViT-H-14 as published) through transformers' classes.

Shapes: N texts or pictures, L positions, D channels. Source of the names: mlfoundations/open_clip 2.22.0.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

_BLOCK = (
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
    ("attn.out_proj.", "self_attn.out_proj."),
)
_TEXT = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_UNUSED_BY_TEXT = ("text_projection", "logit_scale", "attn_mask")
_VISION = {
    "class_embedding": "vision_model.embeddings.class_embedding",
    "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "ln_post.weight": "vision_model.post_layernorm.weight",
    "ln_post.bias": "vision_model.post_layernorm.bias",
}


@dataclass(frozen=True)
class TextShape:
    """Sizes of a text tower; the defaults are ViT-H-14's."""

    width: int = 1024
    heads: int = 16
    layers: int = 24
    """Blocks of the published tower; the last one is not run."""
    vocabulary: int = 49408
    positions: int = 77


@dataclass(frozen=True)
class VisionShape:
    """Sizes of a picture tower; the defaults are ViT-H-14's."""

    width: int = 1280
    heads: int = 16
    layers: int = 32
    patch: int = 14
    size: int = 224
    projected: int = 1024


def build_text(shape: TextShape) -> CLIPTextModel:
    """All blocks but the last and the final norm: `last_hidden_state` is OpenCLIP's penultimate layer, (N, L, D)."""
    config = CLIPTextConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=4 * shape.width,
        num_hidden_layers=shape.layers - 1,
        num_attention_heads=shape.heads,
        max_position_embeddings=shape.positions,
        hidden_act="gelu",
        bos_token_id=None,
        eos_token_id=2,  # "the largest id ends the text", for the pooled output that nobody here reads
    )
    return CLIPTextModel(config).eval()


def build_vision(shape: VisionShape) -> CLIPVisionModelWithProjection:
    """The picture tower: `last_hidden_state` (N, 1 + patches, D) is neither normed nor projected; `image_embeds` is."""
    config = CLIPVisionConfig(
        hidden_size=shape.width,
        intermediate_size=4 * shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        patch_size=shape.patch,
        image_size=shape.size,
        projection_dim=shape.projected,
        hidden_act="gelu",
    )
    return CLIPVisionModelWithProjection(config).eval()


def text_from_openclip(state: Mapping[str, Tensor], shape: TextShape) -> dict[str, Tensor]:
    """The text part of an OpenCLIP state dict for `build_text`; what that does not run is left out, and
    unknown keys keep their names for the strict loader."""
    last = f"transformer.resblocks.{shape.layers - 1}."
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        if key in _UNUSED_BY_TEXT or key.startswith(("visual.", last)):
            continue
        if key.startswith("transformer.resblocks."):
            renamed |= _block(key.removeprefix("transformer.resblocks."), value, "encoder.layers.")
        else:
            renamed[_TEXT.get(key, key)] = value
    return renamed


def vision_from_openclip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The picture part (`visual.…`) of an OpenCLIP state dict for `build_vision`."""
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        part = key.removeprefix("visual.")
        if part == key:
            continue
        if part == "proj":
            renamed["visual_projection.weight"] = value.T
        elif part.startswith("transformer.resblocks."):
            inner = part.removeprefix("transformer.resblocks.")
            renamed |= _block(inner, value, "vision_model.encoder.layers.")
        else:
            renamed[_VISION.get(part, part)] = value
    return renamed


def _block(key: str, value: Tensor, prefix: str) -> dict[str, Tensor]:
    joined = re.fullmatch(r"(\d+\.)attn\.in_proj_(weight|bias)", key)
    if joined:
        number, kind = joined.groups()
        parts = zip("qkv", value.chunk(3), strict=True)
        return {f"{prefix}{number}self_attn.{part}_proj.{kind}": third for part, third in parts}
    for old, new in _BLOCK:
        key = key.replace(old, new)
    return {prefix + key: value}
