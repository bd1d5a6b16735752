"""Words of the `shapes` prompts as ids: a closed vocabulary, one id per word."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.shapes import COLOURS, KINDS, MOTIONS, PLACES

WORDS_PER_PROMPT = 12
_WORD = re.compile(r"[a-z]+")


def vocabulary() -> tuple[str, ...]:
    """All words in a fixed order; position + 2 is the id (0: padding, 1: unknown word)."""
    said = [*COLOURS, *KINDS, *PLACES, *MOTIONS.values(), "the a new"]
    return tuple(sorted({word for text in said for word in _WORD.findall(text)}))


def encode(prompts: Sequence[str], words: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Word ids (N, WORDS_PER_PROMPT), padded with 0 and cut where a prompt is longer.

    Args:
        prompts: any text; case and punctuation do not matter.
        words: the vocabulary the network was trained with; None for today's.
    """
    index = {word: position + 2 for position, word in enumerate(words or vocabulary())}
    ids = np.zeros((len(prompts), WORDS_PER_PROMPT), np.int64)
    for row, prompt in zip(ids, prompts, strict=True):
        said = _WORD.findall(prompt.lower())[:WORDS_PER_PROMPT]
        row[: len(said)] = [index.get(word, 1) for word in said]
    return ids
