"""What the LaVie U-Net is built from, and how a published configuration is read."""

from dataclasses import dataclass

from baselines.diffusers_config import ConfigError, Published, attention_levels, integer, integers, number, require

ROTARY_CHANNELS = 32
"""Channels of each head that carry the rotary embedding; SEINE and Cinemo: `RotaryEmbedding(32)`."""


@dataclass(frozen=True)
class LavieConfig:
    """Shape of the U-Net. Defaults: Stable Diffusion 1.4's U-Net, quoted in SEINE's `from_pretrained_2d`."""

    in_channels: int = 4
    out_channels: int = 4
    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    """Width of each level, finest first."""
    attention: tuple[bool, ...] = (True, True, True, False)
    """Which levels have transformers; the middle always has one."""
    layers: int = 2
    """ResNets per level on the way down; one more on the way up."""
    heads: int = 8
    """Number of heads (published as `attention_head_dim`, an old misnomer)."""
    context: int = 768
    """Width of the text states."""
    groups: int = 32
    eps: float = 1e-5
    """Of the ResNets' group norms; transformers have 1e-6, layer norms 1e-5."""

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.attention):
            raise ConfigError(f"{len(self.channels)} levels but {len(self.attention)} attention flags")
        if min(self.channels) // self.heads < ROTARY_CHANNELS:
            raise ConfigError(
                f"heads of {min(self.channels) // self.heads} channels cannot carry the rotary embedding of "
                f"{ROTARY_CHANNELS}; use fewer than {self.heads} heads or wider levels"
            )


FIXED: Published = {
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock3DCrossAttn",
    "act_fn": "silu",
    "use_linear_projection": False,
    "upcast_attention": False,
    "dual_cross_attention": False,
    "only_cross_attention": False,
    "class_embed_type": None,
    "time_embedding_type": "positional",
    "time_embedding_act_fn": None,
    "timestep_post_act": None,
    "resnet_time_scale_shift": "default",
    "use_first_frame": False,
    "use_relative_position": False,
}
"""Published options that this network implements in one way only."""


def read_config(published: Published) -> LavieConfig:
    """The configuration in a published `config.json`; absent fields keep the defaults.

    Raises:
        ConfigError: an option has a value that this network does not implement.
    """
    require(published, FIXED)
    default = LavieConfig()
    return LavieConfig(
        in_channels=integer(published, "in_channels", default.in_channels),
        out_channels=integer(published, "out_channels", default.out_channels),
        channels=integers(published, "block_out_channels", default.channels),
        attention=attention_levels(published, default.attention, "3D"),
        layers=integer(published, "layers_per_block", default.layers),
        heads=integer(published, "attention_head_dim", default.heads),
        context=integer(published, "cross_attention_dim", default.context),
        groups=integer(published, "norm_num_groups", default.groups),
        eps=number(published, "norm_eps", default.eps),
    )
