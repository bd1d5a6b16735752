"""CLIP's byte-pair tokenizer as OpenCLIP uses it: 77 tokens, padded with 0.

Source: open_clip 2.22.0, open_clip/tokenizer.py.
"""

import html
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tokenizers import Regex
from tokenizers import Tokenizer as Engine
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as InTurn
from torch import Tensor

from ti2v_bench.errors import TI2VError

LENGTH = 77
START, END = 49406, 49407
_MERGES = 48894
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
"""How text is cut before pairs are merged; every digit is by itself."""


class VocabularyError(TI2VError):
    """The vocabulary file is not CLIP's."""


def clean(text: str) -> str:
    """Text with broken encodings and HTML escapes repaired, white space single, lower case."""
    import ftfy  # slow to import, and random weights do without

    repaired = html.unescape(html.unescape(ftfy.fix_text(text)))
    return plain(repaired)


def plain(text: str) -> str:
    """Text with single white space, lower case."""
    return re.sub(r"\s+", " ", text.strip()).strip().lower()


class Tokenizer:
    """Texts to token ids."""

    def __init__(self, merges: Sequence[str], cleaned: Callable[[str], str] = clean) -> None:
        """From merges in order of priority, each `first second`; with none, every byte is a token."""
        symbols = _byte_symbols()
        pairs = [(first, second) for first, _, second in (line.partition(" ") for line in merges)]
        words = [*symbols, *(symbol + "</w>" for symbol in symbols), *(first + second for first, second in pairs)]
        vocabulary = {word: index for index, word in enumerate(words)}
        self._cleaned = cleaned
        self._engine = Engine(BPE(vocab=vocabulary, merges=pairs, end_of_word_suffix="</w>"))
        cut = Split(Regex(_WORDS), behavior="removed", invert=True)
        self._engine.pre_tokenizer = InTurn([cut, ByteLevel(add_prefix_space=False, use_regex=False)])

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(N, 77) int64: start, tokens, end, then zeros; a text that is too long is cut before the end token."""
        rows = [self._row(text) for text in texts]
        return torch.tensor(rows, dtype=torch.int64).view(len(texts), LENGTH)

    def _row(self, text: str) -> list[int]:
        ids: list[int] = self._engine.encode(self._cleaned(text)).ids[: LENGTH - 2]
        return [START, *ids, END] + [0] * (LENGTH - 2 - len(ids))


def load_tokenizer(path: Path) -> Tokenizer:
    """From a `merges.txt` of CLIP: a header line, then one merge per line.

    Raises:
        VocabularyError: not as many merges as CLIP has.
    """
    merges = path.read_text(encoding="utf-8").splitlines()[1 : 1 + _MERGES]
    if len(merges) != _MERGES:
        raise VocabularyError(f"{path} holds {len(merges)} merges, CLIP's vocabulary has {_MERGES}. Download it again.")
    return Tokenizer(merges)


def byte_tokenizer() -> Tokenizer:
    """One token per byte: for random weights, which need no vocabulary."""
    return Tokenizer((), cleaned=plain)


def _byte_symbols() -> list[str]:
    """A printable character for every byte, in the order of GPT-2's table: printable ones as they are, first."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]
