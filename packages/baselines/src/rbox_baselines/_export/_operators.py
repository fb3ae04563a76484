"""The operators of an exported program that neither PyTorch nor ONNX has, registered with PyTorch as `rbox::NAME`.

A program that holds them runs wherever this module has been imported. In ONNX they become plain operators (`_onnx.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from rbox_baselines._ops import _roi, _suppression
from rbox_baselines._ops._overlaps import upright_boxes


@torch.library.custom_op("rbox::nms", mutates_args=())
def nms(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float, most: int) -> Tensor:
    """Suppress upright boxes among those of their group.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        groups: (N,) int64.
        iou_threshold: A box is dropped if its IoU with a better one is above it.
        most: The most boxes that stay.

    Returns:
        (K,) the indices of those that stay, best first.
    """
    flat = upright_boxes(boxes, 0, "nms")
    return _suppression.staying(flat, scores, iou_threshold, groups)[:most].to(boxes.device)


@torch.library.custom_op("rbox::nms_rotated", mutates_args=())
def nms_rotated(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float, most: int) -> Tensor:
    """Suppress rotated boxes (N, 5), as `nms` does upright ones."""
    return _suppression.staying(boxes.to(torch.float64), scores, iou_threshold, groups)[:most].to(boxes.device)


@torch.library.custom_op("rbox::roi_align", mutates_args=())
def roi_align(
    features: Tensor, rois: Tensor, bins: list[int], scale: float, sampling_ratio: int, aligned: bool
) -> Tensor:
    """Return the means of each bin's samples (R, C, down, across) of upright RoIs (R, 5) as image, x1, y1, x2, y2."""
    grid = _roi.upright_grid(rois, (bins[0], bins[1]), scale, sampling_ratio, aligned)
    return _roi.pool_mean(features, grid).contiguous()


@nms.register_fake
@nms_rotated.register_fake
def _(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float, most: int) -> Tensor:
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.long)


@roi_align.register_fake
def _(features: Tensor, rois: Tensor, bins: list[int], scale: float, sampling_ratio: int, aligned: bool) -> Tensor:
    return features.new_empty((rois.shape[0], features.shape[1], *bins))
