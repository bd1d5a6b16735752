"""Networks and settings as recorded fixtures describe them."""

from functools import cache
from typing import Any

import torch

from baselines.checkpoints import build
from baselines.lvdm.settings import UNetSettings
from baselines.lvdm.unet import UNet
from tests.parity import Parity
from ti2v_bench.model import WeightFile

FILE = WeightFile("recorded/fixture", "fixture.safetensors")

_SAME = (
    "in_channels", "out_channels", "model_channels", "num_res_blocks", "num_head_channels", "transformer_depth",
    "context_dim",
)  # fmt: skip
_TEMPORAL_DEPTH = "temporal_transformer_depth"
"""In VideoCrafter's code; DynamiCrafter's gives its temporal transformers the depth of the spatial ones."""
_FIXED = {
    "use_linear": True, "temporal_conv": True, "temporal_attention": True, "temporal_selfatt_only": True,
    "use_relative_position": False, "use_causal_attention": False, "addition_attention": True,
}  # fmt: skip


def unet_settings(fixture: Parity) -> UNetSettings:
    """Settings of the network that a `*_unet_*` fixture was recorded from."""
    config: dict[str, Any] = fixture.info["config"]
    for name, value in _FIXED.items():
        assert config[name] == value, f"{fixture.name}: no published network has {name} = {config[name]}"
    per_frame = "image_cross_attention" in config  # DynamiCrafter's code
    return UNetSettings(
        **{name: config[name] for name in _SAME},
        temporal_transformer_depth=config["transformer_depth"] if per_frame else config.get(_TEMPORAL_DEPTH, 1),
        channel_mult=tuple(config["channel_mult"]),
        attention_resolutions=tuple(config["attention_resolutions"]),
        image_attention=bool(config.get("image_cross_attention") or config.get("use_image_attention")),
        image_scale_learnable=bool(config.get("image_cross_attention_scale_learnable")),
        image_tokens_per_frame=16 if per_frame else None,
        default_fps=config.get("default_fs", 16),
    )


@cache
def recorded_unet(fixture: Parity, dtype: torch.dtype = torch.float32) -> UNet:
    """That network with its recorded weights; made once, so leave it as it is."""
    settings = unet_settings(fixture)
    return build(lambda: UNet(settings), fixture.group("weights"), expected=FILE, dtype=dtype)
