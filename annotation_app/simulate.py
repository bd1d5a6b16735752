"""Simulated annotators: they vote through the same routes as people, and every vote of theirs is stored as simulated.

They see what people see, pictures only: the default judge decodes the two clips it is served and prefers, with noise,
the one in which more moves. Nothing they say is evidence about any model.
"""

import io
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import av
import httpx
import numpy as np

from annotation_app.settings import REASONS

_RETRIES = 12
_PATIENCE = 0.05


@dataclass(frozen=True)
class Judgement:
    """A simulated annotator's answer."""

    choice: str
    reasons: tuple[str, ...]


Judge = Callable[[bytes | None, bytes | None, random.Random], Judgement]


@dataclass
class Simulation:
    """What simulated annotators did; times are seconds as they saw them."""

    annotators: int = 0
    votes: int = 0
    """Acknowledged answers of all kinds."""
    choice_seconds: list[float] = field(default_factory=list)
    vote_seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    """Tokens whose vote was acknowledged."""


def prefer_motion(left: bytes | None, right: bytes | None, draw: random.Random) -> Judgement:
    """Prefer the clip in which more moves, nine times in ten where they differ clearly."""
    ratio = np.log((_motion(left) + 0.05) / (_motion(right) + 0.05))
    choice = "left" if draw.random() < 1 / (1 + np.exp(-3 * ratio)) else "right"
    return Judgement(choice, _some_reasons(draw))


def toss_coin(_: bytes | None, __: bytes | None, draw: random.Random) -> Judgement:
    """Prefer either; asks for no clip (for load tests)."""
    return Judgement(draw.choice(("left", "right")), _some_reasons(draw))


def simulate(
    url: str,
    secret: str,
    annotators: int,
    *,
    most: int | None = None,
    judge: Judge = prefer_motion,
    think: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
    workers: int | None = None,
) -> Simulation:
    """Let simulated annotators work until the study has nothing left for them.

    Args:
        url: where the study is served, started with `ServeOptions(simulation=secret)`.
        secret: that secret.
        annotators: how many.
        most: tasks each of them answers at most.
        judge: how they choose; `toss_coin` downloads nothing.
        think: seconds between two answers, drawn evenly from this range.
        seed: of all that is drawn.
        workers: annotators at work at the same time; default: all, but at most 32.
    """
    result = Simulation(annotators=annotators)
    with ThreadPoolExecutor(max_workers=workers or min(annotators, 32)) as pool:
        work = [
            pool.submit(_work, url, secret, number, most, judge, think, seed, result) for number in range(annotators)
        ]
        for entry in work:
            entry.result()
    return result


def _work(
    url: str,
    secret: str,
    number: int,
    most: int | None,
    judge: Judge,
    think: tuple[float, float],
    seed: int,
    result: Simulation,
) -> None:
    draw = random.Random(f"{seed}/{number}")
    with httpx.Client(base_url=url, timeout=30, limits=httpx.Limits(max_connections=1)) as client:
        state = _post(client, "/api/simulated", {"secret": secret, "name": f"{seed}/{number}"})["state"]
        done, rounds = 0, 0
        while most is None or done < most:
            if state["stage"] == "consent":
                state = _post(client, "/api/consent", {"agreed": True})["state"]
            elif state["stage"] == "instructions":
                state = _post(client, "/api/begin", {})["state"]
            elif state["stage"] == "task":
                time.sleep(draw.uniform(*think))
                state = _answer(client, state, judge, draw, result)
                done += 1
            elif state["stage"] == "finished" and rounds < _RETRIES:  # what others hold may still come back
                rounds += 1
                time.sleep(_PATIENCE)
                state = _post(client, "/api/more", {})["state"]
            else:
                return


def _answer(client: httpx.Client, state: Any, judge: Judge, draw: random.Random, result: Simulation) -> Any:
    clips = (None, None) if judge is toss_coin else tuple(client.get(state[side]).content for side in ("left", "right"))
    judgement = judge(clips[0], clips[1], draw)
    began = time.perf_counter()
    _post(client, "/api/choose", {"token": state["token"], "choice": judgement.choice})
    result.choice_seconds.append(time.perf_counter() - began)
    vote = {"token": state["token"], "choice": judgement.choice, "reasons": list(judgement.reasons), "loops": 1}
    began = time.perf_counter()
    reply = _post(client, "/api/vote", vote)
    result.vote_seconds.append(time.perf_counter() - began)
    if "saved" in reply:
        result.votes += 1
        result.tokens.append(state["token"])
    else:
        result.errors.append(str(reply.get("message")))
    return reply["state"]


def _post(client: httpx.Client, path: str, body: dict[str, object]) -> Any:
    """Post, and again where the server is away or busy, as the page does."""
    for attempt in range(_RETRIES):
        try:
            reply = client.post(path, json=body)
        except httpx.TransportError:
            reply = None
        if reply is not None and reply.status_code not in (429, 502, 503, 504):
            return reply.json()
        time.sleep(min(0.1 * 2**attempt, 2.0))
    raise ConnectionError(f"{client.base_url}{path} did not answer")


def _some_reasons(draw: random.Random) -> tuple[str, ...]:
    return tuple(reason for reason in REASONS if draw.random() < 0.4)


def _motion(clip: bytes | None) -> float:
    """Mean absolute change of grey value between frames, in grey levels."""
    if clip is None:
        return 0.0
    with av.open(io.BytesIO(clip), "r") as container:
        frames = np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])
    return float(np.abs(np.diff(frames.astype(np.int16), axis=0)).mean()) if len(frames) > 1 else 0.0
