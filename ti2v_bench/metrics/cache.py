"""Values that were made before, by content: one line of JSON per value, appended as soon as it is known."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from ti2v_bench.files import storage_errors


@dataclass(frozen=True)
class Value:
    """A metric's value for one video, or why it has none."""

    value: float | None
    why: str | None = None


class ValueCache:
    """Append-only file of values. Killing the process loses the last line at most; a torn line is skipped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._values: dict[str, Value] = {}
        if path.exists():
            for line in path.read_bytes().splitlines():
                self._read(line)

    def get(self, key: str) -> Value | None:
        """The value kept under `key`."""
        return self._values.get(key)

    def put(self, values: dict[str, Value]) -> None:
        """Keep some values; all of one call reach the disk together.

        Raises:
            StorageError: the file cannot be written.
        """
        self._values.update(values)
        lines = "".join(
            json.dumps({"key": key, "value": value.value, "why": value.why}) + "\n" for key, value in values.items()
        )
        with storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(b"\n" * _torn(self.path) + lines.encode())

    def _read(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            self._values[row["key"]] = Value(row["value"], row["why"])
        except (ValueError, KeyError, TypeError):
            return  # torn by a kill; its value is made again


def key(*parts: str) -> str:
    """Name of a value: a hash of everything that it depends on."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _torn(path: Path) -> bool:
    """Whether the file ends within a line."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
