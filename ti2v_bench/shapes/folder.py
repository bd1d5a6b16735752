"""The embedded bench as a folder like any other: `prompt.csv`, images, and `scenes.json`, from which it is redrawn."""

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ti2v_bench.bench import TABLE, pair_id
from ti2v_bench.files import write_bytes
from ti2v_bench.records import Pair
from ti2v_bench.shapes.drawing import render
from ti2v_bench.shapes.sampling import Rng, sample_actions, sample_scenes
from ti2v_bench.shapes.scenes import Scenes, from_json, join, to_json
from ti2v_bench.shapes.truth import prompts
from ti2v_bench.shapes.words import TEXTURES, ShapesError, Vocabulary

SCENES = "scenes.json"
_PROMPTS_PER_IMAGE = 4
_VERSION = 1


def write_shapes(
    folder: Path,
    pairs: int = 96,
    size: int = 128,
    frames: int = 16,
    fps: int = 8,
    seed: int = 0,
    vocabulary: Vocabulary | None = None,
) -> None:
    """Draw a bench into `folder`; same arguments, same bytes.

    Four prompts ask for four different things to happen in each image; images are spread over the textures, which are
    the scenarios. A bench that was drawn here before is replaced, another one never.

    Args:
        folder: Made if it does not exist.
        pairs: How many, at least 1.
        size: Side of the square images in pixels, even, at least 8.
        frames: Of the true videos, at least 1.
        fps: Of the true videos, at least 1.
        seed: Of everything random, at least 0.
        vocabulary: Words and held-out combinations; None for all words.

    Raises:
        ShapesError: a number out of range, a vocabulary too small for so many different prompts, or `folder` holds a
            bench that was not drawn.
        StorageError: a file cannot be written.
    """
    for name, value in (("pairs", pairs), ("frames", frames), ("fps", fps)):
        if value < 1:
            raise ShapesError(f"A bench cannot have {value} {name}; give at least 1.")
    if size % 2:
        raise ShapesError(f"A bench's true videos are H.264 and need an even size, but it is {size}; give {size + 1}.")
    if (folder / TABLE).exists() and not (folder / SCENES).exists():
        raise ShapesError(f"{folder} holds a bench that was not drawn; drawing would replace it. Give another folder.")
    names, scenes = _compose(pairs, np.random.default_rng(seed), vocabulary or Vocabulary())
    for name, first in _firsts(names).items():
        ((picture,),) = render(scenes[[first]], size, 1)
        write_bytes(folder / "images" / f"{name}.png", _png(picture))
    sentences = prompts(scenes)
    table = [("image", "prompt"), *zip((f"images/{name}.png" for name in names), sentences, strict=True)]
    ids = [pair_id(name, sentence) for name, sentence in zip(names, sentences, strict=True)]
    settings = {"version": _VERSION, "size": size, "frames": frames, "fps": fps, "seed": seed}
    drawn = dict(zip(ids, to_json(scenes), strict=True))
    write_bytes(folder / SCENES, json.dumps(settings | {"scenes": drawn}, indent=1).encode())
    write_bytes(folder / TABLE, _csv(table).encode())  # last: the sign that all is in


def read_scenes(root: Path) -> tuple[dict[str, int], dict[str, Scenes]]:
    """What `write_shapes` kept: `size`, `frames`, `fps`, `seed`; and one scene per pair id.

    Raises:
        ShapesError: the folder is not a drawn bench, or its `scenes.json` is broken.
    """
    path = root / SCENES
    try:
        return _read(path, path.stat().st_mtime_ns)
    except FileNotFoundError as error:
        raise ShapesError(
            f"{root} has no {SCENES}, so the true videos of its pairs are unknown; only a bench made by "
            "'ti2v-bench bench draw' has it."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShapesError(f"{path} cannot be read ({error!r}); draw the bench again.") from error


def reference_frames(bench_root: Path, pair: Pair) -> NDArray[np.uint8]:
    """The true video of `pair`, (F, size, size, 3) uint8; its first frame equals the pair's image.

    Raises:
        ShapesError: the bench was not drawn by `write_shapes`, or has no such pair.
    """
    settings, scenes = read_scenes(bench_root)
    if pair.id not in scenes:
        raise ShapesError(f"{bench_root / SCENES} has no pair {pair.id!r}; draw the bench again.")
    (frames,) = render(scenes[pair.id], settings["size"], settings["frames"])
    return np.asarray(frames, np.uint8)


@lru_cache(maxsize=4)
def _read(path: Path, _changed: int) -> tuple[dict[str, int], dict[str, Scenes]]:
    content: dict[str, Any] = json.loads(path.read_bytes())
    if content["version"] != _VERSION:
        raise ValueError(f"version {content['version']}, expected {_VERSION}")
    rows = content.pop("scenes")
    return content, {name: from_json([row]) for name, row in rows.items()}


def _compose(pairs: int, rng: Rng, vocabulary: Vocabulary) -> tuple[list[str], Scenes]:
    """Image name and scene of each pair, scenario by scenario."""
    images = math.ceil(pairs / _PROMPTS_PER_IMAGE)
    textures = [name for name in TEXTURES if name in vocabulary.textures]
    used: Counter[int] = Counter()
    names: list[str] = []
    parts: list[Scenes] = []
    for index in range(images):
        texture = textures[index % len(textures)]
        wanted = min(_PROMPTS_PER_IMAGE, pairs - index * _PROMPTS_PER_IMAGE)
        chosen = _one_image(wanted, used, rng, _with_texture(vocabulary, texture))
        used.update(chosen.motion.tolist())
        names += [f"{texture}{index // len(textures) + 1}"] * wanted
        parts.append(chosen)
    order = sorted(range(pairs), key=lambda at: (names[at].rstrip("0123456789"), at))
    return [names[at] for at in order], join(parts)[order]


def _one_image(wanted: int, used: Counter[int], rng: Rng, vocabulary: Vocabulary) -> Scenes:
    """One first frame and so many things that can happen in it; motions that were seldom `used` come first."""
    for _ in range(100):
        scene = sample_scenes(1, rng, vocabulary, like=0.35)
        possible = sample_actions(scene, 400, rng, vocabulary)
        chosen = _varied(possible, wanted, used)
        if len(chosen) == wanted:
            return possible[chosen]
    raise ShapesError(f"The vocabulary has too few words for {wanted} different prompts per image; give it more.")


def _varied(scenes: Scenes, wanted: int, used: Counter[int]) -> list[int]:
    """Indices of scenes with different motions, and different actors as far as there are."""
    chosen: list[int] = []
    actors: Counter[int] = Counter()
    motions: Counter[int] = Counter()
    sentences = prompts(scenes)
    while len(chosen) < wanted:
        taken = {sentences[index] for index in chosen}
        left = [index for index in range(len(scenes)) if sentences[index] not in taken]
        if not left:
            break
        best = min(left, key=lambda at: _wear(scenes, at, actors, motions, used))
        chosen.append(best)
        actors[int(scenes.actor[best])] += 1
        motions[int(scenes.motion[best])] += 1
    return chosen


def _wear(
    scenes: Scenes, at: int, actors: Counter[int], motions: Counter[int], used: Counter[int]
) -> tuple[int, int, int]:
    actor, motion = int(scenes.actor[at]), int(scenes.motion[at])
    return motions[motion], used[motion], actors[actor]


def _with_texture(vocabulary: Vocabulary, texture: str) -> Vocabulary:
    return Vocabulary(vocabulary.kinds, vocabulary.colours, vocabulary.motions, (texture,), vocabulary.held_out)


def _firsts(names: Iterable[str]) -> dict[str, int]:
    """Image name -> index of its first pair."""
    found: dict[str, int] = {}
    for index, name in enumerate(names):
        found.setdefault(name, index)
    return found


def _png(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def _csv(rows: Iterable[tuple[str, str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
