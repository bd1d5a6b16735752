"""Tiny checkpoints laid out as the published files are, written here key by key as the manifests list them."""

import io
from collections.abc import Mapping

import torch
from torch import Tensor

from baselines.checkpoints import random_state
from baselines.lvdm.recipe import Recipe
from baselines.lvdm.weights import SCHEDULE, networks
from baselines.nn.stable_vae import VaeShape, to_compvis

_BLOCK = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip
_PLACES = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "final_layer_norm": "ln_final", "pre_layrnorm": "ln_pre", "post_layernorm": "ln_post",
}  # fmt: skip


def _openclip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A tower of the transformers library under OpenCLIP's names."""
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix("vision_model.")
        if name == "visual_projection.weight":
            out["proj"] = value.T.contiguous()
            continue
        for kind in ("weight", "bias"):
            if name.endswith(f"self_attn.q_proj.{kind}"):
                thirds = [state[key.replace("q_proj", f"{part}_proj")] for part in "qkv"]
                out[_named(name.replace(f"self_attn.q_proj.{kind}", f"attn.in_proj_{kind}"))] = torch.cat(thirds)
        if not any(f"self_attn.{part}_proj" in name for part in "qkv"):
            out[_named(name)] = value
    return out


def _named(name: str) -> str:
    name = name.replace("encoder.layers.", "transformer.resblocks.")
    for ours, theirs in {**_BLOCK, **_PLACES}.items():
        name = name.replace(ours, theirs)
    return name


def published_state(recipe: Recipe, seed: int = 0) -> dict[str, Tensor]:
    """The state dict that a published checkpoint of the recipe's (tiny) networks would hold, leftovers included."""
    network, made = recipe.network, networks(recipe.network)
    width, layers = network.text.width, network.text.layers
    vae = VaeShape(network.autoencoder.widths, network.autoencoder.layers)
    text = _openclip(random_state(made.text, seed))
    last, first = f"transformer.resblocks.{layers - 1}.", "transformer.resblocks.0."
    unused = {key.replace(first, last): value + 1 for key, value in text.items() if key.startswith(first)}
    leftovers = {"text_projection": torch.ones(width, width), "logit_scale": torch.ones(())}
    beside = {
        "token_embedding.weight": torch.ones(8, width), "positional_embedding": torch.ones(77, width),
        "ln_final.weight": torch.ones(width), "ln_final.bias": torch.ones(width), **leftovers,
    }  # fmt: skip
    image = {"visual." + key: value for key, value in _openclip(random_state(made.image, seed)).items()}
    parts = {
        "model.diffusion_model.": random_state(made.unet, seed),
        "first_stage_model.": to_compvis(random_state(made.autoencoder, seed), vae),
        "cond_stage_model.model.": {**text, **unused, **leftovers},
        "embedder.model.": {**image, **beside},
        "image_proj_model.": random_state(made.resampler, seed),
    }
    schedule = {key: torch.zeros(1000) for key in SCHEDULE}
    return {**schedule, **{prefix + key: value for prefix, part in parts.items() for key, value in part.items()}}


def published_file(recipe: Recipe, seed: int = 0) -> bytes:
    """`model.ckpt`."""
    buffer = io.BytesIO()
    torch.save({"state_dict": published_state(recipe, seed), "epoch": 3, "global_step": 10}, buffer)
    return buffer.getvalue()


def vocabulary_file() -> bytes:
    """A `merges.txt` as long as CLIP's, of merges that no text meets."""
    rare = [chr(256 + 4 + index) for index in range(64)]
    words = list(rare)
    for index in range(48894):
        words.append(words[index // 64] + rare[index % 64])
    return "\n".join(["#version: 0.2", *(f"{word[:-1]} {word[-1]}" for word in words[64:])]).encode()
