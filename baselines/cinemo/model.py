"""Cinemo as the runner sees it: a picture and a prompt in, frames out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from baselines.adapter import (
    Noise,
    channels_last,
    last,
    precision_of,
    settings_record,
    truncated,
)
from baselines.cinemo.autoencoder import (
    TemporalVaeShape,
    build_temporal_vae,
    check_config,
    decode_clip,
    encode_base,
    split_precision,
)
from baselines.cinemo.network import CinemoUNet, read_motion_width
from baselines.cinemo.noise import dct_start
from baselines.cinemo.preprocess import cover, with_base
from baselines.cinemo.sampler import residuals
from baselines.cinemo.settings import (
    SCHEDULER,
    TEXT,
    TEXT_CONFIG,
    UNET,
    UNET_CONFIG,
    VAE,
    VAE_CONFIG,
    VOCABULARY,
    Settings,
)
from baselines.diffusers_config import ConfigError, Published, require, require_equal
from baselines.diffusers_layout import pickled
from baselines.fast import speed_up
from baselines.lavie.config import LavieConfig, read_config
from baselines.lavie.text import ClipShape, load_text
from baselines.lavie.unet import REPEATED
from baselines.nn.stable_vae import SCALE
from baselines.sampling.leading import leading_steps, linear_alphas
from baselines.settings import with_changes
from baselines.source import Source
from ti2v_bench.model import Frames, ModelOptions
from ti2v_bench.pictures import read_picture
from ti2v_bench.records import Pair

BETAS = (0.0001, 0.02)
"""First and last; pipelines/animation.py overrides the published scheduler with them."""
_SCHEDULER = {
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "rescale_betas_zero_snr": False,
    "thresholding": False,
    "trained_betas": None,
}
"""What the published scheduler_config.json must not contradict; the pipeline forces steps_offset and clip_sample."""


@dataclass(frozen=True)
class Sizes:
    """Of all networks."""

    unet: LavieConfig
    motion: int
    """Width of the motion value's sinusoid."""
    vae: TemporalVaeShape
    text: ClipShape


FULL = Sizes(LavieConfig(), 256, TemporalVaeShape(), ClipShape())
"""The published ones."""
TINY = Sizes(
    LavieConfig(channels=(64, 64), attention=(True, False), layers=1, heads=2, context=16),
    32,
    TemporalVaeShape(widths=(32, 32, 32, 32), layers=1),
    ClipShape(width=16, layers=1, heads=2),
)
"""For `random-tiny`: every path, in seconds on a CPU."""


class Cinemo:
    """Frames are differences from the given one; the network denoises the differences."""

    name = "cinemo"

    def __init__(self, settings: Settings, sizes: Sizes, options: ModelOptions) -> None:
        """Loads the weights and checks the configurations beside them.

        Raises:
            TI2VError: weights, configurations or settings that do not fit.
        """
        self.settings, self.fps, self.batch = settings, settings.fps, options.batch
        self._source, self._device = Source(options), torch.device(options.device)
        self._dtype = precision_of(options, "float16")
        self._final_alpha_one = False if self._source.random else _check(self._source, sizes)
        self.unet = self._source.network(
            lambda: CinemoUNet(sizes.unet, sizes.motion), UNET, self._dtype, others=[pickled(UNET)]
        )
        self._vae = self._source.network(
            lambda: build_temporal_vae(sizes.vae), VAE, torch.float32, others=[pickled(VAE)]
        )
        split_precision(self._vae, self._dtype)
        self._read_text = load_text(self._source, TEXT, VOCABULARY, sizes.text, self._dtype)
        channels_last(self.unet)
        if options.fast:
            speed_up(self.unet, REPEATED, options.compile_cache)

    def generate(self, pair: Pair, seed: int) -> Frames:
        """(16, height, width, 3) at the default settings."""
        return self.generate_batch([pair], [seed])[0]

    @torch.inference_mode()
    def generate_batch(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> list[Frames]:
        """One video per pair, each from its own seed."""
        given, noise = self.settings, Noise(seeds, self._device)
        pictures = torch.cat([cover(read_picture(pair.image), given.height, given.width) for pair in pairs])
        h, w = given.height // 8, given.width // 8
        base = encode_base(self._vae, pictures.to(self._device), noise(4, h, w, dtype=torch.float64))
        alphas = linear_alphas(*BETAS)
        x = noise(4, given.residual_frames, h, w)
        if given.dct_start:
            x = dct_start(base, x, alphas[given.noise_level].item(), given.dct_share)
        x, base = x.to(self._dtype), base.to(self._dtype)
        prompts = [pair.prompt for pair in pairs]
        negative, positive = self._read_text([*[given.negative_prompt] * len(pairs), *prompts]).chunk(2)
        steps = leading_steps(alphas, given.steps, 1.0 if self._final_alpha_one else alphas[0].item())
        final = last(residuals(self.unet, x, (negative, positive), base, given.motion, steps, given.guidance))
        return [self._frames(*clip) for clip in zip(final, base, strict=True)]

    def _frames(self, residual: Tensor, base: Tensor) -> Frames:
        latents = with_base(residual[None], base[None], SCALE)
        return truncated(decode_clip(self._vae, latents, self.settings.decode_at_once))

    def provenance(self) -> Mapping[str, object]:
        """Settings, weights, precision and device, for the sidecar."""
        return {
            "settings": settings_record(self.settings),
            "weights": self._source.record(),
            "precision": str(self._dtype).removeprefix("torch."),
            "device": str(self._device),
        }


def _check(source: Source, sizes: Sizes) -> bool:
    """Compare the published configurations with ours; whether the last step leads to alpha 1."""
    published = source.json(UNET_CONFIG)
    require_equal(read_config(published), sizes.unet, UNET_CONFIG.file)
    if read_motion_width(published) != sizes.motion:
        raise ConfigError(f"{UNET_CONFIG.file} says addition_time_embed_dim = {read_motion_width(published)}.")
    check_config(source.json(VAE_CONFIG), sizes.vae)
    require(
        source.json(TEXT_CONFIG), {**sizes.text.config(), "max_position_embeddings": 77, "use_attention_mask": False}
    )
    return _final_alpha_is_one(source.json(SCHEDULER))


def _final_alpha_is_one(scheduler: Published) -> bool:
    require(scheduler, _SCHEDULER)
    value = scheduler.get("set_alpha_to_one", True)  # the library's default
    if not isinstance(value, bool):
        raise ConfigError(f"set_alpha_to_one = {value!r} in the published configuration; expected true or false.")
    return value


def build(options: ModelOptions) -> Cinemo:
    """Cinemo with published or random weights."""
    tiny = options.weights == "random-tiny"
    settings = replace(Settings(), height=64, width=96) if tiny else Settings()
    return Cinemo(with_changes(settings, options.settings), TINY if tiny else FULL, options)
