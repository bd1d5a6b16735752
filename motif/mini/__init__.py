"""MotiF in miniature: a small pixel-space model on the drawn `shapes` world, its study and its two checkpoints."""
