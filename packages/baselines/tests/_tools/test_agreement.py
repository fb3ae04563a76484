"""How far two detectors agree."""

from __future__ import annotations

import numpy as np
import pytest
from rbox_baselines._tools._agreement import Agreement, agreement
from rbox_formats import ImageRecord


def test_agreement_counts_what_differs() -> None:
    first = ImageRecord(
        "", np.array([[10, 10, 8, 8, 0], [50, 50, 9, 4, 0.2]]), np.array([0, 1]), scores=np.array([0.9, 0.8])
    )
    turned = ImageRecord(
        "", np.array([[10, 10, 8, 8, -np.pi / 2], [50, 51, 9, 4, 0.2]]), np.array([0, 1]), scores=np.array([0.9, 0.5])
    )
    assert agreement(first, first) == Agreement((2, 2), 0, 0.0, 0.0)
    result = agreement(first, turned)
    assert result.alone == 2  # one pixel aside is another box: their IoU is 0.6
    assert result.pixels == pytest.approx(0, abs=1e-9)
    assert agreement(first, first.select(np.array([], int))) == Agreement((2, 0), 2, 0.0, 0.0)
