"""Overlaps: of rotated boxes and quads by rbox_metrics, of upright boxes in plain torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal

import rbox_metrics
import torch
from torch import Tensor

from rbox_baselines._ops._check import expect, expect_matrix

# mmcv's mode_flag.
_MODES = {0: "iou", 1: "iof"}


def sound_boxes(boxes: Tensor, operator: str) -> Tensor:
    """Return rotated boxes as rbox_metrics takes them: float64, sides of 0 or more, less than a full turn.

    What a network predicts may be anything, and mmcv's operators take it: a box that is not finite, or of a side below
    0 and one above, has no area and overlaps nothing; of two negative sides it is the box turned by half a turn.
    """
    expect_matrix(boxes, 5, operator, "boxes")
    values = boxes.detach().reshape(-1, 5).to(torch.float64)
    area = values[:, 2] * values[:, 3]
    # An area that is not finite comes from sides that are not, or that no image has.
    good = torch.isfinite(values).all(dim=1) & (area > 0) & (area < math.inf)
    centres, sides, angles = values[:, :2], values[:, 2:4].abs(), torch.remainder(values[:, 4:], 2 * math.pi)
    return torch.where(good[:, None], torch.cat([centres, sides, angles], dim=1), 0.0)


def sound_quads(quads: Tensor, operator: str) -> Tensor:
    """Return quads (N, 8) as rbox_metrics takes them, (N, 4, 2) float64: one that is not finite shrinks to a point."""
    expect_matrix(quads, 8, operator, "quads")
    values = quads.detach().reshape(-1, 8).to(torch.float64)
    return torch.where(torch.isfinite(values).all(dim=1, keepdim=True), values, 0.0).reshape(-1, 4, 2)


def upright_boxes(boxes: Tensor, offset: int, operator: str) -> Tensor:
    """Return upright boxes (N, 4) as (x1, y1, x2, y2) as rotated ones of angle 0, float64.

    Where offset is 1 a box ends at the far side of its last pixel.
    """
    expect_matrix(boxes, 4, operator, "boxes as (x1, y1, x2, y2)")
    low, high = boxes.detach().reshape(-1, 4).to(torch.float64).split(2, dim=1)
    high = high + offset
    boxes = torch.cat([(low + high) / 2, (high - low).clamp(min=0), torch.zeros_like(low[:, :1])], dim=1)
    return torch.where(torch.isfinite(boxes).all(dim=1, keepdim=True), boxes, 0.0)


def box_iou_rotated(boxes1: Tensor, boxes2: Tensor, ious: Tensor, mode_flag: int = 0, aligned: bool = False) -> None:
    """Write the overlaps of rotated boxes (N, 5) and (M, 5) into `ious`, of N * M numbers, or of N where aligned.

    A sixth column is passed over, as mmcv's CPU path does: MMRotate's `DOTAMetric` gives boxes with their scores.
    """
    first, second = (sound_boxes(_without_scores(boxes, 5), "box_iou_rotated") for boxes in (boxes1, boxes2))
    _write(rbox_metrics.box_iou_rotated, first, second, ious, mode_flag, aligned, "box_iou_rotated")


def box_iou_quadri(boxes1: Tensor, boxes2: Tensor, ious: Tensor, mode_flag: int = 0, aligned: bool = False) -> None:
    """Write the overlaps of quads (N, 8) and (M, 8) into `ious`; a ninth column is passed over.

    They are exact: mmcv's own are wrong by up to 0.22 for some pairs of convex quads (1.0 instead of 7/9).
    """
    first, second = (sound_quads(_without_scores(quads, 8), "box_iou_quadri") for quads in (boxes1, boxes2))
    _write(rbox_metrics.quad_iou, first, second, ious, mode_flag, aligned, "box_iou_quadri")


def _without_scores(shapes: Tensor, columns: int) -> Tensor:
    return shapes[:, :columns] if shapes.ndim == 2 and shapes.shape[1] == columns + 1 else shapes


def bbox_overlaps(
    boxes1: Tensor, boxes2: Tensor, ious: Tensor, mode: int = 0, aligned: bool = False, offset: int = 0
) -> None:
    """Write the overlaps of upright boxes (N, 4) and (M, 4), as (x1, y1, x2, y2), into `ious`: 0 where both are void.

    Args:
        boxes1: (N, 4).
        boxes2: (M, 4), where aligned as many.
        ious: (N, M), or (N,).
        mode: 0 for the overlap over the union, 1 over the first box.
        aligned: Whether the boxes are taken in pairs.
        offset: 0, or 1 where the last pixel belongs to the box.
    """
    expect(mode in _MODES, "bbox_overlaps", "mode 0 or 1", mode)
    first, second = (boxes.detach().reshape(-1, 4).float() for boxes in (boxes1, boxes2))
    if not aligned:
        first, second = first[:, None], second[None]
    sides = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2]) + offset
    common = sides.clamp(min=0).prod(dim=-1)
    area1, area2 = ((boxes[..., 2:] - boxes[..., :2] + offset).prod(dim=-1) for boxes in (first, second))
    whole = area1 + area2 - common if mode == 0 else area1.expand_as(common)
    ious.copy_(torch.where(whole == 0, 0.0, common / whole).reshape(ious.shape))


def backend_for(values: Tensor) -> Literal["auto", "numba"]:
    """Return the backend for rbox_metrics: the GPU where the tensor lies there and Triton is installed."""
    return "auto" if not values.is_cuda or find_spec("triton") is not None else "numba"


def _write(
    function: Callable[..., Tensor],
    first: Tensor,
    second: Tensor,
    ious: Tensor,
    mode_flag: int,
    aligned: bool,
    operator: str,
) -> None:
    expect(mode_flag in _MODES, operator, "mode_flag 0 or 1", mode_flag)
    fits = len(first) == len(second) if aligned else True
    expect(fits, operator, "as many boxes on either side where aligned", f"{len(first)} and {len(second)}")
    if ious.numel() == 0:
        return
    found = function(first, second, aligned=bool(aligned), mode=_MODES[mode_flag], backend=backend_for(first))
    ious.copy_(found.reshape(ious.shape))
