"""A bench of small pictures, and the folder through which toy models are commanded."""

from pathlib import Path

import pytest
from PIL import Image

from ti2v_bench.bench import Bench, load_bench

TOYS = "tests.ti2v_bench.runner.toys"


def write_bench(folder: Path, pairs: int) -> Bench:
    folder.mkdir()
    rows = ["image,prompt"]
    for index in range(pairs):
        Image.new("RGB", (32, 32), (20 * index, 100, 50)).save(folder / f"cat{index}.png")
        rows.append(f"cat{index}.png,A cat moves.")
    (folder / "prompt.csv").write_text("\n".join(rows) + "\n")
    return load_bench(folder)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return write_bench(tmp_path / "bench", 6)


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "toys"
    folder.mkdir()
    monkeypatch.setenv("TOYS", str(folder))
    return folder
