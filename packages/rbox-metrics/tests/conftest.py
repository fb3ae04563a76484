"""A slow overlap that has nothing in common with the package's, for the tests that state a protocol anew."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import shapely
from rbox_formats import ImageRecord


def _polygon(box: np.ndarray, origin: np.ndarray) -> shapely.Polygon:
    """Corners as complex numbers: half sides, turned by a factor."""
    x, y, w, h, angle = (float(value) for value in box)
    turn = np.exp(1j * angle)
    corners = [complex(x - origin[0], y - origin[1]) + turn * complex(a * w, b * h) / 2 for a, b in _SIGNS]
    return shapely.Polygon([(corner.real, corner.imag) for corner in corners])


_SIGNS = ((-1, -1), (1, -1), (1, 1), (-1, 1))


@pytest.fixture(scope="session")
def slow_iou() -> Callable[[np.ndarray, np.ndarray], float]:
    """Two boxes (5,) to their IoU."""

    def iou(box1: np.ndarray, box2: np.ndarray) -> float:
        first, second = _polygon(box1, box1), _polygon(box2, box1)
        common = first.intersection(second).area
        return common / (first.area + second.area - common) if first.area and second.area else 0.0

    return iou


@pytest.fixture(scope="session")
def crowded_scene() -> Callable[..., tuple[list[ImageRecord], list[ImageRecord]]]:
    """Truths close together, and detections that are copies of some: moved, turned, of the wrong class, or of nothing.

    Boxes are drawn as real numbers, so that no two overlaps tie by chance.
    """

    def scene(
        seed: int, images: int, score_levels: int | None = 10**6, difficult: float = 0.1, classes: int = 3
    ) -> tuple[list[ImageRecord], list[ImageRecord]]:
        rng = np.random.default_rng(seed)

        def boxes(count: int) -> np.ndarray:
            centres, sides = rng.uniform(0, 50, (count, 2)), rng.uniform(5, 25, (count, 2))
            return np.concatenate([centres, sides, rng.uniform(-1.5, 1.5, (count, 1))], axis=1)

        truths, predictions = [], []
        for image in range(images):
            n = rng.integers(0, 8)
            found, labels = boxes(n), rng.integers(0, classes, n)
            truths.append(ImageRecord(f"{image:03}", found, labels, difficult=rng.random(n) < difficult))
            picks = rng.integers(0, n, rng.integers(0, 12)) if n else np.zeros(0, int)
            spread = rng.choice([0.3, 2.0], (len(picks), 1)) * [1, 1, 1, 1, 0.15]
            copies = found[picks] + rng.normal(0, 1, (len(picks), 5)) * spread
            copies[:, 4] += rng.choice([0, 0, 0, 1.5], len(picks))
            wrong = rng.random(len(picks)) < 0.3
            stray = boxes(rng.integers(0, 4))
            detected = np.concatenate([copies, stray])
            detected[:, 2:4] = np.abs(detected[:, 2:4]) + 0.1
            given = np.concatenate([np.where(wrong, 0, labels[picks]), rng.integers(0, classes, len(stray))]).astype(
                int
            )
            scores = None if score_levels is None else rng.integers(0, score_levels + 1, len(detected)) / score_levels
            if rng.random() < 0.9:
                predictions.append(ImageRecord(f"{image:03}", detected, given.astype(int), scores=scores))
        return truths, predictions

    return scene
