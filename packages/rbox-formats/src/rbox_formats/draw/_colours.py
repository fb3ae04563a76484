"""The colours of classes, lines and pages."""

from __future__ import annotations

Colour = tuple[int, int, int]

# Chosen by farthest-point search over the sRGB cube, bright colours only (they have a dark halo): the least OKLab
# distance to the earlier colours, as seen with normal vision (times 0.55), with deuteranopia and with protanopia
# (Machado, Oliveira and Fernandes, 2009). No forty colours are safe for everyone: the first ten are 0.09 apart, and
# what comes later is ever closer. The names beside the boxes tell the rest apart.
_PALETTE = (
    0xFFEE00, 0x11DDFF, 0xFF88AA, 0x44CC00, 0xEE0000, 0x9999FF, 0x55FFAA, 0xDD00AA, 0x119966, 0x9933FF,
    0x5577CC, 0xFF4488, 0xFF66DD, 0xAADD44, 0xAA9922, 0xBB66FF, 0x77BB66, 0x55FFFF, 0xCC6655, 0xCC77BB,
    0xFF11DD, 0xFFAAEE, 0x44DD88, 0xAA55BB, 0xCCFF88, 0xFF9900, 0x00CCBB, 0x00EECC, 0x668822, 0xCC4488,
    0xFF8866, 0xFFDD66, 0x5588FF, 0xFF88DD, 0xFF3355, 0xAAEE88, 0x9977DD, 0xAACC66, 0x88FFCC, 0xDD2255,
)  # fmt: skip

HALO: Colour = (14, 16, 22)
PAPER: Colour = (250, 250, 247)
INK: Colour = (28, 32, 38)
FAINT_INK: Colour = (98, 104, 112)


def class_colour(label: int) -> Colour:
    """Return the colour of a class, red, green and blue from 0 to 255; forty classes have distinct colours.

    >>> from rbox_formats import draw
    >>> draw.class_colour(0) == draw.class_colour(40)
    True
    """
    value = _PALETTE[label % len(_PALETTE)]
    return value >> 16, value >> 8 & 255, value & 255


def text_colour(ground: Colour) -> Colour:
    """Return black or white, whichever stands out more: they are equal at a relative luminance of 0.18 (WCAG 2)."""
    r, g, b = ((value / 255) ** 2.2 for value in ground)
    return (0, 0, 0) if 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 else (255, 255, 255)
