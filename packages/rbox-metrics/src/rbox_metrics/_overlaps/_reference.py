"""The same overlaps by shapely, written to be read and not to be fast."""

from __future__ import annotations

from types import ModuleType

import numpy as np
from rbox_formats import rbox_to_quad

from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import BoxesM, BoxesN, FloatsN, QuadsM, QuadsN


def overlaps_of_pairs(first: BoxesN | QuadsN, second: BoxesN | QuadsN, iof: bool) -> FloatsN:
    """Return the overlap of first[k] and second[k] for each k.

    Raises:
        MetricsError: If shapely is not there.
    """
    area1, area2, common = (_boxes_in_common if first.ndim == 2 else _quads_in_common)(first, second)
    whole = area1 if iof else area1 + area2 - common
    solid = (area1 > 0) & (area2 > 0)
    return np.clip(np.divide(common, whole, out=np.zeros(len(first)), where=solid), 0, 1)


def overlaps_dense(first: BoxesN | QuadsN, second: BoxesM | QuadsM, iof: bool) -> np.ndarray:
    """Return every overlap of two sets of N and M: (N, M)."""
    i, j = np.indices((len(first), len(second))).reshape(2, -1)
    return overlaps_of_pairs(first[i], second[j], iof).reshape(len(first), len(second))


def kept(
    boxes: BoxesN | QuadsN, ranked: np.ndarray, group: np.ndarray, window: np.ndarray, threshold: float
) -> np.ndarray:
    """Suppress greedily, best first: (N,) bool, true for boxes that no kept box of their group suppresses."""
    overlaps = overlaps_dense(boxes, boxes, iof=False)
    keep = np.zeros(len(boxes), dtype=bool)
    for i in ranked:
        rivals = keep & (group == group[i]) & (window != window[i])
        keep[i] = not (overlaps[i, rivals] > threshold).any()
    return keep


def softened(
    boxes: BoxesN, scores: FloatsN, group: np.ndarray, linear: bool, iou_threshold: float, sigma: float, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Suppress softly as figure 2 of its paper says: the indices, best first, and their scores when picked."""
    overlaps = overlaps_dense(boxes, boxes, iof=False)
    left, scores = np.flatnonzero(scores >= least).tolist(), scores.copy()
    picked: list[int] = []
    while left:
        best = max(left, key=lambda i: (scores[i], -i))
        picked.append(best)
        left.remove(best)
        for i in left:
            overlap = overlaps[best, i]
            if group[i] != group[best]:
                continue
            if not linear:
                scores[i] *= np.exp(-(overlap**2) / sigma)
            elif overlap >= iou_threshold:
                scores[i] *= 1 - overlap
        left = [i for i in left if scores[i] >= least]
    return np.array(picked, dtype=np.int64), scores[picked]


def _boxes_in_common(boxes1: BoxesN, boxes2: BoxesN) -> tuple[FloatsN, FloatsN, FloatsN]:
    """Return the areas of boxes in pairs, and the area that each pair has in common.

    The first box of each pair is transformed to the frame in which the second is the unit square, and clipped to that
    square. `shapely.intersection` is not used: for some hundredths of a percent of rectangles whose edges almost
    coincide, GEOS 3.14 finds no common area.
    """
    shapely = _shapely()
    area1, area2 = boxes1[:, 2] * boxes1[:, 3], boxes2[:, 2] * boxes2[:, 3]
    solid = (area1 > 0) & (area2 > 0)
    moved, frame = boxes1[solid], boxes2[solid]
    moved[:, :2] -= frame[:, :2]
    x, y = np.moveaxis(rbox_to_quad(moved), -1, 0)
    cos, sin = np.cos(frame[:, 4:]), np.sin(frame[:, 4:])
    along, across = (x * cos + y * sin) / frame[:, 2:3], (y * cos - x * sin) / frame[:, 3:4]
    clipped = shapely.clip_by_rect(shapely.polygons(np.stack([along, across], axis=-1)), -0.5, -0.5, 0.5, 0.5)
    common = np.zeros(len(boxes1))
    common[solid] = shapely.area(clipped) * area2[solid]
    return area1, area2, common


def _quads_in_common(quads1: QuadsN, quads2: QuadsN) -> tuple[FloatsN, FloatsN, FloatsN]:
    """Return the areas of quads in pairs, and their common area, each pair moved to the centre of the first."""
    shapely = _shapely()
    centre = quads1.mean(axis=1, keepdims=True)
    first, second = _polygons(quads1 - centre), _polygons(quads2 - centre)
    return shapely.area(first), shapely.area(second), shapely.area(shapely.intersection(first, second))


def _polygons(quads: QuadsN) -> np.ndarray:
    """Return polygons of quads; for a quad that crosses itself, the simple one with the same corners."""
    shapely = _shapely()
    edges = shapely.linestrings(np.stack([quads, np.roll(quads, -1, axis=1)], axis=2))
    for start, order in ((0, [0, 2, 1, 3]), (1, [0, 1, 3, 2])):
        crossing = shapely.crosses(edges[:, start], edges[:, start + 2])
        quads = np.where(crossing[:, None, None], quads[:, order], quads)
    polygons = shapely.polygons(quads)
    # If corners or edges lie on each other.
    odd = ~shapely.is_valid(polygons)
    polygons[odd] = shapely.make_valid(polygons[odd])
    return polygons


def _shapely() -> ModuleType:
    try:
        import shapely
    except ModuleNotFoundError as error:
        raise MetricsError(
            "expected shapely for backend='reference', got none", remedy="pip install 'rbox-metrics[reference]'"
        ) from error
    return shapely
