"""Finds overlapping boxes of the same group by a grid over each group, in time and memory linear in boxes and pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from rbox_metrics._overlaps import _grid_kernels
from rbox_metrics.typing import BoxesN, BoxesT, FloatsN, IntsN, IntsT, QuadsN, QuadsT

# How many detections are searched for at a time: the memory for near pairs then does not grow with the dataset.
_AT_A_TIME = 2**17


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

    def select(self, which: np.ndarray | slice) -> Pairs:
        """Return some of the pairs; `which` is a mask (K,), indices or a slice."""
        return Pairs(self.detection[which], self.truth[which], self.iou[which])


@dataclass(frozen=True, eq=False)
class Index:
    """Boxes or quads by group and place.

    Attributes:
        groups: (G,) the groups, rising; None if they are numbered from `lowest` on without large gaps.
        lowest: The lowest group; 0 if the groups are listed.
        grid: Where the boxes of each group are.
    """

    groups: IntsN | None
    lowest: int
    grid: _grid_kernels.Grid

    @classmethod
    def of(cls, extents: np.ndarray, group: IntsN) -> Index:
        """Make a search over extents (M, 5) of groups (M,)."""
        lowest, highest = (int(group.min()), int(group.max())) if len(group) else (0, -1)
        groups = None
        if highest - lowest > 4 * len(group) + 1000:
            groups, group = np.unique(group, return_inverse=True)
            lowest, highest = 0, len(groups) - 1
        members = stable_order(group - lowest, highest - lowest)
        starts = np.searchsorted(group[members], np.arange(lowest, highest + 2))
        return cls(groups, lowest, _grid_kernels.lay_out(extents[members], members, starts))

    def near(self, extents: np.ndarray, group: IntsN, least: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield pairs of the extents (N, 5) and boxes of their groups (N,) whose IoU may be `least` or more.

        Yields:
            (K,) indices of the extents, never falling, and (K,) of the boxes: all at once, or some millions at a time.
        """
        return _grid_kernels.near_pairs(extents, self._slots(group), self.lowest, self.grid, float(least))

    def by_group(self, group: IntsN) -> IntsN | None:
        """Return the order in which to search for boxes of groups (N,) so that each grid stays in the cache.

        None means that they have this order.
        """
        if (group[1:] >= group[:-1]).all():
            return None
        count = len(self.grid.sizes)
        return stable_order(np.clip(self._slots(group) - self.lowest, -1, count) + 1, count + 1)

    def _slots(self, group: IntsN) -> IntsN:
        """Return the groups (N,) as the grid numbers them, from `lowest` on; others lie outside."""
        if self.groups is None:
            return group
        slot = np.searchsorted(self.groups, group)
        return np.where(self.groups[np.minimum(slot, len(self.groups) - 1)] == group, slot, -1)


def overlapping_pairs(
    detections: BoxesN | QuadsN, detection_group: IntsN, truths: BoxesT | QuadsT, truth_group: IntsT, least: float
) -> Pairs:
    """Return the pairs of a detection and a truth of one group whose IoU is `least` (above 0) or more.

    Args:
        detections: (N, 5) boxes or (N, 4, 2) quads, checked.
        detection_group: (N,) whole numbers, the group of each detection.
        truths: (T, 5) boxes or (T, 4, 2) quads, whichever the detections are, checked.
        truth_group: (T,) whole numbers, the group of each truth.
        least: The least IoU, above 0 and at most 1.

    Returns:
        The pairs, sorted by detection; the truths of a detection are in an order that depends on the truths alone. The
        memory grows with these pairs, and not with those that are only near.
    """
    kernels = kernels_for(truths)
    shapes = kernels.shapes(truths)
    index = Index.of(kernels.extents(shapes), truth_group)
    order = index.by_group(detection_group)
    parts = []
    for start in range(0, max(len(detections), 1), _AT_A_TIME):
        part = slice(start, start + _AT_A_TIME) if order is None else order[start : start + _AT_A_TIME]
        for first, second, iou in _overlapping(kernels, detections[part], detection_group[part], shapes, index, least):
            parts.append((first + start if order is None else order[first + start], second, iou))
    pairs = Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    if order is None:
        return pairs
    return pairs.select(stable_order(pairs.detection, len(detections)))


def aligned_overlaps(first: BoxesN, second: BoxesN) -> FloatsN:
    """Return the IoU of checked boxes (N, 5) in pairs, by the kernels of the search: no others need be compiled."""
    kernels, index = kernels_for(first), np.arange(len(first))
    return kernels.overlaps_of_pairs(kernels.shapes(first), kernels.shapes(second), index, index, False)


def kernels_for(boxes: np.ndarray) -> ModuleType:
    """Return the module of compiled functions for boxes (N, 5) or quads (N, 4, 2), and import it."""
    if boxes.ndim == 2:
        from rbox_metrics._overlaps import _kernels

        return _kernels
    from rbox_metrics._overlaps import _quad_kernels

    return _quad_kernels


def _overlapping(
    kernels: ModuleType, boxes: np.ndarray, group: IntsN, truths: np.ndarray, index: Index, least: float
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return the overlapping pairs of some detections, and their overlaps; near pairs are held a part at a time."""
    shapes = kernels.shapes(boxes)
    for first, second in index.near(kernels.extents(shapes), group, least):
        iou = kernels.overlaps_of_pairs(shapes, truths, first, second, False)
        enough = np.flatnonzero(iou >= least)
        yield first[enough], second[enough], iou[enough]


def stable_order(keys: np.ndarray, most: int) -> np.ndarray:
    """Return the order of rising keys from 0 to `most` in linear time, 16 bits at a time; ties stay in order."""
    order = np.argsort(keys.astype(np.uint16), kind="stable")
    while (most := most >> 16) > 0:
        keys = keys >> 16
        order = order[np.argsort(keys[order].astype(np.uint16), kind="stable")]
    return order
