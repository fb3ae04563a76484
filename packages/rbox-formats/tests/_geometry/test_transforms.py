"""Flips, turns, scales and moves against the pixels of drawn images and values worked by hand."""

from __future__ import annotations

import math

import array_api_strict
import numpy as np
import pytest
import shapely
import shapely.affinity
import torch
from hypothesis import given
from hypothesis import strategies as st
from rbox_formats import canonical_le90, flip, quad_to_rbox, rbox_to_quad, rotate, rotate90, scale, translate
from rbox_formats.errors import FormatsError

SIZE = (300, 200)
coordinates = st.floats(-50, 350)
boxes = st.tuples(coordinates, coordinates, st.floats(1, 90), st.floats(1, 90), st.floats(-1.5, 1.5)).map(
    lambda values: canonical_le90(np.array([values]))
)
directions = st.sampled_from(["horizontal", "vertical", "diagonal"])
ARRAY_FLIPS = {"horizontal": np.fliplr, "vertical": np.flipud, "diagonal": lambda image: np.rot90(image, 2)}


def same_polygon(box: np.ndarray, polygon: shapely.Polygon) -> bool:
    # By the farthest corner: GEOS's common area of two that differ in the last bits may be none.
    return shapely.Polygon(rbox_to_quad(box)).hausdorff_distance(polygon) < 1e-7


def pixels(quad: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    """An image whose pixels are set where their middle lies in the quad."""
    width, height = (int(side) for side in size)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return shapely.contains_xy(shapely.Polygon(quad), x, y)


@pytest.mark.parametrize("direction", ARRAY_FLIPS)
def test_a_flip_is_that_of_the_image(direction: str) -> None:
    box = np.array([100.3, 60.8, 90.0, 30.0, 0.4])
    image = pixels(rbox_to_quad(box), SIZE)
    expected = ARRAY_FLIPS[direction](image)
    np.testing.assert_array_equal(pixels(rbox_to_quad(flip(box, SIZE, direction)), SIZE), expected)
    np.testing.assert_array_equal(pixels(flip(rbox_to_quad(box), SIZE, direction), SIZE), expected)


@pytest.mark.parametrize("turns", [-5, -1, 0, 1, 2, 3, 4])
def test_a_quarter_turn_is_that_of_the_image(turns: int) -> None:
    box = np.array([100.3, 60.8, 90.0, 30.0, 0.4])
    expected = np.rot90(pixels(rbox_to_quad(box), SIZE), -turns)
    turned, size = rotate90(box, SIZE, turns)
    assert size == expected.shape[::-1]
    np.testing.assert_array_equal(pixels(rbox_to_quad(turned), size), expected)
    turned, size = rotate90(rbox_to_quad(box), SIZE, turns)
    np.testing.assert_array_equal(pixels(turned, size), expected)


def test_by_hand() -> None:
    box = np.array([10.0, 20.0, 8.0, 4.0, 0.3])
    np.testing.assert_allclose(flip(box, SIZE, "horizontal"), [290, 20, 8, 4, -0.3])
    np.testing.assert_allclose(flip(box, SIZE, "vertical"), [10, 180, 8, 4, -0.3])
    np.testing.assert_allclose(flip(box, SIZE, "diagonal"), [290, 180, 8, 4, 0.3])
    turned, size = rotate90(box, SIZE)
    assert size == (200, 300)
    np.testing.assert_allclose(turned, [180, 10, 8, 4, 0.3 - math.pi / 2])  # clockwise: left goes up
    np.testing.assert_allclose(rotate(box, math.pi / 2, (10, 10)), [0, 10, 8, 4, 0.3 - math.pi / 2], atol=1e-12)
    np.testing.assert_allclose(rotate(box, 0.2, (10, 20)), [10, 20, 8, 4, 0.5])
    np.testing.assert_allclose(scale(box, 2), [20, 40, 16, 8, 0.3])
    np.testing.assert_allclose(translate(box, (-3, 5)), [7, 25, 8, 4, 0.3])


def test_the_corners_of_a_quad_keep_their_order() -> None:
    quad = np.array([[1.0, 2.0], [11, 2], [11, 7], [1, 7]])
    np.testing.assert_array_equal(flip(quad, SIZE, "horizontal"), [[299, 2], [289, 2], [289, 7], [299, 7]])
    np.testing.assert_array_equal(rotate90(quad, SIZE)[0], [[198, 1], [198, 11], [193, 11], [193, 1]])
    np.testing.assert_array_equal(scale(quad, (2, 3)), [[2, 6], [22, 6], [22, 21], [2, 21]])
    np.testing.assert_array_equal(translate(quad, (1, -1)), [[2, 1], [12, 1], [12, 6], [2, 6]])


def test_an_edge_at_the_border_stays_at_the_border() -> None:
    """Coordinates are of pixel edges: a box over the whole image is so after every flip."""
    whole = np.array([150.0, 100.0, 300.0, 200.0, 0.0])
    for direction in ARRAY_FLIPS:
        np.testing.assert_array_equal(flip(whole, SIZE, direction), whole)


@given(boxes, directions)
def test_a_flip_twice_is_none(box: np.ndarray, direction: str) -> None:
    np.testing.assert_allclose(flip(flip(box, SIZE, direction), SIZE, direction), box, atol=1e-12)


@given(boxes, directions)
def test_boxes_and_quads_flip_alike(box: np.ndarray, direction: str) -> None:
    flipped = flip(box, SIZE, direction)
    assert -math.pi / 2 <= flipped[0, 4] < math.pi / 2
    assert same_polygon(flipped[0], shapely.Polygon(flip(rbox_to_quad(box), SIZE, direction)[0]))


@given(boxes, st.floats(-10, 10), st.tuples(coordinates, coordinates))
def test_rotation_is_shapelys(box: np.ndarray, angle: float, centre: tuple[float, float]) -> None:
    """shapely turns from x to y as well, which it calls counter-clockwise: its y points up."""
    polygon = shapely.affinity.rotate(shapely.Polygon(rbox_to_quad(box)[0]), angle, origin=centre, use_radians=True)
    turned = rotate(box, angle, centre)
    assert turned[0, 2] >= turned[0, 3]
    assert -math.pi / 2 <= turned[0, 4] < math.pi / 2
    assert same_polygon(turned[0], polygon)
    np.testing.assert_allclose(rotate(rbox_to_quad(box), angle, centre)[0], polygon.exterior.coords[:4], atol=1e-8)


@given(boxes, st.integers(-8, 8))
def test_quarter_turns_add_up(box: np.ndarray, turns: int) -> None:
    step = (box, SIZE)
    for _ in range(abs(turns)):
        step = rotate90(*step, turns=1 if turns > 0 else -1)
    turned, size = rotate90(box, SIZE, turns)
    assert size == step[1]
    np.testing.assert_allclose(rbox_to_quad(turned).mean(axis=1), rbox_to_quad(step[0]).mean(axis=1), atol=1e-9)
    assert same_polygon(turned[0], shapely.Polygon(rbox_to_quad(step[0])[0]))


@given(boxes, st.floats(0.1, 10), st.floats(0.1, 10))
def test_unequal_factors_give_the_rectangle_around_the_parallelogram(box: np.ndarray, x: float, y: float) -> None:
    scaled = scale(box, (x, y))
    polygon = shapely.affinity.scale(shapely.Polygon(rbox_to_quad(box)[0]), x, y, origin=(0, 0))
    np.testing.assert_allclose(scale(rbox_to_quad(box), (x, y))[0], polygon.exterior.coords[:4], atol=1e-9)
    around = shapely.Polygon(rbox_to_quad(scaled)[0])
    assert around.buffer(1e-6).covers(polygon)
    assert around.area == pytest.approx(polygon.minimum_rotated_rectangle.area, rel=1e-6)


@given(boxes, st.floats(0.1, 10))
def test_one_factor_is_exact(box: np.ndarray, factor: float) -> None:
    np.testing.assert_allclose(scale(box, factor), box * [factor, factor, factor, factor, 1], rtol=1e-15)
    np.testing.assert_allclose(scale(box, (factor, factor)), scale(box, factor), rtol=0)


def test_along_the_axes_unequal_factors_lose_nothing() -> None:
    upright = np.array([[10.0, 20.0, 8.0, 4.0, 0.0], [10.0, 20.0, 8.0, 4.0, -math.pi / 2]])
    np.testing.assert_allclose(scale(upright, (2, 3)), [[20, 60, 16, 12, 0], [20, 60, 24, 8, -math.pi / 2]])


@pytest.mark.parametrize("factors", [0, -1, (1, 0), (math.inf, 1), math.nan])
def test_factors_that_are_none(factors) -> None:
    with pytest.raises(FormatsError, match="expected positive factors"):
        scale(np.zeros((1, 5)), factors)


@pytest.mark.parametrize("shape", [(0,), (), (2, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_kinds_and_dtypes_are_kept(shape: tuple[int, ...], dtype: str) -> None:
    box = np.broadcast_to(np.array([5.0, 6.0, 7.0, 3.0, 0.5]), (*shape, 5)).astype(dtype)
    moves = [
        lambda shapes: flip(shapes, SIZE, "horizontal"),
        lambda shapes: rotate90(shapes, SIZE)[0],
        lambda shapes: rotate(shapes, 1.0, (3, 4)),
        lambda shapes: scale(shapes, (2, 3)),
        lambda shapes: scale(shapes, 2),
        lambda shapes: translate(shapes, (2, 3)),
    ]
    for shapes in (box, rbox_to_quad(box)):
        for move in moves:
            expected = move(shapes)
            assert expected.dtype == dtype
            assert expected.shape == shapes.shape
            for given_shapes in (torch.tensor(shapes), array_api_strict.asarray(shapes)):
                moved = move(given_shapes)
                assert type(moved) is type(given_shapes)
                assert str(moved.dtype).endswith(dtype)
                np.testing.assert_allclose(np.asarray(moved), expected, rtol=1e-5)


@pytest.mark.parametrize("shapes", [torch.zeros(2, 5), torch.zeros(2, 4, 2)])
def test_on_another_device(shapes: torch.Tensor) -> None:
    """Nothing is made on the processor in passing: torch's "meta" device refuses to mix, as CUDA does."""
    shapes = shapes.to("meta")
    for moved in (flip(shapes, SIZE, "vertical"), rotate90(shapes, SIZE)[0], scale(shapes, (2, 3))):
        assert moved.device.type == "meta"
        assert moved.shape == shapes.shape


def test_gradients() -> None:
    box = torch.tensor([[10.0, 20.0, 8.0, 4.0, 0.3]], dtype=torch.float64, requires_grad=True)
    for move in (lambda b: flip(b, SIZE, "horizontal"), lambda b: rotate(b, 0.4, (1, 2)), lambda b: scale(b, (1, 2))):
        assert torch.autograd.gradcheck(move, (box,))


def test_minimum_area_boxes_turn_with_their_quads() -> None:
    quads = np.random.default_rng(0).uniform(0, 200, (300, 4, 2))
    turned = quad_to_rbox(rotate(quads, 0.7, (50, 60)))
    np.testing.assert_allclose(turned[:, 2] * turned[:, 3], np.prod(quad_to_rbox(quads)[:, 2:4], axis=1), rtol=1e-9)
