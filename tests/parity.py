"""Reads fixtures in the form of `shared/parity`: `<name>.json` explains `<name>.safetensors`."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor


@dataclass(frozen=True)
class Parity:
    """One recorded fixture; everything a test builds comes from its own `.json`."""

    path: Path
    """The `.json` file."""

    @property
    def name(self) -> str:
        return self.path.stem

    @cached_property
    def info(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.path.read_text())
        return loaded

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        return load_file(self.path.with_suffix(".safetensors"))

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Tensors below `prefix.`, without it; stored half and float8 tensors as float32."""
        found = {
            key.removeprefix(prefix + "."): value for key, value in self.tensors.items() if key.startswith(prefix + ".")
        }
        return {key: _full(value) for key, value in found.items()}

    def weights(self) -> dict[str, Tensor]:
        """The network's weights: its own, or those of the U-Net's fixture that the `.json` names."""
        if own := self.group("weights"):
            return own
        name = next(word.strip(".,;()") for word in self.info["weights"].split() if "unet" in word)
        return self.sibling(name).group("weights")

    def sibling(self, name: str) -> "Parity":
        """Another fixture of the same folder, e.g. the one that holds this sampler's weights."""
        return Parity(self.path.with_name(name.removesuffix(".safetensors").removesuffix(".json") + ".json"))


def _full(value: Tensor) -> Tensor:
    small = (torch.float16, torch.bfloat16, torch.float8_e4m3fn)
    return value.float() if value.dtype in small else value
