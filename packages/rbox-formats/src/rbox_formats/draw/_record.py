"""One image with its boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from rbox_formats import images
from rbox_formats._geometry import rbox_to_quad
from rbox_formats._records import ClassNames, ImageRecord
from rbox_formats.draw._colours import PAPER
from rbox_formats.draw._labels import draw_labels, named
from rbox_formats.draw._legend import draw_legend
from rbox_formats.draw._masks import draw_masks
from rbox_formats.draw._outlines import draw_outlines, find_ticks
from rbox_formats.errors import FormatsError, quoted
from rbox_formats.typing import Image as ImageArray

_MARGIN = 8  # around the legend, px


def draw_record(
    image: ImageArray | Image.Image,
    record: ImageRecord,
    class_names: ClassNames,
    *,
    line_width: float | None = None,
    show_labels: bool = True,
    show_angles: bool = True,
    scale: float = 1,
    max_side: int | None = None,
    texts: Sequence[str] | None = None,
    label_size: int | None = None,
    leaders: bool = False,
) -> Image.Image:
    """Draw an image with the outlines of a record's objects, in the colours of their classes.

    The outline is the annotated quad where the record has quads, else the box; a tick points where the box's angle
    does, except on boxes that are nearly square. The pixels of a mask are tinted, with a border. Names (and scores,
    where there are any) stand next to their objects, where they cover neither a label nor an object. They are left out
    where there is no room and where the object is small against the text. In a crowd of one class, only a few are
    drawn.

    >>> import numpy as np
    >>> from rbox_formats import ClassNames, ImageRecord, draw
    >>> record = ImageRecord("harbour", boxes=[[50, 40, 30, 10, 0]], labels=[0])
    >>> draw.draw_record(np.zeros((80, 100, 3), np.uint8), record, ClassNames(["ship"]), scale=4).size
    (400, 320)

    Args:
        image: (height, width, 3) uint8, or a Pillow image.
        record: Boxes in pixels of the image.
        class_names: What the record's labels index.
        line_width: In pixels of the result; when not given it suits the picture, and is thinner on small objects.
        show_labels: Whether to write names and scores.
        show_angles: Whether to draw the ticks.
        scale: Size of the result over the size of the image.
        max_side: The result is made smaller where one of its sides would be longer, px.
        texts: What is written of each object. None: names and scores.
        label_size: The letters' size, px. None: it suits the picture.
        leaders: Whether what has no room next to its object stands further off, joined to it by a line.

    Returns:
        An RGB image, each side `round(side * scale)` unless `max_side` made it smaller.

    Raises:
        FormatsError: If the image is no RGB image or not of the record's size, a coordinate is not finite, a label has
            no name, or the scale is not positive.
    """
    options = _Options(line_width, show_labels, show_angles, scale, max_side, texts, label_size, leaders)
    canvas, _ = _drawn(image, record, class_names, options, numbers=False)
    return canvas


def draw_with_legend(
    image: ImageArray | Image.Image, record: ImageRecord, class_names: ClassNames, **options: Any
) -> Image.Image:
    """Draw an image as `draw_record` does, and below it what had no room beside its object.

    Such an object has a number, where it has room for that, and the legend says what the number stands for.

    >>> record = ImageRecord("a", [[20, 20, 40, 40, 0]], [0])
    >>> picture = draw_with_legend(np.zeros((40, 40, 3), np.uint8), record, ClassNames(["ship"]), scale=4)
    >>> picture.width, picture.height > 160  # the name is below: the object fills the picture
    (160, True)

    Args:
        image: (height, width, 3) uint8, or a Pillow image.
        record: The objects.
        class_names: The classes that the record's labels are indices of.
        **options: Other arguments of `draw_record`.

    Returns:
        An RGB image; where there is a legend it is as much higher.

    Raises:
        FormatsError: As `draw_record`.
    """
    settings = _Options(**options)
    canvas, listed = _drawn(image, record, class_names, settings, numbers=True)
    texts = settings.texts or named(record, class_names)
    entries = [(int(record.labels[i]), f"{number} {texts[i]}" if number else texts[i]) for i, number in listed]
    legend = draw_legend(canvas.width - 2 * _MARGIN, entries)
    if legend is None:
        return canvas
    whole = Image.new("RGB", (canvas.width, canvas.height + legend.height + 2 * _MARGIN), PAPER)
    whole.paste(canvas, (0, 0))
    whole.paste(legend, (_MARGIN, canvas.height + _MARGIN))
    return whole


@dataclass(frozen=True)
class _Options:
    """How a record is drawn; `draw_record` says what each is."""

    line_width: float | None = None
    show_labels: bool = True
    show_angles: bool = True
    scale: float = 1
    max_side: int | None = None
    texts: Sequence[str] | None = None
    label_size: int | None = None
    leaders: bool = False


def _drawn(
    image: ImageArray | Image.Image, record: ImageRecord, class_names: ClassNames, options: _Options, *, numbers: bool
) -> tuple[Image.Image, list[tuple[int, int | None]]]:
    """Return the picture, and which objects belong into a legend, with their numbers."""
    picture = as_picture(image)
    scale = options.scale
    _check(picture, record, class_names, scale)
    if options.max_side is not None:
        scale = min(scale, options.max_side / max(picture.size))
    canvas = resized(picture, scale)
    # Rounding to whole pixels makes the two axes' true scales differ a little.
    true_scale = np.array(canvas.size) / np.array(picture.size)
    quads = (rbox_to_quad(record.boxes) if record.quads is None else record.quads) * true_scale
    if not len(quads):
        return canvas, []
    if record.masks is not None:
        draw_masks(canvas, record.masks, record.labels, true_scale)
    ticks = find_ticks(quads, record.boxes[:, 4])
    if not options.show_angles:
        ticks[:, 1] = ticks[:, 0]  # a point on the outline
    draw_outlines(canvas, quads, ticks, record.labels, options.line_width)
    if not options.show_labels:
        return canvas, []
    texts = options.texts or named(record, class_names)
    return canvas, draw_labels(canvas, quads, ticks, record, texts, options.label_size, options.leaders, numbers)


def as_picture(image: ImageArray | Image.Image) -> Image.Image:
    """Return the image as Pillow has it, turned as its file notes, in RGB."""
    if isinstance(image, Image.Image):
        turned = images.upright(image)
        return turned if turned.mode == "RGB" else turned.convert("RGB")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise FormatsError(f"expected an image (height, width, 3) uint8, got {image.shape} {image.dtype}")
    return Image.fromarray(image)


def _check(picture: Image.Image, record: ImageRecord, class_names: ClassNames, scale: float) -> None:
    of = f"of {quoted(record.image_id)}"
    if not (math.isfinite(scale) and scale > 0):
        raise FormatsError(f"expected a scale above 0, got {scale}")
    stated = (record.width or picture.width, record.height or picture.height)
    if stated != picture.size:
        raise FormatsError(
            f"expected an image {of} of {stated[0]}x{stated[1]} px, got {picture.width}x{picture.height}",
            remedy="Draw on the image that the boxes belong to, and use `scale` for another size.",
        )
    shapes = record.boxes if record.quads is None else record.quads.reshape(len(record), 8)
    finite = np.isfinite(shapes).all(axis=1) & np.isfinite(record.boxes).all(axis=1)
    if not finite.all():
        raise FormatsError(f"expected finite coordinates, got others in object {int(np.argmin(finite))} {of}")
    named = (record.labels >= 0) & (record.labels < len(class_names))
    if not named.all():
        i = int(np.argmin(named))
        raise FormatsError(
            f"expected labels below {len(class_names)}, got {record.labels[i]} for object {i} {of}",
            remedy="Give the class names that the labels were made with.",
        )


def resized(picture: Image.Image, scale: float) -> Image.Image:
    """Return a copy with each side `round(side * scale)`, but at least 1 px."""
    width, height = (max(1, round(side * scale)) for side in picture.size)
    if (width, height) == picture.size:
        return picture.copy()
    # Up by bicubic, which neither rings nor shows the pixels' edges; down by Lanczos, from an average first where the
    # picture is much larger, which takes a tenth of the time.
    kind = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS
    return picture.resize((width, height), kind, reducing_gap=3.0)
