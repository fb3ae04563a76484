"""A sheet of images with what was detected on them: right, wrong and missed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rbox_formats import ClassNames, ImageRecord

from rbox_metrics.errors import MetricsError
from rbox_metrics.plots._worst import headed, judge, outlined, under_legend
from rbox_metrics.typing import Geometry, ProtocolName

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
else:
    PillowImage = Any  # Pillow is imported where something is drawn

_COLUMNS = 4
_FOUND_WIDTH = 1.8  # px of the sheet: what is right is seen here, and what is not is seen first


def judged_sheet(
    pairs: Sequence[tuple[ImageRecord, ImageRecord]],
    class_names: ClassNames,
    *,
    iou_threshold: float = 0.5,
    protocol: ProtocolName = "voc07",
    geometry: Geometry | None = None,
) -> PillowImage:
    """Draw whole images side by side, as `worst_images` draws parts of them, in the order given.

    Colours show the outcome of each box: thin boxes are truths that were found; thick and named boxes are missed truths
    or false positives. Boxes are matched as for F1: one to one, by falling score.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> from rbox_formats import ClassNames, ImageRecord
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     image = Path(folder, "P1.png")
    ...     Image.new("RGB", (200, 100)).save(image)
    ...     truth = ImageRecord("P1", np.array([[50, 40, 20, 10, 0.3]]), np.array([0]), path=image)
    ...     sheet = judged_sheet([(truth, truth)], ClassNames(["ship"]))
    >>> sheet.width
    664

    Args:
        pairs: For each image the annotations, with the path of its file, and the detections; at least one image.
        class_names: The classes, in the order of the labels.
        iou_threshold: The overlap that a detection needs.
        protocol: Which overlaps are enough, as in `evaluate`.
        geometry: As in `evaluate`.

    Returns:
        The picture, below a legend of its colours.

    Raises:
        MetricsError: If there is no pair.
        RboxError: If an image file is broken.
    """
    from rbox_formats import draw

    if not pairs:
        raise MetricsError("expected at least one image to draw, got none")
    tiles = [_tile(*pair, class_names, iou_threshold, protocol, geometry) for pair in pairs]
    return under_legend(draw.contact_sheet(tiles, columns=min(_COLUMNS, len(tiles)), max_cell=None))


def _tile(
    truth: ImageRecord,
    detected: ImageRecord,
    class_names: ClassNames,
    iou_threshold: float,
    protocol: ProtocolName,
    geometry: Geometry | None,
) -> PillowImage:
    from rbox_formats import draw
    from rbox_formats.draw import INK

    # Matched in pixels of the image, drawn as large as a tile.
    pixels, (small_truth, small_detected) = draw.fitted(truth.file, truth, detected, max_side=1024)
    (judged,) = judge([truth], [detected], class_names, iou_threshold, protocol, geometry)
    counts = f"{judged.right.sum()} right, {judged.false.sum()} wrong, {judged.missed.sum()} missed"
    if small_truth is not truth:
        (judged,) = judge([small_truth], [small_detected], class_names, iou_threshold, protocol, geometry)
    picture = outlined(pixels, judged, class_names, found_width=_FOUND_WIDTH)
    return headed(picture, ((truth.image_id, INK, 19), (counts, INK, 16)))
