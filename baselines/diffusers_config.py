"""Reads the `config.json` beside published diffusers weights; whatever we do not implement is refused by name."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from ti2v_bench.errors import TI2VError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Published = Mapping[str, object]
"""A `config.json`."""


class ConfigError(TI2VError):
    """A published configuration describes another network than the one written here."""


def require(published: Published, fixed: Published) -> None:
    """Check options that are implemented in one way only.

    Raises:
        ConfigError: an option is there with another value than in `fixed`.
    """
    for name, value in fixed.items():
        if published.get(name, value) != value:
            raise ConfigError(
                f"{name} = {published[name]!r} in the published configuration; only {value!r} is known here."
            )


def attention_levels(published: Published, default: tuple[bool, ...], kind: str) -> tuple[bool, ...]:
    """Which levels have transformers, from `down_block_types`; `up_block_types` must mirror them.

    Args:
        published: the configuration.
        default: for an absent field.
        kind: suffix of the block names, `2D` or `3D`.
    """
    down = _block_types(published, "down_block_types", (f"CrossAttnDownBlock{kind}", f"DownBlock{kind}"), default)
    up = _block_types(published, "up_block_types", (f"CrossAttnUpBlock{kind}", f"UpBlock{kind}"), down[::-1])
    if up != down[::-1]:
        raise ConfigError(f"up_block_types = {published['up_block_types']!r} does not mirror down_block_types.")
    return down


def _block_types(
    published: Published, name: str, kinds: tuple[str, str], default: tuple[bool, ...]
) -> tuple[bool, ...]:
    names = published.get(name)
    if names is None:
        return default
    if not isinstance(names, list | tuple) or not set(names) <= set(kinds):
        raise ConfigError(f"{name} = {names!r} in the published configuration; only {' and '.join(kinds)} are known.")
    return tuple(kind == kinds[0] for kind in names)


def integer(published: Published, name: str, default: int) -> int:
    """A whole number."""
    value = published.get(name, default)
    if not isinstance(value, int):
        raise ConfigError(f"{name} = {value!r} in the published configuration; expected one whole number.")
    return value


def number(published: Published, name: str, default: float) -> float:
    """A number."""
    value = published.get(name, default)
    if not isinstance(value, int | float):
        raise ConfigError(f"{name} = {value!r} in the published configuration; expected a number.")
    return float(value)


def integers(published: Published, name: str, default: tuple[int, ...], levels: int | None = None) -> tuple[int, ...]:
    """Whole numbers, one per level; where `levels` is given, a single one stands for all of them."""
    value = published.get(name, default)
    if isinstance(value, int) and levels is not None:
        return (value,) * levels
    if not isinstance(value, list | tuple) or not all(isinstance(item, int) for item in value):
        raise ConfigError(f"{name} = {value!r} in the published configuration; expected whole numbers.")
    return tuple(value)


def require_equal(published: "DataclassInstance", ours: "DataclassInstance", file: str) -> None:
    """Check that a configuration read from `file` is the one that the official code was read with.

    Raises:
        ConfigError: a field differs; names the first.
    """
    for field in fields(ours):
        theirs, expected = getattr(published, field.name), getattr(ours, field.name)
        if theirs != expected:
            raise ConfigError(
                f"{file} says {field.name} = {theirs!r}, and {expected!r} was expected. The published weights are not "
                "those that this model was written for; name other ones with --weights."
            )
