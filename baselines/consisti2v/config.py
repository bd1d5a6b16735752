"""What ConsistI2V's U-Net is built from, and how its published configuration is read."""

from dataclasses import dataclass

from baselines.diffusers_config import ConfigError, Published, attention_levels, integer, integers, number, require


@dataclass(frozen=True)
class ConsistConfig:
    """Shape of the U-Net. Defaults: SD 2.1-base's, with the arguments of `configs/inference/inference.yaml`."""

    in_channels: int = 4
    out_channels: int = 4
    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    """Width of each level, finest first."""
    attention: tuple[bool, ...] = (True, True, True, False)
    """Which levels have spatial and temporal transformers; the middle has a spatial one."""
    layers: int = 2
    """ResNets per level on the way down; one more on the way up."""
    heads: tuple[int, ...] = (5, 10, 20, 20)
    """Heads of the spatial attention at each level (published as `attention_head_dim`)."""
    temporal_heads: int = 8
    context: int = 1024
    """Width of the text states."""
    groups: int = 32
    eps: float = 1e-5
    """Of the ResNets' group norms; transformers and temporal ResNets have 1e-6, layer norms 1e-5."""
    frames: int = 16
    """Frames of a clip, the first one included."""

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.attention) == len(self.heads):
            raise ConfigError(
                f"{len(self.channels)} levels, {len(self.attention)} attention flags and {len(self.heads)} head counts"
            )


FIXED: Published = {
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "act_fn": "silu",
    "use_linear_projection": True,
    "dual_cross_attention": False,
    "class_embed_type": None,
    "time_embedding_type": "positional",
    "time_embedding_act_fn": None,
    "timestep_post_act": None,
    "attention_type": "default",
    "resnet_time_scale_shift": "default",
    "transformer_layers_per_block": 1,
    "use_temporal": True,
    "augment_temporal_attention": True,
    "first_frame_condition_mode": "concat",
    "temp_pos_embedding": "rotary",
    "use_frame_stride_condition": True,
}
"""Published options that this network implements in one way only."""
OVERRIDES: Published = {
    "use_temporal": True,
    "augment_temporal_attention": True,
    "n_frames": 16,
    "n_temp_heads": 8,
    "first_frame_condition_mode": "concat",
    "temp_pos_embedding": "rotary",
    "use_frame_stride_condition": True,
}
"""configs/inference/inference.yaml, unet_additional_kwargs: they override whatever the stored configuration says."""


def read_config(published: Published) -> ConsistConfig:
    """The configuration in a published `config.json`; absent fields keep the defaults.

    Raises:
        ConfigError: an option has a value that this network does not implement.
    """
    require(published, FIXED)
    default = ConsistConfig()
    channels = integers(published, "block_out_channels", default.channels)
    return ConsistConfig(
        in_channels=integer(published, "in_channels", default.in_channels),
        out_channels=integer(published, "out_channels", default.out_channels),
        channels=channels,
        attention=attention_levels(published, default.attention, "2D"),
        layers=integer(published, "layers_per_block", default.layers),
        heads=integers(published, "attention_head_dim", default.heads, levels=len(channels)),
        temporal_heads=integer(published, "n_temp_heads", default.temporal_heads),
        context=integer(published, "cross_attention_dim", default.context),
        groups=integer(published, "norm_num_groups", default.groups),
        eps=number(published, "norm_eps", default.eps),
        frames=integer(published, "n_frames", default.frames),
    )
