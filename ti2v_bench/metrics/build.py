"""From a user's wishes to metrics with their networks, and the words that say what every value depends on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ti2v_bench.metrics.alignment import AlignmentSettings
from ti2v_bench.metrics.catalogue import MetricCard, MetricError, chosen
from ti2v_bench.metrics.evaluate import Tools
from ti2v_bench.metrics.features import FEATURES
from ti2v_bench.metrics.metric import VideoMetric
from ti2v_bench.metrics.networks import NETWORKS, RANDOM, Embedder, load_aesthetic_head, load_network, load_plugin
from ti2v_bench.motion.flow import FlowBackend, flow_backend

_REVISION = "2"
"""Raised when the meaning of any value changes, so that cached values are made again."""
PARTS = (*NETWORKS, "raft", "aesthetic-head")
"""What weights can be given for."""


@dataclass(frozen=True)
class Wishes:
    """What a user may choose."""

    metrics: tuple[str, ...] = ("free",)
    """Names and groups of the catalogue."""
    flow: str = "dis"
    """`dis` or `raft`."""
    device: str = "cpu"
    weights: Mapping[str, str] = field(default_factory=dict)
    """Part -> local file or folder, `random-tiny` or `random-full`; the key `all` stands for every part."""
    plugins: Mapping[str, str] = field(default_factory=dict)
    """Opt-in metric -> `package.module:callable`."""
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)
    batch: int = 64
    workers: int = 2
    tf32: bool = False
    """Float32 matrix products on a GPU round their factors to TF32; published scores did not."""


def build_tools(wishes: Wishes) -> Tools:
    """Load what the chosen metrics need, and nothing else.

    Raises:
        MetricError: unknown names, or weights that cannot be had.
        FlowError: unknown backend, or RAFT without a checkpoint.
    """
    cards = chosen(wishes.metrics)
    _check(wishes)
    networks = _networks(cards, wishes)
    flow = _flow(wishes) if any(card.flow for card in cards) else None
    built = {card.name: _metric(card, wishes) for card in cards}
    prints = {card.name: _fingerprint(card, networks, flow, wishes) for card in cards}
    return Tools(
        metrics=built,
        cards=cards,
        fingerprints=prints,
        networks=networks,
        flow=flow,
        flow_in_threads=wishes.flow == "dis",
        prefix=wishes.alignment.prefix,
        device=wishes.device,
        batch=wishes.batch,
        workers=wishes.workers,
        tf32=wishes.tf32,
    )


def describe(tools: Tools, wishes: Wishes) -> dict[str, Any]:
    """What the values were made with, JSON-ready, to be kept beside them."""
    return {
        "flow": tools.flow.name if tools.flow else None,
        "networks": {name: network.identity for name, network in tools.networks.items()},
        "weights": dict(wishes.weights),
        "plugins": dict(wishes.plugins),
        "alignment": asdict(wishes.alignment),
        "device": wishes.device,
        "tf32": wishes.tf32,
        "fingerprints": dict(tools.fingerprints),
    }


def _check(wishes: Wishes) -> None:
    for part in wishes.weights:
        if part not in (*PARTS, "all"):
            raise MetricError(f"Weights can be given for {', '.join(PARTS)} or all, not for {part!r}.")
    if wishes.alignment.network not in NETWORKS or NETWORKS[wishes.alignment.network].kind != "clip":
        clips = ", ".join(name for name, source in NETWORKS.items() if source.kind == "clip")
        raise MetricError(f"Alignment needs a CLIP network, not {wishes.alignment.network!r}. Known: {clips}.")


def _weights(wishes: Wishes, part: str) -> str | None:
    return wishes.weights.get(part, wishes.weights.get("all"))


def _networks(cards: Sequence[MetricCard], wishes: Wishes) -> dict[str, Embedder]:
    wanted = {FEATURES[feature].network for card in cards for feature in card.features}
    loaded: dict[str, Embedder] = {}
    for name in sorted(wanted - {"align", "dreamsim"} | ({wishes.alignment.network} if "align" in wanted else set())):
        loaded[name] = load_network(name, _weights(wishes, name), wishes.device)
    if "align" in wanted:
        loaded["align"] = loaded[wishes.alignment.network]
    if "dreamsim" in wanted:
        loaded["dreamsim"] = load_plugin("i2v_background", wishes.plugins.get("i2v_background"))
    return loaded


def _flow(wishes: Wishes) -> FlowBackend:
    weights = _weights(wishes, "raft")
    if wishes.flow == "raft" and weights in RANDOM:
        import torch

        from ti2v_bench.motion.raft import Raft, RaftFlow

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return RaftFlow(Raft(), f"{weights}, seed 0", wishes.device, batch=16)
    return flow_backend(wishes.flow, Path(weights) if weights and weights not in RANDOM else None, wishes.device)


def _metric(card: MetricCard, wishes: Wishes) -> VideoMetric:
    module, _, name = card.build.partition(":")
    kind: type[Any] = getattr(import_module(f"ti2v_bench.metrics.{module}"), name)
    if card.name in ("image_alignment", "text_alignment"):
        built: VideoMetric = kind(wishes.alignment)
    elif card.part == "aesthetic-head":
        built = kind(load_aesthetic_head(_weights(wishes, "aesthetic-head")))
    elif card.part is not None:
        built = kind(load_plugin(card.part, wishes.plugins.get(card.part)))
    else:
        built = kind()
    return built


def _fingerprint(card: MetricCard, networks: Mapping[str, Embedder], flow: FlowBackend | None, wishes: Wishes) -> str:
    words = [card.name, _REVISION]
    if card.flow and flow is not None:
        words.append(flow.name)
    for feature in card.features:
        words.append(f"{feature}={networks[FEATURES[feature].network].identity}")
    if card.group == "alignment":
        words.append(str(wishes.alignment))
    if card.part is not None:
        given = wishes.plugins.get(card.part) or _weights(wishes, card.part)
        words.append(f"{card.part}={given or 'usual'}")
    if wishes.tf32 and (card.features or (card.flow and wishes.flow == "raft")):
        words.append("TF32 products")
    return " | ".join(words)
