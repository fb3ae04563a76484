"""Image and boxes changed together, for training: flips, quarter turns, any angle, scale, crops.

Coordinates are those of pixel edges, as everywhere in rbox_formats: an image of width W spans [0, W], and the middle of
its first pixel lies at 0.5. Pillow's affine transform counts so as well: an output pixel (i, j) takes what lies at the
image of (i + 0.5, j + 0.5).

Flips and quarter turns move pixels and lose nothing. A rotation or a scale resamples the image once, bilinearly, onto a
canvas of the image's size about the same centre (or onto the crop's, if there is one); where the image ends, the canvas
has the colour that lies beyond the border of windows (`tiling.PADDING`). MMRotate's `RandomRotate` does the same with
boxes and keeps those whose centre stays on the canvas; here the rule for what an object leaves is that of windows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from rbox_formats import ImageRecord, area_inside, flip, quad_area, rotate, rotate90, scale, tiling, translate
from rbox_formats.errors import ImageError

from lmm_detector.errors import ConfigError

if TYPE_CHECKING:
    from rbox_formats.typing import BoxesOrQuadsN, FlagsN, Image, QuadsN

Direction: TypeAlias = Literal["horizontal", "vertical", "diagonal"]

# As rbox_formats.tiling has it: shares that differ by less are the same, and one below is none.
_ROUNDING = 1e-9

_FLIPPED: dict[Direction, Callable[[Any], Any]] = {
    "horizontal": lambda image: image[:, ::-1],
    "vertical": lambda image: image[::-1],
    "diagonal": lambda image: image[::-1, ::-1],
}


@dataclass(frozen=True)
class Change:
    """What is done to one image and its objects, in this order.

    Attributes:
        flip: "horizontal" exchanges left and right, "vertical" top and bottom, "diagonal" both; None: neither.
        turns: Quarter turns, clockwise on the screen.
        angle: In radians, clockwise on the screen, about the image's centre.
        scale: About the image's centre; above 1 everything becomes larger.
        window: The part of the image that is left, in pixels after all that; None: all.
    """

    flip: Direction | None = None
    turns: int = 0
    angle: float = 0.0
    scale: float = 1.0
    window: tiling.Window | None = None

    def apply(self, image: Image, record: ImageRecord, iof_threshold: float = 0.7) -> tuple[Image, ImageRecord]:
        """Return the changed image and its objects.

        Args:
            image: (H, W, 3) uint8.
            record: Its objects, with outlines that may reach beyond the border. Its quads stay quads, and if it has
                none there are none after.
            iof_threshold: The least share of an object's area on the image that must still be seen for it to stay, with
                its full outline; an object without area there counts by its centre. `tiling.clip_to_window`'s rule.

        Returns:
            The image (H', W', 3) uint8, and its record.

        Raises:
            ImageError: If image and record are not of one size.
        """
        height, width = image.shape[:2]
        if (record.width or width, record.height or height) != (width, height):
            size = f"{record.width}x{record.height}"
            raise ImageError(f"expected an image of the record's size, {size}, got {width}x{height}", path=record.path)
        record = replace(record, width=width, height=height, masks=None)  # no text holds masks
        if self.flip is not None:
            image = _FLIPPED[self.flip](image)
            direction = self.flip
            record = _moved(record, lambda shapes: flip(shapes, (width, height), direction))
        if self.turns % 4:
            image = np.rot90(image, -self.turns)
            record = _moved(record, lambda shapes: rotate90(shapes, (width, height), self.turns)[0])
            height, width = image.shape[:2]
            record = replace(record, width=width, height=height)
        if self.angle != 0 or self.scale != 1:
            return self._resampled(image, record, iof_threshold)
        if self.window is not None:
            image, record = tiling.crop(image, self.window), tiling.clip_to_window(record, self.window, iof_threshold)
        return np.ascontiguousarray(image), record

    def _resampled(self, image: Image, record: ImageRecord, iof_threshold: float) -> tuple[Image, ImageRecord]:
        """Rotation, scale and crop in one."""
        width, height = record.size
        centre = (width / 2, height / 2)
        corner, canvas = (0.0, 0.0), (width, height)
        if self.window is not None:
            corner = (float(self.window.x), float(self.window.y))
            canvas = (self.window.output_size, self.window.output_size)
        zoom = 1.0 if self.window is None else self.window.scale

        def move(shapes: Any) -> Any:
            around = translate(rotate(shapes, self.angle, centre), (-centre[0], -centre[1]))
            placed = translate(scale(around, self.scale), (centre[0] - corner[0], centre[1] - corner[1]))
            return scale(placed, zoom)

        factor = self.scale * zoom
        cos, sin = factor * math.cos(self.angle), factor * math.sin(self.angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        goal = (np.array(centre) - corner) * zoom  # of the centre
        forward = np.column_stack([turn, goal - turn @ centre])
        # Pillow asks for the way back: a point of the canvas, as it was in the image.
        inverse = turn.T / factor**2
        back = np.column_stack([inverse, centre - inverse @ goal])
        kept = _kept(record.corners, record.size, forward, canvas, iof_threshold)
        moved = _moved(record.select(kept), move)
        return _resample(image, back, canvas, factor), replace(moved, width=canvas[0], height=canvas[1])


@dataclass(frozen=True)
class Augmentation:
    """What may be done to each image, and how likely. The defaults do nothing.

    Attributes:
        horizontal_flip: Probability that left and right are exchanged. Of the three flips at most one is done.
        vertical_flip: Probability that top and bottom are.
        diagonal_flip: Probability that both are.
        quarter_turns: Probability of one, two or three quarter turns.
        rotation: Probability of a rotation about the centre.
        max_angle: By how many degrees at most, either way.
        scaling: Probability of a scale about the centre.
        scale_range: The least and the largest factor; between them the logarithm is equally likely everywhere.
        cropping: Probability that a square window is all that is left of the image.
        crop_range: The least and the largest side of the window, as a share of the image's shorter one.
        iof_threshold: The least share of an object that must still be seen for it to stay.
    """

    horizontal_flip: float = 0.0
    vertical_flip: float = 0.0
    diagonal_flip: float = 0.0
    quarter_turns: float = 0.0
    rotation: float = 0.0
    max_angle: float = 180.0
    scaling: float = 0.0
    scale_range: tuple[float, float] = (0.8, 1.25)
    cropping: float = 0.0
    crop_range: tuple[float, float] = (0.5, 1.0)
    iof_threshold: float = 0.7

    def __post_init__(self) -> None:
        # Lists, as YAML has them, become tuples.
        for name in ("scale_range", "crop_range"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        shares = [field.name for field in fields(self) if field.name.endswith(("flip", "ing", "ation", "turns"))]
        for name in (*shares, "iof_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"expected {name} from 0 to 1, got {getattr(self, name)}")
        flips = self.horizontal_flip + self.vertical_flip + self.diagonal_flip
        if flips > 1 + _ROUNDING:
            raise ConfigError(f"expected flips of a probability of at most 1 together, got {flips}")
        if not 0 <= self.max_angle <= 180:
            raise ConfigError(f"expected max_angle from 0 to 180 degrees, got {self.max_angle}")
        for name, most in (("scale_range", math.inf), ("crop_range", 1.0)):
            values = getattr(self, name)
            if len(values) != 2 or not 0 < values[0] <= values[1] <= most or math.isinf(values[1]):
                limit = "" if math.isinf(most) else f" and at most {most:g}"
                raise ConfigError(f"expected {name} of two rising numbers above 0{limit}, got {values}")

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Change:
        """Return what is done to an image of this (width, height).

        As many numbers are drawn whatever is done, so that one probability does not move what another one's draws give.
        """
        chances, places = rng.random(5), rng.random(6)
        flips = np.cumsum([self.horizontal_flip, self.vertical_flip, self.diagonal_flip])
        names: tuple[Direction | None, ...] = ("horizontal", "vertical", "diagonal", None)
        low, high = (math.log(factor) for factor in self.scale_range)
        turns = 1 + int(3 * places[0]) if chances[1] < self.quarter_turns else 0
        window = None
        if chances[4] < self.cropping:
            width, height = size[::-1] if turns % 2 else size
            least, most = self.crop_range
            side = max(round(min(width, height) * (least + (most - least) * float(places[3]))), 1)
            x, y = (int(places[4] * (width - side + 1)), int(places[5] * (height - side + 1)))
            window = tiling.Window(x, y, side)
        return Change(
            flip=names[int(np.searchsorted(flips, chances[0], side="right"))],
            turns=turns,
            angle=math.radians(self.max_angle) * (2 * float(places[1]) - 1) if chances[2] < self.rotation else 0.0,
            scale=math.exp(low + (high - low) * float(places[2])) if chances[3] < self.scaling else 1.0,
            window=window,
        )

    def apply(self, image: Image, record: ImageRecord, rng: np.random.Generator) -> tuple[Image, ImageRecord]:
        """Return an image (H, W, 3) uint8 and its objects, changed by chance.

        Args:
            image: The pixels.
            record: The objects.
            rng: Where chance comes from; `sample_rng` makes one that is the same in whichever process it is.

        Raises:
            ImageError: If image and record are not of one size.
        """
        height, width = image.shape[:2]
        return self.draw(rng, (width, height)).apply(image, record, self.iof_threshold)


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator of a sample in an epoch: the same in every process, on every machine, also after resuming.

    Args:
        seed: The run's, at least 0.
        epoch: At least 0.
        index: The sample's place in the dataset, not in the epoch's order.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch, index)))


def _moved(record: ImageRecord, move: Callable[[BoxesOrQuadsN], BoxesOrQuadsN]) -> ImageRecord:
    """Return the record with boxes and quads in other places."""
    quads = None if record.quads is None else move(record.quads)
    return replace(record, boxes=move(record.boxes), quads=quads)


def _kept(
    quads: QuadsN, size: tuple[int, int], forward: np.ndarray, canvas: tuple[int, int], threshold: float
) -> FlagsN:
    """Return which objects (N,) stay: those of whose area on the image enough is on the canvas.

    `tiling.clip_to_window`'s rule, for an image that lies askew on the canvas: what counts is the part that is on both.

    Args:
        quads: (N, 4, 2) on the image.
        size: The image's (width, height).
        forward: (2, 3), from the image to the canvas.
        canvas: Its (width, height).
        threshold: The least share.
    """
    whole, on_image = quad_area(quads), area_inside(quads, (0.0, 0.0, float(size[0]), float(size[1])))
    growth = abs(np.linalg.det(forward[:, :2]))
    least = max(threshold * (1 - _ROUNDING), _ROUNDING)
    moved = quads @ forward[:, :2].T + forward[:, 2]
    # Most objects are whole on both, or off the canvas; the others are cut one by one.
    kept = ((quads >= 0) & (quads <= size) & (moved >= 0) & (moved <= canvas)).all(axis=(1, 2)) & (whole > 0)
    off = ((moved < 0).all(axis=1) | (moved > canvas).all(axis=1)).any(axis=1)
    for index in np.flatnonzero(~kept & ~off):
        quad = quads[index]
        if on_image[index] > _ROUNDING * whole[index]:
            part = _clipped(_through(forward, _clipped(quad, size)), canvas)
            kept[index] = _area(part) / growth >= least * on_image[index]
        else:
            centre = moved[index].mean(axis=0)
            kept[index] = bool((centre >= 0).all() and (centre < canvas).all())
    return kept


def _through(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return points (k, 2) after an affine map (2, 3)."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def _clipped(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return what of a polygon (k, 2) is within [0, width] x [0, height], by Sutherland and Hodgman: (m, 2)."""
    for axis, bound, sign in ((0, 0.0, 1.0), (0, float(size[0]), -1.0), (1, 0.0, 1.0), (1, float(size[1]), -1.0)):
        depth = sign * (points[:, axis] - bound)  # 0 or more inside
        after, depth_after = np.roll(points, -1, axis=0), np.roll(depth, -1)
        crosses = (depth < 0) != (depth_after < 0)
        share = np.divide(depth, depth - depth_after, out=np.zeros_like(depth), where=crosses)
        both = np.stack([points, points + share[:, None] * (after - points)], axis=1)  # each point, its side's crossing
        points = both[np.stack([depth >= 0, crosses], axis=1)]
    return points


def _area(points: np.ndarray) -> float:
    """Return the area of a polygon (k, 2), by the shoelace formula."""
    x, y = (points - points.mean(axis=0) if len(points) else points).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _resample(image: Image, back: np.ndarray, canvas: tuple[int, int], factor: float) -> Image:
    """Return the image on the canvas, which `back` (2, 3) takes to it; `factor` is how much larger things become."""
    from PIL import Image as PillowImage

    pixels = PillowImage.fromarray(np.ascontiguousarray(image))
    if factor < 1:
        # An affine transform looks at four pixels for each, and would skip the others: made smaller before, over all
        # that fall into one.
        smaller = (max(round(pixels.width * factor), 1), max(round(pixels.height * factor), 1))
        back = back * [[smaller[0] / pixels.width], [smaller[1] / pixels.height]]
        pixels = pixels.resize(smaller, PillowImage.Resampling.BILINEAR)
    changed = pixels.transform(
        canvas,
        PillowImage.Transform.AFFINE,
        tuple(float(value) for value in back.ravel()),
        resample=PillowImage.Resampling.BILINEAR,
        fillcolor=tiling.PADDING,
    )
    return np.array(changed)
