"""What was detected on an image, as a notebook wants it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from rbox_formats import ClassNames, ImageRecord, draw, images
from rbox_formats.errors import ImageError
from rbox_formats.typing import Image

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
else:
    PillowImage = Any  # Pillow is imported where a picture is made

# A picture of more pixels is read part by part, and made smaller as it is read.
_LARGE = 2**25
_MAX_SIDE = 1600
_ROWS = 256


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(ImageRecord):
    """The objects detected on an image: a record, and what shows it.

    Attributes:
        class_names: What the labels index.
        pixels: (height, width, 3) uint8, of an image that is in no file.
    """

    class_names: ClassNames = field(kw_only=True)
    pixels: Image | None = field(default=None, kw_only=True)

    @property
    def names(self) -> list[str]:
        """The class of each object."""
        return [self.class_names[label] for label in self.labels]

    @property
    def text(self) -> str:
        """What the model wrote; of several windows, a line for each."""
        return "\n".join(window["text"] for window in self.metadata["windows"])

    @property
    def status(self) -> str:
        """Whether the texts hold "boxes", are "empty", "truncated" by the length limit, or "failed" to be read."""
        return str(self.metadata["status"])

    def plot(self, *, max_side: int = _MAX_SIDE, **options: Any) -> PillowImage:
        """A picture of the image with its objects, which a notebook shows.

        Args:
            max_side: A larger image is made smaller, px.
            **options: As in `rbox_formats.draw.draw_record`: line_width, show_labels, show_angles.

        Raises:
            ImageError: If the image's file is not there any more.
        """
        width, height = self.size
        step = max(width, height) // max_side
        if self.path is None or step < 2 or width * height <= _LARGE:
            pixels = self.pixels if self.path is None else images.load(self.path)
            if pixels is None:
                raise ImageError(f"expected an image for {self.image_id!r}, found none")
            return draw.draw_record(pixels, self, self.class_names, max_side=max_side, **options)
        small = _reduced(self.path, step)
        return draw.draw_record(small, _scaled(self, small, step), self.class_names, max_side=max_side, **options)

    def _repr_png_(self) -> bytes:
        """What a notebook shows of it."""
        buffer = BytesIO()
        self.plot().save(buffer, format="PNG")
        return buffer.getvalue()

    def __repr__(self) -> str:
        counts = Counter(self.names)
        listed = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "no objects"
        return f"<Prediction of {self.image_id!r}: {listed}; {self.status}>"


def _reduced(path: Any, step: int) -> Image:
    """An image file at a whole fraction of its size: each pixel the mean of step x step; what is left over is cut."""
    with images.open_rows(path) as rows:
        width, height = rows.width // step, rows.height // step
        small = np.empty((height, width, 3), dtype=np.uint8)
        at_once = max(_ROWS // step, 1)
        for first in range(0, height, at_once):
            last = min(first + at_once, height)
            part = rows.read(first * step, last * step)[:, : width * step]
            small[first:last] = part.reshape(last - first, step, width, step, 3).mean(axis=(1, 3)).round()
    return small


def _scaled(record: ImageRecord, small: Image, step: int) -> ImageRecord:
    """The record on an image made smaller."""
    return ImageRecord(
        image_id=record.image_id,
        boxes=np.concatenate([record.boxes[:, :4] / step, record.boxes[:, 4:]], axis=1),
        labels=record.labels,
        quads=None if record.quads is None else record.quads / step,
        scores=record.scores,
        width=small.shape[1],
        height=small.shape[0],
    )
