"""InternVL's text (1.x to 3): upright boxes as digits after each class.

    <ref>ship</ref><box>[[120, 30, 480, 250], [...]]</box>

Source: OpenGVLab/InternVL, internvl/train/constants.py, eval/refcoco/evaluate_grounding.py, streamlit_demo/app.py.

- Scale: thousandths along each axis, read back as `v / 1000 * size`; encoded as `round(v / size * 1000)`, clamped to
  0..1000: the repository has only the reader.
- Left upper corner, then right lower one, x before y.
- No rotation: the upright box around the object. No empty answer of its own.
- `<ref>`, `</ref>`, `<box>`, `</box>`, `<quad>`, `</quad>` are tokens that InternVL adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled
from rbox_formats.codecs._syntax import Syntax
from rbox_formats.codecs._template import READ_ANY

__all__ = ["InternVL"]

TOKENS = ("<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>")


@dataclass(frozen=True)
class InternVL(Codec):
    """Upright boxes in thousandths, grouped by class; see the module's text."""

    name: ClassVar[str] = "internvl"
    added_tokens: ClassVar[tuple[str, ...]] = TOKENS
    coordinates: ClassVar[Scaled] = Scaled("hbox", clamp=(0, 1000))
    syntax: ClassVar[Syntax] = Syntax(
        box="[%d, %d, %d, %d]",
        broken=r"\[\s*+[-0-9][^\[\]<]*+\]?",
        before_name="<ref>",
        after_name="</ref>",
        before_boxes="<box>[",
        between_boxes=", ",
        after_boxes="]</box>",
        number=READ_ANY,
    )
