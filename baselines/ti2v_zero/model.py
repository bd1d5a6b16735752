"""TI2V-Zero as a model of the bench."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.adapter import Noise, precision_of, truncated
from baselines.lvdm.recipe import VOCABULARY
from baselines.modelscope.adapter import Adapter, both, made_ready
from baselines.modelscope.networks import TINY, Sizes, load_text, load_unet, load_vae
from baselines.modelscope.unet import TextUnet
from baselines.nn.stable_vae import decode, encode_mean
from baselines.settings import with_changes
from baselines.source import Source
from baselines.ti2v_zero.preprocess import first_frame
from baselines.ti2v_zero.sampler import Draw, Resampling, sample_clip, slide
from baselines.ti2v_zero.settings import CARD, CLIP, UNET, VAE, Settings
from ti2v_bench.model import Frames, ModelOptions
from ti2v_bench.pictures import open_picture
from ti2v_bench.records import Pair

SMALL = Settings(size=64, steps=2, resamples=1, new=3, known=3)
"""Settings that go with tiny networks: every path, no quality."""


@dataclass(kw_only=True)
class TI2VZero(Adapter[Settings, TextUnet]):
    """Turns a picture and a prompt into 1 + `new` square frames; several pairs at once share the network's calls."""

    name: str = CARD.name

    @torch.inference_mode()
    def generate_batch(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> list[Frames]:
        """One video per pair, (1 + new, size, size, 3) uint8."""
        device = self.unet.device
        pictures = [first_frame(open_picture(pair.image), self.settings.size) for pair in pairs]
        texts = self.read_text([*(pair.prompt for pair in pairs), ""])
        empty = texts[-1:].expand(len(pairs), -1, -1)
        noise = Noise(seeds, device)
        return self.animate(torch.cat(pictures).to(device), texts[:-1], empty, lambda shape: noise(*shape))

    def animate(self, first_B3HW: Tensor, text_BLD: Tensor, empty_BLD: Tensor, draw: Draw) -> list[Frames]:
        """Videos from prepared pictures and text states; `draw` is asked for noise in the official order."""
        context = torch.cat([text_BLD, empty_BLD]).to(self.unet.dtype)
        settings = self.settings
        how = Resampling(settings.steps, settings.resamples, settings.guidance, settings.eta, settings.inversion)

        def network(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
            step = torch.full((), t, device=x.device)
            return both(self.unet(x.to(self.unet.dtype), step, context).to(x))

        video = slide(
            first_B3HW,
            encode=lambda frames: encode_mean(self.vae, frames),
            decode=lambda latents: decode(self.vae, latents),
            sample=lambda known: sample_clip(network, known, how, draw),
            known=settings.known,
            new=settings.new,
        )
        return [truncated(frames) for frames in video]


def build(options: ModelOptions, sizes: Sizes | None = None) -> TI2VZero:
    """The model with published or random weights.

    Args:
        options: As from the command line.
        sizes: Of the networks; None: tiny for `random-tiny`, else as published.
    """
    tiny = options.weights == "random-tiny"
    sizes = sizes or (TINY if tiny else Sizes())
    settings = with_changes(SMALL if tiny else Settings(), options.settings)
    source = Source(options)
    unet = load_unet(source, UNET, sizes, precision_of(options, CARD.precision))
    vae = load_vae(source, VAE, sizes, torch.float32)
    read_text = load_text(source, CLIP, VOCABULARY, sizes)
    return TI2VZero(
        settings=settings,
        unet=made_ready(unet, options),
        vae=vae,
        read_text=read_text,
        batch=options.batch,
        made_of=source.record(),
    )
