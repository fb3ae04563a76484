"""The ways to rank images, as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from rbox_formats import ImageRecord

from rbox_metrics.mining import _consistency, _diversity

#: What an algorithm must know of an image: nothing, its detections, those of mirrored and turned looks at it as well,
#: or numbers that describe it.
Need: TypeAlias = Literal["nothing", "detections", "views", "features"]


class Known(NamedTuple):
    """What is known of all images.

    Attributes:
        records: The detections above the threshold, with scores, of each image.
        views: The same of other looks at the images, each a list like `records`.
        features: (N, D), or None.
        labelled: (M, D): the features of images that have labels already.
        seed: Of what is drawn.
    """

    records: Sequence[ImageRecord]
    views: Sequence[Sequence[ImageRecord]]
    features: np.ndarray | None
    labelled: np.ndarray | None
    seed: int


class Algorithm(NamedTuple):
    """A way to rank images.

    >>> from rbox_metrics import mining
    >>> mining.ALGORITHMS["entropy"].needs
    'detections'

    Attributes:
        needs: What it must know.
        text: What it prefers, as a sentence.
        score: From what is known to a score per image, (N,).
    """

    needs: Need
    text: str
    score: Callable[[Known], np.ndarray]


def _terms(scores: np.ndarray) -> np.ndarray:
    """Return -p log2 p."""
    return -scores * np.log2(np.maximum(scores, 1e-12))


def _binary_entropy(scores: np.ndarray) -> np.ndarray:
    """Return the entropy of a detection that is right or wrong, in bits."""
    return _terms(scores) + _terms(1 - scores)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0


def _by_scores(of_scores: Callable[[np.ndarray], Any]) -> Callable[[Known], np.ndarray]:
    """Return an algorithm that looks at the scores on an image alone."""
    return lambda known: np.array([float(of_scores(_scores(record))) for record in known.records])


def _scores(record: ImageRecord) -> np.ndarray:
    return np.ones(len(record)) if record.scores is None else record.scores


def _by_class(known: Known) -> np.ndarray:
    """Sum over the classes found on an image of the mean entropy in each: frequent classes count as rare ones do."""
    found = []
    for record in known.records:
        entropies = _binary_entropy(_scores(record))
        found.append(sum(_mean(entropies[record.labels == label]) for label in np.unique(record.labels)))
    return np.array(found, dtype=np.float64)


def _random(known: Known) -> np.ndarray:
    return np.random.default_rng(known.seed).random(len(known.records))


def _diverse(known: Known) -> np.ndarray:
    features = known.features
    if features is None:
        features = _diversity.described(known.records)
    order = _diversity.k_center(features, known.labelled)
    scores = np.empty(len(order))
    scores[order] = 1 - np.arange(len(order)) / max(len(order), 1)
    return scores


#: By the names that `mining_algorithm` and `--algorithm` take.
ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType(
    {
        "random": Algorithm("nothing", "No image above another: by chance, with a seed.", _random),
        "entropy": Algorithm(
            "detections",
            "Many objects of middling scores: the sum of -p log2 p over an image's detections, as in ymir-mmrotate.",
            _by_scores(lambda scores: _terms(scores).sum()),
        ),
        "entropy-image": Algorithm(
            "detections",
            "Objects of scores near 0.5, however many: the mean entropy of an image's detections.",
            _by_scores(lambda scores: _mean(_binary_entropy(scores))),
        ),
        "entropy-class": Algorithm(
            "detections",
            "Several classes of scores near 0.5: the mean entropy of each class's detections, summed.",
            _by_class,
        ),
        "margin": Algorithm(
            "detections",
            "Objects that might as well be none: the mean of 1 - |2p - 1|.",
            _by_scores(lambda scores: _mean(1 - np.abs(2 * scores - 1))),
        ),
        "least-confidence": Algorithm(
            "detections", "Objects of low scores: the mean of 1 - p.", _by_scores(lambda scores: _mean(1 - scores))
        ),
        "aldd": Algorithm(
            "views",
            "Objects that mirroring or turning the image changes: the discrepancy of their scores, after ALDD.",
            lambda known: _consistency.over_views(_consistency.discrepancy, known.records, known.views),
        ),
        "cald": Algorithm(
            "views",
            "Objects that mirroring or turning the image moves: the consistency of boxes and scores, after CALD.",
            lambda known: _consistency.over_views(_consistency.inconsistency, known.records, known.views),
        ),
        "diversity": Algorithm(
            "features", "Images unlike those before: k-center over the features of the images.", _diverse
        ),
    }
)
