"""Tiny random weights, laid out file by file as SEINE's, Cinemo's and ConsistI2V's published repositories."""

import io
import json
from collections.abc import Mapping

import torch
from safetensors.torch import save
from torch import Tensor

from baselines.checkpoints import random_state
from baselines.cinemo import model as cinemo
from baselines.cinemo import settings as cinemo_files
from baselines.cinemo.autoencoder import build_temporal_vae
from baselines.cinemo.network import CinemoUNet
from baselines.consisti2v import model as consisti2v
from baselines.consisti2v import settings as consisti2v_files
from baselines.consisti2v.unet import ConsistUNet
from baselines.lavie.config import LavieConfig
from baselines.lavie.text import build_clip
from baselines.lavie.unet import LavieUNet
from baselines.nn.openclip import build_text
from baselines.nn.stable_vae import build_vae
from baselines.seine import model as seine
from baselines.seine import settings as seine_files

Repositories = dict[str, dict[str, bytes]]
"""Repository -> path -> content."""


def repositories(name: str) -> Repositories:
    """All files that the model `name` fetches."""
    return {"seine": _seine, "cinemo": _cinemo, "consisti2v": _consisti2v}[name]()


def _seine() -> Repositories:
    sizes, stream = seine.TINY, io.BytesIO()
    unet = random_state(lambda: LavieUNet(sizes.unet), 1)
    torch.save({"ema": unet, "args": {"image_size": [240, 560]}}, stream)
    base = {
        seine_files.VAE.file: save(_older(random_state(lambda: build_vae(sizes.vae), 2))),
        seine_files.TEXT.file: save(_texts(random_state(lambda: build_clip(sizes.text), 3))),
        seine_files.VOCABULARY.file: merges(),
    }
    return {seine_files.UNET.repo: {seine_files.UNET.file: stream.getvalue()}, seine_files.BASE: base}


def _cinemo() -> Repositories:
    sizes = cinemo.TINY
    files = {
        cinemo_files.UNET.file: save(_own(random_state(lambda: CinemoUNet(sizes.unet, sizes.motion), 1))),
        cinemo_files.UNET_CONFIG.file: _json(lavie_config(sizes.unet) | {"addition_time_embed_dim": sizes.motion}),
        cinemo_files.VAE.file: save(_own(random_state(lambda: build_temporal_vae(sizes.vae), 2))),
        cinemo_files.VAE_CONFIG.file: _json(sizes.vae.config() | {"force_upcast": True}),
        cinemo_files.TEXT.file: save(_texts(random_state(lambda: build_clip(sizes.text), 3))),
        cinemo_files.TEXT_CONFIG.file: _json({"hidden_size": sizes.text.width, "hidden_act": "quick_gelu"}),
        cinemo_files.VOCABULARY.file: merges(),
        cinemo_files.SCHEDULER.file: _json(
            {"beta_schedule": "scaled_linear", "set_alpha_to_one": False, "num_train_timesteps": 1000}
        ),
    }
    return {cinemo_files.REPO: files}


def _consisti2v() -> Repositories:
    sizes = consisti2v.TINY
    unet, text = sizes.unet, sizes.text
    config = {
        "block_out_channels": list(unet.channels),
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "layers_per_block": unet.layers,
        "attention_head_dim": list(unet.heads),
        "cross_attention_dim": unet.context,
        "use_linear_projection": True,
        "use_temporal": False,  # overridden at loading
    }
    files = {
        consisti2v_files.UNET.file: save(_own(random_state(lambda: ConsistUNet(unet), 1))),
        consisti2v_files.UNET_CONFIG.file: _json(config),
        consisti2v_files.VAE.file: save(_own(random_state(lambda: build_vae(sizes.vae), 2))),
        consisti2v_files.VAE_CONFIG.file: _json({"block_out_channels": list(sizes.vae.widths), "layers_per_block": 1}),
        consisti2v_files.TEXT.file: save(_texts(random_state(lambda: build_text(text), 3))),
        consisti2v_files.TEXT_CONFIG.file: _json({"hidden_size": text.width, "num_hidden_layers": text.layers - 1}),
        consisti2v_files.VOCABULARY.file: merges(),
    }
    return {consisti2v_files.REPO: files}


def lavie_config(config: LavieConfig) -> dict[str, object]:
    """As Cinemo's `unet/config.json`."""
    down = ["CrossAttnDownBlock3D" if level else "DownBlock3D" for level in config.attention]
    up = ["CrossAttnUpBlock3D" if level else "UpBlock3D" for level in reversed(config.attention)]
    return {
        "block_out_channels": list(config.channels),
        "down_block_types": down,
        "up_block_types": up,
        "layers_per_block": config.layers,
        "attention_head_dim": config.heads,
        "cross_attention_dim": config.context,
        "addition_embed_type": "motion_ids",
    }


def merges() -> bytes:
    """A vocabulary of CLIP's size, whose merges are the first pairs of letters."""
    letters = [chr(code) for code in [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]]
    letters += [chr(256 + index) for index in range(256 - len(letters))]
    pairs = [f"{first} {second}" for first in letters for second in letters][:48894]
    return "\n".join(["#version: 0.2", *pairs, ""]).encode()


def _older(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The autoencoder's attention under its names before diffusers 0.17, its matrices as kernels."""
    names = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
    result = {}
    for key, value in _own(state).items():
        for new, old in names.items():
            if f"attentions.0.{new}" in key:
                key = key.replace(new, old)
                value = value[..., None, None].contiguous() if value.ndim == 2 else value
        result[key] = value
    return result


def _texts(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As transformers 4 saved CLIP's text model."""
    named = {f"text_model.{key.removeprefix('text_model.')}": value for key, value in _own(state).items()}
    return named | {"text_model.embeddings.position_ids": torch.arange(77)[None]}


def _own(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without shared memory, which safetensors refuses."""
    return {key: value.clone() for key, value in state.items()}


def _json(content: Mapping[str, object]) -> bytes:
    return json.dumps(content).encode()
