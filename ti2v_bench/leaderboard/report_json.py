"""report.json: records as JSON that any reader can parse."""

import dataclasses
import json
import math
from collections.abc import Mapping

from ti2v_bench.records import Estimate

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


def to_json(value: object) -> Json:
    """Dataclasses, mappings and sequences as plain JSON; an Estimate's `why` appears only where it says something.

    Raises:
        ValueError: a number that is not finite (no estimate may be one).
    """
    if isinstance(value, Estimate):
        found = {name: to_json(item) for name, item in dataclasses.asdict(value).items()}
        return {name: item for name, item in found.items() if name != "why" or item is not None}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(f"{value!r} cannot stand in a report")


def dump(value: Json) -> bytes:
    """UTF-8 JSON, indented, with a final newline."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
