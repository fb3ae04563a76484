"""Frames around objects, with numbers beside them that do not hide each other."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from rbox_formats.draw._colours import Colour
from rbox_formats.draw._labels import load_font

# No class has black or white, which together are visible on any ground.
_MARK: Colour = (255, 255, 255)
_EDGE: Colour = (0, 0, 0)
_FONT_SIZE, _PADDING, _HEIGHT = 13, 8, 18
_SPACE = 5  # px between an object and its frame
_FARTHEST = 30  # how far a number may be moved, in steps of its height


class _Rectangle(NamedTuple):
    """A rectangle in px of the canvas; both ends are inside, as in Pillow."""

    x0: int
    y0: int
    x1: int
    y1: int

    def meets(self, other: _Rectangle) -> bool:
        return self.x0 <= other.x1 and other.x0 <= self.x1 and self.y0 <= other.y1 and other.y0 <= self.y1


def draw_marks(canvas: Image.Image, quads: np.ndarray, numbered: int) -> None:
    """Draw an upright frame around each quad (N, 4, 2), in px of the canvas, and numbers at the first, from 1.

    A number stands at its frame's upper left corner or, where another number or frame is, at another place near; a line
    joins it to the frame where it is away from it. Frames and numbers are kept on the canvas.
    """
    draw = ImageDraw.Draw(canvas)
    frames = [_frame(quad, canvas.size) for quad in quads]
    for frame in frames:
        for grown, colour in ((2, _EDGE), (1, _MARK), (0, _MARK), (-1, _EDGE)):
            x0, y0, x1, y1 = frame.x0 - grown, frame.y0 - grown, frame.x1 + grown, frame.y1 + grown
            if x1 >= x0 and y1 >= y0:
                draw.rectangle((x0, y0, x1, y1), outline=colour)
    font = load_font(_FONT_SIZE)
    badges: list[_Rectangle] = []
    for number, frame in enumerate(frames[:numbered], start=1):
        width = math.ceil(font.getlength(str(number))) + _PADDING
        badges.append(_place(frame, (width, _HEIGHT), canvas.size, badges, frames))
    for badge, frame in zip(badges, frames, strict=False):
        if not badge.meets(_Rectangle(frame.x0 - 2, frame.y0 - 2, frame.x1 + 2, frame.y1 + 2)):
            line = (_middle(badge), _nearest(frame, _middle(badge)))
            draw.line(line, _EDGE, 4)
            draw.line(line, _MARK, 2)
    for number, badge in enumerate(badges, start=1):
        draw.rectangle(badge, _MARK, _EDGE)
        draw.text(_middle(badge), str(number), _EDGE, font, anchor="mm")


def _frame(quad: np.ndarray, size: tuple[int, int]) -> _Rectangle:
    limit = np.array(size) - 1
    low = np.clip(np.floor(np.clip(quad.min(axis=0), -1e6, 1e6)) - _SPACE, 0, limit)
    high = np.clip(np.ceil(np.clip(quad.max(axis=0), -1e6, 1e6)) + _SPACE, 0, limit)
    return _Rectangle(*low.astype(int).tolist(), *high.astype(int).tolist())


def _place(
    frame: _Rectangle,
    badge: tuple[int, int],
    size: tuple[int, int],
    badges: list[_Rectangle],
    frames: list[_Rectangle],
) -> _Rectangle:
    """Return where a frame's number goes: the first place that meets nothing, else no other number, else the first."""
    width, height = badge
    free: _Rectangle | None = None
    first: _Rectangle | None = None
    for step in range(_FARTHEST + 1):
        for x, y in _corners(frame, badge, step * height):
            x = min(max(x, 0), max(size[0] - width, 0))
            y = min(max(y, 0), max(size[1] - height, 0))
            place = _Rectangle(x, y, x + width - 1, y + height - 1)
            first = first or place
            if any(place.meets(other) for other in badges):
                continue
            free = free or place
            if not any(place.meets(other) for other in frames):
                return place
        # A number far away from its frame is harder to find than one on another frame.
        if free is not None and step >= 3:
            return free
    return free or first or _Rectangle(0, 0, width - 1, height - 1)


def _corners(frame: _Rectangle, badge: tuple[int, int], away: int) -> list[tuple[int, int]]:
    """Return places at a distance from a frame: above and below at both ends, then beside it, then inside."""
    width, height = badge
    left, right = frame.x0 - 1, frame.x1 + 2 - width
    above, below = frame.y0 - height - away, frame.y1 + 1 + away
    before, behind = frame.x0 - width - away, frame.x1 + 1 + away
    middle = (frame.y0 + frame.y1 - height) // 2
    at = [(left, above), (left, below), (right, above), (right, below), (before, middle), (behind, middle)]
    if away:
        at += [(x, y) for x in (before, behind) for y in (above, below)]
    # Where the frame is as large as the image, there is no other room.
    if away <= frame.x1 - frame.x0 - width:
        at += [(frame.x0 + away, frame.y0), (frame.x0 + away, frame.y1 + 1 - height)]
    if away <= frame.y1 - frame.y0 - height:
        at += [(frame.x0, frame.y0 + away), (frame.x1 + 1 - width, frame.y0 + away)]
    return at


def _middle(rectangle: _Rectangle) -> tuple[float, float]:
    return (rectangle.x0 + rectangle.x1 + 1) / 2, (rectangle.y0 + rectangle.y1 + 1) / 2


def _nearest(frame: _Rectangle, point: tuple[float, float]) -> tuple[float, float]:
    x, y = point
    return min(max(x, frame.x0), frame.x1), min(max(y, frame.y0), frame.y1)
