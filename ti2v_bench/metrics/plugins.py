"""Opt-in networks from packages that the user installs; imported when such a metric is asked for by name."""

from typing import Any

import torch
from torch import Tensor


class DreamSim:
    """DreamSim's ensemble. The `dreamsim` package (MIT) brings code and weights."""

    identity = "dreamsim ensemble (package dreamsim)"

    def __init__(self, model: Any) -> None:
        self._model = model

    @torch.no_grad()
    def embed(self, pictures: Tensor) -> Tensor:
        """(N, 3, 224, 224) in [0, 1] to (N, 1792)."""
        vectors: Tensor = self._model.embed(pictures)
        return vectors


class Musiq:
    """MUSIQ trained on SPAQ. The `pyiqa` package (PolyForm Noncommercial) brings code and weights."""

    identity = "musiq-spaq (package pyiqa)"

    def __init__(self, model: Any) -> None:
        self._model = model

    @torch.no_grad()
    def rate(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to (N,) in 0-100."""
        ratings: Tensor = self._model(pictures)
        return ratings.reshape(-1).cpu()


def dreamsim() -> DreamSim:
    """Load DreamSim; ImportError where its package is missing."""
    from dreamsim import dreamsim as load  # type: ignore[import-not-found]

    model, _ = load(pretrained=True, device="cpu")
    return DreamSim(model)


def musiq() -> Musiq:
    """Load MUSIQ; ImportError where its package is missing."""
    from pyiqa import create_metric

    return Musiq(create_metric("musiq-spaq", device="cpu"))
