"""Instances out of a raster that only says which pixels belong to any of them: its connected parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from rbox_formats.errors import FormatsError
from rbox_formats.masks import _runs
from rbox_formats.masks._masks import Masks, RunMask


def instances(
    rows: Iterable[np.ndarray], *, connectivity: int = 4, fill_holes: bool = False, min_area: int = 0
) -> Masks:
    """Return the connected parts of a raster, each as a mask, in the order of their first pixels, row by row.

    The raster is never held as a whole: what is held grows with the outlines of its parts.

    >>> import numpy as np
    >>> from rbox_formats import masks
    >>> pixels = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]])
    >>> masks.instances([pixels]).areas.tolist(), masks.instances([pixels], connectivity=8).areas.tolist()
    ([2.0, 3.0], [5.0])

    Args:
        rows: The raster from top to bottom, some rows at a time: arrays (K, width) whose pixels inside are not zero.
        connectivity: 4 joins pixels that share a side, 8 also those that share a corner.
        fill_holes: Whether the holes of a part, which are what it encloses, become pixels of it. A part inside a hole
            stays a part of its own. With connectivity 4, a hole that meets the outside at a corner is none.
        min_area: Parts of fewer pixels are left out, counted after their holes are filled.

    Raises:
        FormatsError: If the connectivity is another one, or the arrays are not of one width.
    """
    if connectivity not in (4, 8):
        raise FormatsError(f"expected a connectivity of 4 or 8, got {connectivity}")
    found = np.concatenate([_runs.NONE, *_row_runs(rows)])
    part = _parts(found, connectivity)
    order = np.argsort(part, kind="stable")
    begins = np.flatnonzero(np.diff(part[order], prepend=-1))
    areas = np.add.reduceat(found[order, 2] - found[order, 1], begins) if len(begins) else begins
    kept = []
    for own, area in zip(np.split(order, begins[1:]), areas, strict=False):
        lines = _filled(found[own], connectivity) if fill_holes else found[own]
        if (area if not fill_holes else (lines[:, 2] - lines[:, 1]).sum()) >= min_area:
            kept.append(RunMask(_runs.transposed(lines)))
    return Masks(kept)


def _row_runs(rows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the runs along the rows, each (y, x0, x1)."""
    y, width = 0, None
    for band in rows:
        if band.ndim != 2 or band.shape[1] != (band.shape[1] if width is None else width):
            raise FormatsError(f"expected rows of a raster (K, {width or 'width'}), got {band.shape}")
        width = band.shape[1]
        yield _runs.of_array(band.T) + np.array((y, 0, 0))
        y += len(band)


def _parts(lines: np.ndarray, connectivity: int) -> np.ndarray:
    """Return for each run along a row (R, 3), rising by row and place, the first run of its connected part."""
    count = len(lines)
    parent = np.arange(count)
    if not count:
        return parent
    reach = 0 if connectivity == 4 else 1
    width = int(lines[:, 2].max()) + 2
    low, high = _runs.to_places(lines, width).T
    # The runs of the row above that meet each: those that end after it begins, up to those that begin before it ends.
    first = np.searchsorted(high + width, low - reach, side="right")
    last = np.searchsorted(low + width, high + reach, side="left")
    meets = np.maximum(last - first, 0)
    below = np.repeat(np.arange(count), meets)
    above = np.repeat(first - (np.cumsum(meets) - meets), meets) + np.arange(len(below))
    while len(below):
        one, other = parent[below], parent[above]
        apart = one != other
        below, above, one, other = below[apart], above[apart], one[apart], other[apart]
        np.minimum.at(parent, np.maximum(one, other), np.minimum(one, other))
        while (parent[parent] != parent).any():
            parent = parent[parent]
    return parent


def _filled(lines: np.ndarray, connectivity: int) -> np.ndarray:
    """Return the runs along the rows of a part with those of its holes."""
    low, high = lines.min(axis=0), lines.max(axis=0)
    # What is outside, with a free pixel all around; it is connected the other way.
    frame = np.arange(low[0] - 1, high[0] + 2)
    row = np.concatenate([frame, lines[:, 0]])
    starts = np.concatenate([np.full(len(frame), low[1] - 1), lines[:, 2]])
    ends = np.concatenate([lines[:, 1], np.full(len(frame), high[2] + 1)])
    start_row, end_row = row, np.concatenate([lines[:, 0], frame])
    starts, ends = starts[np.lexsort((starts, start_row))], ends[np.lexsort((ends, end_row))]
    gaps = np.stack([np.sort(start_row), starts, ends], axis=1)
    base = np.array((low[0] - 1, low[1] - 1, low[1] - 1))
    part = _parts(gaps - base, 12 - connectivity)
    holes = gaps[part != 0]
    return _runs.normalised(np.concatenate([lines, holes]))
