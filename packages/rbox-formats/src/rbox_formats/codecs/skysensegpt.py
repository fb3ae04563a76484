"""SkySenseGPT's text (FIT-RS): a sentence that counts, and oriented boxes with two decimals.

    There are 2 ships in the image:<rbox>({<12.50><30.21><4.10><1.95>|<37>}, {<...>...})</rbox>

Source: Luo-Z13/SkySenseGPT, Tools/process_data_RS_Object_Detection.py.

- Scale: cx, cy, w, h in hundredths of the side (of 512 px in the source, whose images are square; of the image's width
  and height here), two decimals, not clamped.
- The angle is OpenCV's (`oc`, OpenCV 4.5.1 to 4.12): whole degrees in (0, 90], clockwise on the screen.
- One class for each question: encode and decode one class at a time. Names are lower case with '_', and have an 's'
  after them for any number.
- At most 20 boxes: if there are more, the first 20 are written, the number is that of all, and a sentence says that the
  rest are left out.
- An image without objects: "I'm sorry, I cannot answer as the given image does not contain any given objects."
- `<rbox>` is ordinary text: no added tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from rbox_formats._geometry import OC
from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled, Size
from rbox_formats.codecs._syntax import Syntax
from rbox_formats.codecs._template import READ_ANY, Pattern, beginnings, escape, strict

__all__ = ["SkySenseGPT"]

_MOST = 20
_REST = ", and due to the context length, the remaining objects are not listed."


@dataclass(frozen=True)
class Sentence(Syntax):
    """A sentence with the number of boxes and the class, the boxes, and a sentence about those beyond the limit."""

    longest_name: ClassVar[float] = 99

    def write(self, boxes: Sequence[tuple[float, ...]], names: Sequence[str]) -> str:
        """Return the text of the first 20 boxes."""
        head = f"There are {len(boxes)} {names[0]}s in the image:{self.before_boxes}"
        listed = self.between_boxes.join(self.box % numbers for numbers in boxes[:_MOST])
        return head + listed + self.after_boxes + (_REST if len(boxes) > _MOST else "")

    def grammar(self, names: Sequence[str], limits: Sequence[tuple[float, float]]) -> str:
        """Return the grammar for any number of boxes, since a count needs a state for each; see `Syntax.grammar`."""
        box, name = strict(self.box, limits), "|".join(escape(name) for name in names)
        head = f"There are [1-9][0-9]{{0,4}} (?:{name})s in the image:{escape(self.before_boxes)}"
        return f"{head}{box}(?:, {box})*{escape(self.after_boxes)}(?:{escape(_REST)})?"

    @cached_property
    def name_expression(self) -> str:
        """An expression for the whole sentence, of bounded length so that any text is read in linear time."""
        name = rf"(?P<name>[^<>:{{}}]{{0,{self.longest_name}}}?)s"
        return rf"There\s++(?:is|are)\s++[0-9]{{1,9}}\s++{name}\s++in\s++the\s++image\s*+:"

    @cached_property
    def junk(self) -> str:
        """An expression for words before the sentence, without the sentence itself."""
        return r"<[^<>]*+>?|[^\s<\[{(](?>(?:(?!There\s)[^<\[{(])*)|."

    def bare(self, text: str) -> str:
        """Return a text without the sentence about the remaining boxes."""
        return super().bare(text).replace("".join(_REST.split()), "")

    @cached_property
    def _goes_on(self) -> re.Pattern[str]:
        return re.compile(f"{super()._goes_on.pattern}|{escape(self.after_boxes)}{beginnings([_REST])}")

    @cached_property
    def _name(self) -> list[str]:
        return ["There are", Pattern("[0-9]{1,9}"), Pattern("[^<>:{}]+"), ":"]


def spelled(name: str) -> str:
    """Return a class's name as FIT-RS writes it."""
    return name.replace("-", "_").lower()


@dataclass(frozen=True)
class SkySenseGPT(Codec):
    """Oriented boxes of one class, with two decimals; see the module's text."""

    name: ClassVar[str] = "skysensegpt"
    prompt: ClassVar[str] = "[detection]Detect all the {classes}s in the image."
    one_class: ClassVar[bool] = True
    coordinates: ClassVar[Scaled] = Scaled("rbox", scale=100, rounding="none", angle=OC)
    syntax: ClassVar[Sentence] = Sentence(
        box="{<%.2f><%.2f><%.2f><%.2f>|<%d>}",
        broken=r"\{[^{}]*+\}?",
        before_name="There are",
        after_name="in the image:",
        before_boxes="<rbox>(",
        between_boxes=", ",
        after_boxes=")</rbox>",
        spell=spelled,
        stop="<>:{}",
        number=READ_ANY,
        ignored=(_REST,),
    )
    empty_answer: ClassVar[str] = "I'm sorry, I cannot answer as the given image does not contain any given objects."

    def facts(self) -> dict[str, str]:
        """See `Codec.facts`."""
        return {**super().facts(), "most boxes": f"{_MOST} in a text, the rest are left out"}

    def order(
        self,
        boxes: ArrayLike,
        labels: ArrayLike,
        class_names: Iterable[str],
        image_size: Size,
        input_size: Size | None = None,
        *,
        by: Literal["category", "position"] = "category",
    ) -> np.ndarray:
        """Return the order of the first 20 boxes; see `Codec.order`."""
        return super().order(boxes, labels, class_names, image_size, input_size, by=by)[:_MOST]
