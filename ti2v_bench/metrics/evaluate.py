"""Measures many videos: each is decoded once for all metrics; what was measured before is not measured again."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from time import perf_counter

from ti2v_bench.metrics.cache import Value, ValueCache, key
from ti2v_bench.metrics.catalogue import MetricCard
from ti2v_bench.metrics.clip import Clip, Undefined
from ti2v_bench.metrics.features import FEATURES, make_features, prepare_early
from ti2v_bench.metrics.metric import VideoMetric
from ti2v_bench.metrics.networks import Embedder
from ti2v_bench.metrics.threads import one_core_each
from ti2v_bench.metrics.videos import VideoFile, image_digest
from ti2v_bench.motion.flow import FlowBackend
from ti2v_bench.tf32 import products_in_tf32
from ti2v_bench.video import VideoError

_FLOWS = 2
"""Threads that make flow beside the networks on a GPU: one copies its flow back while the other's is made."""


@dataclass(frozen=True)
class Tools:
    """Everything that the metrics are made with."""

    metrics: Mapping[str, VideoMetric]
    cards: Sequence[MetricCard]
    fingerprints: Mapping[str, str]
    """Per metric: what its values depend on besides the video (networks, flow, settings)."""
    networks: Mapping[str, Embedder] = field(default_factory=dict)
    """By the names that FEATURES states."""
    flow: FlowBackend | None = None
    flow_in_threads: bool = True
    """Whether several clips' flow may be made at once (on the CPU)."""
    prefix: str = ""
    device: str = "cpu"
    batch: int = 64
    """Pictures per call of a network."""
    workers: int = 2
    """Threads that decode and measure what needs no network."""
    tf32: bool = False
    """Whether float32 matrix products on a GPU round their factors to TF32."""


@dataclass(frozen=True)
class Measured:
    """One video's values, by metric."""

    video: VideoFile
    sha256: str
    values: Mapping[str, Value]


@dataclass
class _Job:
    video: VideoFile
    sha256: str
    keys: dict[str, str]
    values: dict[str, Value]
    clip: Clip | None = None
    """None where every value was known."""


@dataclass
class _Group:
    """Clips whose networks have run together; their flow, and what is scored with either, may still be under way."""

    jobs: list[_Job]
    scored: "list[Future[None]]"
    flowing: "list[Future[Future[None]]]"
    """The flow of each clip, which leads to what is scored with it."""


@dataclass
class Stopwatch:
    """Seconds per part, summed over threads; shared by all of one run (a lost update only blurs a share)."""

    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, part: str, start: float) -> None:
        """Count the time since `start` to `part`."""
        self.seconds[part] = self.seconds.get(part, 0.0) + perf_counter() - start


def evaluate(
    videos: Sequence[VideoFile],
    tools: Tools,
    cache: ValueCache,
    done: Callable[[VideoFile], None] = lambda _: None,
    failed: Callable[[VideoFile, VideoError], None] = lambda _, __: None,
    watch: Stopwatch | None = None,
) -> list[Measured]:
    """Measure `videos`; those that cannot be decoded are given to `failed` and left out.

    Args:
        videos: Any number; few are in memory at once.
        tools: Metrics, networks, flow.
        cache: Read first, written after every few videos, so that a run can be broken off and resumed.
        done: Called per finished video, e.g. to move a progress bar.
        failed: Called per video that cannot be decoded.
        watch: Takes the time per part.

    Raises:
        StorageError: the cache cannot be written.
    """
    watch = watch or Stopwatch()
    found: list[Measured] = []
    features = _wanted_features(tools)
    most = max(1, tools.batch // 16) if features or not tools.flow_in_threads else 1
    waiting: list[_Job] = []
    groups: deque[_Group] = deque()

    def settle() -> None:
        group = groups.popleft()
        _settle(group, tools, cache, watch)
        for job in group.jobs:
            found.append(Measured(job.video, job.sha256, {name: job.values[name] for name in tools.metrics}))
            done(job.video)

    with (
        products_in_tf32() if tools.tf32 else nullcontext(),
        one_core_each(tools.workers, tools.device) as preparers,
        one_core_each(tools.workers) as scorers,
        one_core_each(_FLOWS, tools.device) as flowers,
    ):
        for video, result in _prepared(videos, tools, cache, watch, preparers):
            if isinstance(result, VideoError):
                failed(video, result)
                continue
            waiting.append(result)
            if sum(job.clip is not None for job in waiting) >= most or len(waiting) >= 256:
                groups.append(_begin(waiting, tools, features, watch, scorers, flowers))
                waiting = []
                if len(groups) > 1:  # while one group's flow is made, the next one's networks run
                    settle()
        groups.append(_begin(waiting, tools, features, watch, scorers, flowers))
        while groups:
            settle()
    return found


def _prepared(
    videos: Sequence[VideoFile], tools: Tools, cache: ValueCache, watch: Stopwatch, pool: Executor
) -> Iterator[tuple[VideoFile, "_Job | VideoError"]]:
    """Decoded videos in order, a few ahead, with everything measured that needs no network."""
    ahead: deque[tuple[VideoFile, Future[_Job]]] = deque()
    rest = iter(videos)
    try:
        while True:
            while len(ahead) < 2 * tools.workers and (video := next(rest, None)) is not None:
                ahead.append((video, pool.submit(_prepare, video, tools, cache, watch)))
            if not ahead:
                return
            video, future = ahead.popleft()
            try:
                yield video, future.result()
            except VideoError as error:
                yield video, error
    finally:
        for _, future in ahead:
            future.cancel()


def _prepare(video: VideoFile, tools: Tools, cache: ValueCache, watch: Stopwatch) -> _Job:
    """Look up what is known; if anything is not, decode and measure what can be measured here.

    Raises:
        VideoError: the file cannot be decoded.
    """
    try:
        digest, image = video.digest(), image_digest(video.pair)
    except OSError as error:
        raise VideoError(f"{video.path} cannot be read ({error.strerror}).") from error
    keys = {name: key(digest, image, video.pair.prompt, tools.fingerprints[name]) for name in tools.metrics}
    known = {name: value for name, at in keys.items() if (value := cache.get(at)) is not None}
    job = _Job(video, digest, keys, known)
    if len(known) == len(keys):
        return job
    start = perf_counter()
    job.clip = video.clip(tools.flow)
    watch.add("decode", start)
    here = [card for card in tools.cards if card.name not in known and _in_thread(card, tools)]
    _make_flow(job, here, watch)
    _score(job, here, tools, watch)
    start = perf_counter()
    prepare_early(job.clip, _wanted_features(tools, known), tools.device)
    watch.add("preparation", start)
    return job


def _begin(
    jobs: list[_Job], tools: Tools, features: Sequence[str], watch: Stopwatch, scorers: Executor, flowers: Executor
) -> _Group:
    """Run the networks on all jobs together; on a GPU their flow is made beside that, on the CPU after it."""
    group = _Group(jobs, [], [])
    clips = [job.clip for job in jobs if job.clip is not None]
    left = [
        (job, [card for card in tools.cards if card.name not in job.values]) for job in jobs if job.clip is not None
    ]
    beside = _flow_beside(tools)
    if beside:
        for job, cards in left:
            with_flow = [card for card in cards if card.flow]
            group.flowing.append(flowers.submit(_flow_then_score, job, with_flow, tools, watch, scorers))
    for name in features if clips else ():
        start = perf_counter()
        with _no_grad():
            make_features(clips, [name], tools.networks, tools.prefix, tools.batch, tools.device)
        watch.add(name, start)
    for job, cards in left:
        here = [card for card in cards if not (beside and card.flow)]
        _make_flow(job, here, watch)
        shared = [card for card in here if card.part is None]
        group.scored.append(scorers.submit(_score, job, shared, tools, watch))
    return group


def _flow_beside(tools: Tools) -> bool:
    """Whether flow is made while the networks run: a GPU takes it from any thread."""
    return tools.device.startswith("cuda") and not tools.flow_in_threads


def _flow_then_score(
    job: _Job, cards: Sequence[MetricCard], tools: Tools, watch: Stopwatch, scorers: Executor
) -> "Future[None]":
    _make_flow(job, cards, watch)
    return scorers.submit(_score, job, [card for card in cards if card.part is None], tools, watch)


def _settle(group: _Group, tools: Tools, cache: ValueCache, watch: Stopwatch) -> None:
    """Wait for a group's scores, score what brings a network of its own, keep all."""
    for future in [*(flowing.result() for flowing in group.flowing), *group.scored]:
        future.result()
    fresh: dict[str, Value] = {}
    for job in group.jobs:
        if job.clip is None:
            continue
        # What brings a network of its own stays in this thread.
        _score(job, [card for card in tools.cards if card.name not in job.values], tools, watch)
        fresh |= {job.keys[name]: value for name, value in job.values.items() if cache.get(job.keys[name]) is None}
        job.clip = None
    if fresh:
        cache.put(fresh)


def _make_flow(job: _Job, cards: Sequence[MetricCard], watch: Stopwatch) -> None:
    assert job.clip is not None
    if any(card.flow for card in cards) and len(job.clip.frames) > 1:
        start = perf_counter()
        with suppress(Undefined):
            job.clip.flow()
        watch.add("flow", start)


def _score(job: _Job, cards: Sequence[MetricCard], tools: Tools, watch: Stopwatch) -> None:
    assert job.clip is not None
    for card in cards:
        start = perf_counter()
        try:
            with _no_grad():
                job.values[card.name] = Value(tools.metrics[card.name].score(job.clip))
        except Undefined as why:
            job.values[card.name] = Value(None, str(why))
        watch.add(card.name, start)


def _in_thread(card: MetricCard, tools: Tools) -> bool:
    return card.free and (tools.flow_in_threads or not card.flow)


def _wanted_features(tools: Tools, known: Collection[str] = ()) -> list[str]:
    wanted = {name for card in tools.cards if card.name not in known for name in card.features}
    return [name for name in FEATURES if name in wanted]


def _no_grad() -> AbstractContextManager[object]:
    import torch

    return torch.no_grad()
