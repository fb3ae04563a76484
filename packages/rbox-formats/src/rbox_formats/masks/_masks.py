"""One object's mask, as polygons or as run lengths, and the masks of an image's objects."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike

from rbox_formats._geometry import check_choice, quad_around, quad_to_rbox
from rbox_formats.arrays import to_numpy
from rbox_formats.errors import FormatsError
from rbox_formats.masks import _polygons, _rle, _runs, _tracing
from rbox_formats.typing import BoxesN, HBoxesN, ScoresN

LARGEST = 1e9
"""The largest coordinate of a mask, px."""

MOST_RUNS = 2**24
"""The most runs of a mask that is read: a short text can stand for any number of full columns."""

_MOST_PIXELS = 2**53
_FLIPS = ("horizontal", "vertical", "diagonal")


@dataclass(frozen=True, eq=False)
class PolygonMask:
    """A mask as outlines: the object is what any of them encloses. They may reach beyond the image.

    >>> from rbox_formats import masks
    >>> mask = masks.PolygonMask(([[0, 0], [40, 0], [40, 20], [0, 20]],))
    >>> mask.area, mask.to_rbox().tolist()
    (800.0, [20.0, 10.0, 40.0, 20.0, 0.0])

    Attributes:
        outlines: Each (K, 2) float64, the x and y of at least three corners, in pixels. An upright pixel (x, y) is the
            square from (x, y) to (x + 1, y + 1).

    Raises:
        FormatsError: If there is no outline, one has fewer than three corners, or a number is not finite or beyond
            `LARGEST`.
    """

    outlines: tuple[np.ndarray, ...]

    def __init__(self, outlines: Iterable[ArrayLike]) -> None:  # written out for its type: they are arrays from then on
        found = []
        for outline in outlines:
            corners = to_numpy(outline, "an outline").astype(np.float64)
            if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
                raise FormatsError(f"expected an outline as (K, 2), of at least 3 corners, got {corners.shape}")
            if not (np.abs(corners) <= LARGEST).all():
                raise FormatsError(f"expected an outline of finite numbers up to {LARGEST:.0f}, got others")
            found.append(corners)
        if not found:
            raise FormatsError("expected at least one outline of a mask, got none")
        object.__setattr__(self, "outlines", tuple(found))

    @property
    def area(self) -> float:
        """The area inside the outlines, in square pixels; parts that two outlines enclose count twice."""
        return float(sum(abs(_polygons.area_of(outline)) for outline in self.outlines))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The upright box around it: (x0, y0, x1, y1)."""
        corners = np.concatenate(self.outlines)
        (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
        return float(x0), float(y0), float(x1), float(y1)

    def to_rbox(self) -> np.ndarray:
        """Return the rotated rectangle of least area around all outlines, (5,) in `le90`."""
        return quad_to_rbox(np.array(quad_around(np.concatenate(self.outlines).ravel().tolist())).reshape(4, 2))

    def to_runs(self, width: int | None = None, height: int | None = None) -> RunMask:
        """Return the pixels inside, by COCO's rule (`pycocotools.mask.frPyObjects`).

        Args:
            width: The image's, px; what lies outside is left out. None: as far as the outlines reach.
            height: The image's, px.
        """
        _, _, x1, y1 = self.bounds
        width, height = (
            max(math.ceil(end) + 1, 0) if side is None else side for side, end in ((width, x1), (height, y1))
        )
        return RunMask(_polygons.to_runs(self.outlines, width, height))

    def to_polygons(self) -> tuple[np.ndarray, ...]:
        """Return the outlines, each (K, 2) float64."""
        return self.outlines

    def rings(self, tolerance: float = 0.0) -> list[list[np.ndarray]]:
        """Return its parts; see `RunMask.rings`. Each outline is one, clockwise on the screen, without holes."""
        clockwise = (outline[:: -1 if _polygons.area_of(outline) < 0 else 1] for outline in self.outlines)
        return [[_polygons.simplified(outline, tolerance)] for outline in clockwise]

    def to_coco(self, width: int | None = None, height: int | None = None) -> list[list[float]]:
        """Return a `segmentation` of COCO: a list of outlines [x1, y1, x2, y2, ...]; the image's size is not needed."""
        return [outline.ravel().tolist() for outline in self.outlines]

    def moved(self, x: float, y: float) -> PolygonMask:
        """Return the mask moved by an offset in pixels."""
        return self._changed(lambda outline: outline + np.array((x, y)))

    def scaled(self, x_factor: float, y_factor: float) -> PolygonMask:
        """Return the mask on an image of another size."""
        return self._changed(lambda outline: outline * (x_factor, y_factor))

    def clipped(self, x0: float, y0: float, x1: float, y1: float) -> PolygonMask | RunMask:
        """Return the part of the mask inside an upright window; a `RunMask` without pixels where there is none."""
        parts = [_polygons.clipped(outline, x0, y0, x1, y1) for outline in self.outlines]
        left = tuple(part for part in parts if part is not None)
        return PolygonMask(left) if left else RunMask(_runs.NONE)

    def _mirrored(self, width: float | None, height: float | None) -> PolygonMask:
        def mirror(outline: np.ndarray) -> np.ndarray:
            x, y = outline.T
            return np.stack([x if width is None else width - x, y if height is None else height - y], axis=1)

        return self._changed(mirror)

    def _transposed(self) -> PolygonMask:
        return self._changed(lambda outline: outline[:, ::-1])

    def _changed(self, change: Callable[[np.ndarray], np.ndarray]) -> PolygonMask:
        return PolygonMask(tuple(change(outline) for outline in self.outlines))


@dataclass(frozen=True, eq=False)
class RunMask:
    """A mask as runs of pixels down the columns, on an image of any size. What it takes grows with its outline.

    >>> import numpy as np
    >>> from rbox_formats import masks
    >>> pixels = np.zeros((30, 50), bool)
    >>> pixels[5:25, 4:44] = True
    >>> mask = masks.RunMask.of_array(pixels)
    >>> mask.area, mask.bounds
    (800.0, (4.0, 5.0, 44.0, 25.0))

    Attributes:
        runs: (R, 3) int64, each (x, y0, y1): the pixels of column x from row y0 to y1, the last one excluded; rising,
            and apart from one another.

    Raises:
        FormatsError: If they are not such runs.
    """

    runs: np.ndarray

    def __init__(self, runs: ArrayLike) -> None:
        runs = to_numpy(runs, "the runs of a mask")
        if runs.dtype.kind not in "iu" or runs.ndim != 2 or runs.shape[1] != 3:
            raise FormatsError(f"expected the runs of a mask as (R, 3) whole numbers, got {runs.dtype} {runs.shape}")
        runs = runs.astype(np.int64, copy=False)
        if len(runs):
            x, y0, y1 = runs.T
            rising = (x[1:] > x[:-1]) | ((x[1:] == x[:-1]) & (y0[1:] > y1[:-1]))
            if not ((y0 < y1).all() and rising.all() and np.abs(runs).max() <= LARGEST):
                raise FormatsError("expected runs of a mask that rise and lie apart, got others")
        object.__setattr__(self, "runs", runs)

    @classmethod
    def of_array(cls, pixels: Any) -> RunMask:
        """Make a mask of pixels: an array or a tensor (height, width), where those that are not zero are inside.

        Raises:
            FormatsError: If they are neither flags nor whole numbers, or of another shape.
        """
        array = to_numpy(pixels, "the pixels of a mask")
        if array.ndim != 2 or array.dtype.kind not in "biu":
            raise FormatsError(
                f"expected the pixels of a mask as (height, width) of bool, got {array.shape} of {array.dtype}",
                remedy="Compare a mask of probabilities with a threshold: mask > 0.5.",
            )
        return cls(_runs.of_array(array))

    @classmethod
    def of_coco(cls, value: Mapping[str, Any], width: int | None = None, height: int | None = None) -> RunMask:
        """Make a mask of COCO's run lengths: {"size": [height, width], "counts": ...}, compressed or a list.

        Args:
            value: As COCO's files and pycocotools have it.
            width: The image's, px, which `size` must then be; None: any.
            height: The image's, px.

        Raises:
            FormatsError: If it is no such object, of another size, or its counts are not those of the size.
        """
        if not isinstance(value, Mapping) or not {"size", "counts"} <= set(value):
            raise FormatsError('expected run lengths as {"size": [height, width], "counts": ...}, got others')
        size = to_numpy(value["size"], "the size of run lengths")
        if size.shape != (2,) or size.dtype.kind not in "iu" or not 0 <= size.min() <= size.max() <= LARGEST:
            raise FormatsError(f"expected the size of run lengths as [height, width], got {size.tolist()!r:.80}")
        rows, columns = int(size[0]), int(size[1])
        if (columns, rows) != (columns if width is None else width, rows if height is None else height):
            raise FormatsError(f"expected run lengths of the image's size {width}x{height}, got {columns}x{rows}")
        if rows * columns > _MOST_PIXELS:
            raise FormatsError(f"expected run lengths of at most {_MOST_PIXELS} pixels, got {columns}x{rows}")
        given = value["counts"]
        counts = _rle.decode_counts(given) if isinstance(given, str | bytes) else to_numpy(given, "counts")
        if counts.ndim != 1 or (counts.dtype.kind not in "iu" and len(counts)) or (counts < 0).any():
            raise FormatsError("expected the counts of run lengths as whole numbers from 0, got others")
        ends = np.cumsum(counts.astype(np.int64))
        total = int(ends[-1]) if len(ends) else 0
        if total != rows * columns:
            raise FormatsError(f"expected run lengths of {columns}x{rows} pixels, got {total} pixels")
        inside = ends[: len(ends) // 2 * 2].reshape(-1, 2)
        inside = _runs.combined(inside, _runs.NONE[:, :2], np.logical_or)
        if len(inside) and int(((inside[:, 1] - 1) // rows - inside[:, 0] // rows + 1).sum()) > MOST_RUNS:
            raise FormatsError(f"expected a mask of at most {MOST_RUNS} runs of pixels down its columns, got more")
        return cls(_runs.from_places(inside, rows) if len(inside) else _runs.NONE)

    @classmethod
    def joined(cls, masks: Iterable[RunMask]) -> RunMask:
        """Make a mask of all pixels of several."""
        return cls(_runs.normalised(np.concatenate([_runs.NONE, *(mask.runs for mask in masks)])))

    @property
    def area(self) -> float:
        """The number of its pixels."""
        return float((self.runs[:, 2] - self.runs[:, 1]).sum())

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The upright box around its pixels: (x0, y0, x1, y1); four zeros where it has none."""
        if not len(self.runs):
            return 0.0, 0.0, 0.0, 0.0
        x, y0, y1 = self.runs.T
        return float(x[0]), float(y0.min()), float(x[-1] + 1), float(y1.max())

    def to_rbox(self) -> np.ndarray:
        """Return the rotated rectangle of least area around the centres of its pixels, (5,) in `le90`.

        Against the box that a mask was made from, this is closer than the rectangle around the pixels' corners, which
        holds all steps of a slanted side. A side is 1 px at least. A mask without pixels gives five zeros.
        """
        if not len(self.runs):
            return np.zeros(5)
        x, y0, y1 = self.runs.T
        begins = np.flatnonzero(np.append(True, x[1:] != x[:-1]))
        ends = np.append(begins[1:], len(x)) - 1
        top, bottom = np.stack([x[begins], y0[begins]], axis=1), np.stack([x[ends], y1[ends] - 1], axis=1)
        centres = np.concatenate([top, bottom]) + 0.5
        box = quad_to_rbox(np.array(quad_around(_five(centres).ravel().tolist())).reshape(4, 2))
        box[2:4] = np.maximum(box[2:4], 1.0)
        return box

    def to_array(self, width: int, height: int) -> np.ndarray:
        """Return the pixels (height, width) bool; those beyond the image are left out."""
        return _runs.to_array(self.runs, width, height)

    def to_runs(self, width: int | None = None, height: int | None = None) -> RunMask:
        """Return the mask, or its part on an image of that size."""
        if width is None or height is None:
            return self
        return self.clipped(0, 0, width, height)

    def to_polygons(self) -> tuple[np.ndarray, ...]:
        """Return outlines (K, 2) along the pixels' sides that enclose its parts; COCO's have no place for holes."""
        return tuple(part[0] for part in self.rings())

    def rings(self, tolerance: float = 0.0) -> list[list[np.ndarray]]:
        """Return its parts, each as its outer ring and the rings of its holes, along the sides of pixels.

        Pixels that meet only at a corner are in different parts.

        Args:
            tolerance: How far a corner that is left out may be from the simpler ring, px; 0 keeps every corner. A ring
                never crosses itself.

        Returns:
            Rings (K, 2) float64, without a last corner that repeats the first; outer ones clockwise on the screen,
            holes the other way.
        """
        return [[_polygons.simplified(ring, tolerance) for ring in part] for part in _tracing.rings(self.runs)]

    def to_coco(self, width: int | None = None, height: int | None = None) -> dict[str, Any]:
        """Return COCO's run lengths of it, compressed as pycocotools does, on an image of that size.

        Raises:
            FormatsError: If the size is not given, or the mask reaches beyond it.
        """
        if width is None or height is None:
            raise FormatsError("expected the size of the image, which run lengths need, got none")
        x0, y0, x1, y1 = self.bounds
        if min(x0, y0) < 0 or x1 > width or y1 > height:
            raise FormatsError(f"expected a mask inside the image of {width}x{height} px, got one to ({x1}, {y1})")
        places = _runs.combined(_runs.to_places(self.runs, height), _runs.NONE[:, :2], np.logical_or)
        counts = np.diff(np.concatenate([[0], places.ravel(), [width * height]]))
        counts = counts[:-1] if len(counts) > 1 and counts[-1] == 0 else counts
        return {"size": [height, width], "counts": _rle.encode_counts(counts)}

    def moved(self, x: float, y: float) -> RunMask:
        """Return the mask moved by an offset in pixels, rounded to whole ones."""
        return RunMask(self.runs + np.array((round(x), round(y), round(y))))

    def scaled(self, x_factor: float, y_factor: float) -> RunMask:
        """Return the mask on an image of another size, by the nearest pixel."""
        return RunMask(_runs.scaled(self.runs, x_factor, y_factor))

    def clipped(self, x0: float, y0: float, x1: float, y1: float) -> RunMask:
        """Return the part of the mask inside an upright window, whose sides are rounded to whole pixels."""
        return RunMask(_runs.clipped(self.runs, round(x0), round(y0), round(x1), round(y1)))

    def _mirrored(self, width: float | None, height: float | None) -> RunMask:
        x, y0, y1 = self.runs.T
        if width is not None:
            x = round(width) - 1 - x
        if height is not None:
            y0, y1 = round(height) - y1, round(height) - y0
        return RunMask(_runs.normalised(np.stack([x, y0, y1], axis=1)))

    def _transposed(self) -> RunMask:
        return RunMask(_runs.transposed(self.runs))


Mask: TypeAlias = PolygonMask | RunMask


def _five(points: np.ndarray) -> np.ndarray:
    """Return points so that exactly four of them are not taken for a quad in the order of its corners."""
    return np.concatenate([points, points[:1], points[:1]]) if len(points) == 4 else points


def as_mask(value: Any) -> Mask:
    """Return a mask of any of the forms that masks have.

    >>> from rbox_formats import masks
    >>> masks.as_mask([[0, 0, 40, 0, 40, 20, 0, 20]]).bounds
    (0.0, 0.0, 40.0, 20.0)
    >>> masks.as_mask({"size": [2, 2], "counts": [1, 2, 1]}).area
    2.0

    Args:
        value: A `PolygonMask` or `RunMask`; a `segmentation` of COCO, which is a list of outlines [x1, y1, x2, y2, ...]
            or run lengths; or pixels (height, width) as an array or tensor of flags or whole numbers.

    Raises:
        FormatsError: If it is none of them.
    """
    if isinstance(value, PolygonMask | RunMask):
        return value
    if isinstance(value, Mapping):
        return RunMask.of_coco(value)
    if isinstance(value, list | tuple):
        outlines = []
        for each in value:
            numbers = to_numpy(each, "an outline")
            if numbers.ndim == 1 and numbers.size % 2 == 0:
                numbers = numbers.reshape(-1, 2)
            outlines.append(numbers)
        return PolygonMask(tuple(outlines))
    return RunMask.of_array(value)


class Masks(Sequence[Mask]):
    """The masks of an image's objects, one each: a column of `ImageRecord`, which is indexed as an array is.

    >>> from rbox_formats import masks
    >>> found = masks.Masks([[[0, 0, 40, 0, 40, 20, 0, 20]], {"size": [2, 2], "counts": [1, 2, 1]}])
    >>> len(found), len(found[found.areas > 100]), found[0].bounds
    (2, 1, (0.0, 0.0, 40.0, 20.0))

    Args:
        values: A mask for each object, in any form that `as_mask` takes.

    Raises:
        FormatsError: If one is of another form; the message has its number.
    """

    def __init__(self, values: Iterable[Any] = ()) -> None:
        found = []
        for number, value in enumerate(values):
            try:
                found.append(as_mask(value))
            except FormatsError as error:
                raise FormatsError(f"masks[{number}]: {error}") from error
        self._masks = tuple(found)

    @classmethod
    def of_quads(cls, quads: Any) -> Masks:
        """Return quads (N, 4, 2) as masks: of objects that have no other."""
        return cls(PolygonMask((quad,)) for quad in quads)

    @classmethod
    def joined(cls, parts: Iterable[Masks]) -> Masks:
        """Return the masks of several images or windows, one after the other."""
        return cls(mask for part in parts for mask in part)

    def __len__(self) -> int:
        return len(self._masks)

    def __iter__(self) -> Iterator[Mask]:
        return iter(self._masks)

    @overload
    def __getitem__(self, which: int) -> Mask: ...

    @overload
    def __getitem__(self, which: slice | Sequence[int] | np.ndarray) -> Masks: ...

    def __getitem__(self, which: Any) -> Mask | Masks:
        """Return one mask by its number, or those that a slice, flags (N,) or indices choose."""
        if isinstance(which, int | np.integer) and not isinstance(which, bool):
            return self._masks[which]
        if isinstance(which, slice):
            return Masks(self._masks[which])
        indices = np.asarray(which)
        if not indices.size:  # an empty list has no type of its own
            indices = indices.astype(np.int64)
        return Masks(self._masks[place] for place in np.arange(len(self))[indices])

    def __repr__(self) -> str:
        runs = sum(isinstance(mask, RunMask) for mask in self._masks)
        return f"<Masks of {len(self)} objects: {len(self) - runs} as polygons, {runs} as run lengths>"

    @cached_property
    def areas(self) -> ScoresN:
        """(N,) float64, in square pixels."""
        return np.array([mask.area for mask in self._masks], dtype=np.float64)

    @cached_property
    def bounds(self) -> HBoxesN:
        """(N, 4) float64, the upright boxes around them: (x0, y0, x1, y1)."""
        return np.array([mask.bounds for mask in self._masks], dtype=np.float64).reshape(-1, 4)

    def to_rboxes(self) -> BoxesN:
        """Return the rotated rectangle of least area around each, (N, 5) in `le90`.

        Around a `PolygonMask` it is the rectangle around its corners; around a `RunMask` that around the centres of its
        pixels, which is as large as the object on average, each side 1 px at least.
        """
        return np.array([mask.to_rbox() for mask in self._masks], dtype=np.float64).reshape(-1, 5)

    def to_coco(self, width: int | None = None, height: int | None = None) -> list[Any]:
        """Return a `segmentation` of COCO for each.

        Args:
            width: The image's, px. None: unknown; run lengths are then of an image just large enough for all masks.
            height: The image's, px.

        Raises:
            FormatsError: If run lengths reach beyond the image.
        """
        if width is None or height is None:
            width, height = (max(math.ceil(end), 1) for end in self.bounds[:, 2:].max(axis=0, initial=0).tolist())
        return [mask.to_coco(width, height) for mask in self._masks]

    def to_runs(self, width: int | None = None, height: int | None = None) -> Masks:
        """Return each as a `RunMask`, on an image of that size."""
        return Masks(mask.to_runs(width, height) for mask in self._masks)

    def moved(self, x: float, y: float) -> Masks:
        """Return the masks moved by an offset in pixels, of run lengths rounded to whole ones."""
        return Masks(mask.moved(x, y) for mask in self._masks)

    def scaled(self, x_factor: float, y_factor: float) -> Masks:
        """Return the masks on an image of another size, whose sides are larger by these factors.

        Raises:
            FormatsError: If a factor is not positive and finite.
        """
        if not (0 < x_factor < math.inf and 0 < y_factor < math.inf):
            raise FormatsError(f"expected positive factors to scale by, got {x_factor} and {y_factor}")
        return Masks(mask.scaled(x_factor, y_factor) for mask in self._masks)

    def clipped(self, x0: float, y0: float, x1: float, y1: float) -> Masks:
        """Return the part of each inside an upright window; a `RunMask` without pixels where there is none."""
        return Masks(mask.clipped(x0, y0, x1, y1) for mask in self._masks)

    def flipped(self, image_size: tuple[float, float], direction: str) -> Masks:
        """Return the masks mirrored with their image, as `rbox_formats.flip` does with boxes.

        Args:
            image_size: (width, height) in pixels.
            direction: "horizontal" exchanges left and right, "vertical" top and bottom, "diagonal" both.

        Raises:
            FormatsError: If the direction is another one.
        """
        check_choice(direction, _FLIPS, "the direction of a flip as")
        width = image_size[0] if direction != "vertical" else None
        height = image_size[1] if direction != "horizontal" else None
        return Masks(mask._mirrored(width, height) for mask in self._masks)

    def turned(self, image_size: tuple[float, float], turns: int = 1) -> Masks:
        """Return the masks turned with their image by quarter turns, as `rbox_formats.rotate90` does with boxes.

        Args:
            image_size: (width, height) in pixels, before it is turned.
            turns: The number of quarter turns, clockwise on the screen; a negative number is counter-clockwise.
        """
        width, height = image_size
        if turns % 4 == 0:
            return self
        if turns % 4 == 2:
            return self.flipped(image_size, "diagonal")
        # A quarter turn clockwise exchanges x and y, and then left and right.
        sides = (height, None) if turns % 4 == 1 else (None, width)
        return Masks(mask._transposed()._mirrored(*sides) for mask in self._masks)
