"""Suppression of very many boxes on one image: its work counted in boxes that are looked at and overlaps computed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rbox_formats import rbox_to_quad
from rbox_metrics import box_iou_rotated, merge_windows, nms_rotated
from rbox_metrics._overlaps import _grid_kernels, _kernels, _quad_kernels
from rbox_testing.samples import sampled

Rng = np.random.Generator


def uniform(rng: Rng, count: int) -> np.ndarray:
    """A hundredth of a box's centre on each pixel, 5 to 80 px long: some twenty boxes over each place."""
    side = (count * 100) ** 0.5
    return rng.uniform([0, 0, 5, 5, -1.5], [side, side, 80, 80, 1.5], (count, 5))


def clusters(rng: Rng, count: int) -> np.ndarray:
    """As a detector answers: fifty boxes to an object."""
    boxes = np.repeat(uniform(rng, count // 50) * [3, 3, 1, 1, 1], 50, axis=0)
    return np.abs(boxes + rng.normal(0, 1, boxes.shape) * [3, 3, 2, 2, 0.05])


def of_all_sizes(rng: Rng, count: int) -> np.ndarray:
    boxes = uniform(rng, count)
    boxes[:, 2:4] = np.exp(rng.normal(2, 1, (count, 2)))
    return boxes


def one_far_off(rng: Rng, count: int) -> np.ndarray:
    boxes = uniform(rng, count)
    boxes[0, :2] = 1e7
    return boxes


def one_over_all(rng: Rng, count: int) -> np.ndarray:
    boxes = uniform(rng, count)
    boxes[0, 2:4] = 1e6
    return boxes


def two_towns(rng: Rng, count: int) -> np.ndarray:
    """Half of the boxes in one place, half very far away."""
    boxes = uniform(rng, count)
    boxes[::2, :2] += 1e6
    return boxes


KINDS: dict[str, Callable[[Rng, int], np.ndarray]] = {
    function.__name__: function for function in (uniform, clusters, of_all_sizes, one_far_off, one_over_all, two_towns)
}


class Work:
    """What a call looks at, and what it computes the overlap of."""

    looked_at, overlaps = 0, 0

    def scan(self, *arguments: Any) -> None:
        """As `_scan`, which looks at each member of each cell that a box lies in."""
        begin, end, boxes, _, _, _, run = arguments[:7]
        marks, edges, sizes, _, cells = arguments[11:16]
        assert len(edges) == 2  # one image
        columns, rows = sizes[0].tolist()
        x0, y0, x1, y1, _ = boxes[begin * run : end * run].T
        left, right = (np.searchsorted(marks[: columns - 1], x, side="right") for x in (x0, x1))
        top, bottom = (np.searchsorted(marks[columns - 1 :], y, side="right") for y in (y0, y1))
        sums = np.zeros((rows + 1, columns + 1), dtype=np.int64)
        sums[1:, 1:] = np.diff(cells).reshape(rows, columns).cumsum(axis=0).cumsum(axis=1)
        self.looked_at += int(
            (sums[bottom + 1, right + 1] - sums[top, right + 1] - sums[bottom + 1, left] + sums[top, left]).sum()
        )
        SCAN(*arguments)

    def overlaps_of_pairs(self, first: np.ndarray, *others: Any) -> np.ndarray:
        """As the kernels' own."""
        self.overlaps += len(others[1])
        return (OVERLAPS if first.shape[1] == 8 else QUAD_OVERLAPS)(first, *others)


SCAN, OVERLAPS, QUAD_OVERLAPS = _grid_kernels._scan, _kernels.overlaps_of_pairs, _quad_kernels.overlaps_of_pairs


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    work = Work()
    monkeypatch.setattr("rbox_metrics._jit._WORTH_THREADS", 10**12)  # one counts
    monkeypatch.setattr(_grid_kernels, "_scan", work.scan)
    for kernels in (_kernels, _quad_kernels):
        monkeypatch.setattr(kernels, "overlaps_of_pairs", work.overlaps_of_pairs)
    return work


def counted(work: Work, shapes: np.ndarray, threshold: float) -> tuple[int, int]:
    before = work.looked_at, work.overlaps
    nms_rotated(shapes, np.random.default_rng(1).random(len(shapes)), threshold)
    return work.looked_at - before[0], work.overlaps - before[1]


@pytest.mark.parametrize("threshold", [0.1, 0.9])
@pytest.mark.parametrize("kind", KINDS)
def test_ten_times_the_boxes_are_less_than_twenty_times_the_work(kind: str, threshold: float, work: Work) -> None:
    few, many = (KINDS[kind](np.random.default_rng(0), count) for count in (2_000, 20_000))
    looked_at, overlaps = counted(work, few, threshold)
    looked_at_many, overlaps_many = counted(work, many, threshold)
    assert looked_at_many < 20 * looked_at
    assert overlaps_many < 20 * max(overlaps, len(few))


def test_a_hundred_thousand_boxes_of_one_image(work: Work) -> None:
    few, many = (uniform(np.random.default_rng(0), count) for count in (10_000, 100_000))
    looked_at, overlaps = counted(work, few, 0.5)
    looked_at_many, overlaps_many = counted(work, many, 0.5)
    assert looked_at_many < 15 * looked_at
    assert overlaps_many < 15 * overlaps
    # Of five thousand million pairs.
    assert looked_at_many < 100_000 * 1_000
    assert overlaps_many < 100_000 * 100


@pytest.mark.parametrize("kind", ["one_far_off", "one_over_all", "two_towns"])
def test_what_lies_far_off_or_over_all_costs_the_others_little(kind: str, work: Work) -> None:
    plain, odd = (KINDS[name](np.random.default_rng(0), 20_000) for name in ("uniform", kind))
    looked_at, overlaps = counted(work, plain, 0.5)
    looked_at_odd, overlaps_odd = counted(work, odd, 0.5)
    assert looked_at_odd < 3 * looked_at
    assert overlaps_odd < 1.5 * overlaps


def test_in_a_crowd_overlaps_are_computed_of_what_is_left(work: Work) -> None:
    """A box that goes is compared until then with the better ones that stay, a box that stays with all of those."""
    boxes = np.random.default_rng(0).uniform(0, [100, 100, 100, 100, 1], (20_000, 5))
    scores = np.random.default_rng(1).random(20_000)
    kept = nms_rotated(boxes, scores, 0.5)
    needed = sum(compared(boxes[kept[scores[kept] > scores[i]]], boxes[[i]]) for i in range(0, 20_000, 100)) * 100
    assert work.overlaps < 1.7 * needed


def compared(better: np.ndarray, box: np.ndarray) -> int:
    """With how many of the better boxes, best first, until one takes the box away; not with those too unlike for it."""
    cos, sin = np.abs(np.cos(better[:, 4])), np.abs(np.sin(better[:, 4]))
    reach = (better[:, [2, 3]] * cos[:, None] + better[:, [3, 2]] * sin[:, None]) / 2
    turn = np.abs([np.cos(box[0, 4]), np.sin(box[0, 4])])
    own = np.array([box[0, 2:4] @ turn, box[0, 2:4] @ turn[::-1]]) / 2
    low = np.maximum(better[:, :2] - reach, box[:, :2] - own)
    high = np.minimum(better[:, :2] + reach, box[:, :2] + own)
    area, areas = box[0, 2] * box[0, 3], better[:, 2] * better[:, 3]
    common = np.minimum((high - low).clip(min=0).prod(axis=1), np.minimum(area, areas))
    better = better[1.5 * common >= 0.5 * (area + areas)]
    above = np.flatnonzero(box_iou_rotated(better, box)[:, 0] > 0.5)
    return int(above[0]) + 1 if len(above) else len(better)


@pytest.mark.parametrize("shape", ["boxes", "quads"])
@pytest.mark.parametrize("kind", sampled(KINDS, ["clusters", "one_over_all"]))
def test_crowds_some_pairs_at_a_time_give_the_same(kind: str, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    boxes = KINDS[kind](rng, 200)
    shapes = boxes if shape == "boxes" else rbox_to_quad(boxes)
    scores, labels, windows = rng.integers(0, 50, 200), rng.integers(0, 2, 200), rng.integers(0, 3, 200)

    def found() -> list[list[int]]:
        return [
            nms_rotated(shapes, scores, 0.3).tolist(),
            nms_rotated(shapes, scores, 0.3, labels).tolist(),
            merge_windows(boxes, labels, scores, windows, [[0, 0, 200, 200]] * 3).tolist(),
        ]

    at_once = found()
    reference = nms_rotated(boxes, scores, 0.3, labels, backend="reference").tolist()
    assert shape == "quads" or at_once[1] == reference
    monkeypatch.setattr(_grid_kernels, "_MOST", 3)
    monkeypatch.setattr(_grid_kernels, "_ROOM", 0)
    monkeypatch.setattr("rbox_metrics._suppression._nms._WORTH_ARRANGING", 0)
    monkeypatch.setattr("rbox_metrics._suppression._nms._FIRST_TURN", 7)
    assert found() == at_once


def test_memory_in_a_crowd_is_that_of_the_boxes() -> None:
    """A hundred thousand copies of one box: the first 128 alone have 12.8 million rivals, 200 MB of pairs."""
    boxes = np.tile([50.0, 50, 20, 10, 0.3], (100_000, 1))
    scores = np.arange(100_000.0)
    nms_rotated(boxes[:10], scores[:10], 0.5)
    tracemalloc.start()
    assert nms_rotated(boxes, scores, 0.5).tolist() == [99_999]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**28
