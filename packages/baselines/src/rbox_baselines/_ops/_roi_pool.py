"""RoIPool: the greatest pixel of each bin; and deformable RoIPool: means of bins that are moved.

Girshick, "Fast R-CNN", ICCV 2015, section 2.1; Dai et al., "Deformable Convolutional Networks", ICCV 2017, equation 6.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rbox_baselines._ops._check import expect, working
from rbox_baselines._ops._roi import check_rois
from rbox_baselines._ops._sampling import as_rows, clamped_taps


def roi_pool_forward(
    input: Tensor,  # mmcv's name
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the greatest pixel of each bin into `output`, 0 where a bin has none.

    Args:
        input: (N, C, H, W) features.
        rois: (R, 5) as (image, x1, y1, x2, y2), in pixels of the image. Column x2 and row y2 belong to the RoI.
        output: (R, C, pooled_height, pooled_width).
        argmax: (R, C, pooled_height, pooled_width) whole numbers, written to: y * W + x of the greatest pixel, -1 where
            a bin has none.
        pooled_height: Bins down.
        pooled_width: Bins across.
        spatial_scale: Pixels of the features to one of the image.
    """
    check_rois(input, rois, 5, "roi_pool_forward")
    height, width = input.shape[2:]
    bounds = [
        _bins(rois.detach()[:, first] * spatial_scale, (rois.detach()[:, last] + 1) * spatial_scale, count, side)
        for first, last, count, side in ((2, 4, pooled_height, height), (1, 3, pooled_width, width))
    ]
    (tops, bottoms), (lefts, rights) = ((low.tolist(), high.tolist()) for low, high in bounds)
    images = rois[:, 0].long().tolist()
    output.zero_()
    argmax.fill_(-1)
    for r, image in enumerate(images):
        for i in range(pooled_height):
            top, bottom = tops[r][i], bottoms[r][i]
            for j in range(pooled_width):
                left, right = lefts[r][j], rights[r][j]
                if top < bottom and left < right:
                    values, at = input[image, :, top:bottom, left:right].flatten(1).max(dim=1)
                    output[r, :, i, j] = values
                    argmax[r, :, i, j] = (top + at // (right - left)) * width + left + at % (right - left)


def _bins(low: Tensor, high: Tensor, count: int, side: int) -> tuple[Tensor, Tensor]:
    """Return where each of a RoI's bins begins and ends, in whole pixels of the map: (R, count) each."""
    numbers = torch.arange(count + 1, device=low.device, dtype=low.dtype)
    ends = numbers * ((high - low) / count)[:, None] + low[:, None]
    first, last = ends[:, :-1].floor(), ends[:, 1:].ceil()
    last = torch.where((high > low)[:, None], last, first)  # no bin of a RoI without size has a pixel
    return first.clamp(0, side).long(), last.clamp(0, side).long()


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add the gradient of each bin to that of its greatest pixel, in `grad_input` (N, C, H, W)."""
    check_rois(grad_input, rois, 5, "roi_pool_backward")
    _, channels, height, width = grad_input.shape
    plane = rois[:, 0].long()[:, None] * channels + torch.arange(channels, device=rois.device)
    index = plane[:, :, None, None] * (height * width) + argmax.clamp(min=0).long()
    grad = torch.where(argmax >= 0, working(grad_output), 0.0)
    total = grad.new_zeros(grad_input.numel())
    total.index_add_(0, index.flatten(), grad.flatten())
    grad_input += total.view(grad_input.shape).to(grad_input.dtype)


def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Write the mean of each bin's samples into `output`.

    Args:
        input: (N, C, H, W) features.
        rois: (R, 5) as (image, x1, y1, x2, y2), in pixels of the image.
        offset: (R, 2, pooled_height, pooled_width): how far each bin is moved, across and down, in sides of the RoI
            times `gamma`; or empty.
        output: (R, C, pooled_height, pooled_width).
        pooled_height: Bins down.
        pooled_width: Bins across.
        spatial_scale: Pixels of the features to one of the image.
        sampling_ratio: Samples along each side of a bin; 0: one for each pixel it is long.
        gamma: See `offset`.
    """
    check_rois(input, rois, 5, "deform_roi_pool_forward")
    bins = (pooled_height, pooled_width)
    _check_offset(rois, offset, bins, "deform_roi_pool_forward")
    found = _pool_moved(working(input), working(offset), working(rois), bins, spatial_scale, sampling_ratio, gamma)
    output.copy_(found)


def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Write the gradients to the features and, where there are any, to the offsets."""
    check_rois(input, rois, 5, "deform_roi_pool_backward")
    bins = (pooled_height, pooled_width)
    _check_offset(rois, offset, bins, "deform_roi_pool_backward")
    leaves = [working(each).requires_grad_() for each in (input, offset)]
    with torch.enable_grad():
        found = _pool_moved(leaves[0], leaves[1], working(rois), bins, spatial_scale, sampling_ratio, gamma)
    wanted = leaves if offset.numel() else leaves[:1]
    if not found.requires_grad:  # no RoIs
        return
    gradients = torch.autograd.grad(found, wanted, working(grad_output))
    for target, gradient in zip((grad_input, grad_offset), gradients, strict=False):
        target.copy_(gradient)


def _check_offset(rois: Tensor, offset: Tensor, bins: tuple[int, int], operator: str) -> None:
    wanted = (len(rois), 2, *bins)
    fits = offset.numel() == 0 or tuple(offset.shape) == wanted
    expect(fits, operator, f"offsets of shape {wanted}, or none", tuple(offset.shape))


def _pool_moved(
    features: Tensor, offset: Tensor, rois: Tensor, bins: tuple[int, int], scale: float, ratio: int, gamma: float
) -> Tensor:
    """Pool one RoI after the other, as each has its own number of samples: (R, C, down, across)."""
    height, width = features.shape[2:]
    rows = as_rows(features)
    pooled = []
    for r, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        sides = [(y2 - y1) * scale, (x2 - x1) * scale]
        starts = [y1 * scale - 0.5, x1 * scale - 0.5]
        places = []
        for axis, (start, side, count) in enumerate(zip(starts, sides, bins, strict=True)):
            samples = ratio if ratio > 0 else max(-int(-side // count), 0)
            steps = (torch.arange(samples, device=rows.device, dtype=rows.dtype) + 0.5) / max(samples, 1)
            numbers = torch.arange(count, device=rows.device, dtype=rows.dtype)
            place = start + (numbers[:, None] + steps) * (side / count)  # (bins, samples)
            place = place[:, None] if axis == 0 else place[None]  # (down, 1, samples) or (1, across, samples)
            if offset.numel():
                place = place + gamma * side * offset[r, 1 - axis][..., None]
            places.append(place.expand(*bins, samples))
        y, x = places[0][..., :, None], places[1][..., None, :]
        y, x = torch.broadcast_tensors(y, x)  # (down, across, samples down, samples across)
        pixels, weights = clamped_taps(y, x, height, width)
        taps = rows[pixels.long() + int(image) * height * width] * weights[..., None].to(rows.dtype)
        count = max(y.shape[2] * y.shape[3], 1)
        pooled.append(taps.sum(dim=(2, 3, 4)).permute(2, 0, 1) / count)
    return torch.stack(pooled) if pooled else features.new_zeros((0, features.shape[1], *bins))
