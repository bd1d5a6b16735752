"""The networks of one published checkpoint, from its file or with random weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

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
from baselines.lvdm.autoencoder import autoencoder, diffusers_keys
from baselines.lvdm.openclip import (
    UNUSED_BESIDE_IMAGE,
    UNUSED_IMAGE_KEYS,
    ImageEncoder,
    TextEncoder,
    unused_text_keys,
)
from baselines.lvdm.recipe import VOCABULARY, Recipe
from baselines.lvdm.resampler import Resampler
from baselines.lvdm.settings import NetworkSettings
from baselines.lvdm.tokenizer import Tokenizer, byte_tokenizer, load_tokenizer
from baselines.lvdm.unet import UNet
from ti2v_bench.model import WeightFile

_Module = TypeVar("_Module", bound=nn.Module)

UNET, AUTOENCODER, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."
IMAGE, BESIDE_IMAGE, RESAMPLER = "embedder.model.visual.", "embedder.model.", "image_proj_model."
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
class Parts:
    """Everything that an image-to-video model of the family computes with."""

    unet: UNet
    autoencoder: AutoencoderKL
    text: TextEncoder
    image: ImageEncoder
    resampler: Resampler
    tokenizer: Tokenizer
    initial_noise: InitialNoise | None
    records: tuple[Mapping[str, object], ...]
    """What a sidecar says of the weights."""


def load_parts(recipe: Recipe, weights: str | None, dtype: torch.dtype, device: torch.device, seed: int = 0) -> Parts:
    """The networks with the weights that `ModelOptions.weights` asks for.

    Args:
        recipe: which networks and which files; for `random-tiny` it is tiny already.
        weights: None for the published files, a file or folder, `random-tiny` or `random-full`.
        dtype: of all weights.
        device: where they live.
        seed: of random weights.

    Raises:
        CheckpointError: a file is absent or not the expected one.
    """
    if is_random(weights):
        return _random_parts(recipe, str(weights), dtype, device, seed)
    path = fetch(recipe.weights, weights)
    state = read_state(path)
    _require_known(state, recipe.weights)
    # A single file given by hand is the checkpoint; the small files beside it still come from the Hub.
    folder = weights if weights is not None and Path(weights).is_dir() else None
    vocabulary = fetch(VOCABULARY, folder)
    noise, noise_record = _initial_noise(recipe, folder, device)
    records = (weight_record(recipe.weights, path), weight_record(VOCABULARY, vocabulary), *noise_record)

    def part(factory: Callable[[], _Module], found: State, unused: tuple[str, ...] = ()) -> _Module:
        return build(factory, found, expected=recipe.weights, dtype=dtype, device=device, unused=unused)

    network = recipe.network
    assert network.image is not None
    assert network.resampler is not None
    image, resampler = network.image, network.resampler
    return Parts(
        unet=part(lambda: UNet(network.unet), unet_state(state)),
        autoencoder=part(lambda: autoencoder(network.autoencoder), autoencoder_state(state, network)),
        text=part(lambda: TextEncoder(network.text), below(state, TEXT), unused_text_keys(network.text)),
        image=part(lambda: ImageEncoder(image), below(state, IMAGE), UNUSED_IMAGE_KEYS),
        resampler=part(lambda: Resampler(resampler), below(state, RESAMPLER)),
        tokenizer=load_tokenizer(vocabulary),
        initial_noise=noise,
        records=records,
    )


def unet_state(state: State) -> dict[str, Tensor]:
    """The network's part of a whole checkpoint. Published: DynamiCrafter 256 calls the frame stride's layers
    `framestride_embed`, which its loader renames."""
    return renamed(below(state, UNET), [(r"^framestride_embed\.", "fps_embedding.")])


def autoencoder_state(state: State, network: NetworkSettings) -> dict[str, Tensor]:
    """The autoencoder's part of a whole checkpoint, under diffusers' names."""
    return diffusers_keys(below(state, AUTOENCODER), len(network.autoencoder.channel_mult))


def _require_known(state: State, expected: WeightFile) -> None:
    """What lies outside the networks must be the schedule's buffers and CLIP's unused text side."""
    beside = {BESIDE_IMAGE + key for key in UNUSED_BESIDE_IMAGE} | set(SCHEDULE)
    prefixes = (UNET, AUTOENCODER, TEXT, IMAGE, RESAMPLER)
    extra = [key for key in state if key not in beside and not key.startswith(prefixes)]
    if extra:
        raise CheckpointError(
            f"The weights have {len(extra)} keys the model lacks (first: {extra[0]}). Expected {describe(expected)}."
        )


def _initial_noise(
    recipe: Recipe, folder: str | None, device: torch.device
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
    return InitialNoise(mean, variance), [weight_record(file, path)]


def _random_parts(recipe: Recipe, kind: str, dtype: torch.dtype, device: torch.device, seed: int) -> Parts:
    network = recipe.network
    assert network.image is not None
    assert network.resampler is not None
    image, resampler = network.image, network.resampler

    def part(factory: Callable[[], _Module]) -> _Module:
        return build(factory, random_state(factory, seed, dtype, device), expected=recipe.weights, device=device)

    cell = network.autoencoder.downsampling
    size = (1, network.unet.out_channels, recipe.frames, recipe.height // cell, recipe.width // cell)
    noise = InitialNoise(torch.zeros(size, device=device), torch.ones((), device=device))
    return Parts(
        unet=part(lambda: UNet(network.unet)),
        autoencoder=part(lambda: autoencoder(network.autoencoder)),
        text=part(lambda: TextEncoder(network.text)),
        image=part(lambda: ImageEncoder(image)),
        resampler=part(lambda: Resampler(resampler)),
        tokenizer=byte_tokenizer(),
        initial_noise=noise if recipe.initial_noise else None,
        records=({"random": kind, "seed": seed},),
    )
