"""Operators that mmcv has for a GPU alone: deformable attention, CARAFE, masked convolution, RoIPool."""

from __future__ import annotations

import itertools
from types import ModuleType

import numpy as np
import pytest
import torch
from rbox_baselines._ops import OPERATORS
from rbox_baselines.errors import OperatorError
from rbox_testing.samples import sampled
from torch import Tensor
from torch.nn import functional


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


SHAPES = torch.tensor([[6, 5], [3, 2]])


def attention_inputs(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Values, places (some outside of the maps) and weights of two images, seven queries, three heads."""
    places = random(2, 7, 3, 2, 4, 2, dtype=dtype) * 0.4 + 0.5
    weights = random(2, 7, 3, 2, 4, dtype=dtype).flatten(3).softmax(-1).view(2, 7, 3, 2, 4)
    return [random(2, 36, 3, 4, dtype=dtype), places, weights]


def attend(ops: ModuleType, value: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    found: Tensor = ops.multi_scale_deform_attn.MultiScaleDeformableAttnFunction.apply(
        value, SHAPES, torch.tensor([0, 30]), places, weights, 64
    )
    return found


def test_attention_is_that_of_mmcvs_fallback(ops: ModuleType) -> None:
    """Values and gradients, beside the function that mmcv calls on a CPU."""
    own, theirs = ([each.clone().requires_grad_() for each in attention_inputs()] for _ in range(2))
    found = attend(ops, *own)
    expected = ops.multi_scale_deform_attn.multi_scale_deformable_attn_pytorch(theirs[0], SHAPES, *theirs[1:])
    torch.testing.assert_close(found, expected)
    weights = random(*found.shape)
    for ours, other in zip(
        torch.autograd.grad(found, own, weights), torch.autograd.grad(expected, theirs, weights), strict=True
    ):
        torch.testing.assert_close(ours, other)


def test_attention_by_hand(ops: ModuleType) -> None:
    """One query at the middle of four pixels reads their mean; at the corner, a quarter of one."""
    value = torch.tensor([1.0, 2, 3, 6], dtype=torch.float64).view(1, 4, 1, 1)
    places = torch.tensor([[0.5, 0.5], [0, 0]], dtype=torch.float64).view(1, 2, 1, 1, 1, 2)
    found = OPERATORS["ms_deform_attn_forward"](
        value, torch.tensor([[2, 2]]), torch.tensor([0]), places, torch.ones(1, 2, 1, 1, 1, dtype=torch.float64), 64
    )
    assert found.flatten().tolist() == [3.0, 0.25]


@pytest.mark.parametrize("dtype, tolerance", [(torch.half, 2**-8), (torch.bfloat16, 2**-5)])
def test_attention_in_half_precision(ops: ModuleType, dtype: torch.dtype, tolerance: float) -> None:
    inputs = [each.to(dtype) for each in attention_inputs()]
    found = attend(ops, *inputs)
    assert found.dtype == dtype
    torch.testing.assert_close(
        found.double(), attend(ops, *(each.double() for each in inputs)), atol=tolerance, rtol=tolerance
    )


@pytest.mark.parametrize("name", ["CARAFENaive", "CARAFE"])
def test_carafe_by_hand_and_by_finite_differences(ops: ModuleType, name: str) -> None:
    """Equation 3: of new pixel (y, x) the window about old pixel (y / s, x / s), with the weights of (y, x)."""
    kernel, groups, scale = 3, 2, 2
    features = random(2, 4, 3, 2).requires_grad_()
    masks = random(2, groups * kernel * kernel, 6, 4).requires_grad_()
    module = getattr(ops, name)(kernel, groups, scale)
    expected = torch.zeros(2, 4, 6, 4, dtype=torch.float64)
    for n, c, y, x, i, j in itertools.product(range(2), range(4), range(6), range(4), range(3), range(3)):
        row, column = y // scale + i - 1, x // scale + j - 1
        if 0 <= row < 3 and 0 <= column < 2:
            weight = masks[n, (c // 2) * 9 + i * 3 + j, y, x]
            expected[n, c, y, x] += (weight * features[n, c, row, column]).detach()
    torch.testing.assert_close(module(features, masks).detach(), expected)
    if name == "CARAFE":  # the other's way back is refused by mmcv's Python on a CPU; it is the same function
        assert torch.autograd.gradcheck(module, (features, masks), fast_mode=True)


@pytest.mark.filterwarnings("ignore:This overload of addmm")  # mmcv's, silenced where its packages are used
def test_a_masked_convolution_is_the_convolution_where_the_mask_is(ops: ModuleType) -> None:
    features, weight, bias = random(1, 3, 6, 7), random(5, 3, 3, 3), random(5)
    mask = torch.from_numpy(np.random.default_rng(0).random((1, 6, 7)) > 0.6)
    found = ops.masked_conv2d(features, mask, weight, bias, 1)
    expected = functional.conv2d(features, weight, bias, padding=1) * mask[:, None]
    torch.testing.assert_close(found, expected)
    assert not ops.masked_conv2d(features, mask & False, weight, bias, 1).any()


ROIS = [[0, 0, 0, 7, 5], [1, 2.4, 1.2, 9.7, 8], [0, -3, 4, 2, 30], [1, 5, 5, 3, 3], [1, 40, 2, 50, 5]]


@pytest.mark.parametrize("scale", sampled([1.0, 0.5], [0.5]))
def test_roi_pool_by_hand(ops: ModuleType, scale: float) -> None:
    """The greatest of each bin, from the floor of where it begins to the ceiling of where it ends."""
    features, rois = random(2, 3, 9, 10), torch.tensor(ROIS, dtype=torch.float64)
    found = ops.roi_pool(features.requires_grad_(), rois, (2, 3), scale)
    expected = torch.zeros_like(found)
    for r, (image, *corners) in enumerate(ROIS):
        x1, y1, x2, y2 = (value * scale for value in (corners[0], corners[1], corners[2] + 1, corners[3] + 1))
        if x2 <= x1 or y2 <= y1:
            continue
        for i, j in itertools.product(range(2), range(3)):
            top, bottom = (np.floor(i * (y2 - y1) / 2 + y1), np.ceil((i + 1) * (y2 - y1) / 2 + y1))
            left, right = (np.floor(j * (x2 - x1) / 3 + x1), np.ceil((j + 1) * (x2 - x1) / 3 + x1))
            rows, columns = (
                (int(np.clip(v, 0, 9)) for v in (top, bottom)),
                (int(np.clip(v, 0, 10)) for v in (left, right)),
            )
            bin_ = features.detach()[image, :, slice(*rows), slice(*columns)]
            if bin_.numel():
                expected[r, :, i, j] = bin_.flatten(1).amax(1)
    torch.testing.assert_close(found.detach(), expected.detach())
    assert torch.autograd.gradcheck(lambda values: ops.roi_pool(values, rois, (2, 3), scale), features, fast_mode=True)


def test_deformable_roi_pool_without_offsets_aligns(ops: ModuleType) -> None:
    features, rois = random(2, 3, 9, 10), torch.tensor(ROIS[:3], dtype=torch.float64)
    for ratio in (0, 2):
        found = ops.deform_roi_pool(features, rois, None, (2, 3), 0.5, ratio, 0.1)
        expected = ops.roi_align(features, rois, (2, 3), 0.5, ratio, "avg", True)
        torch.testing.assert_close(found, expected)


def test_deformable_roi_pool_moves_bins_by_the_roi_s_sides(ops: ModuleType) -> None:
    """A RoI of 4 x 2 px, moved by (0.5, -1) of its sides times 0.5: by (1, -1) px."""
    features = random(1, 2, 12, 12).requires_grad_()
    rois, moved = (torch.tensor([[0, x, y, x + 4, y + 2]], dtype=torch.float64) for x, y in ((3.0, 4.0), (4.0, 3.0)))
    offset = torch.tensor([0.5, -1.0], dtype=torch.float64).view(1, 2, 1, 1).repeat(1, 1, 2, 2).requires_grad_()
    found = ops.deform_roi_pool(features, rois, offset, (2, 2), 1.0, 2, 0.5)
    torch.testing.assert_close(found, ops.deform_roi_pool(features, moved, None, (2, 2), 1.0, 2, 0.5))
    near = (offset.detach() + 0.03 * random(1, 2, 2, 2)).requires_grad_()  # off the pixels' edges, where slopes jump
    assert torch.autograd.gradcheck(
        lambda values, places: ops.deform_roi_pool(values, rois, places, (2, 2), 1.0, 2, 0.5), (features, near)
    )


def test_bad_input_is_named() -> None:
    value, places, weights = attention_inputs()
    with pytest.raises(OperatorError, match="the 36 pixels of all maps, got 35"):
        OPERATORS["ms_deform_attn_forward"](value[:, 1:], SHAPES, torch.tensor([0, 30]), places, weights, 64)
    with pytest.raises(OperatorError, match=r"masks of shape \(1, 9, 4, 4\), got \(1, 9, 2, 2\)"):
        OPERATORS["carafe_naive_forward"](random(1, 2, 2, 2), random(1, 9, 2, 2), torch.zeros(1, 2, 4, 4), 3, 1, 2)
    with pytest.raises(OperatorError, match=r"offsets of shape \(1, 2, 3, 3\), or none"):
        OPERATORS["deform_roi_pool_forward"](
            random(1, 2, 4, 4), torch.tensor([[0.0, 0, 0, 2, 2]]), random(1, 2, 2, 2), torch.zeros(1), 3, 3, 1.0, 2, 0.1
        )
