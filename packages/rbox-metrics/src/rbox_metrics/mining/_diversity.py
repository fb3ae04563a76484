"""Images that are unlike each other, by numbers that describe them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rbox_formats import ImageRecord

# The sizes of objects are counted by the powers of two of their sides, in pixels.
_POWERS = np.arange(2, 10)


def k_center(features: np.ndarray, labelled: np.ndarray | None = None) -> np.ndarray:
    """Return images in the order of farthest-point sampling: each is the farthest from all before it.

    The first one is the farthest from the labelled images, or, where there are none, the nearest to the mean. Every
    column of the features is scaled to the same spread. With N images it takes N times N comparisons, and as much
    memory as the features. (Sener and Savarese, Active Learning for Convolutional Neural Networks: A Core-Set
    Approach, 2018.)

    Args:
        features: (N, D).
        labelled: (M, D), of images that are labelled already; None for none.

    Returns:
        (N,) places.
    """
    count = len(features)
    known = features if labelled is None or not len(labelled) else np.concatenate([features, labelled])
    spread = known.std(axis=0) if len(known) else np.ones(features.shape[1:])
    centre = known.mean(axis=0) if len(known) else 0.0
    scaled = ((features - centre) / np.where(spread > 0, spread, 1)).astype(np.float64)
    if labelled is None or not len(labelled):
        away = (scaled**2).sum(axis=1)
        first = int(away.argmin()) if count else 0
        distances = np.full(count, np.inf)
    else:
        others = (labelled - centre) / np.where(spread > 0, spread, 1)
        distances = np.full(count, np.inf)
        for other in others:
            distances = np.minimum(distances, ((scaled - other) ** 2).sum(axis=1))
        first = int(distances.argmax()) if count else 0
    order = np.empty(count, dtype=np.int64)
    for place in range(count):
        chosen = first if place == 0 else int(distances.argmax())
        order[place] = chosen
        distances = np.minimum(distances, ((scaled - scaled[chosen]) ** 2).sum(axis=1))
        distances[chosen] = -1  # not again
    return order


def described(records: Sequence[ImageRecord]) -> np.ndarray:
    """Return numbers that describe images by what was detected on them.

    Of each class the number of its objects (as log(1 + n)) and their highest score; the shares of objects by their
    sizes; their mean shape and how their directions are spread.

    Args:
        records: Detections with scores.

    Returns:
        (N, D) float64.
    """
    classes = 1 + max((int(record.labels.max()) for record in records if len(record)), default=-1)
    rows = []
    for record in records:
        counts = np.bincount(record.labels, minlength=classes)
        scores = np.ones(len(record)) if record.scores is None else record.scores
        best = np.zeros(classes)
        np.maximum.at(best, record.labels, scores)
        sides = np.sort(np.maximum(record.boxes[:, 2:4], 1e-3), axis=1)
        sizes = np.searchsorted(_POWERS, np.log2(sides[:, 1]))
        shares = np.bincount(sizes, minlength=len(_POWERS) + 1) / max(len(record), 1)
        shape = np.log(sides[:, 1] / sides[:, 0]).mean() if len(record) else 0.0
        turned = np.abs(np.exp(2j * record.boxes[:, 4]).mean()) if len(record) else 0.0
        rows.append(np.concatenate([np.log1p(counts), best, shares, [shape, turned]]))
    return np.array(rows, dtype=np.float64) if rows else np.zeros((0, 1))
