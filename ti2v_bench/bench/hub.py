"""Fetches a bench from the Hugging Face Hub: every file is checked against its published hash first."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ti2v_bench.bench.table import TABLE, BenchError
from ti2v_bench.files import storage_errors, write_bytes

if TYPE_CHECKING:
    from huggingface_hub import HfApi

REPO = "wang-sj16/TI2V-Bench"
PROVENANCE = "bench.json"
_STAGING = ".download"


@dataclass(frozen=True)
class HubFile:
    """What the Hub says of one file at one commit."""

    path: str
    """Relative to the repository, with `/`."""
    size: int
    """Bytes."""
    algorithm: str
    """`sha256` for files in large file storage, else `git-sha1` (git's name of the blob)."""
    digest: str
    """Hexadecimal."""

    def matches(self, file: Path) -> bool:
        """Whether `file` has the stated size and hash."""
        if not file.is_file() or file.stat().st_size != self.size:
            return False
        digest = hashlib.sha256() if self.algorithm == "sha256" else hashlib.sha1(b"blob %d\0" % self.size)
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        return digest.hexdigest() == self.digest


def download_bench(out: Path, revision: str | None = None, repo: str = REPO, endpoint: str | None = None) -> str:
    """Put the dataset `repo` into `out` and return the commit that it is now at.

    Run again after an interruption, it fetches only what is missing. The folder's `bench.json` records the commit and
    every file's hash; a folder that has one stays at its commit unless it is told another revision.

    Args:
        out: Folder, made if it does not exist. Files that are not the dataset's are left alone.
        revision: Commit, tag or branch; None for the recorded commit, or for a new folder what `main` is now.
        repo: Dataset on the Hub, `owner/name`.
        endpoint: Address of the Hub; None for the environment's `HF_ENDPOINT` or the public one.

    Raises:
        BenchError: the Hub is out of reach, repository or revision is unknown, a hash differs (then nothing is put in
            place), or `out` holds another bench.
        StorageError: a file cannot be written.
    """
    from huggingface_hub import HfApi

    recorded = _recorded(out)
    if recorded is None and (out / TABLE).exists():
        raise BenchError(f"{out} holds another bench ({TABLE} without {PROVENANCE}). Give an empty folder with --out.")
    api = HfApi(endpoint=endpoint)
    with _hub_errors(repo, revision, api.endpoint):
        asked = revision or (recorded["revision"] if recorded else "main")
        commit = str(api.dataset_info(repo, revision=asked).sha)
        if recorded is not None and (recorded["repo"], recorded["revision"]) != (repo, commit):
            raise BenchError(
                f"{out} holds {recorded['repo']} at {recorded['revision']}, not {repo} at {commit}. "
                "Give another folder with --out."
            )
        files = _listed(api, repo, commit)
        missing = [file for file in files if not file.matches(out / file.path)]
        if missing:
            _fetch(api, repo, commit, missing, out)
    if missing or recorded is None:
        write_bytes(out / PROVENANCE, _provenance(repo, commit, asked, files))
    return commit


def _recorded(out: Path) -> dict[str, Any] | None:
    path = out / PROVENANCE
    if not path.exists():
        return None
    try:
        recorded: dict[str, Any] = json.loads(path.read_bytes())
        recorded["repo"], recorded["revision"]
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{path} cannot be read ({error!r}). Delete it, or give another folder with --out.") from error
    return recorded


def _listed(api: "HfApi", repo: str, commit: str) -> list[HubFile]:
    from huggingface_hub.hf_api import RepoFile

    entries = api.list_repo_tree(repo, recursive=True, revision=commit, repo_type="dataset")
    return [
        HubFile(entry.path, entry.size, "sha256", entry.lfs.sha256)
        if entry.lfs is not None
        else HubFile(entry.path, entry.size, "git-sha1", entry.blob_id)
        for entry in entries
        if isinstance(entry, RepoFile)
    ]


def _fetch(api: "HfApi", repo: str, commit: str, files: list[HubFile], out: Path) -> None:
    """Into a hidden folder first, all checked there, then into place; `prompt.csv` last, the sign that all is in."""
    staging = out / _STAGING
    with storage_errors(out):
        staging.mkdir(parents=True, exist_ok=True)
    names = [file.path for file in files]
    api.snapshot_download(repo, repo_type="dataset", revision=commit, local_dir=staging, allow_patterns=names)
    wrong = [file for file in files if not file.matches(staging / file.path)]
    if wrong:
        shutil.rmtree(staging)
        first = wrong[0]
        raise BenchError(
            f"{len(wrong)} of {len(files)} files came with the wrong content (first: {first.path}, whose "
            f"{first.algorithm} should be {first.digest}). Nothing was kept; run the command again."
        )
    with storage_errors(out):
        for file in sorted(files, key=lambda file: file.path == TABLE):
            (out / file.path).parent.mkdir(parents=True, exist_ok=True)
            (staging / file.path).replace(out / file.path)
        shutil.rmtree(staging)


def _provenance(repo: str, commit: str, asked: str, files: list[HubFile]) -> bytes:
    told = {
        "repo": repo,
        "repo_type": "dataset",
        "revision": commit,
        "asked_for": asked,
        "downloaded_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": [asdict(file) for file in files],
    }
    return json.dumps(told, indent=1).encode()


@contextmanager
def _hub_errors(repo: str, revision: str | None, endpoint: str) -> Iterator[None]:
    """Turn what huggingface_hub and its HTTP library raise into one line."""
    from huggingface_hub import errors

    try:
        yield
    except BenchError:
        raise
    except errors.RevisionNotFoundError as error:
        why = f"{repo} has no revision {revision!r}. Give a commit, tag or branch, or leave it out."
        raise BenchError(why) from error
    except errors.RepositoryNotFoundError as error:  # also GatedRepoError
        why = f"{endpoint} has no dataset {repo} that you may read. If it is private or gated, run 'hf auth login'."
        raise BenchError(why) from error
    except Exception as error:
        if not _is_transport(error):
            raise
        raise BenchError(
            f"Could not download {repo} from {endpoint}: {_first_line(error)}. Check the connection and run the "
            "command again; what has arrived is kept."
        ) from error


def _is_transport(error: Exception) -> bool:
    """Failures of connection, server or disk, whichever HTTP library huggingface_hub uses under its own errors."""
    from huggingface_hub import errors

    module = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError | errors.HfHubHTTPError) or module.startswith(("httpx", "requests"))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")
