"""RoIs as grids of samples: upright ones (RoIAlign), and rotated ones (RoIAlignRotated, and RiRoIAlign on top of it).

After He et al., "Mask R-CNN", ICCV 2017 (RoIAlign); Ding et al., "Learning RoI Transformer", CVPR 2019, and Han et al.,
"ReDet", CVPR 2021, for rotated ones. Names and border rules are mmcv's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from rbox_baselines._ops._check import expect, expect_features, expect_matrix, working
from rbox_baselines._ops._sampling import as_features, as_rows, clamped_taps, spread_bags, sum_bags

# Samples taken at a time: some 100 bytes each.
_SAMPLES_AT_A_TIME = 2**19

# The most samples along a bin's side where a RoI is to have as many as it needs; mmcv knows no end, and hangs with RoIs
# of a network gone astray. With 7 bins a RoI reaches it at 3584 pixels of the feature map, its greater part outside.
_MOST_SAMPLES = 512


@dataclass(frozen=True)
class Grid:
    """RoIs in the pixels of a feature map, each cut into bins.

    Attributes:
        image: (R,) the number of each RoI's image, int64.
        origin: (R, 2) y, x from which the start of the bins is measured.
        start: (R, 2) y, x of the first bin's corner, from the origin, before it is turned.
        bin_size: (R, 2) height and width of a bin.
        turn: (R, 2) cosine and sine; None where upright.
        samples: (R, 2) down and across each bin, int64.
        bins: Number of bins down and across.
    """

    image: Tensor
    origin: Tensor
    start: Tensor
    bin_size: Tensor
    turn: Tensor | None
    samples: Tensor
    bins: tuple[int, int]


@dataclass(frozen=True)
class Samples:
    """The samples of some bins, bin after bin.

    Attributes:
        bags: The bins, among all of the RoIs', RoI by RoI and row by row.
        counts: (B,) how many samples each bin has.
        bag: (K,) the bin of each sample, from 0 on.
        image: (K,) its image.
        y: (K,) its place in the feature map.
        x: (K,)
    """

    bags: slice
    counts: Tensor
    bag: Tensor
    image: Tensor
    y: Tensor
    x: Tensor


def upright_grid(rois: Tensor, bins: tuple[int, int], scale: float, sampling_ratio: int, aligned: bool) -> Grid:
    """Return the grid of samples of RoIs (R, 5) as (image, x1, y1, x2, y2)."""
    corners = rois[:, 1:] * scale - (0.5 if aligned else 0.0)
    start, stop = corners[:, [1, 0]], corners[:, [3, 2]]
    return _grid(rois, torch.zeros_like(start), start, stop - start, None, bins, sampling_ratio, aligned)


def rotated_grid(
    rois: Tensor, bins: tuple[int, int], scale: float, sampling_ratio: int, aligned: bool, clockwise: bool
) -> Grid:
    """Return the grid of samples of RoIs (R, 6) as (image, cx, cy, w, h, angle).

    The angle is counterclockwise on the screen unless `clockwise`.
    """
    centre = rois[:, [2, 1]] * scale - (0.5 if aligned else 0.0)
    sides = rois[:, [4, 3]] * scale
    sides = sides if aligned else sides.clamp(min=1)
    angle = -rois[:, 5] if clockwise else rois[:, 5]
    turn = torch.stack([angle.cos(), angle.sin()], dim=1)
    return _grid(rois, centre, -sides / 2, sides, turn, bins, sampling_ratio, aligned)


def _grid(
    rois: Tensor,
    origin: Tensor,
    start: Tensor,
    sides: Tensor,
    turn: Tensor | None,
    bins: tuple[int, int],
    sampling_ratio: int,
    aligned: bool,
) -> Grid:
    # A RoI turned inside out is an error to mmcv where aligned; here it is empty, as one of no size is.
    sides = sides.clamp(min=0 if aligned else 1)
    bin_size = sides / sides.new_tensor(bins)
    if sampling_ratio > 0:
        samples = torch.full_like(sides, sampling_ratio, dtype=torch.long)
    else:
        samples = bin_size.nan_to_num(0.0).clamp(max=_MOST_SAMPLES).ceil().long()
    return Grid(rois[:, 0].long(), origin, start, bin_size, turn, samples, bins)


def samples_of(grid: Grid) -> Iterator[Samples]:
    """Yield the samples of all bins, some bins at a time."""
    down, across = grid.bins
    counts = grid.samples.prod(dim=1).repeat_interleave(down * across)
    ends = counts.cumsum(0)
    first = 0
    while first < len(counts):
        before = int(ends[first - 1]) if first else 0
        last = int(torch.searchsorted(ends, before + _SAMPLES_AT_A_TIME, right=True))
        bags = slice(first, max(last, first + 1))
        yield _samples(grid, bags, counts[bags])
        first = bags.stop


def _samples(grid: Grid, bags: slice, counts: Tensor) -> Samples:
    down, across = grid.bins
    number = torch.arange(bags.start, bags.start + len(counts), device=counts.device)
    roi, within = number // (down * across), number % (down * across)
    # What is the same for all samples of a bin is computed once for it.
    corner = grid.start[roi] + torch.stack([within // across, within % across], dim=1) * grid.bin_size[roi]
    step = grid.bin_size[roi] / grid.samples[roi]
    bag = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    place = torch.arange(len(bag), device=counts.device) - (counts.cumsum(0) - counts)[bag]
    columns = grid.samples[roi, 1][bag]
    row = torch.div(place, columns, rounding_mode="floor")
    y = corner[bag, 0] + (row + 0.5) * step[bag, 0]
    x = corner[bag, 1] + (place - row * columns + 0.5) * step[bag, 1]
    if grid.turn is not None:
        cos, sin = grid.turn[roi][bag].unbind(1)
        y, x = y * cos - x * sin, y * sin + x * cos
    origin = grid.origin[roi][bag]
    return Samples(bags, counts, bag, grid.image[roi][bag], y + origin[:, 0], x + origin[:, 1])


def taps_of(samples: Samples, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the rows that are read for each sample, and their weights: (K, 4) each."""
    pixels, weights = clamped_taps(samples.y, samples.x, height, width)
    return pixels + (samples.image * (height * width))[:, None].to(pixels.dtype), weights


def pool_mean(features: Tensor, grid: Grid) -> Tensor:
    """Return the mean of each bin's samples, (R, C, down, across); 0 where a bin has none."""
    rows = as_rows(features)
    pooled = rows.new_empty((len(grid.image) * math.prod(grid.bins), rows.shape[1]))
    for samples in samples_of(grid):
        index, weights = taps_of(samples, features.shape[2], features.shape[3])
        weights = weights / samples.counts[samples.bag, None]
        starts = 4 * (samples.counts.cumsum(0) - samples.counts)
        pooled[samples.bags] = sum_bags(rows, index.flatten(), weights.flatten().to(rows.dtype), starts)
    return as_features(pooled, (len(grid.image), rows.shape[1], *grid.bins))


def spread_mean(grad: Tensor, grid: Grid, shape: torch.Size) -> Tensor:
    """Return the gradient to the features of `pool_mean`, (N, C, H, W), from the gradient to its result."""
    values = as_rows(grad)
    count, channels, height, width = shape
    total = values.new_zeros((count * height * width, channels))
    for samples in samples_of(grid):
        index, weights = taps_of(samples, height, width)
        weights = weights / samples.counts[samples.bag, None]
        bag = samples.bag.repeat_interleave(4)
        total += spread_bags(
            values[samples.bags], bag, index.flatten(), weights.flatten().to(values.dtype), count * height * width
        )
    return as_features(total, shape)


def roi_align_rotated_forward(
    input: Tensor,  # mmcv's name
    rois: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    clockwise: bool,
) -> None:
    """Write the means of each bin's samples into `output`.

    Args:
        input: (N, C, H, W) features.
        rois: (R, 6) as (image, cx, cy, w, h, angle), in pixels of the image and radians.
        output: (R, C, pooled_height, pooled_width).
        pooled_height: Bins down.
        pooled_width: Bins across.
        spatial_scale: Pixels of the features to one of the image.
        sampling_ratio: Samples along each side of a bin; 0: one for each pixel it is long.
        aligned: Whether the centre of the first pixel lies at 0.5; else sides are at least 1.
        clockwise: Which way angles turn on the screen.
    """
    check_rois(input, rois, 6, "roi_align_rotated_forward")
    features = working(input)
    bins = (pooled_height, pooled_width)
    grid = rotated_grid(rois.detach().to(features.dtype), bins, spatial_scale, sampling_ratio, aligned, clockwise)
    output.copy_(pool_mean(features, grid))


def roi_align_rotated_backward(
    top_grad: Tensor,
    rois: Tensor,
    bottom_grad: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    clockwise: bool,
) -> None:
    """Write the gradient to the features into `bottom_grad` (N, C, H, W), from `top_grad`, that to the bins."""
    check_rois(bottom_grad, rois, 6, "roi_align_rotated_backward")
    grad = working(top_grad)
    bins = (pooled_height, pooled_width)
    grid = rotated_grid(rois.detach().to(grad.dtype), bins, spatial_scale, sampling_ratio, aligned, clockwise)
    bottom_grad.copy_(spread_mean(grad, grid, bottom_grad.shape))


def check_rois(features: Tensor, rois: Tensor, columns: int, operator: str) -> None:
    """Raise OperatorError unless the features are a batch of maps and each RoI is of one of their images."""
    expect_features(features, operator)
    expect_matrix(rois, columns, operator, "rois")
    if len(rois) == 0:
        return
    image = rois[:, 0]
    if not bool(((image >= 0) & (image < len(features))).all()):
        expect(False, operator, f"rois of images 0 to {len(features) - 1}", f"{image.min():g} to {image.max():g}")
