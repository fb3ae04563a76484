"""Read image files for pictures, large ones at a smaller size."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from rbox_formats import images
from rbox_formats._records import ImageRecord
from rbox_formats.typing import Image as ImageArray

# The number of pixels up to which images are read at full size.
LARGE = 2**25

_ROWS = 256


def fitted(
    path: str | Path, *records: ImageRecord, max_side: int | None = None
) -> tuple[ImageArray, tuple[ImageRecord, ...]]:
    """Read an image file and fit it and its records into a picture's size.

    An image of more than 2**25 pixels is read part by part, at a whole fraction of its size, in bounded memory.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from rbox_formats import draw
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("RGB", (100, 80)).save(Path(folder) / "harbour.png")
    ...     pixels, records = draw.fitted(Path(folder) / "harbour.png", max_side=640)
    ...     print(pixels.shape)
    (80, 100, 3)

    Args:
        path: The file.
        *records: Records of boxes in its pixels.
        max_side: The longer side of the picture, px; a large image is not made smaller than that. None: a large image
            is read as large as possible with up to 2**25 pixels.

    Returns:
        The image (height, width, 3) uint8, and the records in its pixels.

    Raises:
        ImageError: If the file is not a whole image, or too large (`images.open_rows`).
    """
    width, height = images.read_size(path)
    step = max(width, height) // max_side if max_side else math.ceil(math.sqrt(width * height / LARGE))
    if width * height <= LARGE or step < 2:
        return images.load(path), records
    # A long and narrow image keeps a pixel of its narrow side.
    small = _reduced(path, min(step, width, height))
    return small, tuple(_scaled(record, small, min(step, width, height)) for record in records)


def _reduced(path: str | Path, step: int) -> ImageArray:
    """Read an image file at a whole fraction of its size: each pixel is the mean of step x step; the rest is cut."""
    with images.open_rows(path) as rows:
        width, height = rows.width // step, rows.height // step
        small = np.empty((height, width, 3), dtype=np.uint8)
        at_once = max(_ROWS // step, 1)
        for first in range(0, height, at_once):
            last = min(first + at_once, height)
            part = rows.read(first * step, last * step)[:, : width * step]
            small[first:last] = part.reshape(last - first, step, width, step, 3).mean(axis=(1, 3)).round()
    return small


def _scaled(record: ImageRecord, small: ImageArray, step: int) -> ImageRecord:
    """Scale a record to an image made smaller."""
    return ImageRecord(
        image_id=record.image_id,
        boxes=np.concatenate([record.boxes[:, :4] / step, record.boxes[:, 4:]], axis=1),
        labels=record.labels,
        quads=None if record.quads is None else record.quads / step,
        difficult=record.difficult,
        scores=record.scores,
        path=record.path,
        width=small.shape[1],
        height=small.shape[0],
        metadata=record.metadata,
        masks=None if record.masks is None else record.masks.scaled(1 / step, 1 / step),
    )
