"""What the three adapters have in common: their parts, one video at a time, the record, a network made ready."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from baselines.adapter import settings_record
from baselines.fast import speed_up
from baselines.modelscope.blocks import BLOCKS, join_projections
from ti2v_bench.model import Frames, ModelOptions
from ti2v_bench.records import Pair

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    class _Settings(DataclassInstance, Protocol):
        @property
        def fps(self) -> int: ...

    SettingsOf = TypeVar("SettingsOf", bound=_Settings)
else:
    SettingsOf = TypeVar("SettingsOf")

UnetOf = TypeVar("UnetOf", bound=ModelMixin)

ReadText = Callable[[Sequence[str]], Tensor]
"""Prompts to text states, (N, L, D), on the model's device."""


@dataclass(kw_only=True)
class Adapter(ABC, Generic[SettingsOf, UnetOf]):
    """A model of the family; a subclass says how prepared pairs become videos."""

    settings: SettingsOf
    unet: UnetOf
    vae: AutoencoderKL
    read_text: ReadText
    batch: int = 1
    made_of: object = None
    """Weights for the sidecar."""
    name: str

    @property
    def fps(self) -> int:
        """Frame rate of the video."""
        return self.settings.fps

    @abstractmethod
    def generate_batch(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> list[Frames]:
        """One video per pair, (F, H, W, 3) uint8."""

    def generate(self, pair: Pair, seed: int) -> Frames:
        """One video."""
        return self.generate_batch([pair], [seed])[0]

    def provenance(self) -> Mapping[str, object]:
        """What the sidecar says of this model."""
        return {
            "settings": settings_record(self.settings),
            "weights": self.made_of,
            "precision": str(self.unet.dtype).removeprefix("torch."),
            "device": str(self.unet.device),
        }


def made_ready(unet: UnetOf, options: ModelOptions) -> UnetOf:
    """The loaded network with joined projections and, where asked for, in its fast form."""
    join_projections(unet)
    if options.fast:
        speed_up(unet, BLOCKS, options.compile_cache)
    return unet


def both(predicted: Tensor) -> tuple[Tensor, Tensor]:
    """The halves of a batch that held two guidance branches."""
    first, second = predicted.chunk(2)
    return first, second
