"""Shikra's text: upright boxes as shares of the sides with three decimals, after each phrase.

    ship[0.100,0.100,0.500,0.500;0.200,0.300,0.250,0.310] plane[...]

Source: shikras/shikra, mllm/dataset/process_function/box_process_function.py.

- Scale: shares of the sides along each axis, three decimals, clamped to 0..1 here; read back as `v * size`. The
  source's other notation, 1,001 bins between `<b_st>` and `<b_ed>`, is not written.
- Left upper corner, then right lower one, x before y; ';' between the boxes of one phrase.
- No rotation: the upright box around the object. Digits are ordinary text. No empty answer of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled
from rbox_formats.codecs._syntax import Syntax
from rbox_formats.codecs._template import READ_ANY
from rbox_formats.codecs.cogvlm import BROKEN

__all__ = ["Shikra"]


@dataclass(frozen=True)
class Shikra(Codec):
    """Upright boxes as shares with three decimals; see the module's text."""

    name: ClassVar[str] = "shikra"
    coordinates: ClassVar[Scaled] = Scaled("hbox", scale=1, rounding="none", clamp=(0, 1))
    syntax: ClassVar[Syntax] = Syntax(
        box="%.3f,%.3f,%.3f,%.3f",
        broken=BROKEN,
        before_boxes="[",
        between_boxes=";",
        after_boxes="]",
        between_groups=" ",
        stop="[];<",
        number=READ_ANY,
        boundary=r"(?=\s*+[;\]])",
    )
