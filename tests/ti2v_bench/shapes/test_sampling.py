"""Sampled prompts are true, unambiguous and evenly spread, and held-out combinations stay out."""

from collections import Counter

import numpy as np
import pytest

from ti2v_bench.shapes import (
    COLOURS,
    KINDS,
    MOTIONS,
    TEXTURES,
    Combination,
    Scenes,
    ShapesError,
    Vocabulary,
    from_json,
    prompts,
    sample_scenes,
    to_json,
    truth,
)

MANY = sample_scenes(3000, np.random.default_rng(1))


def spelled(scenes: Scenes) -> list[Combination]:
    told = truth(scenes, 1)
    return [Combination(*words) for words in zip(told.colour, told.kind, told.motion, strict=True)]


def objects(scenes: Scenes, index: int) -> list[tuple[str, str, float, float]]:
    """(colour, kind, x, y) of everything in the first frame."""
    return [
        (
            tuple(COLOURS)[scenes.colour[index, slot]],
            KINDS[scenes.kind[index, slot]],
            scenes.x[index, slot],
            scenes.y[index, slot],
        )
        for slot in range(4)
        if scenes.present[index, slot]
    ]


def test_every_prompt_names_exactly_one_object() -> None:
    for index, sentence in enumerate(prompts(MANY)):
        words = sentence.lower().removesuffix(".").split()
        colour = next(word for word in words if word in COLOURS)
        kind = next(word for word in words if word in KINDS)
        like = [(x, y) for c, k, x, y in objects(MANY, index) if (c, k) == (colour, kind)]
        place = words[1] if words[1] in ("left", "right", "upper", "lower") else None
        if words[:2] == ["a", "new"]:
            assert not like
            continue
        assert (len(like) > 1) == (place is not None)
        axis, sign = {"left": (0, 1), "right": (0, -1), "upper": (1, 1), "lower": (1, -1)}.get(place or "left", (0, 1))
        meant = sorted(like, key=lambda at: sign * at[axis])[0]
        actor = (MANY.of_actor("x")[index], MANY.of_actor("y")[index])
        assert meant == actor


def test_every_word_and_motion_is_asked_for_about_equally() -> None:
    combinations = spelled(MANY)
    for words, field in ((COLOURS, "colour"), (MOTIONS, "motion")):
        counts = Counter(getattr(combination, field) for combination in combinations)
        assert set(counts) == set(words)
        assert max(counts.values()) < 1.6 * min(counts.values())
    assert set(MANY.texture) == set(range(len(TEXTURES)))
    assert 0.15 < (MANY.place > 0).mean() < 0.35


def test_same_seed_same_scenes_and_json_keeps_them_to_the_bit() -> None:
    again = sample_scenes(50, np.random.default_rng(1))
    other = sample_scenes(50, np.random.default_rng(2))
    back = from_json(to_json(again))
    for name, column in vars(sample_scenes(50, np.random.default_rng(1))).items():
        np.testing.assert_array_equal(getattr(again, name), column)
        np.testing.assert_array_equal(getattr(back, name), column)
        assert getattr(back, name).dtype == column.dtype
    assert prompts(again) != prompts(other)


def test_split_holds_combinations_out_of_one_side_and_words_out_of_none() -> None:
    learn, test = Vocabulary().split(0.25, seed=4)
    assert len(test.combinations()) == pytest.approx(0.25 * len(Vocabulary().combinations()), abs=1)
    assert not set(learn.combinations()) & set(test.combinations())
    assert set(learn.combinations()) | set(test.combinations()) == set(Vocabulary().combinations())
    learned = set(spelled(sample_scenes(1500, np.random.default_rng(0), learn)))
    tested = set(spelled(sample_scenes(300, np.random.default_rng(0), test)))
    assert learned <= set(learn.combinations())
    assert tested <= set(test.combinations())
    assert {c.colour for c in learned} == set(COLOURS)
    assert {c.kind for c in learned} == set(KINDS)
    assert {c.motion for c in learned} == set(MOTIONS)


def test_a_small_vocabulary_is_kept_to() -> None:
    small = Vocabulary(("circle", "square"), ("red", "blue"), ("left", "right"), ("stone",))
    scenes = sample_scenes(100, np.random.default_rng(0), small)
    assert {c.motion for c in spelled(scenes)} == {"left", "right"}
    assert {TEXTURES[index] for index in scenes.texture} == {"stone"}
    assert {KINDS[kind] for kind in scenes.kind[scenes.present]} == {"circle", "square"}


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (Vocabulary(kinds=("circle", "blob")), "'blob' is no kind .* known: circle"),
        (Vocabulary(motions=("turn",), kinds=("circle",)), "leaves nothing to sample"),
        (Vocabulary(colours=("green",), textures=("grass",)), "leaves nothing to sample"),
    ],
)
def test_an_impossible_vocabulary_is_refused(vocabulary: Vocabulary, message: str) -> None:
    with pytest.raises(ShapesError, match=message):
        sample_scenes(1, np.random.default_rng(0), vocabulary)


def test_no_scenes_are_no_scenes() -> None:
    assert len(sample_scenes(0, np.random.default_rng(0))) == 0
