"""Falcon's text: quads in thousandths, between tags; the class in the prompt.

    <quad><703><420><703><292><571><292><571><420></quad>

Source: TianHuiLab/Falcon, README.md, inference.py, eval/src/detection_obb.py.

- Scale: whole numbers 0..1000 along each axis (1000 occurs in its README), each number a tag of its own; how they are
  rounded is not in the code: to the nearest here, read back as `v / 1000 * size`.
- Corners: x before y. The README's example is counter-clockwise on the screen and begins with the right lower corner;
  here they begin with the topmost (the leftmost of equals), since the source states no rule and a model needs one.
- Several objects follow one another, each in its own `<quad>`.
- The class is in the prompt: encode and decode one class at a time. No empty answer of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled
from rbox_formats.codecs._syntax import Syntax

__all__ = ["Falcon"]


@dataclass(frozen=True)
class Falcon(Codec):
    """Quads in thousandths, of one class; see the module's text."""

    name: ClassVar[str] = "falcon"
    prompt: ClassVar[str] = "Detect all {classes} in the image.\nUse oriented bounding boxes."
    coordinate_tokens: ClassVar[tuple[str, ...]] = tuple(f"<{i}>" for i in range(1001))
    added_tokens: ClassVar[tuple[str, ...]] = (*coordinate_tokens, "<quad>", "</quad>")
    coordinates: ClassVar[Scaled] = Scaled("quad", clamp=(0, 1000), clockwise=False)
    syntax: ClassVar[Syntax] = Syntax(
        box="<quad>" + "<%d>" * 8 + "</quad>",
        broken=r"<quad>\s*+(?>(?:<[0-9]{1,9}>\s*+)*)(?:</quad>)?|(?>(?:<[0-9]{1,9}>\s*+)+)(?:</quad>)?",
        names="prompt",
        token=(1, 1),
    )
