"""What `models list` prints of the two shipped checkpoints. No torch here."""

from ti2v_bench.model import ModelCard

_NOTES = (
    "A toy, trained on the drawn `shapes` world alone: it knows only that world's words and pictures.",
    "`motif-mini` and `plain-mini` were trained on the same clips in the same order from the same initial weights; "
    "lambda is 1 in the first and 0 in the second. results/mini_motif holds the study.",
)

MOTIF_MINI = ModelCard(
    name="motif-mini",
    title="MotiF-mini",
    source="this project: motif/mini, trained with the motion focal loss (lambda 1)",
    licence="Apache-2.0",
    frames=8,
    fps=4,
    size="64x64",
    precision="float32",
    parameters=6.31,
    notes=_NOTES,
)

PLAIN_MINI = ModelCard(
    name="plain-mini",
    title="Plain-mini",
    source="this project: motif/mini, trained with the plain diffusion loss (lambda 0)",
    licence="Apache-2.0",
    frames=8,
    fps=4,
    size="64x64",
    precision="float32",
    parameters=6.31,
    notes=_NOTES,
)
"""The same in all else as MOTIF_MINI."""
