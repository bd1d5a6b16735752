"""ConsistI2V as the runner sees it: a picture and a prompt in, frames out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import CLIPTextModel

from baselines.adapter import (
    Noise,
    channels_last,
    last,
    precision_of,
    settings_record,
    truncated,
)
from baselines.checkpoints import read_state
from baselines.consisti2v.config import OVERRIDES, ConsistConfig, read_config
from baselines.consisti2v.frameinit import frame_init, low_pass, shared_noise
from baselines.consisti2v.preprocess import scale_and_crop
from baselines.consisti2v.sampler import Conditions, Guidance, denoised
from baselines.consisti2v.settings import (
    TEXT,
    TEXT_CONFIG,
    UNET,
    UNET_CONFIG,
    VAE,
    VAE_CONFIG,
    VOCABULARY,
    Settings,
)
from baselines.consisti2v.unet import REPEATED, ConsistUNet
from baselines.diffusers_config import require, require_equal
from baselines.diffusers_layout import autoencoder_state, pickled, text_state
from baselines.fast import speed_up
from baselines.lvdm.tokenizer import byte_tokenizer, load_tokenizer
from baselines.nn.openclip import TextShape, build_text
from baselines.nn.stable_vae import SCALE, VaeShape, build_vae, decode, encode_sample
from baselines.sampling.leading import leading_steps, linear_alphas
from baselines.settings import with_changes
from baselines.source import Source
from ti2v_bench.model import Frames, ModelOptions
from ti2v_bench.pictures import read_picture
from ti2v_bench.records import Pair

BETAS = (0.00085, 0.012)
"""First and last, evenly spaced; configs/inference/inference.yaml, noise_scheduler_kwargs."""


@dataclass(frozen=True)
class Sizes:
    """Of all networks."""

    unet: ConsistConfig
    vae: VaeShape
    text: TextShape


FULL = Sizes(ConsistConfig(), VaeShape(), TextShape())
"""The published ones."""
TINY = Sizes(
    ConsistConfig(channels=(64, 64), attention=(True, False), layers=1, heads=(2, 2), context=32),
    VaeShape(widths=(32, 32, 32, 32), layers=1),
    TextShape(width=32, heads=2, layers=2),
)
"""For `random-tiny`: every path, in seconds on a CPU."""


class ConsistI2V:
    """The given frame runs along without noise, and every other frame looks at it."""

    name = "consisti2v"

    def __init__(self, settings: Settings, sizes: Sizes, options: ModelOptions) -> None:
        """Loads the weights and checks the configurations beside them.

        Raises:
            TI2VError: weights, configurations or settings that do not fit.
        """
        self.settings, self.fps, self.batch = settings, settings.fps, options.batch
        self._source, self._device = Source(options), torch.device(options.device)
        self._dtype = precision_of(options, "float32")
        if not self._source.random:
            _check(self._source, sizes)
        self.unet = self._source.network(lambda: ConsistUNet(sizes.unet), UNET, self._dtype, others=[pickled(UNET)])
        self._vae = self._source.network(
            lambda: build_vae(sizes.vae), VAE, self._dtype, lambda p: autoencoder_state(read_state(p)), [pickled(VAE)]
        )
        self._read_text = _load_text(self._source, sizes.text, self._dtype)
        channels_last(self.unet)
        if options.fast:
            speed_up(self.unet, REPEATED, options.compile_cache)

    def generate(self, pair: Pair, seed: int) -> Frames:
        """(16, height, width, 3)."""
        return self.generate_batch([pair], [seed])[0]

    @torch.inference_mode()
    def generate_batch(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> list[Frames]:
        """One video per pair, each from its own seed."""
        given, noise = self.settings, Noise(seeds, self._device)
        pictures = torch.stack([scale_and_crop(read_picture(p.image), given.height, given.width) for p in pairs])
        h, w = given.height // 8, given.width // 8
        first = encode_sample(self._vae, pictures.to(self._device), noise(4, h, w))[:, :, None]
        alphas = linear_alphas(*BETAS)
        x = self._start(first, noise, alphas[given.noise_level].item())
        prompts = [pair.prompt for pair in pairs]
        negative, positive = self._read_text([*[given.negative_prompt] * len(pairs), *prompts]).chunk(2)
        conditions = Conditions((negative, positive), first, x[:, :, :1], given.frame_stride)
        guidance = Guidance(given.guidance, given.image_guidance, given.guidance_rescale)
        steps = leading_steps(alphas, given.steps, final_alpha=1.0)
        final = last(denoised(self.unet, x[:, :, 1:], conditions, steps, guidance))
        return [self._frames(latents) for latents in torch.cat([first, final], dim=2)]

    def _start(self, first: Tensor, noise: Noise, alpha: float) -> Tensor:
        """Start latents of all frames, (B, 4, F, h, w)."""
        given = self.settings
        b, c, _, h, w = first.shape
        shape = (b, c, self.unet.config.frames, h, w)
        x = shared_noise(lambda *size: noise(*size[1:]), shape, given.noise, given.noise_share).to(first.dtype)
        if not given.frame_init:
            return x
        mask = low_pass(shape[2:], given.filter, given.stop_spatial, given.stop_temporal, given.filter_order)
        return frame_init(first, x, alpha, mask)

    def _frames(self, latents: Tensor) -> Frames:
        return truncated(decode(self._vae, latents.transpose(0, 1), self.settings.decode_at_once))

    def provenance(self) -> Mapping[str, object]:
        """Settings, weights, precision and device, for the sidecar."""
        return {
            "settings": settings_record(self.settings),
            "weights": self._source.record(),
            "precision": str(self._dtype).removeprefix("torch."),
            "device": str(self._device),
        }


def _load_text(source: Source, shape: TextShape, dtype: torch.dtype) -> Callable[[Sequence[str]], Tensor]:
    """Stable Diffusion 2.1's text encoder behind its tokenizer, which pads with "!", token 0: (N, 77, D)."""

    def factory() -> CLIPTextModel:
        return build_text(shape)

    encoder = source.network(factory, TEXT, dtype, lambda path: text_state(read_state(path), factory), [pickled(TEXT)])
    tokenize = byte_tokenizer() if source.random else load_tokenizer(source.path(VOCABULARY))

    def read_text(prompts: Sequence[str]) -> Tensor:
        states: Tensor = encoder(tokenize(prompts).to(source.device)).last_hidden_state
        return states

    return read_text


def _check(source: Source, sizes: Sizes) -> None:
    """Compare the published configurations with ours; the inference configuration overrides some of the network's."""
    require_equal(read_config({**source.json(UNET_CONFIG), **OVERRIDES}), sizes.unet, UNET_CONFIG.file)
    vae, text = sizes.vae, sizes.text
    require(
        source.json(VAE_CONFIG),
        {
            "block_out_channels": list(vae.widths),
            "layers_per_block": vae.layers,
            "latent_channels": 4,
            "scaling_factor": SCALE,
        },
    )
    require(
        source.json(TEXT_CONFIG),
        {
            "hidden_size": text.width,
            "num_hidden_layers": text.layers - 1,
            "num_attention_heads": text.heads,
            "intermediate_size": 4 * text.width,
            "hidden_act": "gelu",
            "vocab_size": text.vocabulary,
            "max_position_embeddings": text.positions,
            "use_attention_mask": False,
        },
    )


def build(options: ModelOptions) -> ConsistI2V:
    """ConsistI2V with published or random weights."""
    tiny = options.weights == "random-tiny"
    settings = replace(Settings(), height=64, width=64) if tiny else Settings()
    return ConsistI2V(with_changes(settings, options.settings), TINY if tiny else FULL, options)
