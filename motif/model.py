"""MotiF as a Model of the registry, from any folder or Hub repository that `motif train` wrote."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from baselines.checkpoints import is_random, random_state, read_state, sha256
from baselines.fast import speed_up
from baselines.lvdm.unet import REPEATED, UNet
from baselines.settings import with_changes
from motif.data import fitted
from motif.folder import WEIGHTS, FolderError, latest, read_settings
from motif.parts import Encoders, build_unet, from_json, load_encoders, tiny
from motif.pipeline import Conditions, sample_latents
from motif.settings import MotifSettings, SampleSettings
from ti2v_bench.model import Frames, ModelOptions
from ti2v_bench.pictures import read_picture
from ti2v_bench.records import Pair


class Motif:
    """A trained network, its frozen encoders, and how to sample."""

    def __init__(
        self,
        unet: UNet,
        encoders: Encoders,
        model: MotifSettings,
        settings: SampleSettings,
        record: Mapping[str, object],
        name: str = "motif",
    ) -> None:
        self.name, self.fps = name, settings.fps
        self.unet, self.encoders, self.model, self.settings, self.record = unet, encoders, model, settings, record

    @torch.inference_mode()
    def generate(self, pair: Pair, seed: int) -> Frames:
        """(F, H, W, 3) uint8; the picture is cropped at its centre to the network's shape."""
        generator = torch.Generator().manual_seed(seed)
        picture = load_picture(pair.image, self.model.height, self.model.width).to(self.encoders.device)
        image = self.encoders.latents(picture[:, :, None])[:, :, 0]
        context = self.encoders.context([pair.prompt, ""], picture.expand(2, -1, -1, -1))
        shape = (1, image.shape[1], self.model.frames, *image.shape[2:])
        noise = torch.randn(shape, generator=generator).to(image.device)
        conditions = Conditions(image, context[:1], context[1:], self.settings.fps)
        latents = sample_latents(
            self.unet, self.model.network(), self.model.prediction, conditions, noise, self.settings, generator
        )
        pixels = self.encoders.pixels(latents)[0]
        frames: Frames = ((pixels.float() + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 3, 0).cpu().numpy()
        return frames

    def provenance(self) -> Mapping[str, object]:
        """See Traceable."""
        parameter = next(self.unet.parameters())
        return {
            "settings": asdict(self.settings) | {"model": asdict(self.model)},
            "weights": [self.record, *self.encoders.records],
            "precision": str(parameter.dtype).removeprefix("torch."),
            "device": str(parameter.device),
        }


def load_picture(path: Path, height: int, width: int) -> Tensor:
    """(1, 3, H, W) in [-1, 1]; the largest centred part of the right shape."""
    picture = read_picture(path)
    return torch.from_numpy(fitted(picture, height, width)).permute(2, 0, 1)[None].float() / 127.5 - 1


def build_motif(options: ModelOptions) -> Motif:
    """The registered model.

    Raises:
        FolderError: no weights are named, or the folder holds no trained model.
        CheckpointError: VideoCrafter2's file is absent or not the expected one.
    """
    settings = with_changes(SampleSettings(), options.settings)
    dtype = getattr(torch, options.precision or ("bfloat16" if options.device.startswith("cuda") else "float32"))
    if options.weights is None:
        raise FolderError(
            "No MotiF weights are published. Train some ('ti2v-bench motif train') and name the folder or Hub "
            "repository with --weights; 'motif-mini' is a small trained model that ships with this package."
        )
    if is_random(options.weights):
        model = tiny(MotifSettings()) if options.weights == "random-tiny" else MotifSettings()
        state = random_state(lambda: UNet(model.network()), 0)
        encoders = load_encoders(model, options.weights, dtype, options.device)
        record: dict[str, object] = {"random": options.weights, "seed": 0}
        unet = build_unet(model, state, dtype, options.device)
        return _ready(Motif(unet, encoders, model, settings, record), options)
    folder = find_folder(options.weights)
    saved = read_settings(folder)
    model = from_json(saved.model)
    encoders = load_encoders(model, saved.base, dtype, options.device)
    path = folder / WEIGHTS
    # Copied to aligned memory: kernels round differently where a mapped file's tensors happen to begin.
    state = {key: value.clone() for key, value in read_state(path).items()}
    unet = build_unet(model, state, dtype, options.device)
    record = {"repo": None, "revision": None, "file": str(path), "sha256": sha256(path), "step": saved.step}
    return _ready(Motif(unet, encoders, model, settings, record), options)


def _ready(model: Motif, options: ModelOptions) -> Motif:
    """In the form that was asked for, exact or fast."""
    if options.fast:
        speed_up(model.unet, REPEATED, options.compile_cache)
    return model


def find_folder(weights: str) -> Path:
    """The checkpoint folder that `weights` names: itself, the newest one below it, or a Hub repository `owner/name`.

    Raises:
        FolderError: nothing there.
    """
    given = Path(weights)
    if given.is_dir():
        return given if (given / WEIGHTS).is_file() else latest(given) or given
    if weights.count("/") != 1 or given.exists():
        raise FolderError(f"There is no folder {weights}; name one, or a Hub repository as owner/name.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(weights, allow_patterns=["settings.json", WEIGHTS, "README.md"]))
    except Exception as error:  # the Hub's client raises many kinds; all of them mean "not here" to the user
        reason = str(error).strip().split("\n")[0]
        raise FolderError(f"Neither a folder nor a Hub repository {weights} could be read: {reason}") from error
