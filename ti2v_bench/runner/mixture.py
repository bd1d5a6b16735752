"""One folder, one setting: videos that are there must have been made as the ones that are asked for."""

import json
from collections.abc import Iterator, Mapping

from ti2v_bench.model import Model, ModelOptions, Traceable
from ti2v_bench.provenance import identity
from ti2v_bench.runner.jobs import RunError
from ti2v_bench.store import Store

_LOOKED_AT = 3
"""Videos of a folder; a folder that only this program wrote to is of one kind."""


def refuse_mixture(model: Model, name: str, options: ModelOptions, store: Store) -> None:
    """Before a loaded model makes videos beside others.

    Raises:
        RunError: those were made otherwise; names the first field that differs.
    """
    if not isinstance(model, Traceable):
        return
    now = identity({**model.provenance(), "fast": options.fast})
    for before in _made(name, store):
        for field in now:
            if before[field] != now[field]:
                _refuse(store, name, _difference(field, before[field], now[field]))


def refuse_other_wishes(name: str, options: ModelOptions, store: Store) -> None:
    """Where every video is there and no model is loaded: of what was asked for, all that a sidecar can answer.

    Raises:
        RunError: as `refuse_mixture`.
    """
    for before in _made(name, store):
        if before["fast"] != options.fast:
            _refuse(store, name, _difference("fast", before["fast"], options.fast))
        if options.precision is not None and before["precision"] not in (None, options.precision):
            _refuse(store, name, _difference("precision", before["precision"], options.precision))
        settings = before["settings"] if isinstance(before["settings"], dict) else {}
        for field, text in options.settings.items():
            if field in settings and not _may_mean(text, settings[field]):
                _refuse(store, name, f"{field}={settings[field]}, not {field}={text}")


def _made(name: str, store: Store) -> Iterator[dict[str, object]]:
    """What the first sidecars of videos that a model made say of it."""
    for video in sorted(store.finished(name))[:_LOOKED_AT]:
        sidecar = f"{name}/{video.removesuffix('.mp4')}.json"
        content = store.read(sidecar)
        record = _record(content, f"{store.url}/{sidecar}") if content else {}
        if record.get("origin") == "generated":
            yield identity(record)


def _record(content: bytes, address: str) -> Mapping[str, object]:
    try:
        record: object = json.loads(content)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise RunError(f"{address} is no sidecar of a video. Delete it and the video beside it, which is made anew.")
    return record


def _may_mean(text: str, value: object) -> bool:
    """Whether the command line's text can stand for a sidecar's value; only the model knows how it reads the text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return not isinstance(value, str) or text == value
    try:
        return float(text) == value
    except ValueError:
        return True


def _difference(field: str, before: object, now: object) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *now]:
            if before.get(key) != now.get(key):
                return f"{key}={before.get(key)}, not {key}={now.get(key)}"
    return f"{field} {before}, not {now}"


def _refuse(store: Store, name: str, difference: str) -> None:
    raise RunError(
        f"{store.url}/{name} holds videos made with {difference}. Give another --out, or another name with --as."
    )
