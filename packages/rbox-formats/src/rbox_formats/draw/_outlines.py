"""Outlines of quads and ticks that show their angles.

Lines are blended by their distance from each pixel's middle, which places them exactly where Pillow would round to
whole pixels.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from PIL import Image

from rbox_formats.draw._colours import HALO, class_colour

_HALO_OPACITY = 0.8
_ROUND = 1.15  # a longer side over the shorter one, below which an object counts as round


def directions_of(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (..., 2) scaled to length 1; vectors of zeros are returned unchanged."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9))


def sides_of(quads: np.ndarray) -> np.ndarray:
    """Return the sides (N, 4, 2, 2) of quads (N, 4, 2), as their two ends."""
    return np.stack([quads, np.roll(quads, -1, axis=1)], axis=2)


def extents_of(quads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the longest and the shortest of each quad's sides, (N,) each, opposite sides counted by their mean."""
    lengths = np.linalg.norm(np.diff(sides_of(quads), axis=2)[:, :, 0], axis=-1)
    pairs = (lengths[:, :2] + lengths[:, 2:]) / 2
    return pairs.max(axis=1), pairs.min(axis=1)


def find_ticks(quads: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Return a short line (N, 2, 2) out of each quad, from the middle of the side that faces the way its angle points.

    Of a quad that is nearly a square, whose angle says nothing of a tank or a roundabout, both ends are one point.
    """
    pointing = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    middles = sides_of(quads).mean(axis=2)
    facing = ((middles - quads.mean(axis=1, keepdims=True)) @ pointing[:, :, None])[..., 0].argmax(axis=1)
    start = middles[np.arange(len(quads)), facing]
    long, short = extents_of(quads)
    length = np.where(long < _ROUND * short, 0, np.clip(0.3 * short, 3, 12))
    return np.stack([start, start + pointing * length[:, None]], axis=1)


def draw_outlines(
    canvas: Image.Image, quads: np.ndarray, ticks: np.ndarray, labels: np.ndarray, line_width: float | None
) -> None:
    """Draw the sides of quads (N, 4, 2) and their ticks (N, 2, 2) in the colours of their labels (N,)."""
    _, short = extents_of(quads)
    if line_width is None:
        widths = np.clip(short / 9, 1.0, min(3.0, max(1.75, max(canvas.size) / 500)))
    else:
        widths = np.full(len(quads), float(line_width))
    segments = np.concatenate([sides_of(quads), ticks[:, None]], axis=1)
    # All halos first, so that none lies on another object's line.
    halos = _coverage(canvas.size, segments, widths + np.clip(widths, 1.0, 2.0))
    canvas.paste(HALO, mask=halos.point([round(value * _HALO_OPACITY) for value in range(256)]))
    for label in np.unique(labels).tolist():
        its = labels == label
        canvas.paste(class_colour(label), mask=_coverage(canvas.size, segments[its], widths[its]))


def _coverage(size: tuple[int, int], segments: np.ndarray, widths: np.ndarray) -> Image.Image:
    """Return how much of each pixel (0 to 255) lines with round ends cover.

    Args:
        size: Width and height, px.
        segments: (N, K, 2, 2): K straight lines of one object by their ends.
        widths: (N,), px.
    """
    covered = np.zeros(size[::-1], np.uint8)
    flat = segments.reshape(-1, 2, 2)
    inside, kept = _clipped(flat, size, float(widths.max(initial=0)) + 1)
    for (start, end), width in zip(inside, np.repeat(widths, segments.shape[1])[kept].tolist(), strict=True):
        # In short pieces, since only pixels in a piece's upright box are looked at.
        cuts = np.linspace(start, end, max(2, math.ceil(float(np.abs(end - start).max()) / 48) + 1))
        for a, b in pairwise(cuts):
            _add_piece(covered, a.tolist(), b.tolist(), width)
    return Image.fromarray(covered)


def _clipped(segments: np.ndarray, size: tuple[int, int], margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the parts of lines (N, 2, 2) inside the canvas and a margin around it, and which of them (N,) have one.

    After Liang and Barsky (1984), two slabs at once: far-off coordinates must not cost time.
    """
    start, step = segments[:, 0], segments[:, 1] - segments[:, 0]
    step = np.where(step == 0, 1e-12, step)
    to_low, to_high = (-margin - start) / step, (np.array(size) + margin - start) / step
    enter = np.minimum(to_low, to_high).max(axis=1).clip(min=0)
    leave = np.maximum(to_low, to_high).min(axis=1).clip(max=1)
    kept = enter <= leave
    return np.stack([start + step * enter[:, None], start + step * leave[:, None]], axis=1)[kept], kept


def _add_piece(covered: np.ndarray, a: list[float], b: list[float], width: float) -> None:
    reach = width / 2 + 1
    x0, x1 = max(0, math.floor(min(a[0], b[0]) - reach)), min(covered.shape[1], math.ceil(max(a[0], b[0]) + reach))
    y0, y1 = max(0, math.floor(min(a[1], b[1]) - reach)), min(covered.shape[0], math.ceil(max(a[1], b[1]) + reach))
    if x0 >= x1 or y0 >= y1:
        return
    dx, dy = b[0] - a[0], b[1] - a[1]
    x, y = np.arange(x0, x1) + (0.5 - a[0]), (np.arange(y0, y1) + (0.5 - a[1]))[:, None]
    along = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
    distance = np.hypot(x - along * dx, y - along * dy)
    piece = covered[y0:y1, x0:x1]
    np.maximum(piece, np.rint(np.clip((width / 2 + 0.5 - distance) * 255, 0, 255)).astype(np.uint8), out=piece)
