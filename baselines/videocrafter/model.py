"""Builds the model for the registry."""

from baselines.lvdm.model import LVDM, build_lvdm
from baselines.settings import with_changes
from baselines.videocrafter.settings import Settings, recipe
from ti2v_bench.model import ModelOptions


def build(options: ModelOptions) -> LVDM:
    """The model with the user's settings, weights, device and precision."""
    return build_lvdm(recipe(with_changes(Settings(), options.settings)), options)
