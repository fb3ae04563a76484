"""The overlap of rotated boxes for a loss: in torch, with gradients for all five numbers of both boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise ImportError("diff_iou_rotated needs torch: pip install 'rbox-metrics[torch]'") from error

from rbox_metrics._inputs import as_array, check_aligned, first_tensor, require_plain
from rbox_metrics.errors import MetricsError


def diff_iou_rotated(boxes1: Any, boxes2: Any) -> Tensor:
    """Return the IoU of boxes in pairs, differentiable in centre, sides and angle of both.

    The value is that of `box_iou_rotated`. Its formula divides by sines that are 0 where boxes are parallel, so the
    gradient of the common area is computed in another way, as an integral over the boundary: the part of each edge that
    lies within the other box, times the speed at which it moves outwards. So the gradient is finite everywhere, and 0
    for boxes that do not overlap. Where edges coincide, the overlap has a kink, and the gradient is the mean of both
    sides. Identical boxes, the maximum, have gradient 0.

    >>> import torch
    >>> boxes = torch.tensor([[50, 40, 20, 10, 0.2]], requires_grad=True)
    >>> overlap = diff_iou_rotated(boxes, torch.tensor([[50, 40, 20, 10, 0.0]]))
    >>> overlap.backward()
    >>> round(overlap.item(), 3), boxes.grad[0, 4].item() < 0  # less turned, it would overlap more
    (0.806, True)

    Args:
        boxes1: (N, 5) as (cx, cy, w, h, angle), in pixels and radians, with sides of 0 or more. A tensor on any device,
            or an array or list, which has no gradient.
        boxes2: (N, 5) as (cx, cy, w, h, angle), on the same device.

    Returns:
        (N,) from 0 to 1; 0 with gradient 0 for a box without area. A tensor of float64 if one of the inputs is float64
        or has whole numbers, else of float32. It can be differentiated once.

    Raises:
        MetricsError: If the two are not numbers of shape (N, 5), or are on different devices.
    """
    tensor = first_tensor(boxes1, boxes2)
    device = None if tensor is None else tensor.device
    boxes1, boxes2 = _tensor(boxes1, "boxes1", device), _tensor(boxes2, "boxes2", device)
    check_aligned(len(boxes1), len(boxes2), "boxes")
    dtype = torch.promote_types(torch.promote_types(boxes1.dtype, boxes2.dtype), torch.float32)
    boxes1, boxes2 = boxes1.to(dtype), boxes2.to(dtype)
    area1, area2 = boxes1[:, 2] * boxes1[:, 3], boxes2[:, 2] * boxes2[:, 3]
    common = _Common.apply(boxes1, boxes2)
    union = area1 + area2 - common
    solid = (area1 > 0) & (area2 > 0)
    # Otherwise autograd would multiply a division by zero, which is not selected, by 0: NaN.
    return torch.where(solid, common / torch.where(solid, union, torch.ones_like(union)), torch.zeros_like(union))


def _tensor(boxes: Any, name: str, device: torch.device | None) -> Tensor:
    """Return boxes (N, 5) as a tensor of floats on a device."""
    if not isinstance(boxes, Tensor):
        array = as_array(boxes, None, name)
        if not array.size and array.ndim == 1:
            array = array.reshape(0, 5)
        # A copy, since torch warns of read-only arrays, and refuses reversed ones.
        copy = np.array(array, dtype=array.dtype if array.dtype.kind == "f" else np.float64, order="C")
        boxes = torch.from_numpy(copy).to(device)
    require_plain(boxes, name)
    if boxes.ndim != 2 or boxes.shape[1] != 5 or boxes.is_complex():
        raise MetricsError(
            f"expected {name} of shape (N, 5) as (cx, cy, w, h, angle), got {boxes.dtype} {tuple(boxes.shape)}"
        )
    if boxes.device != (device or boxes.device):
        raise MetricsError(f"expected both sets of boxes on one device, got {name} on {boxes.device}, not {device}")
    return boxes if boxes.is_floating_point() else boxes.double()


class _Common(torch.autograd.Function):
    """The area common to boxes (N, 5) in pairs."""

    @staticmethod
    def forward(context: Any, boxes1: Tensor, boxes2: Tensor) -> Tensor:
        context.save_for_backward(boxes1, boxes2)
        return _common_area(boxes1, boxes2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        boxes1, boxes2 = context.saved_tensors
        pairs = ((boxes1, boxes2), (boxes2, boxes1))
        first, second = (
            grad[:, None] * _growth(*pair) if needed else None
            for pair, needed in zip(pairs, context.needs_input_grad, strict=True)
        )
        return first, second


def _clamp(value: Tensor, limit: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(value, -limit), limit)


def _turn(angle: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cos(angle), torch.sin(angle)


def _common_area(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Return the common area as `_kernels` computes it: the sum over edges of the integral of clamp(y, -H, H) dx."""
    swap = (boxes2[:, 2] * boxes2[:, 3] < boxes1[:, 2] * boxes1[:, 3])[:, None]
    small, large = torch.where(swap, boxes2, boxes1), torch.where(swap, boxes1, boxes2)
    half_w, half_h = small[:, 2, None] / 2, small[:, 3, None] / 2
    dx, dy = (large[:, :2] - small[:, :2]).unbind(1)
    cos_small, sin_small = _turn(small[:, 4])
    x, y = dx * cos_small + dy * sin_small, dy * cos_small - dx * sin_small
    cos, sin = _turn(large[:, 4] - small[:, 4])
    ux, uy = large[:, 2] / 2 * cos, large[:, 2] / 2 * sin
    vx, vy = -large[:, 3] / 2 * sin, large[:, 3] / 2 * cos
    corner_x = torch.stack([x - ux - vx, x + ux - vx, x + ux + vx, x - ux + vx], dim=1)
    corner_y = torch.stack([y - uy - vy, y + uy - vy, y + uy + vy, y - uy + vy], dim=1)
    end_x, end_y = corner_x.roll(-1, 1), corner_y.roll(-1, 1)
    level = torch.finfo(x.dtype).tiny
    run_x, run_y = end_x - corner_x, end_y - corner_y
    cut, end_cut = _clamp(corner_x, half_w), _clamp(end_x, half_w)
    steep, flat = run_x.abs() <= level, run_y.abs() <= level
    slope = torch.where(steep, 0.0, run_y / torch.where(steep, 1.0, run_x))
    run = torch.where(flat, 0.0, run_x / torch.where(flat, 1.0, run_y))
    ya, yb = corner_y + slope * (cut - corner_x), end_y + slope * (end_cut - end_x)
    low, high = _clamp(ya, half_h), _clamp(yb, half_h)
    width = end_cut - cut
    lag = _clamp(run * ((low - ya) - (yb - high)), width.abs())
    twice = torch.where(width == 0, 0.0, width * (low + high) + (low - high) * lag).sum(1)
    meet = (
        (x.abs() < half_w[:, 0] + ux.abs() + vx.abs())
        & (y.abs() < half_h[:, 0] + uy.abs() + vy.abs())
        & _reach(dx, dy, large, small, cos, sin)
    )
    most = torch.minimum(boxes1[:, 2] * boxes1[:, 3], boxes2[:, 2] * boxes2[:, 3])
    return torch.where(meet, torch.minimum((-twice / 2).clamp(min=0), most), 0.0)


def _reach(dx: Tensor, dy: Tensor, large: Tensor, small: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return whether boxes may meet: no line along a side of the larger box separates the two."""
    cos_large, sin_large = _turn(large[:, 4])
    half_w, half_h = small[:, 2] / 2, small[:, 3] / 2
    along, across = (dx * cos_large + dy * sin_large).abs(), (dy * cos_large - dx * sin_large).abs()
    return (along < large[:, 2] / 2 + half_w * cos.abs() + half_h * sin.abs()) & (
        across < large[:, 3] / 2 + half_w * sin.abs() + half_h * cos.abs()
    )


def _growth(boxes: Tensor, others: Tensor) -> Tensor:
    """Return (N, 5) the derivatives of the common area of each pair by the five numbers of the first box."""
    # The edges right, bottom, left, top (y down): outward normals, tangents a quarter turn on, distances, half lengths.
    cos, sin = _turn(boxes[:, 4])
    normal_x, normal_y = torch.stack([cos, -sin, -cos, sin], dim=1), torch.stack([sin, cos, -sin, -cos], dim=1)
    half_w, half_h = boxes[:, 2] / 2, boxes[:, 3] / 2
    distance = torch.stack([half_w, half_h, half_w, half_h], dim=1)
    half = torch.stack([half_h, half_w, half_h, half_w], dim=1)
    # In the frame of the other box: the edges' middles and tangents.
    dx, dy = (boxes[:, :2] - others[:, :2]).unbind(1)
    cos_other, sin_other = (value[:, None] for value in _turn(others[:, 4]))
    cos_between, sin_between = _turn(boxes[:, 4] - others[:, 4])
    turned_x = torch.stack([cos_between, -sin_between, -cos_between, sin_between], dim=1)
    turned_y = torch.stack([sin_between, cos_between, -sin_between, -cos_between], dim=1)
    middle_x = dx[:, None] * cos_other + dy[:, None] * sin_other + distance * turned_x
    middle_y = dy[:, None] * cos_other - dx[:, None] * sin_other + distance * turned_y
    from_x, to_x, share_x = _within(middle_x, -turned_y, half, others[:, 2, None] / 2)
    from_y, to_y, share_y = _within(middle_y, turned_x, half, others[:, 3, None] / 2)
    start, stop = torch.maximum(from_x, from_y), torch.minimum(to_x, to_y)
    inside = torch.where(stop > start, share_x * share_y, 0.0)
    length = inside * (stop - start)
    # When an edge turns, its point at s along the tangent from the middle moves by -s along the normal.
    turning = -inside * (stop - start) * (stop + start) / 2
    return torch.stack(
        [
            (normal_x * length).sum(1),
            (normal_y * length).sum(1),
            (length[:, 0] + length[:, 2]) / 2,
            (length[:, 1] + length[:, 3]) / 2,
            turning.sum(1),
        ],
        dim=1,
    )


def _within(middle: Tensor, tangent: Tensor, half: Tensor, limit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return from where to where along an edge |middle + s tangent| <= limit and |s| <= half, and how much it counts.

    It counts fully, except for an edge along the limit: there the share falls from 1 inside to 0 outside, within
    rounding, and is one half on the limit.
    """
    rounding = 16 * torch.finfo(middle.dtype).eps
    along = tangent.abs() <= rounding
    rate = torch.where(along, 1.0, tangent)
    ends = torch.stack([(-limit - middle) / rate, (limit - middle) / rate])
    start = torch.where(along, -half, torch.maximum(ends.amin(0), -half))
    stop = torch.where(along, half, torch.minimum(ends.amax(0), half))
    room = rounding * (limit + half)
    share = ((limit - middle.abs()) / torch.where(room > 0, room, 1.0)).clamp(-1, 1) / 2 + 0.5
    return start, stop, torch.where(along, share, 1.0)
