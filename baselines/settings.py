"""Changes to a model's settings, given as text on the command line (`--set steps=25`). No torch here."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ti2v_bench.errors import TI2VError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    _Settings = TypeVar("_Settings", bound=DataclassInstance)
else:
    _Settings = TypeVar("_Settings")


class SettingsError(TI2VError):
    """A setting that does not exist, or a value that is not of its type."""


def with_changes(settings: _Settings, changes: Mapping[str, str]) -> _Settings:
    """A copy of a frozen settings dataclass with `changes` applied, each text converted to its field's type.

    Types: int, float, bool (true/false, yes/no, on/off, 1/0), str, Path, Fraction, Literal, Optional (`none`), and
    tuples of these (`256,256`).

    Raises:
        SettingsError: no such field, or the text does not read as its type.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Sampling:
    ...     steps: int = 50
    >>> with_changes(Sampling(), {"steps": "25"})
    Sampling(steps=25)
    """
    hints = get_type_hints(type(settings))
    names = [field.name for field in fields(settings) if field.init]
    values = {}
    for name, text in changes.items():
        if name not in names:
            close = get_close_matches(name, names, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise SettingsError(f"There is no setting {name!r}.{hint} Known: {', '.join(names)}.")
        values[name] = _parsed(name, text, hints[name])
    try:
        return replace(settings, **values)
    except ValueError as error:  # the dataclass's own check of its values
        raise SettingsError(f"These settings do not fit together: {error}.") from error


def _parsed(name: str, text: str, kind: Any) -> object:
    try:
        return _convert(text.strip(), kind)
    except (ValueError, ZeroDivisionError) as error:
        raise SettingsError(f"Setting {name}={text!r} does not read as {_words(kind)}.") from error


def _convert(text: str, kind: Any) -> object:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if NoneType in arguments and text.lower() == "none":
            return None
        return _first_that_reads(text, [argument for argument in arguments if argument is not NoneType])
    if origin is Literal:
        return _choice(text, arguments)
    if origin is tuple:
        return _tuple(text, arguments)
    if kind is bool:
        return _truth(text)
    if kind is float and not math.isfinite(float(text)):
        raise ValueError(text)
    plain: dict[Any, Callable[[str], object]] = {int: int, float: float, str: str, Path: Path, Fraction: Fraction}
    return plain[kind](text)


def _first_that_reads(text: str, kinds: list[Any]) -> object:
    for kind in kinds:
        try:
            return _convert(text, kind)
        except ValueError:
            continue
    raise ValueError(text)


def _choice(text: str, choices: tuple[Any, ...]) -> object:
    for choice in choices:
        if text == str(choice):
            return choice
    raise ValueError(text)


def _tuple(text: str, kinds: tuple[Any, ...]) -> tuple[object, ...]:
    parts = [part.strip() for part in text.strip("()[]").split(",") if part.strip()]
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(parts)
    if len(parts) != len(kinds):
        raise ValueError(text)
    return tuple(_convert(part, kind) for part, kind in zip(parts, kinds, strict=True))


def _truth(text: str) -> bool:
    table = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.lower() not in table:
        raise ValueError(text)
    return table[text.lower()]


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(kind))
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
