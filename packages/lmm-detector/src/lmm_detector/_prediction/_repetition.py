"""Boxes that a model writes again: generation that runs in a circle repeats a box to the pixel, over and over."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from rbox_formats.codecs import Decoded, Rejected
from rbox_formats.typing import BoxesOrQuadsN, LabelsN


class Repeat(NamedTuple):
    """A box that was dropped.

    Attributes:
        box: Its place among all boxes.
        first: The place of the one that it repeats, which was kept.
    """

    box: int
    first: int


def find_repeats(shapes: BoxesOrQuadsN, labels: LabelsN) -> tuple[Repeat, ...]:
    """Return the boxes that repeat an earlier one: of the same label, each coordinate equal to the last bit.

    Coordinates come from a grid, so that equal ones were written by equal numbers, and objects that only lie close
    together are left alone.

    Args:
        shapes: (N, 5) or (N, 4, 2), pixels.
        labels: (N,).
    """
    rows = np.ascontiguousarray(shapes + 0.0)  # no negative zeros
    firsts: dict[tuple[int, bytes], int] = {}
    found = [
        Repeat(box, firsts.setdefault((label, row.tobytes()), box))
        for box, (label, row) in enumerate(zip(labels.tolist(), rows, strict=True))
    ]
    return tuple(repeat for repeat in found if repeat.first != repeat.box)


def without_repeats(decoded: Decoded) -> tuple[Decoded, tuple[Repeat, ...]]:
    """Return what a text says, each box once, with what was dropped.

    The dropped boxes' places in the text stand in `rejected`, beside the pieces that gave no box.
    """
    repeats = find_repeats(decoded.shapes, decoded.labels)
    if not repeats:
        return decoded, repeats
    kept = np.ones(len(decoded.labels), dtype=bool)
    kept[[repeat.box for repeat in repeats]] = False
    pieces = [
        Rejected(int(spans.min()), int(spans.max()), f"a box that repeats box {repeat.first}")
        for repeat in repeats
        for spans in (decoded.number_spans[repeat.box],)
    ]
    found = replace(
        decoded,
        shapes=decoded.shapes[kept],
        labels=decoded.labels[kept],
        label_spans=decoded.label_spans[kept],
        number_spans=decoded.number_spans[kept],
        rejected=tuple(sorted([*decoded.rejected, *pieces])),
    )
    return found, repeats
