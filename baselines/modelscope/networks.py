"""The parts of a model, with published or random weights, at published or tiny sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection

from baselines.checkpoints import (
    CheckpointError,
    State,
    below,
    build,
    fetch,
    is_random,
    random_state,
    read_state,
    weight_record,
)
from baselines.lvdm.tokenizer import byte_tokenizer, load_tokenizer
from baselines.modelscope.adapter import ReadText
from baselines.modelscope.keys import to_diffusers
from baselines.modelscope.trunk import TrunkShape, build_text_unet
from baselines.nn.openclip import (
    TextShape,
    VisionShape,
    build_text,
    build_vision,
    text_from_openclip,
    vision_from_openclip,
)
from baselines.nn.stable_vae import VaeShape, build_vae, from_compvis
from ti2v_bench.model import ModelOptions, WeightFile

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Sizes:
    """Of all networks of one model; the defaults are the published ones."""

    trunk: TrunkShape = field(default_factory=TrunkShape)
    vae: VaeShape = field(default_factory=VaeShape)
    text: TextShape = field(default_factory=TextShape)
    vision: VisionShape = field(default_factory=VisionShape)


TINY = Sizes(
    TrunkShape(widths=(32, 64), layers=1, context=32, head_dim=8, attention=(True, False)),
    VaeShape(widths=(32, 32, 32, 32), layers=1),
    TextShape(width=32, heads=2, layers=2),
    VisionShape(width=32, heads=2, layers=1, patch=56, projected=32),
)
"""For `random-tiny`: every path, in seconds on a CPU."""


class Source:
    """Where a model's weights come from, and what was taken."""

    def __init__(self, options: ModelOptions) -> None:
        """From the command line's options.

        Raises:
            CheckpointError: `weights` is a file; these models consist of several.
        """
        if options.weights is not None and Path(options.weights).is_file():
            raise CheckpointError(f"{options.weights} is one file; this model has several. Name their folder instead.")
        self.random = is_random(options.weights)
        self.device = options.device
        self._options = options
        self._records: list[dict[str, object]] = []
        self._states: dict[Path, State] = {}

    def path(self, *alternatives: WeightFile) -> Path:
        """The first of several published files that is there.

        Raises:
            CheckpointError: none is; the message is about the first.
        """
        errors = []
        for file in alternatives:
            try:
                path = fetch(file, self._options.weights)
            except CheckpointError as error:
                errors.append(error)
                continue
            record = weight_record(file, path)
            if record not in self._records:
                self._records.append(record)
            return path
        raise errors[0]

    def state(self, *alternatives: WeightFile) -> State:
        """The tensors of `path(*alternatives)`, memory-mapped; read once."""
        path = self.path(*alternatives)
        if path not in self._states:
            self._states[path] = read_state(path)
        return self._states[path]

    def record(self) -> object:
        """For the sidecar: repository, revision, file and sha256 of everything taken, or `random-…`."""
        return self._options.weights if self.random else list(self._records)

    def network(
        self, factory: Callable[[], Network], published: Callable[[], State], file: WeightFile, dtype: torch.dtype
    ) -> Network:
        """What `factory` makes, with `published()` weights under its own names, or with random ones."""
        state = random_state(factory, 0, dtype, self.device) if self.random else published()
        return build(factory, state, expected=file, dtype=dtype, device=self.device)


def load_unet(source: Source, file: WeightFile, sizes: Sizes, dtype: torch.dtype) -> UNet3DConditionModel:
    """ModelScope's text-to-video network."""
    return source.network(
        lambda: build_text_unet(sizes.trunk), lambda: to_diffusers(source.state(file), sizes.trunk), file, dtype
    )


def load_vae(source: Source, file: WeightFile, sizes: Sizes, dtype: torch.dtype) -> AutoencoderKL:
    """The autoencoder, from a file with CompVis' names, alone or as a checkpoint's `first_stage_model`."""

    def published() -> State:
        state = source.state(file)
        return from_compvis(below(state, "first_stage_model.") or state, sizes.vae)

    return source.network(lambda: build_vae(sizes.vae), published, file, dtype)


def load_text(source: Source, file: WeightFile, vocabulary: WeightFile, sizes: Sizes) -> ReadText:
    """OpenCLIP's text tower behind its tokenizer, in float32: prompts to penultimate states."""
    tower = source.network(
        lambda: build_text(sizes.text),
        lambda: text_from_openclip(source.state(file), sizes.text),
        file,
        torch.float32,
    )
    tokenize = byte_tokenizer() if source.random else load_tokenizer(source.path(vocabulary))

    def read_text(prompts: Sequence[str]) -> Tensor:
        states: Tensor = tower(tokenize(prompts).to(source.device)).last_hidden_state
        return states

    return read_text


def load_vision(source: Source, file: WeightFile, sizes: Sizes) -> CLIPVisionModelWithProjection:
    """OpenCLIP's picture tower, in float32."""
    return source.network(
        lambda: build_vision(sizes.vision), lambda: vision_from_openclip(source.state(file)), file, torch.float32
    )
