"""Claims at more settings than sixteen bits can count."""

from __future__ import annotations

import numpy as np
from rbox_metrics._matching import claimed_averages, claims_by_iou, claims_by_score


def test_settings_may_be_many() -> None:
    settings = 2**15 + 10
    thresholds = np.linspace(0.1, 0.9, settings)
    nobody = np.zeros(1, dtype=bool)
    best, iou, scores = np.array([0, 0]), np.array([1.0, 0.95]), np.array([0.95, 0.5])
    passed = claims_by_iou(best, iou, nobody, thresholds).passed
    assert passed.tolist() == [settings, settings]
    claims = claims_by_score(best, iou, nobody, 0.5, scores, thresholds)
    assert claims.passed.tolist() == [settings, int((thresholds < 0.5).sum())]
    averages = claimed_averages(claims, np.array([0, 2]), np.array([1]), np.linspace(0, 1, 11))
    np.testing.assert_array_equal(averages, 1.0)
