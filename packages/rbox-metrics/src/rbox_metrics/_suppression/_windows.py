"""Predictions on windows of images as predictions on the images."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from rbox_formats import ImageRecord, files, predictions, tiling
from rbox_formats.errors import quoted

from rbox_metrics._suppression._nms import merge_windows
from rbox_metrics.errors import MetricsError


def merge_file(
    predictions_path: str | Path, out: str | Path, *, iou_threshold: float = 0.1, window_size: int | None = None
) -> int:
    """Joins the windows in a predictions file, and writes one of the images.

    Args:
        predictions_path: Its image ids are windows' names, see `rbox_formats.tiling.parse_window_name`.
        out: The file to write; one that is there is replaced.
        iou_threshold: As in `merge_windows`.
        window_size: The side to which windows were resized. None: they were not.

    Returns:
        How many images there are.

    Raises:
        RboxError: If the file is torn, an image id is no window's name, or only some of the windows have scores.
    """
    found = predictions.read(predictions_path)
    parts: dict[str, list[tuple[tiling.Window, ImageRecord]]] = defaultdict(list)
    for record in found:
        image_id, window = tiling.parse_window_name(record.image_id, window_size)
        parts[image_id].append((window, record))
    with files.replacing(out) as path, predictions.Writer(path, found.header) as writer:
        for image_id, windows in parts.items():
            writer.write(merged(image_id, windows, iou_threshold))
    return len(parts)


def merged(image_id: str, parts: list[tuple[tiling.Window, ImageRecord]], iou_threshold: float = 0.1) -> ImageRecord:
    """The record of an image from those of its windows, whose boxes are in pixels of each window as it was seen."""
    scored = {record.scores is not None for _, record in parts if len(record)}
    if len(scored) > 1:
        raise MetricsError(f"expected scores on every window of {quoted(image_id)} or on none, got them on some")
    boxes = np.concatenate([tiling.to_image(record.boxes, window) for window, record in parts])
    labels = np.concatenate([record.labels for _, record in parts])
    scores = np.concatenate([r.scores for _, r in parts if r.scores is not None]) if True in scored else None
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
    return ImageRecord(image_id=image_id, boxes=boxes, labels=labels, quads=quads, scores=scores).select(kept)
