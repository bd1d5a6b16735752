"""How flow becomes a heatmap. No torch here."""

from dataclasses import dataclass
from typing import Literal, get_args

from ti2v_bench.errors import TI2VError

FlowUnit = Literal["size", "half_size", "diag", "minmax_clip", "pixel"]
Variant = Literal["motion", "inverse", "binary"]


class HeatmapError(TI2VError):
    """Settings or flow that no heatmap can be made of."""


@dataclass(frozen=True)
class HeatmapSettings:
    """How flow becomes a heatmap; part of every cache key and every log."""

    unit: FlowUnit = "size"
    """What x is measured in. `size`: (u/W, v/H), our default (best fit to the published pictures; the paper does not
    say). `half_size`: (2u/W, 2v/H). `diag`: pixels over the diagonal. `minmax_clip`: scaled to [0, 1] over the clip.
    `pixel`: plain pixels (saturates at 1-pixel motion; only for comparison)."""
    threshold: float = 0.05
    """sigma = 0.5 here; published."""
    slope: float = 100.0
    """Published."""
    variant: Variant = "motion"
    """`motion`: sigma(x). `inverse`: 1 - sigma(x), our reading of the paper's Inv-MotiF, whose formula is not given.
    `binary`: 1 where x > threshold, else 0 (stands in for a mask where no segmentation is at hand)."""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("unit", self.unit, get_args(FlowUnit)),
            ("variant", self.variant, get_args(Variant)),
        ):
            if value not in known:
                raise HeatmapError(f"Heatmap {name} {value!r} is unknown. Known: {', '.join(known)}.")
