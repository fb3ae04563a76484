"""The protocol that every detector follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypedDict, Unpack, runtime_checkable

from rbox_formats._records import ClassNames, ImageRecord
from rbox_formats.detection._prediction import Prediction
from rbox_formats.detection._scenes import ImageLike
from rbox_formats.detection._steps import Steps
from rbox_formats.typing import Image


class PredictOptions(TypedDict, total=False):
    """The options that `Detector.predict` of every detector takes; what each is stands there."""

    window: int | None
    gap: int | None
    score_threshold: float | None
    batch_size: int | None


@runtime_checkable
class Detector(Protocol):
    """A model that finds rotated boxes on images.

    `lmm_detector.Detector` and `rbox_baselines.Detector` follow it, and so may a class of another package: see
    `DetectorLoader` for how `load_detector` finds it.

    >>> from rbox_formats import load_detector
    >>> isinstance(load_detector("demo"), Detector)  # doctest: +SKIP
    True
    """

    @property
    def class_names(self) -> ClassNames:
        """Return the classes that the detector knows; a label is an index into them."""
        ...

    def detect(self, crops: Sequence[Image]) -> Sequence[ImageRecord]:
        """Detect the objects on windows. The model sees each window whole.

        Args:
            crops: Each (height, width, 3) uint8, RGB.

        Returns:
            A record for each crop, its boxes in pixels of that crop.
        """
        ...

    def predict(
        self,
        images: ImageLike,
        *,
        window: int | None = None,
        gap: int | None = None,
        score_threshold: float | None = None,
        batch_size: int | None = None,
    ) -> Prediction | Iterator[Prediction] | Any:
        """Detect the objects on one image or many, of any size, window by window.

        Args:
            images: One image, or many, as `scenes_of` takes them.
            window: Side of the windows in pixels; 0: whole images. None: the detector's own choice.
            gap: Overlap of neighbouring windows in pixels. None: the detector's own choice.
            score_threshold: Drops predictions of a lower score. None: the detector's own choice.
            batch_size: Windows at a time. None: the detector's own choice.

        Returns:
            A `Prediction` for one image; for many an iterator over one each, in their order.
        """
        ...

    def __call__(self, images: ImageLike, **options: Any) -> Any:
        """Detect, as `predict` does."""
        ...


@runtime_checkable
class StepwiseDetector(Detector, Protocol):
    """A detector whose steps another program may put in order; rbox-serve serves such detectors.

    >>> from rbox_formats import load_detector
    >>> isinstance(load_detector("demo"), StepwiseDetector)  # doctest: +SKIP
    True
    """

    def steps(self, **options: Unpack[PredictOptions]) -> Steps:
        """Return what `predict` does with these options, step by step.

        Args:
            **options: As in `predict`.

        Raises:
            RboxError: If an option is out of its range.
        """
        ...
