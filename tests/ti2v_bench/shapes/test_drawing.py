"""Drawn videos show what their scenes say: areas from geometry, paths from centroids, flow by warping with scipy."""

from math import pi, sqrt, tan

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from ti2v_bench.shapes import (
    COLOURS,
    KINDS,
    MOTIONS,
    Scenes,
    ShapesError,
    Vocabulary,
    actor_alpha,
    displacement,
    motion_mask,
    render,
    sample_scenes,
    truth,
)

AREAS = {
    "circle": pi * 0.9**2,
    "square": 4 * 0.78**2,
    "triangle": 3 * sqrt(3) * 0.55**2,
    "diamond": 2 * 0.58**2 / (0.82 * 0.5724),
    "cross": 4 * 0.34 * (2 * 0.95 - 0.34),
    "ring": pi * (0.93**2 - 0.43**2),
    "star": 5 * 0.34**2 * tan(pi / 5) + 5 * (0.34 * tan(pi / 5)) ** 2 * tan(2 * pi / 5),
}
"""Of each kind at radius 1; the star is its inner pentagon and five tips."""


def only(motion: str, n: int = 12, kinds: tuple[str, ...] = KINDS, seed: int = 3) -> Scenes:
    return sample_scenes(n, np.random.default_rng(seed), Vocabulary(motions=(motion,), kinds=kinds))


@pytest.mark.parametrize("kind", AREAS)
def test_area_is_the_geometric_one(kind: str) -> None:
    scenes = only("shrink", 4, (kind, "moon"))
    scenes = scenes[scenes.of_actor("kind") == KINDS.index(kind)]
    area = actor_alpha(scenes, 256, 1).sum((1, 2, 3)) / 256**2
    np.testing.assert_allclose(area, AREAS[kind] * scenes.of_actor("radius") ** 2, rtol=0.02)


@pytest.mark.parametrize("motion", ["left", "right", "up", "down", "turn", "grow"])
def test_centroid_of_what_is_drawn_follows_the_true_path(motion: str) -> None:
    scenes = only(motion, kinds=("square", "diamond", "cross"))
    path = truth(scenes, 5).path
    alpha = actor_alpha(scenes, (96, 128), 5).astype(np.float64)
    inside = (alpha[..., 0, :].max((1, 2)) == 0) & (alpha[..., -1, :].max((1, 2)) == 0)
    inside &= (alpha[..., 0].max((1, 2)) == 0) & (alpha[..., -1].max((1, 2)) == 0)
    assert inside.sum() > 3
    mass = alpha.sum((2, 3))
    x = (alpha * (np.arange(128) + 0.5)).sum((2, 3)) / mass / 128
    y = (alpha * (np.arange(96) + 0.5)[:, None]).sum((2, 3)) / mass / 96
    np.testing.assert_allclose(x[inside], path.x[inside], atol=2e-3)
    np.testing.assert_allclose(y[inside], path.y[inside], atol=2e-3)


@pytest.mark.parametrize("motion", ["left", "down", "grow", "shrink", "turn", "enter_left"])
def test_true_flow_carries_the_next_frame_back_onto_this_one(motion: str) -> None:
    scenes = only(motion, 6)
    video = render(scenes, 96, 9).astype(np.float64)
    flow = displacement(scenes, 96, 9)
    down, across = np.mgrid[:96, :96].astype(np.float64)
    still_errors, errors = [], []
    for clip in range(len(scenes)):
        at = 4
        inner = actor_alpha(scenes[clip : clip + 1], 96, 9)[0, at] == 1
        places = [down + flow[clip, at, 1], across + flow[clip, at, 0]]
        seen = inner & (places[0] > 0) & (places[0] < 95) & (places[1] > 0) & (places[1] < 95)
        back = np.stack([map_coordinates(video[clip, at + 1, ..., c], places, order=1) for c in range(3)], -1)
        errors.append(np.abs(back - video[clip, at])[seen].mean())
        still_errors.append(np.abs(video[clip, at + 1] - video[clip, at])[seen].mean())
    assert np.mean(errors) < 0.45 * np.mean(still_errors)


def test_nothing_but_the_named_object_changes() -> None:
    scenes = sample_scenes(60, np.random.default_rng(5))
    video = render(scenes, 64, 6).astype(int)
    touched = actor_alpha(scenes, 64, 6) > 0
    changed = np.abs(video - video[:, :1]).max(-1) > 0
    assert not (changed & ~touched & ~touched[:, :1]).any()
    assert (changed[:, -1].mean((1, 2)) > 0.002).all(), "the end differs visibly from the beginning"


def test_first_frame_does_not_show_a_newcomer_and_the_last_does_not_show_the_faded() -> None:
    assert actor_alpha(only("enter_left", 30), 64, 5)[:, 0].max() == 0
    assert actor_alpha(only("fade", 30), 64, 5)[:, -1].max() == 0
    assert motion_mask(only("fade", 4), 64, 5)[:, 2].any((1, 2)).all()


def test_the_named_object_has_the_named_colour() -> None:
    scenes = only("shrink", 200, ("circle", "square", "diamond", "cross"))
    x, y = scenes.of_actor("x"), scenes.of_actor("y")
    frames = render(scenes, 128, 1)[:, 0].astype(float)
    seen = frames[np.arange(200), (y * 128).astype(int), (x * 128).astype(int)]
    nearest = np.abs(seen[:, None] - np.array(list(COLOURS.values()))).sum(-1).argmin(1)
    assert [tuple(COLOURS)[index] for index in nearest] == list(truth(scenes, 1).colour)


def test_one_scene_looks_alike_at_every_size() -> None:
    scenes = sample_scenes(24, np.random.default_rng(6))
    large = render(scenes, 128, 3).astype(float).reshape(24, 3, 64, 2, 64, 2, 3).mean((3, 5))
    assert np.abs(large - render(scenes, 64, 3)).mean() < 5
    assert render(scenes, (32, 48), 2).shape == (24, 2, 32, 48, 3)


def test_many_clips_at_once_equal_each_alone() -> None:
    scenes = sample_scenes(40, np.random.default_rng(8))
    together = render(scenes, 32, 4)
    alone = np.concatenate([render(scenes[[index]], 32, 4) for index in range(40)])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("motion", MOTIONS)
def test_motion_covers_a_good_part_of_the_frame(motion: str) -> None:
    path = truth(only(motion, 40), 2).path
    moved = np.hypot(np.diff(path.x)[:, 0], np.diff(path.y)[:, 0])
    change = {
        "grow": path.radius[:, 1] / path.radius[:, 0] >= 1.7,
        "shrink": path.radius[:, 1] / path.radius[:, 0] <= 0.5,
        "turn": np.diff(path.angle)[:, 0] > 1.9,
        "fade": path.opacity[:, 1] == 0,
    }.get(motion, moved > 0.29)
    assert change.all()


@pytest.mark.parametrize(("size", "frames"), [(4, 8), ((64, 2), 8), (64, 0)])
def test_impossible_sizes_are_refused(size: int, frames: int) -> None:
    with pytest.raises(ShapesError, match="give at least"):
        render(only("left", 1), size, frames)
