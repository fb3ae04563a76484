"""Which upright boxes of one group meet: a grid over each group, compiled by Numba.

Each group, such as an image, has a grid of its own of no more cells than it has boxes. A cell's sides are at least the
root mean squares of its boxes' widths and heights, so that all the boxes of a group together cover some nine cells a
box at the most (by Cauchy and Schwarz): memory is linear in the boxes whatever their sizes, and so is time where boxes
do not crowd.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np

from rbox_metrics._jit import in_parts, inlined, jit

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


def lay_out(extents: np.ndarray, members: np.ndarray, starts: np.ndarray) -> Grid:
    """The grid of each group.

    Args:
        extents: (M, 5), in the order of `members`.
        members: (M,) sorted by group.
        starts: (G + 1,) where each group begins.
    """
    groups, work = len(starts) - 1, len(members)
    frames, sizes = np.empty((groups, 4)), np.empty((groups, 2), dtype=np.int64)
    in_parts(_frame, groups, work, extents, starts, frames, sizes, bounds=starts)
    bases = np.zeros(groups + 1, dtype=np.int64)
    np.cumsum(sizes[:, 0] * sizes[:, 1], out=bases[1:])
    corners, cells = np.empty((work, 2), dtype=np.int32), np.zeros(bases[-1] + 1, dtype=np.int64)
    in_parts(_count_cells, groups, work, extents, starts, frames, sizes, bases, corners, cells, bounds=starts)
    np.cumsum(cells, out=cells)
    entries, position = np.empty(cells[-1], dtype=np.int64), cells.copy()
    in_parts(
        _fill_cells, groups, work, extents, starts, frames, sizes, bases, corners, position, entries, bounds=starts
    )
    return Grid(members, starts, extents, corners, frames, sizes, bases, cells, entries)


@inlined
@no_type_check
def _fit(span, squares, n):
    """How many cells fit along an axis: no more than n; where all lie in one place, one."""
    ratio = span / np.sqrt(squares / max(n, 1))
    return min(ratio, n) if ratio > 1 else 1.0


@jit
@no_type_check
def _frame(begin, end, extents, starts, frames, sizes):
    for g in range(begin, end):
        n = starts[g + 1] - starts[g]
        x0, y0, x1, y1 = np.inf, np.inf, -np.inf, -np.inf
        squares_x, squares_y = 0.0, 0.0
        for m in range(starts[g], starts[g + 1]):
            x0, y0 = min(x0, extents[m, _X0]), min(y0, extents[m, _Y0])
            x1, y1 = max(x1, extents[m, _X1]), max(y1, extents[m, _Y1])
            squares_x += (extents[m, _X1] - extents[m, _X0]) ** 2
            squares_y += (extents[m, _Y1] - extents[m, _Y0]) ** 2
        fit_x, fit_y = _fit(x1 - x0, squares_x, n), _fit(y1 - y0, squares_y, n)
        shrink = max(1.0, np.sqrt(fit_x * fit_y / max(n, 1)))
        columns, rows = max(1, int(fit_x / shrink)), max(1, int(fit_y / shrink))
        # Where the one axis came out as a single cell, the other keeps what n allows.
        columns = min(columns, max(1, n // rows))
        sizes[g, 0], sizes[g, 1] = columns, rows
        frames[g, 0], frames[g, 1] = x0, y0
        frames[g, 2] = columns / (x1 - x0) if columns > 1 else 0.0
        frames[g, 3] = rows / (y1 - y0) if rows > 1 else 0.0


@jit
@no_type_check
def _count_cells(begin, end, extents, starts, frames, sizes, bases, corners, cells):
    for g in range(begin, end):
        for m in range(starts[g], starts[g + 1]):
            first_column = _cell(extents[m, _X0], frames[g, 0], frames[g, 2], sizes[g, 0])
            first_row = _cell(extents[m, _Y0], frames[g, 1], frames[g, 3], sizes[g, 1])
            last_column = _cell(extents[m, _X1], frames[g, 0], frames[g, 2], sizes[g, 0])
            last_row = _cell(extents[m, _Y1], frames[g, 1], frames[g, 3], sizes[g, 1])
            corners[m, 0], corners[m, 1] = first_column, first_row
            for row in range(first_row, last_row + 1):
                for column in range(first_column, last_column + 1):
                    cells[bases[g] + row * sizes[g, 0] + column + 1] += 1


@jit
@no_type_check
def _fill_cells(begin, end, extents, starts, frames, sizes, bases, corners, position, entries):
    for g in range(begin, end):
        for m in range(starts[g], starts[g + 1]):
            last_column = _cell(extents[m, _X1], frames[g, 0], frames[g, 2], sizes[g, 0])
            last_row = _cell(extents[m, _Y1], frames[g, 1], frames[g, 3], sizes[g, 1])
            for row in range(corners[m, 1], last_row + 1):
                for column in range(corners[m, 0], last_column + 1):
                    c = bases[g] + row * sizes[g, 0] + column
                    entries[position[c]] = m
                    position[c] += 1


@jit
@no_type_check
def _scan(
    begin, end, boxes, slot, lowest, least, starts, extents, members, corners, frames, sizes, bases, cells, entries,
    first, second, counts,
):  # fmt: skip
    """Counts the pairs of each run of boxes, and writes them as far as there is room.

    Args:
        begin: The first run,
        end: and behind the last.
        boxes: (N, 5) their extents.
        slot: (N,) each box's group, in the grid or not.
        lowest: The number of the grid's first group.
        least: The least IoU.
        starts: (C + 1,) where the room of each run of _RUN boxes begins.
        extents: This and what follows are the grid's.
        members: Likewise.
        corners: Likewise.
        frames: Likewise.
        sizes: Likewise.
        bases: Likewise.
        cells: Likewise.
        entries: Likewise.
        first: (K,) the box's number is written here,
        second: (K,) the other's here,
        counts: (C,) and here how many pairs each run has.
    """
    for c in range(begin, end):
        position, stop = starts[c], starts[c + 1]
        for i in range(c * _RUN, min((c + 1) * _RUN, len(boxes))):
            g = slot[i] - lowest
            if g < 0 or g >= len(sizes):
                continue
            x0, y0, x1, y1, area = boxes[i, _X0], boxes[i, _Y0], boxes[i, _X1], boxes[i, _Y1], boxes[i, _AREA]
            column0 = _cell(x0, frames[g, 0], frames[g, 2], sizes[g, 0])
            row0 = _cell(y0, frames[g, 1], frames[g, 3], sizes[g, 1])
            column1 = _cell(x1, frames[g, 0], frames[g, 2], sizes[g, 0])
            row1 = _cell(y1, frames[g, 1], frames[g, 3], sizes[g, 1])
            for row in range(row0, row1 + 1):
                for column in range(column0, column1 + 1):
                    cell = bases[g] + row * sizes[g, 0] + column
                    for e in range(cells[cell], cells[cell + 1]):
                        m = entries[e]
                        wide = min(x1, extents[m, _X1]) - max(x0, extents[m, _X0])
                        high = min(y1, extents[m, _Y1]) - max(y0, extents[m, _Y0])
                        # What the two have in common lies within that, and within each.
                        common = min(max(wide, 0.0) * max(high, 0.0), min(area, extents[m, _AREA]))
                        enough = common * (1 + least) >= least * (area + extents[m, _AREA]) * _SLACK
                        # What several cells share counts in the first of them only.
                        anew = ((corners[m, 0] == column) | (column0 == column)) & (
                            (corners[m, 1] == row) | (row0 == row)
                        )
                        if (common > 0) & enough & anew:
                            if position < stop:
                                first[position] = i
                                second[position] = members[m]
                            position += 1
        counts[c] = position - starts[c]


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
    counts = np.zeros(runs, dtype=np.int64)

    def scan(starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, second = np.empty(starts[-1], dtype=np.int64), np.empty(starts[-1], dtype=np.int64)
        in_parts(
            _scan, runs, len(extents), extents, slot, lowest, least, starts, grid.extents, grid.members, grid.corners,
            grid.frames, grid.sizes, grid.bases, grid.cells, grid.entries, first, second, counts,
        )  # fmt: skip
        return first, second

    starts = np.arange(runs + 1) * (_ROOM * _RUN)
    found = scan(starts)
    if (counts > _ROOM * _RUN).any():
        # Crowded: again, now that the counts are known.
        return scan(np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]))
    if runs <= 1:
        return found[0][: counts.sum()], found[1][: counts.sum()]
    # Closed up, without the room that is left between the runs.
    near, far = (
        np.concatenate([column[start : start + count] for start, count in zip(starts, counts, strict=False)])
        for column in found
    )
    return near, far
