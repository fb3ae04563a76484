"""Which upright boxes of one group meet: a grid over each group, compiled by Numba.

Each group, such as an image, has a grid of its own of no more cells than it has boxes. A cell's sides are at least the
root mean squares of its boxes' widths and heights, so that all the boxes of a group together cover some nine cells a
box at the most (by Cauchy and Schwarz): memory is linear in the boxes whatever their sizes, and so is time where boxes
do not crowd.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from numba import prange

from rbox_metrics._jit import inlined, parallel_jit

# The columns of extents, half-open upright boxes around what they stand for, whose area comes last.
_X0, _Y0, _X1, _Y1, _AREA = range(5)

# The share by which the rounding of two areas and a quotient may change an overlap, with room to spare.
_SLACK = 1 - 1e-9

# Boxes searched for in one go, and the pairs that each of them has room for at first.
_RUN = 512
_ROOM = 4


class Grid(NamedTuple):
    """Boxes by group, and by cell within each.

    Attributes:
        members: (M,) the boxes sorted by group.
        starts: (G + 1,) where each group begins in `members`.
        extents: (M, 5) the members' extents.
        corners: (M, 2) column and row of the first cell that each covers.
        frames: (G, 4) each grid's origin (x, y), and how many columns and rows there are to a pixel.
        sizes: (G, 2) its columns and rows.
        bases: (G + 1,) the number of its first cell.
        cells: (C + 1,) where each cell begins in `entries`.
        entries: (E,) places in `members`: what lies in each cell, in part or wholly.
    """

    members: np.ndarray
    starts: np.ndarray
    extents: np.ndarray
    corners: np.ndarray
    frames: np.ndarray
    sizes: np.ndarray
    bases: np.ndarray
    cells: np.ndarray
    entries: np.ndarray


@inlined
@no_type_check
def _cell(value, origin, scale, count):
    """The column or row that a coordinate falls into, the outermost for those outside."""
    place = (value - origin) * scale
    return int(min(place, count - 1.0)) if place > 0 else 0


@parallel_jit
@no_type_check
def lay_out(extents, members, starts):
    """The grid of each group, without its entries.

    Args:
        extents: (M, 5), in the order of `members`.
        members: (M,) sorted by group.
        starts: (G + 1,) where each group begins.

    Returns:
        `corners`, `frames`, `sizes` and `bases` of Grid, and (C + 1,) `cells`.
    """
    groups = len(starts) - 1
    corners = np.empty((len(members), 2), dtype=np.int32)
    frames, sizes = np.zeros((groups, 4)), np.ones((groups, 2), dtype=np.int64)
    for g in prange(groups):
        n = starts[g + 1] - starts[g]
        low = np.full(2, np.inf)
        high = np.full(2, -np.inf)
        squares = np.zeros(2)
        for m in range(starts[g], starts[g + 1]):
            for axis in range(2):
                low[axis] = min(low[axis], extents[m, axis])
                high[axis] = max(high[axis], extents[m, axis + 2])
                squares[axis] += (extents[m, axis + 2] - extents[m, axis]) ** 2
        fit = np.ones(2)
        for axis in range(2):
            cell = np.sqrt(squares[axis] / max(n, 1))
            # No more than n cells along one axis; where all lie in one place, one.
            ratio = (high[axis] - low[axis]) / cell
            fit[axis] = min(ratio, n) if ratio > 1 else 1.0
        shrink = max(1.0, np.sqrt(fit[0] * fit[1] / max(n, 1)))
        for axis in range(2):
            sizes[g, axis] = max(1, int(fit[axis] / shrink))
            span = high[axis] - low[axis]
            frames[g, axis] = low[axis]
            frames[g, axis + 2] = sizes[g, axis] / span if sizes[g, axis] > 1 else 0.0
        # Where the one axis came out as a single cell, the other keeps what n allows.
        sizes[g, 0] = min(sizes[g, 0], max(1, n // sizes[g, 1]))
        frames[g, 2] = sizes[g, 0] / (high[0] - low[0]) if sizes[g, 0] > 1 else 0.0
    bases = np.zeros(groups + 1, dtype=np.int64)
    for g in range(groups):
        bases[g + 1] = bases[g] + sizes[g, 0] * sizes[g, 1]
    cells = np.zeros(bases[groups] + 1, dtype=np.int64)
    for g in prange(groups):
        for m in range(starts[g], starts[g + 1]):
            corners[m, 0] = _cell(extents[m, _X0], frames[g, 0], frames[g, 2], sizes[g, 0])
            corners[m, 1] = _cell(extents[m, _Y0], frames[g, 1], frames[g, 3], sizes[g, 1])
            last_column = _cell(extents[m, _X1], frames[g, 0], frames[g, 2], sizes[g, 0])
            last_row = _cell(extents[m, _Y1], frames[g, 1], frames[g, 3], sizes[g, 1])
            for row in range(corners[m, 1], last_row + 1):
                for column in range(corners[m, 0], last_column + 1):
                    cells[bases[g] + row * sizes[g, 0] + column + 1] += 1
    for c in range(bases[groups]):
        cells[c + 1] += cells[c]
    return corners, frames, sizes, bases, cells


@parallel_jit
@no_type_check
def fill_cells(extents, starts, corners, frames, sizes, bases, cells):
    """The `entries` of Grid."""
    entries = np.empty(cells[-1], dtype=np.int64)
    position = cells.copy()
    for g in prange(len(starts) - 1):
        for m in range(starts[g], starts[g + 1]):
            last_column = _cell(extents[m, _X1], frames[g, 0], frames[g, 2], sizes[g, 0])
            last_row = _cell(extents[m, _Y1], frames[g, 1], frames[g, 3], sizes[g, 1])
            for row in range(corners[m, 1], last_row + 1):
                for column in range(corners[m, 0], last_column + 1):
                    c = bases[g] + row * sizes[g, 0] + column
                    entries[position[c]] = m
                    position[c] += 1
    return entries


@inlined
@no_type_check
def _scan(box, i, g, grid, least, first, second, position, stop):
    """Counts the boxes of group g whose overlap with `box` may reach `least`, and writes them as far as there is room.

    Args:
        box: (5,) its extents.
        i: Its number.
        g: The group.
        grid: Grid.
        least: The least IoU.
        first: Its number is written here,
        second: the others' here,
        position: from here on,
        stop: before here.
    """
    columns, base = grid.sizes[g, 0], grid.bases[g]
    column0 = _cell(box[_X0], grid.frames[g, 0], grid.frames[g, 2], columns)
    row0 = _cell(box[_Y0], grid.frames[g, 1], grid.frames[g, 3], grid.sizes[g, 1])
    column1 = _cell(box[_X1], grid.frames[g, 0], grid.frames[g, 2], columns)
    row1 = _cell(box[_Y1], grid.frames[g, 1], grid.frames[g, 3], grid.sizes[g, 1])
    start = position
    for row in range(row0, row1 + 1):
        for column in range(column0, column1 + 1):
            c = base + row * columns + column
            for e in range(grid.cells[c], grid.cells[c + 1]):
                m = grid.entries[e]
                wide = min(box[_X1], grid.extents[m, _X1]) - max(box[_X0], grid.extents[m, _X0])
                high = min(box[_Y1], grid.extents[m, _Y1]) - max(box[_Y0], grid.extents[m, _Y0])
                # What the two have in common lies within that, and within each.
                common = min(max(wide, 0.0) * max(high, 0.0), min(box[_AREA], grid.extents[m, _AREA]))
                enough = common * (1 + least) >= least * (box[_AREA] + grid.extents[m, _AREA]) * _SLACK
                # What several cells share counts in the first of them only.
                anew = ((grid.corners[m, 0] == column) | (column0 == column)) & (
                    (grid.corners[m, 1] == row) | (row0 == row)
                )
                if (common > 0) & enough & anew:
                    if position < stop:
                        first[position] = i
                        second[position] = grid.members[m]
                    position += 1
    return position - start


@parallel_jit
@no_type_check
def scan(extents, slot, lowest, grid, least, starts):
    """The pairs of a box and one of its group in the grid whose IoU may be `least` or more, as far as there is room.

    Args:
        extents: (N, 5).
        slot: (N,) each box's group, in the grid or not.
        lowest: The number of the grid's first group.
        grid: Grid.
        least: The least IoU.
        starts: (C + 1,) where the room of each run of _RUN boxes begins.

    Returns:
        (K,) indices into `extents`, (K,) into what the grid was made of; (C,) how many pairs each run has, also where
        there was no room for all of them.
    """
    n = len(extents)
    counts = np.zeros(len(starts) - 1, dtype=np.int64)
    first = np.empty(starts[-1], dtype=np.int64)
    second = np.empty(starts[-1], dtype=np.int64)
    for c in prange(len(counts)):
        position = starts[c]
        for i in range(c * _RUN, min((c + 1) * _RUN, n)):
            g = slot[i] - lowest
            if 0 <= g < len(grid.sizes):
                position += _scan(extents[i], i, g, grid, least, first, second, position, starts[c + 1])
        counts[c] = position - starts[c]
    return first, second, counts


@parallel_jit
@no_type_check
def close_up(first, second, starts, offsets):
    """Copies the pairs of each run, from `starts` on, to where it is to begin in `offsets`, without gaps."""
    near, far = np.empty(offsets[-1], dtype=np.int64), np.empty(offsets[-1], dtype=np.int64)
    for c in prange(len(offsets) - 1):
        count = offsets[c + 1] - offsets[c]
        near[offsets[c] : offsets[c + 1]] = first[starts[c] : starts[c] + count]
        far[offsets[c] : offsets[c + 1]] = second[starts[c] : starts[c] + count]
    return near, far


def near_pairs(
    extents: np.ndarray, slot: np.ndarray, lowest: int, grid: Grid, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of a box and one of its group in the grid whose IoU may be `least` or more.

    Args:
        extents: (N, 5); fastest where those of one group follow each other.
        slot: (N,) each box's group, in the grid or not.
        lowest: The number of the grid's first group.
        grid: What to search.
        least: The least IoU, from 0 to 1.

    Returns:
        (K,) indices into `extents`, never falling, and (K,) into what the grid was made of.
    """
    runs = -(-len(extents) // _RUN)
    starts = np.arange(runs + 1) * (_ROOM * _RUN)
    first, second, counts = scan(extents, slot, lowest, grid, least, starts)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    if (counts > _ROOM * _RUN).any():
        # Crowded: again, now that the counts are known.
        return scan(extents, slot, lowest, grid, least, offsets)[:2]
    return close_up(first, second, starts, offsets)
