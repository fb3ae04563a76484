"""Prediction: a detector over many images, into a file that a stopped run goes on with."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rbox_formats import ImageRecord, draw, files, images, predictions, tiling
from rbox_formats.errors import ImageError, PredictionsError
from rbox_formats.progress import progress_bar, showing, track
from rbox_formats.typing import Image
from rbox_metrics import merge_windows, nms_rotated

from rbox_baselines._prediction._detector import FLIPS, Detector
from rbox_baselines.errors import ConfigError

logger = logging.getLogger("rbox_baselines")

# An image that is more than so many times as large as what the model sees is looked at in windows.
_SHRUNK = 2


@dataclass(frozen=True)
class Views:
    """How images are looked at.

    Attributes:
        window: Side of the windows in pixels. None: whole images, and windows of what the model sees of those that are
            more than twice as large. 0: whole images, whatever their size.
        gap: How far windows overlap, in pixels.
        flips: Detects on the mirrored images as well: "horizontal", "vertical", "diagonal".
        scales: Detects on images so many times as large as the model's config says.
        score_threshold: Leaves out what scores less.
    """

    window: int | None = None
    gap: int = 200
    flips: tuple[str, ...] = ()
    scales: tuple[float, ...] = (1.0,)
    score_threshold: float = 0.05

    def __post_init__(self) -> None:
        unknown = [flip for flip in self.flips if flip not in FLIPS]
        if unknown:
            raise ConfigError(f"expected flips among {', '.join(FLIPS)}, got {unknown[0]!r}")
        if not self.scales or min(self.scales) <= 0:
            raise ConfigError(f"expected scales above 0, got {self.scales}")
        if self.window is not None and self.window != 0 and not 0 <= self.gap < self.window:
            raise ConfigError(f"expected a gap below the window's side of {self.window} px, got {self.gap}")
        if not 0 <= self.score_threshold <= 1:
            raise ConfigError(f"expected a score threshold from 0 to 1, got {self.score_threshold}")


def predict(
    detector: Detector,
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    views: Views | None = None,
    batch_size: int = 1,
    dataset: Mapping[str, Any] | None = None,
    pictures: str | Path | None = None,
    progress: bool = False,
) -> Path:
    """Writes the detections on image files to a predictions file, or goes on with one.

    What several windows saw of one object, or several views of one window, is one box: that with the best score, as
    `rbox_metrics.merge_windows` and, among the views of a window, `nms_rotated` choose it.

    Args:
        detector: What to detect with.
        paths: The image files, no two of the same name; one that comes twice counts once.
        out: The file, such as "predictions.jsonl". Images that it holds are not predicted again.
        views: How images are looked at.
        batch_size: How many windows of an image at a time.
        dataset: What the file's header says of the images.
        pictures: A folder for pictures of the images with their boxes.
        progress: Shows progress bars on standard error.

    Returns:
        The file.

    Raises:
        DatasetError: If two files have the same name.
        ImageError: If a file is not a whole image; found before the first is predicted.
        PredictionsError: If the file belongs to another run.
    """
    with showing(progress):
        views = views or Views()
        out = Path(out)
        files.require_writable(out.parent)
        if out.exists() and not out.is_file():
            raise PredictionsError("expected a file to write, got something else", path=out)
        named = images.by_id(paths)
        check_images(list(named.values()))
        windows = {image_id: _windows(path, detector, views) for image_id, path in named.items()}
        header = predictions.Header(
            class_names=detector.class_names,
            fingerprint=detector.fingerprint,
            generation={**asdict(views), **images.shown_by()},
            dataset=dict(dataset or {}),
        )
        with predictions.Writer(out, header) as writer:
            todo = [image_id for image_id in named if image_id not in writer.done]
            if len(todo) < len(named):
                logger.info("%s holds %d of %d images already", out, len(named) - len(todo), len(named))
            with progress_bar("predicting", sum(len(windows[image_id]) for image_id in todo)) as advance:
                for image_id in todo:
                    writer.write(_detected(detector, image_id, named[image_id], windows[image_id], views, batch_size))
                    advance(len(windows[image_id]))
        if pictures is not None:
            draw_predictions(out, named, pictures)
        return out


def check_images(paths: Sequence[Path]) -> None:
    """Makes sure that files are whole images, as far as can be told without decoding all of them.

    Raises:
        ImageError: Which are not.
    """
    broken = []
    for path in track(paths, "checking images"):
        try:
            images.check(path)
        except ImageError as error:
            broken.append(str(error).splitlines()[0])
    images.refuse(broken)


def draw_predictions(path: str | Path, named: Mapping[str, Path], out: str | Path) -> None:
    """Draws each image of a predictions file with its boxes, large ones smaller: `<out>/<image_id>.png`."""
    found = predictions.read(path)
    for record in track(found, "drawing"):
        if record.image_id in named:
            source = named[record.image_id]
            target = files.not_an_input(Path(out) / f"{files.safe_name(record.image_id, Path(out))}.png", source)
            pixels, (fitted,) = draw.fitted(source, record)
            draw.save(draw.draw_record(pixels, fitted, found.class_names), target)


def _windows(path: Path, detector: Detector, views: Views) -> list[tiling.Window]:
    width, height = images.read_size(path)
    side = views.window
    if side is None:
        side = detector.input_side if max(width, height) > _SHRUNK * detector.input_side else 0
    if side == 0:
        return [tiling.Window(0, 0, max(width, height))]
    return list(tiling.windows(width, height, side, min(views.gap, side // 2)))


def _detected(
    detector: Detector, image_id: str, path: Path, windows: Sequence[tiling.Window], views: Views, batch_size: int
) -> ImageRecord:
    """The record of one image."""
    parts: list[tuple[tiling.Window, ImageRecord]] = []
    # A whole image stays as it is; a window at the border is filled up to a square, as `rbox-formats split` does.
    width, height = images.read_size(path)
    is_whole = len(windows) == 1 and windows[0].size == max(width, height)
    crops = iter(tiling.crops(path, windows, padding=not is_whole))
    while batch := list(islice(crops, batch_size)):
        parts += zip((window for window, _ in batch), _seen(detector, [crop for _, crop in batch], views), strict=True)
    found = _merged(parts, detector.nms_threshold)
    return replace(found, image_id=image_id, width=width, height=height, metadata={"status": "boxes"})


def _seen(detector: Detector, crops: Sequence[Image], views: Views) -> Iterator[ImageRecord]:
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
