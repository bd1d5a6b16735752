"""Random scenes whose prompt is true and unambiguous: words first, evenly; then places, until everything fits."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.shapes.scenes import NEWCOMER, SLOTS, Floats, Scenes, actor_path
from ti2v_bench.shapes.words import (
    COLOURS,
    KINDS,
    MOTIONS,
    PLACES,
    TEXTURES,
    ShapesError,
    Vocabulary,
    can_turn,
    contrast_table,
)

_MARGIN = 0.04
"""Least gap between two objects in the first frame, fraction of the shorter side."""
_APART = 0.14
"""Least difference in x (or y) that lets a prompt call one of two like objects the left (or upper) one."""
_REACH = {"left": (0.3, 0.6), "right": (0.3, 0.6), "up": (0.3, 0.6), "down": (0.3, 0.6), "grow": (1.75, 2.2)}
_REACH |= {"shrink": (0.3, 0.45), "turn": (2.0, 2.7), "fade": (1.0, 1.0), "enter_left": (0.45, 0.8)}
_REACH |= {"enter_right": (0.45, 0.8)}
_LOW, _HIGH = np.array([_REACH[name] for name in MOTIONS], np.float32).T
_TRIES = 2000

Rng = np.random.Generator
_MOTION = {name: index for index, name in enumerate(MOTIONS)}
_CONTRAST = contrast_table()


@dataclass(frozen=True)
class _Words:
    """What is fixed before places are sought; all (N,) indices."""

    colour: NDArray[np.int64]
    kind: NDArray[np.int64]
    motion: NDArray[np.int64]

    @property
    def entering(self) -> NDArray[np.bool_]:
        """(N,) whether the object is not there in the first frame."""
        return np.isin(self.motion, (_MOTION["enter_left"], _MOTION["enter_right"]))


def sample_scenes(n: int, rng: Rng, vocabulary: Vocabulary | None = None, *, like: float = 0.3) -> Scenes:
    """N random scenes; every allowed combination of colour, kind and motion is equally likely to be asked for.

    Two to four objects stand in the first frame. In a share `like` of the scenes, one or two others look as the
    named object does, and the prompt says which is meant ("the left red circle").

    Args:
        n: How many, 0 or more.
        rng: Source of all randomness: same state, same scenes.
        vocabulary: Words and held-out combinations; None for all words.
        like: Share of scenes with like objects, in [0, 1].

    Raises:
        ShapesError: the vocabulary cannot be met, e.g. its only colour does not show on its only texture.
    """
    vocabulary = vocabulary or Vocabulary()
    words = _choose_words(n, rng, vocabulary)
    alike = (rng.random(n) < like) & ~words.entering
    count = rng.integers(2, SLOTS, n)
    scenes = _propose(words, alike, count, rng, vocabulary)
    todo = np.flatnonzero(~fits(scenes))
    for _ in range(_TRIES):
        if not len(todo):
            return scenes
        wanted = _Words(words.colour[todo], words.kind[todo], words.motion[todo])
        again = _propose(wanted, alike[todo], count[todo], rng, vocabulary)
        good = fits(again)
        for name, column in vars(scenes).items():
            column[todo[good]] = getattr(again, name)[good]
        todo = todo[~good]
    raise ShapesError(
        f"No place was found for {len(todo)} of {n} scenes in {_TRIES} tries; give the vocabulary more textures, "
        "colours or kinds."
    )


def sample_actions(scene: Scenes, n: int, rng: Rng, vocabulary: Vocabulary | None = None) -> Scenes:
    """Up to n other true prompts for the first frame of one scene: another object, or another motion.

    Args:
        scene: One scene.
        n: How many to try; those that do not fit the places are left out.
        rng: Source of all randomness.
        vocabulary: Words and held-out combinations; None for all words.
    """
    vocabulary = vocabulary or Vocabulary()
    words = _choose_words(n, rng, vocabulary)
    many = scene[np.zeros(n, np.int64)]
    entering = words.entering
    standing = np.flatnonzero(scene.present[0, :NEWCOMER])
    actor = np.where(entering, NEWCOMER, rng.choice(standing, n))
    _newcomers(many, words, rng)
    acting = replace(many, actor=actor, motion=words.motion, amount=_amounts(words.motion, rng))
    acting.amount[entering] += _doorstep(acting)[entering]
    acting = replace(acting, place=_places(acting, rng))
    allowed = {(c.colour, c.kind, c.motion) for c in vocabulary.combinations()}
    known = np.array([word in allowed for word in _spelled(acting)])
    return acting[np.flatnonzero(known & fits(acting))]


def fits(scenes: Scenes) -> NDArray[np.bool_]:
    """(N,) whether the prompt is true, its motion inside the frame, and what it names plain to see."""
    standing = scenes.present.copy()
    standing[:, NEWCOMER] = False
    both = standing[:, :, None] & standing[:, None] & ~np.eye(SLOTS, dtype=bool)
    clear = ~((_gaps(scenes.x, scenes.y, scenes.radius) < _MARGIN) & both).any((1, 2))
    seen = (_CONTRAST[scenes.texture[:, None], scenes.colour] | ~scenes.present).all(1)
    good: NDArray[np.bool_] = clear & seen & (scenes.place >= 0) & _ends_well(scenes)
    return good


def _ends_well(scenes: Scenes) -> NDArray[np.bool_]:
    """(N,) whether the actor ends inside the frame and not upon another object, and shows what it does."""
    rows = np.arange(len(scenes))
    end = actor_path(scenes, 2)
    x, y, radius = scenes.x.copy(), scenes.y.copy(), scenes.radius.copy()
    x[rows, scenes.actor], y[rows, scenes.actor] = end.x[:, 1], end.y[:, 1]
    others = scenes.present.copy()
    others[rows, scenes.actor] = False
    free = ~((_gaps(x, y, radius)[rows, scenes.actor] < 0) & others).any(1)
    edge = 0.8 * end.radius.max(1)
    inside = (end.x[:, 1] > edge) & (end.x[:, 1] < 1 - edge) & (end.y[:, 1] > edge) & (end.y[:, 1] < 1 - edge)
    good: NDArray[np.bool_] = free & inside & (can_turn()[scenes.of_actor("kind")] | ~scenes.moves("turn"))
    return good


def _gaps(x: Floats, y: Floats, radius: Floats) -> Floats:
    """(N, SLOTS, SLOTS) free space between every two objects of a square frame, as a fraction of its side."""
    apart = np.hypot(x[:, :, None] - x[:, None], y[:, :, None] - y[:, None])
    gaps: Floats = apart - radius[:, :, None] - radius[:, None]
    return gaps


def _choose_words(n: int, rng: Rng, vocabulary: Vocabulary) -> _Words:
    possible = vocabulary.combinations()
    chosen = rng.integers(len(possible), size=n)
    colours, motions = tuple(COLOURS), tuple(MOTIONS)
    table = np.array([(colours.index(c.colour), KINDS.index(c.kind), motions.index(c.motion)) for c in possible])
    return _Words(*table[chosen].T)


def _propose(
    words: _Words, alike: NDArray[np.bool_], count: NDArray[np.int64], rng: Rng, vocabulary: Vocabulary
) -> Scenes:
    """Scenes with these words and so many objects, everything else at random; they need not fit."""
    n = len(alike)
    entering = words.entering
    kind, colour = _others(words, rng, vocabulary)
    kind[:, 0] = np.where(entering, kind[:, 0], words.kind)
    colour[:, 0] = np.where(entering, colour[:, 0], words.colour)
    twins = alike[:, None] & (np.arange(SLOTS) >= 1) & (np.arange(SLOTS) <= 1 + rng.integers(0, 2, (n, 1)))
    kind, colour = np.where(twins, words.kind[:, None], kind), np.where(twins, words.colour[:, None], colour)
    present = (np.arange(SLOTS) < count[:, None]) | twins
    present[:, NEWCOMER] = False
    radius = rng.uniform(0.095, 0.15, (n, SLOTS)).astype(np.float32)
    scenes = Scenes(
        texture=rng.choice([TEXTURES.index(name) for name in vocabulary.textures], n),
        seed=rng.integers(2**31, size=n),
        kind=kind,
        colour=colour,
        present=present,
        x=_inside(radius, rng),
        y=_inside(radius, rng),
        radius=radius,
        angle=rng.uniform(-0.25, 0.25, (n, SLOTS)).astype(np.float32),
        actor=np.where(entering, NEWCOMER, 0),
        motion=words.motion,
        amount=_amounts(words.motion, rng),
        place=np.zeros(n, np.int64),
    )
    _newcomers(scenes, words, rng)
    scenes.amount[entering] += _doorstep(scenes)[entering]
    return replace(scenes, place=_places(scenes, rng))


def _others(words: _Words, rng: Rng, vocabulary: Vocabulary) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Kinds and colours of the objects not named: half of them share one of the two with the named one, never both."""
    n = len(words.kind)
    kinds = np.array([KINDS.index(name) for name in vocabulary.kinds])
    colours = np.array([tuple(COLOURS).index(name) for name in vocabulary.colours])
    kind, colour = rng.choice(kinds, (n, SLOTS)), rng.choice(colours, (n, SLOTS))
    share = rng.random((n, SLOTS))
    kind = np.where((share < 0.25) & (len(colours) > 1), words.kind[:, None], kind)
    colour = np.where((share > 0.75) & (len(kinds) > 1), words.colour[:, None], colour)
    same = (kind == words.kind[:, None]) & (colour == words.colour[:, None])
    if len(kinds) > 1:
        kind = np.where(same, _another(words.kind[:, None], kinds, rng), kind)
    else:
        colour = np.where(same, _another(words.colour[:, None], colours, rng), colour)
    return kind, colour


def _another(word: NDArray[np.int64], known: NDArray[np.int64], rng: Rng) -> NDArray[np.int64]:
    """(N, SLOTS) words of `known`, none of them the given one."""
    position = np.searchsorted(np.sort(known), word)
    step = rng.integers(1, len(known), (len(word), SLOTS))
    other: NDArray[np.int64] = np.sort(known)[(position + step) % len(known)]
    return other


def _inside(radius: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    edge = radius + np.float32(0.02)
    return np.asarray(edge + rng.random(radius.shape, np.float32) * (1 - 2 * edge), np.float32)


def _amounts(motion: NDArray[np.int64], rng: Rng) -> NDArray[np.float32]:
    return np.asarray(rng.uniform(_LOW[motion], _HIGH[motion]), np.float32)


def _newcomers(scenes: Scenes, words: _Words, rng: Rng) -> None:
    """Put the object that enters just outside the frame, in the last slot."""
    entering = words.entering
    n = len(entering)
    left = words.motion == _MOTION["enter_left"]
    scenes.present[:, NEWCOMER] = entering
    scenes.kind[:, NEWCOMER] = np.where(entering, words.kind, 0)
    scenes.colour[:, NEWCOMER] = np.where(entering, words.colour, 0)
    scenes.radius[:, NEWCOMER] = radius = rng.uniform(0.1, 0.15, n).astype(np.float32)
    outside = _doorstep(scenes)
    scenes.x[:, NEWCOMER] = np.where(left, -outside, 1 + outside)
    scenes.y[:, NEWCOMER] = _inside(radius, rng)
    scenes.angle[:, NEWCOMER] = rng.uniform(-0.25, 0.25, n)


def _doorstep(scenes: Scenes) -> Floats:
    """(N,) how far outside the edge a newcomer begins, far enough that nothing of it shows."""
    return (scenes.radius[:, NEWCOMER] * np.float32(1.25) + np.float32(0.01)).astype(np.float32)


def _places(scenes: Scenes, rng: Rng) -> NDArray[np.int64]:
    """(N,) the word that tells the actor from those like it: 0 where it is the only one, -1 where no word does."""
    rows = np.arange(len(scenes))
    like = scenes.present & (scenes.kind == scenes.of_actor("kind")[:, None])
    like &= scenes.colour == scenes.of_actor("colour")[:, None]
    like[rows, scenes.actor] = False
    holds = np.zeros((len(scenes), len(PLACES)), bool)
    for column, sign in (("x", -1), ("x", 1), ("y", -1), ("y", 1)):
        ahead = sign * (scenes.of_actor(column)[:, None] - getattr(scenes, column)) > _APART
        word = 1 + (column == "y") * 2 + (sign > 0)
        holds[:, word] = (ahead | ~like).all(1)
    any_word = rng.random(holds.shape) * holds
    place = np.where(holds.any(1), any_word.argmax(1), -1)
    newcomer = scenes.actor == NEWCOMER
    return np.where(~like.any(1), 0, np.where(newcomer, -1, place))


def _spelled(scenes: Scenes) -> list[tuple[str, str, str]]:
    colours, motions = tuple(COLOURS), tuple(MOTIONS)
    indices = zip(scenes.of_actor("colour"), scenes.of_actor("kind"), scenes.motion, strict=True)
    return [(colours[colour], KINDS[kind], motions[motion]) for colour, kind, motion in indices]
