"""This project's own text: rotated boxes as digits, for any model, without added tokens.

    ship[512,90,40,12,-35][530,101,41,12,-36];plane[...]

- cx, cy, w, h in thousandths of the image's longer side in x and y alike, so that a turned box stays a rectangle in
  images of any shape; rounded to the nearest, clamped to 0..1000, sides to 0..1415 (a
  diagonal); `decimals=1` writes tenths.
- The angle is `le90`: whole degrees in [-90, 90), w >= h, clockwise on the screen.
- Order: by class, then the upper, then the left end of the upright box. Names as given.
- An image without objects: "none".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled
from rbox_formats.codecs._options import one_of
from rbox_formats.codecs._syntax import Syntax
from rbox_formats.codecs._template import READ_ANY

__all__ = ["Plain"]


@dataclass(frozen=True)
class Plain(Codec):
    """Centre, sides and angle as digits; see the module's text.

    Attributes:
        decimals: The number of decimals of the coordinates: 0 or 1.
    """

    decimals: Literal[0, 1] = 0

    name: ClassVar[str] = "plain"
    empty_answer: ClassVar[str] = "none"

    def __post_init__(self) -> None:
        one_of(self, "decimals", (0, 1))

    @cached_property
    def coordinates(self) -> Scaled:
        """Coordinates in thousandths of the longer side."""
        rounding: Literal["none", "nearest"] = "none" if self.decimals else "nearest"
        return Scaled("rbox", frame="longer side", rounding=rounding, clamp=(0, 1000), clamp_sides=(0, 1415))

    @cached_property
    def syntax(self) -> Syntax:
        """A name and the boxes after it."""
        number = "%.1f" if self.decimals else "%d"
        return Syntax(
            box=f"[{','.join([number] * 4)},%d]",
            broken=r"\[[^\[\]]*+\]?",
            between_groups=";",
            stop="[];",
            number=READ_ANY,
            ignored=(";",),
        )
