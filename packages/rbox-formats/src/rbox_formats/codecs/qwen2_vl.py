"""Qwen2-VL's text: upright boxes between special tokens.

    <|object_ref_start|>ship<|object_ref_end|><|box_start|>(221,423),(569,886)<|box_end|>

Source: QwenLM/Qwen3-VL, qwen-vl-finetune/tools/process_bbox.ipynb; ms-swift issue 3511 has a sample.

- Scale: `round(v / size * 1000)` along each axis, clamped to 0..1000; read back as `v / 1000 * size`.
- Left upper corner, then right lower one, x before y. Several boxes of a class follow one another, each between its
  own `<|box_start|>` and `<|box_end|>`: the source shows one box only.
- No rotation: the upright box around the object. No empty answer of its own.
- The tokens are in Qwen2-VL's vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled
from rbox_formats.codecs._syntax import Syntax

__all__ = ["Qwen2VL"]

TOKENS = ("<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>")


@dataclass(frozen=True)
class Qwen2VL(Codec):
    """Upright boxes in thousandths, between tokens; see the module's text."""

    name: ClassVar[str] = "qwen2-vl"
    added_tokens: ClassVar[tuple[str, ...]] = TOKENS
    coordinates: ClassVar[Scaled] = Scaled("hbox", clamp=(0, 1000))
    syntax: ClassVar[Syntax] = Syntax(
        box="<|box_start|>(%d,%d),(%d,%d)<|box_end|>",
        broken=r"<\|box_start\|>[^<]*+(?:<\|box_end\|>)?",
        before_name="<|object_ref_start|>",
        after_name="<|object_ref_end|>",
    )
