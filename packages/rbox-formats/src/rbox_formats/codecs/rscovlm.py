"""RSCoVLM's texts: quads, oriented or upright boxes, as JSON or in plain lines.

    ```json                                                                            x1,y1,x2,y2,x3,y3,x4,y4 ship
    [
        {"quadrant bbox": [x1, y1, x2, y2, x3, y3, x4, y4], "label": "small vehicle"},
        ...
    ]
    ```

Source: VisionXLab/RSCoVLM, rscovlm/training/data/dense_det_dataset.py and rscovlm/eval/metric/dense_det.py.

- Scale: pixels of the image as the model sees it (`input_size`: after Qwen2.5-VL's smart_resize, sides multiples of
  28), truncated to whole numbers (towards zero); read back as `v * size / input_size`, nothing added. Corners outside
  of the image stay outside.
- Quads: x before y, clockwise on the screen as in dense_det_dataset.py (`clockwise=False` gives the order of
  refgeo_dataset.py, although its prompt says clockwise), from the topmost corner (the leftmost of equals).
- Oriented boxes: x, y, w, h, a, the minimum-area rectangle in pixels of the input, w >= h, whole degrees in [-90,
  90), clockwise positive (from cv2.minAreaRect). All five are truncated.
- Order: by class, then the upper, then the left end of the upright box.
- An image without objects: "There are none."

`decode` keeps complete objects and lists the rest; the source repairs brackets and commas and cuts nine numbers to
eight.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled, Shape
from rbox_formats.codecs._json import FENCE, json_syntax
from rbox_formats.codecs._options import one_of
from rbox_formats.codecs._syntax import Syntax
from rbox_formats.codecs._template import READ_ANY

__all__ = ["RSCoVLM"]

_SHAPES: dict[str, tuple[Shape, str, int]] = {
    "quad": ("quad", "quadrant bbox", 8),
    "obb": ("rbox", "oriented bbox", 5),
    "hbb": ("hbox", "bbox_2d", 4),
}


@dataclass(frozen=True)
class RSCoVLM(Codec):
    """RSCoVLM's dense detection; see the module's text.

    Attributes:
        shape: "quad", "obb" (x, y, w, h, angle) or "hbb" (upright boxes, which lose rotation).
        style: "json" or "plain" (a line for each object).
        clockwise: The winding of quads.
    """

    shape: Literal["quad", "obb", "hbb"] = "quad"
    style: Literal["json", "plain"] = "json"
    clockwise: bool = True

    name: ClassVar[str] = "rscovlm"
    prompt: ClassVar[str] = "find the {classes}"

    def __post_init__(self) -> None:
        one_of(self, "shape", _SHAPES)
        one_of(self, "style", ("json", "plain"))
        one_of(self, "clockwise", (True, False))

    @property
    def empty_answer(self) -> str:
        """The answer of LMMRotate's version 3."""
        return "There are none."

    @cached_property
    def coordinates(self) -> Scaled:
        """Coordinates in pixels of the input, truncated."""
        return Scaled(
            _SHAPES[self.shape][0],
            frame="input pixels",
            scale=1,
            rounding="truncation",
            clockwise=self.clockwise,
            angle_rounding="truncation",
        )

    @cached_property
    def syntax(self) -> Syntax:
        """A JSON list, or a line per object."""
        _, key, count = _SHAPES[self.shape]
        if self.style == "json":
            return json_syntax(key, count, *FENCE)
        return Syntax(
            box=",".join(["%d"] * count),
            broken=r"-?[0-9][^\n]*+",
            names="after",
            before_name=" ",
            between_boxes="\n",
            stop="\n",
            number=READ_ANY,
            boundary=r"(?=[ \t])",
        )
