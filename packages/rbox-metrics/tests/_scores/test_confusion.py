"""Confusion matrices by hand, against the rule written down again as plain loops, and what their sums must be."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbox_formats import ImageRecord
from rbox_metrics import MetricsError, confusion_matrix, evaluate, from_arrays

Iou = Callable[[np.ndarray, np.ndarray], float]
Scene = Callable[..., tuple[list[ImageRecord], list[ImageRecord]]]
NAMES = ("plane", "ship", "tank")
PLANE, SHIP, TANK, NOTHING = range(4)

# Moved by k along its side of 10, a box of 10 x 4 overlaps itself by (10 - k) / (10 + k).
A, B = [10, 10, 10, 4, 0], [50, 10, 10, 4, 0]


def moved(box: list, by: float) -> list:
    return [box[0] + by, *box[1:]]


def record(boxes: list, labels: list, **fields: list) -> ImageRecord:
    columns = {name: np.array(values) for name, values in fields.items()}
    return ImageRecord("p", np.array(boxes, float).reshape(-1, 5), np.array(labels, int), **columns)


def cells(truth: ImageRecord, detected: ImageRecord, **options: float) -> dict[tuple[int, int], int]:
    counts = confusion_matrix([truth], [detected], NAMES, **options).counts
    return {(int(r), int(c)): int(counts[r, c]) for r, c in zip(*np.nonzero(counts), strict=True)}


@pytest.mark.parametrize(
    "boxes, labels, scores, expected",
    [
        pytest.param([A, B], [PLANE, SHIP], [0.5, 0.5], {(PLANE, PLANE): 1, (SHIP, SHIP): 1}, id="all right"),
        pytest.param([], [], [], {(PLANE, NOTHING): 1, (SHIP, NOTHING): 1}, id="nothing detected"),
        pytest.param([A, B], [TANK, SHIP], [0.5, 0.5], {(PLANE, TANK): 1, (SHIP, SHIP): 1}, id="one confused"),
        pytest.param(
            [moved(A, 2), A, B],
            [PLANE, TANK, SHIP],
            [0.1, 0.9, 0.9],
            {(PLANE, PLANE): 1, (NOTHING, TANK): 1, (SHIP, SHIP): 1},
            id="a better placed and scored one of another class does not take the truth",
        ),
        pytest.param(
            [A, moved(A, 1), B],
            [PLANE, PLANE, SHIP],
            [0.1, 0.9, 0.9],
            {(PLANE, PLANE): 1, (NOTHING, PLANE): 1, (SHIP, SHIP): 1},
            id="a duplicate",
        ),
        pytest.param(
            [moved(A, 1), A, B],
            [SHIP, TANK, SHIP],
            [0.9, 0.1, 0.9],
            {(PLANE, TANK): 1, (NOTHING, SHIP): 1, (SHIP, SHIP): 1},
            id="of two of other classes the better placed one",
        ),
        pytest.param(
            [A, A, B],
            [SHIP, TANK, SHIP],
            [0.9, 0.1, 0.9],
            {(PLANE, SHIP): 1, (NOTHING, TANK): 1, (SHIP, SHIP): 1},
            id="and of equally well placed ones the better scored one",
        ),
        pytest.param(
            [moved(A, 4), B],
            [PLANE, SHIP],
            [0.9, 0.9],
            {(PLANE, NOTHING): 1, (NOTHING, PLANE): 1, (SHIP, SHIP): 1},
            id="too little overlap",
        ),
    ],
)
def test_by_hand(boxes: list, labels: list, scores: list, expected: dict) -> None:
    assert cells(record([A, B], [PLANE, SHIP]), record(boxes, labels, scores=scores)) == expected


def test_difficult_truths_are_on_neither_side() -> None:
    truth = record([A, B], [PLANE, SHIP], difficult=[True, False])
    # Both detections of planes are excused; that of a ship on a plane has found nothing.
    detected = record([A, moved(A, 1), A, B], [PLANE, PLANE, SHIP, SHIP], scores=[0.9, 0.8, 0.7, 0.6])
    assert cells(truth, detected) == {(SHIP, SHIP): 1, (NOTHING, SHIP): 1}


def test_a_score_threshold_frees_what_lower_scores_had_taken() -> None:
    truth = record([A, B], [PLANE, SHIP])
    detected = record([A, A, B], [PLANE, TANK, SHIP], scores=[0.3, 0.5, 0.7])
    assert cells(truth, detected, score_threshold=0.3) == {(0, 0): 1, (NOTHING, TANK): 1, (SHIP, SHIP): 1}
    assert cells(truth, detected, score_threshold=0.5) == {(PLANE, TANK): 1, (SHIP, SHIP): 1}
    assert cells(truth, detected, score_threshold=0.51) == {(PLANE, NOTHING): 1, (SHIP, SHIP): 1}


def slow(
    truths: list[ImageRecord], predictions: list[ImageRecord], iou: Iou, threshold: float, least_score: float
) -> np.ndarray:
    """The rule as loops: same class by falling score and IoU, then the rest by falling IoU."""
    counts = np.zeros((4, 4), int)
    detected = {p.image_id: p for p in predictions}
    for t in truths:
        d = detected.get(t.image_id, t.select(np.zeros(0, int)))
        scores = np.ones(len(d)) if d.scores is None else d.scores
        alive = [k for k in range(len(d)) if scores[k] >= least_score]
        pairs = [(i, j, iou(d.boxes[i], t.boxes[j])) for i in alive for j in range(len(t))]
        pairs = [pair for pair in pairs if pair[2] >= threshold]
        open_truths = {j for j in range(len(t)) if not t.difficult[j]}
        open_detections = set(alive)

        def take(candidates: list) -> None:
            for i, j, _ in candidates:
                if i in open_detections and j in open_truths:  # noqa: B023
                    open_detections.remove(i)  # noqa: B023
                    open_truths.remove(j)  # noqa: B023
                    counts[t.labels[j], d.labels[i]] += 1  # noqa: B023

        same = [pair for pair in pairs if d.labels[pair[0]] == t.labels[pair[1]]]
        take(sorted(same, key=lambda pair: (-scores[pair[0]], -pair[2])))
        open_detections -= {i for i, j, _ in same if t.difficult[j]}
        take(sorted((pair for pair in pairs if pair not in same), key=lambda pair: -pair[2]))
        for i in open_detections:
            counts[3, d.labels[i]] += 1
        for j in open_truths:
            counts[t.labels[j], 3] += 1
    return counts


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(0, 4),
    score_levels=st.sampled_from([None, 2, 1000]),
    difficult=st.sampled_from([0, 0.3]),
    threshold=st.sampled_from([0.1, 0.3, 0.5]),
    score_threshold=st.sampled_from([None, 0.0, 0.5]),
)
def test_counts_are_those_of_the_plain_loops(
    slow_iou: Iou,
    crowded_scene: Scene,
    seed: int,
    images: int,
    score_levels: int | None,
    difficult: float,
    threshold: float,
    score_threshold: float | None,
) -> None:
    truths, predictions = crowded_scene(seed, images, score_levels, difficult)
    confusion = confusion_matrix(truths, predictions, NAMES, iou_threshold=threshold, score_threshold=score_threshold)
    least_score = -np.inf if score_threshold is None else score_threshold
    np.testing.assert_array_equal(confusion.counts, slow(truths, predictions, slow_iou, threshold, least_score))


@settings(max_examples=50)
@given(seed=st.integers(0, 10**6), score_levels=st.sampled_from([None, 2, 1000]))
def test_the_diagonal_is_the_report_s_precision_and_recall(
    crowded_scene: Scene, seed: int, score_levels: int | None
) -> None:
    truths, predictions = crowded_scene(seed, 5, score_levels)
    confusion = confusion_matrix(truths, predictions, NAMES)
    report = evaluate(truths, predictions, NAMES)
    by_truth, by_detection = confusion.by_truth.diagonal(), confusion.by_detection.diagonal()
    for c, figures in enumerate(report.at[0].classes):
        assert confusion.counts[c].sum() == figures.truths
        assert confusion.counts[:, c].sum() <= figures.detections
        if figures.truths:
            assert by_truth[c] == pytest.approx(figures.recall)
            assert np.nan_to_num(by_detection[c]) == pytest.approx(figures.precision)
        else:
            assert np.isnan(by_truth[c])
    assert confusion.counts[3, 3] == 0


@settings(max_examples=50)
@given(seed=st.integers(0, 10**6))
def test_order_changes_nothing_where_everything_ties(seed: int) -> None:
    """Boxes, scores and overlaps of few values, the same box at times with several labels."""
    rng = np.random.default_rng(seed)

    def records(scored: bool) -> list[ImageRecord]:
        made = []
        for image in range(3):
            n = int(rng.integers(0, 10))
            boxes = np.column_stack([rng.integers(0, 3, (n, 2)) * 2.0, np.full((n, 2), [8.0, 4.0]), np.zeros(n)])
            scores = rng.integers(1, 3, n) / 2 if scored else None
            made.append(ImageRecord(f"{image}", boxes, rng.integers(0, 3, n), scores=scores))
        return made

    truths, predictions = records(False), records(True)

    def shuffled(given: list[ImageRecord]) -> list[ImageRecord]:
        return [given[k].select(rng.permutation(len(given[k]))) for k in rng.permutation(len(given))]

    before = confusion_matrix(truths, predictions, NAMES, iou_threshold=0.3).counts
    after = confusion_matrix(shuffled(truths), shuffled(predictions), NAMES, iou_threshold=0.3).counts
    np.testing.assert_array_equal(after, before)


def test_shares_and_json() -> None:
    truth = record([A, B, moved(B, 100)], [PLANE, PLANE, SHIP])
    detected = record([A, B, moved(B, 200)], [PLANE, SHIP, SHIP])
    confusion = confusion_matrix([truth], [detected], NAMES, score_threshold=0.5)
    assert confusion.labels == ("plane", "ship", "tank", "background")
    np.testing.assert_array_equal(confusion.by_truth[0], [0.5, 0.5, 0, 0])
    np.testing.assert_array_equal(confusion.by_detection[:, 1], [0.5, 0, 0, 0.5])
    assert np.isnan(confusion.by_truth[TANK]).all()
    assert np.isnan(confusion.by_detection[:, TANK]).all()
    assert json.loads(json.dumps(confusion.to_dict())) == {
        "iou_threshold": 0.5,
        "score_threshold": 0.5,
        "labels": ["plane", "ship", "tank", "background"],
        "counts": [[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]],
    }


def test_an_overlap_that_equals_the_threshold_is_too_little_for_dota() -> None:
    half = from_arrays([[12.5, 10, 5, 4, 0]], [0], [0])
    truth = from_arrays([A], [0], [0])
    assert confusion_matrix(truth, half, ["plane"]).counts[0, 0] == 1
    assert confusion_matrix(truth, half, ["plane"], protocol="dota", geometry="rbox").counts[0, 0] == 0


def test_bad_input_is_named() -> None:
    truth = record([A], [PLANE])
    with pytest.raises(MetricsError, match="expected a number for the score threshold, got NaN"):
        confusion_matrix([truth], [truth], NAMES, score_threshold=float("nan"))
    with pytest.raises(MetricsError, match=r"IoU thresholds above 0 and up to 1, got \[1.5\]"):
        confusion_matrix([truth], [truth], NAMES, iou_threshold=1.5)
