"""Operators on polygons, which mmcv has on the GPU only: against shapely, and rbox_metrics' own derivation."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given
from hypothesis import strategies as st
from rbox_baselines._ops import OPERATORS, _hulls
from rbox_baselines.errors import OperatorError
from rbox_metrics import box_iou_rotated, diff_iou_rotated
from torch import Tensor

LATTICE = [[10.0 * (k % 3), 10.0 * (k // 3)] for k in range(9)]
LINE = [[3.0 * k, 2.0 * k] for k in range(9)]
SQUARE = [[0.0, 0.0], [20, 0], [20, 20], [0, 20]]
ARROW = [[0.0, 0.0], [40, 0], [12, 12], [0, 40]]


def sets(count: int = 40) -> Tensor:
    """(N, 9, 2) point sets, among them a lattice, a line, a point, and a triangle with points twice and inside."""
    draw = torch.Generator().manual_seed(0)
    places = torch.rand(count, 1, 2, generator=draw) * 60
    made = places + torch.randn(count, 9, 2, generator=draw) * 12
    triangle = [[0.0, 0], [30, 4], [7, 22]]
    odd = [LATTICE, LINE, [[5.0, 6.0]] * 9, triangle * 3, [*triangle, *[[12.0, 9.0]] * 6]]
    made[: len(odd)] = torch.tensor(odd)
    return made


def quads(count: int = 25) -> Tensor:
    """(K, 4, 2), either way round, one not convex, one without area."""
    draw = torch.Generator().manual_seed(1)
    signs = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    made = torch.rand(count, 1, 2, generator=draw) * 60 + signs * (5 + 20 * torch.rand(count, 4, 2, generator=draw))
    made[:5] = torch.tensor([SQUARE, SQUARE[::-1], ARROW, ARROW[::-1], [[1.0, 1], [5, 5], [9, 9], [5, 5]]])
    return made


def hulls(points: Tensor) -> np.ndarray:
    return shapely.convex_hull(shapely.multipoints(points.double().numpy()))


def overlaps(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Common areas, unions, and hulls' areas of both."""
    common = shapely.area(shapely.intersection(first, second))
    whole = shapely.area(first) + shapely.area(second) - common
    return common, whole, shapely.area(shapely.convex_hull(shapely.union(first, second)))


def test_convex_iou_is_shapely_s(ops: ModuleType) -> None:
    found = ops.convex_iou(sets().flatten(1), quads().flatten(1))
    common, whole, _ = overlaps(hulls(sets())[:, None], shapely.polygons(quads().double().numpy())[None])
    expected = np.divide(common, whole, out=np.zeros_like(common), where=whole > 0)
    assert (expected > 0.1).sum() > 50
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    # The lattice lies on the square.
    assert found[0, 0].item() == pytest.approx(1, abs=1e-6)


def giou(points: np.ndarray, quad: np.ndarray) -> float:
    first, second = shapely.convex_hull(shapely.multipoints(points)), shapely.polygons(quad)
    common, whole, around = overlaps(first, second)
    return float(common / whole - (around - whole) / around)


def test_convex_giou_and_its_gradient_are_shapely_s(ops: ModuleType) -> None:
    points, polygons = sets(25), quads()
    points[3:5] = sets(40)[30:32]  # no equal points: there the gradient has no finite difference
    found, gradient = ops.convex_giou(points.flatten(1), polygons.flatten(1))
    array, corners = points.double().numpy(), polygons.double().numpy()
    expected = [giou(each, quad) for each, quad in zip(array, corners, strict=True)]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    step = 1e-6
    for k in range(3, len(array)):
        if k == 4:
            continue  # a quad without area
        for c in range(18):
            moved = [array[k].copy().ravel() for _ in range(2)]
            moved[0][c] += step
            moved[1][c] -= step
            high, low = (giou(each.reshape(9, 2), corners[k]) for each in moved)
            assert gradient[k, c].item() == pytest.approx((high - low) / (2 * step), abs=1e-6)


def test_the_gradient_of_equal_points_is_the_first_one_s(ops: ModuleType) -> None:
    triangle = torch.tensor([[0.0, 0], [30, 4], [7, 22]])
    square = torch.tensor([SQUARE]).flatten(1)
    once = torch.cat([triangle, torch.tensor([[12.0, 9.0]]).expand(6, 2)])
    (_, alone), (_, thrice) = (ops.convex_giou(each.reshape(1, 18), square) for each in (once, triangle.repeat(3, 1)))
    torch.testing.assert_close(alone, thrice)
    assert alone[0, :6].abs().min() > 0
    assert alone[0, 6:].eq(0).all()


@pytest.mark.parametrize("value", [0.0, 7.0, math.nan, math.inf])
def test_sets_of_no_area_are_finite(ops: ModuleType, value: float) -> None:
    points, point = torch.full((1, 18), value), torch.full((1, 8), 7.0)
    square = torch.tensor([SQUARE]).flatten(1)
    assert ops.convex_iou(points, torch.cat([square, point])).eq(0).all()
    for quad in (square, point):
        found, gradient = ops.convex_giou(points, quad)
        assert -1 <= found.item() <= 0
        assert torch.isfinite(gradient).all()


def test_of_nothing(ops: ModuleType) -> None:
    none, square = torch.zeros(0, 18), torch.tensor([SQUARE]).flatten(1)
    assert ops.convex_iou(none, square).shape == (0, 1)
    assert ops.convex_iou(torch.zeros(2, 18), torch.zeros(0, 8)).shape == (2, 0)
    assert [part.shape for part in ops.convex_giou(none, torch.zeros(0, 8))] == [(0,), (0, 18)]
    assert ops.min_area_polygons(none).shape == (0, 8)
    vertices, mask, count = torch.zeros(1, 0, 24, 2), torch.zeros(1, 0, 24), torch.zeros(1, 0)
    assert OPERATORS["diff_iou_rotated_sort_vertices_forward"](vertices, mask, count).shape == (1, 0, 9)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(OperatorError, match=r"convex_giou: expected as many polygons as point sets, got 2 and 1"):
        OPERATORS["convex_giou"](torch.zeros(2, 18), torch.zeros(1, 8), torch.zeros(2, 19))
    with pytest.raises(OperatorError, match=r"expected pointsets, .* of shape \(N, 18\), got \(2, 10\)"):
        OPERATORS["min_area_polygons"](torch.zeros(2, 10), torch.zeros(2, 8))


def test_the_smallest_rectangle_is_shapely_s(ops: ModuleType) -> None:
    points = sets()
    found = ops.min_area_polygons(points.flatten(1)).double().numpy().reshape(-1, 4, 2)
    smallest = shapely.area([shapely.minimum_rotated_rectangle(each) for each in hulls(points)])
    np.testing.assert_allclose(shapely.area(shapely.polygons(found)), smallest, rtol=1e-5, atol=1e-3)
    around = shapely.buffer(shapely.polygons(found), 1e-3)
    assert shapely.contains(around, hulls(points)).all()


def test_the_rectangle_s_corners_come_in_mmcv_s_order(ops: ModuleType) -> None:
    """Turned back by an edge's angle in the first quarter: right above, left above, left below, right below."""
    upright = ops.min_area_polygons(torch.tensor([LATTICE]).flatten(1))
    assert upright[0].tolist() == [20, 0, 0, 0, 0, 20, 20, 20]
    long = torch.tensor(LATTICE) * torch.tensor([2.0, 1.0])
    for angle in (0.3, 1.2, 0.3 - math.pi / 2, math.pi + 0.3):
        turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        found = ops.min_area_polygons((long @ turn).reshape(1, 18)).view(4, 2)
        quarter = angle % (math.pi / 2)
        back = torch.tensor([[math.cos(quarter), -math.sin(quarter)], [math.sin(quarter), math.cos(quarter)]])
        x, y = (found @ back).unbind(1)
        assert x.argsort(stable=True).tolist() in ([1, 2, 0, 3], [2, 1, 0, 3], [1, 2, 3, 0], [2, 1, 3, 0])
        assert (y[[0, 1]].max() < y[[2, 3]].min()).item()


@given(st.lists(st.tuples(*[st.integers(-4, 4)] * 2), min_size=9, max_size=9))
def test_hulls_on_a_lattice_are_shapely_s(points: list[tuple[int, int]]) -> None:
    """Where many points are equal or in line, and whatever comes of that must still be the hull."""
    values = torch.tensor([points], dtype=torch.float64)
    walk, sizes = _hulls.hull(values)
    expected = hulls(values)[0]
    assert _hulls.area(_hulls.corners(values, walk)).item() == pytest.approx(expected.area)
    assert sizes.item() == len(np.unique(shapely.get_coordinates(expected), axis=0))


def test_points_in_polygons_are_shapely_s() -> None:
    """Of the operator itself: the file in mmcv 2.0.1 wants a GPU whatever it is given."""
    draw = torch.Generator().manual_seed(0)
    points, polygons = torch.rand(300, 2, generator=draw) * 80 - 10, quads()[:24]
    found = torch.full((300, 24), -1.0)
    OPERATORS["points_in_polygons_forward"](points, polygons.flatten(1), found)
    shapes = shapely.polygons(polygons.double().numpy())
    expected = shapely.contains_xy(shapes, *points.double().numpy().T[..., None])
    assert expected.any(axis=0).sum() == 23  # one has no area
    assert np.array_equal(found.numpy(), expected)
    OPERATORS["points_in_polygons_forward"](points[:0], polygons.flatten(1), found[:0])
    OPERATORS["points_in_polygons_forward"](points, torch.zeros(0, 8), found[:, :0])


def pairs() -> tuple[Tensor, Tensor]:
    """Pairs of boxes, of which the first 60 share edges, corners or all, and the last have nothing in common."""
    draw = torch.Generator().manual_seed(0)

    def boxes(count: int) -> Tensor:
        drawn = torch.rand(count, 5, generator=draw, dtype=torch.float64)
        return drawn * torch.tensor([20, 20, 30, 30, 3.1]) + torch.tensor([0, 0, 2, 2, -1.55])

    first, second = boxes(160), boxes(160)
    second[:60] = first[:60]
    second[10:20, 2] /= 2  # a strip of it
    second[20:30, 4] += math.pi / 2  # across
    first[30:40, 4] = second[30:40, 4] = 0
    second[30:40, 0] += 3  # along its edges
    second[40:50, 2:4] *= 0.5  # inside
    angle = first[50:60, 4]
    second[50:60, 0] += first[50:60, 2] * angle.cos() / 2 + second[50:60, 2] * angle.cos() / 2  # side by side
    second[50:60, 1] += first[50:60, 2] * angle.sin() / 2 + second[50:60, 2] * angle.sin() / 2
    second[150:, 0] += 200
    return first, second


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_diff_iou_is_the_true_one_with_its_gradient(ops: ModuleType, dtype: torch.dtype) -> None:
    first, second = pairs()
    tolerance = 1e-4 if dtype == torch.float32 else 1e-7
    mine, exact = first.to(dtype).requires_grad_(), first.clone().requires_grad_()
    found = ops.diff_iou_rotated_2d(mine[None], second.to(dtype)[None])[0]
    expected = box_iou_rotated(first, second, aligned=True)
    np.testing.assert_allclose(found.detach().double().numpy(), expected.numpy(), atol=tolerance)
    (gradient,) = torch.autograd.grad(found.sum(), mine)
    (true,) = torch.autograd.grad(diff_iou_rotated(exact, second).sum(), exact)
    # What shares an edge has no one gradient.
    assert torch.isfinite(gradient).all()
    torch.testing.assert_close(gradient[60:].double(), true[60:], rtol=0, atol=tolerance)


@pytest.mark.parametrize("sides", [(0.0, 0.0), (0.0, 5.0)])
def test_boxes_without_area_have_nothing_in_common(ops: ModuleType, sides: tuple[float, float]) -> None:
    void = torch.tensor([[[10.0, 10, *sides, 0.3]]], requires_grad=True)
    out = ops.diff_iou_rotated_2d(void, torch.tensor([[[10.0, 10, 8, 6, 0.1]]]))
    assert out.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(torch.autograd.grad(out.sum(), void)[0]).all()


def test_vertices_that_are_no_numbers_are_left_out() -> None:
    vertices, mask = torch.full((1, 1, 24, 2), math.nan), torch.zeros(1, 1, 24, dtype=torch.bool)
    count = torch.zeros(1, 1, dtype=torch.int32)
    found = OPERATORS["diff_iou_rotated_sort_vertices_forward"](vertices, mask, count)
    assert found.dtype == torch.int32
    assert found.flatten().tolist() == [8] * 9
