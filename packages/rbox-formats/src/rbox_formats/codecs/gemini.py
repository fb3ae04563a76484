"""Gemini's text: a JSON list of upright boxes, y before x.

    [{"box_2d": [ymin, xmin, ymax, xmax], "label": "ship"}]

Source: Vertex AI's documentation of bounding boxes (`box_2d[0] / 1000 * height`).

- Scale: thousandths along each axis, y first; encoded as `round(v / size * 1000)`, clamped to 0..1000.
- No rotation: the upright box around the object. An image without objects: `[]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled
from rbox_formats.codecs._json import json_syntax
from rbox_formats.codecs._syntax import Syntax

__all__ = ["Gemini"]


@dataclass(frozen=True)
class Gemini(Codec):
    """Upright boxes in thousandths, y first, as JSON; see the module's text."""

    name: ClassVar[str] = "gemini"
    coordinates: ClassVar[Scaled] = Scaled("hbox", clamp=(0, 1000), y_first=True)
    syntax: ClassVar[Syntax] = json_syntax("box_2d", 4, "[", "]", ", ")
    empty_answer: ClassVar[str] = "[]"
