"""What the study compares, and everything that decides its numbers."""

from dataclasses import dataclass, field

from motif.mini.net import MiniSettings
from motif.mini.text import WORDS_PER_PROMPT, vocabulary
from motif.mini.training import TrainSettings
from ti2v_bench.motion.settings import HeatmapSettings

UNIT = HeatmapSettings(unit="half_size")
"""Of all cells that do not name another. On the drawn clips m squared, which is what lambda multiplies, averages 0.2 to
0.35 on a moving object with `size` and 0.7 to 0.9 with `half_size` (DIS at 64 pixels): only there does lambda = 1 mean
that a moving pixel counts about twice."""


@dataclass(frozen=True)
class Cell:
    """One setting of the ablation."""

    weight: float
    """lambda."""
    heat: HeatmapSettings | None = UNIT
    """None: the drawing's own mask of the moving object, in the place of the paper's SAM masks."""
    conditioning: str = "x-cat"


CELLS: dict[str, Cell] = {
    "plain": Cell(0.0),
    "lambda-1": Cell(1.0),
    "inverse": Cell(1.0, HeatmapSettings(unit="half_size", variant="inverse")),
    "lambda-5": Cell(5.0),
    "cx-attn": Cell(0.0, conditioning="cx-attn"),
    "both": Cell(0.0, conditioning="both"),
    "lambda-2": Cell(2.0),
    "lambda-0.5": Cell(0.5),
    "mask": Cell(1.0, None),
    "size": Cell(1.0, HeatmapSettings(unit="size")),
    "minmax_clip": Cell(1.0, HeatmapSettings(unit="minmax_clip")),
    "diag": Cell(1.0, HeatmapSettings(unit="diag")),
}
"""In the order in which they are run. Unless named otherwise: x-cat, heatmap of estimated flow in UNIT. As in the
paper's Table 3, the conditioning variants are compared without the motion focal loss."""


@dataclass(frozen=True)
class StudySettings:
    """Everything that decides the numbers but the cell and the seed."""

    size: int = 64
    flow_size: int = 64
    """Side of the frames on which flow is estimated."""
    channels: tuple[int, ...] = (32, 64, 128, 192)
    """Of the network's levels; the grids of 8 cells and less have attention."""
    frames: int = 8
    clips: int = 16384
    """Training clips."""
    words: str = "small"
    """Key of `motif.mini.world.WORDS`."""
    tests: int = 192
    """Generated per checkpoint: the first half from the training words' combinations, the second held out."""
    checkpoints: tuple[int, ...] = (200, 400, 700, 1100, 1500)
    """Steps at which a run is measured; the last one ends it."""
    ddim: int = 8
    guidance: float = 2.0
    train: TrainSettings = field(default_factory=TrainSettings)
    tiny: bool = False
    """A toy network, to try the study on a CPU."""

    def net(self) -> MiniSettings:
        """The network of every cell."""
        known = len(vocabulary()) + 2
        if self.tiny:
            return MiniSettings(
                known, WORDS_PER_PROMPT, self.size, self.frames, 4, (32, 32), (False, True), 32, direct=True
            )
        attention = tuple(self.size // 2 // 2**level <= 8 for level in range(len(self.channels)))
        return MiniSettings(
            known, WORDS_PER_PROMPT, self.size, self.frames, channels=self.channels, attention=attention, direct=True
        )
