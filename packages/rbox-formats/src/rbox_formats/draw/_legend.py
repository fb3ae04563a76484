"""The colours of classes with a text each, in rows."""

from __future__ import annotations

import math
from collections.abc import Iterable

from PIL import Image, ImageDraw

from rbox_formats.draw._colours import HALO, INK, PAPER, class_colour
from rbox_formats.draw._labels import load_font, shortened

_SIZE, _GAP = 13, 18


def draw_legend(width: int, texts: Iterable[tuple[int, str]], *, size: int = _SIZE) -> Image.Image | None:
    """Draw texts, each beside the colour of its label, in rows; None where there are none.

    >>> from rbox_formats import draw
    >>> draw.draw_legend(200, [(0, "plane"), (1, "ship")]).width
    200

    Args:
        width: How wide it may be, px.
        texts: Labels and texts, in order.
        size: Size of the letters in pixels.
    """
    font, swatch, height = load_font(size), size - 1, size + 9
    entries: list[tuple[int, int, int, str]] = []
    x = y = 0
    for label, full in texts:
        text = shortened(full, font, width - swatch - 6)
        taken = swatch + 6 + math.ceil(font.getlength(text))
        if x and x + taken > width:
            x, y = 0, y + height
        entries.append((x, y, label, text))
        x += taken + _GAP
    if not entries:
        return None
    legend = Image.new("RGB", (width, y + height), PAPER)
    draw = ImageDraw.Draw(legend)
    for x, y, label, text in entries:
        middle = y + height // 2
        top = middle - swatch // 2
        draw.rounded_rectangle((x, top, x + swatch - 1, top + swatch - 1), 2, class_colour(label), HALO)
        draw.text((x + swatch + 6, middle), text, INK, font, anchor="lm")
    return legend
