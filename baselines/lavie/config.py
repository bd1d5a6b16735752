"""What the LaVie U-Net is built from, and how a published configuration is read."""

from collections.abc import Mapping
from dataclasses import dataclass

from ti2v_bench.errors import TI2VError

ROTARY_CHANNELS = 32
"""Channels of each head that carry the rotary embedding; SEINE and Cinemo: `RotaryEmbedding(32)`."""


class ConfigError(TI2VError):
    """A published configuration describes another network than the one written here."""


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


FIXED: Mapping[str, object] = {
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
    "resnet_time_scale_shift": "default",
    "use_first_frame": False,
    "use_relative_position": False,
}
"""Published options that this network implements in one way only."""


def read_config(published: Mapping[str, object]) -> LavieConfig:
    """The configuration in a published `config.json`; absent fields keep the defaults.

    Raises:
        ConfigError: an option has a value that this network does not implement.
    """
    for name, value in FIXED.items():
        if published.get(name, value) != value:
            raise ConfigError(
                f"{name} = {published[name]!r} in the published configuration; only {value!r} is known here"
            )
    default = LavieConfig()
    attention = _attention(published, "down_block_types", ("CrossAttnDownBlock3D", "DownBlock3D"), default.attention)
    upward = _attention(published, "up_block_types", ("CrossAttnUpBlock3D", "UpBlock3D"), attention[::-1])
    if upward != attention[::-1]:
        raise ConfigError(f"up_block_types {published['up_block_types']!r} do not mirror down_block_types")
    return LavieConfig(
        in_channels=_integer(published, "in_channels", default.in_channels),
        out_channels=_integer(published, "out_channels", default.out_channels),
        channels=_integers(published, "block_out_channels", default.channels),
        attention=attention,
        layers=_integer(published, "layers_per_block", default.layers),
        heads=_integer(published, "attention_head_dim", default.heads),
        context=_integer(published, "cross_attention_dim", default.context),
        groups=_integer(published, "norm_num_groups", default.groups),
        eps=_number(published, "norm_eps", default.eps),
    )


def _attention(
    published: Mapping[str, object], name: str, kinds: tuple[str, str], default: tuple[bool, ...]
) -> tuple[bool, ...]:
    names = published.get(name)
    if names is None:
        return default
    if not isinstance(names, list | tuple) or not set(names) <= set(kinds):
        raise ConfigError(
            f"{name} = {names!r} in the published configuration; only {kinds[0]} and {kinds[1]} are known here"
        )
    return tuple(name == kinds[0] for name in names)


def _integer(published: Mapping[str, object], name: str, default: int) -> int:
    value = published.get(name, default)
    if not isinstance(value, int):
        raise ConfigError(f"{name} = {value!r} in the published configuration; expected one whole number")
    return value


def _number(published: Mapping[str, object], name: str, default: float) -> float:
    value = published.get(name, default)
    if not isinstance(value, int | float):
        raise ConfigError(f"{name} = {value!r} in the published configuration; expected a number")
    return float(value)


def _integers(published: Mapping[str, object], name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    value = published.get(name, default)
    if not isinstance(value, list | tuple) or not all(isinstance(item, int) for item in value):
        raise ConfigError(f"{name} = {value!r} in the published configuration; expected whole numbers")
    return tuple(value)
