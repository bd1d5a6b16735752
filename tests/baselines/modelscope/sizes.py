"""Sizes of the networks in fixtures, in the words of the official configurations."""

from collections.abc import Mapping
from typing import Any

from baselines.modelscope.trunk import TrunkShape


def of_vgen(config: Mapping[str, Any]) -> TrunkShape:
    """From the arguments of `UNetSD`."""
    levels = range(len(config["dim_mult"]))
    return TrunkShape(
        widths=tuple(config["dim"] * factor for factor in config["dim_mult"]),
        layers=config["num_res_blocks"],
        context=config["context_dim"],
        head_dim=config["head_dim"],
        attention=tuple(1 / 2**level in config["attn_scales"] for level in levels),
        input_heads=config["num_heads"],
        picture=config["y_dim"],
    )


def of_diffusers(config: Mapping[str, Any]) -> TrunkShape:
    """From the arguments of diffusers' `UNet3DConditionModel`."""
    return TrunkShape(
        widths=tuple(config["block_out_channels"]),
        layers=config["layers_per_block"],
        context=config["cross_attention_dim"],
        head_dim=config["attention_head_dim"],
        attention=tuple(name.startswith("CrossAttn") for name in config["down_block_types"]),
    )
