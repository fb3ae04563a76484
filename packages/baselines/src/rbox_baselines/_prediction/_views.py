"""How images are looked at: windows, mirrored and scaled views, and one record out of what they show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np
from rbox_formats import ClassNames, ImageRecord, tiling
from rbox_formats.detection import Prediction, Scene
from rbox_formats.typing import Image
from rbox_metrics import merge_windows, nms_rotated

from rbox_baselines.errors import ConfigError

FLIPS = ("horizontal", "vertical", "diagonal")

# An image that is more than so many times as large as what the model sees is looked at in windows.
_SHRUNK = 2
# DOTA's windows overlap by 200 of their 1,024 px.
_GAP, _OF = 200, 1024


@dataclass(frozen=True)
class Views:
    """How images are looked at.

    Attributes:
        window: Side of the windows in pixels. None: whole images, and windows of what the model sees of those that are
            more than twice as large. 0: whole images, whatever their size.
        gap: Overlap of neighbouring windows in pixels. None: 200 px of windows of 1,024 px, others in proportion.
        flips: Detects on the mirrored images as well: "horizontal", "vertical", "diagonal".
        scales: Detects on images of these sizes, relative to what the model's config says.
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
            width: Of the image, px.
            height: Of the image, px.
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
    """What looks at windows: the detector."""

    @property
    def class_names(self) -> ClassNames:
        """The classes."""
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


def look(detector: Seeing, scene: Scene, views: Views, batch_size: int) -> Prediction:
    """Detect the objects on an image.

    Args:
        detector: What detects.
        scene: The image and its windows.
        views: How they are looked at.
        batch_size: How many windows at a time.

    Raises:
        ImageError: If the file is broken.
    """
    parts: list[tuple[tiling.Window, ImageRecord]] = []
    # A whole image stays as it is; a window at the border is filled up to a square, as `rbox-formats split` does.
    crops = scene.crops(padding=not scene.is_whole)
    while batch := list(islice(crops, batch_size)):
        windows = [scene.windows[number] for number, _ in batch]
        parts += zip(windows, _seen(detector, [crop for _, crop in batch], views), strict=True)
    width, height = scene.size
    found = replace(_merged(parts, detector.nms_threshold), image_id=scene.image_id, width=width, height=height)
    record = replace(found, path=scene.path, metadata={"status": "boxes"})
    return Prediction.of(record, detector.class_names, pixels=scene.pixels)


def _seen(detector: Seeing, crops: Sequence[Image], views: Views) -> Iterator[ImageRecord]:
    """What is on each of some crops, from all views of it."""
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


def _merged(parts: Sequence[tuple[tiling.Window, ImageRecord]], iou_threshold: float) -> ImageRecord:
    """The record of an image from those of its windows."""
    moved = [
        replace(
            record,
            boxes=tiling.to_image(record.boxes, window),
            quads=None if record.quads is None else tiling.to_image(record.quads, window),
        )
        for window, record in parts
    ]
    whole = _concatenated(moved)
    kept = merge_windows(
        whole.boxes,
        whole.labels,
        whole.scores,
        window_index=np.repeat(np.arange(len(parts)), [len(record) for _, record in parts]),
        windows=np.array([window.corners for window, _ in parts], dtype=np.float64),
        iou_threshold=iou_threshold,
    )
    return whole.select(kept)


def _concatenated(records: Sequence[ImageRecord]) -> ImageRecord:
    def column(name: str) -> Any:
        values = [getattr(record, name) for record in records]
        return None if any(value is None for value in values) else np.concatenate(values)

    names = ("boxes", "labels", "quads", "difficult", "scores")
    return replace(records[0], **{name: column(name) for name in names})
