"""Masks cut into windows come back to their image when the windows are joined."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from rbox_formats import ImageRecord, tiling
from rbox_formats.masks import RunMask
from rbox_metrics._suppression import merge_records
from rbox_metrics.errors import MetricsError


def ellipses() -> list[np.ndarray]:
    found = []
    for x, y, angle in ((30, 30, 20), (90, 40, 70), (150, 60, 0), (60, 80, 45)):
        drawn = np.zeros((120, 200), np.uint8)
        cv2.ellipse(drawn, (x, y), (14, 6), angle, 0, 360, 1, -1)
        found.append(drawn.astype(bool))
    return found


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_merging_gives_the_whole_masks_back(scale: float) -> None:
    pixels = ellipses()
    record = ImageRecord.from_masks("a", pixels, range(4), scores=[0.9, 0.8, 0.7, 0.6], width=200, height=120)
    parts = []
    for x in (0, 40, 80, 100):
        window = tiling.Window(x, 0, 100, scale)
        part = tiling.clip_to_window(record, window, 1.0)
        side = window.output_size
        name = tiling.window_name("a", window)
        parts.append(
            ImageRecord(name, part.boxes, part.labels, scores=part.scores, width=side, height=side, masks=part.masks)
        )
    (whole,) = merge_records(parts, window_size=int(100 * scale))
    assert sorted(whole.labels) == [0, 1, 2, 3]
    assert whole.masks is not None
    for label, mask in zip(whole.labels, whole.masks, strict=True):
        assert np.array_equal(mask.to_runs().runs, RunMask.of_array(pixels[label]).runs)


def test_windows_of_which_only_some_have_masks_are_refused() -> None:
    pixels = np.ones((4, 4), bool)
    parts = [
        ImageRecord.from_masks("a__100__0___0", [pixels], [0], scores=[0.5]),
        ImageRecord("a__100__100___0", [[50, 50, 9, 9, 0]], [0], scores=[0.5]),
    ]
    with pytest.raises(MetricsError, match="some windows of 'a' have masks and others do not"):
        list(merge_records(parts))
