"""Kosmos-2's text: two cells of a 32 x 32 grid for each box.

    <phrase>ship</phrase><object><patch_index_0044><patch_index_0863></delimiter_of_multi_objects/>...</object>

Source: huggingface/transformers, src/transformers/models/kosmos2/processing_kosmos2.py.

- Scale: the image is a grid of 32 x 32 cells, numbered row by row. The left upper corner is rounded down to its cell,
  the right lower one up to the last cell that the box reaches, `ceil(x * 32 - 1)`; both are clamped to 0..31.
- Read back as the centres of the two cells; where they share a row or a column, as the cells' outer edges.
- No rotation: the upright box around the object. No empty answer of its own.
- The 1,024 cells and the tags are in Kosmos-2's vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rbox_formats._geometry import hbox_to_rbox
from rbox_formats.codecs._base import Codec
from rbox_formats.codecs._coordinates import Coordinates, Limits, Size, as_hboxes
from rbox_formats.codecs._syntax import Syntax
from rbox_formats.typing import BoxesOrQuadsN, NumbersN

__all__ = ["Kosmos2"]

_SIDE = 32


@dataclass(frozen=True)
class Cells(Coordinates):
    """The cells of a box's left upper and right lower corner."""

    @property
    def limits(self) -> tuple[Limits, ...]:
        """All cells."""
        return ((0, _SIDE * _SIDE - 1),) * 2

    @property
    def holds_rotation(self) -> bool:
        """Upright boxes only."""
        return False

    def facts(self) -> dict[str, str]:
        """See `Coordinates.facts`."""
        return {
            "numbers": "the cell of the left upper corner, the cell of the right lower one",
            "scale": f"{_SIDE} x {_SIDE} cells, read back as their centres, in one row or column as their outer edges",
            "rounding": "left upper: floor; right lower: ceil(x * 32 - 1)",
            "clamp": f"0 to {_SIDE - 1} along each axis",
            "axes": "one number for both: row * 32 + column",
            "corners": "none",
            "angle": "none",
            "padding": "none",
        }

    def to_numbers(self, shapes: BoxesOrQuadsN, image_size: Size, input_size: Size | None) -> NumbersN:
        """See `Coordinates.to_numbers`."""
        shares = as_hboxes(shapes).reshape(-1, 2, 2) / np.array(image_size, dtype=np.float64) * _SIDE
        cells = np.clip(np.stack([np.floor(shares[:, 0]), np.ceil(shares[:, 1] - 1)], axis=1), 0, _SIDE - 1)
        return cells[..., 0] + cells[..., 1] * _SIDE

    def to_shapes(self, numbers: NumbersN, image_size: Size, input_size: Size | None) -> BoxesOrQuadsN:
        """See `Coordinates.to_shapes`."""
        cells = np.stack([numbers % _SIDE, numbers // _SIDE], axis=-1)
        in_line = (cells[:, :1] == cells[:, 1:]).any(axis=-1, keepdims=True)
        low, high = cells.min(axis=1, keepdims=True), cells.max(axis=1, keepdims=True)
        corners = np.concatenate([low + np.where(in_line, 0, 0.5), high + np.where(in_line, 1, 0.5)], axis=1)
        return hbox_to_rbox((corners * (np.array(image_size, dtype=np.float64) / _SIDE)).reshape(-1, 4))


@dataclass(frozen=True)
class Kosmos2(Codec):
    """Upright boxes as two cells of a grid; see the module's text."""

    name: ClassVar[str] = "kosmos2"
    added_tokens: ClassVar[tuple[str, ...]] = (
        *(f"<patch_index_{i:04d}>" for i in range(_SIDE * _SIDE)),
        "<phrase>",
        "</phrase>",
        "<object>",
        "</object>",
        "</delimiter_of_multi_objects/>",
    )
    coordinates: ClassVar[Cells] = Cells()
    syntax: ClassVar[Syntax] = Syntax(
        box="<patch_index_%04d><patch_index_%04d>",
        broken=r"(?>(?:<patch_index_[0-9]{1,9}>\s*+)+)",
        before_name="<phrase>",
        after_name="</phrase>",
        before_boxes="<object>",
        between_boxes="</delimiter_of_multi_objects/>",
        after_boxes="</object>",
        token=(len("<patch_index_"), len(">")),
        ignored=("<grounding>",),
    )
