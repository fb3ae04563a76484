"""Draw bar charts: horizontal bars, one for each name, and histograms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from rbox_formats.draw._colours import FAINT_INK, HALO, INK, PAPER, Colour
from rbox_formats.draw._labels import load_font, shortened

_TITLE, _TEXT, _ROW = 15, 13, 22
_RULE: Colour = (216, 216, 210)
PLAIN: Colour = (74, 110, 168)


def bar_chart(
    title: str, values: Mapping[str, int], colours: Sequence[Colour], width: int, *, log: bool = False
) -> Image.Image:
    """Draw a bar for each name, from the left, with its value after it.

    >>> from rbox_formats import draw
    >>> draw.bar_chart("Objects", {"plane": 3, "ship": 12}, [draw.class_colour(0), draw.class_colour(1)], 400).size
    (400, 71)

    Args:
        title: The text above the bars.
        values: The values by their names, 0 or more.
        colours: The colour of each bar.
        width: The width of the result, px; its height follows from the number of bars.
        log: Whether lengths show the logarithm of the value plus one, so that rare classes are visible beside frequent
            ones.
    """
    font = load_font(_TEXT)
    names = [shortened(name, font, width // 3) for name in values]
    left = math.ceil(max((font.getlength(name) for name in names), default=0)) + 10
    numbers = [f"{value:,}" for value in values.values()]
    right = math.ceil(max((font.getlength(number) for number in numbers), default=0)) + 8
    heights = np.array(list(values.values()), dtype=np.float64)
    lengths = np.log1p(heights) if log else heights
    lengths = lengths / max(lengths.max(initial=0), 1e-9) * (width - left - right)

    chart, top = _page(title + (" (logarithmic)" if log else ""), width, len(names) * _ROW)
    draw = ImageDraw.Draw(chart)
    for i, (name, number, colour) in enumerate(zip(names, numbers, colours, strict=True)):
        y, length, value = top + i * _ROW, float(lengths[i]), heights[i]
        middle = y + _ROW / 2
        draw.text((left - 10, middle), name, INK if value else FAINT_INK, font, anchor="rm")
        if value:
            draw.rectangle((left, y + 4, left + max(round(length), 2), y + _ROW - 5), colour, HALO)
        draw.text((left + length + 8, middle), number, INK if value else FAINT_INK, font, anchor="lm")
    return chart


def histogram(
    title: str,
    counts: Sequence[int],
    ticks: Mapping[float, str],
    size: tuple[int, int],
    *,
    colour: Colour = PLAIN,
) -> Image.Image:
    """Draw upright bars side by side, with a scale on the left.

    >>> from rbox_formats import draw
    >>> draw.histogram("Angles", [1, 4, 2], {0: "-90", 3: "90"}, (300, 200)).size
    (300, 200)

    Args:
        title: The text above the bars, with what is counted and its unit.
        counts: The value of each bar, 0 or more.
        ticks: The texts below, by their places in bars from the left: 0 is the left side of the first bar, 1 its right.
        size: The width and height of the result, px.
        colour: The colour of the bars.
    """
    width, height = size
    chart, top = _page(title, width, height - _head())
    draw = ImageDraw.Draw(chart)
    font = load_font(_TEXT)
    step = _round_step(max(counts, default=0))
    highest = max(math.ceil(max(counts, default=0) / step), 1) * step
    left = math.ceil(font.getlength(f"{highest:,}")) + 10
    top += 8
    bottom = height - _ROW
    for value in range(0, highest + 1, step):
        y = bottom - (bottom - top) * value / highest
        draw.line((left, y, width, y), _RULE)
        draw.text((left - 6, y), f"{value:,}", FAINT_INK, font, anchor="rm")
    each = (width - left) / max(len(counts), 1)
    for i, count in enumerate(counts):
        if count:
            x0, x1 = round(left + i * each) + 1, round(left + (i + 1) * each) - 1
            y = min(round(bottom - (bottom - top) * count / highest), bottom - 1)
            draw.rectangle((x0, y, max(x1, x0), bottom), colour)
    draw.line((left, bottom, width, bottom), FAINT_INK)
    for place, text in ticks.items():
        half = font.getlength(text) / 2
        x = min(max(left + place * each, half), width - half)
        draw.text((x, bottom + 6), text, FAINT_INK, font, anchor="mt")
    return chart


def _head() -> int:
    return _TITLE + 12


def _page(title: str, width: int, height: int) -> tuple[Image.Image, int]:
    """Return an empty chart under its title, and the position where it begins."""
    font = load_font(_TITLE)
    page = Image.new("RGB", (width, height + _head()), PAPER)
    ImageDraw.Draw(page).text((0, _TITLE), shortened(title, font, width), INK, font, anchor="ls")
    return page, _head()


def _round_step(highest: int) -> int:
    """Return 1, 2 or 5 times a power of ten, so that about four steps reach the highest value."""
    wanted = max(highest / 4, 1)
    power = 10 ** math.floor(math.log10(wanted))
    return min((factor * power for factor in (1, 2, 5, 10) if factor * power >= wanted), default=1)
