"""Suppression against slow loops over shapely's overlaps, and against values by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbox_metrics import MetricsError, box_iou_rotated, merge_windows, nms_rotated, quad_iou, soft_nms_rotated
from rbox_testing.samples import sampled

BACKENDS = ("numba", "reference")
Iou = Callable[[np.ndarray, np.ndarray], float]


def crowd(seed: int, count: int) -> dict[str, np.ndarray]:
    """Boxes that overlap much, scores that often tie, two windows over them."""
    rng = np.random.default_rng(seed)
    return {
        "boxes": np.concatenate(
            [rng.uniform(0, 40, (count, 2)), rng.uniform(4, 25, (count, 2)), rng.uniform(-1.5, 1.5, (count, 1))], axis=1
        ),
        "scores": rng.integers(0, 5, count) / 5,
        "labels": rng.integers(-1, 2, count),
        "window_index": rng.integers(0, 2, count),
        "windows": np.array([[-10.0, -10, 30, 50], [10, -10, 50, 50]]),
    }


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 25), threshold=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
@pytest.mark.parametrize("by_class", [False, True])
def test_nms_is_the_greedy_loop(slow_iou: Iou, by_class: bool, seed: int, count: int, threshold: float) -> None:
    data = crowd(seed, count)
    boxes, scores, labels = data["boxes"], data["scores"], data["labels"] if by_class else np.zeros(count, int)
    kept: list[int] = []
    for i in sorted(range(count), key=lambda i: (-scores[i], i)):
        if all(labels[i] != labels[k] or slow_iou(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
    for backend in BACKENDS:
        found = nms_rotated(boxes, scores, threshold, data["labels"] if by_class else None, backend=backend)
        assert found.tolist() == kept


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 25), scored=st.booleans())
def test_merging_is_the_loop_that_spares_the_own_window(slow_iou: Iou, seed: int, count: int, scored: bool) -> None:
    data = crowd(seed, count)
    boxes, labels, window = data["boxes"], data["labels"], data["window_index"]
    scores = data["scores"] if scored else None

    def to_border(i: int) -> float:
        (x, y), (x0, y0, x1, y1) = boxes[i, :2], data["windows"][window[i]]
        return min(x - x0, x1 - x, y - y0, y1 - y)

    kept: list[int] = []
    for i in sorted(range(count), key=lambda i: (-scores[i] if scored else 0, -to_border(i), i)):
        rivals = [k for k in kept if labels[k] == labels[i] and window[k] != window[i]]
        if all(slow_iou(boxes[i], boxes[k]) <= 0.1 for k in rivals):
            kept.append(i)
    for backend in BACKENDS:
        found = merge_windows(boxes, labels, scores, window, data["windows"], backend=backend)
        assert found.tolist() == sorted(kept)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 25), least=st.sampled_from([0.0, 0.1, 0.5]))
@pytest.mark.parametrize(
    "method, setting",
    sampled(
        [("linear", 0.0), ("linear", 0.3), ("gaussian", 0.5), ("gaussian", 0.01)], [("linear", 0.3), ("gaussian", 0.5)]
    ),
)
def test_soft_nms_is_the_loop(slow_iou: Iou, method: str, setting: float, seed: int, count: int, least: float) -> None:
    """The loop computes every score anew from all that was picked before."""
    data = crowd(seed, count)
    boxes, labels = data["boxes"], data["labels"]
    # Scores without ties: where two decays meet in one score, rounding decides who comes first.
    scores = np.random.default_rng(seed).uniform(0.001, 1, count)

    def factor(i: int, k: int) -> float:
        overlap = slow_iou(boxes[i], boxes[k]) if labels[i] == labels[k] else 0.0
        if method == "gaussian":
            return math.exp(-(overlap**2) / setting)
        return 1 - overlap if overlap >= setting else 1.0

    picked: list[int] = []
    lowered: list[float] = []
    while True:
        now = {i: scores[i] * math.prod(factor(i, k) for k in picked) for i in range(count) if i not in picked}
        if not now or max(now.values()) < least:
            break
        best = max(now, key=lambda i: now[i])
        lowered.append(now[best])
        picked.append(best)
    option = {"iou_threshold": setting} if method == "linear" else {"sigma": setting}
    for backend in BACKENDS:
        found, new = soft_nms_rotated(
            boxes, scores, labels, method=method, score_threshold=least, backend=backend, **option
        )
        assert found.tolist() == picked
        np.testing.assert_allclose(new, lowered, rtol=1e-9)


def test_soft_nms_by_hand() -> None:
    """A third of overlap, and two ties: by input order, and one that the decay makes."""
    boxes = [[0, 0, 2, 2, 0], [1, 0, 2, 2, 0], [50, 0, 2, 2, 0], [60, 0, 2, 2, 0], [50, 0, 2, 2, 0]]
    found, scores = soft_nms_rotated(boxes, [0.75, 0.75, 0.5, 0.5, 0.4], score_threshold=0.01)
    assert found.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(scores, [0.75, 0.5, 0.5, 0.5], rtol=1e-12)
    found, scores = soft_nms_rotated(boxes, [0.75, 0.75, 0.5, 0.5, 0.4], [0, 1, 0, 0, 1])
    assert found.tolist() == [0, 1, 2, 3, 4]
    assert scores.tolist() == [0.75, 0.75, 0.5, 0.5, 0.4]
    found, scores = soft_nms_rotated(boxes[:2], [1.0, 0.9], method="gaussian", sigma=0.25)
    np.testing.assert_allclose(scores, [1, 0.9 * math.exp(-4 / 9)], rtol=1e-12)


def test_many_boxes_are_suppressed_as_few_are() -> None:
    """More than are looked at in one go: of those that stay none overlaps a better one, and the others do."""
    rng = np.random.default_rng(0)
    boxes = np.concatenate(
        [rng.uniform(0, 700, (5_000, 2)), rng.uniform(4, 40, (5_000, 2)), rng.uniform(-1, 1, (5_000, 1))], axis=1
    )
    scores = rng.integers(0, 50, 5_000) / 50
    kept = nms_rotated(boxes, scores, 0.2)
    overlaps = box_iou_rotated(boxes, boxes[kept])
    rank = np.lexsort((np.arange(5_000), -scores)).argsort()
    better = rank[:, None] > rank[kept]
    suppressed = (overlaps * better > 0.2).any(axis=1)
    assert (np.flatnonzero(~suppressed) == np.sort(kept)).all()
    assert (np.diff(rank[kept]) > 0).all()


def test_nms_by_hand() -> None:
    """Best first, ties in the order of the input; an overlap equal to the threshold does not suppress."""
    boxes = [[0, 0, 2, 2, 0], [0, 0, 2, 2, 0], [0.5, 0, 1, 2, 0], [50, 0, 2, 2, 0]]
    assert nms_rotated(boxes, [0.5, 0.5, 0.4, 0.9], 0.5).tolist() == [3, 0, 2]
    assert nms_rotated(boxes, [0.5, 0.5, 0.4, 0.9], 0.49).tolist() == [3, 0]
    assert nms_rotated(boxes, [0.5, 0.5, 0.4, 0.9], 0.49, [0, 1, 1, 0]).tolist() == [3, 0, 1]
    assert nms_rotated(boxes, [0.1, 0.2, 0.3, 0.4], 1.0).tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_quads_are_suppressed_by_their_own_overlaps(backend: str, by_class: bool) -> None:
    rng = np.random.default_rng(0)
    quads = rng.uniform(0, 60, (80, 1, 2)) + rng.uniform(0, 20, (80, 4, 2))
    scores, labels = rng.integers(0, 9, 80), rng.integers(0, 2, 80)
    overlaps, kept = quad_iou(quads, quads), []
    for i in np.argsort(-scores, kind="stable"):
        if not any(overlaps[i, k] > 0.2 and (not by_class or labels[i] == labels[k]) for k in kept):
            kept.append(i)
    assert 5 < len(kept) < 75
    assert nms_rotated(quads, scores, 0.2, labels if by_class else None, backend=backend).tolist() == kept
    with pytest.raises(MetricsError, match=r"quads|boxes of shape"):
        nms_rotated(quads.reshape(80, 8), scores, 0.2)


def test_a_box_without_area_stays() -> None:
    assert nms_rotated([[0, 0, 2, 2, 0], [0, 0, 2, 0, 0], [0, 0, 2, 0, 0]], [0.9, 0.8, 0.7], 0.0).tolist() == [0, 1, 2]


def test_merging_by_hand() -> None:
    """Two windows, 0-100 and 80-180, saw the object at 90; the second also saw it twice."""
    windows = [[0, 0, 100, 100], [80, 0, 180, 100]]
    cut, whole, again = [92, 50, 16, 10, 0.0], [90, 50, 20, 10, 0.0], [91, 50, 20, 10, 0.0]
    boxes, window = [cut, whole, again], [0, 1, 1]
    # Without scores the border decides: 8 px from it, 10 px and 11 px.
    assert merge_windows(boxes, [0, 0, 0], None, window, windows).tolist() == [1, 2]
    # The best score stays; both boxes of the other window go.
    assert merge_windows(boxes, [0, 0, 0], [0.9, 0.5, 0.5], window, windows).tolist() == [0]
    # Other classes are other objects.
    assert merge_windows(boxes, [0, 1, 1], None, window, windows).tolist() == [0, 1, 2]
    # In one window nothing is merged.
    assert merge_windows(boxes, [0, 0, 0], None, [1, 1, 1], windows).tolist() == [0, 1, 2]


def test_nothing_in_nothing_out() -> None:
    assert nms_rotated([], [], 0.5).tolist() == []
    assert [part.tolist() for part in soft_nms_rotated([], [])] == [[], []]
    assert merge_windows([], [], None, [], []).tolist() == []
    assert merge_windows(np.zeros((0, 5)), [], [], [], [[0, 0, 1, 1]]).tolist() == []


BOX = [[0, 0, 1, 1, 0]]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: nms_rotated(BOX, [math.nan], 0.5), r"got nan at scores\[0\]"),
        (lambda: nms_rotated(BOX, [0.5, 0.5], 0.5), r"scores of shape \(1,\).*got \(2,\)"),
        (lambda: nms_rotated(BOX, [0.5], 1.5), "iou_threshold from 0 to 1, got 1.5"),
        (lambda: soft_nms_rotated(BOX, [-0.5]), r"scores of 0 or more, got -0.5 at scores\[0\]"),
        (lambda: soft_nms_rotated(BOX, [0.5], sigma=0), "sigma above 0, got 0"),
        (lambda: soft_nms_rotated(BOX, [0.5], iou_threshold=2), "iou_threshold from 0 to 1, got 2"),
        (lambda: nms_rotated(BOX, [0.5], 0.5, backend="triton"), "'numba' for suppression, got 'triton'"),
        (lambda: nms_rotated(BOX, [0.5], 0.5, [0.5]), "whole numbers in labels, got float64"),
        (
            lambda: merge_windows(BOX, [0], None, [1], [[0, 0, 1, 1]]),
            r"0 or more, below 1, got 1 at window_index\[0\]",
        ),
        (lambda: merge_windows(BOX, [0], None, [-1], [[0, 0, 1, 1]]), r"got -1 at window_index\[0\]"),
        (lambda: merge_windows(BOX, [0], None, [0], [[0, 0, 0, 1]]), r"x0 < x1.*windows\[0\]"),
        (lambda: merge_windows(BOX, [0], None, [0], [[0, 0, 1]]), r"windows of shape \(M, 4\)"),
        (lambda: merge_windows([[0, 0, -1, 1, 0]], [0], None, [0], [[0, 0, 1, 1]]), r"boxes\[0\]"),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(MetricsError, match=message):
        call()
