"""The one form in which annotators see every video; a study records it. It is described without importing a decoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal


@dataclass(frozen=True)
class PresentationPolicy:
    """How every Video is brought to one form; the defaults are the published study's form."""

    width: int = 320
    height: int = 320
    frames: int = 16
    fps: Fraction = Fraction(8)
    fit: Literal["crop", "pad"] = "crop"
    """`crop` fills the picture and cuts what stands out, centred; `pad` shows all of it on black."""
    timing: Literal["whole", "speed"] = "whole"
    """`whole` spreads the frames evenly from the first to the last, so the clip's speed may change;
    `speed` keeps the clip's own speed: a longer clip is cut, a shorter one rests on its last frame."""
    crf: int = 10
    """x264's constant rate factor; lower is better."""
    size_step: int = 3 << 18
    """Files are filled up to a multiple of this many bytes, so that their size says little; 0: not at all. At the
    default form, real clips of five models take 110 to 610 KiB, so they all come out at 768 KiB."""

    def settings(self) -> dict[str, object]:
        """All fields, JSON-ready, to be recorded."""
        return {**vars(self), "fps": str(self.fps)}

    @classmethod
    def from_settings(cls, settings: Mapping[str, object]) -> "PresentationPolicy":
        """The policy that `settings()` was taken from."""
        return cls(**{**settings, "fps": Fraction(str(settings["fps"]))})  # type: ignore[arg-type]


PUBLISHED_FORM = PresentationPolicy()
"""The form of the published study's own clips."""
