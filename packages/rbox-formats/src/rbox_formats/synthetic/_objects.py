"""The kinds of objects, as polygons.

Every object is a list of flat polygons in a unit frame, x from -1 at the tail to 1 at the nose, y from -1 to 1 across,
touching all four sides of that square. An affine map (half length, half width, heading, centre) takes the polygons and
the square to the image together, so the square's image is the object's tight box by construction; shadows are not part
of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from rbox_formats._geometry import canonical_le90
from rbox_formats._records import ClassNames

CLASS_NAMES = ClassNames(["plane", "ship", "small-vehicle", "storage-tank"])

#: The classes of all seasons; a scene's own classes are some of these.
KNOWN_CLASSES = (*CLASS_NAMES, "large-vehicle")

Colour = tuple[float, float, float]


class Part(NamedTuple):
    """A polygon (K, 2) of the unit frame, its colour (0 to 255), and the direction in which its face leans."""

    points: np.ndarray
    colour: Colour
    lean: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Object:
    """One object in the image: class, centre (x, y), length and width in px, heading in radians, and its polygons."""

    label: int
    centre: np.ndarray
    length: float
    width: float
    heading: float
    parts: list[Part]

    @property
    def box(self) -> np.ndarray:
        return np.asarray(canonical_le90(np.array([*self.centre, self.length, self.width, self.heading])))

    @property
    def quad(self) -> np.ndarray:
        return self.to_image(np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]))

    def to_image(self, points: np.ndarray, shrink: float = 0.0) -> np.ndarray:
        """Convert points (..., 2) of the unit frame to pixels; each side is made shorter by `shrink` px."""
        half = np.array([self.length, self.width]) / 2 - shrink
        return self.centre + turn(points * half, self.heading)


def turn(points: np.ndarray, angle: float) -> np.ndarray:
    """Turn points (..., 2) about the origin, radians, clockwise on screen."""
    cos, sin = math.cos(angle), math.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]])


def scaled(colour: Sequence[float], factor: float) -> Colour:
    """Make a colour brighter, or darker where the factor is below 1; no channel goes above 255."""
    r, g, b = (min(255.0, value * factor) for value in colour)
    return r, g, b


def pick(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _rectangle(x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def _both_sides(points: Sequence[tuple[float, float]], colour: Colour, lean: float = 0.0) -> list[Part]:
    right = np.array(points)
    return [Part(right * (1, side), colour, (0.0, side * lean)) for side in (-1, 1)]


def _tube(profile: Sequence[tuple[float, float]], colour: Colour, bulge: float = 0.9) -> list[Part]:
    """Draw a body of half width r at x, (x, r) from tail to nose, in strips that lean outwards by up to `bulge`."""
    x, r = np.array(profile).T
    bounds = np.linspace(-1.0, 1.0, 7)
    parts = []
    for low, high in pairwise(bounds):
        strip = np.concatenate([np.stack([x, r * low], axis=1), np.stack([x, r * high], axis=1)[::-1]])
        parts.append(Part(strip, colour, (0.0, bulge * (low + high) / 2)))
    return parts


_ANGLES = np.linspace(0, 2 * np.pi, 49)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def _ring(radius: float, colour: Colour, lean: float, inner: float = 0.0) -> list[Part]:
    """Draw a disc, or the ring outside `inner`, in sectors that lean outwards (inwards where negative)."""
    middles = ((_CIRCLE[:-1] + _CIRCLE[1:]) / 2 * lean).tolist()
    here, there = _CIRCLE[:-1], _CIRCLE[1:]
    sectors = np.stack([here * inner, here * radius, there * radius, there * inner], axis=1)
    return [Part(sector, colour, (x, y)) for sector, (x, y) in zip(sectors, middles, strict=True)]


_LIVERIES = ((196.0, 48.0, 44.0), (30.0, 72.0, 150.0), (238.0, 170.0, 40.0), (20.0, 120.0, 110.0), (90.0, 94.0, 104.0))


def _plane(rng: np.random.Generator) -> list[Part]:
    skin = pick(rng, ((238.0, 240.0, 242.0), (222.0, 225.0, 228.0), (205.0, 209.0, 214.0)))
    livery = pick(rng, _LIVERIES)
    sweep = rng.uniform(0.26, 0.42)
    wing = [(0.26, 0.06), (0.26 - sweep, 1.0), (0.15 - sweep, 1.0), (-0.03, 0.32), (-0.14, 0.06)]
    flap = [(-0.06, 0.32), (-0.14, 0.06), (-0.09, 0.06), (0.12 - sweep, 0.95), (0.15 - sweep, 0.98)]
    tail = [(-0.72, 0.03), (-0.94, 0.36), (-1.0, 0.36), (-0.93, 0.03)]
    parts = []
    for y in (0.33, 0.62)[: rng.integers(1, 3)]:
        x = 0.26 - sweep * (y - 0.06) / 0.94
        parts += _both_sides([(x - 0.06, y - 0.05), (x + 0.1, y - 0.045), (x + 0.1, y + 0.045), (x - 0.06, y + 0.05)],
                             (128.0, 133.0, 142.0))  # fmt: skip
    parts += _both_sides(wing, scaled(skin, 0.91), 0.25)
    parts += _both_sides(flap, scaled(skin, 0.76))
    parts += _both_sides(tail, scaled(skin, 0.88), 0.25)
    body = [(-1.0, 0.012), (-0.82, 0.05), (-0.55, 0.092), (-0.3, 0.105), (0.72, 0.105), (0.86, 0.085), (0.95, 0.05),
            (1.0, 0.012)]  # fmt: skip
    parts += _tube(body, skin)
    parts.append(Part(np.array([(-1.0, -0.016), (-0.66, -0.014), (-0.66, 0.014), (-1.0, 0.016)]), livery))
    parts.append(Part(np.array([(0.84, -0.06), (0.9, -0.04), (0.9, 0.04), (0.84, 0.06)]), (40.0, 48.0, 60.0)))
    return parts


def _ship(rng: np.random.Generator) -> list[Part]:
    hull = pick(rng, ((70.0, 76.0, 88.0), (120.0, 42.0, 38.0), (38.0, 58.0, 92.0), (212.0, 214.0, 214.0)))
    deck = pick(rng, ((150.0, 92.0, 74.0), (156.0, 160.0, 158.0), (108.0, 128.0, 112.0), (188.0, 168.0, 132.0)))
    outline = [(-1.0, 0.7), (-0.93, 0.9), (-0.7, 1.0), (0.35, 1.0), (0.6, 0.84), (0.8, 0.54), (0.93, 0.22), (1.0, 0.0)]
    x, r = np.array(outline).T
    parts = _tube(outline, hull, 0.5)
    parts += _tube(list(zip(x * 0.965, r * 0.8, strict=True)), deck, 0.0)
    boxes = [pick(rng, _LIVERIES) for _ in range(15)] if rng.random() < 0.5 else [scaled(deck, 0.8)] * 15
    for i, colour in enumerate(boxes):
        row, column = divmod(i, 3)
        x0, y0 = -0.33 + 0.19 * row, -0.63 + 0.43 * column
        parts.append(Part(_rectangle(x0, x0 + 0.16, y0, y0 + 0.38), scaled(colour, rng.uniform(0.9, 1.1))))
    white = (232.0, 234.0, 234.0)
    parts.append(Part(_rectangle(-0.86, -0.45, -0.72, 0.72), scaled(white, 0.86)))
    parts += _both_sides([(-0.8, 0.0), (-0.52, 0.0), (-0.52, 0.52), (-0.8, 0.52)], white, 0.3)
    parts.append(Part(_rectangle(-0.49, -0.45, -0.66, 0.66), (46.0, 58.0, 72.0)))
    parts.append(Part(_rectangle(-0.78, -0.67, -0.2, 0.2), pick(rng, _LIVERIES)))
    parts.append(Part(_rectangle(0.72, 0.8, -0.16, 0.16), (96.0, 98.0, 100.0)))
    return parts


_PAINTS = (
    (236.0, 238.0, 240.0),
    (178.0, 182.0, 188.0),
    (52.0, 55.0, 62.0),
    (176.0, 34.0, 36.0),
    (34.0, 78.0, 156.0),
    (226.0, 178.0, 48.0),
    (60.0, 120.0, 84.0),
)


_LOADS = ((214.0, 216.0, 216.0), (150.0, 152.0, 150.0), (116.0, 62.0, 48.0), (48.0, 82.0, 118.0), (196.0, 186.0, 150.0))


def _vehicle(rng: np.random.Generator) -> list[Part]:
    paint, glass = pick(rng, _PAINTS), (30.0, 36.0, 46.0)
    outline = [(-1.0, 0.72), (-0.95, 0.92), (-0.8, 1.0), (0.72, 1.0), (0.92, 0.86), (1.0, 0.62)]
    parts = _tube(outline, paint, 0.6)
    parts.append(Part(_rectangle(0.44, 0.86, -0.7, 0.7), scaled(paint, 1.06)))
    parts.append(Part(np.array([(-0.78, -0.74), (0.44, -0.84), (0.44, 0.84), (-0.78, 0.74)]), glass))
    back = -0.52 if rng.random() < 0.6 else -0.68
    parts += _tube([(back, 0.62), (0.12, 0.66)], scaled(paint, 1.1), 0.5)
    parts += _both_sides([(0.9, 0.42), (0.98, 0.42), (0.96, 0.66), (0.86, 0.76)], (250.0, 248.0, 228.0))
    parts += _both_sides([(-0.99, 0.4), (-0.93, 0.4), (-0.91, 0.76), (-0.97, 0.76)], (150.0, 24.0, 24.0))
    return parts


def _tank(rng: np.random.Generator) -> list[Part]:
    paint = pick(rng, ((222.0, 224.0, 222.0), (206.0, 200.0, 184.0), (172.0, 179.0, 184.0), (178.0, 142.0, 120.0)))
    parts = _ring(1.0, scaled(paint, 0.8), 0.9, 0.9)
    if rng.random() < 0.4:  # a floating roof, sunk inside the wall
        parts += _ring(0.91, scaled(paint, 0.72), -1.6, 0.74)
        parts += _ring(0.76, scaled(paint, 0.86), 0.0)
        parts += _ring(0.5, scaled(paint, 0.78), 0.0, 0.46)
    else:
        parts += _ring(0.91, paint, 0.55)
        parts += _ring(0.56, scaled(paint, 1.02), 0.3)
    parts += _ring(0.1, scaled(paint, 0.6), 0.0)
    stair = turn(_rectangle(0.1, 0.93, -0.035, 0.035), rng.uniform(0, 2 * np.pi))
    parts.append(Part(stair, scaled(paint, 0.62)))
    return parts


def _truck(rng: np.random.Generator) -> list[Part]:
    """Draw a tractor and its trailer, seen from above: a short cab, a gap, a long box."""
    paint, load, glass = pick(rng, _PAINTS), pick(rng, _LOADS), (30.0, 36.0, 46.0)
    parts = [Part(_rectangle(-0.9, 0.9, -0.3, 0.3), (58.0, 58.0, 60.0))]  # the frame, which shows in the gap
    parts += _tube([(-1.0, 1.0), (0.5, 1.0)], load, 0.35)
    for x in np.linspace(-0.9, 0.4, rng.integers(3, 7)).tolist():
        parts.append(Part(_rectangle(x, x + 0.025, -0.94, 0.94), scaled(load, 0.86)))
    parts += _tube([(0.58, 0.9), (0.92, 0.9), (1.0, 0.72)], paint, 0.5)
    parts.append(Part(np.array([(0.86, -0.76), (0.95, -0.66), (0.95, 0.66), (0.86, 0.76)]), glass))
    return parts


def _house(rng: np.random.Generator) -> list[Part]:
    """Draw a roof of two slopes, with a chimney."""
    roof = pick(rng, ((148.0, 84.0, 66.0), (112.0, 106.0, 104.0), (132.0, 118.0, 98.0), (84.0, 90.0, 100.0)))
    parts = _both_sides([(-1.0, 0.0), (1.0, 0.0), (1.0, 1.0), (-1.0, 1.0)], roof, 1.0)
    x, y = rng.uniform(-0.7, 0.5), rng.uniform(-0.6, 0.4)
    parts.append(Part(_rectangle(x, x + 0.16, y, y + 0.2), scaled(roof, 0.6)))
    return parts


def _blob(rng: np.random.Generator, colour: Colour, lean: float, rough: float) -> list[Part]:
    """Draw a disc with an uneven rim, in sectors that lean outwards, stretched to the sides of the unit square."""
    angles = np.linspace(0, 2 * np.pi, 15)[:-1]
    radii = rng.uniform(1 - rough, 1, len(angles))
    rim = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    rim = 2 * (rim - rim.min(axis=0)) / np.ptp(rim, axis=0) - 1
    parts = []
    for a, b in zip(rim, np.roll(rim, -1, axis=0), strict=True):
        x, y = ((a + b) / 2 * lean).tolist()
        parts.append(Part(np.array([(0.0, 0.0), a, b]), scaled(colour, rng.uniform(0.9, 1.1)), (x, y)))
    return parts


def _tree(rng: np.random.Generator) -> list[Part]:
    return _blob(rng, pick(rng, ((46.0, 70.0, 38.0), (62.0, 84.0, 46.0), (84.0, 82.0, 44.0))), 0.8, 0.35)


def _rock(rng: np.random.Generator) -> list[Part]:
    return _blob(rng, pick(rng, ((104.0, 102.0, 96.0), (82.0, 84.0, 82.0))), 0.6, 0.5)


def _pad(rng: np.random.Generator) -> list[Part]:
    """Draw a painted disc on the ground, round as a tank is, but flat and without a shadow."""
    paint = pick(rng, ((196.0, 194.0, 186.0), (120.0, 122.0, 124.0), (170.0, 120.0, 92.0)))
    parts = _ring(1.0, scaled(paint, 1.15), 0.0, 0.88) + _ring(0.88, paint, 0.0)
    parts += _both_sides([(-0.45, 0.3), (0.45, 0.3), (0.45, 0.42), (-0.45, 0.42)], (226.0, 226.0, 220.0))
    parts.append(Part(_rectangle(-0.06, 0.06, -0.36, 0.36), (226.0, 226.0, 220.0)))
    return parts


def _crate(rng: np.random.Generator) -> list[Part]:
    return [Part(_rectangle(-1, 1, -1, 1), scaled(pick(rng, (*_LOADS, *_PAINTS)), rng.uniform(0.7, 1.0)))]


def _pontoon(rng: np.random.Generator) -> list[Part]:
    """Draw planks in a row."""
    wood = pick(rng, ((146.0, 128.0, 104.0), (168.0, 166.0, 160.0)))
    bounds = np.linspace(-1, 1, 9).tolist()
    return [Part(_rectangle(a, b, -1, 1), scaled(wood, rng.uniform(0.88, 1.08))) for a, b in pairwise(bounds)]


class Kind(NamedTuple):
    """How objects of one class are drawn, in the order of `KNOWN_CLASSES`, with clutter after them."""

    parts: Callable[[np.random.Generator], list[Part]]
    aspect: tuple[float, float]  # width over length
    window: tuple[float, float]  # the part of the range of scales, on a log scale
    shadow: float  # length of the shadow over the width of the object
    afloat: bool = False


KINDS = (
    Kind(_plane, (0.84, 0.94), (0.35, 1.0), 0.12),
    Kind(_ship, (0.27, 0.36), (0.3, 1.0), 0.22, afloat=True),
    Kind(_vehicle, (0.43, 0.5), (0.0, 0.4), 0.3),
    Kind(_tank, (1.0, 1.0), (0.1, 0.75), 0.22),
    Kind(_truck, (0.2, 0.26), (0.25, 0.9), 0.35),
    # Clutter: things that are no objects, whose labels are beyond those of `KNOWN_CLASSES`.
    Kind(_house, (0.55, 0.95), (0.5, 1.2), 0.15),
    Kind(_tree, (0.8, 1.0), (0.0, 0.6), 0.2),
    Kind(_pad, (1.0, 1.0), (0.2, 0.9), 0.0),
    Kind(_crate, (0.55, 1.0), (-0.3, 0.25), 0.2),
    Kind(_rock, (0.6, 1.0), (-0.2, 0.5), 0.05, afloat=True),
    Kind(_pontoon, (0.07, 0.14), (0.4, 1.0), 0.1, afloat=True),
)
TANK = CLASS_NAMES.index("storage-tank")
