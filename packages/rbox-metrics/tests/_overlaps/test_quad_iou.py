"""Overlaps of quads against shapely, pairs centred first, and against values by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rbox_formats import rbox_to_quad
from rbox_metrics import MetricsError, box_iou_rotated, quad_iou

BACKENDS = ("numba", "reference")
ORDERS = ([0, 1, 2, 3], [0, 2, 1, 3], [0, 1, 3, 2])


def simple(quads: np.ndarray) -> np.ndarray:
    """Polygons of quads that do not touch themselves; of others the first valid one with the same corners."""
    polygons = shapely.polygons(quads)
    for order in ORDERS[1:]:
        other = shapely.polygons(quads[:, order])
        swap = ~shapely.is_valid(polygons) & shapely.is_valid(other)
        polygons[swap] = other[swap]
    return polygons


def witness(quads1: np.ndarray, quads2: np.ndarray, mode: str = "iou") -> np.ndarray:
    centre = quads1.mean(axis=1, keepdims=True)
    first, second = simple(quads1 - centre), simple(quads2 - centre)
    common = shapely.area(shapely.intersection(first, second))
    area1, area2 = shapely.area(first), shapely.area(second)
    return common / (area1 if mode == "iof" else area1 + area2 - common)


def anywhere(rng: np.random.Generator, count: int, size: float = 100.0) -> np.ndarray:
    """Convex, concave and self-crossing quads, about a third each."""
    return rng.uniform(0, size, (count, 4, 2))


def annotated(rng: np.random.Generator, count: int, least: float = 5, most: float = 60) -> np.ndarray:
    """Rectangles near each other whose corners are displaced a little."""
    sides = np.exp(rng.uniform(math.log(least), math.log(most), (count, 2)))
    places, angles = rng.uniform(0, most / 3, (count, 2)), rng.uniform(-1.6, 1.6, (count, 1))
    quads = rbox_to_quad(np.concatenate([places, sides, angles], axis=1))
    return quads + rng.normal(0, 0.05, quads.shape) * sides.min(axis=1)[:, None, None]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", ["iou", "iof"])
@pytest.mark.parametrize("kind", [anywhere, annotated])
@pytest.mark.parametrize("times", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_random_pairs(times: int, backend: str, mode: str, kind: object) -> None:
    rng = np.random.default_rng(1)
    count = times * (2_500 if backend == "numba" else 500)
    first, second = kind(rng, count), kind(rng, count)
    ours = quad_iou(first, second, aligned=True, mode=mode, backend=backend)
    # Areas of concave quads may be next to nothing, and then the fraction of them is as uncertain.
    solid = shapely.area(simple(first)) > 1
    assert (ours > 0).mean() > 0.5
    assert ours.min() >= 0
    assert ours.max() <= 1
    np.testing.assert_allclose(ours[solid], witness(first, second, mode)[solid], rtol=0, atol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1e5], ids=["near", "1e5 px away"])
@pytest.mark.parametrize("least, most", [(1e-3, 1), (1e-3, 1e3)], ids=["1e-3 px", "long and 1e-3 px"])
def test_slivers_far_away(least: float, most: float, offset: float) -> None:
    """To the place of the corners, which far away has fewer digits: those of shapely are the same corners."""
    rng = np.random.default_rng(2)
    first, second = annotated(rng, 4_000, least, most) + offset, annotated(rng, 4_000, least, most) + offset
    # Half of the pairs nearly the same quad, so that thin ones overlap.
    second[::2] = first[::2] + rng.normal(0, 0.1, first[::2].shape) * np.ptp(first[::2], axis=1, keepdims=True) * 1e-3
    np.testing.assert_allclose(
        quad_iou(first, second, aligned=True), witness(first, second), rtol=0, atol=1e-9, equal_nan=False
    )


def test_boxes_are_quads_too() -> None:
    rng = np.random.default_rng(3)
    boxes1, boxes2 = (
        np.concatenate(
            [rng.uniform(0, 200, (300, 2)), rng.uniform(1, 60, (300, 2)), rng.uniform(-9, 9, (300, 1)) / 6], 1
        )
        for _ in range(2)
    )
    for mode in ("iou", "iof"):
        ours = quad_iou(rbox_to_quad(boxes1), rbox_to_quad(boxes2), mode=mode)
        np.testing.assert_allclose(ours, box_iou_rotated(boxes1, boxes2, mode=mode), rtol=0, atol=1e-12)


def test_neither_order_nor_first_corner_nor_direction_matter_to_the_last_bit() -> None:
    rng = np.random.default_rng(4)
    for kind in (anywhere, annotated):
        first, second = kind(rng, 3_000), kind(rng, 3_000)
        overlaps = quad_iou(first, second, aligned=True)
        np.testing.assert_array_equal(quad_iou(second, first, aligned=True), overlaps)
        np.testing.assert_array_equal(quad_iou(np.roll(first, 1, axis=1), second[:, ::-1], aligned=True), overlaps)
        ones = quad_iou(first, np.roll(first, 3, axis=1)[:, ::-1], aligned=True)
        np.testing.assert_array_equal(ones, 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_by_hand(backend: str) -> None:
    square = [[0, 0], [2, 0], [2, 2], [0, 2]]
    cases = {
        "itself, from another corner, the other way": ([[2, 2], [2, 0], [0, 0], [0, 2]], 1),
        "as a bow tie": ([[0, 0], [2, 2], [2, 0], [0, 2]], 1),
        "as the other bow tie": ([[0, 0], [2, 0], [0, 2], [2, 2]], 1),
        "the lower half": ([[0, 1], [2, 1], [2, 2], [0, 2]], 0.5),
        "a diamond within": ([[1, 0], [2, 1], [1, 2], [0, 1]], 0.5),
        "an arrow along two of its edges": ([[0, 0], [2, 0], [0.5, 0.5], [0, 2]], 0.25),
        "a triangle, one corner twice": ([[0, 0], [2, 0], [2, 2], [2, 2]], 0.5),
        "a triangle, one corner on an edge": ([[0, 0], [1, 1], [2, 2], [0, 2]], 0.5),
        "beside it, sharing an edge": ([[2, 0], [4, 0], [4, 2], [2, 2]], 0),
        "touching at a corner": ([[2, 2], [4, 2], [4, 4], [2, 4]], 0),
        "upright boxes meet, quads do not": ([[3, 1.5], [3, 3], [1.5, 3], [2.2, 2.1]], 0),
        "a line": ([[0, 0], [1, 1], [2, 2], [1, 1]], 0),
        "a point": ([[1, 1]] * 4, 0),
    }
    for name, (other, expected) in cases.items():
        assert quad_iou([square], [other], backend=backend)[0, 0] == pytest.approx(expected, abs=1e-15), name
        assert quad_iou([other], [square], backend=backend)[0, 0] == pytest.approx(expected, abs=1e-15), name
    assert quad_iou([cases["a diamond within"][0]], [square], mode="iof", backend=backend).tolist() == [[1.0]]


def test_upright_quads_of_whole_numbers_are_exact() -> None:
    rng = np.random.default_rng(5)
    low, sides = rng.integers(0, 500, (2, 3_000, 2)), rng.integers(1, 300, (2, 3_000, 2))
    common = np.clip(np.minimum(low[0] + sides[0], low[1] + sides[1]) - np.maximum(*low), 0, None).prod(axis=1)
    expected = common / (sides.prod(axis=2).sum(axis=0) - common)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    first, second = low[:, :, None] + corners * sides[:, :, None]
    np.testing.assert_array_equal(quad_iou(first, second, aligned=True), expected)


whole = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=4, max_size=4)


@settings(deadline=None, max_examples=100)  # the first example compiles
@given(whole, whole)
def test_corners_on_a_coarse_grid(first: list, second: list) -> None:
    """Where edges and corners fall on each other more often than not; degenerate quads must give some fraction."""
    overlap = quad_iou([first], [second])[0, 0]
    assert 0 <= overlap <= 1
    polygons = shapely.polygons(np.array([first, second], dtype=float))
    if shapely.is_valid(polygons).all():
        common = shapely.area(shapely.intersection(*polygons))
        assert overlap == pytest.approx(common / (shapely.area(polygons).sum() - common), abs=1e-9)


def test_shapes_and_bad_input() -> None:
    quads = annotated(np.random.default_rng(6), 4)
    assert quad_iou(quads, quads[:3]).shape == (4, 3)
    assert quad_iou([], quads).shape == (0, 4)
    assert quad_iou([], [], aligned=True).shape == (0,)
    with pytest.raises(MetricsError, match=r"quads2 of shape \(N, 4, 2\).*got \(1, 5\)"):
        quad_iou(quads, [[0, 0, 1, 1, 0]])
    with pytest.raises(MetricsError, match=r"finite.*quads1\[1\]"):
        quad_iou([quads[0], quads[0] * math.nan], quads)
    with pytest.raises(MetricsError, match="quads1 and quads2 of the same length with aligned, got 4 and 3"):
        quad_iou(quads, quads[:3], aligned=True)
