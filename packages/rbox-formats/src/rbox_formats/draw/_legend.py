"""The colours of classes with a text each, in rows."""

from __future__ import annotations

import math
from collections.abc import Mapping

from PIL import Image, ImageDraw

from rbox_formats.draw._colours import HALO, INK, PAPER, class_colour
from rbox_formats.draw._labels import load_font, shortened

_SIZE = 13
_SWATCH, _GAP, _ROW = 12, 18, _SIZE + 9


def draw_legend(width: int, texts: Mapping[int, str]) -> Image.Image | None:
    """A text for each label, beside its colour; None where there are none.

    Args:
        width: How wide it may be, px.
        texts: By label, in order.
    """
    font = load_font(_SIZE)
    entries: list[tuple[int, int, int, str]] = []
    x = y = 0
    for label, full in texts.items():
        text = shortened(full, font, width - _SWATCH - 6)
        taken = _SWATCH + 6 + math.ceil(font.getlength(text))
        if x and x + taken > width:
            x, y = 0, y + _ROW
        entries.append((x, y, label, text))
        x += taken + _GAP
    if not entries:
        return None
    legend = Image.new("RGB", (width, y + _ROW), PAPER)
    draw = ImageDraw.Draw(legend)
    for x, y, label, text in entries:
        middle = y + _ROW // 2
        draw.rounded_rectangle((x, middle - 6, x + _SWATCH - 1, middle + 5), 2, class_colour(label), HALO)
        draw.text((x + _SWATCH + 6, middle), text, INK, font, anchor="lm")
    return legend
