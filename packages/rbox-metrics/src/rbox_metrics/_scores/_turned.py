"""Finds a misread angle convention: place and size of detections are right, and nearly all have a wrong angle."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rbox_formats import LE90, convert

from rbox_metrics._matching import Paired
from rbox_metrics.typing import FloatsK

# A detection has the place of a truth if their centres are at most this share of the short side apart, and their sides
# differ by at most this share. Truths that are nearly square are not used: their angle says nothing.
_CENTRE, _SIDES, _SQUARE = 0.25, 0.1, 1.3
# Angles that differ by less are equal, in radians. At least this number of pairs is needed; nearly all means at least
# this share of them, and the angles count as right if more than this share is.
_SAME = math.radians(5)
_FEWEST, _ALL, _FEW = 3, 0.8, 0.5
# At most this number of truths is used, evenly spread over the images.
_MOST = 2000


@dataclass(frozen=True)
class Turned:
    """A misread angle convention that explains the angles of the detections.

    Attributes:
        kind: The kind of misreading, a key of `MISREADINGS`.
        pairs: How many detections have the centre and the sides of a truth of their class, whatever their angle.
        turned_alike: How many of these have the angle that the misreading gives.
        right: How many of these have the angle of the truth.
    """

    kind: str
    pairs: int
    turned_alike: int
    right: int

    def __str__(self) -> str:
        return (
            f"{self.turned_alike} of the {self.pairs} detections that lie where an object does, and are as large, "
            f"{MISREADINGS[self.kind][0]}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON, with the explanation in words as `text`."""
        return {**asdict(self), "text": str(self)}


def _nearest(expected: FloatsK, angle: FloatsK, period: float = math.pi) -> FloatsK:
    apart = np.mod(expected - angle, period)
    return np.minimum(apart, period - apart)


# For each misreading, what it says, and the difference between the detected angles (K,) and those that it makes of the
# truths' angles (K,), both `le90`. An upright box has its long side along x or y.
MISREADINGS: Mapping[str, tuple[str, Callable[[FloatsK, FloatsK], FloatsK]]] = {
    "mirrored": (
        "are turned the other way: it seems that clockwise was read as counter-clockwise, or the reverse",
        lambda truth, found: _nearest(-truth, found),
    ),
    "sides exchanged": (
        "are a right angle off: it seems that width and height are exchanged",
        lambda truth, found: _nearest(truth + math.pi / 2, found),
    ),
    "degrees as radians": (
        "are turned as if degrees had been read as radians",
        lambda truth, found: np.minimum(_nearest(np.degrees(truth), found), _nearest(-np.degrees(truth), found)),
    ),
    "upright": (
        "are not turned at all: it seems that radians were read as degrees, or that the angles were lost",
        lambda truth, found: _nearest(np.zeros_like(found), found, math.pi / 2),
    ),
}


def turned_of(paired: Paired) -> Turned | None:
    """Return the misread convention that explains why nearly all well placed detections have wrong angles, or None."""
    truth, found = _angles(paired)
    if len(truth) < _FEWEST:
        return None
    right = _nearest(truth, found) <= _SAME
    if right.mean() > _FEW:
        return None
    alike = {kind: int((apart(truth, found) <= _SAME).sum()) for kind, (_, apart) in MISREADINGS.items()}
    kind = max(alike, key=lambda each: alike[each])
    if alike[kind] < _ALL * len(truth):
        return None
    return Turned(kind, len(truth), alike[kind], int(right.sum()))


def _angles(paired: Paired) -> tuple[FloatsK, FloatsK]:
    """Return (K,) the `le90` angles of truths, and of the detections that differ from them in nothing but the angle."""
    truths, detections = paired.truths, paired.detections
    chosen = np.unique(np.linspace(0, len(truths) - 1, min(len(truths), _MOST)).astype(np.int64))
    group = detections.image_index * paired.classes + detections.labels
    order = np.argsort(group, kind="stable")
    wanted = truths.image_index[chosen] * paired.classes + truths.labels[chosen]
    starts, ends = (np.searchsorted(group[order], wanted, side=side) for side in ("left", "right"))
    rows = []
    for index, start, end in zip(chosen.tolist(), starts.tolist(), ends.tolist(), strict=True):
        its = order[start:end]
        (x, y, w, h), near = truths.boxes[index, :4].tolist(), detections.boxes[its]
        distance = np.hypot(near[:, 0] - x, near[:, 1] - y)
        long, short = near[:, 2:4].max(axis=1), near[:, 2:4].min(axis=1)
        fits = (distance <= _CENTRE * min(w, h)) & (np.abs(long - max(w, h)) <= _SIDES * max(w, h))
        fits &= (np.abs(short - min(w, h)) <= _SIDES * min(w, h)) & (max(w, h) >= _SQUARE * min(w, h))
        if fits.any():
            rows.append((index, int(its[np.flatnonzero(fits)[distance[fits].argmin()]])))
    pairs = np.array(rows, dtype=np.int64).reshape(-1, 2)
    boxes = (truths.boxes[pairs[:, 0]], detections.boxes[pairs[:, 1]])
    truth, found = (convert(each, LE90, LE90)[:, 4] for each in boxes)
    return truth, found
