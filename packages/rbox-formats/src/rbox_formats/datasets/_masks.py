"""COCO's masks in run lengths, as the least rectangles around them."""

from __future__ import annotations

import numpy as np

from rbox_formats._geometry import quad_around
from rbox_formats.parsing.json_values import Value

_LARGEST = 2**31
_SHIFT = 48  # what the first of the letters stands for


def rectangle_around(mask: Value) -> list[float] | None:
    """Return the least rectangle around a mask, as eight numbers in pixels; None where the mask is empty.

    The mask's runs go down the columns, from the first column on, by turns outside and inside of the object. A pixel is
    a square of side 1, with its corners.

    Args:
        mask: `{"counts": ..., "size": [height, width]}`, the counts as a list of numbers, or as pycocotools packs them
            into a text.

    Raises:
        DatasetError: If it is something else, or its runs do not fill the image.
    """
    height, width = (side.side() for side in _two(mask["size"]))
    counts = mask["counts"]
    runs = np.array(_unpacked(counts) if isinstance(counts.value, str) else [c.integer() for c in counts.items()])
    if len(runs) and (runs.min() < 0 or int(runs.sum()) != height * width):
        raise counts.error(f"runs that fill {height} times {width} pixels")
    ends = np.cumsum(runs, dtype=np.int64)
    first, last = ends[0::2][: len(ends) // 2], ends[1::2] - 1
    first, last = first[last >= first], last[last >= first]
    if not len(first):
        return None
    x0, x1 = first // height, last // height
    # A run over several columns reaches the first and the last row of them.
    y0 = np.where(x0 == x1, first % height, 0)
    y1 = np.where(x0 == x1, last % height, height - 1)
    # Of two columns or more, the first begins, and the last ends, inside.
    split = x0 != x1
    pieces = [
        (np.where(split, x0 + 1, x0), y0, np.where(split, x1 - 1, x1), y1, ~split | (x1 > x0 + 1)),
        (x0, first % height, x0, np.full_like(y1, height - 1), split),
        (x1, np.zeros_like(y0), x1, last % height, split),
    ]
    corners = []
    for left, top, right, bottom, there in pieces:
        for x, y in ((left, top), (right + 1, top), (right + 1, bottom + 1), (left, bottom + 1)):
            corners.append(np.stack([x, y], axis=1)[there])
    points = np.unique(np.concatenate(corners), axis=0).astype(np.float64)
    return quad_around(_outermost(points))


def _two(size: Value) -> list[Value]:
    sides = list(size.items())
    if len(sides) != 2:
        raise size.error("height and width")
    return sides


def _unpacked(counts: Value) -> list[int]:
    """Return the run lengths of pycocotools' text: 5 bits a letter, from the third on as differences."""
    found: list[int] = []
    value = shift = 0
    for letter in counts.text():
        bits = ord(letter) - _SHIFT
        if not 0 <= bits < 64 or shift > 30:
            raise counts.error("run lengths as pycocotools packs them")
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            value -= (1 << shift) if bits & 0x10 else 0
            value += found[-2] if len(found) > 2 else 0
            if not 0 <= value < _LARGEST:
                raise counts.error("run lengths of 0 or more")
            found.append(value)
            value = shift = 0
    if shift:
        raise counts.error("run lengths as pycocotools packs them")
    return found


def _outermost(points: np.ndarray) -> np.ndarray:
    """Return the lowest and the highest point of each column, all others being inside; (n, 2), at least five."""
    columns, starts = np.unique(points[:, 0], return_index=True)
    ends = np.append(starts[1:], len(points)) - 1  # sorted by column, then by row
    kept = np.concatenate([points[starts], points[ends]])
    # Four corners would be taken as the quad, in whatever order they are.
    return np.concatenate([kept, kept.mean(axis=0, keepdims=True), kept[:1]]) if len(columns) else kept
