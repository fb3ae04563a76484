"""GeoChat's text: a box before it is turned, and its angle, in hundredths and whole degrees.

    <p>large vehicle</p> {<70><93><74><97>|<90>}<delim>{<40><77><52><85>|<1>}

Source: mbzuai-oryx/GeoChat, geochat_demo.py and geochat/serve/cli.py; GeoChat sees 504x504 px.

- Scale: hundredths (bounding_box_size = 100) along each axis, whole numbers; how the training data were rounded is
  not in the code: rounded to the nearest here, and not clamped, since a box at the border may reach beyond the image
  before it is turned (EarthDial's truth, in the same notation, has 102).
- x_min, y_min, x_max, y_max of the box before it is turned around its centre, then whole degrees in (0, 90].
- **The angle's sign is ambiguous in the source.** `rotate_bbox`, which draws, turns counter-clockwise on the screen
  (cv2.getRotationMatrix2D); `bbox_and_angle_to_polygon` in the same file turns clockwise. EarthDial's evaluation of
  the same texts agrees with counter-clockwise, the default; `clockwise=True` is the other.
- Digits are ordinary text: no added tokens. No empty answer of its own.

`decode` reads boxes with four numbers and no angle as broken; the source drops the last of the four.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from rbox_formats._geometry import OC
from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled
from rbox_formats.codecs._options import one_of
from rbox_formats.codecs._syntax import Syntax
from rbox_formats.codecs._template import READ_ANY

__all__ = ["GeoChat"]

BOX, BROKEN = "{<%d><%d><%d><%d>|<%d>}", r"\{[^{}]*+\}?"


def turned(*, clockwise: bool) -> Scaled:
    """Return the coordinates that GeoChat and the models that follow it write."""
    angle = OC if clockwise else OC.counter_clockwise
    return Scaled("hbox before turning", scale=100, angle=angle)


@dataclass(frozen=True)
class GeoChat(Codec):
    """Boxes before turning, with their angle; see the module's text.

    Attributes:
        clockwise: Whether a positive angle turns clockwise on the screen; the source has both.
    """

    clockwise: bool = False

    name: ClassVar[str] = "geochat"
    prompt: ClassVar[str] = "[grounding] Detect all {classes} in the image."
    syntax: ClassVar[Syntax] = Syntax(
        box=BOX,
        number=READ_ANY,
        broken=BROKEN,
        before_name="<p>",
        after_name="</p>",
        before_boxes=" ",
        between_boxes="<delim>",
        stop="<{",
        between_groups=" ",
    )

    def __post_init__(self) -> None:
        one_of(self, "clockwise", (True, False))

    @cached_property
    def coordinates(self) -> Scaled:
        """Coordinates in hundredths, and an angle in degrees."""
        return turned(clockwise=self.clockwise)
