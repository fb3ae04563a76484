"""Turns predictions on windows of images into predictions on the images."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from rbox_formats import ImageRecord, tiling
from rbox_formats.errors import quoted
from rbox_formats.masks import Masks

from rbox_metrics._suppression._nms import merge_windows
from rbox_metrics.errors import MetricsError

if TYPE_CHECKING:
    from rbox_formats.detection import Scene
else:
    Scene = Any  # a third of a second, for a name

_logger = logging.getLogger("rbox_metrics")


def merge_records(
    records: Iterable[ImageRecord], *, iou_threshold: float = 0.1, window_size: int | None = None
) -> Iterator[ImageRecord]:
    """Join the records of windows to records of their images, in the order in which images first appear.

    The log says how the windows are named: with their size, or with a scale, as DOTA's kit does.

    Args:
        records: The records of windows; their image ids are names of windows (see `rbox_formats.tiling.locate`).
        iou_threshold: As in `merge_windows`.
        window_size: For windows named with their size, the side to which they were resized, in pixels; by default they
            were not resized. For windows named with a scale, their side in pixels; by default the size of the record,
            or 1024 if it has none.

    Raises:
        RboxError: If an image id is not the name of a window, or only some of the windows have scores.
    """
    parts: dict[str, list[tuple[tiling.NamedWindow, ImageRecord]]] = defaultdict(list)
    count = by_scale = 0
    for record in records:
        seen = None if record.width is None or record.height is None else max(record.size)
        window = tiling.locate(record.image_id, window_size, seen)
        parts[window.image_id].append((window, record))
        count += 1
        by_scale += window.by_scale
    named = f"{count - by_scale} by their size (P0706__1024__0___824)" if by_scale < count else ""
    kits = f"{by_scale} by their scale, as DOTA's kit does (P0706__0.5__0___824)" if by_scale else ""
    if count:
        _logger.info("Of %d windows, named are %s", count, " and ".join(filter(None, (named, kits))))
    for image_id, windows in parts.items():
        yield merged(image_id, windows, iou_threshold)


def merge_scene(
    scene: Scene,
    parts: Sequence[tuple[tiling.Window, ImageRecord]],
    *,
    iou_threshold: float = 0.1,
    score_threshold: float = 0.0,
) -> ImageRecord:
    """Join the records of an image's windows, as detectors make them, to the record of the image.

    >>> from rbox_formats.detection import Scene
    >>> from rbox_formats.tiling import Window
    >>> windows = (Window(0, 0, 100), Window(50, 0, 100))
    >>> scene = Scene("P0001", None, None, (150, 100), windows)
    >>> seen = [ImageRecord("left", [[80, 50, 20, 10, 0]], [0], scores=[0.8])]
    >>> seen.append(ImageRecord("right", [[30, 50, 20, 10, 0]], [0], scores=[0.9]))
    >>> merge_scene(scene, list(zip(windows, seen))).scores.tolist()
    [0.9]

    Args:
        scene: The image.
        parts: Each window with its record, in pixels of the shown window.
        iou_threshold: As in `merge_windows`.
        score_threshold: Drops objects of a lower score.

    Returns:
        The record in pixels of the image, with the texts and the status of its windows where they have some. Masks end
        at the border of the image, and an object whose mask lies beyond it is dropped.

    Raises:
        MetricsError: If only some of the windows have scores, or masks.
    """
    found = merged(scene.image_id, parts, iou_threshold)
    width, height = scene.size
    found = replace(found, width=width, height=height, path=scene.path, metadata=_metadata(parts))
    if found.masks is not None:  # windows reach beyond the image
        inside = found.masks.clipped(0, 0, width, height)
        found = replace(found, masks=inside).select(inside.areas > 0)
    return found if found.scores is None else found.select(found.scores >= score_threshold)


def _metadata(parts: Sequence[tuple[Any, ImageRecord]]) -> dict[str, Any]:
    """Return what a predictions file says of an image, by what it says of its windows."""
    from rbox_formats import codecs  # which takes a tenth of a second

    each = [record.metadata for _, record in parts]
    found: dict[str, Any] = {}
    if any("status" in metadata for metadata in each):
        found["status"] = codecs.joined_status(str(metadata.get("status", "empty")) for metadata in each)
    if any("windows" in metadata for metadata in each):
        found["windows"] = [window for metadata in each for window in metadata.get("windows", ())]
    return found


def merged(
    image_id: str,
    parts: Sequence[tuple[tiling.Window | tiling.NamedWindow, ImageRecord]],
    iou_threshold: float = 0.1,
) -> ImageRecord:
    """Return the record of an image from those of its windows, which are in pixels of the window as it was seen."""
    scored = {record.scores is not None for _, record in parts if len(record)}
    if len(scored) > 1:
        raise MetricsError(f"some windows of {quoted(image_id)} have scores and others do not")
    boxes = np.concatenate([tiling.to_image(record.boxes, window) for window, record in parts])
    labels = np.concatenate([record.labels for _, record in parts])
    having = [record.scores for _, record in parts if record.scores is not None]
    scores = np.concatenate(having) if having and scored != {False} else None
    quads = None
    if any(record.quads is not None for _, record in parts):
        quads = np.concatenate([tiling.to_image(record.corners, window) for window, record in parts])
    kept = merge_windows(
        boxes,
        labels,
        scores,
        window_index=np.repeat(np.arange(len(parts)), [len(record) for _, record in parts]),
        windows=np.array([window.corners for window, _ in parts], dtype=np.float64),
        iou_threshold=iou_threshold,
    )
    masks = _masks(image_id, parts)
    found = ImageRecord(image_id=image_id, boxes=boxes, labels=labels, quads=quads, scores=scores, masks=masks)
    return found.select(kept)


def _masks(image_id: str, parts: Sequence[tuple[tiling.Window | tiling.NamedWindow, ImageRecord]]) -> Masks | None:
    """Return the masks of all windows in pixels of the image; None where there are none."""
    filled = [(window, record) for window, record in parts if len(record)]
    having = [record.masks is not None for _, record in filled]
    if not any(having):
        return None
    if not all(having):
        raise MetricsError(f"some windows of {quoted(image_id)} have masks and others do not")
    return Masks.joined(tiling.to_image(record.masks, window) for window, record in filled if record.masks is not None)
