"""What `models list` prints of the two shipped checkpoints. No torch here."""

from ti2v_bench.model import ModelCard

_TRAINING = (
    "A toy, trained on the drawn `shapes` world alone: it knows only that world's words and pictures.",
    "5000 steps of 32 clips (64x64, 8 frames), AdamW 5e-4, EMA 0.99, v-prediction, 10 % text drop, seed 0, one H100; "
    "heatmaps from DIS flow. `motif-mini` and `plain-mini` differ in lambda alone (1 and 0): same initial weights, "
    "same clips in the same order.",
)
_DIFFERENCE = (
    "One seed; over 192 test scenes the difference between the two is 9 points [3, 16] for lambda 1. "
    "docs/motif.md and results/mini_motif tell what was and was not found."
)


def _card(name: str, title: str, loss: str, right: str) -> ModelCard:
    return ModelCard(
        name=name,
        title=title,
        source=f"this project: motif/mini, trained with the {loss}",
        licence="Apache-2.0",
        frames=8,
        fps=4,
        size="64x64",
        precision="float32",
        parameters=6.31,
        notes=(*_TRAINING, f"Did what the prompt asks in {right} (95 % Wilson intervals).", _DIFFERENCE),
    )


MOTIF_MINI = _card(
    "motif-mini",
    "MotiF-mini",
    "motion focal loss (lambda 1)",
    "65 % [55, 73] of 96 test scenes with trained combinations of words, and in 61 % [51, 71] of 96 with held-out ones",
)
PLAIN_MINI = _card(
    "plain-mini",
    "Plain-mini",
    "plain diffusion loss (lambda 0)",
    "57 % [47, 67] of 96 test scenes with trained combinations of words, and in 50 % [40, 60] of 96 with held-out ones",
)
"""The same in all else as MOTIF_MINI."""
