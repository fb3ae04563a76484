"""Qwen2.5-VL's text: a JSON list of upright boxes in pixels of the resized image that the model sees.

    ```json
    [
        {"bbox_2d": [135, 114, 1016, 672], "label": "ship"},
        ...
    ]
    ```

Source: QwenLM/Qwen3-VL, qwen-vl-finetune/tools/process_bbox.ipynb and qwen-vl-finetune/README.md.

- Scale: pixels of the image after smart_resize (`input_size`, sides multiples of 28), `round(v * input / size)`,
  clamped to 0..input - 1; read back as `v * size / input`. Without `input_size` the image's own size is meant.
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

__all__ = ["Qwen25VL"]


@dataclass(frozen=True)
class Qwen25VL(Codec):
    """Upright boxes in pixels of the input, as JSON; see the module's text."""

    name: ClassVar[str] = "qwen2.5-vl"
    coordinates: ClassVar[Scaled] = Scaled("hbox", frame="input pixels", scale=1, clamp_to_input=True)
    syntax: ClassVar[Syntax] = json_syntax("bbox_2d", 4, *FENCE)
    empty_answer: ClassVar[str] = FENCED_NONE
