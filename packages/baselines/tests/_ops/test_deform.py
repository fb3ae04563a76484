"""Deformed convolutions beyond mmcv's recordings: against an ordinary convolution, finite differences, bad input."""

from __future__ import annotations

import itertools
from types import ModuleType

import pytest
import torch
from rbox_baselines._ops import OPERATORS
from rbox_baselines.errors import OperatorError
from torch import Tensor
from torch.nn import functional


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


@pytest.mark.parametrize("groups", [1, 2])
def test_without_offsets_it_is_a_convolution(ops: ModuleType, groups: int) -> None:
    features, weight = random(2, 4, 9, 8), random(6, 4 // groups, 3, 3)
    walk = {"stride": 2, "padding": 1, "dilation": 1, "groups": groups}
    expected = functional.conv2d(features, weight, **walk)
    offset = torch.zeros(2, 18, *expected.shape[2:], dtype=torch.float64)
    torch.testing.assert_close(ops.deform_conv2d(features, offset, weight, *walk.values()), expected)
    mask = torch.full((2, 9, *expected.shape[2:]), 0.5, dtype=torch.float64)
    bias = random(6)
    found = ops.modulated_deform_conv2d(features, offset, mask, weight, bias, *walk.values())
    torch.testing.assert_close(found, expected / 2 + bias[:, None, None])


def test_an_offset_of_whole_pixels_moves_the_input(ops: ModuleType) -> None:
    features, weight = random(1, 2, 7, 7), random(3, 2, 3, 3)
    offset = torch.zeros(1, 9, 2, 5, 5, dtype=torch.float64)
    offset[:, :, 0], offset[:, :, 1] = 1, -2
    moved = torch.zeros_like(features)
    moved[:, :, :-1, 2:] = features[:, :, 1:, :-2]
    found = ops.deform_conv2d(features, offset.flatten(1, 2), weight)
    torch.testing.assert_close(found, functional.conv2d(moved, weight))


def test_gradients_are_those_of_finite_differences(ops: ModuleType) -> None:
    shapes = (1, 4, 3, 3), (1, 2 * 2 * 4, 2, 2), (1, 2 * 4, 2, 2), (2, 2, 2, 2), (2,)
    leaves = [(random(*shape) * 0.7).requires_grad_() for shape in shapes]

    def modulated(*leaves: Tensor) -> Tensor:
        return ops.modulated_deform_conv2d(*leaves, 1, 0, 1, 2, 2)

    def plain(features: Tensor, offset: Tensor, _: Tensor, weight: Tensor, __: Tensor) -> Tensor:
        return ops.deform_conv2d(features, offset, weight, 1, 0, 1, 2, 2)

    assert torch.autograd.gradcheck(modulated, leaves, fast_mode=True)
    assert torch.autograd.gradcheck(plain, leaves, fast_mode=True)


@pytest.mark.parametrize("far", [1e4, float("inf"), float("nan")])
def test_places_outside_read_nothing(ops: ModuleType, far: float) -> None:
    features, weight = random(1, 2, 5, 5).requires_grad_(), random(2, 2, 3, 3)
    offset = torch.full((1, 18, 3, 3), far, dtype=torch.float64, requires_grad=True)
    out = ops.deform_conv2d(features, offset, weight)
    assert out.eq(0).all()
    gradients = torch.autograd.grad(out.sum(), [features, offset])
    assert all(gradient.eq(0).all() for gradient in gradients)


def test_of_no_images() -> None:
    features, offset, weight = torch.zeros(0, 2, 4, 4), torch.zeros(0, 18, 4, 4), torch.zeros(3, 2, 3, 3)
    walk = {"kW": 3, "kH": 3, "dW": 1, "dH": 1, "padW": 1, "padH": 1, "dilationW": 1, "dilationH": 1}
    rest = {"group": 1, "deformable_group": 1, "im2col_step": 1}
    out, scratch = torch.zeros(0, 3, 4, 4), torch.zeros(0)
    OPERATORS["deform_conv_forward"](features, weight, offset, out, scratch, scratch, **walk, **rest)
    OPERATORS["deform_conv_backward_parameters"](
        features, offset, out, weight, scratch, scratch, **walk, **rest, scale=1
    )
    assert weight.eq(0).all()


def test_the_sum_does_not_differ_from_run_to_run(ops: ModuleType) -> None:
    features, offset = random(2, 8, 20, 20, dtype=torch.float32), random(2, 18, 20, 20, dtype=torch.float32)
    weight = random(8, 8, 3, 3, dtype=torch.float32)
    found = []
    for _ in range(2):
        leaf = features.clone().requires_grad_()
        found.append(torch.autograd.grad(ops.deform_conv2d(leaf, offset, weight, 1, 1).sum(), leaf)[0])
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("features", "offset", "weight", "message"),
    [
        ((1, 3, 5, 5), (1, 18, 3, 3), (2, 4, 3, 3), "as many channels as the weights have"),
        ((1, 4, 5, 5), (1, 16, 3, 3), (2, 4, 3, 3), r"offsets of shape \(1, 18, 3, 3\), got \(1, 16, 3, 3\)"),
        ((1, 4, 5, 5), (1, 18, 5, 5), (2, 4, 3, 3), r"offsets of shape \(1, 18, 3, 3\), got \(1, 18, 5, 5\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    ops: ModuleType, features: tuple[int, ...], offset: tuple[int, ...], weight: tuple[int, ...], message: str
) -> None:
    with pytest.raises(OperatorError, match=f"deform_conv_forward: expected {message}"):
        ops.deform_conv2d(*(random(*shape) for shape in (features, offset, weight)))


def test_offsets_of_a_larger_level_are_read_as_mmcv_reads_them(ops: ModuleType) -> None:
    """mmdet's DyHead passes them; in mmcv's kernel an image's offsets are numbers in a row, whatever shape they have.

    Worked by hand after its `modulated_deformable_im2col`: for an output of H' x W', position k of pixel (y, x) has its
    offsets at (2 k H' + y) W' + x and at ((2 k + 1) H' + y) W' + x, its mask at (k H' + y) W' + x.
    """
    features, weight = random(2, 3, 8, 8), random(4, 3, 3, 3)
    offset, mask = (values.requires_grad_() for values in (random(2, 18, 8, 8), random(2, 9, 8, 8)))
    found = ops.modulated_deform_conv2d(features, offset, mask, weight, None, 2, 1)
    assert found.shape == (2, 4, 4, 4)
    own = [values.detach().flatten(1) for values in (offset, mask)]
    expected = torch.zeros(2, 4, 4, 4, dtype=torch.float64)
    for n, y, x, k in itertools.product(range(2), range(4), range(4), range(9)):
        row = y * 2 - 1 + k // 3 + own[0][n, (2 * k * 4 + y) * 4 + x]
        column = x * 2 - 1 + k % 3 + own[0][n, ((2 * k + 1) * 4 + y) * 4 + x]
        sample = torch.zeros(3, dtype=torch.float64)
        for a, b in itertools.product((0, 1), repeat=2):
            i, j = int(row.floor()) + a, int(column.floor()) + b
            if 0 <= i < 8 and 0 <= j < 8:
                sample += features[n, :, i, j] * (1 - (row - i).abs()) * (1 - (column - j).abs())
        expected[n, :, y, x] += weight[:, :, k // 3, k % 3] @ sample * own[1][n, (k * 4 + y) * 4 + x]
    torch.testing.assert_close(found.detach(), expected)
    found.sum().backward()
    read = offset.grad.flatten(1)
    assert (read[:, : 18 * 16] != 0).float().mean() > 0.5  # 0 where all of a sample is outside
    assert (read[:, 18 * 16 :] == 0).all()
    with pytest.raises(OperatorError, match=r"expected offsets of shape \(2, 18, 4, 4\), or more numbers"):
        ops.modulated_deform_conv2d(features, offset[:, :, :3, :3], mask, weight, None, 2, 1)
