"""The order in which detections are taken, by Python's sort of the same keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rbox_formats import ImageRecord
from rbox_metrics._matching import pair


def scene(seed: int, images: int, each: int, decimals: int) -> list[ImageRecord]:
    """Images whose ids are not in the order of the text; boxes and scores of few values."""
    rng = np.random.default_rng(seed)
    names = [str(number) for number in rng.permutation(images)]
    return [
        ImageRecord(
            name, rng.integers(1, 3, (each, 5)) / 1.0, rng.integers(0, 3, each), scores=rng.random(each).round(decimals)
        )
        for name in names
    ]


@pytest.mark.parametrize("seed", range(5))
def test_ties_are_broken_by_image_and_box(seed: int) -> None:
    found = scene(seed, 12, 30, 1)
    truth = [ImageRecord(record.image_id, [[5, 5, 2, 2, 0]], [0]) for record in reversed(found)]
    flat = pair(truth, found, ["a", "b", "c"])
    boxes = flat.detections
    names = np.array(boxes.image_ids)[boxes.image_index]
    keys = [
        (int(boxes.labels[i]), -float(flat.scores[i]), str(names[i]), *boxes.boxes[i].tolist())
        for i in range(len(boxes))
    ]
    assert [keys[i] for i in flat.order] == sorted(keys)


def test_ties_between_images_are_not_sorted_box_by_box(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of two decimals: nearly every detection has the score of another, and few have one's on their image."""
    found = scene(0, 200, 30, 2)
    sorted_rows: list[int] = []

    def counted(keys: Any) -> Any:
        sorted_rows.append(len(keys[0]))
        return lexsort(keys)

    lexsort = np.lexsort
    monkeypatch.setattr(np, "lexsort", counted)
    pair([ImageRecord(record.image_id, [], []) for record in found], found, ["a", "b", "c"])
    assert max(sorted_rows) < 0.15 * 200 * 30
