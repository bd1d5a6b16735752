"""The tokenizer against ids recorded from open_clip 2.22.0 (with ftfy 6.3.1)."""

from pathlib import Path

import pytest

from baselines.lvdm.tokenizer import LENGTH, Tokenizer, VocabularyError, byte_tokenizer, load_tokenizer

RECORDED = {
    "": [],
    "a cat!": [320, 2368, 256],
    "A  Cat\n runs": [320, 2368, 5586],
    "it's 42 dogs": [585, 568, 275, 273, 3255],
    "café &amp; bar": [15304, 261, 2411],
    "“quoted” text": [257, 27706, 257, 4160],
    "!!!": [995],
    "don't_stop": [847, 713, 318, 1691],
}
# The merges that these texts meet, by their place in CLIP's published list; an id is 512 more.
MERGES: dict[int, str] = {
    10: "s t", 13: "o n</w>", 24: "a t</w>", 26: "e d</w>", 56: "' s</w>", 57: "u n", 68: "t o", 73: "i t</w>",
    88: "t e", 113: "a r</w>", 127: "d o", 147: "e x", 154: "q u", 169: "r u", 190: "a f", 201: "' t</w>",
    236: "! !</w>", 260: "c a", 263: "t ed</w>", 335: "d on</w>", 416: "st o", 420: "b a", 483: "! !!</w>",
    540: "x t</w>", 833: "g s</w>", 861: "n s</w>", 931: "! !", 1127: "r un", 1179: "sto p</w>", 1351: "o t",
    1544: "te x", 1856: "c at</w>", 1899: "b ar</w>", 2534: "qu o", 2743: "do gs</w>", 2959: "c af", 3179: "o p</w>",
    3648: "te xt</w>", 3654: "Ã ©</w>", 3814: "do g", 5074: "run s</w>", 11030: "o g", 14792: "caf Ã©</w>",
    25396: "un s</w>", 27194: "quo ted</w>", 30362: "u o",
}  # fmt: skip


@pytest.fixture(scope="module")
def merges_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP's list with all other merges replaced by ones that no text meets."""
    path = tmp_path_factory.mktemp("vocabulary") / "merges.txt"
    rare = [chr(256 + 4 + index) for index in range(64)]  # bytes that no text here holds
    words = list(rare)
    for index in range(48894):
        words.append(words[index // 64] + rare[index % 64])
    fillers = (f"{word[:-1]} {word[-1]}" for word in words[64:])
    lines = [MERGES.get(index) or next(fillers) for index in range(48894)]
    path.write_text("\n".join(["#version: 0.2", *lines]), encoding="utf-8")
    return path


@pytest.mark.parametrize(("text", "ids"), RECORDED.items())
def test_ids_are_those_of_open_clip(merges_file: Path, text: str, ids: list[int]) -> None:
    row = load_tokenizer(merges_file)([text])[0].tolist()
    assert row == [49406, *ids, 49407] + [0] * (LENGTH - 2 - len(ids))


def test_a_long_text_is_cut_before_the_end_token(merges_file: Path) -> None:
    row = load_tokenizer(merges_file)(["a " * 200])[0].tolist()
    assert row == [49406] + [320] * 75 + [49407]


def test_an_exclamation_mark_is_not_padding(merges_file: Path) -> None:
    assert load_tokenizer(merges_file)(["cat!"])[0, :4].tolist() == [49406, 2368, 256, 49407]


def test_no_text_gives_no_rows() -> None:
    assert Tokenizer(())([]).shape == (0, LENGTH)


def test_bytes_alone_tell_texts_apart() -> None:
    rows = byte_tokenizer()(["cat", "Cat ", "cät"])
    assert rows[0].tolist() == rows[1].tolist() != rows[2].tolist()
    assert rows[0, :5].tolist() == [49406, ord("c") - 33, ord("a") - 33, 256 + ord("t") - 33, 49407]


def test_a_cut_vocabulary_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    with pytest.raises(VocabularyError, match="holds 1 merges"):
        load_tokenizer(tmp_path / "merges.txt")
