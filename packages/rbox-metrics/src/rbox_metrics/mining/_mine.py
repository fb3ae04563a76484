"""Rank images by a detector that is run for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import rbox_formats
from rbox_formats import ImageRecord, images
from rbox_formats.detection import Detector
from rbox_formats.typing import Image

from rbox_metrics.mining._rank import algorithm_of, rank_images

_BATCH = 4


@runtime_checkable
class Describing(Protocol):
    """A detector that can say what it sees of an image as numbers, for "diversity".

    >>> from rbox_metrics.mining import Describing
    >>> isinstance(rbox_baselines.Detector.from_checkpoint("model.pth"), Describing)  # doctest: +SKIP
    True
    """

    def features(self, crops: Sequence[Image]) -> np.ndarray:
        """Describe images, each seen whole.

        Args:
            crops: Each (height, width, 3) uint8, RGB.

        Returns:
            (N, D).
        """
        ...


class _View(NamedTuple):
    """A look at an image: what is done to its pixels, and to boxes on the way back."""

    pixels: Callable[[Image], Image]
    back: Callable[[np.ndarray, tuple[int, int]], np.ndarray]


def _flip(axis: int, direction: Literal["horizontal", "vertical"]) -> _View:
    return _View(lambda pixels: np.flip(pixels, axis), lambda boxes, size: rbox_formats.flip(boxes, size, direction))


def _turn_back(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return rbox_formats.rotate90(boxes, (size[1], size[0]), turns=-1)[0]


#: No pixel of them is computed: what changes is the detector's alone.
_VIEWS = (
    _flip(1, "horizontal"),
    _flip(0, "vertical"),
    _View(lambda pixels: np.rot90(pixels, k=-1), _turn_back),
)


def mine(
    detector: Detector,
    paths: Sequence[str | Path],
    algorithm: str = "entropy",
    *,
    labelled: Sequence[str | Path] = (),
    score_threshold: float = 0.1,
    window: int | None = None,
    gap: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> np.ndarray:
    """Score images by how much a detector would learn from their labels.

    The algorithms that need other looks detect on each image four times: unchanged, mirrored both ways, and turned by a
    quarter; boxes are turned back before they are compared.

    >>> from rbox_formats import load_detector
    >>> from rbox_metrics.mining import mine, order_of
    >>> order_of(mine(load_detector("demo"), ["a.png", "b.png"], "cald"))  # doctest: +SKIP
    array([1, 0])

    Args:
        detector: The detector.
        paths: The image files.
        algorithm: A name in `rbox_metrics.mining.ALGORITHMS`.
        labelled: Images that are labelled already, which "diversity" stays away from.
        score_threshold: Detections of this score or less do not count.
        window: Side of the windows in pixels, as of `Detector.predict`.
        gap: Overlap of neighbouring windows in pixels.
        batch_size: Windows at a time. None: the detector's own choice.
        seed: Random seed of "random".
        progress: Called with the share that is done, from 0 to 1.

    Returns:
        (N,) float64; the highest is to be labelled first.

    Raises:
        MetricsError: If the algorithm is unknown.
        ImageError: If an image is broken.
    """
    needs = algorithm_of(algorithm).needs
    named, done = [Path(path) for path in paths], [Path(path) for path in labelled]
    given: dict[str, Any] = {"window": window, "gap": gap, "batch_size": batch_size, "score_threshold": score_threshold}
    options: dict[str, Any] = {"score_threshold": score_threshold, "seed": seed}
    if needs == "nothing":
        return rank_images([ImageRecord(path.stem, np.zeros((0, 5)), []) for path in named], algorithm, **options)
    if needs == "features" and isinstance(detector, Describing):
        found = _described(detector, [*named, *done], batch_size or _BATCH, progress)
        plain = [ImageRecord(path.stem, np.zeros((0, 5)), []) for path in named]
        return rank_images(plain, algorithm, features=found[: len(named)], labelled=found[len(named) :], **options)
    if needs == "views":
        looks = list(_looks(detector, named, given, progress))
        return rank_images(
            [each[0] for each in looks],
            algorithm,
            views=[[each[number] for each in looks] for number in range(1, 1 + len(_VIEWS))],
            **options,
        )
    records = []
    for number, record in enumerate(detector.predict(named, **given) if named else (), start=1):
        records.append(record)
        progress(number / len(named))
    return rank_images(records, algorithm, **options)


def _looks(
    detector: Detector, paths: Sequence[Path], given: dict[str, Any], progress: Callable[[float], None]
) -> Iterator[list[ImageRecord]]:
    """Yield the detections of all looks at each image, in its own coordinates."""
    for number, path in enumerate(paths, start=1):
        pixels = images.load(path)
        size = (pixels.shape[1], pixels.shape[0])
        # One after the other: of an image that is not square the turned one has another shape.
        seen: list[Any] = [detector.predict(np.ascontiguousarray(view.pixels(pixels)), **given) for view in _VIEWS]
        back = [
            ImageRecord(path.stem, view.back(found.boxes, size), found.labels, scores=found.scores)
            for view, found in zip(_VIEWS, seen, strict=True)
        ]
        own: Any = detector.predict(pixels, **given)
        yield [ImageRecord(path.stem, own.boxes, own.labels, scores=own.scores), *back]
        progress(number / len(paths))


def _described(
    detector: Describing, paths: Sequence[Path], batch_size: int, progress: Callable[[float], None]
) -> np.ndarray:
    rows = []
    for first in range(0, len(paths), batch_size):
        batch = paths[first : first + batch_size]
        rows.append(np.asarray(detector.features([images.load(path) for path in batch]), dtype=np.float64))
        progress((first + len(batch)) / len(paths))
    return np.concatenate(rows) if rows else np.zeros((0, 1))
