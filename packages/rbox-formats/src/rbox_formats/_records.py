"""One image's boxes, the names of their classes, and a dataset as a stream of such records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rbox_formats._geometry import quad_to_rbox, rbox_to_quad
from rbox_formats.errors import ClassNameError, FormatsError
from rbox_formats.typing import BoxesN, BoxesOrQuadsN, FlagsN, LabelsN, QuadsN, ScoresN


def _normalised(name: str) -> str:
    return "".join(name.replace("-", " ").replace("_", " ").split()).casefold()


# A record, or what a package makes of one; typing.Self is not known to what checks annotations in the tests.
Record = TypeVar("Record", bound="ImageRecord")


class ClassNames(tuple[str, ...]):
    """The names of a dataset's classes; a label is an index into them.

    Lookup disregards case, '-', '_' and spaces.

    >>> names = ClassNames(["plane", "small-vehicle"])
    >>> names.find("Small Vehicle"), names.find("tram")
    (1, None)

    Raises:
        ClassNameError: If a name is empty, two of them differ only in what lookup disregards, or they are one text.
    """

    _index: dict[str, int]

    def __new__(cls, names: Iterable[str]) -> ClassNames:
        if isinstance(names, str):  # whose letters are no classes
            raise ClassNameError(f"expected a list of class names, got the text {names!r}")
        self = super().__new__(cls, names)
        self._index = {}
        for label, name in enumerate(self):
            key = _normalised(name)
            if not key:
                raise ClassNameError(f"expected a class name, got {name!r} as name {label}")
            if key in self._index:
                raise ClassNameError(f"expected distinct class names, got {self[self._index[key]]!r} and {name!r}")
            self._index[key] = self._index[name] = label
        return self

    def __getnewargs__(self) -> tuple[tuple[str, ...]]:
        return (tuple(self),)

    def find(self, name: str) -> int | None:
        """The label of a name, or None where there is none."""
        label = self._index.get(name)
        return self._index.get(_normalised(name)) if label is None else label


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """One image and the boxes on it, in pixels of the image.

    Attributes:
        image_id: What names the image within its dataset.
        boxes: (N, 5) float64 as (cx, cy, w, h, angle), `le90`, radians, clockwise positive.
        labels: (N,) int64, indices into the dataset's class names.
        quads: (N, 4, 2) float64 as annotated, or None where the format has boxes only.
        difficult: (N,) bool.
        scores: (N,) float64, or None for annotations and for detectors that give none.
        path: The image's file, or None where a label file stands without it.
        width: In pixels, or None where the file is not there to tell.
        height: In pixels, or None.
        metadata: What the format says of the image and the record has no name for; writers give it back.
    """

    image_id: str
    boxes: BoxesN
    labels: LabelsN
    quads: QuadsN | None = None
    difficult: FlagsN = None  # type: ignore[assignment]  # none are, where nobody says: filled in below
    scores: ScoresN | None = None
    path: Path | None = None
    width: int | None = None
    height: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.difficult is None:
            object.__setattr__(self, "difficult", np.zeros(n, dtype=bool))
        columns = {"labels": self.labels, "quads": self.quads, "difficult": self.difficult, "scores": self.scores}
        for name, column in columns.items():
            if column is not None and len(column) != n:
                raise FormatsError(f"expected as many {name} as boxes ({n}) on {self.image_id!r}, got {len(column)}")

    @classmethod
    def from_quads(cls, image_id: str, quads: QuadsN, labels: LabelsN, **fields: Any) -> ImageRecord:
        """A record of annotated quads (N, 4, 2), with the minimum-area rectangle of each as its box."""
        return cls(image_id=image_id, boxes=quad_to_rbox(quads), quads=quads, labels=labels, **fields)

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, for what cannot do without.

        Raises:
            FormatsError: If the image is not there to tell.
        """
        if self.width is None or self.height is None:
            raise FormatsError(f"expected an image for {self.image_id!r}, whose size matters here; found none")
        return self.width, self.height

    @property
    def file(self) -> Path:
        """The image's file, for what cannot do without.

        Raises:
            FormatsError: If there is none.
        """
        if self.path is None:
            raise FormatsError(f"expected an image file for {self.image_id!r}, found none")
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
        """The record with only some of its objects: a mask (N,) or indices, in their order."""

        def pick(column: Any) -> Any:
            return None if column is None else column[which]

        return replace(
            self,
            boxes=self.boxes[which],
            labels=self.labels[which],
            quads=pick(self.quads),
            difficult=self.difficult[which],
            scores=pick(self.scores),
        )


def _as_it_is(record: ImageRecord) -> ImageRecord:
    return record


@dataclass(frozen=True)
class Dataset:
    """A dataset's images one after the other, each read when it is asked for.

    Attributes:
        class_names: What the labels index.
        sources: What `load` takes, one per image: small, such as a path.
        load: Reads one image's record. Default: the sources are the records.
    """

    class_names: ClassNames
    sources: Sequence[Any]
    load: Callable[[Any], ImageRecord] = _as_it_is

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> ImageRecord:
        return self.load(self.sources[index])

    def __iter__(self) -> Iterator[ImageRecord]:
        return map(self.load, self.sources)
