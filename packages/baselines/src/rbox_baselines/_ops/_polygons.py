"""Operators on point sets and polygons, which mmcv has on the GPU only: the RepPoints family's.

Facts about what they compute and in which order it is written are those of mmcv's CUDA kernels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rbox_baselines._ops import _hulls
from rbox_baselines._ops._check import expect, expect_matrix

# Point sets, or pairs of one and a polygon, that are worked on in one go: some 10 kB each.
_AT_A_TIME = 2**12


def _sets(points: Tensor, operator: str) -> Tensor:
    """Return point sets as (N, 9, 2) float64; a point that is not finite moves to the origin."""
    expect_matrix(points, 18, operator, "pointsets, nine points as (x, y),")
    values = points.detach().reshape(-1, 9, 2).to(torch.float64)
    return torch.where(torch.isfinite(values).all(dim=-1, keepdim=True), values, 0.0)


def _quads(polygons: Tensor, operator: str) -> Tensor:
    """Return polygons as (N, 4, 2) float64; a corner that is not finite moves to the origin."""
    expect_matrix(polygons, 8, operator, "polygons, four corners as (x, y),")
    values = polygons.detach().reshape(-1, 4, 2).to(torch.float64)
    return torch.where(torch.isfinite(values).all(dim=-1, keepdim=True), values, 0.0)


def convex_iou(pointsets: Tensor, polygons: Tensor, ious: Tensor) -> None:
    """Write the overlaps of the point sets' convex hulls and the polygons into `ious`: 0 where both have no area.

    Args:
        pointsets: (N, 18), nine points as (x, y).
        polygons: (K, 8), four corners as (x, y), convex or not.
        ious: (N, K).
    """
    points, quads = _sets(pointsets, "convex_iou"), _quads(polygons, "convex_iou")
    ious.zero_()
    if ious.numel() == 0:
        return
    shapes = torch.cat([_hulls.corners(part, _hulls.hull(part)[0]) for part in points.split(_AT_A_TIME)])
    areas, quad_areas = _hulls.area(shapes), _hulls.area(quads).abs()
    low, high, quad_low, quad_high = shapes.amin(1), shapes.amax(1), quads.amin(1), quads.amax(1)
    # Most have nothing in common, which the upright boxes around them tell.
    reach = torch.minimum(high[:, None], quad_high) > torch.maximum(low[:, None], quad_low)
    for pairs in reach.all(dim=-1).nonzero().split(_AT_A_TIME):
        first, second = pairs.unbind(1)
        common = _hulls.common_area(shapes[first], quads[second])
        common = torch.minimum(common, torch.minimum(areas[first], quad_areas[second]))
        whole = areas[first] + quad_areas[second] - common
        ious[first, second] = torch.where(whole > 0, common / whole, 0.0).to(ious.dtype)


def convex_giou(pointsets: Tensor, polygons: Tensor, output: Tensor) -> None:
    """Write the generalised overlaps of the hulls and polygons in pairs, and their gradients to the points.

    GIoU: Rezatofighi et al., CVPR 2019, with the convex hull of both shapes instead of the box around them.

    Args:
        pointsets: (N, 18), nine points as (x, y).
        polygons: (N, 8), four corners as (x, y).
        output: (N, 19): the gradient to the eighteen numbers, then the GIoU, from -1 to 1; zeros where the hull of both
            has no area. Points inside their hull have no gradient; of equal ones the first has it.
    """
    points, quads = _sets(pointsets, "convex_giou"), _quads(polygons, "convex_giou")
    got = f"{len(points)} and {len(quads)}"
    expect(len(points) == len(quads), "convex_giou", "as many polygons as point sets", got)
    for start in range(0, len(points), _AT_A_TIME):
        part = slice(start, start + _AT_A_TIME)
        with torch.enable_grad():
            leaf = points[part].clone().requires_grad_()
            value = _giou(leaf, quads[part])
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
        output[part, :18] = gradient.flatten(1).to(output.dtype)
        output[part, 18] = value.detach().to(output.dtype)


def _giou(points: Tensor, quads: Tensor) -> Tensor:
    shapes = _hulls.corners(points, _hulls.hull(points.detach())[0])
    areas, quad_areas = _hulls.area(shapes), _hulls.area(quads).abs()
    common = _hulls.common_area(shapes, quads)
    whole = areas + quad_areas - common
    both = torch.cat([points, quads], dim=1)
    around = _hulls.area(_hulls.corners(both, _hulls.hull(both.detach())[0]))
    some, any_around = whole > 0, around > 0
    overlap = torch.where(some, common / torch.where(some, whole, 1.0), 0.0)
    return torch.where(any_around, overlap - 1 + whole / torch.where(any_around, around, 1.0), 0.0)


def min_area_polygons(pointsets: Tensor, polygons: Tensor) -> None:
    """Write the smallest rectangle around each point set.

    One of its sides lies on an edge of the convex hull; of several as small, that of the edge which comes first from
    the lowest point on. Turned back by that edge's angle, from 0 to a quarter turn, its corners are written in the
    order (x max, y min), (x min, y min), (x min, y max), (x max, y max).

    Args:
        pointsets: (N, 18), nine points as (x, y).
        polygons: (N, 8), four corners as (x, y).
    """
    points = _sets(pointsets, "min_area_polygons")
    for start in range(0, len(points), _AT_A_TIME):
        part = slice(start, start + _AT_A_TIME)
        polygons[part] = _rectangles(points[part]).flatten(1).to(polygons.dtype)


def _rectangles(points: Tensor) -> Tensor:
    """Return the corners of the smallest rectangles, (N, 4, 2)."""
    walk, sizes = _hulls.hull(points)
    shapes = _hulls.corners(points, walk)
    edges = shapes.roll(-1, dims=1) - shapes
    angles = torch.remainder(torch.atan2(edges[..., 1], edges[..., 0]), math.pi / 2)
    cos, sin = angles.cos(), angles.sin()
    # [n, edge, point] in the frame of each edge, from the centre on, which costs far-off sets no digits.
    centre = points.mean(dim=1, keepdim=True)
    x, y = (points - centre)[:, None].unbind(dim=-1)
    along, across = cos[..., None] * x + sin[..., None] * y, cos[..., None] * y - sin[..., None] * x
    low_x, high_x, low_y, high_y = along.amin(-1), along.amax(-1), across.amin(-1), across.amax(-1)
    sizes_by_edge = (high_x - low_x) * (high_y - low_y)
    # Beyond the hull's last edge the walk stands still, which gives an angle of no edge.
    number = torch.arange(points.shape[1], device=points.device)
    real = (number < sizes[:, None]) & ((edges != 0).any(dim=-1) | (number == 0))
    smallest = torch.where(real, sizes_by_edge, torch.inf).argmin(dim=1, keepdim=True)
    picked = torch.stack([cos, sin, low_x, high_x, low_y, high_y], dim=-1)
    cos, sin, low_x, high_x, low_y, high_y = (
        picked.gather(1, smallest[..., None].expand(-1, -1, 6)).squeeze(1).unbind(dim=-1)
    )
    along = torch.stack([high_x, low_x, low_x, high_x], dim=1)
    across = torch.stack([low_y, low_y, high_y, high_y], dim=1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.stack([cos * along - sin * across, sin * along + cos * across], dim=-1) + centre


def points_in_polygons_forward(points: Tensor, polygons: Tensor, output: Tensor) -> None:
    """Write 1 where a point lies in a polygon, else 0, by how many edges lie to its right.

    On the boundary either may come out, as of mmcv.

    Args:
        points: (B, 2) as (x, y).
        polygons: (M, 8), four corners as (x, y), convex or not.
        output: (B, M).
    """
    expect_matrix(points, 2, "points_in_polygons_forward", "points as (x, y),")
    expect_matrix(polygons, 8, "points_in_polygons_forward", "polygons, four corners as (x, y),")
    x, y = points.detach().reshape(-1, 2)[:, None, None].unbind(dim=-1)
    start = polygons.detach().reshape(-1, 4, 2)
    end = start.roll(1, dims=1)
    between = (start[..., 1] < y) != (end[..., 1] < y)
    rise = end[..., 1] - start[..., 1]
    slope = (end[..., 0] - start[..., 0]) / torch.where(rise == 0, 1.0, rise)
    to_right = start[..., 0] + (y - start[..., 1]) * slope > x
    output.copy_((between & to_right).sum(dim=-1) % 2)


def diff_iou_rotated_sort_vertices_forward(vertices: Tensor, mask: Tensor, num_valid: Tensor) -> Tensor:
    """Return the corners of what two boxes have in common, in order.

    mmcv's caller finds 24 candidates, the 8 corners of both and 16 crossings of edges, and needs their order to sum an
    area. It decides in float32 which of them are valid, and finds too many or too few where boxes share an edge. So the
    common polygon is computed again here, in float64 from the 8 corners; each of its corners stands for the candidate
    next to it.

    Args:
        vertices: (B, N, 24, 2), from any origin.
        mask: (B, N, 24) which candidates are valid. Of those that are not, only the corners have coordinates.
        num_valid: (B, N) how many; unused.

    Returns:
        (B, N, 9) int32: counterclockwise in a frame whose y points up, the first again, and then one that is not valid,
        which its caller holds at zero; that one alone where they have no area in common.
    """
    fits = vertices.ndim == 4 and vertices.shape[2:] == (24, 2) and mask.shape == vertices.shape[:3]
    expected = "vertices (B, N, 24, 2) and a mask (B, N, 24)"
    got = f"{tuple(vertices.shape)} and {tuple(mask.shape)}"
    expect(fits, "diff_iou_rotated_sort_vertices_forward", expected, got)
    places = vertices.detach().to(torch.float64).nan_to_num(0.0, 0.0, 0.0)
    boxes = [places[:, :, :4], places[:, :, 4:8]]
    boxes = [torch.where((_hulls.area(box) < 0)[..., None, None], box.flip(2), box) for box in boxes]
    # Each part of an edge that bounds the common polygon begins at one of its corners.
    points, real = [], []
    for box, (begin, end) in zip(boxes, _hulls.inner_parts(*boxes), strict=True):
        points.append(box + begin[..., None] * (box.roll(-1, dims=2) - box))
        real.append(end > begin)
    corners, found = torch.cat(points, dim=2), torch.cat(real, dim=2)
    count = found.sum(dim=-1, keepdim=True)
    centre = torch.where(found[..., None], corners, 0.0).sum(dim=2, keepdim=True) / count.clamp(min=1)[..., None]
    y, x = (corners - centre)[..., 1], (corners - centre)[..., 0]
    order = torch.where(found, torch.atan2(y, x), torch.inf).argsort(dim=-1, stable=True)
    # A crossing that is not valid holds no place.
    usable = torch.cat([torch.ones_like(mask[..., :8], dtype=torch.bool), mask[..., 8:].bool()], dim=-1)
    away = (corners[:, :, :, None] - places[:, :, None]).square().sum(dim=-1)
    nearest = torch.where(usable[:, :, None], away, torch.inf).argmin(dim=-1).gather(-1, order)
    number = torch.arange(9, device=vertices.device)
    nothing = 8 + mask[..., 8:].to(torch.uint8).argmin(dim=-1, keepdim=True)
    nearest = torch.cat([nearest, nothing], dim=-1)
    walk = torch.where(number < count, nearest, torch.where(number == count, nearest[..., :1], nothing))
    return torch.where(count >= 3, walk, nothing).to(torch.int32)
