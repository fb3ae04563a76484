"""Windows over large images: where they lie, what of an image's objects each holds, and the way back.

The rule is DOTA's (1024 px, gap 200), as MMRotate's `tools/data/dota/split/img_split.py` has it: windows a step of
size - gap apart, the last one of a row or column moved back so that it ends with the image; an object belongs to a
window if at least `iof_threshold` of its area lies inside, and keeps its full outline there. What differs: of an object
that the image's own border cuts, only the part on the image counts, since no window sees more of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rbox_formats._geometry import quad_area, rbox_to_quad
from rbox_formats._records import ImageRecord
from rbox_formats._typing import BoxesN, Image, QuadsN, ScoresN
from rbox_formats.errors import FormatsError

# What lies beyond the image's border, as in DOTA's windows: RGB of MMRotate's padding value.
PADDING = (104, 116, 124)


class Window(NamedTuple):
    """A square piece of an image: its left upper corner and its side, in pixels. It may reach beyond the border."""

    x: int
    y: int
    size: int


def default_gap(size: int) -> int:
    """How far windows of this side overlap where nobody says: DOTA's 200 px at 1024, and in proportion."""
    return round(size * 200 / 1024)


def windows(width: int, height: int, size: int = 1024, gap: int = 200) -> list[Window]:
    """The windows that cover an image, row by row.

    Args:
        width: The image's, in pixels.
        height: The image's, in pixels.
        size: The windows' side, in pixels.
        gap: How far neighbours overlap, in pixels.

    Returns:
        At least one; in an image that is smaller than `size` the window reaches beyond the border.

    Raises:
        FormatsError: If the gap is not in [0, size), or a size is not positive.
    """
    if min(width, height, size) < 1:
        raise FormatsError(f"expected positive sizes, got an image of {width}x{height} and windows of {size}")
    if not 0 <= gap < size:
        raise FormatsError(f"expected a gap between windows from 0 to {size - 1}, got {gap}")
    return [Window(x, y, size) for y in _starts(height, size, gap) for x in _starts(width, size, gap)]


def _starts(length: int, size: int, gap: int) -> list[int]:
    last = max(length - size, 0)
    return [*range(0, last, size - gap), last]


def crop(image: Image, window: Window) -> Image:
    """The window's pixels: (size, size, 3) uint8 of an image (height, width, 3), `PADDING` beyond its border."""
    piece = image[window.y : window.y + window.size, window.x : window.x + window.size]
    if piece.shape[:2] == (window.size, window.size):
        return piece
    padded = np.empty((window.size, window.size, 3), dtype=image.dtype)
    padded[:] = PADDING
    padded[: piece.shape[0], : piece.shape[1]] = piece
    return padded


def clip_to_window(record: ImageRecord, window: Window, iof_threshold: float = 0.7) -> ImageRecord:
    """What of an image's objects belongs to a window, in the window's coordinates.

    Args:
        record: The image.
        window: The window.
        iof_threshold: The least share of an object's area on the image that lies inside the window; an object without
            area there counts by its centre.

    Returns:
        A record of width and height `window.size`. Boxes and quads keep their full outline, also beyond the border.
    """
    quads = rbox_to_quad(record.boxes) if record.quads is None else record.quads
    low = np.array([window.x, window.y], dtype=np.float64)
    inside = _areas_inside(quads, low, low + window.size)
    on_image = quad_area(quads)
    if record.width is not None and record.height is not None:
        on_image = _areas_inside(quads, np.zeros(2), np.array([record.width, record.height], dtype=np.float64))
    centres = quads.mean(axis=1)
    by_centre = ((centres >= low) & (centres < low + window.size)).all(axis=1)
    part = record.select(np.where(on_image > 0, inside >= iof_threshold * on_image * (1 - 1e-12), by_centre))
    return ImageRecord(
        image_id=part.image_id,
        boxes=_shifted(part.boxes, -window.x, -window.y),
        labels=part.labels,
        quads=None if part.quads is None else part.quads - (window.x, window.y),
        difficult=part.difficult,
        scores=part.scores,
        path=part.path,
        width=window.size,
        height=window.size,
        metadata=part.metadata,
    )


def to_image(boxes: BoxesN, window: Window) -> BoxesN:
    """Boxes (N, 5) of a window, in the image's coordinates."""
    return _shifted(boxes, window.x, window.y)


def _shifted(boxes: BoxesN, x: int, y: int) -> BoxesN:
    return boxes + np.array([x, y, 0, 0, 0], dtype=np.float64)


def _areas_inside(quads: QuadsN, low: Any, high: Any) -> ScoresN:
    """The area of each quad inside an upright rectangle (N,)."""
    areas: ScoresN = np.where(((quads >= low) & (quads <= high)).all(axis=(1, 2)), quad_area(quads), 0.0)
    outside = (quads.max(axis=1) <= low).any(axis=1) | (quads.min(axis=1) >= high).any(axis=1)
    for i in np.flatnonzero((areas == 0) & ~outside):
        areas[i] = _area_inside(quads[i].tolist(), low, high)
    return areas


def _area_inside(polygon: list[list[float]], low: Any, high: Any) -> float:
    """The area of a polygon inside an upright rectangle: Sutherland and Hodgman's clipping, then the shoelace."""
    for axis in (0, 1):
        for bound, sign in ((low[axis], 1.0), (high[axis], -1.0)):
            clipped = []
            for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True):
                a_depth, b_depth = sign * (a[axis] - bound), sign * (b[axis] - bound)
                if a_depth >= 0:
                    clipped.append(a)
                if (a_depth >= 0) != (b_depth >= 0):
                    t = a_depth / (a_depth - b_depth)
                    clipped.append([a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])])
            polygon = clipped
    x0, y0 = polygon[0] if polygon else (0.0, 0.0)
    return (
        abs(
            sum(
                (a[0] - x0) * (b[1] - y0) - (b[0] - x0) * (a[1] - y0)
                for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True)
            )
        )
        / 2
    )
