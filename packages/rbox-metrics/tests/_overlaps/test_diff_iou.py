"""The differentiable overlap: values against shapely, gradients against differences of the float64 kernel's values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from rbox_formats import rbox_to_quad
from rbox_metrics import MetricsError, box_iou_rotated

torch = pytest.importorskip("torch")
from rbox_metrics import diff_iou_rotated  # noqa: E402


def boxes_near(rng: np.random.Generator, count: int) -> np.ndarray:
    places, sides = rng.uniform(-12, 12, (count, 2)), rng.uniform(3, 40, (count, 2))
    return np.concatenate([places, sides, rng.uniform(-1.6, 1.6, (count, 1))], axis=1)


def gradients(first: np.ndarray, second: np.ndarray, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
    """The values (N,) and the gradients (N, 2, 5)."""
    tensors = [torch.tensor(boxes, dtype=dtype, requires_grad=True) for boxes in (first, second)]
    values = diff_iou_rotated(*tensors)
    values.sum().backward()
    return values.detach().double().numpy(), np.stack([tensor.grad.double().numpy() for tensor in tensors], axis=1)


def differences(first: np.ndarray, second: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Central differences of the compiled overlap: (N, 2, 5)."""
    result = np.empty((len(first), 2, 5))
    for which in range(2):
        for column in range(5):
            ends = []
            for sign in (1, -1):
                pair = [first.copy(), second.copy()]
                pair[which][:, column] += sign * step
                ends.append(box_iou_rotated(*pair, aligned=True))
            result[:, which, column] = (ends[0] - ends[1]) / (2 * step)
    return result


@pytest.mark.parametrize("name, tolerance", [("float64", 1e-9), ("float32", 2e-6)])
def test_values_are_those_of_shapely(name: str, tolerance: float) -> None:
    rng = np.random.default_rng(0)
    first, second = boxes_near(rng, 3_000), boxes_near(rng, 3_000)
    one, other = (shapely.polygons(rbox_to_quad(boxes)) for boxes in (first, second))
    common = shapely.area(shapely.intersection(one, other))
    expected = common / (shapely.area(one) + shapely.area(other) - common)
    values, _ = gradients(first, second, getattr(torch, name))
    assert values.min() >= 0
    np.testing.assert_allclose(values, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name, tolerance, near_tolerance", [("float64", 1e-7, 2e-6), ("float32", 1e-5, 1e-3)])
def test_gradients_are_those_of_the_compiled_overlap(name: str, tolerance: float, near_tolerance: float) -> None:
    rng = np.random.default_rng(1)
    first, second = boxes_near(rng, 3_000), boxes_near(rng, 3_000)
    _, found = gradients(first, second, getattr(torch, name))
    np.testing.assert_allclose(found, differences(first, second), rtol=0, atol=tolerance)
    # Nearly the same boxes too, which training comes down to. Where edges are all but parallel the slope changes within
    # the step of the differences, and with the last digit of a float32 corner.
    second = first + rng.normal(0, 0.05, first.shape)
    _, found = gradients(first, second, getattr(torch, name))
    np.testing.assert_allclose(found, differences(first, second), rtol=0, atol=near_tolerance)


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2])
def test_gradients_of_parallel_boxes(angle: float) -> None:
    """Where slopes are 0 or infinite; no edges coincide, so there is no kink."""
    rng = np.random.default_rng(2)
    first, second = boxes_near(rng, 500), boxes_near(rng, 500)
    first[:, 4], second[:, 4] = angle, angle - math.pi / 2 * rng.integers(0, 3, 500)
    for name, tolerance in (("float64", 1e-7), ("float32", 1e-5)):
        _, found = gradients(first, second, getattr(torch, name))
        np.testing.assert_allclose(found, differences(first, second), rtol=0, atol=tolerance)


def test_gradcheck() -> None:
    rng = np.random.default_rng(3)
    tensors = [torch.tensor(boxes_near(rng, 30), requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(diff_iou_rotated, tensors, eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_where_there_is_no_slope_the_gradient_is_zero(name: str) -> None:
    """Identical boxes: the maximum. Boxes apart or touching at a corner, boxes without area: no overlap."""
    rng = np.random.default_rng(4)
    boxes = boxes_near(rng, 200)
    boxes[::2, 4] = rng.choice([0, math.pi / 2, -math.pi / 2], 100)
    dtype = getattr(torch, name)
    values, found = gradients(boxes, boxes, dtype)
    np.testing.assert_allclose(values, 1, rtol=0, atol=1e-6 if name == "float32" else 1e-14)
    np.testing.assert_allclose(found, 0, rtol=0, atol=1e-6 if name == "float32" else 1e-14)
    apart = boxes + np.array([200.0, 0, 0, 0, 0])
    line = boxes * [1, 1, 0, 1, 1]
    for first, second in ((boxes, apart), (boxes, line), (line, line)):
        values, found = gradients(first, second, dtype)
        assert (values == 0).all()
        assert (found == 0).all()
    corner = np.array([[0.0, 0, 2, 2, 0]]), np.array([[2.0, 2, 2, 2, 0]])
    values, found = gradients(*corner, dtype)
    assert values.tolist() == [0]
    assert np.isfinite(found).all()


def test_a_box_finds_its_target() -> None:
    """Steps along the gradient of -log(IoU) turn, move and stretch a box onto another."""
    target = torch.tensor([[50.0, 40, 30, 12, 0.5]], dtype=torch.float64)
    box = torch.tensor([[46.0, 44, 18, 18, -0.2]], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([box], lr=0.1)
    for _ in range(600):
        optimizer.zero_grad()
        loss = -diff_iou_rotated(box, target).log().sum()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02


def test_only_what_is_asked_for_has_a_gradient() -> None:
    first = torch.tensor([[0.0, 0, 2, 2, 0.1]], requires_grad=True)
    second = torch.tensor([[0.5, 0, 2, 2, 0.3]])
    value = diff_iou_rotated(second, first)
    (gradient,) = torch.autograd.grad(value.sum(), first)
    assert gradient.shape == (1, 5)
    assert value.dtype == torch.float32
    assert diff_iou_rotated(first.half(), second.double()).dtype == torch.float64
    assert diff_iou_rotated(first[:0], second[:0]).shape == (0,)


@pytest.mark.parametrize(
    "first, second, message",
    [
        (np.zeros((1, 5), dtype=complex), None, "expected boxes1 as an array of numbers, got complex ones"),
        (torch.zeros(1, 4), None, r"got torch.float32 \(1, 4\)"),
        (torch.zeros(1, 5, dtype=torch.complex64), None, "got torch.complex64"),
        (torch.zeros(2, 5), torch.zeros(1, 5), "got 2 and 1"),
    ],
)
def test_bad_input_is_named(first: object, second: object, message: str) -> None:
    import inspect

    bare = inspect.unwrap(diff_iou_rotated)  # past the checks of annotations that only tests make
    with pytest.raises(MetricsError, match=message):
        bare(first, first if second is None else second)
