"""A trained model as a folder: settings, weights, model card, and what a resumed run needs.

    OUT/checkpoint-001000/settings.json, unet.safetensors (averaged weights), README.md, state/

A checkpoint is written under another name and renamed when it is whole; a killed run leaves none that is broken.
"""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from motif.settings import BASE, MotifSettings, TrainSettings
from ti2v_bench import __version__
from ti2v_bench.errors import TI2VError

_NAME = re.compile(r"checkpoint-(\d{6,})")
SETTINGS, WEIGHTS, STATE = "settings.json", "unet.safetensors", "state"


class FolderError(TI2VError):
    """A folder that holds no trained MotiF model."""


@dataclass(frozen=True)
class Saved:
    """What `settings.json` says."""

    model: dict[str, object]
    """`motif.parts.to_json` of the settings."""
    train: dict[str, object]
    base: str | None
    """Where the frozen parts come from: None for VideoCrafter2's published file, else as `--weights` had it."""
    step: int


def checkpoints(out: Path) -> list[tuple[int, Path]]:
    """Whole checkpoints below `out`, oldest first."""
    found = [(int(match[1]), path) for path in out.glob("checkpoint-*") if (match := _NAME.fullmatch(path.name))]
    return sorted(found)


def latest(out: Path) -> Path | None:
    """The newest checkpoint below `out`, if any."""
    found = checkpoints(out)
    return found[-1][1] if found else None


def as_json(content: Mapping[str, object]) -> dict[str, object]:
    """As JSON gives it back: lists for tuples."""
    result: dict[str, object] = json.loads(json.dumps(content))
    return result


def write_settings(folder: Path, saved: Saved, settings: MotifSettings, train: TrainSettings) -> None:
    """`settings.json` and the model card."""
    (folder / SETTINGS).write_text(json.dumps(asdict(saved), indent=1), encoding="utf-8")
    (folder / "README.md").write_text(card(saved, settings, train), encoding="utf-8")


def read_settings(folder: Path) -> Saved:
    """What a checkpoint says of itself.

    Raises:
        FolderError: no such file, or another form.
    """
    path = folder / SETTINGS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Saved(**content)
    except FileNotFoundError as error:
        raise FolderError(
            f"{folder} has no {SETTINGS}: name a checkpoint folder that 'ti2v-bench motif train' wrote, or the folder "
            "that holds its checkpoints."
        ) from error
    except (ValueError, TypeError) as error:
        raise FolderError(f"{path} cannot be read: {error}. Train again, or copy it again.") from error


def publish(partial: Path, final: Path) -> None:
    """Give a finished checkpoint its name, in one step."""
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)


def prune(out: Path, keep: int) -> None:
    """Remove all but the newest `keep` + 1 checkpoints."""
    for _, path in checkpoints(out)[: -(keep + 1)]:
        shutil.rmtree(path)


def sweep(out: Path) -> None:
    """Remove what killed runs left unfinished."""
    for path in out.glob("*.partial"):
        shutil.rmtree(path, ignore_errors=True)


def card(saved: Saved, settings: MotifSettings, train: TrainSettings) -> str:
    """The model card: what was trained, from what, how, and what is not known."""
    rows: Mapping[str, object] = {
        "base": f"{BASE.repo}/{BASE.file}" if saved.base is None else saved.base,
        "conditioning": settings.conditioning,
        "size": f"{settings.frames} x {settings.height} x {settings.width}",
        "prediction": settings.prediction,
        "steps": f"{saved.step} of {train.steps}",
        "global batch": train.batch,
        "learning rate": train.learning_rate,
        "lambda": train.motion_weight,
        "heatmap": f"{train.heatmap.variant}, unit {train.heatmap.unit}",
        "flow": saved.train.get("flow", "unknown"),
        "text drop": train.text_drop,
        "EMA": train.ema or "none",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return (
        f"---\ntags: [text-image-to-video, motif]\n---\n# MotiF, trained with ti2v-bench {__version__}\n\n"
        f"| | |\n|---|---|\n{table}\n\n"
        "A re-implementation of MotiF (arXiv 2412.16153) from public descriptions; the authors' code and weights are "
        "not public. Not published, and chosen here: the unit of the flow in the heatmap, the last frame's heatmap, "
        "the range of frame strides, optimiser, warm-up, EMA, and how the new input channels begin (zero).\n\n"
        "    ti2v-bench motif sample IMAGE PROMPT --weights FOLDER\n"
    )
