"""Boxes and quads against OpenCV, shapely and values worked by hand."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import shapely
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rbox_formats import canonical_le90, hbox_to_rbox, quad_area, quad_to_rbox, rbox_to_hbox, rbox_to_quad

coordinates = st.floats(-2000, 2000, allow_subnormal=False)
sizes = st.floats(0.5, 500, allow_subnormal=False)
angles = st.floats(-20, 20, allow_subnormal=False)
boxes = st.tuples(coordinates, coordinates, sizes, sizes, angles).map(lambda values: np.array([values]))
quads = arrays(np.float64, (1, 4, 2), elements=st.integers(-50, 50).map(float))


def polygon(quad: np.ndarray) -> shapely.Polygon:
    return shapely.Polygon(quad).buffer(0)


def test_corners_of_a_turned_box_worked_by_hand() -> None:
    """A quarter turn clockwise on the screen takes the left upper corner to the right upper one."""
    quad = rbox_to_quad(np.array([10.0, 20.0, 4.0, 2.0, math.pi / 2]))
    np.testing.assert_allclose(quad, [[11, 18], [11, 22], [9, 22], [9, 18]], atol=1e-12)


def test_angle_is_clockwise_on_the_screen() -> None:
    """An object that points right and down, x and y growing, has a positive angle."""
    (box,) = quad_to_rbox(np.array([[[0.0, 0.0], [10.0, 10.0], [9.0, 11.0], [-1.0, 1.0]]]))
    assert box[4] == pytest.approx(math.pi / 4)
    assert box[2] == pytest.approx(math.sqrt(200))


@given(boxes)
def test_quad_to_rbox_gives_the_same_rectangle_back(box: np.ndarray) -> None:
    quad = rbox_to_quad(box)
    again = quad_to_rbox(quad)
    distances = np.linalg.norm(rbox_to_quad(again)[0][:, None] - quad[0][None], axis=-1)
    assert distances.min(axis=0).max() < 1e-4  # every corner is one of the others
    assert distances.min(axis=1).max() < 1e-4


@given(boxes)
def test_canonical_boxes_are_in_range_and_the_same_rectangle(box: np.ndarray) -> None:
    canonical = canonical_le90(box)
    (_, _, w, h, angle) = canonical[0]
    assert w >= h
    assert -math.pi / 2 <= angle < math.pi / 2
    if w == h:
        assert -math.pi / 4 <= angle < math.pi / 4
    ours, theirs = polygon(rbox_to_quad(canonical)[0]), polygon(rbox_to_quad(box)[0])
    assert ours.intersection(theirs).area / ours.union(theirs).area > 1 - 1e-6


@pytest.mark.parametrize(
    "angle, expected",
    [
        (math.pi / 2, -math.pi / 2),
        (-math.pi / 2, -math.pi / 2),
        (np.nextafter(math.pi / 2, 0), np.nextafter(math.pi / 2, 0)),
        (math.pi, 0),
        (3 * math.pi, 0),
    ],
)
def test_the_ends_of_the_range(angle: float, expected: float) -> None:
    assert canonical_le90(np.array([0.0, 0.0, 4.0, 2.0, angle]))[4] == pytest.approx(expected, abs=1e-9)


def test_squares_lie_in_a_quarter_turn() -> None:
    turned = canonical_le90(np.array([[0.0, 0.0, 2.0, 2.0, angle] for angle in (math.pi / 4, -math.pi / 4, 1.0, 2.0)]))
    np.testing.assert_allclose(turned[:, 4], [-math.pi / 4, -math.pi / 4, 1 - math.pi / 2, 2 - math.pi / 2], atol=1e-12)


@given(st.floats(-1000, 1000), st.floats(1, 300), angles)
def test_squares_come_back_as_squares(place: float, side: float, angle: float) -> None:
    """Their corners are rounded, so that one side is longer by a hair: the angle is a square's all the same."""
    (box,) = quad_to_rbox(rbox_to_quad(np.array([[place, place, side, side, angle]])))
    assert -math.pi / 4 <= box[4] < math.pi / 4
    assert box[2] == pytest.approx(side)


@given(quads)
def test_area_is_that_of_opencvs_rectangle(quad: np.ndarray) -> None:
    """Any four points: concave, self-crossing, flat. Areas do not depend on OpenCV's range of angles."""
    (box,) = quad_to_rbox(quad)
    (_, (w, h), _) = cv2.minAreaRect(quad[0].astype(np.float32))
    assert box[2] * box[3] == pytest.approx(w * h, rel=1e-4, abs=1e-2)


def test_every_corner_is_inside_its_rectangle() -> None:
    random = np.random.default_rng(0).uniform(0, 100, (500, 4, 2))
    for quad, rectangle in zip(random, rbox_to_quad(quad_to_rbox(random)), strict=True):
        assert polygon(rectangle).buffer(1e-6).covers(shapely.MultiPoint(quad))


def test_a_line_and_a_point() -> None:
    line = np.array([[0.0, 0.0], [3.0, 3.0], [1.0, 1.0], [4.0, 4.0]])
    point = np.full((4, 2), 7.0)
    np.testing.assert_allclose(
        quad_to_rbox(np.stack([line, point])),
        [[2, 2, math.sqrt(32), 0, math.pi / 4], [7, 7, 0, 0, 0]],
        atol=1e-12,
    )


def test_far_from_the_origin_nothing_is_lost() -> None:
    near = rbox_to_quad(np.array([[0.0, 0.0, 3.0, 1.0, 0.3]]))
    np.testing.assert_allclose(quad_to_rbox(near + 1e6)[0, 2:], [3, 1, 0.3], atol=1e-8)


@given(boxes)
def test_upright_box_holds_the_corners_tightly(box: np.ndarray) -> None:
    quad = rbox_to_quad(box)[0]
    np.testing.assert_allclose(rbox_to_hbox(box)[0], [*quad.min(axis=0), *quad.max(axis=0)], atol=1e-9)


def test_upright_box_as_a_rotated_one() -> None:
    tall = np.array([0.0, 0.0, 2.0, 6.0])
    np.testing.assert_allclose(hbox_to_rbox(tall), [1, 3, 6, 2, -math.pi / 2])
    np.testing.assert_allclose(rbox_to_hbox(hbox_to_rbox(tall)), tall, atol=1e-12)


@given(boxes)
def test_area_of_a_quad(box: np.ndarray) -> None:
    assert quad_area(rbox_to_quad(box))[0] == pytest.approx(box[0, 2] * box[0, 3], rel=1e-6)


@pytest.mark.parametrize("shape", [(0,), (3,), (2, 3)])
def test_leading_shapes_are_kept_by_numpy_and_torch(shape: tuple[int, ...]) -> None:
    box = np.broadcast_to(np.array([5.0, 6.0, 7.0, 3.0, 0.5]), (*shape, 5))
    for given_box in (box, torch.tensor(box.copy())):
        quad = rbox_to_quad(given_box)
        assert type(quad) is type(given_box)
        assert tuple(quad.shape) == (*shape, 4, 2)
        np.testing.assert_allclose(np.asarray(quad_to_rbox(quad)), box, atol=1e-9)
        assert tuple(rbox_to_hbox(given_box).shape) == (*shape, 4)


def test_corners_have_gradients() -> None:
    box = torch.tensor([1.0, 2.0, 4.0, 2.0, 0.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rbox_to_quad, (box,))
