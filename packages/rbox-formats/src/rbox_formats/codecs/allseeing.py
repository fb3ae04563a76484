"""LMMRotate's text for models without coordinate tokens, in All-Seeing-v2's notation: plain digits.

    <ref>bridge</ref><box>[[512, 90, 490, 300, 512, 310, 530, 101], [...]]</box><ref>ship</ref><box>[[...]]</box>

Source: Li-Qingyun/mllm-mmrotate @f0e3706, which makes it from its florence2 text: the same bins (floor, 0..999, read
back as their centres), corners, order and names. All-Seeing-v2's own application multiplies by 999 instead.

`decode` differs from the source: a text that stops inside its last class keeps that class's complete boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled
from rbox_formats.codecs._options import one_of
from rbox_formats.codecs._syntax import Syntax
from rbox_formats.codecs._template import READ_ANY
from rbox_formats.codecs.florence2 import Florence2, spelled
from rbox_formats.typing import BoxesOrQuadsN, NumbersN, ScoresN

__all__ = ["AllSeeing"]


@dataclass(frozen=True)
class AllSeeing(Codec):
    """Quads as digits, grouped by class; see the module's text.

    Attributes:
        empty: Whether an image without objects is answered by "There are none.", as LMMRotate's version 3 does.
    """

    empty: bool = False

    name: ClassVar[str] = "allseeing"
    prompt: ClassVar[str] = Florence2.prompt
    coordinates: ClassVar[Scaled] = Florence2.coordinates
    syntax: ClassVar[Syntax] = Syntax(
        box="[%d, %d, %d, %d, %d, %d, %d, %d]",
        broken=r"\[\s*+[-0-9][^\[\]<]*+\]?",
        before_name="<ref>",
        after_name="</ref>",
        before_boxes="<box>[",
        between_boxes=", ",
        after_boxes="]</box>",
        spell=spelled,
        number=READ_ANY,
    )

    def __post_init__(self) -> None:
        one_of(self, "empty", (True, False))

    @property
    def empty_answer(self) -> str | None:
        """LMMRotate's answer, if the option `empty` is set."""
        return "There are none." if self.empty else None

    def rank(self, name: str) -> str:
        """Return the sort key of a class, as in florence2."""
        return name.replace("-", " ")

    def places(self, shapes: BoxesOrQuadsN, numbers: NumbersN) -> tuple[ScoresN, ...]:
        """Return the sort keys of boxes: the first corner's bins."""
        return numbers[:, 0], numbers[:, 1]
