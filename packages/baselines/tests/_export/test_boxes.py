"""Boxes in the form that exported programs give: against the conversion of rbox_formats."""

from __future__ import annotations

import numpy as np
import torch
from rbox_baselines._export._program import _le90
from rbox_formats import LE90, convert


def test_boxes_are_le90_and_the_same_rectangles() -> None:
    random = np.random.default_rng(0)
    boxes = np.concatenate(
        [random.uniform(0, 100, (500, 2)), random.uniform(1, 50, (500, 2)), random.uniform(-7, 7, (500, 1))], axis=1
    )
    found = _le90(torch.from_numpy(boxes)).numpy()
    np.testing.assert_allclose(found, convert(boxes, LE90, LE90), atol=1e-9)
    assert (found[:, 2] >= found[:, 3]).all()
