"""Stores behind URLs: anything that fsspec speaks, and the Hugging Face Hub with one commit per video."""

import time
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, TypeVar

from ti2v_bench.files import StorageError

_Result = TypeVar("_Result")


class NoClaim:
    """Stores without locks: two runs may make one video twice, which changes nothing, as both make the same."""

    def release(self) -> None:
        """Nothing to give back."""


class UrlStore:
    """Any fsspec URL. One object appears whole or not at all; a failing request is tried again for about a minute."""

    pauses = (1.0, 4.0, 15.0, 40.0)
    """Seconds between attempts."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs, root = _filesystem(self.url)
        self._root = PurePosixPath(root)

    def finished(self, model: str) -> set[str]:
        """See Store."""

        def names() -> set[str]:
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(str(self._root / model), detail=False)
            except FileNotFoundError:
                return set()
            return {name for name in (PurePosixPath(path).name for path in found) if name.endswith(".mp4")}

        return self._tried("list", model, names)

    def exists(self, name: str) -> bool:
        """See Store."""
        return self._tried("look up", name, lambda: bool(self._fs.exists(str(self._root / name))))

    def read(self, name: str) -> bytes | None:
        """See Store."""

        def content() -> bytes | None:
            try:
                found: bytes = self._fs.cat_file(str(self._root / name))
            except FileNotFoundError:
                return None
            return found

        return self._tried("read", name, content)

    def publish(self, name: str, video: bytes, sidecar: bytes) -> None:
        """See Store."""
        path = self._root / name
        self._tried("write", name, lambda: self._fs.makedirs(str(path.parent), exist_ok=True))
        for target, data in ((path.with_suffix(".json"), sidecar), (path, video)):
            self._tried("write", name, lambda t=target, d=data: self._fs.pipe_file(str(t), d))  # type: ignore[misc]

    def claim(self, name: str) -> NoClaim:  # noqa: ARG002
        """See Store; object stores have no locks, so the claim is always given."""
        return NoClaim()

    def tidy(self, model: str) -> None:
        """Nothing is left behind: objects appear whole."""

    def _tried(self, verb: str, name: str, action: Callable[[], _Result]) -> _Result:
        for pause in (*self.pauses, None):
            try:
                return action()
            except Exception as error:  # each protocol's client raises its own kinds
                if pause is None or _is_final(error):
                    raise StorageError(
                        f"Cannot {verb} {self.url}/{name}: {type(error).__name__}: {_first_line(error)}. "
                        "Check that the store can be reached and written, then run the same command again."
                    ) from error
                time.sleep(pause)
        raise AssertionError  # the last round returns or raises


def _is_final(error: Exception) -> bool:
    """Whether asking again is pointless: no right, no such place, or any other 4xx answer that is no 'try later'."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    return isinstance(error, PermissionError | FileNotFoundError) or (400 <= status < 500 and status not in (408, 429))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".")


def _filesystem(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise StorageError(f"Cannot open {url}: {_first_line(error)}.") from error
    return filesystem, root


class HubStore(UrlStore):
    """A repository of the Hugging Face Hub: sidecar and video of one video are one commit."""

    def publish(self, name: str, video: bytes, sidecar: bytes) -> None:
        """See Store."""
        from huggingface_hub import CommitOperationAdd

        def commit() -> None:
            place = self._fs.resolve_path(str(self._root / name))
            adds = [
                CommitOperationAdd(place.path_in_repo.removesuffix(".mp4") + ".json", sidecar),
                CommitOperationAdd(place.path_in_repo, video),
            ]
            self._fs._api.create_commit(
                place.repo_id, adds, commit_message=f"Add {name}", repo_type=place.repo_type, revision=place.revision
            )

        self._tried("write", name, commit)
