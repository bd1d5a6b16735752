"""The sidecar beside each video: what it is, what made it, with what, when."""

import hashlib
import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ti2v_bench.model import Frames, Model, Traceable
from ti2v_bench.records import Job

_PACKAGES = {
    "accelerate": "accelerate",
    "av": "av",
    "cv2": "opencv-python-headless",
    "diffusers": "diffusers",
    "numpy": "numpy",
    "PIL": "pillow",
    "safetensors": "safetensors",
    "ti2v_bench": "ti2v-bench",
    "torch": "torch",
    "transformers": "transformers",
}
"""Module name -> distribution name, of what can change a video."""

IDENTITY = ("settings", "weights", "precision", "fast")
"""Fields that all videos of one folder must share, so that one name stands for one thing."""


@dataclass(frozen=True)
class Making:
    """How one video came to be, beside what its model says of itself."""

    seconds: Mapping[str, float]
    """Wall seconds by stage; a batch's stages are shared evenly among its videos."""
    batch: int
    """Pairs in the call that made it."""
    fast: bool = False
    """Whether the model was in its fast form."""


def said_by(model: Model) -> dict[str, object]:
    """What a model says of itself; nothing if it cannot."""
    return dict(model.provenance()) if isinstance(model, Traceable) else {}


def generated(
    job: Job, frames: Frames, fps: int | Fraction, video: bytes, said: Mapping[str, object], making: Making
) -> bytes:
    """The sidecar of a video that a model has just made; `said` is what the model said of itself then."""
    own = dict(said)
    record: dict[str, object] = {
        "origin": "generated",
        **_what(job),
        "settings": own.pop("settings", {}),
        "weights": own.pop("weights", None),
        "precision": own.pop("precision", None),
        "fast": making.fast,
        "device": {"asked": own.pop("device", "cpu"), "seen": device_name()},
        "packages": packages(),
        "seconds": {stage: round(value, 4) for stage, value in making.seconds.items()},
        "batch": making.batch,
        **_form(len(frames), frames.shape[2], frames.shape[1], Fraction(fps)),
        **_bytes(video),
    }
    if own:
        record["model_says"] = own
    return _json(record)


def imported(job: Job, video: bytes, shape: tuple[int, int, int], fps: Fraction, source: str) -> bytes:
    """The sidecar of a video made elsewhere; `shape` is (frames, height, width), `source` its file name."""
    return _json(
        {
            "origin": "imported",
            **_what(job),
            "source": {"file": source, "sha256": hashlib.sha256(video).hexdigest()},
            "packages": packages(),
            **_form(shape[0], shape[2], shape[1], fps),
            **_bytes(video),
        }
    )


def identity(record: Mapping[str, object]) -> dict[str, object]:
    """The part of a sidecar, or of `Traceable.provenance()`, that all videos of one folder must share, JSON-ready."""
    kept = {key: record.get(key) for key in IDENTITY} | {"fast": bool(record.get("fast"))}
    found: dict[str, object] = json.loads(json.dumps(kept, default=str))
    return found


def read_sidecar(video: Path) -> dict[str, object] | None:
    """The sidecar of a video in a local folder, or None where there is none."""
    path = video.with_suffix(".json")
    if not path.is_file():
        return None
    record: dict[str, object] = json.loads(path.read_text())
    return record


def packages() -> dict[str, str]:
    """Versions of Python and of the loaded packages that can change a video."""
    found = {"python": platform.python_version()}
    for module, distribution in _PACKAGES.items():
        if module in sys.modules:
            try:
                found[distribution] = version(distribution)
            except PackageNotFoundError:  # a checkout that is not installed
                found[distribution] = str(getattr(sys.modules[module], "__version__", "unknown"))
    return found


def device_name() -> str:
    """Name of the accelerator that torch sees in this process, else of the processor."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return platform.processor() or platform.machine()


def _what(job: Job) -> dict[str, object]:
    return {
        "pair_id": job.pair.id,
        "model": job.model,
        "seed": job.seed,
        "prompt": job.pair.prompt,
        "image": job.pair.image.name,
    }


def _form(frames: int, width: int, height: int, fps: Fraction) -> dict[str, object]:
    rate = int(fps) if fps.denominator == 1 else str(fps)
    return {"frames": frames, "width": width, "height": height, "fps": rate}


def _bytes(video: bytes) -> dict[str, object]:
    return {
        "bytes": len(video),
        "sha256": hashlib.sha256(video).hexdigest(),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _json(record: Mapping[str, object]) -> bytes:
    return (json.dumps(record, indent=1, ensure_ascii=False, default=str) + "\n").encode()
