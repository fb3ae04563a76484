"""Boxes of the same group near each other, found by sorting: no dense matrix, memory linear in boxes and pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rbox_metrics import _kernels
from rbox_metrics._jit import threads_for
from rbox_metrics._typing import BoundsG, BoxesN, BoxesT, FloatsN, IntsG, IntsN, IntsT


@dataclass(frozen=True, eq=False)
class ExtentIndex:
    """Boxes sorted by group, then by the left end of their upright extent.

    Attributes:
        order: (N,) indices of the boxes in that order.
        groups: (G,) the groups there are, rising.
        starts: (G + 1,) where each of them begins.
        left: (N,) the left ends, in that order.
        reach: (N,) the greatest right end so far within the group.
    """

    order: IntsN
    groups: IntsG
    starts: BoundsG
    left: FloatsN
    reach: FloatsN

    @classmethod
    def of(cls, shapes: np.ndarray, group: IntsN) -> ExtentIndex:
        """Sorts shapes (N, 8) of groups (N,)."""
        left, right = shapes[:, 0] - shapes[:, 6], shapes[:, 0] + shapes[:, 6]
        order = np.lexsort((left, group))
        groups, counts = np.unique(group, return_counts=True)
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        return cls(order, groups, starts, left[order], _kernels.running_max(right[order], starts))

    def bounds(self, group: IntsN) -> tuple[IntsN, IntsN]:
        """Where in `order` the boxes of groups (N,) begin, and where they end; the same for a group without any."""
        first, last = (np.searchsorted(self.groups, group, side=side) for side in ("left", "right"))
        return self.starts[first], self.starts[last]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Detections and truths of the same group that overlap.

    Attributes:
        detection: (K,) indices of detections, never falling.
        truth: (K,) indices of truths.
        iou: (K,) their overlaps.
    """

    detection: IntsN
    truth: IntsN
    iou: FloatsN

    def select(self, which: np.ndarray) -> Pairs:
        """Some of the pairs: a mask (K,) or indices."""
        return Pairs(self.detection[which], self.truth[which], self.iou[which])


def overlapping_pairs(
    detections: BoxesN, detection_group: IntsN, truths: BoxesT, truth_group: IntsT, least: float
) -> Pairs:
    """The pairs of a detection and a truth of one group whose IoU is `least`, above zero, or more."""
    with threads_for(len(detections)):
        shapes, truth_shapes = _kernels.shapes(detections), _kernels.shapes(truths)
        index = ExtentIndex.of(truth_shapes, truth_group)
        starts, stops = index.bounds(detection_group)
        first, second = _kernels.near_pairs(shapes, starts, stops, truth_shapes, index.order, index.left, index.reach)
        iou = _kernels.overlaps_of_pairs(shapes, truth_shapes, first, second, False)
    return Pairs(first, second, iou).select(iou >= least)
