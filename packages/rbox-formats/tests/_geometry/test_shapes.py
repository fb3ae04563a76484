"""Boxes and quads against OpenCV, shapely and values worked by hand."""

from __future__ import annotations

import math

import array_api_strict
import cv2
import numpy as np
import pytest
import shapely
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rbox_formats import (
    canonical_le90,
    canonical_quad,
    hbox_to_rbox,
    quad_area,
    quad_to_hbox,
    quad_to_rbox,
    rbox_area,
    rbox_to_hbox,
    rbox_to_quad,
)
from rbox_formats._geometry import around_points
from rbox_testing.shapes import apart

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
    """Corner by corner, in the same direction around, from one of the four."""
    quad = rbox_to_quad(box)[0]
    again = rbox_to_quad(quad_to_rbox(quad[None]))[0]
    assert min(np.abs(np.roll(again, start, axis=0) - quad).max() for start in range(4)) < 1e-4


@given(boxes)
def test_canonical_boxes_are_in_range_and_the_same_rectangle(box: np.ndarray) -> None:
    canonical = canonical_le90(box)
    (_, _, w, h, angle) = canonical[0]
    assert w >= h
    assert -math.pi / 2 <= angle < math.pi / 2
    if w == h:
        assert -math.pi / 4 <= angle < math.pi / 4
    assert apart(rbox_to_quad(canonical)[0], rbox_to_quad(box)[0]) < 1e-9


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


def random_quads(kind: str, count: int) -> np.ndarray:
    """Quads of one kind on an image of 4,000 px, in numbers that OpenCV's single precision holds exactly."""
    random = np.random.default_rng(0)
    sizes = random.uniform(4, 400, (count, 2))
    boxes = np.column_stack([random.uniform(0, 4000, (count, 2)), sizes, random.uniform(-1.6, 1.6, count)])
    quads = rbox_to_quad(boxes)
    if kind != "rectangle":
        quads += random.normal(0, 0.1, quads.shape) * sizes.min(axis=1)[:, None, None]
    if kind == "counter-clockwise":
        quads = quads[:, ::-1]
    if kind == "crossing":
        quads = quads[:, [0, 2, 1, 3]]
    if kind == "concave":
        quads[:, 2] = quads[:, 0] + 0.3 * (quads[:, 2] - quads[:, 0])
    return np.ascontiguousarray(quads.astype(np.float32).astype(np.float64))


KINDS = ["rectangle", "clockwise", "counter-clockwise", "crossing", "concave"]


@pytest.mark.parametrize("kind", KINDS)
def test_areas_of_many_random_quads_are_opencvs(kind: str) -> None:
    """100,000 in all kinds together."""
    quads = random_quads(kind, 20_000)
    theirs = np.array([cv2.minAreaRect(quad)[1] for quad in quads.astype(np.float32)], dtype=np.float64)
    np.testing.assert_allclose(rbox_area(quad_to_rbox(quads)), theirs.prod(axis=1), rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fast_kernel_is_the_plain_one(kind: str) -> None:
    quads = random_quads(kind, 5_000)
    plain = around_points(quads, np)
    np.testing.assert_allclose(rbox_area(quad_to_rbox(quads)), rbox_area(plain), rtol=1e-12)


@given(quads | arrays(np.float64, (1, 4, 2), elements=st.floats(-1e3, 1e3)), st.permutations(range(4)))
def test_the_order_of_the_corners_does_not_matter(quad: np.ndarray, order: list[int]) -> None:
    (box,), (other,) = quad_to_rbox(quad), quad_to_rbox(quad[:, order])
    extent = np.ptp(quad, axis=1).max()
    assert rbox_area(box) == pytest.approx(rbox_area(other), rel=1e-9, abs=1e-14 * extent**2)


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


def test_rectangles_have_gradients() -> None:
    """Of a convex, a crossing and a concave quad whose hull is an obtuse triangle: one rectangle is the least."""
    convex = [[0.0, 0], [9, 1], [10, 6], [1, 4]]
    crossing, concave = [convex[i] for i in (0, 2, 1, 3)], [[0, 0], [20, 1], [8, 1.5], [3, 4]]
    quads = torch.tensor([convex, crossing, concave], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(quad_to_rbox, (quads,))


def test_gradients_are_finite_without_an_area() -> None:
    quads = torch.tensor([[[0.0, 0], [3, 3], [1, 1], [4, 4]], [[7, 7]] * 4], dtype=torch.float64, requires_grad=True)
    quad_to_rbox(quads).sum().backward()
    assert quads.grad is not None
    assert torch.isfinite(quads.grad).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(0,), (), (2, 3)])
def test_numpy_torch_and_the_strict_standard_agree(shape: tuple[int, ...], dtype: str) -> None:
    box = np.broadcast_to(np.array([5.0, 6.0, 3.0, 7.0, 0.5]), (*shape, 5)).astype(dtype)
    quad, hbox = rbox_to_quad(box), rbox_to_hbox(box)
    for function, values in (
        (canonical_le90, box),
        (rbox_to_quad, box),
        (rbox_to_hbox, box),
        (rbox_area, box),
        (hbox_to_rbox, hbox),
        (quad_to_rbox, quad),
        (quad_to_hbox, quad),
        (quad_area, quad),
        (canonical_quad, quad),
    ):
        expected = function(values)
        assert expected.dtype == dtype
        assert expected.shape[: len(shape)] == shape
        for given_values in (torch.tensor(values), array_api_strict.asarray(values)):
            result = function(given_values)
            assert type(result) is type(given_values)
            assert str(result.dtype).endswith(dtype)
            np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-5)


def test_on_another_device() -> None:
    """Nothing is made on the processor in passing: torch's "meta" device refuses to mix, as CUDA does."""
    for function, shape in ((canonical_le90, (3, 5)), (rbox_to_quad, (3, 5)), (quad_to_rbox, (3, 4, 2))):
        assert function(torch.zeros(*shape, device="meta")).device.type == "meta"
    for start in ("topmost", "leftmost", "first"):
        assert canonical_quad(torch.zeros(3, 4, 2, device="meta"), start=start).device.type == "meta"


def test_many_quads_are_as_each_of_them() -> None:
    """Numpy goes through them block by block."""
    quads = random_quads("crossing", 9_001)
    boxes = quad_to_rbox(quads)
    for part in (slice(0, 10), slice(4_090, 4_100), slice(8_995, 9_001)):
        np.testing.assert_array_equal(boxes[part], quad_to_rbox(quads[part]))


def test_corners_that_are_almost_one() -> None:
    """A side so short that its square is nothing gives no direction."""
    quad = np.array([[[0.0, 0.0], [1e-160, 0.0], [10.0, 10.0], [9.0, 11.0]]])
    assert rbox_area(quad_to_rbox(quad))[0] == pytest.approx(20)


SQUARE = np.array([[0.0, 0.0], [10, 0], [10, 10], [0, 10]])


@pytest.mark.parametrize(
    "given_quad, options, expected",
    [
        # As LMMRotate's texts have it: counter-clockwise on the screen, from the topmost, of equals the leftmost.
        (SQUARE, {"clockwise": False}, [[0, 0], [0, 10], [10, 10], [10, 0]]),
        (SQUARE[::-1], {"clockwise": False}, [[0, 0], [0, 10], [10, 10], [10, 0]]),
        (SQUARE[[2, 3, 0, 1]], {}, SQUARE),
        (SQUARE[[2, 3, 0, 1]], {"start": "first"}, SQUARE[[2, 3, 0, 1]]),
        (SQUARE[[2, 1, 0, 3]], {"start": "first"}, SQUARE[[2, 3, 0, 1]]),
        (SQUARE[[2, 3, 0, 1]], {"start": "first", "clockwise": False}, SQUARE[[2, 1, 0, 3]]),
        (SQUARE[[0, 2, 1, 3]], {}, SQUARE),  # crosses itself
        ([[5, 0], [9, 4], [4, 9], [0, 5]], {"start": "leftmost"}, [[0, 5], [5, 0], [9, 4], [4, 9]]),
        ([[0, 10], [0, 0], [10, 0], [10, 10]], {"start": "leftmost"}, SQUARE),
        ([[7, 7]] * 4, {}, [[7, 7]] * 4),
    ],
)
def test_the_order_of_corners(given_quad, options: dict, expected) -> None:
    quad = np.array(given_quad, dtype=np.float64)
    np.testing.assert_array_equal(canonical_quad(quad, **options), expected)
    np.testing.assert_array_equal(canonical_quad(torch.tensor(quad[None]), **options)[0], expected)


@given(boxes, st.booleans(), st.sampled_from(["topmost", "leftmost", "first"]), st.integers(0, 3), st.booleans())
def test_the_order_of_a_rectangles_corners(box, clockwise, start, shift, mirrored) -> None:
    quad = np.roll(rbox_to_quad(box)[0], shift, axis=0)[:: -1 if mirrored else 1]
    ordered = canonical_quad(quad, clockwise=clockwise, start=start)
    turns = [np.roll(corners, i, axis=0) for corners in (quad, quad[::-1]) for i in range(4)]
    assert any((ordered == corners).all() for corners in turns)  # the outline is the same
    assert shapely.LinearRing(ordered).is_ccw == clockwise  # shapely's y points up
    first = {"topmost": min(quad.tolist(), key=lambda p: p[::-1]), "leftmost": min(quad.tolist()), "first": quad[0]}
    np.testing.assert_array_equal(ordered[0], first[start])
