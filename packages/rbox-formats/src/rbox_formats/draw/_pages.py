"""Pictures beside each other: truth and predictions, and sheets of many."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from rbox_formats._records import ClassNames, ImageRecord
from rbox_formats.draw._colours import FAINT_INK, INK, PAPER, Colour
from rbox_formats.draw._labels import load_font, shortened
from rbox_formats.draw._legend import draw_legend
from rbox_formats.draw._record import as_picture, draw_record, resized
from rbox_formats.errors import FormatsError
from rbox_formats.typing import Image as ImageArray

_MARGIN = 12
_CAPTION_SIZE, _TITLE_SIZE = 14, 17


def side_by_side(
    image: ImageArray | Image.Image,
    truth: ImageRecord,
    predictions: ImageRecord,
    class_names: ClassNames,
    *,
    min_side: int = 384,
    max_side: int = 2048,
) -> Image.Image:
    """Draw the ground truth on the left, predictions on the right, captions with counts above, a legend below.

    >>> import numpy as np
    >>> from rbox_formats import ClassNames, ImageRecord, draw
    >>> record = ImageRecord("harbour", boxes=[[50, 40, 30, 10, 0]], labels=[0])
    >>> draw.side_by_side(np.zeros((80, 100, 3), np.uint8), record, record, ClassNames(["ship"])).mode
    'RGB'

    Args:
        image: (height, width, 3) uint8, or a Pillow image.
        truth: The annotations; its image_id is the title.
        predictions: What was found on the same image.
        class_names: What both records' labels index.
        min_side: Each panel is made a whole number of times larger until its longer side is at least this, px.
        max_side: Each panel is made smaller until its longer side is at most this, px.

    Raises:
        FormatsError: As for `draw_record`.
    """
    return panels(
        image, {"truth": truth, "predictions": predictions}, class_names, min_side=min_side, max_side=max_side
    )


def panels(
    image: ImageArray | Image.Image,
    records: Mapping[str, ImageRecord],
    class_names: ClassNames,
    *,
    min_side: int = 384,
    max_side: int = 2048,
) -> Image.Image:
    """Draw one image several times, from left to right, each with its own boxes, such as truth and several detectors.

    >>> import numpy as np
    >>> from rbox_formats import ClassNames, ImageRecord, draw
    >>> pixels, names = np.zeros((80, 100, 3), np.uint8), ClassNames(["ship"])
    >>> record = ImageRecord("harbour", boxes=[[50, 40, 30, 10, 0]], labels=[0])
    >>> draw.panels(pixels, {"truth": record, "first": record, "second": record}, names).mode
    'RGB'

    Args:
        image: (height, width, 3) uint8, or a Pillow image.
        records: The boxes by their captions, at least one; the first's image_id is the title.
        class_names: What all records' labels index.
        min_side: Each panel is made a whole number of times larger until its longer side is at least this, px.
        max_side: Each panel is made smaller until its longer side is at most this, px.

    Raises:
        FormatsError: As for `draw_record`.
    """
    picture = as_picture(image)
    scale = math.ceil(min_side / max(picture.size))
    drawn = {
        f"{name}: {len(record)}": draw_record(picture, record, class_names, scale=scale, max_side=max_side)
        for name, record in records.items()
    }
    panel_width, panel_height = next(iter(drawn.values())).size
    column = max(panel_width, 180)
    width = len(drawn) * (column + _MARGIN) + _MARGIN
    counts = [Counter(record.labels.tolist()) for record in records.values()]
    labels = sorted(set().union(*counts))
    texts = [(label, f"{class_names[label]}  {' | '.join(str(each[label]) for each in counts)}") for label in labels]
    legend = draw_legend(width - 2 * _MARGIN, texts)
    top = _MARGIN + _TITLE_SIZE + 8 + _CAPTION_SIZE + 8
    height = top + panel_height + _MARGIN + (legend.height + _MARGIN if legend else 0)

    page = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    title = shortened(next(iter(records.values())).image_id, load_font(_TITLE_SIZE), width - 2 * _MARGIN)
    draw.text((_MARGIN, _MARGIN), title, INK, load_font(_TITLE_SIZE), anchor="lt")
    for i, (caption, panel) in enumerate(drawn.items()):
        x = _MARGIN + i * (column + _MARGIN)
        draw.text((x, top - 8), caption, FAINT_INK, load_font(_CAPTION_SIZE), anchor="ls")
        page.paste(panel, (x, top))
    if legend:
        page.paste(legend, (_MARGIN, top + panel_height + _MARGIN))
    return page


def contact_sheet(
    pictures: Sequence[Image.Image],
    *,
    columns: int | None = None,
    background: Colour = PAPER,
    max_cell: int | None = 1024,
) -> Image.Image:
    """Arrange pictures in a grid, row by row, each in the middle of a cell that the largest just fills.

    >>> from PIL import Image
    >>> from rbox_formats import draw
    >>> draw.contact_sheet([Image.new("RGB", (100, 80))] * 4, columns=2).mode
    'RGB'

    Args:
        pictures: At least one.
        columns: The number of pictures in a row. Default: the sheet is nearly one and a half times as wide as high.
        background: The colour between the pictures.
        max_cell: The longest side of a picture, px; larger pictures are made smaller. None: no limit.

    Raises:
        FormatsError: If there are no pictures, or less than one column is asked for.
    """
    if not pictures:
        raise FormatsError("expected at least one picture, got none")
    if columns is not None and columns < 1:
        raise FormatsError(f"expected at least one column, got {columns}")
    small = [resized(each, min(1.0, (max_cell or math.inf) / max(each.size))) for each in map(as_picture, pictures)]
    cell = np.array([each.size for each in small]).max(axis=0) + _MARGIN
    if columns is None:
        columns = min(len(small), max(1, round(math.sqrt(1.5 * len(small) * cell[1] / cell[0]))))
    rows = math.ceil(len(small) / columns)
    width, height = (np.array([columns, rows]) * cell + _MARGIN).tolist()
    sheet = Image.new("RGB", (width, height), background)
    for i, each in enumerate(small):
        spare = cell - _MARGIN - each.size
        x, y = (np.array([i % columns, i // columns]) * cell + _MARGIN + spare // 2).tolist()
        sheet.paste(each, (x, y))
    return sheet
