"""Files that appear whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ti2v_bench.errors import TI2VError

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your quota is used up",
    errno.EFBIG: "files may not grow further",
}


class StorageError(TI2VError):
    """A file could not be written: disk full, quota, no permission, store out of reach."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` under `path` in one step: readers see the old file or the new one, never a part.

    Raises:
        StorageError: the operating system refused; nothing is left behind.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise


@contextmanager
def storage_errors(path: Path | str) -> Iterator[None]:
    """Turn an OSError about `path` into a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        full = _FULL.get(error.errno or 0)
        if full is not None:
            raise StorageError(
                f"Cannot write {path}: {full}. Free some space and run the same command again."
            ) from error
        raise StorageError(
            f"Cannot write {path}: {error.strerror or error}. Check the path and its permissions."
        ) from error
