"""Which file of a bench folder a cell of `prompt.csv` names, and whether that file is a whole picture."""

import os
import warnings
from collections import defaultdict
from pathlib import Path, PurePosixPath

from PIL import Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"})


class ImageError(Exception):
    """Why a cell names no usable picture, in words that follow 'row N: '."""


class ImageFolder:
    """The pictures below a bench folder, found by path, by name, and without regard to the case of the name.

    Hidden folders are not searched. Each file is decoded once, however many rows name it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._verdicts: dict[Path, str | None] = {}
        for path in _pictures(self.root):
            parts = path.relative_to(self.root).parts
            for start in range(len(parts)):
                name = "/".join(parts[start:]).lower()
                self._by_name[name].append(path)
                self._by_name[name.removesuffix(path.suffix.lower())].append(path)

    def names_image(self, cell: str) -> bool:
        """Whether `cell` names a picture that is here, whole or not."""
        return any(path.suffix.lower() in SUFFIXES for path in self._candidates(cell))

    def looks_like_image(self, cell: str) -> bool:
        """Whether `cell` ends as a picture's file name does, be the file here or not."""
        return _suffix(cell) in SUFFIXES

    def find(self, cell: str) -> Path:
        """Absolute path of the whole, readable picture that `cell` names.

        Relative to the folder of `prompt.csv` or to an image folder below it; a leading folder name may be there or
        not, the suffix too, and capitals (`.JPG`) may differ.

        Raises:
            ImageError: no file name, no such file, several of that name, outside the folder, or not a whole picture.
        """
        if not cell:
            raise ImageError("the image is not named")
        found = self._candidates(cell)
        if any(not _inside(path, self.root) for path in found or [self.root / _posix(cell)]):
            raise ImageError(f"image {cell!r} leads out of the bench folder; put a copy of the picture inside")
        if not found:
            raise ImageError(f"image {cell!r} does not exist below {self.root}")
        if len(found) > 1:
            names = ", ".join(str(path.relative_to(self.root)) for path in found)
            raise ImageError(f"image {cell!r} could be any of {names}; write the path with its folder")
        path = found[0]
        if path not in self._verdicts:
            self._verdicts[path] = _why_unreadable(path)
        if (why := self._verdicts[path]) is not None:
            raise ImageError(f"image {cell!r} {why}")
        return path

    def _candidates(self, cell: str) -> list[Path]:
        name = PurePosixPath(_posix(cell))
        exact = self.root / name
        if _is_file_or_link(exact):
            return [exact]
        if name.is_absolute() or ".." in name.parts:
            return []
        parts = name.parts
        for start in range(len(parts)):  # the whole path first, then without its leading folders
            if found := self._by_name.get("/".join(parts[start:]).lower()):
                return found
        return []


def _posix(cell: str) -> str:
    return cell.replace("\\", "/")


def _suffix(cell: str) -> str:
    return PurePosixPath(_posix(cell)).suffix.lower()


def _is_file_or_link(path: Path) -> bool:
    try:
        return path.is_file() or path.is_symlink()
    except (OSError, ValueError):  # a name too long for the file system, or with a NUL: no file can be called that
        return False


def _pictures(root: Path) -> list[Path]:
    """All picture files below `root`, in order; hidden folders and symlinked folders are not entered."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder, name) for name in sorted(files) if Path(name).suffix.lower() in SUFFIXES]
    return found


def _inside(path: Path, root: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(root)


def _why_unreadable(path: Path) -> str | None:
    """None for a whole picture; otherwise what is wrong with it."""
    if not path.exists():
        return "is a link to a file that does not exist"
    if path.stat().st_size == 0:
        return "is an empty file (zero bytes)"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd EXIF and the like; what matters is whether the picture decodes
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                picture.draft("RGB", (1, 1))  # a JPEG is read to its end, yet decoded at an eighth of its size
                picture.load()
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return f"has more than {Image.MAX_IMAGE_PIXELS} pixels"
    except Exception as error:  # Pillow's decoders raise what they like on broken bytes
        return f"cannot be read as a picture ({str(error).replace(str(path), path.name)})"
    return None
