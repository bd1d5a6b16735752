"""Two models that every study can carry: the floor and the ceiling of what annotators may prefer."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from ti2v_bench.errors import TI2VError
from ti2v_bench.model import Frames, ModelCard, ModelOptions
from ti2v_bench.pictures import read_picture
from ti2v_bench.records import Pair

STATIC = ModelCard(
    name="static",
    title="Static image",
    source="this project: the pair's image, repeated (the floor of the published table)",
    licence="Apache-2.0",
    frames=16,
    fps=8,
    size="the image's own",
    precision="exact",
    notes=(
        "settings: frames (default 16)",
        "an odd last row or column of the image is dropped: H.264 needs even sizes",
    ),
)

REFERENCE = ModelCard(
    name="reference",
    title="Reference",
    source="this project: the true video of each pair of the embedded bench `shapes`",
    licence="Apache-2.0",
    frames=16,
    fps=8,
    size="the bench's own",
    precision="exact",
    notes=("works only on benches made by `ti2v-bench bench draw`, which know their true videos",),
)


class ControlError(TI2VError):
    """A control model cannot do what it was asked."""


class Static:
    """Repeats the image."""

    name = "static"
    fps = 8

    def __init__(self, frames: int = 16) -> None:
        self.frames = frames

    def generate(self, pair: Pair, seed: int) -> Frames:  # noqa: ARG002 - the same for every seed
        """The image, `frames` times; an odd last row or column is dropped."""
        picture = read_picture(pair.image)
        even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
        return np.repeat(even[None], self.frames, axis=0)

    def provenance(self) -> dict[str, object]:
        """See Traceable."""
        return {"settings": {"frames": self.frames}, "weights": None, "precision": "exact", "device": "cpu"}


class Reference:
    """The true video of each pair of the embedded bench."""

    name = "reference"

    def __init__(self, bench: Path, fps: int) -> None:
        self.bench = bench
        self.fps: int | Fraction = fps

    def generate(self, pair: Pair, seed: int) -> Frames:  # noqa: ARG002 - there is one truth
        """The scene of the pair, drawn anew."""
        from ti2v_bench.shapes import reference_frames

        return reference_frames(self.bench, pair)

    def provenance(self) -> dict[str, object]:
        """See Traceable."""
        return {"settings": {}, "weights": None, "precision": "exact", "device": "cpu"}


def build_static(options: ModelOptions) -> Static:
    """Build the floor.

    Raises:
        ControlError: an unknown setting, or frames that are no positive number.
    """
    _refuse_unknown(options, "static", ("frames",))
    text = options.settings.get("frames", "16")
    if not text.isdecimal() or int(text) < 1:
        raise ControlError(f"Setting frames={text!r} of 'static' must be a number from 1 on.")
    return Static(int(text))


def build_reference(options: ModelOptions) -> Reference:
    """Build the ceiling.

    Raises:
        ControlError: no bench is given, or there are settings.
        ShapesError: the bench knows no true videos.
    """
    from ti2v_bench.shapes import read_scenes

    _refuse_unknown(options, "reference", ())
    if options.bench is None:
        raise ControlError("Model 'reference' needs the bench whose true videos it shall show. Give --bench.")
    return Reference(options.bench, read_scenes(options.bench)[0]["fps"])


def _refuse_unknown(options: ModelOptions, model: str, known: tuple[str, ...]) -> None:
    for name in options.settings:
        if name not in known:
            raise ControlError(f"Model {model!r} has no setting {name!r}. Known: {', '.join(known) or 'none'}.")
