"""Precision-recall curves by hand and beside the average precisions that are taken below them."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbox_formats import ImageRecord
from rbox_metrics import MetricsError, evaluate, precision_recall_curves

Scene = Callable[..., tuple[list[ImageRecord], list[ImageRecord]]]
NAMES = ("plane", "ship", "tank")
RECALLS = {"voc07": np.arange(0, 1 + 1e-3, 0.1), "coco": np.linspace(0, 1, 101)}


def record(boxes: list, **fields: list) -> ImageRecord:
    columns = {name: np.array(values) for name, values in fields.items()}
    return ImageRecord("p", np.array(boxes, float), np.zeros(len(boxes), int), **columns)


A, B, C, HARD, AWAY = ([10 + 40 * k, 10, 10, 4, 0] for k in range(5))


def test_by_hand() -> None:
    """Three truths: hit, miss, hit, duplicate, and one on a difficult truth that is no point of the curve."""
    truth = record([A, B, C, HARD], difficult=[False, False, False, True])
    detected = record([AWAY, A, HARD, B, A], scores=[0.8, 0.9, 0.85, 0.7, 0.6])
    curves = precision_recall_curves([truth], [detected], ["ship", "tank"])
    ship, tank = curves.classes
    assert (ship.name, ship.truths) == ("ship", 3)
    np.testing.assert_array_equal(ship.scores, [0.9, 0.8, 0.7, 0.6])
    np.testing.assert_allclose(ship.precision, [1, 1 / 2, 2 / 3, 1 / 2])
    np.testing.assert_allclose(ship.recall, [1 / 3, 1 / 3, 2 / 3, 2 / 3])
    np.testing.assert_allclose(ship.sampled(np.array([0, 0.3, 0.34, 0.6, 0.7, 1])), [1, 1, 2 / 3, 2 / 3, 0, 0])
    assert ship.average_precision == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)
    # No truth: nothing to recall, and no part in the mean.
    assert (tank.truths, len(tank.scores)) == (0, 0)
    assert np.isnan(tank.sampled()).all()
    np.testing.assert_array_equal(curves.mean(), ship.sampled())
    found = json.loads(json.dumps(curves.to_dict(), allow_nan=False))
    assert found["classes"][1] == {
        "name": "tank",
        "truths": 0,
        "average_precision": None,
        "precision": [None] * 101,
    }
    assert found["mean_precision"] == found["classes"][0]["precision"]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(0, 5),
    score_levels=st.sampled_from([None, 2, 1000]),
    protocol=st.sampled_from(["voc07", "coco"]),
    threshold=st.sampled_from([0.3, 0.5]),
)
def test_the_mean_of_the_sampled_precisions_is_the_average_precision(
    crowded_scene: Scene, seed: int, images: int, score_levels: int | None, protocol: str, threshold: float
) -> None:
    truths, predictions = crowded_scene(seed, images, score_levels)
    curves = precision_recall_curves(truths, predictions, NAMES, iou_threshold=threshold, protocol=protocol)
    report = evaluate(truths, predictions, NAMES, iou_thresholds=(threshold,), protocol=protocol)
    for curve, figures in zip(curves.classes, report.at[0].classes, strict=True):
        assert curve.truths == figures.truths
        assert curve.average_precision == pytest.approx(figures.ap, nan_ok=True, abs=1e-12)
        assert curve.sampled(RECALLS[protocol]).mean() == pytest.approx(figures.ap, nan_ok=True, abs=1e-12)
        assert (np.diff(curve.scores) <= 0).all()
        assert len(curve.precision) == len(curve.recall) == len(curve.scores) <= figures.detections
    assert curves.mean(RECALLS[protocol]).mean() == pytest.approx(report.figures["map"], nan_ok=True, abs=1e-12)


def test_no_truth_and_no_predictions() -> None:
    assert np.isnan(precision_recall_curves([], [], NAMES).mean()).all()
    (ship,) = precision_recall_curves([record([A])], [], ["ship"]).classes
    assert (ship.sampled() == 0).all()
    assert ship.average_precision == 0
    (ship,) = precision_recall_curves([record([A], difficult=[True])], [record([B])], ["ship"]).classes
    assert np.isnan(ship.recall).all()
    assert ship.precision.tolist() == [0]


@pytest.mark.parametrize("iou_threshold", [0, -1, 1.5, float("nan")])
def test_a_threshold_that_cannot_be_is_named(iou_threshold: float) -> None:
    nothing = ImageRecord("a", np.zeros((0, 5)), np.zeros(0, int))
    with pytest.raises(MetricsError, match="IoU thresholds above 0 and up to 1"):
        precision_recall_curves([nothing], [nothing], ["ship"], iou_threshold=iou_threshold)
