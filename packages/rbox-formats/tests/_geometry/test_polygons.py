from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rbox_formats import crosses_itself, quad_area
from rbox_formats._geometry import quad_around, upright_quad
from shapely import LineString, MultiPoint, Point, Polygon

point = st.tuples(st.integers(-50, 50), st.integers(-50, 50))


@given(st.lists(point, min_size=5, max_size=12))
def test_the_least_rectangle_is_shapelys(points: list[tuple[int, int]]) -> None:
    assume(len(points) > 5 or points[0] != points[-1])  # four corners and the first again are a quad
    quad = np.array(quad_around([float(value) for xy in points for value in xy])).reshape(4, 2)
    theirs = MultiPoint(points).minimum_rotated_rectangle
    assert float(quad_area(quad)) == pytest.approx(theirs.area, abs=1e-6)
    assert MultiPoint(points).convex_hull.difference(Polygon(quad).buffer(1e-6)).is_empty or theirs.area == 0


def test_four_corners_stay_as_they_are() -> None:
    assert quad_around([0, 0, 5, 1, 4, 3, -1, 2]) == [0, 0, 5, 1, 4, 3, -1, 2]


@pytest.mark.parametrize(
    ("corners", "sides"),
    [([3, 4], (0, 0)), ([3, 4] * 6, (0, 0)), ([0, 0, 3, 4], (5, 0)), ([0, 0, 3, 4, 6, 8], (10, 0))],
)
def test_points_and_lines(corners: list[float], sides: tuple[float, float]) -> None:
    quad = np.array(quad_around(corners)).reshape(4, 2)
    lengths = np.linalg.norm(quad - np.roll(quad, 1, axis=0), axis=1)
    np.testing.assert_allclose(sorted(lengths), sorted([*sides, *sides]), atol=1e-9)


def test_long_outlines_take_no_long_time() -> None:
    around = np.linspace(0, 2 * np.pi, 99_999, endpoint=False)
    circle = np.stack([np.cos(around), np.sin(around)], axis=-1) * 100
    quad = np.array(quad_around(circle.ravel().tolist())).reshape(4, 2)
    assert float(quad_area(quad)) == pytest.approx(200**2, rel=1e-4)


def test_an_upright_box() -> None:
    assert upright_quad(1, 2, 3, 5) == [1, 2, 3, 2, 3, 5, 1, 5]


@pytest.mark.parametrize("corners", [[0, 0, 5, 1, 4, 3, -1, 2], [0, 0, 5, 1, 4, 3, 0, 0]])
def test_a_closed_outline_of_four_corners_is_these(corners: list[float]) -> None:
    assert quad_around([*corners, *corners[:2]] if corners[:2] != corners[-2:] else corners) == corners


@given(st.lists(point, min_size=5, max_size=9, unique=True))
def test_closing_an_outline_changes_nothing(points: list[tuple[int, int]]) -> None:
    corners = [float(value) for xy in points for value in xy]
    assert quad_around([*corners, *corners[:2]]) == quad_around(corners)


@given(st.lists(point, min_size=4, max_size=4, unique=True))
def test_a_quad_that_crosses_itself_is_none_of_shapelys_simple_rings(points: list[tuple[int, int]]) -> None:
    ring = Polygon(points).exterior
    assume(MultiPoint(points).convex_hull.area)  # corners on a line
    on_a_side = any(
        LineString([points[i], points[(i + 1) % 4]]).distance(Point(points[j])) == 0
        for i in range(4)
        for j in ((i + 2) % 4, (i + 3) % 4)
    )
    assume(not on_a_side)  # a corner that touches a side: nothing crosses
    assert crosses_itself([points])[0] == (not ring.is_simple)
