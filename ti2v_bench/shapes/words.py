"""The words of the drawn world: what there is to see, what it can do, and which combinations may be sampled."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ti2v_bench.errors import TI2VError

KINDS = ("circle", "square", "triangle", "star", "diamond", "cross", "ring", "moon")
COLOURS = {
    "red": (214, 36, 52),
    "orange": (245, 130, 20),
    "yellow": (252, 214, 60),
    "green": (38, 168, 76),
    "blue": (38, 92, 232),
    "purple": (136, 52, 204),
    "pink": (248, 132, 190),
    "white": (248, 248, 246),
}
"""sRGB, 0-255."""
TEXTURES = ("brick", "grass", "night", "sand", "snow", "stone", "water", "wood")
MOTIONS = {
    "left": "moves to the left",
    "right": "moves to the right",
    "up": "moves up",
    "down": "moves down",
    "grow": "grows",
    "shrink": "shrinks",
    "turn": "turns clockwise",
    "fade": "fades away",
    "enter_left": "enters from the left",
    "enter_right": "enters from the right",
}
"""What the named object does, and how a prompt says it."""
PLACES = ("", "left", "right", "upper", "lower")
"""Which of several like objects is meant; the empty word where it is the only one."""

_ROUND = ("circle", "ring")
"""Turning these would show nothing."""
_TOO_ALIKE = {"brick": ("red", "orange"), "grass": ("green",), "sand": ("yellow", "orange"), "snow": ("white",)}
_TOO_ALIKE |= {"water": ("blue",), "night": ("blue", "purple"), "stone": (), "wood": ("orange",)}


class ShapesError(TI2VError):
    """A drawn bench or a vocabulary that cannot be."""


@dataclass(frozen=True)
class Combination:
    """What a prompt says of its object: one colour, one kind, one motion."""

    colour: str
    kind: str
    motion: str


@dataclass(frozen=True)
class Vocabulary:
    """Which words may be sampled, and which combinations of them are held out (for a test of composition)."""

    kinds: tuple[str, ...] = KINDS
    colours: tuple[str, ...] = tuple(COLOURS)
    motions: tuple[str, ...] = tuple(MOTIONS)
    textures: tuple[str, ...] = TEXTURES
    held_out: frozenset[Combination] = field(default_factory=frozenset)
    """Never sampled as the object that a prompt names; each of their words still is."""

    def combinations(self) -> tuple[Combination, ...]:
        """All that may be sampled, in a fixed order; a colour that shows on none of the textures is left out.

        Raises:
            ShapesError: an unknown word, or nothing is left.
        """
        _known("kind", self.kinds, KINDS)
        _known("colour", self.colours, tuple(COLOURS))
        _known("motion", self.motions, tuple(MOTIONS))
        _known("texture", self.textures, TEXTURES)
        possible = tuple(combination for combination in self._all() if combination not in self.held_out)
        if not possible or len(self.kinds) * len(self.colours) < 2:
            raise ShapesError("The vocabulary leaves nothing to sample; give it more words or hold out fewer.")
        return possible

    def _all(self) -> tuple[Combination, ...]:
        return tuple(
            Combination(colour, kind, motion)
            for motion in self.motions
            for kind in self.kinds
            for colour in self.colours
            if any(colour not in _TOO_ALIKE[texture] for texture in self.textures)
            if not (motion == "turn" and kind in _ROUND)
        )

    def split(self, share: float, seed: int) -> tuple["Vocabulary", "Vocabulary"]:
        """Two vocabularies of the same words: one to learn from, and one of the held-out combinations alone.

        Args:
            share: Part of all combinations to hold out, in (0, 1).
            seed: Of the choice.
        """
        everything = self.combinations()
        chosen = np.random.default_rng(seed).choice(
            len(everything), size=max(1, round(share * len(everything))), replace=False
        )
        held_out = frozenset(everything[index] for index in chosen)
        kept = frozenset(everything) - held_out
        words = (self.kinds, self.colours, self.motions, self.textures)
        return Vocabulary(*words, self.held_out | held_out), Vocabulary(*words, self.held_out | kept)


def contrast_table() -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """(textures, colours) bool: whether that colour stands out from that texture."""
    return np.array([[colour not in _TOO_ALIKE[texture] for colour in COLOURS] for texture in TEXTURES])


def can_turn() -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(kinds,) bool: whether turning it can be seen."""
    return np.array([kind not in _ROUND for kind in KINDS])


def _known(what: str, words: Sequence[str], known: Sequence[str]) -> None:
    for word in words:
        if word not in known:
            raise ShapesError(f"{word!r} is no {what} of the drawn world; known: {', '.join(known)}.")
