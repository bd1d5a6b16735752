"""The nouns that every floor shares. Data only: no file is read and nothing is computed here."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """One image and one prompt of a bench; what a model is asked to animate."""

    id: str
    """`<image stem>_<slug of prompt>`, unique within its bench."""
    image_id: str
    """Stem of the image file, e.g. `horse4`."""
    scenario: str
    """Image stem without trailing digits (`meadow_*` is one scenario)."""
    prompt: str
    """The prompt as written in the bench."""
    image: Path
    """Absolute path of the image file."""


@dataclass(frozen=True)
class Job:
    """One video to be made: which model, which pair, which seed."""

    model: str
    pair: Pair
    seed: int

    def path(self, root: Path) -> Path:
        """Where this job's video lies below `root`: `<model>/<pair_id>_<seed>.mp4`."""
        return root / self.model / f"{self.pair.id}_{self.seed}.mp4"


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty; `value` is None where the data cannot say, and `why` tells the reason."""

    value: float | None
    low: float | None
    high: float | None
    level: float
    """Two-sided coverage of [low, high], in (0, 1)."""
    n: int
    """What was counted: pairs for `majority`, votes for `vote_share`; the method says which."""
    method: str
    """How value and interval were made, in words that a reader can look up."""
    why: str | None = None
    """Reason for a missing value or interval."""

    def __str__(self) -> str:
        if self.value is None:
            return f"– ({self.why}; n={self.n})"
        if self.low is None or self.high is None:
            return f"{self.value:.1%} (no interval: {self.why}; n={self.n})"
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}] (n={self.n})"
