"""One image with very many boxes: memory is that of the boxes and of the pairs that overlap."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from rbox_formats import ImageRecord, rbox_to_quad
from rbox_metrics import evaluate
from rbox_metrics._matching import PROTOCOLS, pair
from rbox_metrics._overlaps import _grid_kernels, overlapping_pairs
from rbox_testing.samples import sampled

TRUTHS, EACH = 1_000, 10
NAMES = ("plane", "ship", "tram")


def peak_of(function: Callable[[], object]) -> int:
    """The most bytes that a call holds at a time; what it compiles and loads is not in it."""
    function()
    tracemalloc.start()
    function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@cache
def scene(side: float) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """A truth, and ten detections about each object of it."""
    rng = np.random.default_rng(0)
    truths = rng.uniform([0, 0, 8, 4, -1.5], [side, side, 40, 12, 1.5], (TRUTHS, 5))
    found = np.repeat(truths, EACH, axis=0) + rng.normal(0, 1, (TRUTHS * EACH, 5)) * [4, 4, 1, 0.5, 0.1]
    found[:, 2:4] = np.abs(found[:, 2:4]) + 1
    labels = rng.integers(0, 3, TRUTHS)
    return (
        [ImageRecord("a", truths, labels, quads=rbox_to_quad(truths))],
        [ImageRecord("a", found, np.repeat(labels, EACH), quads=rbox_to_quad(found), scores=rng.random(len(found)))],
    )


@pytest.mark.parametrize("side", sampled([1_200, 80], [80]))
@pytest.mark.parametrize("geometry", sampled(["rbox", "quad"], ["quad"]))
@pytest.mark.parametrize("protocol", sampled(PROTOCOLS, ["coco"]))
def test_a_full_report_takes_memory_for_what_overlaps(protocol: str, geometry: str, side: int) -> None:
    truth, predictions = scene(side)
    paired = pair(truth, predictions, NAMES, geometry=geometry, least=0.1)
    pairs = len(paired.pairs.iou) + len(paired.others.iou)
    assert pairs < TRUTHS * TRUTHS * EACH / 10  # far from all
    peak = peak_of(lambda: evaluate(truth, predictions, NAMES, protocol=protocol, geometry=geometry, full=True))
    assert peak < 2_000 * TRUTHS * EACH + 300 * pairs


@pytest.mark.parametrize("geometry", sampled(["rbox", "quad"], ["rbox"]))
def test_what_is_near_and_does_not_overlap_takes_none(geometry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Roads that cross: the upright boxes around them share most of their area, and they hardly any."""
    rng = np.random.default_rng(0)
    roads = rng.uniform([0, 0, 500, 2, 0.5], [900, 900, 900, 3, 1.0], (6_000, 5))
    roads[::2, 4] *= -1
    shapes = roads if geometry == "rbox" else rbox_to_quad(roads)
    group = np.zeros(3_000, dtype=np.int64)
    seen = []

    def kept(*arguments: object) -> object:
        for first, second in near(*arguments):
            seen.append(len(first))
            yield first, second

    near = _grid_kernels.near_pairs
    monkeypatch.setattr(_grid_kernels, "near_pairs", kept)
    monkeypatch.setattr(_grid_kernels, "_MOST", 2**16)
    pairs = overlapping_pairs(shapes[::2], group, shapes[1::2], group, 0.5)
    assert len(pairs.iou) < 100
    assert sum(seen) > 3_000_000
    assert max(seen) <= 2**16
    peak = peak_of(lambda: overlapping_pairs(shapes[::2], group, shapes[1::2], group, 0.5))
    assert peak < 16_000_000  # the pairs alone, two whole numbers each, are three times as much
