"""Names and scores beside the objects, where there is room for them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rbox_formats._records import ClassNames, ImageRecord
from rbox_formats.draw._colours import HALO, Colour, class_colour, text_colour
from rbox_formats.draw._outlines import directions_of, extents_of, sides_of

# A label is left out beside a box whose longer side is less than this part of the label's width.
_LEAST_BOX_TO_LABEL = 0.3
# At most this many objects get a number and a line in the legend: a longer legend would not be read.
_MOST_NUMBERS = 40
# An object is in a crowd if at least 3 others of its class have their centres within 2 times the root of its box's
# area. There a label stands for its neighbours too, and the next of the class is at least 12 label heights away.
_CROWD, _CROWD_REACH, _CROWD_SPACING = 3, 2.0, 12
# A label that stands away from its object is at most this many label heights off.
_FARTHEST = 6


def load_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of all pictures, at a size in px.

    >>> from rbox_formats import draw
    >>> draw.load_font(12).getlength("ship") > 0
    True
    """
    return ImageFont.load_default(size=size)


def shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return the text, cut off to an ellipsis where it is wider than this many px.

    >>> from rbox_formats import draw
    >>> draw.shortened("a very long image name", draw.load_font(12), 60).endswith("...")
    True
    """
    if font.getlength(text) <= width:
        return text
    kept = len(text)
    while kept and font.getlength(text[:kept] + "...") > width:
        kept -= 1
    return text[:kept] + "..."


def named(record: ImageRecord, class_names: ClassNames) -> list[str]:
    """Return the class of each object, and its score where there are any."""
    scores = [""] * len(record) if record.scores is None else [f" {score:.2f}" for score in record.scores]
    return [class_names[int(label)] + score for label, score in zip(record.labels, scores, strict=True)]


def draw_labels(
    canvas: Image.Image,
    quads: np.ndarray,
    ticks: np.ndarray,
    record: ImageRecord,
    texts: Sequence[str],
    size: int | None = None,
    leaders: bool = False,
    numbers: bool = False,
) -> list[tuple[int, int | None]]:
    """Draw what `draw_record` says of names, beside quads (N, 4, 2) and their ticks (N, 2, 2) in px of the canvas.

    Args:
        canvas: The picture, which is drawn on.
        quads: The objects' corners.
        ticks: The lines that show their angles.
        record: The objects, for their labels.
        texts: What is written of each.
        size: The letters' size, px. None: it suits the picture.
        leaders: Whether what has no room next to its object stands further off, joined to it by a line.
        numbers: Whether an object that has no room for its text gets a number, from 1, where it has room for that.

    Returns:
        What belongs into a legend: the objects with their numbers, in this order, and with None an object that is large
        enough for its text and has no room for a number either, such as one that fills the picture.
    """
    font = load_font(size or round(min(16.0, max(11.0, max(canvas.size) / 75))))
    height = math.ceil(font.getbbox("Ag", anchor="lt")[3]) + 5
    draw = ImageDraw.Draw(canvas)
    long, short = extents_of(quads)
    centres = quads.mean(axis=1)
    labelled: dict[int, list[tuple[float, float]]] = {}
    placed: list[tuple[int, int, int, str, Colour]] = []
    listed: list[tuple[int, int | None]] = []
    count = 0
    obstacles = _Obstacles(quads)

    def place(i: int, text: str, away: bool) -> bool:
        width = math.ceil(font.getlength(text)) + 8
        if long[i] < _LEAST_BOX_TO_LABEL * width:
            return False
        corner = _place_label(obstacles, i, ticks[i], (width, height), canvas.size)
        is_away = corner is None and away
        if is_away:
            corner = _place_away(obstacles, i, (width, height), canvas.size)
        if corner is None:
            return False
        rectangle = _rectangle(*corner, width, height)
        obstacles.add(rectangle)
        colour = class_colour(int(record.labels[i]))
        if is_away:  # before any label, which no line may cross
            _draw_leader(draw, quads[i], rectangle, colour)
        placed.append((*corner, width, text, colour))
        return True

    # Large objects first: small ones have no claim to the room around them.
    for i in np.argsort(-long, kind="stable").tolist():
        label = int(record.labels[i])
        if np.any(obstacles.high[i] <= 0) or np.any(obstacles.low[i] >= canvas.size):
            continue
        apart = np.hypot(*(centres[record.labels == label] - centres[i]).T)
        crowded = np.count_nonzero(apart <= _CROWD_REACH * math.sqrt(long[i] * short[i])) > _CROWD
        if crowded and any(math.dist(centres[i], at) < _CROWD_SPACING * height for at in labelled.get(label, [])):
            continue
        is_placed = place(i, texts[i], leaders)
        if not is_placed and numbers and len(listed) < _MOST_NUMBERS:
            is_placed = place(i, str(count + 1), True)
            count += is_placed
            if is_placed or long[i] >= font.getlength(texts[i]):
                listed.append((i, count if is_placed else None))
        if is_placed:
            labelled.setdefault(label, []).append((float(centres[i, 0]), float(centres[i, 1])))
    for x, y, width, text, colour in placed:
        draw.rounded_rectangle((x, y, x + width - 1, y + height - 1), 3, colour, HALO)
        draw.text((x + 4, y + height / 2), text, text_colour(colour), font, anchor="lm")
    return listed


class _Obstacles:
    """What labels must not cover: the objects' quads, followed by the labels that are already placed."""

    def __init__(self, quads: np.ndarray) -> None:
        self.count = len(quads)
        self.shapes = np.concatenate([quads, np.zeros_like(quads)])
        self.low, self.high = self.shapes.min(axis=1), self.shapes.max(axis=1)
        self.low[self.count :] = np.inf  # nothing there yet, so never near

    def add(self, rectangle: np.ndarray) -> None:
        self.shapes[self.count] = rectangle
        self.low[self.count], self.high[self.count] = rectangle.min(axis=0), rectangle.max(axis=0)
        self.count += 1

    def near(self, low: np.ndarray, high: np.ndarray, but: int) -> np.ndarray:
        """Return the obstacles (M, 4, 2) whose upright boxes meet another, without one of them (-1: with all)."""
        met = np.all((self.low < high) & (self.high > low), axis=1)
        if but >= 0:
            met[but] = False
        return self.shapes[met]


def _rectangle(x: int, y: int, width: int, height: int) -> np.ndarray:
    return np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])


def _place_label(
    obstacles: _Obstacles, i: int, tick: np.ndarray, label: tuple[int, int], size: tuple[int, int]
) -> tuple[int, int] | None:
    """Return the upper left corner of object i's label: next to a side, or else a corner, the highest free place first.

    The side with the tick is tried last.
    """
    quad = obstacles.shapes[i]
    sides = sides_of(quad[None])[0]
    anchors = np.concatenate([sides.mean(axis=1), quad])
    along = directions_of(sides[:, 1] - sides[:, 0])
    outwards = np.stack([along[:, 1], -along[:, 0]], axis=-1)
    centre = quad.mean(axis=0)
    outwards *= np.where(((anchors[:4] - centre) * outwards).sum(axis=1, keepdims=True) < 0, -1, 1)
    directions = np.concatenate([outwards, directions_of(quad - centre)])
    # The label's middle, moved out until a line across that direction just passes between it and the object.
    support = np.abs(directions) @ (np.array(label) / 2) + 4
    corners = np.rint(anchors + directions * support[:, None] - np.array(label) / 2)
    corners = np.clip(corners, 0, np.maximum(np.array(size) - label, 0))
    rank = np.repeat([0, 1], 4)
    rank[np.linalg.norm(anchors[:4] - tick[0], axis=1).argmin()] = 2
    corners = corners[np.lexsort([directions[:, 1], rank])]

    others = obstacles.near(corners.min(axis=0), corners.max(axis=0) + label, but=i)
    free = [(x, y) for x, y in corners.astype(int).tolist() if not _covers(_rectangle(x, y, *label), others)]
    # Where the picture ends beside its object, a label was pushed back onto it.
    return next((at for at in free if not _covers(_rectangle(*at, *label), quad[None])), None)


def _place_away(obstacles: _Obstacles, i: int, label: tuple[int, int], size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the upper left corner of a label that has no room next to object i: the nearest that covers nothing."""
    quad = obstacles.shapes[i]
    centre, limits = quad.mean(axis=0), np.maximum(np.array(size) - label, 0)
    turns = np.linspace(0, 2 * np.pi, 16, endpoint=False) - np.pi / 2  # upwards first
    directions = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    own = ((quad - centre) @ directions.T).max(axis=0) + np.abs(directions) @ (np.array(label) / 2)
    for step in range(1, _FARTHEST + 1):
        middles = centre + directions * (own + step * label[1])[:, None]
        for corner in np.rint(middles - np.array(label) / 2):
            if (corner < 0).any() or (corner > limits).any():
                continue
            x, y = corner.astype(int).tolist()
            # No object at all, its own neither: the line shows whose it is.
            near = obstacles.near(corner, corner + label, but=-1)
            if not _covers(_rectangle(x, y, *label), near):
                return x, y
    return None


def _draw_leader(draw: ImageDraw.ImageDraw, quad: np.ndarray, label: np.ndarray, colour: Colour) -> None:
    """Draw a line from a label's side to the nearest side of its object."""
    middles = sides_of(quad[None])[0].mean(axis=1)
    low, high = label.min(axis=0), label.max(axis=0)
    starts = np.clip(middles, low, high)
    nearest = np.linalg.norm(middles - starts, axis=1).argmin()
    line = [tuple(starts[nearest].tolist()), tuple(middles[nearest].tolist())]
    draw.line(line, HALO, 4)
    draw.line(line, colour, 2)


def _covers(rectangle: np.ndarray, quads: np.ndarray) -> bool:
    """Return whether an upright rectangle (4, 2) covers any part of any quad's hull, by the separating axis theorem."""
    sides = sides_of(quads)
    normals = (sides[:, :, 1] - sides[:, :, 0])[..., ::-1] * (1, -1)
    axes = np.concatenate([normals, np.broadcast_to(np.eye(2), (len(quads), 2, 2))], axis=1)
    ours, theirs = axes @ rectangle.T, axes @ quads.transpose(0, 2, 1)
    # A side of no length separates nothing from anything.
    apart = (ours.max(axis=2) <= theirs.min(axis=2)) | (theirs.max(axis=2) <= ours.min(axis=2))
    return bool(np.any(~(apart & axes.any(axis=2)).any(axis=1)))
