"""Convex hulls of small point sets, and the area that one has in common with a triangle: many at once, in torch.

All in float64. Areas carry gradients to the points.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Edges that are closer than this share of the shapes' extent are taken to lie on each other, not to cross.
_SHARE = 1e-10


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Return the z of the cross product of (..., 2) vectors."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def hull(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the convex hulls of sets of P points, counterclockwise in a frame whose y points up.

    From each point the next of the hull is that with all others on its left; of several in line, the furthest. The walk
    starts at the lowest point, of several the leftmost. Of equal points only the first is of the hull.

    Args:
        points: (N, P, 2), finite.

    Returns:
        (N, P) numbers of points: those of the hull in order, then its first again and again; and (N,) how many it has.
    """
    count, size, _ = points.shape
    x, y = points.detach().unbind(dim=-1)
    away_x, away_y = x[:, None] - x[:, :, None], y[:, None] - y[:, :, None]
    # [n, i, j, k]: point k lies to the right of the line from i to j where one product is less than its mirror image.
    product = away_x[:, :, :, None] * away_y[:, :, None]
    on_right = (product < product.transpose(2, 3)).sum(dim=-1)
    length = away_x.square() + away_y.square()
    # None is its own next, nor is one that lies on it.
    on_right = torch.where(length > 0, on_right, size + 1)
    furthest = torch.where(on_right == on_right.amin(dim=-1, keepdim=True), length, -1.0)
    following = furthest.argmax(dim=-1)
    lowest = y == y.amin(dim=1, keepdim=True)
    start = torch.where(lowest, x, torch.inf).argmin(dim=1)
    walk = [start]
    closed = torch.zeros(count, dtype=torch.bool, device=points.device)
    sizes = torch.ones(count, dtype=torch.long, device=points.device)
    for _ in range(size - 1):
        step = following.gather(1, walk[-1][:, None]).squeeze(1)
        # Back at the start, which a set of nothing but one point never leaves.
        closed = closed | (step == start)
        walk.append(torch.where(closed, start, step))
        sizes = sizes + ~closed
    return torch.stack(walk, dim=1), sizes


def corners(points: Tensor, walk: Tensor) -> Tensor:
    """Return the points of the hulls in order, (N, P, 2); the first point fills the places that remain."""
    return points.gather(1, walk[..., None].expand(-1, -1, 2))


def area(polygons: Tensor) -> Tensor:
    """Return the areas (...) of polygons (..., P, 2), above 0 where counterclockwise in a frame whose y points up."""
    polygons = polygons - polygons[..., :1, :].detach()
    return cross(polygons, polygons.roll(-1, dims=-2)).sum(dim=-1) / 2


def common_area(polygons: Tensor, quads: Tensor) -> Tensor:
    """Return the areas that convex polygons and quads, convex or not, have in common in pairs.

    Args:
        polygons: (N, P, 2) counterclockwise in a frame whose y points up; corners may come several times.
        quads: (N, 4, 2), either way round.

    Returns:
        (N,).
    """
    # A quad is the sum of two triangles. Where the quad is not convex, the area of one of them is negative.
    parts = torch.stack([quads[:, :3], quads[:, [0, 2, 3]]], dim=1)
    turned = area(parts)
    parts = torch.where((turned < 0)[..., None, None], parts.flip(2), parts)
    inside = _common_convex(polygons[:, None].expand(-1, 2, -1, -1), parts) * turned.detach().sign()
    return inside.sum(dim=1).abs()


def _common_convex(first: Tensor, second: Tensor) -> Tensor:
    """Return the common areas (...) of convex, counterclockwise polygons (..., P, 2) and (..., Q, 2).

    What bounds the common area is the part of either's edges that lies within the other, by Green's theorem; no corner
    needs to be found or sorted.
    """
    origin = second.mean(dim=-2, keepdim=True).detach()
    first, second = first - origin, second - origin
    bounds = zip((first, second), inner_parts(first, second), strict=True)
    twice = sum((cross(edges, edges.roll(-1, dims=-2)) * (end - begin)).sum(dim=-1) for edges, (begin, end) in bounds)
    return (torch.as_tensor(twice) / 2).clamp(min=0)


def inner_parts(first: Tensor, second: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return where each edge enters and leaves the other polygon, in shares of the edge; 0 and 0 where it is outside.

    Both (..., P, 2) and (..., Q, 2) are convex and counterclockwise. Where two edges lie on each other the first one's
    counts. A polygon without area has no such part, and the other has none in it.
    """
    extent = torch.maximum(*(polygon.detach().abs().amax(dim=(-2, -1)) for polygon in (first, second)))
    room = extent * _SHARE
    solid = (area(first.detach()) > 0) & (area(second.detach()) > 0)
    return _inner(first, second, room, solid), _inner(second, first, -room, solid)


def _inner(edges: Tensor, other: Tensor, room: Tensor, solid: Tensor) -> tuple[Tensor, Tensor]:
    """Return where edges enter and leave another polygon, widened by `room`, if both are `solid`: (..., P) each."""
    start, along = edges, edges.roll(-1, dims=-2) - edges
    corner, side = other, other.roll(-1, dims=-2) - other
    length = side.detach().square().sum(dim=-1).sqrt()
    # [..., i, j]: how far the start of edge i lies within side j, times its length; and how that changes along it.
    depth = cross(side[..., None, :, :], start[..., :, None, :] - corner[..., None, :, :])
    depth = depth + (room[..., None] * length)[..., None, :]
    change = cross(side[..., None, :, :], along[..., :, None, :])
    # Along the side: within or without as a whole.
    level = change.detach() == 0
    meet = -depth / torch.where(level, 1.0, change)
    enter = torch.where(change > 0, meet, 0.0)
    leave = torch.where(change < 0, meet, 1.0)
    outside = level & (depth < 0) & (length > 0)[..., None, :]
    leave = torch.where(outside, 0.0, leave)
    begin, end = enter.amax(dim=-1).clamp(0, 1), leave.amin(dim=-1).clamp(0, 1)
    some = (end > begin) & solid[..., None]
    return torch.where(some, begin, 0.0), torch.where(some, end, 0.0)
