"""CogVLM's and CogAgent's text: upright boxes in thousandths, padded to three digits, after each phrase.

    ship [[086,540,400,760;512,030,610,125]] plane [[...]]

Source: THUDM/CogVLM, README.md (`[[086,540,400,760]]`); the semicolon between boxes of one phrase is its
demonstration's.

- Scale: thousandths along each axis, three digits: rounded to the nearest, clamped to 0..999; read back as `v / 1000
  * size`.
- Left upper corner, then right lower one, x before y.
- No rotation: the upright box around the object. Digits are ordinary text. No empty answer of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled
from rbox_formats.codecs._syntax import Syntax

__all__ = ["CogVLM"]

#: A name has brackets after it. Text that is closed, continues with another box, or has only digits, is not a name.
BROKEN = r"[^\[\];<\s][^\[\];<]*+(?=[;\]])|[-.]?[0-9][-0-9.,\s]*+(?=<|\Z)"


@dataclass(frozen=True)
class CogVLM(Codec):
    """Upright boxes in thousandths of three digits; see the module's text."""

    name: ClassVar[str] = "cogvlm"
    coordinates: ClassVar[Scaled] = Scaled("hbox", clamp=(0, 999))
    syntax: ClassVar[Syntax] = Syntax(
        box="%03d,%03d,%03d,%03d",
        broken=BROKEN,
        before_boxes=" [[",
        between_boxes=";",
        after_boxes="]]",
        between_groups=" ",
        stop="[];<",
        boundary=r"(?=\s*+[;\]])",
    )
