"""SEINE as the runner sees it: a picture and a prompt in, frames out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from baselines.adapter import Noise, channels_last, last, precision_of, settings_record
from baselines.checkpoints import State, read_state
from baselines.diffusers_layout import autoencoder_state, pickled
from baselines.fast import speed_up
from baselines.lavie.config import LavieConfig
from baselines.lavie.text import ClipShape, load_text
from baselines.lavie.unet import REPEATED, LavieUNet
from baselines.nn.stable_vae import SCALE, VaeShape, build_vae, decode
from baselines.seine.preprocess import first_known, masked_pair, stretch, to_bytes
from baselines.seine.sampler import denoised
from baselines.seine.settings import TEXT, UNET, VAE, VOCABULARY, Settings
from baselines.settings import with_changes
from baselines.source import Source
from ti2v_bench.model import Frames, ModelOptions
from ti2v_bench.pictures import read_picture
from ti2v_bench.records import Pair

_DRAWN_AT_ONCE = 25
"""Steps whose noise is drawn together: fewer waits for the device, and memory that stays small."""


@dataclass(frozen=True)
class Sizes:
    """Of all networks."""

    unet: LavieConfig
    vae: VaeShape
    text: ClipShape


FULL = Sizes(LavieConfig(in_channels=9), VaeShape(), ClipShape())
"""The published ones."""
TINY = Sizes(
    LavieConfig(in_channels=9, channels=(64, 64), attention=(True, False), layers=1, heads=2, context=16),
    VaeShape(widths=(32, 32, 32, 32), layers=1),
    ClipShape(width=16, layers=1, heads=2),
)
"""For `random-tiny`: every path, in seconds on a CPU."""


class Seine:
    """Frames after the given one are masked; the network fills them in."""

    name = "seine"

    def __init__(self, settings: Settings, sizes: Sizes, options: ModelOptions) -> None:
        """Loads the weights.

        Raises:
            TI2VError: weights or settings that do not fit.
        """
        self.settings, self.fps, self.batch = settings, settings.fps, options.batch
        self._source, self._device = Source(options), torch.device(options.device)
        self._dtype = precision_of(options, "float16")
        self.unet = self._source.network(lambda: LavieUNet(sizes.unet), UNET, self._dtype, _ema)
        self._vae = self._source.network(
            lambda: build_vae(sizes.vae), VAE, self._dtype, lambda p: autoencoder_state(read_state(p)), [pickled(VAE)]
        )
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
        x = noise(4, given.frames, given.height // 8, given.width // 8)
        known = self._known(pairs, noise)
        prompts = [pair.prompt + given.addition for pair in pairs]
        positive, negative = self._read_text([*prompts, *[given.negative_prompt] * len(pairs)]).chunk(2)
        fresh = _ahead(noise, x.shape[1:], given.steps) if given.method == "ddpm" else _none
        text = (positive, negative)
        steps = denoised(self.unet, x, text, known, given.method, given.steps, given.guidance, fresh)
        final, _ = last(steps)
        return [self._frames(latents) for latents in final]

    def _known(self, pairs: Sequence[Pair], noise: Noise) -> Tensor:
        """Mask and scaled latents of the masked frames, (B, 5, F, h, w)."""
        given = self.settings
        frames, h, w = given.frames, given.height // 8, given.width // 8
        pictures = [stretch(read_picture(pair.image), given.height, given.width) for pair in pairs]
        # Published: all frames are encoded, grey ones too, and each is sampled with its own noise. Only two differ.
        pixels = torch.cat([masked_pair(picture) for picture in pictures]).to(self._device, self._dtype)
        posterior = self._vae.encode(pixels).latent_dist
        which = torch.tensor([[2 * i] + [2 * i + 1] * (frames - 1) for i in range(len(pairs))], device=self._device)
        sample = posterior.mean[which] + posterior.std[which] * noise(frames, 4, h, w).to(self._dtype)
        latents = (SCALE * sample).transpose(1, 2)
        mask = first_known(frames, h, w).to(latents).expand(len(pairs), -1, -1, -1, -1)
        return torch.cat([mask, latents], dim=1)

    def _frames(self, latents: Tensor) -> Frames:
        return to_bytes(decode(self._vae, latents.transpose(0, 1), self.settings.decode_at_once))

    def provenance(self) -> Mapping[str, object]:
        """Settings, weights, precision and device, for the sidecar."""
        return {
            "settings": settings_record(self.settings),
            "weights": self._source.record(),
            "precision": str(self._dtype).removeprefix("torch."),
            "device": str(self._device),
        }


def _ema(path: Path) -> State:
    """The averaged weights of the published training checkpoint."""
    return read_state(path, within=("ema", "state_dict"))


def _ahead(noise: Noise, shape: Sequence[int], steps: int) -> Callable[[int], Tensor]:
    """Noise by sampling step, drawn in blocks."""
    block: dict[int, Tensor] = {}

    def fresh(count: int) -> Tensor:
        if count not in block:
            block.clear()
            several = noise(min(_DRAWN_AT_ONCE, steps - count), *shape)
            block.update({count + i: several[:, i] for i in range(several.shape[1])})
        return block[count]

    return fresh


def _none(count: int) -> Tensor:
    raise AssertionError(f"DDIM with eta 0 draws no noise, but step {count} asked for some")


def build(options: ModelOptions) -> Seine:
    """SEINE with published or random weights."""
    tiny = options.weights == "random-tiny"
    settings = replace(Settings(), height=64, width=64) if tiny else Settings()
    return Seine(with_changes(settings, options.settings), TINY if tiny else FULL, options)
