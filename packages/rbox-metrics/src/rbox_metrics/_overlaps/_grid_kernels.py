"""Which upright boxes of one group meet, found by a grid over each group, compiled by Numba.

Each group, such as an image, has its own grid, with at most as many cells as boxes. The borders of columns and rows lie
between boxes, so that each column has about equally many boxes: columns are narrow where boxes crowd, and a box that is
far away or very large, such as a broken one, does not disturb the others. The reach of a box is the number of centres
that it extends over. A column extends over at least the root mean square of the reaches, so the boxes of a group cover
at most about nine cells per box (by Cauchy and Schwarz). Memory is linear in the number of boxes, whatever their sizes,
and so is time unless boxes crowd.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, no_type_check

import numpy as np

from rbox_metrics._jit import in_parts, inlined, jit

# The columns of extents: half-open upright boxes around boxes or quads, and last the area of the box or quad.
_X0, _Y0, _X1, _Y1, _AREA = range(5)

# An upper bound of the share by which the rounding of two areas and a quotient may change an overlap.
_SLACK = 1 - 1e-9

# How many boxes are searched for together, and for how many pairs each has room at first.
_RUN = 512
_ROOM = 4

# How many pairs are yielded at a time where boxes crowd: 64 MiB. The pairs of one box are never separated.
_MOST = 2**22


class Grid(NamedTuple):
    """Boxes by group, and by cell within each.

    Attributes:
        members: (M,) the boxes sorted by group, and by the first cell that each covers.
        starts: (G + 1,) where each group begins in `members`.
        extents: (M, 5) the members' extents.
        spans: (M, 4) the first column and row that each covers, and the last ones.
        marks: (K,) where each grid's columns after the first begin, in x, and then its rows, in y.
        edges: (G + 1,) where each grid begins in `marks`.
        sizes: (G, 2) its columns and rows.
        bases: (G + 1,) the number of its first cell.
        cells: (C + 1,) where each cell begins in `entries`.
        entries: (E,) places in `members`: what lies in each cell, in part or wholly.
    """

    members: np.ndarray
    starts: np.ndarray
    extents: np.ndarray
    spans: np.ndarray
    marks: np.ndarray
    edges: np.ndarray
    sizes: np.ndarray
    bases: np.ndarray
    cells: np.ndarray
    entries: np.ndarray


@inlined
@no_type_check
def _up_to(values, low, high, value):
    """Return how many of the rising values[low:high] are at most `value`."""
    first = low
    while low < high:
        middle = (low + high) // 2
        if values[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low - first


def lay_out(extents: np.ndarray, members: np.ndarray, starts: np.ndarray) -> Grid:
    """Lay out the grid of each group.

    Args:
        extents: (M, 5), in the order of `members`.
        members: (M,) sorted by group.
        starts: (G + 1,) where each group begins.
    """
    groups, work = len(starts) - 1, len(members)
    sizes = np.empty((groups, 2), dtype=np.int64)
    across, down = (_centres(extents, axis, starts) for axis in (_X0, _Y0))
    in_parts(_size, groups, work, extents, starts, across, down, sizes, bounds=starts)
    bases, edges = np.zeros(groups + 1, dtype=np.int64), np.zeros(groups + 1, dtype=np.int64)
    np.cumsum(sizes[:, 0] * sizes[:, 1], out=bases[1:])
    np.cumsum(sizes.sum(axis=1) - 2, out=edges[1:])
    marks, cells = np.empty(edges[-1]), np.zeros(bases[-1] + 1, dtype=np.int64)
    spans = np.empty((work, 4), dtype=np.int32)
    in_parts(
        _count_cells,
        groups,
        work,
        extents,
        starts,
        across,
        down,
        sizes,
        edges,
        marks,
        bases,
        spans,
        cells,
        bounds=starts,
    )
    np.cumsum(cells, out=cells)
    # Sorted by the first cell of each: what is read together is then close in memory.
    base, columns = (np.repeat(each, np.diff(starts)) for each in (bases[:-1], sizes[:, 0]))
    order = np.argsort(base + spans[:, 1] * columns + spans[:, 0], kind="stable")
    members, extents, spans = members[order], extents[order], spans[order]
    entries, position = np.empty(cells[-1], dtype=np.int64), cells.copy()
    in_parts(_fill_cells, groups, work, starts, sizes, bases, spans, position, entries, bounds=starts)
    return Grid(members, starts, extents, spans, marks, edges, sizes, bases, cells, entries)


def _centres(extents: np.ndarray, axis: int, starts: np.ndarray) -> np.ndarray:
    """Return (M,) the centres along an axis, rising within each group."""
    middles = extents[:, axis] / 2 + extents[:, axis + 2] / 2
    order = np.argsort(middles)
    if len(starts) > 2:
        group = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        order = order[np.argsort(group[order], kind="stable")]
    return middles[order]


@inlined
@no_type_check
def _fit(squares, n):
    """Return how many columns n boxes need, `squares` being the sum of squared reaches in centres; at most n."""
    return min(n / np.sqrt(squares / max(n, 1)), n)


@jit
@no_type_check
def _size(begin, end, extents, starts, across, down, sizes):
    for g in range(begin, end):
        first, last = starts[g], starts[g + 1]
        n = last - first
        squares_x, squares_y = 0.0, 0.0
        for m in range(first, last):
            reach_x = _up_to(across, first, last, extents[m, _X1]) - _up_to(across, first, last, extents[m, _X0])
            reach_y = _up_to(down, first, last, extents[m, _Y1]) - _up_to(down, first, last, extents[m, _Y0])
            squares_x += float(reach_x) ** 2
            squares_y += float(reach_y) ** 2
        fit_x, fit_y = _fit(squares_x, n), _fit(squares_y, n)
        shrink = max(1.0, np.sqrt(fit_x * fit_y / max(n, 1)))
        columns, rows = max(1, int(fit_x / shrink)), max(1, int(fit_y / shrink))
        # If one axis has a single cell, the other may have as many as n allows.
        columns = min(columns, max(1, n // rows))
        sizes[g, 0], sizes[g, 1] = columns, rows


@jit
@no_type_check
def _count_cells(begin, end, extents, starts, across, down, sizes, edges, marks, bases, spans, cells):
    for g in range(begin, end):
        first, n, columns, rows = starts[g], starts[g + 1] - starts[g], sizes[g, 0], sizes[g, 1]
        left, middle, right = edges[g], edges[g] + columns - 1, edges[g + 1]
        for k in range(1, columns):
            marks[left + k - 1] = across[first + k * n // columns]
        for k in range(1, rows):
            marks[middle + k - 1] = down[first + k * n // rows]
        for m in range(first, first + n):
            spans[m, 0] = _up_to(marks, left, middle, extents[m, _X0])
            spans[m, 1] = _up_to(marks, middle, right, extents[m, _Y0])
            spans[m, 2] = _up_to(marks, left, middle, extents[m, _X1])
            spans[m, 3] = _up_to(marks, middle, right, extents[m, _Y1])
            for row in range(spans[m, 1], spans[m, 3] + 1):
                for column in range(spans[m, 0], spans[m, 2] + 1):
                    cells[bases[g] + row * columns + column + 1] += 1


@jit
@no_type_check
def _fill_cells(begin, end, starts, sizes, bases, spans, position, entries):
    for g in range(begin, end):
        for m in range(starts[g], starts[g + 1]):
            for row in range(spans[m, 1], spans[m, 3] + 1):
                for column in range(spans[m, 0], spans[m, 2] + 1):
                    c = bases[g] + row * sizes[g, 0] + column
                    entries[position[c]] = m
                    position[c] += 1


@jit
@no_type_check
def _scan(
    begin, end, boxes, slot, lowest, least, run, starts, extents, members, spans, marks, edges, sizes, bases, cells,
    entries, first, second, counts,
):  # fmt: skip
    """Count the pairs of each run of boxes, and write them as far as there is room.

    Args:
        begin: The first run.
        end: The run after the last.
        boxes: (N, 5) the extents of the boxes to search for.
        slot: (N,) the group of each box, which need not be in the grid.
        lowest: The number of the grid's first group.
        least: The least IoU.
        run: How many boxes are a run.
        starts: (C + 1,) where the room of each run begins in `first` and `second`.
        extents: As in `Grid`.
        members: As in `Grid`.
        spans: As in `Grid`.
        marks: As in `Grid`.
        edges: As in `Grid`.
        sizes: As in `Grid`.
        bases: As in `Grid`.
        cells: As in `Grid`.
        entries: As in `Grid`.
        first: (K,) output: the index of the box of each pair.
        second: (K,) output: the index of the grid's box of each pair.
        counts: (C,) output: how many pairs each run has.
    """
    for c in range(begin, end):
        position, stop = starts[c], starts[c + 1]
        for i in range(c * run, min((c + 1) * run, len(boxes))):
            g = slot[i] - lowest
            if g < 0 or g >= len(sizes):
                continue
            x0, y0, x1, y1, area = boxes[i, _X0], boxes[i, _Y0], boxes[i, _X1], boxes[i, _Y1], boxes[i, _AREA]
            left, middle, right = edges[g], edges[g] + sizes[g, 0] - 1, edges[g + 1]
            column0, column1 = _up_to(marks, left, middle, x0), _up_to(marks, left, middle, x1)
            row0, row1 = _up_to(marks, middle, right, y0), _up_to(marks, middle, right, y1)
            for row in range(row0, row1 + 1):
                for column in range(column0, column1 + 1):
                    cell = bases[g] + row * sizes[g, 0] + column
                    for e in range(cells[cell], cells[cell + 1]):
                        m = entries[e]
                        wide = min(x1, extents[m, _X1]) - max(x0, extents[m, _X0])
                        high = min(y1, extents[m, _Y1]) - max(y0, extents[m, _Y0])
                        # The common area is at most that of the common extent, and at most the area of each.
                        common = min(max(wide, 0.0) * max(high, 0.0), min(area, extents[m, _AREA]))
                        enough = common * (1 + least) >= least * (area + extents[m, _AREA]) * _SLACK
                        # A pair that shares several cells counts in the first of them only.
                        anew = ((spans[m, 0] == column) | (column0 == column)) & ((spans[m, 1] == row) | (row0 == row))
                        if (common > 0) & enough & anew:
                            if position < stop:
                                first[position] = i
                                second[position] = members[m]
                            position += 1
        counts[c] = position - starts[c]


def near_pairs(
    extents: np.ndarray, slot: np.ndarray, lowest: int, grid: Grid, least: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs of a box and a box of its group in the grid whose IoU may be `least` or more.

    Args:
        extents: (N, 5) the extents of the boxes to search for; fastest if those of one group are neighbours.
        slot: (N,) the group of each box, which need not be in the grid.
        lowest: The number of the grid's first group.
        grid: What to search.
        least: The least IoU, from 0 to 1.

    Yields:
        (K,) indices into `extents`, never falling, and (K,) indices into the boxes of the grid. All at once, or, if
        they are many, for a few boxes at a time: at most `_MOST` pairs, or those of a single box.
    """

    def scan(begin: int, end: int, run: int, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        first, second = np.empty(starts[-1], dtype=np.int64), np.empty(starts[-1], dtype=np.int64)
        counts = np.zeros(len(starts) - 1, dtype=np.int64)
        in_parts(
            _scan, len(counts), end - begin, extents[begin:end], slot[begin:end], lowest, least, run, starts,
            grid.extents, grid.members, grid.spans, grid.marks, grid.edges, grid.sizes, grid.bases, grid.cells,
            grid.entries, first, second, counts,
        )  # fmt: skip
        return first, second, counts

    total, runs = len(extents), -(-len(extents) // _RUN)
    starts = np.arange(runs + 1) * (_ROOM * _RUN)
    first, second, counts = scan(0, total, _RUN, starts)
    if (counts <= _ROOM * _RUN).all():
        yield (
            (first[: counts.sum()], second[: counts.sum()]) if runs <= 1 else _closed_up(first, second, starts, counts)
        )
        return
    # Boxes crowd: search again, now that the counts are known.
    if counts.sum() <= _MOST:
        yield scan(0, total, _RUN, _sums(counts))[:2]
        return
    bounds = _sums(scan(0, total, 1, np.zeros(total + 1, dtype=np.int64))[2])
    begin = 0
    while begin < total:
        end = max(begin + 1, int(np.searchsorted(bounds, bounds[begin] + _MOST, side="right")) - 1)
        first, second, _ = scan(begin, end, 1, bounds[begin : end + 1] - bounds[begin])
        yield first + begin, second
        begin = end


def _sums(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def _closed_up(
    first: np.ndarray, second: np.ndarray, starts: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs without the unused room between the runs."""
    near, far = (
        np.concatenate([column[start : start + count] for start, count in zip(starts, counts, strict=False)])
        for column in (first, second)
    )
    return near, far
