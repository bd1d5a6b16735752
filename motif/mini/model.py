"""The two shipped checkpoints as Models of the registry; they run on one CPU core in about a second per video."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import Tensor

from baselines.settings import with_changes
from motif.mini.net import MiniSettings, MiniUNet
from motif.mini.sampling import sample, to_uint8
from motif.mini.text import encode
from ti2v_bench.errors import TI2VError
from ti2v_bench.model import Frames, ModelOptions
from ti2v_bench.pictures import open_picture
from ti2v_bench.records import Pair

CHECKPOINTS = Path(__file__).parent / "checkpoints"


class MiniError(TI2VError):
    """A checkpoint that is no small network of ours."""


@dataclass(frozen=True)
class SampleSettings:
    """How the small networks draw."""

    steps: int = 6
    """DDIM steps."""
    guidance: float = 2.0


def load_mini(path: Path) -> tuple[MiniUNet, tuple[str, ...]]:
    """The network of a checkpoint in float32, and the words it knows.

    Raises:
        MiniError: unreadable, or not written by the study.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - not a mapping
        net: Any = {key: tuple(v) if isinstance(v, list) else v for key, v in json.loads(about["net"]).items()}
        model = MiniUNet(MiniSettings(**net))
        model.load_state_dict(state)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise MiniError(f"{path} is not a checkpoint of a small MotiF network: {str(error).splitlines()[0]}") from error
    return model.eval().requires_grad_(False), tuple(about["vocabulary"].split())


class Mini:
    """A small network as the runner sees it."""

    fps = 4

    def __init__(self, name: str, path: Path, settings: SampleSettings, device: str = "cpu") -> None:
        self.name, self.path, self.settings, self.device = name, path, settings, device
        self.model, self.words = load_mini(path)
        self.model.to(device)

    @torch.inference_mode()
    def generate(self, pair: Pair, seed: int) -> Frames:
        """(8, 64, 64, 3) uint8; the picture is brought to 64x64 whatever its shape."""
        net = self.model.settings
        shape = (1, 3, net.frames, net.size, net.size)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device)
        image = picture(pair.image, net.size).to(self.device)
        ids = torch.from_numpy(encode([pair.prompt], self.words)).to(self.device)
        clip = to_uint8(sample(self.model, image, ids, noise, self.settings.steps, self.settings.guidance))
        frames: Frames = clip[0].permute(1, 2, 3, 0).cpu().numpy()
        return frames

    def provenance(self) -> Mapping[str, object]:
        """See Traceable."""
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        weights = [{"repo": None, "revision": None, "file": self.path.name, "sha256": digest}]
        return {
            "settings": asdict(self.settings),
            "weights": weights,
            "precision": "float32",
            "device": self.device,
        }


def picture(path: Path, size: int) -> Tensor:
    """(1, 3, size, size) in [-1, 1]; area-averaged, as the training clips would be at a smaller size."""
    small = open_picture(path).resize((size, size), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(small, np.float32)).permute(2, 0, 1)[None] / 127.5 - 1


def build_motif_mini(options: ModelOptions) -> Mini:
    """`motif-mini`: trained with the motion focal loss."""
    return _build("motif-mini", options)


def build_plain_mini(options: ModelOptions) -> Mini:
    """`plain-mini`: the same without it."""
    return _build("plain-mini", options)


def _build(name: str, options: ModelOptions) -> Mini:
    if options.weights in ("random-tiny", "random-full"):
        raise MiniError(f"Model {name!r} ships with its weights; leave --weights away, or name a file of the study.")
    if options.precision not in (None, "float32"):
        raise MiniError(f"Model {name!r} runs in float32 only, not in {options.precision!r}.")
    path = Path(options.weights) if options.weights else CHECKPOINTS / f"{name}.safetensors"
    settings = with_changes(SampleSettings(), options.settings)
    if settings.steps < 1:
        raise MiniError(f"Setting steps={settings.steps} of {name!r} must be at least 1.")
    return Mini(name, path, settings, options.device)
