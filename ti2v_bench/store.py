"""Where videos lie: `<model>/<pair_id>_<seed>.mp4` and its `.json`, in a folder or at any fsspec URL.

The folder is the state. A video under its final name is finished, and always has its sidecar, because the sidecar is
written first. Readers ask for names; a partial file begins with a dot and is never taken for a video.
"""

from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Any, Protocol

from ti2v_bench.files import StorageError, storage_errors, write_bytes

CLAIMS = ".claims"
"""Folder below each model's, with one lock file per video that is being made."""


class Store(Protocol):
    """What the runner needs of a place for videos. Names are `<model>/<file>` with forward slashes."""

    url: str
    """The place, as the user named it."""

    def finished(self, model: str) -> set[str]:
        """File names of the model's finished videos (`<pair_id>_<seed>.mp4`); empty where there is no such folder."""

    def exists(self, name: str) -> bool:
        """Whether the video `name` is finished."""

    def read(self, name: str) -> bytes | None:
        """Content of a file, or None where there is none."""

    def publish(self, name: str, video: bytes, sidecar: bytes) -> None:
        """Write the sidecar, then the video, each whole or not at all.

        Raises:
            StorageError: a write failed.
        """

    def claim(self, name: str) -> "Claim | None":
        """The right to make `name`, until it is released or the process dies; None while another process has it."""

    def tidy(self, model: str) -> None:
        """Remove what dead runs left behind."""


class Claim(Protocol):
    """The right to make one video."""

    def release(self) -> None:
        """Give the right back."""


def open_store(out: Path | str) -> Store:
    """The store at `out`: a folder, or a URL such as `s3://bucket/videos` or `hf://datasets/owner/name/videos`.

    Raises:
        StorageError: no name is given, the protocol is unknown or its package is not installed.
    """
    if out == "":
        raise StorageError("The place for the videos has no name. Give a folder or a URL.")
    if isinstance(out, str) and "://" in out and not out.startswith("file://"):
        from ti2v_bench.url_store import HubStore, UrlStore

        return HubStore(out) if out.startswith("hf://") else UrlStore(out)
    return FolderStore(Path(str(out).removeprefix("file://")))


class FolderStore:
    """A local (or mounted) folder. Claims are locks of the operating system, so they end with their process."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.url = str(root)

    def finished(self, model: str) -> set[str]:
        """See Store."""
        folder = self.root / model
        return {path.name for path in folder.glob("[!.]*.mp4")} if folder.is_dir() else set()

    def exists(self, name: str) -> bool:
        """See Store."""
        return (self.root / name).is_file()

    def read(self, name: str) -> bytes | None:
        """See Store."""
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def publish(self, name: str, video: bytes, sidecar: bytes) -> None:
        """See Store."""
        path = self.root / name
        write_bytes(path.with_suffix(".json"), sidecar)
        write_bytes(path, video)

    def claim(self, name: str) -> "Claim | None":
        """See Store."""
        return _lock(self.root / name)

    def tidy(self, model: str) -> None:
        """Remove partial files and lock files that no living process holds."""
        folder = self.root / model
        locks = {path.with_suffix("").name for path in (folder / CLAIMS).glob("*.lock")}
        partials = {_stem_of_partial(path.name) for path in folder.glob(".*.partial")}
        for stem in locks | partials:
            if (claim := self.claim(f"{model}/{stem}.mp4")) is not None:
                claim.release()
        with suppress(OSError):
            (folder / CLAIMS).rmdir()  # refused while another run has claims


def _stem_of_partial(name: str) -> str:
    """`.<stem>.mp4.<pid>.partial` -> `<stem>`; stems have no dots at their end, but may have dots inside."""
    return name[1:].rsplit(".", 3)[0]


class _LockedFile:
    """A claim on one file of a folder."""

    def __init__(self, lock: Any, path: Path) -> None:
        self._lock = lock
        self._path = path

    def release(self) -> None:
        """Unlink while locked: whoever waits on the old file sees that it has no name any more and opens a new one."""
        if self._lock.is_locked:  # a second release must not unlink another process's file
            with suppress(OSError):
                self._path.unlink()
            self._lock.release()


def _lock(video: Path) -> _LockedFile | None:
    from filelock import FileLock, Timeout

    path = video.parent / CLAIMS / f"{video.stem}.lock"
    lock = FileLock(path, thread_local=False)  # taken by one thread, given back by another
    while True:
        with storage_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
            break
        except Timeout:
            return None
        except FileNotFoundError:  # another run has just removed the empty folder
            continue
        except OSError as error:
            raise StorageError(f"Cannot write {path}: {error.strerror}. Check the path and its permissions.") from error
    for suffix in (".mp4", ".json"):
        for partial in video.parent.glob(f".{escape(video.stem)}{suffix}.*.partial"):
            with suppress(OSError):
                partial.unlink()  # its writer held this lock, so it is dead
    return _LockedFile(lock, path)
