"""Convert boxes to the numbers of a format and back: scale, rounding, clamp, order of axes and corners, angle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from rbox_formats._geometry import (
    LE90,
    Convention,
    canonical_quad,
    convert,
    hbox_to_rbox,
    quad_to_rbox,
    rbox_to_hbox,
    rbox_to_quad,
)
from rbox_formats.typing import BoxesN, BoxesOrQuadsN, HBoxesN, NumbersN, QuadsN

Size: TypeAlias = tuple[int, int]
Limits: TypeAlias = tuple[float, float]
Shape: TypeAlias = Literal["quad", "hbox", "rbox", "hbox before turning"]
Frame: TypeAlias = Literal["sides", "longer side", "input pixels"]
Rounding: TypeAlias = Literal["floor", "truncation", "nearest", "none"]

_ROUNDING: dict[Rounding, Callable[[np.ndarray], np.ndarray]] = {
    "floor": np.floor,
    "truncation": lambda values: np.trunc(np.round(values, 6)),  # 28.9999999 is a 29 with a rounding error
    "nearest": np.rint,
    "none": np.asarray,  # the number of decimals in the text rounds
}

#: The limits of a number that a format does not clamp: any place in or around an image.
FREE: Limits = (-99_999, 99_999)

_SHAPES: dict[Shape, str] = {
    "quad": "x and y of four corners",
    "hbox": "x_min, y_min, x_max, y_max of the upright box around the object",
    "rbox": "cx, cy, w, h, angle",
    "hbox before turning": "x_min, y_min, x_max, y_max of the box before it is turned around its centre, and the angle",
}
_FRAMES: dict[Frame, str] = {
    "sides": "of the image's width in x, of its height in y",
    "longer side": "of the image's longer side in x and y",
    "input pixels": "pixels of what the model sees (`input_size`)",
}


class Coordinates(ABC):
    """How a format turns boxes into numbers."""

    @property
    @abstractmethod
    def limits(self) -> tuple[Limits, ...]:
        """The least and the largest value of each of a box's K numbers."""

    @property
    @abstractmethod
    def holds_rotation(self) -> bool:
        """Whether decoding returns turned boxes; if not, the upright boxes around them."""

    @abstractmethod
    def facts(self) -> dict[str, str]:
        """Return what a reader of the format must know, by topic."""

    @abstractmethod
    def to_numbers(self, shapes: BoxesOrQuadsN, image_size: Size, input_size: Size | None) -> NumbersN:
        """Return the numbers (N, K) of boxes (N, 5) or quads (N, 4, 2) in pixels of the image."""

    @abstractmethod
    def to_shapes(self, numbers: NumbersN, image_size: Size, input_size: Size | None) -> BoxesOrQuadsN:
        """Return boxes (N, 5) in `le90`, or quads (N, 4, 2) where the format writes quads; in pixels of the image."""


@dataclass(frozen=True)
class Scaled(Coordinates):
    """Coordinates that are multiples of a step along each axis, as in all formats except Kosmos-2's.

    Attributes:
        shape: The numbers that describe a box.
        frame: The length that the scale refers to.
        scale: The number of units in a whole side, or in a pixel of the input.
        rounding: How a scaled coordinate is rounded.
        clamp: The range to which each coordinate is clamped; None: not clamped.
        clamp_sides: The range to which w and h are clamped, if they may exceed that of the coordinates.
        clamp_to_input: Whether a coordinate is clamped to the pixels of the input instead, from 0 to the last one.
        centre: The number that is added before scaling back; 0.5 reads a bin as its centre.
        y_first: Whether y comes before x.
        clockwise: The winding of a quad's corners on the screen. The first one is the topmost; among equals, the
            leftmost.
        angle: The convention of the angle, if there is one; it is written in whole degrees.
        angle_rounding: How the angle is rounded.
    """

    shape: Shape
    frame: Frame = "sides"
    scale: float = 1000
    rounding: Rounding = "nearest"
    clamp: Limits | None = None
    clamp_sides: Limits | None = None
    clamp_to_input: bool = False
    centre: float = 0.0
    y_first: bool = False
    clockwise: bool = True
    angle: Convention = LE90
    angle_rounding: Rounding = "nearest"

    @property
    def limits(self) -> tuple[Limits, ...]:
        """The range of the clamped coordinates, and that of the angle."""
        limit = self.clamp or ((0, FREE[1]) if self.clamp_to_input else FREE)
        if not self._has_angle:
            return (limit,) * (8 if self.shape == "quad" else 4)
        low, high = self.angle.degrees.range
        sides = self.clamp_sides or limit
        return (limit, limit, sides, sides, (low, high - 1) if self.angle.closed == "low" else (low + 1, high))

    @property
    def holds_rotation(self) -> bool:
        """All but upright boxes do."""
        return self.shape != "hbox"

    def facts(self) -> dict[str, str]:
        """See `Coordinates.facts`."""
        unit = f"{self.scale:g} " if self.frame != "input pixels" else ""
        back = f", read back as (n + {self.centre:g}) / scale" if self.centre else ""
        facts = {
            "numbers": _SHAPES[self.shape],
            "scale": f"{unit}{_FRAMES[self.frame]}{back}",
            "rounding": self.rounding if self.rounding != "none" else "to the decimals written",
            "clamp": self._clamp_fact(),
            "axes": "y before x" if self.y_first else "x before y",
            "corners": "none",
            "angle": "none",
            "padding": "none",
        }
        if self.shape == "quad":
            winding = "clockwise" if self.clockwise else "counter-clockwise"
            facts["corners"] = f"{winding} on the screen, from the topmost, of equals the leftmost"
        if self._has_angle:
            low, high = self.angle.degrees.range
            span = f"[{low:g}, {high:g})" if self.angle.closed == "low" else f"({low:g}, {high:g}]"
            sense = "clockwise" if self.angle.clockwise else "counter-clockwise"
            facts["angle"] = (
                f"{self.angle.name}, whole degrees in {span}, positive {sense} on the screen; {self.angle_rounding}"
            )
        return facts

    def to_numbers(self, shapes: BoxesOrQuadsN, image_size: Size, input_size: Size | None) -> NumbersN:
        """See `Coordinates.to_numbers`."""
        if self.shape == "quad":
            quads = canonical_quad(_as_quads(shapes), clockwise=self.clockwise)
            return self._whole(self._scaled(quads, image_size, input_size), image_size, input_size).reshape(-1, 8)
        if self.shape == "hbox":
            corners = self._scaled(as_hboxes(shapes).reshape(-1, 2, 2), image_size, input_size)
            return self._whole(corners, image_size, input_size).reshape(-1, 4)
        if self.frame == "input pixels":
            boxes = self._with_whole_angles(quad_to_rbox(self._scaled(_as_quads(shapes), image_size, input_size)))
        else:
            boxes = self._with_whole_angles(_as_boxes(shapes))
        centres, sides = boxes[:, None, :2], boxes[:, None, 2:4]
        if self.shape == "rbox":
            places = np.concatenate([centres, sides], axis=1)
        else:
            places = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
        # Centres and sides are scaled along the axes; the angle stays that in pixels, so that no box is sheared.
        scaled = places if self.frame == "input pixels" else self._scaled(places, image_size, input_size)
        numbers = self._whole(scaled, image_size, input_size).reshape(-1, 4)
        return np.column_stack([numbers, boxes[:, 4]])

    def to_shapes(self, numbers: NumbersN, image_size: Size, input_size: Size | None) -> BoxesOrQuadsN:
        """See `Coordinates.to_shapes`."""
        size, count = self._sides(image_size, input_size)
        step = size / count
        places = numbers[:, :4] if self._has_angle else numbers
        places = places.reshape(len(numbers), places.shape[1] // 2, 2)
        places = (places[..., ::-1] if self.y_first else places) + self.centre
        if self.shape == "quad":
            return places * step
        if self.shape == "hbox":
            corners = places * step
            return hbox_to_rbox(np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=-1))
        scaled = places if self.frame == "input pixels" else places * step
        if self.shape == "rbox":
            centres, sides = scaled[:, 0], np.abs(scaled[:, 1])
        else:
            centres, sides = scaled.mean(axis=1), np.abs(scaled[:, 1] - scaled[:, 0])
        boxes = convert(np.concatenate([centres, sides, numbers[:, 4:]], axis=-1), self.angle.degrees, LE90)
        return quad_to_rbox(rbox_to_quad(boxes) * step) if self.frame == "input pixels" else boxes

    def _with_whole_angles(self, boxes: BoxesN) -> BoxesN:
        """Convert boxes to the format's convention, and bring angles back that rounding put out of range."""
        boxes = convert(boxes, LE90, self.angle.degrees)
        whole = np.column_stack([boxes[:, :4], _ROUNDING[self.angle_rounding](boxes[:, 4])])
        return convert(whole, self.angle.degrees, self.angle.degrees)

    def _whole(self, places: np.ndarray, image_size: Size, input_size: Size | None) -> np.ndarray:
        """Return places (N, M, 2) rounded, clamped, and with their axes in the format's order."""
        rounded = _ROUNDING[self.rounding](places)
        if self.clamp_sides is not None:
            rounded[:, 1] = np.clip(rounded[:, 1], *self.clamp_sides)
            rounded[:, 0] = np.clip(rounded[:, 0], *(self.clamp or FREE))
        elif self.clamp is not None:
            rounded = np.clip(rounded, *self.clamp)
        elif self.clamp_to_input:
            rounded = np.clip(rounded, 0, np.array(input_size or image_size) - 1)
        return rounded[..., ::-1] if self.y_first else rounded

    def _clamp_fact(self) -> str:
        if self.clamp_to_input:
            return "0 to the input's last pixel, number by number"
        if self.clamp is None:
            return "none"
        sides = "" if self.clamp_sides is None else f", sides up to {self.clamp_sides[1]:g}"
        return f"{self.clamp[0]:g} to {self.clamp[1]:g}, number by number{sides}"

    def _scaled(self, places: np.ndarray, image_size: Size, input_size: Size | None) -> np.ndarray:
        """Return places (N, M, 2) in the format's units.

        With `floor`, places are divided by the size of a bin, as LMMRotate does. Otherwise they are first multiplied
        and then divided, so that exact results stay exact, and the far border of an image gets the last number.
        """
        size, count = self._sides(image_size, input_size)
        return places / (size / count) if self.rounding == "floor" else places * count / size

    def _sides(self, image_size: Size, input_size: Size | None) -> tuple[np.ndarray, np.ndarray]:
        """Return what x and y are divided by: in pixels of the image, and in the format's units."""
        size = np.array(image_size, dtype=np.float64)
        if self.frame == "input pixels":
            return size, np.array(input_size or image_size, dtype=np.float64) * self.scale
        return size if self.frame == "sides" else np.full(2, size.max()), np.full(2, float(self.scale))

    @property
    def _has_angle(self) -> bool:
        return self.shape in ("rbox", "hbox before turning")


def _as_quads(shapes: BoxesOrQuadsN) -> QuadsN:
    return shapes if shapes.ndim == 3 else rbox_to_quad(shapes)


def _as_boxes(shapes: BoxesOrQuadsN) -> BoxesN:
    return shapes if shapes.ndim == 2 else quad_to_rbox(shapes)


def as_hboxes(shapes: BoxesOrQuadsN) -> HBoxesN:
    """Return the upright boxes around boxes or quads."""
    if shapes.ndim == 2:
        return rbox_to_hbox(shapes)
    return np.concatenate([shapes.min(axis=1), shapes.max(axis=1)], axis=-1)
