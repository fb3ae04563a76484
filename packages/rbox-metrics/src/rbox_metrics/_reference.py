"""The same overlaps by shapely, to be read rather than to be fast."""

from __future__ import annotations

import numpy as np
from rbox_formats import rbox_to_quad

from rbox_metrics._typing import BoxesM, BoxesN, FloatsN
from rbox_metrics.errors import MetricsError


def overlaps_of_pairs(boxes1: BoxesN, boxes2: BoxesN, iof: bool) -> FloatsN:
    """The overlap of boxes1[k] and boxes2[k] for each k.

    Each first box is drawn in the frame of the second, stretched to the unit square, and clipped to that square. Not by
    `shapely.intersection`: of rectangles whose edges all but coincide GEOS 3.14 takes some hundredths of a percent to
    have nothing in common.

    Raises:
        MetricsError: If shapely is not there.
    """
    try:
        import shapely
    except ModuleNotFoundError as error:
        raise MetricsError(
            "expected shapely for backend='reference', got none", remedy="pip install 'rbox-metrics[reference]'"
        ) from error
    area1, area2 = boxes1[:, 2] * boxes1[:, 3], boxes2[:, 2] * boxes2[:, 3]
    solid = (area1 > 0) & (area2 > 0)
    boxes1, boxes2, area1, area2 = boxes1[solid], boxes2[solid], area1[solid], area2[solid]
    moved = boxes1.copy()
    moved[:, :2] -= boxes2[:, :2]
    x, y = np.moveaxis(rbox_to_quad(moved), -1, 0)
    cos, sin = np.cos(boxes2[:, 4:]), np.sin(boxes2[:, 4:])
    along, across = (x * cos + y * sin) / boxes2[:, 2:3], (y * cos - x * sin) / boxes2[:, 3:4]
    clipped = shapely.clip_by_rect(shapely.polygons(np.stack([along, across], axis=-1)), -0.5, -0.5, 0.5, 0.5)
    common = shapely.area(clipped) * area2
    result = np.zeros(len(solid))
    result[solid] = np.clip(common / (area1 if iof else area1 + area2 - common), 0, 1)
    return result


def overlaps_dense(boxes1: BoxesN, boxes2: BoxesM, iof: bool) -> np.ndarray:
    """Every overlap of two sets: (N, 5), (M, 5) -> (N, M)."""
    n, m = len(boxes1), len(boxes2)
    return overlaps_of_pairs(np.repeat(boxes1, m, axis=0), np.tile(boxes2, (n, 1)), iof).reshape(n, m)


def kept(boxes: BoxesN, ranked: np.ndarray, group: np.ndarray, window: np.ndarray, threshold: float) -> np.ndarray:
    """Greedy suppression, from best to worst: (N,) bool, true for boxes that no kept one of their group suppresses."""
    overlaps = overlaps_dense(boxes, boxes, iof=False)
    keep = np.zeros(len(boxes), dtype=bool)
    for i in ranked:
        rivals = keep & (group == group[i]) & (window != window[i])
        keep[i] = not (overlaps[i, rivals] > threshold).any()
    return keep
