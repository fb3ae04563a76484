"""RoI operators where there is no recording of mmcv: RiRoIAlign, which it has on the GPU only, and odd input."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch
from rbox_baselines._ops import OPERATORS, _roi
from rbox_baselines.errors import OperatorError
from torch import Tensor


def bilinear(plane: Tensor, y: float, x: float) -> Tensor:
    """RoIAlign's rule, in scalars: the border reaches a pixel outwards."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return plane.new_zeros(())
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = plane[top, left] * (1 - dx) + plane[top, right] * dx
    lower = plane[bottom, left] * (1 - dx) + plane[bottom, right] * dx
    return upper * (1 - dy) + lower * dy


def riroi_by_loops(
    features: Tensor, rois: Tensor, bins: tuple[int, int], scale: float, samples: int, turns: int, clockwise: bool
) -> Tensor:
    """RiRoIAlign as ReDet's paper and code have it, one sample after the other."""
    out = features.new_zeros((len(rois), features.shape[1], *bins))
    for r, (image, cx, cy, w, h, angle) in enumerate(rois.tolist()):
        w, h = max(w * scale, 1.0), max(h * scale, 1.0)
        place = angle * turns / (2 * math.pi)
        near = math.floor(place)
        share = place - near
        cos, sin = math.cos(angle), math.sin(-angle if clockwise else angle)
        down = samples or math.ceil(h / bins[0])
        across = samples or math.ceil(w / bins[1])
        for channel in range(features.shape[1]):
            group, turn = divmod(channel, turns)
            first = features[int(image), group * turns + (turn - near) % turns]
            second = features[int(image), group * turns + (turn - near + 1) % turns]
            for row in range(bins[0]):
                for column in range(bins[1]):
                    total = features.new_zeros(())
                    for i in range(down):
                        for j in range(across):
                            dy = -h / 2 + (row + (i + 0.5) / down) * h / bins[0]
                            dx = -w / 2 + (column + (j + 0.5) / across) * w / bins[1]
                            y, x = dy * cos - dx * sin + cy * scale, dy * sin + dx * cos + cx * scale
                            total = total + (1 - share) * bilinear(first, y, x) + share * bilinear(second, y, x)
                    out[r, channel, row, column] = total / (down * across)
    return out


@pytest.mark.parametrize("clockwise", [False, True])
@pytest.mark.parametrize("samples", [0, 2])
def test_riroi_align_is_that_of_plain_loops(ops: ModuleType, samples: int, clockwise: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(2, 8, 6, 7, generator=draw, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor(
        [[0, 20, 22, 30, 18, 0.3], [1, 30, 10, 20, 40, -1.2], [1, 25, 25, 3, 2, math.pi / 2], [0, 300, 9, 9, 9, 7.0]],
        dtype=torch.float64,
    )
    found = ops.riroi_align_rotated(features, rois, (2, 3), 0.125, samples, 4, clockwise)
    expected = riroi_by_loops(features, rois, (2, 3), 0.125, samples, 4, clockwise)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(found.shape, generator=draw, dtype=torch.float64)
    mine, theirs = (torch.autograd.grad((out * weights).sum(), features)[0] for out in (found, expected))
    torch.testing.assert_close(mine, theirs)


def test_a_turn_by_one_orientation_shifts_the_channels(ops: ModuleType) -> None:
    features = torch.arange(8.0).reshape(1, 8, 1, 1).expand(1, 8, 9, 9).contiguous()
    roi = torch.tensor([[0, 4.0, 4.0, 2, 2, 2 * math.pi / 8]])
    assert ops.riroi_align_rotated(features, roi, 1, 1.0, 2, 8, True).flatten().round().tolist() == [
        7, 0, 1, 2, 3, 4, 5, 6,
    ]  # fmt: skip


def smooth(ops: ModuleType, name: str, features: Tensor) -> Tensor:
    rois = torch.tensor([[0, 8.0, 9.0, 20, 14], [0, -9, 3, 11, 30]], dtype=torch.float64)
    turned = torch.cat([rois, rois.new_tensor([[0.4], [2.0]])], dim=1)
    boxes = torch.rand(1, 4, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 30
    return {
        "mean": lambda: ops.roi_align(features, rois, 2, 0.125, 0, "avg", True),
        "max": lambda: ops.roi_align(features, rois, 2, 0.125, 2, "max", True),
        "rotated": lambda: ops.roi_align_rotated(features, turned, 2, 0.125, 0, True, True),
        "riroi": lambda: ops.riroi_align_rotated(features, turned, 2, 0.125, 2, 4, False),
        "box": lambda: ops.rotated_feature_align(features, boxes, 0.125, 5),
    }[name]()


@pytest.mark.parametrize("name", ["mean", "max", "rotated", "riroi", "box"])
def test_gradients_are_those_of_finite_differences(ops: ModuleType, name: str) -> None:
    features = torch.randn(1, 4, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: smooth(ops, name, x), features.requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_few_samples_at_a_time_change_nothing(ops: ModuleType, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 9, 9, generator=draw, requires_grad=True)
    start = torch.rand(7, 2, generator=draw) * 50
    image = torch.arange(7.0)[:, None] % 2
    rois = torch.cat([image, start, start + torch.rand(7, 2, generator=draw) * 60], dim=1)

    def run() -> tuple[Tensor, Tensor]:
        out = ops.roi_align(features, rois, 3, 0.125, 0, mode, True)
        return out, torch.autograd.grad(out.square().sum(), features)[0]

    at_once = run()
    monkeypatch.setattr(_roi, "_SAMPLES_AT_A_TIME", 5)
    torch.testing.assert_close(run(), at_once)


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_of_no_rois_and_no_images(ops: ModuleType, mode: str) -> None:
    for images in (0, 2):
        features = torch.randn(images, 3, 4, 4, requires_grad=True)
        out = ops.roi_align(features, torch.zeros(0, 5), 7, 0.25, 0, mode, True)
        assert out.shape == (0, 3, 7, 7)
        assert torch.autograd.grad(out.sum(), features)[0].eq(0).all()
        assert ops.roi_align_rotated(features, torch.zeros(0, 6), 7, 0.25, 2, True, True).shape == (0, 3, 7, 7)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize(
    "corners",
    [[5.0, 5, 5, 5], [9, 9, 3, 3], [900, 900, 990, 980], [math.nan, 1, 2, 3], [1, 1, math.inf, 9]],
    ids=["no size", "inside out", "outside", "NaN", "infinite"],
)
def test_odd_rois_give_and_take_nothing(ops: ModuleType, corners: list[float], mode: str) -> None:
    features = torch.randn(1, 2, 8, 8, requires_grad=True)
    out = ops.roi_align(features, torch.tensor([[0, *corners]]), 2, 1.0, 0, mode, True)
    assert out.eq(0).all()
    (gradient,) = torch.autograd.grad(out.sum(), features)
    assert gradient.eq(0).all()


def test_a_roi_gone_astray_ends(ops: ModuleType) -> None:
    features = torch.ones(1, 1, 8, 8)
    out = ops.roi_align_rotated(features, torch.tensor([[0, 4, 4, 1e6, 1e6, 0.1]]), 1, 1.0, 0, True, True)
    assert 0 <= out.item() < 1e-3


def test_the_first_of_equal_samples_is_the_greatest(ops: ModuleType) -> None:
    features = torch.zeros(1, 1, 4, 4, requires_grad=True)
    out = ops.roi_align(features, torch.tensor([[0, 0.5, 0.5, 2.5, 2.5]]), 1, 1.0, 2, "max", True)
    (gradient,) = torch.autograd.grad(out.sum(), features)
    # The first of four samples lies at (0.5, 0.5).
    assert gradient[0, 0, :2, :2].eq(0.25).all()
    assert gradient.sum() == 1


def test_half_precision_is_summed_in_single(ops: ModuleType) -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(1, 2, 9, 9, generator=draw).half()
    rois = torch.tensor([[0, 4.0, 4.0, 6.0, 3.0, 0.5]])
    found = ops.roi_align_rotated(features, rois.half(), 3, 1.0, 2, True, True)
    exact = ops.roi_align_rotated(features.float(), rois, 3, 1.0, 2, True, True)
    assert found.dtype == torch.half
    torch.testing.assert_close(found, exact.half())


@pytest.mark.parametrize("image", [-1.0, 2.0])
def test_a_roi_of_no_image_is_named(ops: ModuleType, image: float) -> None:
    with pytest.raises(OperatorError, match=f"roi_align_forward: expected rois of images 0 to 1, got {image:g}"):
        ops.roi_align(torch.zeros(2, 1, 4, 4), torch.tensor([[image, 0, 0, 2, 2]]), 2)


def test_what_is_not_a_map_or_a_roi_is_named() -> None:
    rois, out = torch.zeros(1, 5), torch.zeros(1, 3, 2, 2)
    for features, wrong in ((torch.zeros(3, 4, 4), rois), (torch.zeros(1, 3, 4, 4), torch.zeros(1, 4))):
        with pytest.raises(OperatorError, match="roi_align_rotated_forward: expected"):
            OPERATORS["roi_align_rotated_forward"](features, wrong, out, 2, 2, 1.0, 2, True, True)
    with pytest.raises(OperatorError, match="in groups of 4 orientations, got 3"):
        OPERATORS["riroi_align_rotated_forward"](
            torch.zeros(1, 3, 4, 4), torch.zeros(1, 6), out, 2, 2, 1.0, 2, num_orientations=4, clockwise=True
        )
