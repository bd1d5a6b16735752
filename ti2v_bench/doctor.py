"""What this machine has and what it lacks, and for which command. Looks, changes nothing, needs no network."""

import os
import platform
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

BASE = ("alembic", "av", "click", "fastapi", "filelock", "fsspec", "gradio", "huggingface_hub", "jinja2", "matplotlib",
        "numpy", "pandas", "PIL", "pyarrow", "scipy", "sqlalchemy", "tqdm", "uvicorn")  # fmt: skip

NEEDS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "bench, import, models, generate (controls)": (("av", "click", "filelock", "numpy", "PIL", "tqdm"), ""),
    "bench download": (("huggingface_hub",), ""),
    "study, annotate, demo": (("sqlalchemy", "alembic", "gradio", "fastapi", "uvicorn", "itsdangerous"), ""),
    "report": (("pandas", "scipy", "matplotlib", "jinja2"), ""),
    "votes in parquet": (("pyarrow",), ""),
    "studies in PostgreSQL": (("psycopg",), "postgres"),
    "generate (networks), motif, metrics": (
        ("torch", "diffusers", "transformers", "accelerate", "safetensors", "einops", "cv2"),
        "models",
    ),
    "motif train": (("torch", "tensorboard", "accelerate"), "models"),
    "generate --executor ray": (("ray",), "ray"),
    "generate --out s3://…": (("s3fs",), "s3"),
}
"""Command -> the modules it imports, and the extra that installs them ('' is the base install)."""

_DISTRIBUTIONS = {"PIL": "pillow", "cv2": "opencv-python-headless"}


@dataclass(frozen=True)
class Device:
    """One place where a network can run."""

    name: str
    """As `--device` takes it."""
    description: str
    memory_gib: float | None


@dataclass(frozen=True)
class Need:
    """Whether one command has what it needs."""

    command: str
    missing: tuple[str, ...]
    install: str
    """What to type to get the missing packages; empty where none is missing."""


@dataclass(frozen=True)
class Findings:
    """Everything `doctor` prints."""

    system: str
    packages: Mapping[str, str]
    """Distribution -> version, of those that are installed."""
    devices: tuple[Device, ...]
    needs: tuple[Need, ...]
    video: str
    """Result of writing and reading a real video: 'works', or what went wrong."""
    hub: Mapping[str, str]
    disk_gib: Mapping[str, float]
    """Folder -> free space."""
    advice: tuple[str, ...]
    """What looks wrong, and what to do."""


def examine(folder: Path) -> Findings:
    """Look at this machine; `folder` is where the user would write."""
    devices, advice = _devices()
    return Findings(
        system=f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.platform()}",
        packages={_DISTRIBUTIONS.get(name, name): found for name in _all_modules() if (found := _version(name))},
        devices=devices,
        needs=tuple(_need(command, modules, extra) for command, (modules, extra) in NEEDS.items()),
        video=_video(),
        hub=_hub(),
        disk_gib={str(place): _free(place) for place in dict.fromkeys((folder.resolve(), Path(tempfile.gettempdir())))},
        advice=advice,
    )


def _all_modules() -> list[str]:
    named = {module for modules, _ in NEEDS.values() for module in modules}
    return sorted({*BASE, *named}, key=str.lower)


def _version(module: str) -> str | None:
    if find_spec(module) is None:
        return None
    try:
        return version(_DISTRIBUTIONS.get(module, module))
    except PackageNotFoundError:
        return "unknown version"


def _need(command: str, modules: tuple[str, ...], extra: str) -> Need:
    missing = tuple(_DISTRIBUTIONS.get(module, module) for module in modules if find_spec(module) is None)
    package = f"ti2v-bench[{extra}]" if extra else "ti2v-bench"
    return Need(command, missing, f"pip install '{package}'" if missing else "")


def _devices() -> tuple[tuple[Device, ...], tuple[str, ...]]:
    cpu = Device("cpu", f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores", _host_memory())
    driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    if find_spec("torch") is None:
        return (cpu,), (
            ("There is an NVIDIA driver, but no torch: pip install 'ti2v-bench[models]'",) if driver else ()
        )
    import torch

    if torch.cuda.is_available():
        return (*(_gpu(index) for index in range(torch.cuda.device_count())), cpu), ()
    if driver:
        build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build"
        return (cpu,), (
            f"There is an NVIDIA driver, but torch {torch.__version__} ({build}) sees no GPU. Install a torch "
            "that fits the driver (https://pytorch.org/get-started), and look at CUDA_VISIBLE_DEVICES.",
        )
    return ((Device("mps", "Apple GPU", None), cpu) if torch.backends.mps.is_available() else (cpu,)), ()


def _gpu(index: int) -> Device:
    import torch

    seen = torch.cuda.get_device_properties(index)
    return Device(
        f"cuda:{index}", f"{seen.name}, compute capability {seen.major}.{seen.minor}", seen.total_memory / 2**30
    )


def _host_memory() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, OSError, ValueError):  # not on every system
        return None


def _video() -> str:
    """Write and read a small video for real: libx264 must be inside the installed PyAV."""
    try:
        from ti2v_bench.video import read_video, write_video

        frames = np.full((4, 32, 32, 3), 128, np.uint8)
        with tempfile.TemporaryDirectory() as folder:
            write_video(Path(folder) / "a.mp4", frames, 8)
            same = read_video(Path(folder) / "a.mp4").frames.shape == frames.shape
    except Exception as error:  # whatever it is, the user shall read it here
        return f"does not work: {type(error).__name__}: {error}"
    return "works (H.264 written and read back)" if same else "does not work: other frames came back"


def _hub() -> dict[str, str]:
    home = Path(os.environ.get("HF_HOME", Path("~/.cache/huggingface"))).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()
    repos = sorted(path.name for path in cache.glob("*--*--*")) if cache.is_dir() else []
    return {
        "endpoint": os.environ.get("HF_ENDPOINT", "https://huggingface.co"),
        "cache": f"{cache} ({len(repos)} repositories)",
        "offline": os.environ.get("HF_HUB_OFFLINE", "no"),
    }


def _free(folder: Path) -> float:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / 2**30
