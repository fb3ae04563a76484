"""VRSBench's three texts: upright boxes, and oriented ones by their centre or by their corners before turning.

    hbb       {<x1><y1><x2><y2>}
    obb_v1    {<cx><cy><w><h>|<angle>}
    obb_v2    {<x1><y1><x2><y2>|<angle>}

Source: lx709/VRSBench, prepare_eval_all.ipynb and eval_fianl/compute_metrics.ipynb; its fourth notation,
`obj_corner`, is eight floats from 0 to 1 and no text of a model.

- Scale: hundredths along each axis, truncated (`int(x * 100)`), not clamped.
- The angle is that of BboxToolkit's obb, rounded to whole degrees: w >= h, [-90, 90), positive counter-clockwise on
  the screen. It can be negative; the source's own evaluation loses the sign (it looks for digits only).
- The class stands in the prompt: encode and decode one class at a time. Digits are ordinary text. No empty answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from rbox_formats._geometry import LE90
from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled, Shape
from rbox_formats.codecs._options import one_of
from rbox_formats.codecs._syntax import Syntax
from rbox_formats.codecs._template import READ_ANY
from rbox_formats.codecs.geochat import BOX, BROKEN

__all__ = ["VRSBench"]

_SHAPES: dict[str, Shape] = {"hbb": "hbox", "obb_v1": "rbox", "obb_v2": "hbox before turning"}


@dataclass(frozen=True)
class VRSBench(Codec):
    """Boxes in hundredths, of one class; see the module's text.

    Attributes:
        version: "hbb" (upright boxes, which lose rotation), "obb_v1" or "obb_v2".
    """

    version: Literal["hbb", "obb_v1", "obb_v2"] = "obb_v1"

    name: ClassVar[str] = "vrsbench"

    def __post_init__(self) -> None:
        one_of(self, "version", _SHAPES)

    @cached_property
    def coordinates(self) -> Scaled:
        """Coordinates in hundredths, truncated."""
        return Scaled(_SHAPES[self.version], scale=100, rounding="truncation", angle=LE90.counter_clockwise)

    @cached_property
    def syntax(self) -> Syntax:
        """Braces and angle brackets around the numbers."""
        box = "{<%d><%d><%d><%d>}" if self.version == "hbb" else BOX
        return Syntax(box=box, broken=BROKEN, names="prompt", number=READ_ANY)
