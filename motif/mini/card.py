"""What `models list` prints of the two shipped checkpoints. No torch here."""

from ti2v_bench.model import ModelCard

_TRAINING = (
    "A toy, trained on the drawn `shapes` world alone: it knows only that world's words and pictures.",
    "5000 steps of 32 clips (64x64, 8 frames), AdamW 5e-4, EMA 0.99, v-prediction, 10 % text drop, seed 0, one H100; "
    "heatmaps from DIS flow. `motif-mini` and `plain-mini` differ in lambda alone (1 and 0): same initial weights, "
    "same clips in the same order.",
)
_DIFFERENCE = (
    "One seed; the difference between the two, -4.2 points [-9.9, 1.6] for lambda 1, is not significant. "
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
    "59 % [49, 69] of 96 test scenes with trained combinations of words, and in 49 % [39, 59] of 96 with held-out ones",
)
PLAIN_MINI = _card(
    "plain-mini",
    "Plain-mini",
    "plain diffusion loss (lambda 0)",
    "63 % [53, 71] of 96 test scenes with trained combinations of words, and in 54 % [44, 64] of 96 with held-out ones",
)
"""The same in all else as MOTIF_MINI."""
