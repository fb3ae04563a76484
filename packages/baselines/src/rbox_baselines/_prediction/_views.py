"""How images are looked at: windows, mirrored and scaled views, and one record out of what they show."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from rbox_formats import ClassNames, ImageRecord, tiling
from rbox_formats.detection import ImageLike, Listener, Prediction, Scene, SceneWindow
from rbox_formats.masks import Masks
from rbox_formats.sharding import Merge
from rbox_formats.typing import Image
from rbox_metrics import merge_scene, nms_rotated

from rbox_baselines.errors import ConfigError

#: Windows at a time, by default.
BATCH_SIZE = 4
FLIPS = ("horizontal", "vertical", "diagonal")

# An image whose longer side is more than this many times what the model sees is looked at in windows.
_SHRUNK = 2
# DOTA's windows overlap by 200 of their 1,024 px.
_GAP, _OF = 200, 1024


@dataclass(frozen=True)
class Views:
    """How images are looked at: in which windows, and how often.

    Attributes:
        window: Side of the windows in pixels. 0: whole images, whatever their size. None: whole images, except that
            images whose longer side is more than twice the model's input are cut into windows of that size.
        gap: Overlap of neighbouring windows in pixels. None: 200 px for windows of 1,024 px, in proportion for others.
        flips: Detects on the mirrored images as well: "horizontal", "vertical", "diagonal".
        scales: Detects once for each of these factors on the size to which the model's config resizes images.
        score_threshold: Drops predictions of a lower score.
    """

    window: int | None = None
    gap: int | None = None
    flips: tuple[str, ...] = ()
    scales: tuple[float, ...] = (1.0,)
    score_threshold: float = 0.05

    def __post_init__(self) -> None:
        unknown = [flip for flip in self.flips if flip not in FLIPS]
        if unknown:
            raise ConfigError(f"expected flips among {', '.join(FLIPS)}, got {unknown[0]!r}")
        if not self.scales or min(self.scales) <= 0:
            raise ConfigError(f"expected scales above 0, got {self.scales}")
        if self.window is not None and self.window < 0:
            raise ConfigError(f"expected a window of 0 px or more, got {self.window}")
        if self.gap is not None and (self.gap < 0 or (self.window and self.gap >= self.window)):
            below = f", below the window's side of {self.window} px" if self.window else ""
            raise ConfigError(f"expected a gap of 0 px or more{below}, got {self.gap}")
        if not 0 <= self.score_threshold <= 1:
            raise ConfigError(f"expected a score threshold from 0 to 1, got {self.score_threshold}")

    def windows(self, width: int, height: int, input_side: int) -> list[tiling.Window]:
        """Return the windows over an image.

        Args:
            width: Width of the image in pixels.
            height: Height of the image in pixels.
            input_side: The side of the largest square that the model sees whole, px.
        """
        side = self.window
        if side is None:
            side = input_side if max(width, height) > _SHRUNK * input_side else 0
        if side == 0:
            return [tiling.Window(0, 0, max(width, height))]
        gap = side * _GAP // _OF if self.gap is None else min(self.gap, side // 2)
        return list(tiling.windows(width, height, side, gap))


class Seeing(Protocol):
    """What `Steps` needs of a detector."""

    @property
    def class_names(self) -> ClassNames:
        """The classes that the detector knows."""
        ...

    @property
    def nms_threshold(self) -> float:
        """The IoU above which two boxes are one object."""
        ...

    def detect(
        self, crops: Sequence[Image], *, flip: str | None = None, scale: float = 1.0, score_threshold: float = 0.0
    ) -> list[ImageRecord]:
        """Detect the objects on windows."""
        ...


@dataclass(frozen=True)
class Steps:
    """What `Detector.predict` does with given options, in steps: see `rbox_formats.detection.Steps`.

    Attributes:
        detector: What detects.
        views: How images are looked at.
        input_side: The side of the largest square that the model sees whole, px.
        batch_size: How many windows `predict` takes together.
        least_score: What scores lower is dropped by `detect` already, and not only by `join`.
    """

    detector: Seeing
    views: Views
    input_side: int
    batch_size: int
    least_score: float = 0.0
    attempts = 1

    @property
    def key(self) -> Hashable:
        """See `rbox_formats.detection.Steps`."""
        return self.views.flips, self.views.scales

    def scene(self, image: ImageLike, name: str = "image") -> Scene:
        """See `rbox_formats.detection.Steps`."""
        return Scene.of(image, self.windows, name, pad_whole=False)

    def windows(self, width: int, height: int) -> list[tiling.Window]:
        """Return the windows over an image of (width, height) pixels."""
        return self.views.windows(width, height, self.input_side)

    def group(self, window: SceneWindow) -> Hashable:
        """See `rbox_formats.detection.Steps`: the windows of a batch have one size."""
        return window.pixels.shape

    def detect(
        self, windows: Sequence[SceneWindow], *, attempt: int = 0, listener: Listener | None = None
    ) -> list[ImageRecord]:
        """See `rbox_formats.detection.Steps`."""
        views = replace(self.views, score_threshold=self.least_score)
        return list(_seen(self.detector, [window.pixels for window in windows], views))

    def join(self, scene: Scene, found: Sequence[ImageRecord]) -> Prediction:
        """See `rbox_formats.detection.Steps`."""
        records = [self.record(scene, number, each) for number, each in enumerate(found)]
        whole = self.merge(scene, list(zip(scene.windows, records, strict=True)))
        return Prediction.of(whole, self.detector.class_names, pixels=scene.pixels)

    @property
    def merge(self) -> Merge:
        """Return what makes the record of an image out of those of its windows."""
        return partial(merge_scene, iou_threshold=self.detector.nms_threshold)

    def record(self, scene: Scene, number: int, found: ImageRecord) -> ImageRecord:
        """See `rbox_formats.detection.Steps`."""
        # In the order of the scores, as `Detector.detect` leaves them with a threshold.
        kept = found if found.scores is None else found.select(found.scores >= self.views.score_threshold)
        return replace(kept, metadata={"status": "boxes"})

    def stream(self, scene: Scene, number: int) -> None:
        """See `rbox_formats.detection.Steps`."""
        return


def _seen(detector: Seeing, crops: Sequence[Image], views: Views) -> Iterator[ImageRecord]:
    """Yield what is on each of some crops, from all views of it."""
    found = [
        detector.detect(crops, flip=flip, scale=scale, score_threshold=views.score_threshold)
        for scale in views.scales
        for flip in (None, *views.flips)
    ]
    for records in zip(*found, strict=True):
        whole = _concatenated(records)
        if len(records) > 1:
            kept = nms_rotated(whole.boxes, whole.scores, detector.nms_threshold, whole.labels)
            whole = whole.select(np.asarray(kept))
        yield whole


def _concatenated(records: Sequence[ImageRecord]) -> ImageRecord:
    def column(name: str, join: Callable[[Any], Any] = np.concatenate) -> Any:
        values = [getattr(record, name) for record in records]
        return None if any(value is None for value in values) else join(values)

    names = ("boxes", "labels", "quads", "difficult", "scores")
    return replace(records[0], **{name: column(name) for name in names}, masks=column("masks", Masks.joined))
