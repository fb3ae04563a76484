"""How images are looked at: windows, mirrored and scaled views, and one record out of what they show."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from rbox_formats import ClassNames, ImageRecord, tiling
from rbox_formats.detection import ImageLike, Listener, Prediction, Scene, SceneWindow, ahead, blocks
from rbox_formats.errors import ImageError
from rbox_formats.masks import Masks
from rbox_formats.typing import Image
from rbox_metrics import merge_windows, nms_rotated

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
    """What `look` needs of a detector."""

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
    """

    detector: Seeing
    views: Views
    input_side: int
    batch_size: int
    attempts = 1

    @property
    def key(self) -> Hashable:
        """See `rbox_formats.detection.Steps`."""
        return self.views.flips, self.views.scales

    def scene(self, image: ImageLike, name: str = "image") -> Scene:
        """See `rbox_formats.detection.Steps`."""
        return Scene.of(image, lambda width, height: self.views.windows(width, height, self.input_side), name)

    def crops(self, scene: Scene) -> Iterator[SceneWindow]:
        """See `rbox_formats.detection.Steps`."""
        return _crops(scene)

    def detect(
        self, windows: Sequence[SceneWindow], *, attempt: int = 0, listener: Listener | None = None
    ) -> list[ImageRecord]:
        """See `rbox_formats.detection.Steps`; what scores low is left out by `join`."""
        return list(_seen(self.detector, [window.pixels for window in windows], replace(self.views, score_threshold=0)))

    def join(self, scene: Scene, found: Sequence[ImageRecord]) -> Prediction:
        """See `rbox_formats.detection.Steps`."""
        threshold = self.views.score_threshold
        # In the order of the scores, as `Detector.detect` leaves them with a threshold.
        kept = [record if record.scores is None else record.select(record.scores >= threshold) for record in found]
        return _prediction(self.detector, scene, list(zip(scene.windows, kept, strict=True)))

    def stream(self, scene: Scene, number: int) -> None:
        """See `rbox_formats.detection.Steps`."""
        return


def look(
    detector: Seeing,
    scenes: Sequence[Scene],
    views: Views,
    batch_size: int,
    *,
    wanted: Collection[str] | None = None,
    on_broken: Callable[[Scene, ImageError], None] | None = None,
) -> Iterator[Prediction]:
    """Detect the objects on images, in batches of windows that run across images, while the next windows are read.

    Args:
        detector: What detects.
        scenes: All images of the run, with their windows.
        views: How they are looked at.
        batch_size: How many windows at a time.
        wanted: The ids of the images that are asked for. None: all. Those that share batches with one of them are
            detected again, so that the batches are the same.
        on_broken: Called for an image whose file turns out to be broken, which is then left out. None: an error.

    Yields:
        The predictions in the order of the images.

    Raises:
        ImageError: If a file is broken.
    """
    chosen = [
        block
        for block in blocks(scenes, batch_size)
        if wanted is None or any(scene.image_id in wanted for scene in block)
    ]
    parts: list[tuple[tiling.Window, ImageRecord]] = []  # of the image that is being put together
    for batch in _batches(ahead(_windows(chosen), 2 * batch_size), batch_size):
        if isinstance(batch, _Broken):
            if on_broken is None:
                raise batch.error
            on_broken(batch.scene, batch.error)
            parts = []
            continue
        crops = [each.seen.pixels for each in batch]
        for (_, window), record in zip(batch, _seen(detector, crops, views), strict=True):
            scene = window.scene
            parts.append((scene.windows[window.number], record))
            if len(parts) == len(scene.windows):
                if wanted is None or scene.image_id in wanted:
                    yield _prediction(detector, scene, parts)
                parts = []


class _Window(NamedTuple):
    """A window to be looked at, and the number of its block."""

    block: int
    seen: SceneWindow


class _Broken(NamedTuple):
    """An image that turned out to be broken while it was read."""

    scene: Scene
    error: ImageError


def _windows(chosen: Sequence[Sequence[Scene]]) -> Iterator[_Window | _Broken]:
    """Yield all windows of all images; those of a broken image end with what is wrong with it."""
    for number, block in enumerate(chosen):
        for scene in block:
            try:
                for seen in _crops(scene):
                    yield _Window(number, seen)
            except ImageError as error:
                yield _Broken(scene, error)


def _crops(scene: Scene) -> Iterator[SceneWindow]:
    """Yield the windows of an image. A whole image is not padded; a window at the border is padded to a square."""
    for number, pixels in scene.crops(padding=not scene.is_whole):
        yield SceneWindow(scene, number, pixels)


def _batches(items: Iterable[_Window | _Broken], size: int) -> Iterator[list[_Window] | _Broken]:
    """Yield batches of windows of one block and one size. A broken image's waiting windows are dropped."""
    batch: list[_Window] = []
    for item in items:
        if isinstance(item, _Broken):
            if others := [window for window in batch if window.seen.scene is not item.scene]:
                yield others
            yield item
            batch = []
            continue
        if batch and (
            len(batch) == size or batch[0][0] != item.block or batch[0].seen.pixels.shape != item.seen.pixels.shape
        ):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _prediction(detector: Seeing, scene: Scene, parts: Sequence[tuple[tiling.Window, ImageRecord]]) -> Prediction:
    """Return what the windows of an image show of it."""
    width, height = scene.size
    found = replace(_merged(parts, detector.nms_threshold), image_id=scene.image_id, width=width, height=height)
    if found.masks is not None:  # windows reach beyond the image; a mask that is wholly outside leaves no object
        inside = found.masks.clipped(0, 0, width, height)
        found = replace(found, masks=inside).select(inside.areas > 0)
    record = replace(found, path=scene.path, metadata={"status": "boxes"})
    return Prediction.of(record, detector.class_names, pixels=scene.pixels)


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


def _merged(parts: Sequence[tuple[tiling.Window, ImageRecord]], iou_threshold: float) -> ImageRecord:
    """Return the record of an image from those of its windows."""
    moved = [
        replace(
            record,
            boxes=tiling.to_image(record.boxes, window),
            quads=None if record.quads is None else tiling.to_image(record.quads, window),
            masks=None if record.masks is None else tiling.to_image(record.masks, window),
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
    def column(name: str, join: Callable[[Any], Any] = np.concatenate) -> Any:
        values = [getattr(record, name) for record in records]
        return None if any(value is None for value in values) else join(values)

    names = ("boxes", "labels", "quads", "difficult", "scores")
    return replace(records[0], **{name: column(name) for name in names}, masks=column("masks", Masks.joined))
