"""Florence-2's text of quads, as LMMRotate extends it to rotated boxes.

    ship<loc_135><loc_796>...<loc_..><sep><loc_..>...plane<loc_..>...

Source: Li-Qingyun/mllm-mmrotate @f0e3706 and VisionXLab/mllm-mmrotate @73ad654
(`playground/convert_dota_for_sft.py`).

- Scale: 1,000 bins an axis, x over the width and y over the height; `bin = floor(v / (size / 1000))`, clamped to
  0..999 corner by corner, so that a box cut by the border is no longer a rectangle; back to the bin's centre, `v =
  (bin + 0.5) * size / 1000`: an error of at most half a bin, except for clamped corners.
- Corners: x before y, counter-clockwise on the screen, from the topmost (the leftmost of equals).
- Order: by class (names with '-' as ' ', sorted by code point), then by the first corner's bins, y before x.
- Names: lower case, '-' as ' '.
- Versions: 1 writes the quads of a class one after the other, 2 puts `<sep>` between them, 3 answers "There are
  none." for an image without objects (1 and 2 have no such answer). Each is read whatever the version.
- Rotation is held by the corners: no angle, no sign.

`decode` differs from the source in what it does with broken text: it keeps every complete quad, drops the rest by
name instead of in silence, rejects coordinates beyond 999, and rejects unknown classes instead of taking the nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Scaled
from rbox_formats.codecs._options import one_of
from rbox_formats.codecs._syntax import Syntax
from rbox_formats.typing import BoxesOrQuadsN, NumbersN, ScoresN

__all__ = ["Florence2"]


def spelled(name: str) -> str:
    """Return a class's name as LMMRotate writes it."""
    return name.replace("-", " ").lower()


@dataclass(frozen=True)
class Florence2(Codec):
    """Florence-2 quads in LMMRotate's versions 1, 2 and 3; see the module's text.

    >>> from rbox_formats import codecs
    >>> codec = codecs.get("florence2")
    >>> codec.encode([[50, 40, 30, 10, 0]], [0], ["ship"], image_size=(100, 80))
    'ship<loc_350><loc_437><loc_350><loc_562><loc_650><loc_562><loc_650><loc_437>'

    Attributes:
        version: 1, 2 or 3; 2 is that of LMMRotate's paper and published checkpoints.
    """

    version: int = 2

    name: ClassVar[str] = "florence2"
    prompt: ClassVar[str] = "Locate the objects tightly with quad boxes and category names in the image."
    coordinate_tokens: ClassVar[tuple[str, ...]] = tuple(f"<loc_{i}>" for i in range(1000))
    added_tokens: ClassVar[tuple[str, ...]] = (*coordinate_tokens, "<sep>")
    coordinates: ClassVar[Scaled] = Scaled("quad", rounding="floor", clamp=(0, 999), centre=0.5, clockwise=False)

    def __post_init__(self) -> None:
        one_of(self, "version", (1, 2, 3))

    @cached_property
    def syntax(self) -> Syntax:
        """A name and the quads after it."""
        return Syntax(
            box="<loc_%d>" * 8,
            broken=r"(?>(?:<loc_[0-9]{1,9}>\s*+)+)",
            between_boxes="" if self.version == 1 else "<sep>",
            ignored=("<sep>",),
            spell=spelled,
            token=(len("<loc_"), len(">")),
        )

    @property
    def empty_answer(self) -> str | None:
        """Version 3's "There are none."."""
        return "There are none." if self.version == 3 else None

    def rank(self, name: str) -> str:
        """Return the sort key of a class: its code points, with '-' as ' '."""
        return name.replace("-", " ")

    def places(self, shapes: BoxesOrQuadsN, numbers: NumbersN) -> tuple[ScoresN, ...]:
        """Return the sort keys of boxes: the first corner's bins."""
        return numbers[:, 0], numbers[:, 1]
