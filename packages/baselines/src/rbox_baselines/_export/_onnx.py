"""The operators of `_operators.py` made of those that ONNX has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnxscript
import torch
from onnxscript import FLOAT, INT64

# Its operators are made when they are asked for, which type checkers cannot follow.
op: Any = onnxscript.opset18

# The functions below are read by onnxscript and become graphs; they are not run.


@onnxscript.script(default_opset=op)
def _nms_rotated(boxes: FLOAT, scores: FLOAT, groups: INT64, iou_threshold: float, most: int) -> INT64:
    """Go through the boxes, best first; each that is still there drops those of its group that it overlaps.

    For the IoU the others are transformed to the frame in which the box is upright about the origin. Their outlines,
    cut where they cross the lines of its sides, are moved to its nearest points: what is inside stays, what is outside
    falls on its border, so that the outline encloses the common area.
    """
    # With one more, which comes last: older versions of onnxruntime divide by the number of values.
    padded = op.Concat(scores, op.Constant(value_floats=[-1e30]), axis=0)
    _, ranked = op.TopK(padded, op.Shape(padded), axis=0)
    order = op.Slice(ranked, [0], op.Shape(scores), [0])
    best_first = op.Gather(boxes, order, axis=0)
    group = op.Gather(groups, order, axis=0)
    centres = op.Slice(best_first, [0], [2], [1])
    radii = op.Squeeze(op.ReduceL2(op.Slice(best_first, [2], [4], [1]), [1]), [1]) * 0.5
    right = op.Constant(value_floats=[-0.5, 0.5, 0.5, -0.5])
    down = op.Constant(value_floats=[-0.5, -0.5, 0.5, 0.5])
    number = op.Range(0, op.Squeeze(op.Shape(order)), 1)
    waiting = number >= 0
    kept = number < 0
    left = op.Squeeze(op.ReduceSum(op.Cast(waiting, to=7), keepdims=1))
    room = op.Identity(most)
    going = op.And(left > 0, room > 0)
    while going:
        first = op.ArgMax(op.Cast(waiting, to=6), axis=0, keepdims=1)
        box = op.Squeeze(op.Gather(best_first, first, axis=0), [0])
        itself = number == first
        kept = op.Or(kept, itself)
        waiting = op.And(waiting, op.Not(itself))
        # Boxes whose circles are apart have nothing in common.
        apart = op.Squeeze(op.ReduceL2(centres - op.Gather(centres, first, axis=0), [1]), [1])
        near = op.And(apart < radii + op.Gather(radii, first, axis=0), group == op.Gather(group, first, axis=0))
        rivals = op.Squeeze(op.NonZero(op.And(waiting, near)), [0])
        others = op.Gather(best_first, rivals, axis=0)
        half = op.Reshape(op.Slice(box, [2], [4]), [1, 1, 2]) * 0.5
        cos = op.Cos(op.Slice(box, [4], [5]))
        sin = op.Sin(op.Slice(box, [4], [5]))
        moved = op.Slice(others, [0], [2], [1]) - op.Reshape(op.Slice(box, [0], [2]), [1, 2])
        x = op.Slice(moved, [0], [1], [1])
        y = op.Slice(moved, [1], [2], [1])
        along = op.Slice(others, [2], [3], [1]) * right
        across = op.Slice(others, [3], [4], [1]) * down
        angle = op.Slice(others, [4], [5], [1]) - op.Slice(box, [4], [5])
        corner_x = x * cos + y * sin + along * op.Cos(angle) - across * op.Sin(angle)
        corner_y = y * cos - x * sin + along * op.Sin(angle) + across * op.Cos(angle)
        corners = op.Concat(op.Unsqueeze(corner_x, [2]), op.Unsqueeze(corner_y, [2]), axis=2)
        edges = op.Concat(op.Slice(corners, [1], [4], [1]), op.Slice(corners, [0], [1], [1]), axis=1) - corners
        length = op.Where(op.Abs(edges) < 1e-12, op.CastLike(1.0, edges), edges)
        # Where along each edge it begins, and enters and leaves the two strips between the sides' lines, in order.
        one = op.Clip((-half - corners) / length, 0.0, 1.0)
        other = op.Clip((half - corners) / length, 0.0, 1.0)
        entry = op.Min(one, other)
        exit = op.Max(one, other)
        entry_x = op.Slice(entry, [0], [1], [2])
        entry_y = op.Slice(entry, [1], [2], [2])
        exit_x = op.Slice(exit, [0], [1], [2])
        exit_y = op.Slice(exit, [1], [2], [2])
        later = op.Max(entry_x, entry_y)
        sooner = op.Min(exit_x, exit_y)
        places = op.Concat(
            entry_x * 0.0,
            op.Min(entry_x, entry_y),
            op.Min(later, sooner),
            op.Max(later, sooner),
            op.Max(exit_x, exit_y),
            axis=2,
        )
        outline = op.Unsqueeze(corners, [2]) + op.Unsqueeze(places, [3]) * op.Unsqueeze(edges, [2])
        outline = op.Max(op.Min(outline, op.Unsqueeze(half, [2])), op.Unsqueeze(-half, [2]))
        outline = op.Reshape(outline, [-1, 20, 2])
        following = op.Concat(op.Slice(outline, [1], [20], [1]), op.Slice(outline, [0], [1], [1]), axis=1)
        turned = op.Concat(op.Slice(following, [1], [2], [2]), -op.Slice(following, [0], [1], [2]), axis=2)
        common = op.ReduceSum(outline * turned, [1, 2], keepdims=0) * 0.5
        area = op.ReduceProd(op.Slice(box, [2], [4]), keepdims=1)
        areas = op.ReduceProd(op.Slice(others, [2], [4], [1]), [1], keepdims=0)
        stays = op.Not(common / (areas + area - common) > iou_threshold)
        waiting = op.ScatterElements(waiting, rivals, stays, axis=0)
        left = op.Squeeze(op.ReduceSum(op.Cast(waiting, to=7), keepdims=1))
        room = room - 1
        going = op.And(left > 0, room > 0)
    return op.Gather(order, op.Squeeze(op.NonZero(kept), [0]), axis=0)


@onnxscript.script(default_opset=op)
def _nms(boxes: FLOAT, scores: FLOAT, groups: INT64, iou_threshold: float, most: int) -> INT64:
    """Suppress each group by ONNX's own operator, to which groups are classes."""
    number = op.Range(0, op.ReduceMax(groups, keepdims=0) + 1, 1)
    # A box has its score in its own group, and in others one that is below the threshold.
    by_group = op.Where(op.Unsqueeze(number, [1]) == op.Unsqueeze(groups, [0]), op.Unsqueeze(scores, [0]), -1e20)
    selected = op.NonMaxSuppression(
        op.Unsqueeze(boxes, [0]),
        op.Unsqueeze(by_group, [0]),
        op.Reshape(most, [1]),
        op.Reshape(iou_threshold, [1]),
        op.Constant(value_floats=[-1e10]),
    )
    index = op.Squeeze(op.Slice(selected, [2], [3], [1]), [1])
    _, order = op.TopK(op.Gather(scores, index), op.Min(op.Shape(index), op.Reshape(most, [1])), axis=0)
    return op.Gather(index, order)


def _roi_align(features: Any, rois: Any, bins: list[int], scale: float, sampling_ratio: int, aligned: bool) -> Any:
    image = op.Cast(op.Squeeze(op.Slice(rois, [0], [1], [1]), [1]), to=7)
    return op.RoiAlign(
        features,
        op.Slice(rois, [1], [5], [1]),
        image,
        coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
        output_height=bins[0],
        output_width=bins[1],
        sampling_ratio=max(sampling_ratio, 0),
        spatial_scale=scale,
    )


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return what stands for each operator in ONNX."""
    operators = torch.ops.rbox
    return {
        operators.nms.default: _nms,
        operators.nms_rotated.default: _nms_rotated,
        operators.roi_align.default: _roi_align,
    }
