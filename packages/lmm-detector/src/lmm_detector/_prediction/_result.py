"""What was detected on an image, as a notebook wants it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from rbox_formats import ClassNames, ImageRecord, draw
from rbox_formats.errors import ImageError
from rbox_formats.typing import Image

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
else:
    PillowImage = Any  # Pillow is imported where a picture is made

_MAX_SIDE = 1600


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
        """What the texts say: "boxes", or "empty".

        Or what is wrong: "truncated" by the length limit, stopped as they "repeated" boxes, "failed" to be read.
        """
        return str(self.metadata["status"])

    def plot(self, *, max_side: int = _MAX_SIDE, **options: Any) -> PillowImage:
        """A picture of the image with its objects, which a notebook shows.

        Args:
            max_side: A larger image is made smaller, px.
            **options: As in `rbox_formats.draw.draw_record`: line_width, show_labels, show_angles.

        Raises:
            ImageError: If the image's file is not there any more.
        """
        if self.path is not None:
            pixels, (record,) = draw.fitted(self.path, self, max_side=max_side)
        elif self.pixels is not None:
            pixels, record = self.pixels, self
        else:
            raise ImageError(f"expected an image for {self.image_id!r}, found none")
        return draw.draw_record(pixels, record, self.class_names, max_side=max_side, **options)

    def _repr_png_(self) -> bytes:
        """What a notebook shows of it."""
        buffer = BytesIO()
        self.plot().save(buffer, format="PNG")
        return buffer.getvalue()

    def __repr__(self) -> str:
        counts = Counter(self.names)
        listed = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "no objects"
        return f"<Prediction of {self.image_id!r}: {listed}; {self.status}>"
