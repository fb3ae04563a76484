"""What a model of MMRotate says of an image, as the record that all packages share."""

from __future__ import annotations

from typing import Any

import numpy as np
from rbox_formats import LE90, ImageRecord, convert, hbox_to_rbox, quad_to_rbox
from rbox_formats.masks import Masks, PolygonMask


def to_record(
    image_id: str,
    boxes: Any,
    labels: Any,
    scores: Any = None,
    *,
    masks: Any = None,
    size: tuple[int, int] | None = None,
    **fields: Any,
) -> ImageRecord:
    """Return a record of boxes as MMRotate has them, or of masks as mmdet has them.

    Args:
        image_id: What names the image.
        boxes: Tensor or array, or mmdet's box structure: (N, 5) as (cx, cy, w, h, angle) in radians, clockwise, in any
            range; (N, 8), the corners of quads; or (N, 4), upright as (x1, y1, x2, y2). What is not finite, as a
            model that diverged writes it, is left out.
        labels: (N,) integers.
        scores: (N,), from 0 to 1; None for annotations.
        masks: Of each object, where the model has masks: (N, height, width), a tensor or array of flags, or mmdet's
            mask structure. The boxes of the record are then the rotated rectangles around the masks, and objects whose
            masks have no pixels are left out.
        size: (width, height) of the image in pixels.
        **fields: Others of the record.
    """
    values = as_numpy(boxes).astype(np.float64)
    values = values.reshape(-1, values.shape[-1] if values.ndim == 2 else 5)
    finite = np.isfinite(values).all(axis=1)
    kept = values[finite]
    width, height = (None, None) if size is None else size
    others: dict[str, Any] = {
        "labels": as_numpy(labels).astype(np.int64)[finite],
        "scores": None if scores is None else as_numpy(scores).astype(np.float64)[finite],
        "width": width,
        "height": height,
        **fields,
    }
    if masks is not None:
        return ImageRecord.from_masks(image_id, to_masks(masks)[np.flatnonzero(finite)], **others)
    quads = None
    if kept.shape[1] == 8:
        quads = kept.reshape(-1, 4, 2)
        found = quad_to_rbox(quads)
    elif kept.shape[1] == 4:
        found = hbox_to_rbox(kept)
    else:
        found = convert(kept, LE90, LE90)
    return ImageRecord(image_id, found, quads=quads, **others)


def to_masks(masks: Any) -> Masks:
    """Return masks of mmdet: a tensor or array (N, height, width) of flags, or its structure of either form."""
    inner = getattr(masks, "masks", masks)  # BitmapMasks has an array, PolygonMasks a list of lists of outlines
    if isinstance(inner, list):
        return Masks(PolygonMask(np.reshape(outline, (-1, 2)) for outline in outlines) for outlines in inner)
    return Masks(inner.detach().cpu().numpy() if hasattr(inner, "detach") else np.asarray(inner))


def as_numpy(values: Any) -> np.ndarray:
    """Return a tensor, a box structure of mmdet (which holds one), or an array, as an array in memory."""
    values = getattr(values, "tensor", values)
    return values.detach().cpu().float().numpy() if hasattr(values, "detach") else np.asarray(values)
