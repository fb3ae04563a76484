"""EarthDial's text: GeoChat's numbers as lists, the class in the prompt.

    [[88, 33, 96, 41, 57]][[53, 18, 57, 22, 57]]

Source: hiyamdebary/EarthDial, src/earthdial/eval/rs_detection (results/*.jsonl, eval.py), train/constants.py.

- Scale: hundredths along each axis, whole numbers, not clamped (its truth has 102); rounded to the nearest here.
- x_min, y_min, x_max, y_max of the box before it is turned around its centre, then whole degrees in (0, 90], positive
  counter-clockwise on the screen, as its evaluation draws them. Its upright sets write 0, which is read as such.
- The class stands in the prompt, as `<ref>`...`</ref>`: encode and decode one class at a time.
- `<ref>`, `</ref>`, `<box>`, `</box>`, `<quad>`, `</quad>` are tokens of the model. No empty answer of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled
from rbox_formats.codecs._syntax import Syntax
from rbox_formats.codecs._template import READ_ANY
from rbox_formats.codecs.geochat import turned
from rbox_formats.codecs.internvl import TOKENS

__all__ = ["EarthDial"]


@dataclass(frozen=True)
class EarthDial(Codec):
    """Boxes before turning, with their angle, of one class; see the module's text."""

    name: ClassVar[str] = "earthdial"
    prompt: ClassVar[str] = "[refer] Give me the location of <ref>{classes}</ref>"
    added_tokens: ClassVar[tuple[str, ...]] = TOKENS
    coordinates: ClassVar[Scaled] = turned(clockwise=False)
    syntax: ClassVar[Syntax] = Syntax(
        box="[[%d, %d, %d, %d, %d]]",
        broken=r"\[(?:\s*+\[(?!\s*+\[))?[^\[\]]*+(?:\]\s*+\]?)?",
        names="prompt",
        number=READ_ANY,
    )
