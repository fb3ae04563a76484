"""Rex-Omni's text: upright boxes as coordinate tokens after each class.

    <|object_ref_start|>person<|object_ref_end|><|box_start|><0><35><980><987>, <646><0><999><940><|box_end|>

Source: IDEA-Research/Rex-Omni, rex_omni/parser.py and finetuning/dataset/task_fns/grounding_task.py.

- Scale: `int(v / size * 999)` along each axis, clamped to 0..999; read back as `v / 999 * size` (its reward code
  divides by 1000).
- Left upper corner, then right lower one, x before y. Boxes of a class are sorted by their left end; ", " stands
  between boxes of a class, and between classes.
- An absent class has `None` in place of its boxes: this is read, but not written. The answer for an image without
  objects is `None`.
- No rotation: the upright box around the object. `<0>` to `<999>` are tokens of the model.

`decode` reads the last group without its `<|box_end|>`, as the source does, and reports such a text as truncated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled
from rbox_formats.codecs._syntax import Syntax
from rbox_formats.codecs.qwen2_vl import TOKENS
from rbox_formats.typing import BoxesOrQuadsN, NumbersN, ScoresN

__all__ = ["RexOmni"]


@dataclass(frozen=True)
class RexOmni(Codec):
    """Upright boxes in 999ths as tokens, grouped by class; see the module's text."""

    name: ClassVar[str] = "rex-omni"
    prompt: ClassVar[str] = "Detect {classes}."
    coordinate_tokens: ClassVar[tuple[str, ...]] = tuple(f"<{i}>" for i in range(1000))
    added_tokens: ClassVar[tuple[str, ...]] = (*coordinate_tokens, *TOKENS)
    coordinates: ClassVar[Scaled] = Scaled("hbox", scale=999, rounding="truncation", clamp=(0, 999))
    syntax: ClassVar[Syntax] = Syntax(
        box="<%d>" * 4,
        broken=r"(?>(?:<[0-9]{1,9}>\s*+)+)",
        before_name="<|object_ref_start|>",
        after_name="<|object_ref_end|>",
        before_boxes="<|box_start|>",
        between_boxes=", ",
        after_boxes="<|box_end|>",
        between_groups=", ",
        token=(1, 1),
        none="None",
    )
    empty_answer: ClassVar[str] = "None"

    def places(self, shapes: BoxesOrQuadsN, numbers: NumbersN) -> tuple[ScoresN, ...]:
        """Return the sort keys of boxes: the left end, then the upper one."""
        return numbers[:, 1], numbers[:, 0]
