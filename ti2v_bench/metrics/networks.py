"""The networks whose features the metrics compare: CLIP and DINO through transformers, plug-ins by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ti2v_bench.metrics.catalogue import MetricError
from ti2v_bench.replay import Replayed

RANDOM = ("random-tiny", "random-full")
_SEED = 0
_SHAPES = 3
"""Batches of a network that are replayed on CUDA: full ones, one image of each clip, and a spare."""


class Embedder(Protocol):
    """A network that turns pictures into vectors."""

    identity: str
    """Which weights these are; part of every cached value's key."""

    def embed(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W), prepared as the feature asks, to (N, D)."""


@dataclass(frozen=True)
class Source:
    """Where a network's weights are published. Revisions are those that public projects pin."""

    repo: str
    revision: str
    kind: str
    """`clip` or `dino`."""


NETWORKS = {
    "clip-b32": Source("openai/clip-vit-base-patch32", "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268", "clip"),
    "clip-l14": Source("openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41", "clip"),
    "dino-b16": Source("facebook/dino-vitb16", "f205d5d8e640a89a2b8ef0369670dfc37cc07fc2", "dino"),
}
_FULL_CLIP: dict[str, dict[str, Any]] = {
    "clip-b32": {"vision_config": {"hidden_act": "quick_gelu"}, "text_config": {"hidden_act": "quick_gelu"}},
    "clip-l14": {
        "projection_dim": 768,
        "vision_config": {
            "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
            "patch_size": 14,
        },
        "text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
    },
}  # fmt: skip
_TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


class ClipNetwork:
    """CLIP's two towers. Published (VBench): half precision on CUDA, as in the `clip` package; float32 elsewhere."""

    def __init__(
        self, model: nn.Module, tokenise: Callable[[list[str]], dict[str, Tensor]], identity: str, device: str
    ):
        self.dtype = torch.float16 if torch.device(device).type == "cuda" else torch.float32
        self._model: Any = model.eval().requires_grad_(False).to(device, self.dtype)
        self._tokenise, self.identity, self._device = tokenise, identity, device
        self._seen = Replayed(self._see, keep=_SHAPES)

    @torch.no_grad()
    def embed(self, pictures: Tensor) -> Tensor:
        """(N, 3, 224, 224) normalised to (N, D) float32, not of unit length."""
        vectors: Tensor = self._seen(pictures.to(self._device, self.dtype))
        return vectors

    def _see(self, pictures: Tensor) -> Tensor:
        return _plain(self._model.get_image_features(pixel_values=pictures)).float()

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Sentences to (N, D) float32, not of unit length."""
        tokens = {name: value.to(self._device) for name, value in self._tokenise(list(texts)).items()}
        return _plain(self._model.get_text_features(**tokens)).float()


class DinoNetwork:
    """DINO ViT's output vector: the class token after the last norm, in float32."""

    def __init__(self, model: Any, identity: str, device: str) -> None:
        self._model = model
        self._model.eval().requires_grad_(False).to(device)
        self._model.embeddings.interpolate_pos_encoding = partial(_dino_positions, self._model.embeddings)
        self.identity, self._device = identity, device
        self._seen = Replayed(self._see, keep=_SHAPES)

    @torch.no_grad()
    def embed(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) normalised, any size of at least a patch, to (N, D) float32."""
        vectors: Tensor = self._seen(pictures.to(self._device))
        return vectors

    def _see(self, pictures: Tensor) -> Tensor:
        out: Tensor = self._model(pictures, interpolate_pos_encoding=True).last_hidden_state[:, 0]
        return out.float()


def _dino_positions(embeddings: Any, _: Tensor, height: int, width: int) -> Tensor:
    """Position vectors for inputs that are not square. Published: the scale is (cells + 0.1) / 14, not cells / 14."""
    table: Tensor = embeddings.position_embeddings
    side = round((table.shape[1] - 1) ** 0.5)
    rows, columns = height // embeddings.patch_size, width // embeddings.patch_size
    if (rows, columns) == (side, side):
        return table
    grid = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = ((rows + 0.1) / side, (columns + 0.1) / side)
    grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
    return torch.cat([table[:, :1], grid.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)], dim=1)


def load_network(name: str, weights: str | None = None, device: str = "cpu") -> Embedder:
    """The network called `name`.

    Args:
        name: in NETWORKS.
        weights: None for the published ones from the Hub at the pinned revision; `random-tiny`, `random-full`; or a
            local folder in the Hub's form.
        device: torch device.

    Raises:
        MetricError: unknown name, or weights that cannot be had.
    """
    if name not in NETWORKS:
        raise MetricError(f"No network is called {name!r}. Known: {', '.join(NETWORKS)}.")
    source = NETWORKS[name]
    if weights in RANDOM:
        return _random(name, source.kind, weights == "random-tiny", f"{name} ({weights}, seed {_SEED})", device)
    where = weights or source.repo
    revision = None if weights else source.revision
    identity = f"{where}@{revision}" if revision else where
    if weights and not Path(weights).is_dir():
        raise MetricError(f"There is no folder {weights} with the weights of {name}. Give one in the Hub's form.")
    try:
        return _published(source.kind, where, revision, identity, device)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise MetricError(
            f"The weights of {name} ({where}) could not be loaded: {first} Check the connection, or give a local "
            f"folder with --weights {name}=FOLDER."
        ) from error


def _published(kind: str, where: str, revision: str | None, identity: str, device: str) -> Embedder:
    from transformers import CLIPModel, CLIPTokenizer, ViTModel

    if kind == "dino":
        model = ViTModel.from_pretrained(where, revision=revision, add_pooling_layer=False)
        return DinoNetwork(model, identity, device)
    tokeniser = CLIPTokenizer.from_pretrained(where, revision=revision)
    return ClipNetwork(CLIPModel.from_pretrained(where, revision=revision), _words(tokeniser), identity, device)


def _random(name: str, kind: str, tiny: bool, identity: str, device: str) -> Embedder:
    """The same architecture with seeded random weights."""
    from transformers import CLIPConfig, CLIPModel, ViTConfig, ViTModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        if kind == "dino":
            config = ViTConfig(**(_TINY if tiny else {}), image_size=224, patch_size=16)
            return DinoNetwork(ViTModel(config, add_pooling_layer=False), identity, device)
        sizes = {"vision_config": _TINY | {"patch_size": 32}, "text_config": _TINY, "projection_dim": 16}
        model = CLIPModel(CLIPConfig(**(sizes if tiny else _FULL_CLIP[name])))
    return ClipNetwork(model, _bytes_as_tokens, identity, device)


def _words(tokeniser: Any) -> Callable[[list[str]], dict[str, Tensor]]:
    return lambda texts: dict(tokeniser(texts, padding=True, truncation=True, return_tensors="pt"))


def _bytes_as_tokens(texts: list[str]) -> dict[str, Tensor]:
    """For random weights, which have no vocabulary: one token per byte between CLIP's begin and end."""
    rows = [[49406, *text.encode()[:75], 49407] for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [49407] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


def _plain(found: Any) -> Tensor:
    """transformers 5 wraps projected features in an output object; earlier ones give the tensor."""
    vectors: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return vectors


def load_aesthetic_head(weights: str | None) -> nn.Linear:
    """LAION's linear head, 768 to 1.

    Raises:
        MetricError: no file given, or not that head.
    """
    if weights in RANDOM:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            return nn.Linear(768 if weights == "random-full" else 16, 1)
    if weights is None or not Path(weights).is_file():
        raise MetricError(
            f"aesthetic_quality needs LAION's head, sa_0_4_vit_l_14_linear.pth of github.com/LAION-AI/"
            f"aesthetic-predictor (not on the Hub); got {weights!r}. Give --weights aesthetic-head=FILE."
        )
    head = nn.Linear(768, 1)
    try:
        head.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except (RuntimeError, OSError, ValueError, TypeError, AttributeError, EOFError, UnpicklingError) as error:
        raise MetricError(f"{weights} is not LAION's head (weight 1x768, bias 1). Download it again.") from error
    return head


def load_plugin(name: str, target: str | None) -> Any:
    """The opt-in network of metric `name`, from the user's own `package.module:callable` or from the usual package.

    Raises:
        MetricError: the package is not installed, or no usual one exists.
    """
    target = target or USUAL.get(name)
    if target is None:
        raise MetricError(
            f"{name} needs a network whose licence forbids commercial use, so none is included. "
            f"Give your own: --plugin {name}=package.module:callable (docs/metrics.md says what it must do)."
        )
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)()
    except (ImportError, AttributeError) as error:
        raise MetricError(f"The network of {name} could not be loaded from {target!r}: {error}.") from error


USUAL = {
    "i2v_background": "ti2v_bench.metrics.plugins:dreamsim",
    "imaging_quality": "ti2v_bench.metrics.plugins:musiq",
}
