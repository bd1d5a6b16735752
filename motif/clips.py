"""Where training clips come from: a folder, a CSV or Parquet table, or WebDataset tars. Nothing is decoded here.

Tars are read at random: their members are indexed once and then read by offset, so that a resumed run sees the same
clips in the same order as an uninterrupted one.
"""

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ti2v_bench.errors import TI2VError

VIDEOS = (".mp4", ".webm", ".mkv", ".mov", ".avi")
_PATHS = ("path", "video", "file", "filename")
_CAPTIONS = ("caption", "text", "prompt", "name")


class ClipsError(TI2VError):
    """A source of clips that cannot be read."""


@dataclass(frozen=True)
class Clip:
    """One video and what it shows; not yet opened."""

    name: str
    """As a report names it."""
    path: Path
    """A video file, or the tar that holds it."""
    caption: str
    offset: int | None = None
    """Of the video's first byte in the tar; None for a plain file."""
    size: int = 0
    """Bytes in the tar."""

    def data(self) -> bytes:
        """The video file's bytes."""
        with self.path.open("rb") as file:
            if self.offset is None:
                return file.read()
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True)
class Source:
    """What a place holds."""

    clips: list[Clip]
    """In a fixed order."""
    silent: list[str]
    """Names of videos without a caption, which are left out."""


def find_clips(source: Path) -> Source:
    """All clips of a source.

    Args:
        source: a folder of videos, each with its caption in a `.txt` of the same stem; a folder of `.tar` shards
            (WebDataset: `x.mp4` with `x.txt` or `x.json`) or one such tar; or a `.csv` or `.parquet` with a column
            path (video, file, filename) and one caption (text, prompt, name), or WebVid's page_dir, videoid, name.

    Raises:
        ClipsError: nothing there, no such columns, or no clip with a caption.
    """
    if source.suffix in (".csv", ".parquet"):
        clips = list(_from_table(source))
    elif source.suffix == ".tar":
        clips = list(_from_tar(source))
    elif source.is_dir():
        clips = list(_from_folder(source))
    else:
        raise ClipsError(f"No clips at {source}: name a folder, a .csv, a .parquet or a .tar that exists.")
    found = Source([clip for clip in clips if clip.caption], [clip.name for clip in clips if not clip.caption])
    if not found.clips:
        silent = f"; {len(found.silent)} videos have none" if found.silent else ""
        raise ClipsError(
            f"{source} has no clip with a caption{silent}. Beside x.mp4 its caption is expected in x.txt (or x.json in "
            "a tar), in a table in a column caption."
        )
    return found


def _from_folder(folder: Path) -> Iterator[Clip]:
    for tar in sorted(folder.rglob("*.tar")):
        yield from _from_tar(tar)
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEOS):
        caption = path.with_suffix(".txt")
        text = caption.read_text(encoding="utf-8", errors="replace").strip() if caption.is_file() else ""
        yield Clip(str(path.relative_to(folder)), path, text)


def _from_table(path: Path) -> Iterator[Clip]:
    try:
        table = pd.read_csv(path, dtype=str) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ClipsError(f"{path} cannot be read as a table: {error}") from error
    if {"page_dir", "videoid", "name"} <= set(table.columns):
        places = table["page_dir"].astype(str) + "/" + table["videoid"].astype(str) + ".mp4"
        captions = table["name"]
    else:
        places, captions = (_column(table, names, path) for names in (_PATHS, _CAPTIONS))
    for place, caption in zip(places.astype(str), captions.fillna("").astype(str), strict=True):
        yield Clip(place, path.parent / place, caption.strip())


def _column(table: pd.DataFrame, names: Sequence[str], path: Path) -> "pd.Series[str]":
    for name in names:
        if name in table.columns:
            column: pd.Series[str] = table[name]
            return column
    raise ClipsError(f"{path} has columns {', '.join(map(str, table.columns))}; one of {', '.join(names)} is needed.")


def _from_tar(path: Path) -> Iterator[Clip]:
    videos: dict[str, tuple[int, int]] = {}
    captions: dict[str, str] = {}
    try:
        with tarfile.open(path, "r:") as tar:  # no compression: offsets are of the file itself
            for member in tar:
                stem, dot, suffix = member.name.rpartition(".")
                if not member.isfile() or not dot:
                    continue
                if f".{suffix.lower()}" in VIDEOS:
                    videos[stem] = (member.offset_data, member.size)
                elif suffix in ("txt", "json"):
                    captions[stem] = _caption(tar, member, suffix)
    except (OSError, tarfile.TarError) as error:
        raise ClipsError(f"{path} is no uncompressed tar that can be read: {error}") from error
    for stem, (offset, size) in videos.items():
        yield Clip(f"{path.name}/{stem}", path, captions.get(stem, ""), offset, size)


def _caption(tar: tarfile.TarFile, member: tarfile.TarInfo, suffix: str) -> str:
    file = tar.extractfile(member)
    text = file.read().decode("utf-8", "replace") if file else ""
    if suffix == "txt":
        return text.strip()
    try:
        content = json.loads(text)
    except ValueError:
        return ""
    found = [content[name] for name in _CAPTIONS if name in content] if isinstance(content, dict) else []
    return str(found[0]).strip() if found else ""
