"""The networks of one published checkpoint, from its file or with random weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPVisionModelWithProjection

from baselines.checkpoints import (
    CheckpointError,
    State,
    below,
    build,
    describe,
    fetch,
    is_random,
    random_state,
    read_state,
    renamed,
    weight_record,
)
from baselines.lvdm.recipe import VOCABULARY, Recipe
from baselines.lvdm.resampler import Resampler
from baselines.lvdm.settings import NetworkSettings
from baselines.lvdm.tokenizer import Tokenizer, byte_tokenizer, load_tokenizer
from baselines.lvdm.unet import UNet
from baselines.nn.openclip import (
    TextShape,
    VisionShape,
    build_text,
    build_vision,
    text_from_openclip,
    vision_from_openclip,
)
from baselines.nn.stable_vae import VaeShape, build_vae, from_compvis
from ti2v_bench.model import WeightFile

_Module = TypeVar("_Module", bound=nn.Module)

UNET, AUTOENCODER, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."
IMAGE, RESAMPLER = "embedder.model.", "image_proj_model."
"""Prefixes of the published files."""
IMAGE_LEFTOVERS = (
    "token_embedding.weight", "positional_embedding", "ln_final.weight", "ln_final.bias", "text_projection",
    "logit_scale",
)  # fmt: skip
"""Keys of the text side that lie beside the vision tower in the published files."""
SCHEDULE = (
    "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance",
    "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2", "scale_arr",
)  # fmt: skip
"""Buffers of the published files that are computed here."""


@dataclass(frozen=True)
class InitialNoise:
    """Statistics of clean latents over the training data."""

    mean: Tensor
    """(1, 4, F, h, w)."""
    variance: Tensor
    """Trace of the covariance over its dimension, scalar or broadcastable."""


@dataclass(frozen=True)
class Networks:
    """How each part of a checkpoint is made, without weights."""

    unet: Callable[[], UNet]
    autoencoder: Callable[[], AutoencoderKL]
    text: Callable[[], CLIPTextModel]
    image: Callable[[], CLIPVisionModelWithProjection]
    resampler: Callable[[], Resampler]


@dataclass(frozen=True)
class Parts:
    """Everything that an image-to-video model of the family computes with."""

    unet: UNet
    autoencoder: AutoencoderKL
    text: CLIPTextModel
    image: CLIPVisionModelWithProjection
    resampler: Resampler
    tokenizer: Tokenizer
    initial_noise: InitialNoise | None
    record: object
    """What a sidecar says of the weights, JSON-ready."""


def networks(settings: NetworkSettings) -> Networks:
    """The parts of an image-to-video checkpoint."""
    image, resampler = settings.image, settings.resampler
    assert image is not None
    assert resampler is not None
    return Networks(
        unet=lambda: UNet(settings.unet),
        autoencoder=lambda: build_vae(VaeShape(settings.autoencoder.widths, settings.autoencoder.layers)),
        text=lambda: build_text(_text_shape(settings)),
        image=lambda: build_vision(
            VisionShape(image.width, image.heads, image.layers, image.patch, projected=image.projected)
        ),
        resampler=lambda: Resampler(resampler),
    )


def load_parts(recipe: Recipe, weights: str | None, dtype: torch.dtype, device: str) -> Parts:
    """The networks with the weights that `ModelOptions.weights` asks for.

    Args:
        recipe: which networks and which files; for `random-tiny` it is tiny already.
        weights: None for the published files, a file or folder, `random-tiny` or `random-full`.
        dtype: of all weights.
        device: where they live.

    Raises:
        CheckpointError: a file is absent or not the expected one.
    """
    if is_random(weights):
        return _random_parts(recipe, str(weights), dtype, device)
    path = fetch(recipe.weights, weights)
    states = published_states(read_state(path), recipe.network, recipe.weights)
    # A single file given by hand is the checkpoint; the small files beside it still come from the Hub.
    folder = weights if weights is not None and Path(weights).is_dir() else None
    vocabulary = fetch(VOCABULARY, folder)
    noise, noise_record = _initial_noise(recipe, folder, device)
    made = networks(recipe.network)

    def part(factory: Callable[[], _Module], name: str) -> _Module:
        return build(factory, states[name], expected=recipe.weights, dtype=dtype, device=device)

    return Parts(
        unet=part(made.unet, "unet"),
        autoencoder=part(made.autoencoder, "autoencoder"),
        text=part(made.text, "text"),
        image=part(made.image, "image"),
        resampler=part(made.resampler, "resampler"),
        tokenizer=load_tokenizer(vocabulary),
        initial_noise=noise,
        record=[weight_record(recipe.weights, path), weight_record(VOCABULARY, vocabulary), *noise_record],
    )


def published_states(state: State, settings: NetworkSettings, expected: WeightFile) -> dict[str, dict[str, Tensor]]:
    """A whole checkpoint cut into the parts of `Networks`, keys as these name them.

    Published: DynamiCrafter 256 calls the frame stride's layers `framestride_embed`, which its loader renames.

    Raises:
        CheckpointError: a key belongs to no part, and is none of the known leftovers.
    """
    _require_known(state, expected)
    shape = VaeShape(settings.autoencoder.widths, settings.autoencoder.layers)
    return {
        "unet": renamed(below(state, UNET), [(r"^framestride_embed\.", "fps_embedding.")]),
        "autoencoder": from_compvis(below(state, AUTOENCODER), shape),
        "text": text_from_openclip(below(state, TEXT), _text_shape(settings)),
        "image": vision_from_openclip(below(state, IMAGE)),
        "resampler": below(state, RESAMPLER),
    }


def _text_shape(settings: NetworkSettings) -> TextShape:
    return TextShape(settings.text.width, settings.text.heads, settings.text.layers)


def _require_known(state: State, expected: WeightFile) -> None:
    """What lies outside the networks must be the schedule's buffers or CLIP's text side beside the vision tower."""
    leftovers = {*SCHEDULE, *(IMAGE + key for key in IMAGE_LEFTOVERS)}
    parts = (UNET, AUTOENCODER, TEXT, IMAGE + "visual.", RESAMPLER)
    extra = [key for key in state if key not in leftovers and not key.startswith(parts)]
    if extra:
        raise CheckpointError(
            f"The weights have {len(extra)} keys the model lacks (first: {extra[0]}). Expected {describe(expected)}."
        )


def _initial_noise(
    recipe: Recipe, folder: str | None, device: str
) -> tuple[InitialNoise | None, list[dict[str, object]]]:
    file = recipe.initial_noise
    if file is None:
        return None, []
    path = fetch(file, folder)
    found = read_state(path)
    missing = {"Expectation_X0", "Tr_Cov_d"} - found.keys()
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(sorted(missing))}. Expected {describe(file)}.")
    mean, variance = (found[key].to(device, torch.float32) for key in ("Expectation_X0", "Tr_Cov_d"))
    if mean.shape != recipe.latent_shape:
        raise CheckpointError(
            f"{path} holds statistics of latents {tuple(mean.shape)}, but the settings ask for {recipe.latent_shape}. "
            "Leave size and frames as published, or set analytic_init=false."
        )
    return InitialNoise(mean, variance), [weight_record(file, path)]


def _random_parts(recipe: Recipe, kind: str, dtype: torch.dtype, device: str) -> Parts:
    made = networks(recipe.network)

    def part(factory: Callable[[], _Module]) -> _Module:
        return build(factory, random_state(factory, 0, dtype, device), expected=recipe.weights, device=device)

    noise = InitialNoise(torch.zeros(recipe.latent_shape, device=device), torch.ones((), device=device))
    return Parts(
        unet=part(made.unet),
        autoencoder=part(made.autoencoder),
        text=part(made.text),
        image=part(made.image),
        resampler=part(made.resampler),
        tokenizer=byte_tokenizer(),
        initial_noise=noise if recipe.initial_noise else None,
        record=kind,
    )
