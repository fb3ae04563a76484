"""Weighted sums of the pixels of feature maps, in which aligning RoIs and deforming convolutions come down to.

Features (N, C, H, W) are read as rows: (N * H * W, C), one pixel's channels after the other. A sample between pixels is
the sum of four taps, each a row and a weight; a bag is the sum of the taps of all its samples. Torch sums bags in one
call, on the CPU and on a GPU (`embedding_bag`), and so it does their gradient to the rows: there the taps of one row
are a bag of rows of the gradient, always in the same order, so that sums do not differ from one run to the next.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def as_rows(features: Tensor) -> Tensor:
    """Return features (N, C, H, W) as rows (N * H * W, C)."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])


def as_features(rows: Tensor, shape: tuple[int, ...] | torch.Size) -> Tensor:
    """Return rows (N * H * W, C) as a view of the shape (N, C, H, W)."""
    count, channels, height, width = shape
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)


def clamped_taps(y: Tensor, x: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the four pixels about each place and their bilinear weights, where the outermost pixels reach outwards.

    The rule of RoIAlign: places up to a pixel outside the map read its border, further out there is nothing.

    Args:
        y: (...) places in pixels, 0 at the centre of the first row.
        x: (...) places in pixels, 0 at the centre of the first column.
        height: Height of the map in pixels.
        width: Width of the map in pixels.

    Returns:
        (..., 4) y * width + x of each pixel, and (..., 4) weights, all 0 outside or where a place is not a number.
    """
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = (torch.where(inside, place, 0).clamp(min=0) for place in (y, x))
    y, x = y.clamp(max=height - 1), x.clamp(max=width - 1)
    low_y, low_x = y.floor(), x.floor()
    part_y, part_x = y - low_y, (x - low_x) * inside
    rest_y, rest_x = 1 - part_y, inside.to(x.dtype) - part_x
    top, left = low_y.to(torch.int32) * width, low_x.to(torch.int32)
    bottom = torch.where(low_y < height - 1, top + width, top)
    right = torch.where(low_x < width - 1, left + 1, left)
    pixels = torch.stack([top + left, top + right, bottom + left, bottom + right], dim=-1)
    weights = torch.stack([rest_y * rest_x, rest_y * part_x, part_y * rest_x, part_y * part_x], dim=-1)
    return pixels, weights


def padded_taps(y: Tensor, x: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return what `clamped_taps` does, with zeros around the map: the rule of deformable convolution.

    The weights carry the gradient to y and x.
    """
    inside = (y > -1) & (y < height) & (x > -1) & (x < width)
    y, x = (torch.where(inside, place, -1) for place in (y, x))
    low_y, low_x = y.detach().floor(), x.detach().floor()
    part_y, part_x = y - low_y, x - low_x
    rest_y, rest_x = (1 - part_y) * (low_y >= 0), (1 - part_x) * (low_x >= 0)
    part_y, part_x = part_y * (low_y < height - 1), part_x * (low_x < width - 1)
    top, left = (low_y.clamp(min=0) * width).to(torch.int32), low_x.clamp(min=0).to(torch.int32)
    bottom = ((low_y + 1).clamp(max=height - 1) * width).to(torch.int32)
    right = (low_x + 1).clamp(max=width - 1).to(torch.int32)
    pixels = torch.stack([top + left, top + right, bottom + left, bottom + right], dim=-1)
    weights = torch.stack([rest_y * rest_x, rest_y * part_x, part_y * rest_x, part_y * part_x], dim=-1)
    return pixels, weights


def sum_bags(rows: Tensor, index: Tensor, weights: Tensor, starts: Tensor | None = None) -> Tensor:
    """Sum the rows of each bag by their weights.

    Args:
        rows: (R, C).
        index: (B, T) the rows of each bag, or (K,) of all bags after another, where `starts` is given.
        weights: The weight of each row in its sum, in the shape of `index`.
        starts: (B,) where each bag begins in `index`.

    Returns:
        (B, C); carries gradients to rows and weights, where there are any.
    """
    if index.numel() == 0:
        return rows.new_zeros((len(index) if starts is None else len(starts), rows.shape[1]))
    starts = None if starts is None else starts.to(index.dtype)
    return functional.embedding_bag(index, rows, starts, mode="sum", per_sample_weights=weights)


def spread_bags(values: Tensor, bag: Tensor, index: Tensor, weights: Tensor, count: int) -> Tensor:
    """Return the gradient of `sum_bags` to its rows.

    Args:
        values: (B, C) the gradient to each bag's sum.
        bag: (K,) the bag of each tap.
        index: (K,) its row.
        weights: (K,) its weight.
        count: How many rows there are.

    Returns:
        (count, C).
    """
    order = _order(index, count)
    ends = torch.bincount(index, minlength=count).cumsum(0)
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    return sum_bags(values, bag[order].to(index.dtype), weights[order], starts)


def _order(index: Tensor, count: int) -> Tensor:
    """Return the stable order of whole numbers below `count`."""
    if index.is_cuda:
        return index.sort(stable=True).indices
    # In linear time, sixteen bits at a time, which torch's sort is not.
    keys = index.numpy()
    order = np.argsort(keys.astype(np.uint16), kind="stable")
    if count > 2**16:
        order = order[np.argsort((keys >> 16).astype(np.uint16)[order], kind="stable")]
    return torch.from_numpy(order)
