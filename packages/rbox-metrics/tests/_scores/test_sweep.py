"""The sweep over score thresholds against evaluations of what each threshold leaves, and LMMRotate's F1 as loops."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbox_formats import ImageRecord
from rbox_metrics import MetricsError, evaluate, sweep_scores

NAMES = ("plane", "ship", "tank")
THRESHOLDS = (0.0, 0.25, 0.4, 0.7)


def scene(seed: int, images: int = 4, difficult: float = 0.2) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """Truths, and jittered copies of them with scores in steps of 0.05, some of the wrong class, some of nothing."""
    rng = np.random.default_rng(seed)

    def boxes(count: int) -> np.ndarray:
        return np.c_[rng.uniform(0, 60, (count, 2)), rng.uniform(5, 25, (count, 2)), rng.uniform(-1.5, 1.5, count)]

    truths, predictions = [], []
    for image in range(images):
        n = int(rng.integers(0, 8))
        truth, labels = boxes(n), rng.integers(0, 2, n)
        truths.append(ImageRecord(f"{image}", truth, labels, difficult=rng.random(n) < difficult))
        picks = rng.integers(0, n, 2 * n) if n else np.zeros(0, int)
        copies = truth[picks] + rng.normal(0, 1, (len(picks), 5)) * [1, 1, 1, 1, 0.1]
        detected = np.concatenate([copies, boxes(3)])
        found = np.concatenate([np.where(rng.random(len(picks)) < 0.3, 0, labels[picks]), rng.integers(0, 2, 3)])
        scores = rng.integers(0, 21, len(detected)) / 20
        predictions.append(ImageRecord(f"{image}", detected, found, scores=scores))
    return truths, predictions


def filtered(records: list[ImageRecord], keep: Callable[[np.ndarray], np.ndarray]) -> list[ImageRecord]:
    return [record.select(keep(record.scores)) for record in records]


@settings(max_examples=12)
@given(seed=st.integers(0, 10**6))
def test_each_threshold_is_an_evaluation_of_what_is_left(seed: int) -> None:
    truths, predictions = scene(seed)
    sweep = sweep_scores(truths, predictions, NAMES, thresholds=THRESHOLDS)
    for s, threshold in enumerate(THRESHOLDS):
        reached = evaluate(truths, filtered(predictions, lambda x, t=threshold: x >= t), NAMES).at[0]
        above = evaluate(truths, filtered(predictions, lambda x, t=threshold: x > t), NAMES).at[0]
        for name in ("precision_micro", "recall_micro", "f1_micro", "f1_macro"):
            assert getattr(sweep, name)[s] == pytest.approx(getattr(reached, name), nan_ok=True), name
        for name in ("map_nc", "map_nc_tied"):
            assert getattr(sweep, name)[s] == pytest.approx(getattr(above, name), nan_ok=True), name
        for c in range(len(NAMES)):
            assert sweep.f1[s, c] == pytest.approx(reached.classes[c].f1, nan_ok=True)
            assert sweep.ap_nc[s, c] == pytest.approx(above.classes[c].ap_nc, nan_ok=True)


def as_coded(truths: list, predictions: list, iou: Callable, threshold: float) -> float:
    """LMMRotate's F1 from its description: a matrix filled pair by pair."""
    labels = [label for record in truths for label in record.labels[~record.difficult]]
    size = max(labels) + 2
    matrix = np.zeros((size, size))
    for truth, prediction in zip(truths, predictions, strict=True):
        wanted = [(truth.boxes[k], truth.labels[k]) for k in np.flatnonzero(~truth.difficult)]
        hit = [False] * len(wanted)
        for box, label, score in zip(prediction.boxes, prediction.labels, prediction.scores, strict=True):
            if score < threshold:
                continue
            on_any = False
            for k, (truth_box, truth_label) in enumerate(wanted):
                if iou(box, truth_box) >= 0.5:
                    on_any = True
                    hit[k] |= bool(truth_label == label)
                    matrix[truth_label, label] += 1
            matrix[-1, label] += not on_any
        for found, (_, truth_label) in zip(hit, wanted, strict=True):
            matrix[truth_label, -1] += not found
    diagonal = np.diag(matrix)
    precision, recall = (np.mean(diagonal / np.where(s == 0, 1, s)) for s in (matrix.sum(axis=0), matrix.sum(axis=1)))
    return 2 * precision * recall / (precision + recall) if precision + recall else math.nan


@settings(max_examples=12)
@given(seed=st.integers(0, 10**6))
def test_lmmrotates_f1_is_that_of_its_loops(slow_iou: Callable, seed: int) -> None:
    truths, predictions = scene(seed)
    # Two classes with truth, so that labels go up to the last.
    truths[0] = ImageRecord("0", np.array([[500.0, 0, 9, 9, 0], [700, 0, 9, 9, 0]]), np.array([0, 1]))
    sweep = sweep_scores(truths, predictions, NAMES, thresholds=THRESHOLDS)
    expected = [as_coded(truths, predictions, slow_iou, threshold) for threshold in THRESHOLDS]
    assert sweep.f1_lmmrotate.tolist() == pytest.approx(expected, nan_ok=True)


def test_lmmrotates_f1_of_perfect_detections_is_not_one() -> None:
    truths, _ = scene(1, difficult=0)
    copies = [ImageRecord(t.image_id, t.boxes[::1], t.labels, scores=np.ones(len(t))) for t in truths]
    # Boxes far apart, so that no pair overlaps but the right one.
    far = np.arange(sum(map(len, truths)))[:, None] * np.array([100.0, 0, 0, 0, 0])
    spread = np.split(far, np.cumsum([len(t) for t in truths])[:-1])
    moved = [
        [ImageRecord(r.image_id, r.boxes + d, r.labels, scores=r.scores) for r, d in zip(rs, spread, strict=True)]
        for rs in (truths, copies)
    ]
    assert sweep_scores(*moved, NAMES).f1_lmmrotate == pytest.approx(2 / 3)


def test_lmmrotates_f1_where_a_detection_is_of_a_later_class() -> None:
    """Of the next class it counts as background, beyond that the script fails."""
    box = np.array([[10.0, 10, 10, 4, 0]])
    truth = [ImageRecord("p", box, np.array([0]))]

    def f1(label: int) -> float:
        detected = ImageRecord("p", np.concatenate([box, box]), np.array([0, label]), scores=np.ones(2))
        return sweep_scores(truth, [detected], NAMES, thresholds=(0.5,)).f1_lmmrotate[0]

    # Row of the ship: one hit, one in background's column. Precision 1, 0; recall 1/2, 0.
    assert f1(1) == pytest.approx(2 * 0.5 * 0.25 / 0.75)
    assert math.isnan(f1(2))


def test_best_thresholds() -> None:
    far = np.array([[100.0 * k, 10, 10, 4, 0] for k in range(5)])
    truth = [ImageRecord("p", far[:4], np.array([0, 0, 1, 1]))]
    # The ship's second hit is below a miss; the tank's miss is below both hits.
    detected = ImageRecord(
        "p", far[[0, 4, 1, 2, 3, 4]], np.array([0, 0, 0, 1, 1, 1]), scores=np.array([0.9, 0.5, 0.3, 0.8, 0.7, 0.6])
    )
    sweep = sweep_scores(truth, [detected], ["plane", "ship"])
    assert sweep.best_per_class["plane"].threshold == 0.0
    assert sweep.best_per_class["plane"].value == pytest.approx(4 / 5)
    assert sweep.best_per_class["ship"].value == 1
    # Above 0.6 as it is stored, up to 0.7.
    assert sweep.best_per_class["ship"].threshold == pytest.approx(0.65)
    assert sweep.f1_macro_per_class == pytest.approx(0.9)
    common = sweep.best("f1_micro")
    assert common.value == max(sweep.f1_micro)
    assert sweep.best("map_nc", among=(0.1, 0.7)).threshold in (0.1, 0.7)
    with pytest.raises(MetricsError, match=r"expected a metric among .*map_nc.*, got 'thresholds'"):
        sweep.best("thresholds")
    with pytest.raises(MetricsError, match=r"expected at least one of the thresholds 0, 0\.05"):
        sweep.best("map_nc", among=(0.123,))


def test_a_class_without_truth_and_no_predictions() -> None:
    truth = [ImageRecord("p", np.array([[10.0, 10, 10, 4, 0]]), np.array([0]))]
    sweep = sweep_scores(truth, [], ["plane", "ship"])
    assert np.isnan(sweep.f1[:, 1]).all()
    assert (sweep.f1[:, 0] == 0).all()
    assert (sweep.map_nc == 0).all()
    assert json.dumps(sweep.to_dict()["best"]["f1_micro"]) == '{"value": 0.0, "threshold": 0.0}'


@pytest.mark.parametrize("thresholds", [(), (0.5, 0.5), (0.5, 0.1), (0.1, math.nan)])
def test_thresholds_must_rise(thresholds: tuple) -> None:
    with pytest.raises(MetricsError, match="rising score thresholds"):
        sweep_scores([], [], ["plane"], thresholds=thresholds)
