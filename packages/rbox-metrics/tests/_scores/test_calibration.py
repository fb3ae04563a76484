"""Calibration by hand, against plain loops, and for scores that are calibrated by making."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbox_formats import ImageRecord
from rbox_metrics import MetricsError, calibration, evaluate, from_arrays
from rbox_metrics._matching import pair
from rbox_metrics._scores import calibration_of

Iou = Callable[[np.ndarray, np.ndarray], float]
Scene = Callable[..., tuple[list[ImageRecord], list[ImageRecord]]]
NAMES = ("plane", "ship", "tank")


def row(count: int) -> np.ndarray:
    """Boxes far apart."""
    return np.column_stack(
        [np.arange(count) * 40.0, np.zeros(count), np.full((count, 2), [10.0, 4.0]), np.zeros(count)]
    )


def scored(right: list[bool], scores: list[float], labels: list[int] | None = None) -> tuple:
    """Truths, and detections that lie on them or beside, one each."""
    boxes, labels = row(len(right)), labels or [0] * len(right)
    detected = boxes + np.where(np.array(right, bool)[:, None], 0, [0.0, 500, 0, 0, 0])
    image = np.zeros(len(right), int)
    return from_arrays(boxes, labels, image), from_arrays(detected, labels, image, scores)


def test_by_hand() -> None:
    """Five bins: 0.2 belongs to the first, 0.21 to the second, 0 to the first, 1 to the last."""
    truth, detected = scored([False, True, True, False, True], [0, 0.2, 0.21, 0.9, 1])
    found = calibration(truth, detected, ["a"], bins=5)
    np.testing.assert_allclose(found.edges, [0, 0.2, 0.4, 0.6, 0.8, 1])
    np.testing.assert_array_equal(found.counts, [2, 1, 0, 0, 2])
    np.testing.assert_allclose(found.confidence, [0.1, 0.21, np.nan, np.nan, 0.95])
    np.testing.assert_allclose(found.accuracy, [0.5, 1, np.nan, np.nan, 0.5])
    assert found.ece == pytest.approx((2 * 0.4 + 1 * 0.79 + 2 * 0.45) / 5)
    assert found.mce == pytest.approx(0.79)
    np.testing.assert_allclose(found.ece_per_class, [found.ece])
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["accuracy"] == [0.5, 1, None, None, 0.5]


def test_duplicates_are_wrong_and_difficult_ones_left_out() -> None:
    truth = from_arrays(row(2), [0, 0], [0, 0], difficult=[False, True])
    detected = from_arrays(row(2)[[0, 0, 1]], [0, 0, 0], [0, 0, 0], [0.9, 0.8, 0.7])
    found = calibration(truth, detected, ["a"], bins=10)
    assert found.counts.tolist() == [0] * 7 + [1, 1, 0]
    np.testing.assert_allclose(found.accuracy[[7, 8]], [0, 1])


def test_classes_have_their_own_error_and_none_without_detections() -> None:
    truth, detected = scored([True, False], [0.75, 0.75], [0, 2])
    found = calibration(truth, detected, NAMES)
    np.testing.assert_allclose(found.ece_per_class, [0.25, np.nan, 0.75])
    assert found.ece == pytest.approx(0.25)  # together one in two is right


def judged(
    truths: list[ImageRecord], predictions: list[ImageRecord], iou: Iou, threshold: float
) -> list[tuple[int, float, bool]]:
    """Class, score and whether it is right, of every detection that counts: matched one to one by falling score."""
    found = []
    truth_of = {t.image_id: t for t in truths}
    for d in predictions:
        t = truth_of[d.image_id]
        pairs = [(i, j) for i in range(len(d)) for j in range(len(t)) if d.labels[i] == t.labels[j]]
        overlaps = {(i, j): iou(d.boxes[i], t.boxes[j]) for i, j in pairs}
        close = [pair for pair in pairs if overlaps[pair] >= threshold]
        right, taken = set(), set()
        for i, j in sorted(close, key=lambda pair: (-d.scores[pair[0]], -overlaps[pair])):
            if not t.difficult[j] and i not in right and j not in taken:
                right.add(i), taken.add(j)
        excused = {i for i, j in close if t.difficult[j]} - right
        found += [(int(d.labels[i]), float(d.scores[i]), i in right) for i in range(len(d)) if i not in excused]
    return found


def expected_error(judgements: list[tuple[int, float, bool]], edges: np.ndarray) -> float:
    bins: dict[int, list[tuple[float, bool]]] = {}
    for _, score, right in judgements:
        bins.setdefault(next(g for g in range(len(edges)) if score <= edges[g + 1]), []).append((score, right))
    gaps = [abs(sum(score for score, _ in rows) - sum(right for _, right in rows)) for rows in bins.values()]
    return sum(gaps) / len(judgements) if judgements else math.nan


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(0, 4),
    bins=st.sampled_from([1, 4, 15]),
    score_levels=st.sampled_from([4, 1000]),
    binning=st.sampled_from(["width", "mass"]),
)
def test_errors_are_those_of_the_plain_loops(
    slow_iou: Iou, crowded_scene: Scene, seed: int, images: int, bins: int, score_levels: int, binning: str
) -> None:
    truths, predictions = crowded_scene(seed, images, score_levels)
    found = calibration(truths, predictions, NAMES, bins=bins, iou_threshold=0.3, binning=binning)
    judgements = judged(truths, predictions, slow_iou, 0.3)
    assert found.counts.sum() == len(judgements)
    assert found.ece == pytest.approx(expected_error(judgements, found.edges), nan_ok=True, abs=1e-9)
    for c in range(3):
        of_class = [judgement for judgement in judgements if judgement[0] == c]
        assert found.ece_per_class[c] == pytest.approx(expected_error(of_class, found.edges), nan_ok=True, abs=1e-9)
    figures = evaluate(truths, predictions, NAMES, iou_thresholds=(0.3,)).figures
    if len(judgements) and not math.isnan(figures["precision_micro"]):
        hits = np.nansum(found.counts * found.accuracy)
        assert hits / len(judgements) == pytest.approx(figures["precision_micro"])


def test_scores_that_are_probabilities_have_little_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(20_000)
    truth, detected = scored((rng.random(len(scores)) < scores).tolist(), scores.tolist())
    for binning in ("width", "mass"):
        found = calibration(truth, detected, ["a"], binning=binning)
        assert found.ece < 0.015
        squared = from_arrays(detected.boxes, detected.labels, detected.image_index, scores**2)
        # The mean of p - p^2 over p from 0 to 1.
        assert calibration(truth, squared, ["a"], binning=binning).ece == pytest.approx(1 / 6, abs=0.015)


def test_bins_of_equal_mass_hold_as_many_detections() -> None:
    rng = np.random.default_rng(1)
    truth, detected = scored([True] * 100, (rng.random(100) ** 4).tolist())
    assert calibration(truth, detected, ["a"], bins=10, binning="mass").counts.tolist() == [10] * 10
    # All scores the same, as a model may invent them: one bin has them all.
    truth, detected = scored([True, False, False], [0.9] * 3)
    found = calibration(truth, detected, ["a"], bins=3, binning="mass")
    assert sorted(found.counts.tolist()) == [0, 0, 3]
    assert found.ece == pytest.approx(0.9 - 1 / 3)


def test_without_scores_or_detections_there_is_none() -> None:
    truth, detected = scored([True], [0.5])
    bare = from_arrays(detected.boxes, detected.labels, detected.image_index)
    none = from_arrays([], [], [], [])
    for predictions in (bare, none):
        found = calibration(truth, predictions, ["a"], bins=4)
        assert math.isnan(found.ece)
        assert math.isnan(found.mce)
        assert np.isnan(found.ece_per_class).all()
        assert found.counts.tolist() == [0] * 4
        assert np.isnan(found.accuracy).all()
        assert found.to_dict()["ece"] is None


def test_a_report_has_none_for_scores_that_are_no_probabilities() -> None:
    truth, detected = scored([True, True], [7.5, -2])
    paired = pair(truth, detected, ["a"])
    assert math.isnan(calibration_of(paired).ece)


@pytest.mark.parametrize(
    "score, options, message",
    [
        (1.5, {}, r"scores from 0 to 1, got 1.5 at boxes\[1\]\nTurn the model's scores into probabilities"),
        (-0.1, {}, r"got -0.1 at boxes\[1\]"),
        (0.5, {"bins": 0}, "expected 1 bin or more, got 0"),
        (0.5, {"iou_threshold": 0.0}, "IoU thresholds above 0"),
    ],
)
def test_bad_input_is_named(score: float, options: dict, message: str) -> None:
    truth, detected = scored([True, True], [0.5, score])
    with pytest.raises(MetricsError, match=message):
        calibration(truth, detected, ["a"], **options)


def test_an_unknown_binning_is_named() -> None:
    truth, detected = scored([True], [0.5])
    with pytest.raises(MetricsError, match="binning 'width' or 'mass', got 'depth'"):
        inspect.unwrap(calibration)(truth, detected, ["a"], binning="depth")
