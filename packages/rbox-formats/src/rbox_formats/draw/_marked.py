"""One image on a page: its boxes, a legend, and numbers at the objects that something is said of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw

from rbox_formats._geometry import rbox_to_quad
from rbox_formats._records import ClassNames, ImageRecord
from rbox_formats.draw._colours import FAINT_INK, INK, PAPER
from rbox_formats.draw._labels import load_font, shortened
from rbox_formats.draw._legend import draw_legend
from rbox_formats.draw._marks import draw_marks
from rbox_formats.draw._record import as_picture, draw_record
from rbox_formats.typing import Image as ImageArray

_MARGIN, _TITLE_SIZE, _NOTE_SIZE, _NOTE_ROW = 12, 17, 13, 20
_MOST_NOTES = 30
_LEAST_WIDTH = 480


def marked_page(
    image: ImageArray | Image.Image,
    record: ImageRecord,
    class_names: ClassNames,
    marks: Mapping[int, str] | None = None,
    *,
    min_side: int = 384,
    max_side: int | None = 2048,
) -> Image.Image:
    """Draw a page: the image's name and number of objects, the image with its boxes, a legend with counts.

    Objects with a mark stand in a white frame. The first thirty have a number there, with a line to it where the room
    at the frame is taken, and their marks are listed below by these numbers. No ticks show the boxes' angles: without a
    word about them they would look as if they said where an object's front is.

    >>> import numpy as np
    >>> from rbox_formats import ClassNames, ImageRecord, draw
    >>> record = ImageRecord("harbour", boxes=[[50, 40, 30, 10, 0]], labels=[0])
    >>> draw.marked_page(np.zeros((80, 100, 3), np.uint8), record, ClassNames(["ship"])).mode
    'RGB'

    Args:
        image: (height, width, 3) uint8, or a Pillow image.
        record: Boxes in pixels of the image; its image_id is the title.
        class_names: What the record's labels index.
        marks: What is said of objects, by their index in the record. The first thirty are listed.
        min_side: The image is made a whole number of times larger until its longer side is at least this, px.
        max_side: The image is made smaller until its longer side is at most this, px.

    Raises:
        FormatsError: As for `draw_record`.
    """
    picture = as_picture(image)
    marks = {} if marks is None else marks
    scale = math.ceil(min_side / max(picture.size))
    panel = draw_record(picture, record, class_names, scale=scale, max_side=max_side, show_angles=False)
    quads = rbox_to_quad(record.boxes) if record.quads is None else record.quads
    true_scale = np.array(panel.size) / picture.size
    draw_marks(panel, quads[list(marks)] * true_scale, _MOST_NOTES)

    width = max(panel.width, _LEAST_WIDTH) + 2 * _MARGIN
    inner = width - 2 * _MARGIN
    counts = Counter(record.labels.tolist())
    legend = draw_legend(inner, {label: f"{class_names[label]}  {counts[label]}" for label in sorted(counts)})
    notes = [
        f"{number}   object {index}, {class_names[int(record.labels[index])]}: {text}"
        for number, (index, text) in enumerate(marks.items(), start=1)
    ]
    if len(notes) > _MOST_NOTES:
        notes[_MOST_NOTES:] = [f"and {len(notes) - _MOST_NOTES} more"]
    top = 2 * _MARGIN + _TITLE_SIZE
    legend_height = legend.height + _MARGIN if legend else 0
    notes_height = len(notes) * _NOTE_ROW + _MARGIN if notes else 0
    page = Image.new("RGB", (width, top + panel.height + _MARGIN + legend_height + notes_height), PAPER)
    draw = ImageDraw.Draw(page)
    count = f"{len(record)} objects" if len(record) != 1 else "1 object"
    counted = load_font(_NOTE_SIZE)
    left = inner - math.ceil(counted.getlength(count)) - _MARGIN
    title = load_font(_TITLE_SIZE)
    draw.text((_MARGIN, top - 8), shortened(record.image_id, title, left), INK, title, anchor="ls")
    draw.text((width - _MARGIN, top - 8), count, FAINT_INK, counted, anchor="rs")
    page.paste(panel, (_MARGIN, top))
    y = top + panel.height + _MARGIN
    if legend:
        page.paste(legend, (_MARGIN, y))
        y += legend_height
    for note in notes:
        draw.text((_MARGIN, y + _NOTE_ROW // 2), shortened(note, counted, inner), INK, counted, anchor="lm")
        y += _NOTE_ROW
    return page
