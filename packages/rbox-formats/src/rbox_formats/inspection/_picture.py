"""What an inspection found, as one picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rbox_formats.errors import counted
from rbox_formats.inspection._inspection import ANGLE_STEP, LONG_SIDES, Inspection

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
else:
    PillowImage = Any  # Pillow is imported where a picture is made

_MARGIN, _TITLE, _TEXT = 28, 24, 15
_COLUMN, _HISTOGRAM = 700, 230


def summary_picture(inspection: Inspection, title: str) -> PillowImage:
    """Draw objects per class and suspicions on the left; angles, sizes and objects per image on the right.

    >>> from rbox_formats import Dataset, ImageRecord, inspection
    >>> record = ImageRecord("harbour", boxes=[[50, 40, 30, 10, 0]], labels=[0], width=100, height=80)
    >>> inspection.summary_picture(inspection.inspect(Dataset(["ship"], [record])), title="harbour").mode
    'RGB'

    Args:
        inspection: What was found.
        title: Such as the dataset's folder.
    """
    from PIL import Image, ImageDraw

    from rbox_formats import draw
    from rbox_formats.draw._charts import PLAIN
    from rbox_formats.draw._colours import FAINT_INK, INK, PAPER
    from rbox_formats.draw._labels import load_font, shortened

    counts = {name: summary.objects for name, summary in zip(inspection.class_names, inspection.classes, strict=True)}
    colours = [draw.class_colour(label) for label in range(len(counts))]
    some = [count for count in counts.values() if count] or [1]
    left = [
        draw.bar_chart("Objects of each class", counts, colours, _COLUMN, log=max(some) > 50 * min(some)),
        draw.bar_chart("Suspicious objects", inspection.kinds, [PLAIN] * len(inspection.kinds), _COLUMN),
    ]
    size = (_COLUMN, _HISTOGRAM)
    right = [_angles(inspection, size), _sides(inspection, size), _per_image(inspection, size)]

    head = _MARGIN + _TITLE + _TEXT + 26
    heights = [sum(each.height + _MARGIN for each in column) for column in (left, right)]
    page = Image.new("RGB", (2 * _COLUMN + 3 * _MARGIN, head + max(heights)), PAPER)
    pen = ImageDraw.Draw(page)
    font = load_font(_TITLE)
    pen.text((_MARGIN, _MARGIN + _TITLE), shortened(title, font, page.width - 2 * _MARGIN), INK, font, anchor="ls")
    pen.text((_MARGIN, _MARGIN + _TITLE + _TEXT + 10), headline(inspection), FAINT_INK, load_font(_TEXT), anchor="ls")
    for i, column in enumerate((left, right)):
        y = head
        for each in column:
            page.paste(each, (_MARGIN + i * (_COLUMN + _MARGIN), y))
            y += each.height + _MARGIN
    return page


def headline(inspection: Inspection) -> str:
    """Return the counts as a sentence.

    >>> from rbox_formats import Dataset, ImageRecord, inspection
    >>> record = ImageRecord("harbour", boxes=[[50, 40, 30, 10, 0]], labels=[0], width=100, height=80)
    >>> inspection.headline(inspection.inspect(Dataset(["ship"], [record])))
    '1 object on 1 image, 1 of them without their file.'
    """
    images, broken = len(inspection.objects_per_image), len(inspection.broken)
    parts = [f"{counted(inspection.objects, 'object')} on {counted(images, 'image')}"]
    if inspection.without_file:
        parts.append(f"{inspection.without_file:,} of them without their file")
    if broken:
        parts.append(f"{counted(broken, 'file')} that cannot be read")
    return ", ".join(parts) + "."


def _angles(inspection: Inspection, size: tuple[int, int]) -> PillowImage:
    from rbox_formats import draw

    # The first bin is a direction that has two names: it is drawn at both ends, half a bin wide each in truth.
    counts = [*inspection.angles.tolist(), int(inspection.angles[0])]
    ticks = {(angle + 90) / ANGLE_STEP + 0.5: f"{angle}°" for angle in range(-90, 91, 30)}
    return draw.histogram("Angles, le90, clockwise from the x axis (-90° and 90° are the same)", counts, ticks, size)


def _sides(inspection: Inspection, size: tuple[int, int]) -> PillowImage:
    from rbox_formats import draw

    used = np.flatnonzero(inspection.long_sides)
    first, last = (int(used[0]), int(used[-1])) if len(used) else (0, 0)
    # Bin k ends at LONG_SIDES[k], half an octave after bin k - 1: powers of two stand at every other border.
    borders = {k + 1: LONG_SIDES[k] for k in range(max(first - 1, 0), min(last + 1, len(LONG_SIDES)))}
    ticks = {float(k - first): f"{edge:.0f}" for k, edge in borders.items() if math.log2(edge).is_integer()}
    return draw.histogram("Long sides, px", inspection.long_sides[first : last + 1].tolist(), ticks, size)


def _per_image(inspection: Inspection, size: tuple[int, int]) -> PillowImage:
    from rbox_formats import draw

    # 0, 1, 2-3, 4-7 and so on: a crowded image has a thousand times the objects of most.
    octaves = np.array([int(count).bit_length() for count in inspection.objects_per_image], dtype=np.int64)
    counts = np.bincount(octaves, minlength=1).tolist()
    names = ["0", "1", *(f"{2 ** (k - 1)}-{2**k - 1}" for k in range(2, len(counts)))]
    ticks = {k + 0.5: name for k, name in enumerate(names[: len(counts)])}
    return draw.histogram("Images by their number of objects", counts, ticks, size)
