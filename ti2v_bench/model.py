"""What the runner needs of a text-image-to-video model, and what a reader needs to know of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.records import Pair

Frames = NDArray[np.uint8]
"""RGB frames of one video, (F, H, W, 3) uint8."""


class Model(Protocol):
    """Anything with a name that turns (Pair, seed) into frames."""

    name: str
    fps: int | Fraction

    def generate(self, pair: Pair, seed: int) -> Frames:
        """Return uint8 frames of shape (F, H, W, 3); same pair and seed, same frames."""


@runtime_checkable
class BatchModel(Protocol):
    """A Model that is faster on several pairs at once; each result equals `generate` of that pair alone."""

    name: str
    fps: int | Fraction
    batch: int
    """How many pairs one call may take."""

    def generate(self, pair: Pair, seed: int) -> Frames:
        """As in Model."""

    def generate_batch(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> list[Frames]:
        """One entry of frames per pair, in order."""


@runtime_checkable
class Traceable(Protocol):
    """A Model that can say what it is made of, for the sidecar beside each video."""

    def provenance(self) -> Mapping[str, object]:
        """`settings`, `weights` (repo, revision, file, sha256, or `random-…`), `precision`, `device`, JSON-ready."""


@dataclass(frozen=True)
class ModelOptions:
    """What a user may choose when a registered model is built."""

    device: str = "cpu"
    weights: str | None = None
    """None: the published ones from the Hub; `random-tiny`, `random-full`; or a local file or folder."""
    precision: str | None = None
    """None: the official one. Otherwise `float32`, `float16` or `bfloat16`."""
    bench: Path | None = None
    """Folder of the bench whose pairs will be asked for (only the `reference` control reads it)."""
    batch: int = 1
    """Pairs per call, for models that can."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Changes to the model's own settings, by field name, as text from the command line."""
    fast: bool = False
    """The model's fast form, for models whose card has one: same mathematics, other rounding. False: exactly as the
    parity tests check it."""
    compile_cache: Path | None = None
    """Folder in which the fast form keeps what it compiled; None: the user's cache folder."""


@dataclass(frozen=True)
class WeightFile:
    """One published file that a model loads."""

    repo: str
    """Hub repository, `owner/name`."""
    file: str
    """Path inside the repository."""
    revision: str | None = None
    """Pinned commit, or None where no public source that we could read states one."""
    sha256: str | None = None
    bytes: int | None = None
    """Size on disk, or None where unknown."""
    licence: str = "unknown"


@dataclass(frozen=True)
class ModelCard:
    """What `models list` and `models show` print; plain text and numbers, no torch."""

    name: str
    title: str
    """Name as the paper's tables print it."""
    source: str
    """Official repository and commit, or what else the model is."""
    licence: str
    weights: tuple[WeightFile, ...] = ()
    frames: int | None = None
    fps: int | None = None
    size: str = ""
    """Height x width in pixels at the default setting, or in words."""
    precision: str = ""
    """The official precision class."""
    parameters: float | None = None
    """Parameters of the denoising network, in millions."""
    fast: bool = False
    """Whether there is a fast form, `generate --fast`."""
    gpu_memory_gib: float | None = None
    """Measured peak of a sampling step at the default setting, exact form, one pair, all the model's networks loaded
    (results/speed, rounded up to a tenth); None where not measured."""
    notes: tuple[str, ...] = ()
    """Decisions a user should know: contradictions in what was published, choices made, alternatives."""
