"""Check annotated objects for suspicious ones: a table of checks, each with its threshold.

The thresholds were set on the 682 objects of five DOTA-v1.0 label files, drawn by hand: none of them is flagged. There
a quad fills at least 0.767 of its smallest rectangle (0.957 in the median), an object is at most 38.3 times as long as
wide (a pier) and at least 8.4 px wide, and corners of two objects of a class are at least 0.92 of their width apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rbox_formats._geometry import crosses_itself, quad_area, rbox_to_quad
from rbox_formats._records import ImageRecord
from rbox_formats.typing import BoxesN, FlagsN, LabelsN, QuadsN, ScoresN

ZERO_WIDTH = 0.01
"""The width of its smallest rectangle, px, below which an object has no area: corners on a line, up to rounding."""

THIN_WIDTH, THIN_RATIO = 1.0, 80.0
"""An object is thin if it is narrower than the first, px, or longer than the second times its width."""

RECTANGULAR = 0.7
"""A quad is not rectangular if it fills less than this share of its smallest rectangle. The share is their IoU, since
the quad lies inside. A triangle fills half, a trapezoid with a top half as long as its base three quarters."""

DUPLICATE_SHARE, DUPLICATE_PX = 0.1, 0.5
"""Two objects of a class are duplicates if each corner of one is near a corner of the other: within this share of the
narrower one's width, or within this number of px if that is more. Corners may be in any order around the object."""

BORDER = 1.0
"""How far an object may reach beyond the image without a report, px: DOTA's corners lie on its border, or next to
it."""

THRESHOLDS: Mapping[str, float] = {
    "zero_width_px": ZERO_WIDTH,
    "thin_width_px": THIN_WIDTH,
    "thin_ratio": THIN_RATIO,
    "rectangular_share": RECTANGULAR,
    "duplicate_share_of_width": DUPLICATE_SHARE,
    "duplicate_px": DUPLICATE_PX,
    "border_px": BORDER,
}
"""All checks, in the order of a report."""

# If a quad is concave, a diagonal is a side of the hull.
_CORNER_PAIRS = ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3))


@dataclass(frozen=True)
class Objects:
    """The objects of one image, and values that several checks use."""

    quads: QuadsN
    boxes: BoxesN
    labels: LabelsN
    size: tuple[int, int] | None
    annotated: bool

    @classmethod
    def of(cls, record: ImageRecord) -> Objects:
        """Return the objects of a record."""
        known = record.width is not None and record.height is not None
        return cls(
            quads=rbox_to_quad(record.boxes) if record.quads is None else record.quads,
            boxes=record.boxes,
            labels=record.labels,
            size=record.size if known else None,
            annotated=record.quads is not None,
        )

    @cached_property
    def low(self) -> np.ndarray:
        """The least x and y of each (N, 2)."""
        return self.quads.min(axis=1)

    @cached_property
    def high(self) -> np.ndarray:
        """The largest x and y of each (N, 2)."""
        return self.quads.max(axis=1)

    @cached_property
    def flat(self) -> FlagsN:
        """Which objects have no area (N,)."""
        return np.asarray(self.boxes[:, 3] < ZERO_WIDTH)

    @cached_property
    def crossing(self) -> FlagsN:
        """Which objects cross themselves (N,): two opposite sides cross between their ends."""
        return crosses_itself(self.quads)

    @cached_property
    def outside(self) -> FlagsN:
        """Which objects have no point inside the image (N,)."""
        found = np.zeros(len(self.quads), dtype=bool)
        if self.size is None:
            return found
        inside = (self.low >= 0).all(axis=1) & (self.high <= self.size).all(axis=1) & (self.low < self.size).all(axis=1)
        for_sure = ((self.high <= 0) | (self.low >= self.size)).any(axis=1)
        unsure = np.flatnonzero(~inside & ~for_sure)
        found[for_sure] = True
        found[unsure] = _apart(self.quads[unsure], self.size)
        return found


def _apart(quads: QuadsN, size: tuple[int, int]) -> FlagsN:
    """Return which quads' hulls lie apart from the image (separating axis theorem, along their sides' normals)."""
    sides = np.stack([quads[:, j] - quads[:, i] for i, j in _CORNER_PAIRS], axis=1)
    normals = np.stack([-sides[..., 1], sides[..., 0]], axis=-1)
    width, height = size
    image = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float64)
    theirs, ours = normals @ quads.transpose(0, 2, 1), normals @ image.T
    gap = (ours.max(axis=2) <= theirs.min(axis=2)) | (theirs.max(axis=2) <= ours.min(axis=2))
    return np.asarray((gap & normals.any(axis=2)).any(axis=1))


def reaches_outside(objects: Objects) -> FlagsN:
    """Return which objects are partly on the image and reach more than `BORDER` beyond it."""
    if objects.size is None:
        return np.zeros(len(objects.quads), dtype=bool)
    beyond = (objects.low < -BORDER) | (objects.high > np.array(objects.size) + BORDER)
    return np.asarray(beyond.any(axis=1) & ~objects.outside)


# A check gives a reason for each suspicious object, by its index.
Findings = dict[int, str]


def _each(which: FlagsN, reason: Callable[[int], str]) -> Findings:
    return {i: reason(i) for i in np.flatnonzero(which).tolist()}


def _outside(objects: Objects) -> Findings:
    def reason(i: int) -> str:
        (x0, y0), (x1, y1), (width, height) = objects.low[i], objects.high[i], objects.size or (0, 0)
        return f"lies in x {x0:.0f} to {x1:.0f}, y {y0:.0f} to {y1:.0f} of an image of {width}x{height}"

    return _each(objects.outside, reason)


def _zero_area(objects: Objects) -> Findings:
    def reason(i: int) -> str:
        return "its corners are one point" if objects.boxes[i, 2] < ZERO_WIDTH else "its corners lie on a line"

    return _each(objects.flat, reason)


def _larger(objects: Objects) -> Findings:
    if objects.size is None:
        return {}
    width, height = np.array(objects.size) + 2 * BORDER
    w, h = objects.boxes[:, 2], objects.boxes[:, 3]
    larger = (w * h > width * height) | (w > np.hypot(width, height))
    size = f"{objects.size[0]}x{objects.size[1]}"
    return _each(larger, lambda i: f"{w[i]:.0f}x{h[i]:.0f} px on an image of {size}")


def _self_crossing(objects: Objects) -> Findings:
    if not objects.annotated:
        return {}
    return _each(objects.crossing & ~objects.flat, lambda _: "two of its sides cross: its corners are out of order")


def _not_rectangular(objects: Objects) -> Findings:
    if not objects.annotated:
        return {}
    around = objects.boxes[:, 2] * objects.boxes[:, 3]
    share = quad_area(objects.quads) / np.where(objects.flat, 1, around)
    odd = (share < RECTANGULAR) & ~objects.flat & ~objects.crossing
    return _each(odd, lambda i: f"it fills {share[i]:.2f} of its smallest rectangle")


def _thin(objects: Objects) -> Findings:
    w, h = objects.boxes[:, 2], objects.boxes[:, 3]
    thin = ((h < THIN_WIDTH) | (w > THIN_RATIO * h)) & ~objects.flat
    return _each(thin, lambda i: f"{w[i]:.1f} px long and {h[i]:.2f} px wide")


def _duplicate(objects: Objects) -> Findings:
    """Find each object that repeats an earlier one."""
    n = len(objects.quads)
    tolerances = np.maximum(DUPLICATE_SHARE * objects.boxes[:, 3], DUPLICATE_PX)
    # Corners that are near have means that are as near: in order of class and x, only what follows within the tolerance
    # is looked at, at first the next, then the one after it, and so on.
    means = objects.quads.mean(axis=1)
    x = means[:, 0] - means[:, 0].min(initial=np.inf)
    key = objects.labels * (2 * x.max(initial=0) + 2 * tolerances.max(initial=0) + 1) + x
    order = np.argsort(key, kind="stable")
    followers = np.searchsorted(key[order], key[order] + tolerances[order], side="right") - np.arange(n) - 1
    original = np.full(n, -1)
    first, step = np.arange(n), 1
    while len(first := first[followers[first] >= step]):
        one, other = order[first], order[first + step]
        i, j = np.minimum(one, other), np.maximum(one, other)
        tolerance = np.minimum(tolerances[i], tolerances[j])
        near = (original[j] < 0) & (np.abs(means[i, 1] - means[j, 1]) <= tolerance)
        if near.any():
            i, j = i[near], j[near]
            same = corner_distance(objects.quads[i], objects.quads[j]) <= tolerance[near]
            original[j[same]] = i[same]
        step += 1
    return _each(original >= 0, lambda i: f"the same as object {original[i]}")


def corner_distance(first: QuadsN, second: QuadsN) -> ScoresN:
    """Return the largest distance between matched corners of quads (N, 4, 2), from any corner, either way."""
    ways = [np.roll(second[:, ::turn], shift, axis=1) for turn in (1, -1) for shift in range(4)]
    apart = np.stack([first - way for way in ways], axis=1)
    return np.asarray(np.sqrt((apart**2).sum(axis=-1)).max(axis=-1).min(axis=1))


CHECKS: Mapping[str, Callable[[Objects], Findings]] = {
    "outside": _outside,
    "zero area": _zero_area,
    "larger than image": _larger,
    "self-crossing": _self_crossing,
    "not rectangular": _not_rectangular,
    "thin": _thin,
    "duplicate": _duplicate,
}
