"""What turns features: oriented filters, RoIs of oriented channels, and features taken from where boxes lie.

ORConv: Zhou et al., "Oriented Response Networks", CVPR 2017. RiRoIAlign: Han et al., "ReDet", CVPR 2021, section 3.3.
Feature refinement: Yang et al., "R3Det", AAAI 2021, section 3.4. Index rules are mmcv's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rbox_baselines._ops._check import expect, expect_features, working
from rbox_baselines._ops._roi import check_rois, pool_mean, rotated_grid, spread_mean
from rbox_baselines._ops._sampling import as_features, as_rows, clamped_taps, spread_bags, sum_bags


def active_rotated_filter_forward(input: Tensor, indices: Tensor, output: Tensor) -> None:
    """Write each filter in all of its rotations.

    Args:
        input: (O, I, A, kh, kw) filters of A orientation channels.
        indices: (A, kh, kw, R) where each number of a filter goes in each of R rotations, counted from 1.
        output: (O * R, I * A, kh, kw).
    """
    index = _filter_index(indices, "active_rotated_filter_forward")
    rotations, entries = index.shape
    outputs, inputs = input.shape[:2]
    _check_filters(input.shape, indices.shape, output.shape, "active_rotated_filter_forward")
    numbers = input.detach().reshape(outputs, 1, inputs, entries).expand(-1, rotations, -1, -1)
    turned = torch.zeros_like(numbers, memory_format=torch.contiguous_format)
    turned.scatter_(3, index[None, :, None].expand_as(numbers), numbers)
    output.copy_(turned.view(output.shape))


def active_rotated_filter_backward(grad_out: Tensor, indices: Tensor, grad_in: Tensor) -> None:
    """Write the gradient to the filters into `grad_in` (O, I, A, kh, kw)."""
    index = _filter_index(indices, "active_rotated_filter_backward")
    rotations, entries = index.shape
    outputs, inputs = grad_in.shape[:2]
    _check_filters(grad_in.shape, indices.shape, grad_out.shape, "active_rotated_filter_backward")
    turned = grad_out.detach().reshape(outputs, rotations, inputs, entries)
    grad_in.copy_(turned.gather(3, index[None, :, None].expand_as(turned)).sum(dim=1).view(grad_in.shape))


def _filter_index(indices: Tensor, operator: str) -> Tensor:
    """Return mmcv's indices as (R, A * kh * kw), counted from 0."""
    expect(indices.ndim == 4, operator, "indices of shape (A, kh, kw, R)", tuple(indices.shape))
    return indices.flatten(0, 2).t().long() - 1


def _check_filters(filters: torch.Size, indices: torch.Size, turned: torch.Size, operator: str) -> None:
    expect(filters[2:] == indices[:3], operator, f"filters (O, I, *{tuple(indices[:3])})", tuple(filters))
    wanted = (filters[0] * indices[3], filters[1] * filters[2], *filters[3:])
    expect(tuple(turned) == wanted, operator, f"turned filters of shape {wanted}", tuple(turned))


def riroi_align_rotated_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    num_samples: int,
    num_orientations: int,
    clockwise: bool,
) -> None:
    """Compute RoIAlignRotated (not aligned), and shift the orientation channels by the RoI's angle.

    An angle between two orientations takes of both, by how near they are. mmcv has it on the GPU only.

    Args:
        features: (N, C * A, H, W) for A orientations.
        rois: (R, 6) as (image, cx, cy, w, h, angle).
        output: (R, C * A, pooled_height, pooled_width).
        pooled_height: Bins down.
        pooled_width: Bins across.
        spatial_scale: Pixels of the features to one of the image.
        num_samples: Samples along each side of a bin, as `sampling_ratio` of `roi_align_rotated_forward`.
        num_orientations: A.
        clockwise: Which way angles turn on the screen; the channels' shift does not depend on it.
    """
    _check_orientations(features, rois, num_orientations, "riroi_align_rotated_forward")
    maps = working(features)
    rois = rois.detach().to(maps.dtype)
    grid = rotated_grid(rois, (pooled_height, pooled_width), spatial_scale, num_samples, False, clockwise)
    pooled = pool_mean(maps, grid).unflatten(1, (-1, num_orientations))
    near, next_one, share = _orientation(rois, num_orientations)
    found = (1 - share) * _shifted(pooled, near) + share * _shifted(pooled, next_one)
    output.copy_(found.flatten(1, 2))


def riroi_align_rotated_backward(
    top_grad: Tensor,
    rois: Tensor,
    bottom_grad: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    num_samples: int,
    num_orientations: int,
    clockwise: bool,
) -> None:
    """Write the gradient to the features into `bottom_grad` (N, C * A, H, W)."""
    _check_orientations(bottom_grad, rois, num_orientations, "riroi_align_rotated_backward")
    grad = working(top_grad)
    rois = rois.detach().to(grad.dtype)
    grid = rotated_grid(rois, (pooled_height, pooled_width), spatial_scale, num_samples, False, clockwise)
    near, next_one, share = _orientation(rois, num_orientations)
    turned = grad.unflatten(1, (-1, num_orientations))
    # Backwards, what was read at o - near is given to o - near: a shift the other way.
    found = (1 - share) * _shifted(turned, -near) + share * _shifted(turned, -next_one)
    bottom_grad.copy_(spread_mean(found.flatten(1, 2), grid, bottom_grad.shape))


def _orientation(rois: Tensor, orientations: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return each RoI's two nearest orientations, and the share of the second one (R, 1, 1, 1, 1).

    Output channel o reads o - near, and the share of o - near + 1.
    """
    turned = rois[:, 5] * orientations / (2 * math.pi)
    near = turned.floor()
    return near.long(), near.long() - 1, (turned - near)[:, None, None, None, None]


def _shifted(pooled: Tensor, by: Tensor) -> Tensor:
    """Return (R, C, A, h, w) with channel o - by at the position of channel o."""
    orientations = pooled.shape[2]
    source = (torch.arange(orientations, device=by.device) - by[:, None]) % orientations
    return pooled.gather(2, source[:, None, :, None, None].expand_as(pooled))


def _check_orientations(features: Tensor, rois: Tensor, orientations: int, operator: str) -> None:
    check_rois(features, rois, 6, operator)
    whole = features.shape[1] % orientations == 0
    expect(whole, operator, f"channels in groups of {orientations} orientations", features.shape[1])


def rotated_feature_align_forward(
    features: Tensor,
    best_bboxes: Tensor,
    output: Tensor,
    spatial_scale: float,
    points: int,
) -> None:
    """Write the features plus their samples at each pixel's box.

    Args:
        features: (N, C, H, W).
        best_bboxes: (N, H, W, 5), one box a pixel. mmcv reads it as (cy, cx, w, h, angle), whatever its caller means.
        output: (N, C, H, W).
        spatial_scale: Pixels of the features to one of the image.
        points: 1, the centre, or 5, with the corners.
    """
    _check_boxes(features, best_bboxes, points, "rotated_feature_align_forward")
    maps = working(features)
    rows = as_rows(maps)
    index, weights = _box_taps(best_bboxes, maps, spatial_scale, points)
    output.copy_(as_features(rows + sum_bags(rows, index, weights), features.shape))


def rotated_feature_align_backward(
    top_grad: Tensor,
    best_bboxes: Tensor,
    bottom_grad: Tensor,
    spatial_scale: float,
    points: int,
) -> None:
    """Write the gradient to the features; boxes get none."""
    _check_boxes(bottom_grad, best_bboxes, points, "rotated_feature_align_backward")
    grad = working(top_grad)
    values = as_rows(grad)
    index, weights = _box_taps(best_bboxes, grad, spatial_scale, points)
    bag = torch.arange(len(index), device=index.device).repeat_interleave(index.shape[1])
    spread = spread_bags(values, bag, index.flatten(), weights.flatten(), len(values))
    bottom_grad.copy_(as_features(values + spread, bottom_grad.shape))


def _box_taps(boxes: Tensor, features: Tensor, scale: float, points: int) -> tuple[Tensor, Tensor]:
    """Return the rows that are read at each box, and their weights: (N * H * W, 4 * points) each."""
    count, _, height, width = features.shape
    values = boxes.detach().to(features.dtype).reshape(-1, 5)
    y, x, box_w, box_h = (values[:, :4] * scale).unbind(1)
    cos, sin = values[:, 4].cos(), values[:, 4].sin()
    # The centre, then the corners, each as a multiple (0, 1 or -1) of half the width and of half the height.
    along, across = values.new_tensor([[0, 1, -1, -1, 1], [0, 1, 1, -1, -1]])[:, :points] / 2
    along, across = along * box_w[:, None], across * box_h[:, None]
    place_x = x[:, None] + cos[:, None] * along - sin[:, None] * across
    place_y = y[:, None] + sin[:, None] * along + cos[:, None] * across
    pixels, weights = clamped_taps(place_y, place_x, height, width)
    image = torch.arange(count, device=boxes.device, dtype=pixels.dtype).repeat_interleave(height * width)
    index = pixels + (image * (height * width))[:, None, None]
    return index.flatten(1), weights.flatten(1)


def _check_boxes(features: Tensor, boxes: Tensor, points: int, operator: str) -> None:
    expect_features(features, operator)
    expect(points in (1, 5), operator, "1 or 5 points", points)
    wanted = (features.shape[0], *features.shape[2:], 5)
    expect(boxes.numel() == math.prod(wanted), operator, f"boxes of shape {wanted}", tuple(boxes.shape))
