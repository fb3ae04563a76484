"""RoIAlign of upright RoIs, as the mean or the greatest of each bin's samples."""

from __future__ import annotations

import torch
from torch import Tensor

from rbox_baselines._ops._check import expect, working
from rbox_baselines._ops._roi import Grid, check_rois, pool_mean, samples_of, spread_mean, taps_of, upright_grid
from rbox_baselines._ops._sampling import as_features, as_rows, clamped_taps, sum_bags

# mmcv's pool_mode.
_MAX, _MEAN = 0, 1

# Where a bin has no samples: further outside than any gradient goes.
_NOWHERE = -2.0


def roi_align_forward(
    input: Tensor,  # mmcv's name
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the mean or the greatest of each bin's samples into `output`; 0 where a bin has none.

    Args:
        input: (N, C, H, W) features.
        rois: (R, 5) as (image, x1, y1, x2, y2), in pixels of the image.
        output: (R, C, aligned_height, aligned_width).
        argmax_y: (R, C, aligned_height, aligned_width), written where `pool_mode` is 0: the row of the greatest
            sample, in pixels of the features.
        argmax_x: (R, C, aligned_height, aligned_width), written where `pool_mode` is 0: the column of the greatest
            sample, in pixels of the features.
        aligned_height: Bins down.
        aligned_width: Bins across.
        spatial_scale: Pixels of the features to one of the image.
        sampling_ratio: Samples along each side of a bin; 0: one for each pixel it is long.
        pool_mode: 0 for the greatest, 1 for the mean.
        aligned: Whether the centre of the first pixel lies at 0.5; else sides are at least 1.
    """
    check_rois(input, rois, 5, "roi_align_forward")
    expect(pool_mode in (_MAX, _MEAN), "roi_align_forward", "pool_mode 0 or 1", pool_mode)
    features = working(input)
    bins = (aligned_height, aligned_width)
    grid = upright_grid(rois.detach().to(features.dtype), bins, spatial_scale, sampling_ratio, aligned)
    if pool_mode == _MEAN:
        output.copy_(pool_mean(features, grid))
        return
    for target, found in zip((output, argmax_y, argmax_x), _pool_max(features, grid), strict=True):
        target.copy_(as_features(found, output.shape))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient to the features into `grad_input` (N, C, H, W)."""
    check_rois(grad_input, rois, 5, "roi_align_backward")
    expect(pool_mode in (_MAX, _MEAN), "roi_align_backward", "pool_mode 0 or 1", pool_mode)
    grad = working(grad_output)
    if pool_mode == _MEAN:
        bins = (aligned_height, aligned_width)
        grid = upright_grid(rois.detach().to(grad.dtype), bins, spatial_scale, sampling_ratio, aligned)
        grad_input.copy_(spread_mean(grad, grid, grad_input.shape))
        return
    grad_input.copy_(_spread_max(grad, working(argmax_y), working(argmax_x), rois[:, 0].long(), grad_input.shape))


def _pool_max(features: Tensor, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Return the greatest sample of each bin and channel, and its y and x: each (bins of all RoIs, C)."""
    rows = as_rows(features)
    channels = rows.shape[1]
    count = len(grid.image) * grid.bins[0] * grid.bins[1]
    greatest = rows.new_zeros((count, channels))
    places = rows.new_full((2, count, channels), _NOWHERE)
    for samples in samples_of(grid):
        if len(samples.bag) == 0:
            continue
        index, weights = taps_of(samples, features.shape[2], features.shape[3])
        values = sum_bags(rows, index, weights.to(rows.dtype))
        top = values.new_full((len(samples.counts), channels), -torch.inf)
        bag = samples.bag[:, None].expand_as(values)
        top.scatter_reduce_(0, bag, values, "amax")
        # The first sample that reaches it: mmcv goes through them in this order.
        number = torch.arange(len(values), device=values.device)[:, None].expand_as(values)
        first = torch.full_like(top, len(values), dtype=torch.long)
        first.scatter_reduce_(0, bag, torch.where(values == top[samples.bag], number, len(values)), "amin")
        some = (samples.counts > 0)[:, None]
        # A bin of nothing but NaN has no greatest: it points to its first sample.
        first = torch.where(first < len(values), first, (samples.counts.cumsum(0) - samples.counts)[:, None])
        first = first.clamp(max=len(values) - 1)
        greatest[samples.bags] = torch.where(some, top, 0.0)
        places[0, samples.bags] = torch.where(some, samples.y[first], _NOWHERE)
        places[1, samples.bags] = torch.where(some, samples.x[first], _NOWHERE)
    return greatest, places[0], places[1]


def _spread_max(grad: Tensor, y: Tensor, x: Tensor, image: Tensor, shape: torch.Size) -> Tensor:
    """Spread the gradient of each bin and channel, (R, C, down, across), over the pixels about its greatest sample."""
    _, channels, height, width = shape
    pixels, weights = clamped_taps(y, x, height, width)
    plane = image[:, None] * channels + torch.arange(channels, device=image.device)
    index = pixels + (plane * (height * width))[:, :, None, None, None]
    total = grad.new_zeros(shape.numel())
    total.index_add_(0, index.flatten(), (weights * grad[..., None]).flatten().to(grad.dtype))
    return total.view(shape)
