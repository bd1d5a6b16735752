"""AnimateAnything's folder: networks, tokenizer and scheduler as diffusers saves a pipeline.

The published folder could not be looked at; what its small files say is taken where they are there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from baselines.animate_anything.network import to_diffusers
from baselines.animate_anything.settings import (
    SCHEDULER,
    TEXT,
    TEXT_CONFIG,
    TOKENIZER,
    UNET,
    UNET_CONFIG,
    VAE,
    VAE_CONFIG,
)
from baselines.checkpoints import CheckpointError, read_state
from baselines.diffusers_config import integer, require
from baselines.diffusers_layout import autoencoder_state, text_state
from baselines.lvdm.tokenizer import byte_tokenizer
from baselines.modelscope.adapter import ReadText
from baselines.modelscope.networks import Sizes
from baselines.modelscope.trunk import build_text_unet
from baselines.modelscope.unet import TextUnet
from baselines.nn.openclip import build_text
from baselines.nn.stable_vae import SCALE, build_vae
from baselines.source import Source
from ti2v_bench.model import WeightFile

BASE_SCHEDULER: Mapping[str, object] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "trained_betas": None,
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "solver_type": "midpoint",
    "lower_order_final": True,
    "euler_at_final": False,
    "thresholding": False,
    "use_karras_sigmas": False,
    "use_lu_lambdas": False,
}
"""Schedule of the base model, and the solver that the official code makes of it: the only ones written here."""

UNET_OPTIONS: Mapping[str, object] = {
    "motion_mask": True,
    "motion_strength": True,
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "act_fn": "silu",
    "mid_block_scale_factor": 1,
}
"""Options of the published class that are implemented in one way only."""


@dataclass(frozen=True)
class Spacing:
    """What the scheduler's file says of timesteps."""

    name: str = "linspace"
    """diffusers' default for DPM-Solver where the file says nothing."""
    offset: int = 1
    """`steps_offset`; counts with `leading` only."""


def load_unet(source: Source, sizes: Sizes, dtype: torch.dtype) -> TextUnet:
    """The network that takes a mask and a strength."""
    return source.network(
        lambda: build_text_unet(sizes.trunk, 5, strength=True),
        UNET[0],
        dtype,
        lambda path: to_diffusers(read_state(path)),
        UNET[1:],
    )


def load_vae(source: Source, sizes: Sizes, dtype: torch.dtype) -> AutoencoderKL:
    """The autoencoder, under today's or diffusers' older names."""
    return source.network(
        lambda: build_vae(sizes.vae), VAE[0], dtype, lambda path: autoencoder_state(read_state(path)), VAE[1:]
    )


def load_text(source: Source, sizes: Sizes, dtype: torch.dtype) -> ReadText:
    """The text encoder's last layer behind its tokenizer; 77 positions, padded with the tokenizer's own token."""

    def factory() -> CLIPTextModel:
        return build_text(sizes.text)

    encoder = source.network(factory, TEXT[0], dtype, lambda path: text_state(read_state(path), factory), TEXT[1:])
    tokenize = byte_tokenizer() if source.random else _tokenizer(source)

    def read_text(prompts: Sequence[str]) -> Tensor:
        states: Tensor = encoder(tokenize(prompts).to(source.device)).last_hidden_state
        return states

    return read_text


class _Published:
    """The checkpoint's own tokenizer, padding and cutting to 77 positions."""

    def __init__(self, folder: str) -> None:
        self._tokenizer = CLIPTokenizer.from_pretrained(folder)

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        ids: Tensor = self._tokenizer(
            list(prompts), padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        ).input_ids
        return ids


def _tokenizer(source: Source) -> _Published:
    vocabulary, merges, *optional = TOKENIZER
    folder = source.path(vocabulary).parent
    source.path(merges)
    for file in optional:  # they name the padding token; without them it is CLIP's usual one
        _is_there(source, file)
    return _Published(str(folder))


def read_spacing(source: Source) -> Spacing:
    """Timestep spacing of the checkpoint's scheduler file; the defaults where there is none.

    Raises:
        ConfigError: the file describes another noise schedule.
    """
    config = _configuration(source, SCHEDULER)
    if config is None:
        return Spacing()
    require(config, BASE_SCHEDULER)
    return Spacing(str(config.get("timestep_spacing", "linspace")), integer(config, "steps_offset", 0))


def check_configurations(source: Source, sizes: Sizes) -> None:
    """Compare what no key or shape shows with the networks written here, where the small files are there.

    Raises:
        ConfigError: a file describes another network.
    """
    fixed: tuple[tuple[WeightFile, Mapping[str, object]], ...] = (
        (UNET_CONFIG, {**UNET_OPTIONS, "attention_head_dim": sizes.trunk.head_dim}),
        (VAE_CONFIG, {"scaling_factor": SCALE}),
        (TEXT_CONFIG, {"hidden_act": "gelu", "num_attention_heads": sizes.text.heads}),
    )
    for file, options in fixed:
        require(_configuration(source, file) or {}, options)


def _configuration(source: Source, file: WeightFile) -> Mapping[str, object] | None:
    return source.json(file) if not source.random and _is_there(source, file) else None


def _is_there(source: Source, file: WeightFile) -> bool:
    try:
        source.path(file)
    except CheckpointError:
        return False
    return True
