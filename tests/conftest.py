"""Options and folders that every test may ask for."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

# One thread each, here and in every process that a test starts: pytest-xdist's workers share the cores already, and
# floating-point sums then do not depend on how many cores a machine has. Read by OpenMP when torch is first imported.
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--parity-dir", type=Path, default=SHARED / "parity", help="folder of recorded fixtures")
    parser.addoption("--real-dir", type=Path, default=SHARED / "ti2v_bench", help="folder with real pairs and clips")
    parser.addoption("--manifest-dir", type=Path, default=SHARED / "manifests", help="folder of state-dict manifests")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "slow" not in config.getoption("-m"):
        skip = pytest.mark.skip(reason="takes over ten seconds; run with -m slow, as CI does")
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(skip)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto` takes one worker more than there are cores: clips that play and servers that start are waited for."""
    return (os.cpu_count() or 1) + 1


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`@pytest.mark.parity("glob", …)` runs a test with argument `fixture` once per fixture whose name matches."""
    marker = metafunc.definition.get_closest_marker("parity")
    if marker is None or "fixture" not in metafunc.fixturenames:
        return
    folder: Path = metafunc.config.getoption("--parity-dir")
    found = sorted({path for pattern in marker.args for path in folder.glob(f"{pattern}.json")})
    if not found:
        skip = pytest.mark.skip(reason=f"no fixture {' or '.join(marker.args)} in {folder}")
        metafunc.parametrize("fixture", [pytest.param(None, marks=skip)], ids=["absent"])
        return
    from tests.parity import Parity  # needs torch, which only these tests do

    metafunc.parametrize("fixture", [Parity(path) for path in found], ids=[path.stem for path in found])


def _folder(config: pytest.Config, option: str) -> Path:
    folder: Path = config.getoption(option)
    if not folder.is_dir():
        pytest.skip(f"{option} {folder} is absent")
    return folder


@pytest.fixture
def real_dir(pytestconfig: pytest.Config) -> Path:
    """The benchmark's real pairs and published clips."""
    return _folder(pytestconfig, "--real-dir")


@pytest.fixture
def manifest_dir(pytestconfig: pytest.Config) -> Path:
    """Full-size state-dict keys and shapes."""
    return _folder(pytestconfig, "--manifest-dir")


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """Debian's Chromium, driven by Playwright."""
    path = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        if os.environ.get("TI2V_BENCH_REQUIRE_ALL"):
            pytest.fail("Chromium or Playwright is not installed")
        pytest.skip("Chromium or Playwright is not installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()
