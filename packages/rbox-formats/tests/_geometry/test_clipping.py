"""What of a quad a window holds, against shapely."""

from __future__ import annotations

import math

import array_api_strict
import numpy as np
import pytest
import shapely
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rbox_formats import (
    area_inside,
    clip_to_rbox,
    intersection_over_foreground,
    quad_area,
    quad_to_rbox,
    rbox_to_quad,
)

WINDOW = (40.0, 20.0, 168.0, 148.0)
BORDER = shapely.box(*WINDOW)
boxes = st.tuples(
    st.floats(-50, 250), st.floats(-50, 250), st.floats(1, 200), st.floats(1, 200), st.floats(-1.5, 1.5)
).map(np.array)
whole_numbers = arrays(np.float64, (4, 2), elements=st.integers(0, 200).map(float))
fractions = arrays(np.float64, (4, 2), elements=st.floats(-100, 300))


def signed_parts(quad: np.ndarray) -> list[tuple[int, shapely.Polygon]]:
    """A quad as two triangles with signs: their signed areas add up to the outline's, also where it crosses itself."""
    parts = []
    for corners in (quad[[0, 1, 2]], quad[[0, 2, 3]]):
        ring = shapely.LinearRing(corners)
        parts.append((1 if ring.is_ccw else -1, shapely.Polygon(corners)))
    return parts


def expected_area(quad: np.ndarray, border: shapely.Polygon = BORDER) -> float:
    return abs(sum(sign * part.intersection(border).area for sign, part in signed_parts(quad)))


@given(boxes)
def test_of_a_box(box: np.ndarray) -> None:
    quad = rbox_to_quad(box)
    inside = shapely.Polygon(quad).intersection(BORDER)
    assert area_inside(quad, WINDOW) == pytest.approx(inside.area, rel=1e-9, abs=1e-9)
    assert intersection_over_foreground(quad, WINDOW) == pytest.approx(inside.area / (box[2] * box[3]), abs=1e-9)


@given(whole_numbers | fractions)
def test_of_any_four_corners(quad: np.ndarray) -> None:
    """Concave, self-crossing, flat, with corners and sides on the border."""
    assert area_inside(quad, WINDOW) == pytest.approx(expected_area(quad), rel=1e-9, abs=1e-6)
    assert 0 <= intersection_over_foreground(quad, WINDOW) <= 1


@pytest.mark.parametrize(
    "quad, inside",
    [
        ([[0, 0], [40, 0], [40, 20], [0, 20]], 0),  # touches the window's corner
        ([[30, 30], [50, 30], [50, 40], [30, 40]], 100),  # half of it left of the window
        ([[0, 0], [300, 0], [300, 300], [0, 300]], 128 * 128),  # around the window
        ([[50, 50], [60, 50], [60, 60], [50, 60]], 100),  # inside
        ([[50, 60], [60, 60], [60, 50], [50, 50]], 100),  # counter-clockwise
        ([[50, 50], [90, 60], [50, 70], [60, 60]], 300),  # concave: 20 x 40 / 2 less 20 x 10 / 2
        ([[50, 50], [60, 60], [60, 50], [50, 60]], 0),  # crosses itself: two equal halves
        ([[45, 50], [35, 60], [35, 50], [45, 60]], 25),  # of those the window holds one
        ([[50, 50], [60, 60], [60, 60], [50, 50]], 0),
        ([[70, 70]] * 4, 0),
    ],
)
def test_by_hand(quad: list[list[int]], inside: float) -> None:
    assert area_inside(np.array(quad, dtype=np.float64), WINDOW) == pytest.approx(inside, abs=1e-9)


def test_inside_it_is_the_quads_area_to_the_last_bit() -> None:
    quads = np.random.default_rng(0).uniform(60, 140, (1000, 4, 2))
    np.testing.assert_array_equal(area_inside(quads, WINDOW), quad_area(quads))


def test_far_from_the_origin_nothing_is_lost() -> None:
    quad = rbox_to_quad(np.array([170.0, 80.0, 3.0, 1.0, 0.3]))
    far = area_inside(quad + 2**24, tuple(value + 2**24 for value in WINDOW))
    assert far == pytest.approx(area_inside(quad, WINDOW), rel=1e-6)


def test_a_quad_without_area_counts_by_its_centre() -> None:
    """Of windows that lie side by side one has it."""
    line = np.array([[160.0, 30.0], [176, 30], [176, 30], [160, 30]])  # its middle on the common border
    left, right = WINDOW, (168.0, 20.0, 296.0, 148.0)
    assert intersection_over_foreground(line, left) == 0
    assert intersection_over_foreground(line, right) == 1


def test_a_crossing_quad_has_no_more_than_all_of_itself_inside() -> None:
    """Its halves have 25 and 100; the window holds all of the larger one, and what is left of both is 75."""
    quad = np.array([[45.0, 50.0], [30, 65], [30, 45], [45, 60]])
    assert quad_area(quad) == pytest.approx(75)
    assert intersection_over_foreground(quad, (0.0, 0.0, 40.0, 100.0)) == 1


@given(boxes)
def test_the_rectangle_around_what_is_inside(box: np.ndarray) -> None:
    quad = rbox_to_quad(box)
    inside = shapely.Polygon(quad).intersection(BORDER)
    if inside.area < 1e-3:
        return
    around = clip_to_rbox(quad, WINDOW)
    assert around[2] >= around[3]
    assert shapely.Polygon(rbox_to_quad(around)).buffer(1e-6).covers(inside)
    assert around[2] * around[3] == pytest.approx(shapely.minimum_rotated_rectangle(inside).area, rel=1e-6)


def test_the_rectangle_of_any_four_corners() -> None:
    """Random ones, most of them concave or crossing. Of those both halves count, which are the faces of the outline."""
    quads = np.random.default_rng(0).uniform(0, 200, (400, 4, 2))
    for quad, around in zip(quads, clip_to_rbox(quads, WINDOW), strict=True):
        faces = shapely.polygonize([shapely.unary_union(shapely.LinearRing(quad))])
        inside = faces.intersection(BORDER)
        if inside.is_empty:
            assert around[2] == around[3] == 0
            continue
        assert shapely.Polygon(rbox_to_quad(around)).buffer(1e-6).covers(inside)
        assert around[2] * around[3] == pytest.approx(shapely.minimum_rotated_rectangle(inside).area, rel=1e-6)


def test_a_quad_that_is_not_cut_has_its_own_rectangle() -> None:
    quads = np.random.default_rng(0).uniform(60, 140, (1000, 4, 2))
    np.testing.assert_array_equal(clip_to_rbox(quads, WINDOW), quad_to_rbox(quads))


def test_a_quad_outside_leaves_a_point_at_the_nearest_place() -> None:
    quads = np.array([[[0.0, 0.0], [10, 0], [10, 10], [0, 10]], [[300, 60], [310, 60], [310, 70], [300, 70]]])
    np.testing.assert_array_equal(clip_to_rbox(quads, WINDOW), [[40, 20, 0, 0, 0], [168, 65, 0, 0, 0]])


def test_the_worked_corner() -> None:
    """A diamond of which a window's corner keeps a triangle with legs of 20: rectangles on its sides have 400."""
    diamond = np.array([[40.0, 10.0], [60, 30], [40, 50], [20, 30]])
    around = clip_to_rbox(diamond, (40.0, 30.0, 100.0, 100.0))
    assert around[2] * around[3] == pytest.approx(200 * 2)
    assert area_inside(diamond, (40.0, 30.0, 100.0, 100.0)) == pytest.approx(200)


def test_many_windows_at_once() -> None:
    quads = rbox_to_quad(np.random.default_rng(0).uniform([0, 0, 5, 5, -1], [200, 200, 90, 90, 1], (30, 5)))
    windows = np.array([[x, y, x + 100.0, y + 80.0] for x in (0.0, 60.0) for y in (0.0, 50.0, 90.0)])
    areas = area_inside(quads[:, None], windows)
    shares = intersection_over_foreground(quads[:, None], windows)
    around = clip_to_rbox(quads[:, None], windows)
    assert areas.shape == shares.shape == (30, 6)
    assert around.shape == (30, 6, 5)
    for i, window in enumerate(windows):
        np.testing.assert_array_equal(areas[:, i], area_inside(quads, tuple(window.tolist())))
        np.testing.assert_array_equal(around[:, i], clip_to_rbox(quads, tuple(window.tolist())))


@pytest.mark.parametrize("shape", [(0,), (), (2, 3), (700,)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_kinds_and_dtypes_are_kept(shape: tuple[int, ...], dtype: str) -> None:
    quad = np.broadcast_to(rbox_to_quad(np.array([40.0, 60.0, 70.0, 30.0, 0.5])), (*shape, 4, 2)).astype(dtype)
    for function, end in ((area_inside, ()), (intersection_over_foreground, ()), (clip_to_rbox, (5,))):
        expected = function(quad, WINDOW)
        assert expected.shape == (*shape, *end)
        assert expected.dtype == dtype
        for given_quad in (torch.tensor(quad), array_api_strict.asarray(quad)):
            result = function(given_quad, WINDOW)
            assert type(result) is type(given_quad)
            assert str(result.dtype).endswith(dtype)
            np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-4)


def test_on_another_device() -> None:
    """Nothing is made on the processor in passing: torch's "meta" device refuses to mix, as CUDA does."""
    quads = torch.zeros(3, 4, 2).to("meta")
    for function in (area_inside, intersection_over_foreground, clip_to_rbox):
        assert function(quads, WINDOW).device.type == "meta"


def test_the_area_has_gradients() -> None:
    quad = torch.tensor(rbox_to_quad(np.array([40.0, 60.0, 70.0, 30.0, 0.5])), requires_grad=True)
    assert torch.autograd.gradcheck(lambda q: area_inside(q, WINDOW), (quad,))
    assert math.isfinite(torch.autograd.grad(clip_to_rbox(quad, WINDOW).sum(), quad)[0].sum())
