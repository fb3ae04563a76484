"""Qwen3-VL's text: Qwen2.5-VL's JSON, in thousandths of the sides.

    ```json
    [
        {"bbox_2d": [135, 114, 916, 672], "label": "ship"},
        ...
    ]
    ```

Source: QwenLM/Qwen3-VL, evaluation/ODinW-13/run_odinw.py and cookbooks/spatial_understanding.ipynb.

- Scale: thousandths along each axis, read back as `v / 1000 * size`. Encoded here as `round(v / size * 1000)`,
  clamped to 0..1000, as the same repository does for Qwen2-VL; the vendor's documentation says 0..999 (issue 1741
  there).
- Left upper corner, then right lower one, x before y.
- No rotation: the upright box around the object. An image without objects: `[]` in the fence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled
from rbox_formats.codecs._json import FENCE, FENCED_NONE, json_syntax
from rbox_formats.codecs._syntax import Syntax

__all__ = ["Qwen3VL"]


@dataclass(frozen=True)
class Qwen3VL(Codec):
    """Upright boxes in thousandths, as JSON; see the module's text."""

    name: ClassVar[str] = "qwen3-vl"
    coordinates: ClassVar[Scaled] = Scaled("hbox", clamp=(0, 1000))
    syntax: ClassVar[Syntax] = json_syntax("bbox_2d", 4, *FENCE)
    empty_answer: ClassVar[str] = FENCED_NONE
