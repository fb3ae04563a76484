"""Rank images by detections that are there already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from rbox_formats import ImageRecord
from rbox_formats.errors import listed, quoted

from rbox_metrics._inputs import check_fraction
from rbox_metrics.errors import MetricsError
from rbox_metrics.mining._algorithms import ALGORITHMS, Algorithm, Known


def rank_images(
    records: Iterable[ImageRecord],
    algorithm: str = "entropy",
    *,
    views: Sequence[Iterable[ImageRecord]] = (),
    features: Any = None,
    labelled: Any = None,
    score_threshold: float = 0.1,
    seed: int = 0,
) -> np.ndarray:
    """Score images by how much a detector would learn from their labels.

    >>> from rbox_formats import ImageRecord
    >>> from rbox_metrics.mining import rank_images
    >>> box = [[40, 30, 20, 10, 0.0]]
    >>> found = {"a": 0.98, "b": 0.4, "c": 0.05}
    >>> records = [ImageRecord(name, box, [0], scores=[score]) for name, score in found.items()]
    >>> rank_images(records, "entropy").round(3).tolist()
    [0.029, 0.529, 0.0]

    Args:
        records: The detections on each image, with scores; without, each counts as 1.
        algorithm: A name in `ALGORITHMS`.
        views: For algorithms that need them: the detections of other looks at the same images, in the same order and
            in the coordinates of the images: mirrored or turned ones, or other detectors'.
        features: (N, D) numbers that describe the images, for "diversity". None: what was detected describes them.
        labelled: (M, D), the same of images that are labelled already.
        score_threshold: Detections of this score or less do not count.
        seed: Random seed.

    Returns:
        (N,) float64; the highest is to be labelled first, as `order_of` orders them.

    Raises:
        MetricsError: If the algorithm is unknown, or does not know what it needs.
    """
    chosen = algorithm_of(algorithm)
    check_fraction(score_threshold, "score_threshold")
    kept = [_above(record, score_threshold) for record in records]
    seen = [[_above(record, score_threshold) for record in view] for view in views]
    if chosen.needs == "views" and not seen:
        raise MetricsError(
            f"expected other looks at the images for {algorithm}, got none",
            remedy="Give other predictions of the same images (views=, --other).",
        )
    for view in seen:
        if len(view) != len(kept):
            raise MetricsError(f"expected {len(kept)} images in each view, got {len(view)}")
    known = Known(kept, seen, _rows(features, len(kept), "features"), _rows(labelled, None, "labelled"), seed)
    return chosen.score(known)


def order_of(scores: np.ndarray) -> np.ndarray:
    """Return the places of images by falling score, of equal ones in the order given.

    >>> from rbox_metrics.mining import order_of
    >>> order_of([0.1, 0.7, 0.1]).tolist()
    [1, 0, 2]

    Args:
        scores: (N,).
    """
    return np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")


def algorithm_of(name: str) -> Algorithm:
    """Return an algorithm by its name.

    Raises:
        MetricsError: If there is none of that name.
    """
    if name not in ALGORITHMS:
        raise MetricsError(f"expected a mining algorithm among {listed(ALGORITHMS)}, got {quoted(name)}")
    return ALGORITHMS[name]


def _above(record: ImageRecord, threshold: float) -> ImageRecord:
    return record if record.scores is None else record.select(record.scores > threshold)


def _rows(values: Any, count: int | None, name: str) -> np.ndarray | None:
    if values is None:
        return None
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 2 or (count is not None and len(found) != count) or not np.isfinite(found).all():
        rows = "M" if count is None else count
        raise MetricsError(f"expected {name} ({rows}, D) of finite numbers, got {found.shape}")
    return found
