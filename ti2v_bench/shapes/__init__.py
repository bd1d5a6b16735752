"""A world drawn by our own code: scenes from a seed, prompts that are true of them, and the true videos."""

from ti2v_bench.shapes.drawing import actor_alpha, render
from ti2v_bench.shapes.folder import SCENES, read_scenes, reference_frames, write_shapes
from ti2v_bench.shapes.sampling import sample_actions, sample_scenes
from ti2v_bench.shapes.scenes import ActorPath, Scenes, actor_path, from_json, join, to_json
from ti2v_bench.shapes.truth import Truth, displacement, motion_mask, prompts, truth
from ti2v_bench.shapes.words import COLOURS, KINDS, MOTIONS, PLACES, TEXTURES, Combination, ShapesError, Vocabulary

__all__ = [
    "COLOURS",
    "KINDS",
    "MOTIONS",
    "PLACES",
    "SCENES",
    "TEXTURES",
    "ActorPath",
    "Combination",
    "Scenes",
    "ShapesError",
    "Truth",
    "Vocabulary",
    "actor_alpha",
    "actor_path",
    "displacement",
    "from_json",
    "join",
    "motion_mask",
    "prompts",
    "read_scenes",
    "reference_frames",
    "render",
    "sample_actions",
    "sample_scenes",
    "to_json",
    "truth",
    "write_shapes",
]
