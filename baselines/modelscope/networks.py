"""The parts of a model, with published or random weights, at published or tiny sizes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from baselines.checkpoints import State, below, read_state
from baselines.lvdm.tokenizer import byte_tokenizer, load_tokenizer
from baselines.modelscope.adapter import ReadText
from baselines.modelscope.keys import to_diffusers
from baselines.modelscope.trunk import TrunkShape, build_text_unet
from baselines.modelscope.unet import TextUnet
from baselines.nn.openclip import (
    TextShape,
    VisionShape,
    build_text,
    build_vision,
    text_from_openclip,
    vision_from_openclip,
)
from baselines.nn.stable_vae import VaeShape, build_vae, from_compvis
from baselines.source import Source
from ti2v_bench.model import WeightFile


@dataclass(frozen=True)
class Sizes:
    """Of all networks of one model; the defaults are the published ones."""

    trunk: TrunkShape = field(default_factory=TrunkShape)
    vae: VaeShape = field(default_factory=VaeShape)
    text: TextShape = field(default_factory=TextShape)
    vision: VisionShape = field(default_factory=VisionShape)


TINY = Sizes(
    TrunkShape(widths=(32, 64), layers=1, context=32, head_dim=8, attention=(True, False), picture=32),
    VaeShape(widths=(32, 32, 32, 32), layers=1),
    TextShape(width=32, heads=2, layers=2),
    VisionShape(width=32, heads=2, layers=1, patch=56, projected=32),
)
"""For `random-tiny`: every path, in seconds on a CPU."""


def load_unet(source: Source, file: WeightFile, sizes: Sizes, dtype: torch.dtype) -> TextUnet:
    """ModelScope's text-to-video network."""
    return source.network(
        lambda: build_text_unet(sizes.trunk), file, dtype, lambda path: to_diffusers(read_state(path), sizes.trunk)
    )


def load_vae(source: Source, file: WeightFile, sizes: Sizes, dtype: torch.dtype) -> AutoencoderKL:
    """The autoencoder, from a file with CompVis' names, alone or as a checkpoint's `first_stage_model`."""

    def published(path: Path) -> State:
        state = read_state(path)
        return from_compvis(below(state, "first_stage_model.") or state, sizes.vae)

    return source.network(lambda: build_vae(sizes.vae), file, dtype, published)


def load_text(source: Source, file: WeightFile, vocabulary: WeightFile, sizes: Sizes) -> ReadText:
    """OpenCLIP's text tower behind its tokenizer, in float32: prompts to penultimate states."""
    tower = source.network(
        lambda: build_text(sizes.text),
        file,
        torch.float32,
        lambda path: text_from_openclip(read_state(path), sizes.text),
    )
    tokenize = byte_tokenizer() if source.random else load_tokenizer(source.path(vocabulary))

    def read_text(prompts: Sequence[str]) -> Tensor:
        states: Tensor = tower(tokenize(prompts).to(source.device)).last_hidden_state
        return states

    return read_text


def load_vision(source: Source, file: WeightFile, sizes: Sizes) -> CLIPVisionModelWithProjection:
    """OpenCLIP's picture tower, in float32."""
    return source.network(
        lambda: build_vision(sizes.vision),
        file,
        torch.float32,
        lambda path: vision_from_openclip(read_state(path)),
    )
