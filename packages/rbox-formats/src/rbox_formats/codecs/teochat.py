r"""TEOChat's text: upright boxes in hundredths, the class in the prompt.

    [0, 8, 49, 53], [10, 20, 15, 31]

Source: ermongroup/TEOChat, README.md and videollava/eval/inference.py, which finds boxes by the expression
`\[(\d+), (\d+), (\d+), (\d+)\]` and so does not say what stands between two; ", " here.

- Scale: whole numbers 0..100 along each axis: rounded to the nearest, clamped; read back as `v / 100 * size`.
- Left upper corner, then right lower one, x before y.
- No rotation: the upright box around the object. Digits are ordinary text. No empty answer of its own.
- The class stands in the prompt: encode and decode one class at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled
from rbox_formats.codecs._syntax import Syntax
from rbox_formats.codecs._template import READ_ANY

__all__ = ["TEOChat"]


@dataclass(frozen=True)
class TEOChat(Codec):
    """Upright boxes in hundredths, of one class; see the module's text."""

    name: ClassVar[str] = "teochat"
    coordinates: ClassVar[Scaled] = Scaled("hbox", scale=100, clamp=(0, 100))
    syntax: ClassVar[Syntax] = Syntax(
        box="[%d, %d, %d, %d]",
        broken=r"\[[^\[\]]*+\]?",
        names="prompt",
        between_boxes=", ",
        number=READ_ANY,
    )
