"""PaliGemma's text: four location tokens, y before x, and the class after them.

    <loc0123><loc0456><loc0789><loc1000> ship ; <loc....><loc....><loc....><loc....> small vehicle

Source: google-research/big_vision, big_vision/pp/proj/paligemma/segmentation.py; the prompt is `detect ship ; plane`.

- Scale: `round(v / size * 1023)` along each axis, clamped to 0..1023, four digits; read back as `v / 1023 * size`.
- y_min, x_min, y_max, x_max. Objects are separated by " ; ".
- No rotation: the upright box around the object. No empty answer of its own.
- The 1,024 tokens are in PaliGemma's vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled
from rbox_formats.codecs._syntax import Syntax

__all__ = ["PaliGemma"]


@dataclass(frozen=True)
class PaliGemma(Codec):
    """Upright boxes in 1,023rds, y first, the class after them; see the module's text."""

    name: ClassVar[str] = "paligemma"
    prompt: ClassVar[str] = "detect {classes}"
    coordinate_tokens: ClassVar[tuple[str, ...]] = tuple(f"<loc{i:04d}>" for i in range(1024))
    added_tokens: ClassVar[tuple[str, ...]] = coordinate_tokens
    coordinates: ClassVar[Scaled] = Scaled("hbox", scale=1023, clamp=(0, 1023), y_first=True)
    syntax: ClassVar[Syntax] = Syntax(
        box="<loc%04d>" * 4,
        broken=r"(?>(?:<loc[0-9]{1,9}>\s*+)+)",
        names="after",
        before_name=" ",
        between_boxes=" ; ",
        stop="<;",
        token=(len("<loc"), len(">")),
    )

    def question(self, class_names: Iterable[str]) -> str:
        """Return the names with ' ; ' between them."""
        return self.prompt.replace("{classes}", " ; ".join(class_names))
