"""One image's boxes, the names of their classes, and a dataset as a stream of such records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from rbox_formats._geometry import as_shapes, quad_to_rbox, rbox_to_quad
from rbox_formats.arrays import to_numpy
from rbox_formats.errors import ClassNameError, FormatsError, quoted
from rbox_formats.masks import Masks
from rbox_formats.typing import BoxesN, BoxesOrQuadsN, FlagsN, LabelsN, QuadsN, ScoresN


def _normalised(name: str) -> str:
    return "".join(name.replace("-", " ").replace("_", " ").split()).casefold()


_FLOAT64, _INT64, _BOOL = np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.bool_)
# What is taken where an array of such a type is wanted.
_TAKEN = {_FLOAT64: ("biuf", "numbers"), _INT64: ("iu", "whole numbers"), _BOOL: ("biu", "flags")}
_COLUMNS = (("labels", _INT64, ()), ("quads", _FLOAT64, (4, 2)), ("difficult", _BOOL, ()), ("scores", _FLOAT64, ()))

_ABOUT = ("path", "width", "height", "metadata", "stated_size", "passed_over")
_FIELDS = ("image_id", "boxes", "labels", "quads", "difficult", "scores", *_ABOUT, "masks")

# A record, or what a package makes of one; typing.Self is not known to what checks annotations in the tests.
Record = TypeVar("Record", bound="ImageRecord")


class ClassNames(tuple[str, ...]):
    """The names of a dataset's classes; a label is an index into them.

    Lookup disregards case, '-', '_' and spaces.

    >>> names = ClassNames(["plane", "small-vehicle"])
    >>> names.find("Small Vehicle"), names.find("tram")
    (1, None)

    Raises:
        ClassNameError: If a name is empty or not a text, if two names are equal to lookup, or if a single text is
            given.
    """

    _index: dict[str, int]

    def __new__(cls, names: Iterable[str]) -> ClassNames:
        if isinstance(names, str):  # its letters would become classes
            raise ClassNameError(f"expected a list of class names, got the text {quoted(names)}")
        try:
            self = super().__new__(cls, names)
        except TypeError as error:
            raise ClassNameError(f"expected a list of class names, got {quoted(names)}") from error
        self._index = {}
        for label, name in enumerate(self):
            if not isinstance(name, str):
                raise ClassNameError(f"expected class names as texts, got {quoted(name)} as name {label}")
            key = _normalised(name)
            if not key:
                raise ClassNameError(f"expected a class name, got {quoted(name)} as name {label}")
            if key in self._index:
                raise ClassNameError(
                    f"expected distinct class names, got {quoted(self[self._index[key]])} and {quoted(name)}"
                )
            self._index[key] = self._index[name] = label
        return self

    def __getnewargs__(self) -> tuple[tuple[str, ...]]:
        return (tuple(self),)

    def find(self, name: str) -> int | None:
        """Return the label of a name, or None if there is no such class."""
        label = self._index.get(name)
        return self._index.get(_normalised(name)) if label is None else label


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """One image and the boxes on it, in pixels of the image.

    Columns are given as anything that `rbox_formats.arrays` accepts; the record holds arrays of the types below.

    >>> from rbox_formats import ImageRecord
    >>> record = ImageRecord("harbour", boxes=[[50, 40, 30, 10, 0]], labels=[1])
    >>> len(record), record.corners[0].tolist()
    (1, [[35.0, 35.0], [65.0, 35.0], [65.0, 45.0], [35.0, 45.0]])

    Attributes:
        image_id: The image's name within its dataset.
        boxes: (N, 5) float64 as (cx, cy, w, h, angle), `le90`, radians, clockwise positive.
        labels: (N,) int64, indices into the dataset's class names.
        quads: (N, 4, 2) float64 as annotated, or None where the format has boxes only.
        difficult: (N,) bool. Default: all False.
        scores: (N,) float64, or None for annotations and for detectors that give none.
        path: The image's file, or None if there is a label file without an image.
        width: The image's width in pixels, or None if it is unknown because there is no image file.
        height: The image's height in pixels, or None if it is unknown because there is no image file.
        metadata: What the annotation holds about the image beyond the other fields; writers write it again.
        stated_size: The (width, height) in the annotation itself, or None if it has none. The size of the image file
            is the one that counts; `inspect` compares the two.
        passed_over: What the annotation holds and the record does not, with its number of occurrences: shapes without
            an area, attributes that look like an angle. `inspect` and `convert` report it; writers do not write it.
        masks: `rbox_formats.masks.Masks` of N objects, or None where there are none; given as a list of masks in any
            form that `rbox_formats.masks.as_mask` takes.

    Raises:
        FormatsError: If a column is of another shape, not of numbers, or not as long as the boxes, or a mask is none.
    """

    image_id: str
    boxes: BoxesN
    labels: LabelsN
    quads: QuadsN | None = None
    difficult: FlagsN = None  # type: ignore[assignment]  # default: all False, filled in below
    scores: ScoresN | None = None
    path: Path | None = None
    width: int | None = None
    height: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    stated_size: tuple[int, int] | None = None
    passed_over: Mapping[str, int] = field(default_factory=dict)
    masks: Masks | None = None

    def __init__(  # written out for its types: columns are given as anything, and are arrays from then on
        self,
        image_id: str,
        boxes: ArrayLike,
        labels: ArrayLike,
        quads: ArrayLike | None = None,
        difficult: ArrayLike | None = None,
        scores: ArrayLike | None = None,
        path: Path | None = None,
        width: int | None = None,
        height: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        stated_size: tuple[int, int] | None = None,
        passed_over: Mapping[str, int] | None = None,
        masks: Any = None,  # Masks, or what they are made of
    ) -> None:
        about = (path, width, height, metadata or {}, stated_size, passed_over or {})
        values = (image_id, boxes, labels, quads, difficult, scores, *about, masks)
        for name, value in zip(_FIELDS, values, strict=True):
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __post_init__(self) -> None:
        n = len(self._take("boxes", _FLOAT64, (5,)))
        if self.difficult is None:
            object.__setattr__(self, "difficult", np.zeros(n, dtype=bool))
        for name, dtype, shape in _COLUMNS:
            if getattr(self, name) is not None and (found := len(self._take(name, dtype, shape))) != n:
                raise FormatsError(f"expected as many {name} as boxes ({n}) on {quoted(self.image_id)}, got {found}")
        if self.masks is None:
            return
        if not isinstance(self.masks, Masks):
            object.__setattr__(self, "masks", Masks(self.masks))
        if len(self.masks) != n:
            found = len(self.masks)
            raise FormatsError(f"expected as many masks as boxes ({n}) on {quoted(self.image_id)}, got {found}")

    def _take(self, name: str, dtype: np.dtype, shape: Any) -> np.ndarray:
        """Return a column as an array of its dtype, with rows of its shape, whatever it was given as."""
        given = getattr(self, name)
        if type(given) is np.ndarray and given.dtype is dtype and given.shape[1:] == shape and given.ndim:
            return given
        column = to_numpy(given, name)
        if column.size == 0 and column.ndim == 1:  # an empty list
            column = column.reshape(0, *shape).astype(dtype)
        kinds, what = _TAKEN[dtype]
        fits = column.dtype.kind in kinds
        if not fits or column.shape[1:] != shape or not column.ndim:
            expected = f"{name} as {what} of shape ({', '.join(['N', *map(str, shape)])}{'' if shape else ','})"
            raise FormatsError(f"expected {expected} on {quoted(self.image_id)}, got {column.dtype} {column.shape}")
        column = column.astype(dtype, copy=False)
        object.__setattr__(self, name, column)
        return column

    @classmethod
    def from_quads(cls, image_id: str, quads: ArrayLike, labels: ArrayLike, **fields: Any) -> ImageRecord:
        """Make a record from annotated quads (N, 4, 2), with the minimum-area rectangle of each as its box.

        >>> record = ImageRecord.from_quads("harbour", [[[0, 0], [4, 0], [4, 2], [0, 2]]], labels=[0])
        >>> record.boxes.tolist()
        [[2.0, 1.0, 4.0, 2.0, 0.0]]
        """
        quads = as_shapes(to_numpy(quads, "quads"), "quads")
        return cls(image_id=image_id, boxes=quad_to_rbox(quads), quads=quads, labels=labels, **fields)

    @classmethod
    def from_masks(cls, image_id: str, masks: Masks | Iterable[Any], labels: ArrayLike, **fields: Any) -> ImageRecord:
        """Make a record from masks, with the minimum-area rectangle of each as its box (`Masks.to_rboxes`).

        Objects whose masks have no pixels are left out.

        >>> record = ImageRecord.from_masks("harbour", [[[0, 0, 4, 0, 4, 2, 1, 2, 0, 2]]], labels=[0])
        >>> record.boxes.tolist()
        [[2.0, 1.0, 4.0, 2.0, 0.0]]

        Args:
            image_id: The image's name within its dataset.
            masks: A mask for each object, in any form that `rbox_formats.masks.as_mask` takes.
            labels: (N,) whole numbers.
            **fields: Other fields of the record.
        """
        taken = masks if isinstance(masks, Masks) else Masks(masks)
        record = cls(image_id=image_id, boxes=taken.to_rboxes(), masks=taken, labels=labels, **fields)
        filled = taken.areas > 0
        return record if filled.all() else record.select(filled)

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, for code that needs it.

        Raises:
            FormatsError: If it is unknown, because there is no image file.
        """
        if self.width is None or self.height is None:
            raise FormatsError(f"expected an image for {quoted(self.image_id)}, whose size matters here; found none")
        return self.width, self.height

    @property
    def file(self) -> Path:
        """The image's file, for code that needs it.

        Raises:
            FormatsError: If there is no image file.
        """
        if self.path is None:
            raise FormatsError(f"expected an image file for {quoted(self.image_id)}, found none")
        return self.path

    @property
    def shapes(self) -> BoxesOrQuadsN:
        """The quads as annotated (N, 4, 2) where the format has them, else the boxes (N, 5)."""
        return self.boxes if self.quads is None else self.quads

    @property
    def corners(self) -> QuadsN:
        """The quads as annotated where the format has them, else the boxes' corners (N, 4, 2)."""
        return rbox_to_quad(self.boxes) if self.quads is None else self.quads

    def select(self: Record, which: Any) -> Record:
        """Return the record with only some of its objects: a mask (N,), or indices in the order wanted.

        >>> record = ImageRecord("harbour", boxes=[[50, 40, 30, 10, 0], [9, 9, 4, 2, 0]], labels=[1, 0])
        >>> record.select(record.labels == 0).boxes.tolist()
        [[9.0, 9.0, 4.0, 2.0, 0.0]]
        """

        def pick(column: Any) -> Any:
            return None if column is None else column[which]

        return replace(
            self,
            boxes=self.boxes[which],
            labels=self.labels[which],
            quads=pick(self.quads),
            difficult=self.difficult[which],
            scores=pick(self.scores),
            masks=pick(self.masks),
        )


def _as_it_is(record: ImageRecord) -> ImageRecord:
    return record


@dataclass(frozen=True)
class Unmatched:
    """The images without an annotation file of their name, and the annotation files without an image.

    Attributes:
        images: Image files without an annotation file.
        labels: Annotation files without an image.
        as_empty: Whether images without an annotation file are in the dataset, as images without objects.
        image_count: The number of all images.
        label_count: The number of all annotation files.
        unread: Files of the name of an annotation file without an image, of a kind of images that is not read.
    """

    images: tuple[Path, ...] = ()
    labels: tuple[Path, ...] = ()
    as_empty: bool = False
    image_count: int = 0
    label_count: int = 0
    unread: tuple[Path, ...] = ()

    def lines(self, show: int = 3) -> list[str]:
        """Describe it, with the names of the first few; an empty list where the dataset has no images at all."""
        if not self.image_count:
            return []
        found = []
        if self.images:
            fate = "count as images without objects" if self.as_empty else "are left out"
            some = _some(self.images, show)
            found.append(f"{len(self.images)} of {self.image_count} images have no annotation file and {fate}: {some}")
        if self.labels:
            some = _some(self.labels, show)
            found.append(f"{len(self.labels)} of {self.label_count} annotation files have no image: {some}")
        if self.unread:
            some = _some(self.unread, show)
            found.append(f"{len(self.unread)} images are of a kind that is not read, store them as PNG: {some}")
        return found


def _some(paths: Sequence[Path], show: int) -> str:
    rest = [f"and {len(paths) - show} more"] if len(paths) > show else []
    return ", ".join([*(quoted(path.name, marks=False) for path in paths[:show]), *rest])


@dataclass(frozen=True, repr=False)
class Dataset:
    """A sequence of the records of a dataset, each read when it is asked for.

    >>> from rbox_formats import Dataset, ImageRecord
    >>> dataset = Dataset(["plane", "ship"], [ImageRecord("harbour", boxes=[[50, 40, 30, 10, 0]], labels=[1])])
    >>> [dataset.class_names[label] for record in dataset for label in record.labels]
    ['ship']

    Attributes:
        class_names: The class names that labels index; a list of names becomes `ClassNames`.
        sources: The arguments of `load`, one per image: small, such as a path.
        load: The function that reads one image's record. Default: the sources are the records themselves.
        unmatched: Images and annotation files without a partner, in formats with one annotation file per image.
    """

    class_names: ClassNames
    sources: Sequence[Any]
    load: Callable[[Any], ImageRecord] = _as_it_is
    unmatched: Unmatched = field(default_factory=Unmatched)

    def __post_init__(self) -> None:
        if not isinstance(self.class_names, ClassNames):
            object.__setattr__(self, "class_names", ClassNames(self.class_names))

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> ImageRecord:
        return self.load(self.sources[index])

    def __iter__(self) -> Iterator[ImageRecord]:
        return map(self.load, self.sources)

    def __repr__(self) -> str:
        names = ", ".join(self.class_names[:3]) + (", ..." if len(self.class_names) > 3 else "")
        return f"<{type(self).__name__} of {len(self)} images, {len(self.class_names)} classes: {names}>"

    def labelled(self) -> Dataset:
        """Return the dataset without images that have no annotation file, where such images count as empty ones."""
        if not self.unmatched.as_empty:
            return self
        without = set(self.unmatched.images)
        kept = [source for source in self.sources if source not in without]
        return replace(self, sources=kept, unmatched=replace(self.unmatched, as_empty=False))
