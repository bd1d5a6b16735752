"""Where the project's published and measured numbers lie, in a checkout and in an installed wheel."""

from pathlib import Path


def results_folder() -> Path:
    """Folder that holds `published.json`, `speed/` and the other tables of `results/`."""
    packaged = Path(__file__).parent / "_results"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "results"
