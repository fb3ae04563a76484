"""Go through a dataset once: counts, sizes, angles, suspicious objects, and files that cannot be read."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rbox_formats import images
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.errors import ImageError, RboxError
from rbox_formats.inspection._checks import CHECKS, THRESHOLDS, Objects, reaches_outside
from rbox_formats.progress import showing, track

SMALL, MEDIUM = 32.0**2, 96.0**2
"""COCO's bounds on an object's area, px²: small below the first, large from the second on. Here the area is that of the
rotated box; in COCO it is that of the object's mask."""

ANGLE_STEP = 5
"""The width of the bins in which angles are counted, in degrees; a bin is around a multiple of it."""

LONG_SIDES = tuple(2.0 ** (k / 2) for k in range(1, 28))
"""The borders of the bins in which long sides are counted, px, half an octave each. The first bin is below the first
border, the last one from the last border on."""


_LISTS = ("classes", "suspicious", "broken", "turned", "on_its_side")


class ClassSummary(NamedTuple):
    """One class's objects; the sides are in px, and None where there are no objects."""

    name: str
    objects: int
    difficult: int
    images: int
    shortest_long_side: float | None
    median_long_side: float | None
    longest_long_side: float | None
    median_short_side: float | None
    small: int
    medium: int
    large: int


class Suspicion(NamedTuple):
    """One suspicious object.

    Attributes:
        kind: A name in `CHECKS`.
        image_id: The image that it is on.
        image_index: The index of the image in the dataset, from 0: `dataset[image_index]` reads it again.
        object_index: The index of the object on the image, from 0, in the order of the annotation.
        class_name: Its class.
        reason: What is suspicious.
        centre: The mean of its corners, px.
        file: The annotation file, or None if it is unknown.
    """

    kind: str
    image_id: str
    image_index: int
    object_index: int
    class_name: str
    reason: str
    centre: tuple[float, float]
    file: str | None


class Broken(NamedTuple):
    """A file that could not be read, or an annotation that breaks the rules of its format: the first fault in it."""

    file: str
    error: str


class Turned(NamedTuple):
    """An image whose pixels are turned as its file notes; boxes are of the turned image.

    Attributes:
        image_id: The image.
        file: Its file.
        orientation: EXIF's number, 2 to 8.
    """

    image_id: str
    file: str
    orientation: int


class OnItsSide(NamedTuple):
    """An annotation with the width and height of its image exchanged: it may mean the pixels as stored.

    Attributes:
        image_id: The image.
        file: The annotation file, or None if it is unknown.
        stated: (width, height) in the annotation.
        size: (width, height) of the image.
    """

    image_id: str
    file: str | None
    stated: tuple[int, int]
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a dataset holds.

    >>> from rbox_formats import Dataset, ImageRecord, inspection
    >>> record = ImageRecord("harbour", boxes=[[50, 40, 30, 10, 0]], labels=[0], width=100, height=80)
    >>> found = inspection.inspect(Dataset(["ship"], [record]))
    >>> found.objects_per_image, found.smallest_image, found.classes[0].median_long_side
    (array([1]), (100, 80), 30.0)

    Attributes:
        class_names: What the dataset's labels index.
        classes: A summary of each, in that order.
        objects_per_image: (I,) of the images that could be read, in order.
        smallest_image: Width and height of the image of the least area, px; None where no size is known.
        largest_image: As before, of the largest area.
        without_file: How many images have an annotation and no file.
        without_size: How many images' sizes are unknown, so that nothing is known to be outside of them.
        angles: (36,): how many objects have a `le90` angle within 2.5 degrees of -90, -85, ... 85, positive clockwise.
            The first counts both ends, from -90 up and below 90, which are one direction.
        long_sides: (28,): how many objects have a long side between two neighbours in `LONG_SIDES`.
        partly_outside: How many objects reach more than a pixel beyond their image and are on it with another part.
        suspicious: What `CHECKS` found, image by image; an object may be there more than once.
        broken: What could not be read.
        turned: The images that are turned as their files note.
        on_its_side: The annotations whose own size is that of the image on its side.
        passed_over: What annotations say that is not read, with how often: see `ImageRecord.passed_over`.
        unlabelled: The image files that no annotation file claims; see `Dataset.unmatched`.
        without_image: The annotation files whose image is not there, where others have one.
        with_masks: How many objects have a mask.
    """

    class_names: ClassNames
    classes: tuple[ClassSummary, ...]
    objects_per_image: np.ndarray
    smallest_image: tuple[int, int] | None
    largest_image: tuple[int, int] | None
    without_file: int
    without_size: int
    angles: np.ndarray
    long_sides: np.ndarray
    partly_outside: int
    suspicious: tuple[Suspicion, ...]
    broken: tuple[Broken, ...]
    turned: tuple[Turned, ...] = ()
    on_its_side: tuple[OnItsSide, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)
    unlabelled: tuple[str, ...] = ()
    without_image: tuple[str, ...] = ()
    with_masks: int = 0

    @property
    def objects(self) -> int:
        """How many objects there are."""
        return int(self.objects_per_image.sum())

    @property
    def kinds(self) -> dict[str, int]:
        """How many suspicions there are of each kind, in the order of `CHECKS`."""
        counts = Counter(each.kind for each in self.suspicious)
        return {kind: counts[kind] for kind in CHECKS}

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values for JSON."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        named = {name: [each._asdict() for each in values[name]] for name in _LISTS}
        arrays = {name: value.tolist() for name, value in values.items() if isinstance(value, np.ndarray)}
        images: dict[str, Any] = {"images": len(self.objects_per_image), "objects": self.objects, "kinds": self.kinds}
        images["thresholds"] = dict(THRESHOLDS)
        return images | values | {"class_names": list(self.class_names)} | arrays | named


class Inspector:
    """Counts records as they go by; keeps a few numbers of each object, and no record.

    >>> from rbox_formats import ClassNames, ImageRecord, inspection
    >>> inspector = inspection.Inspector(ClassNames(["ship"]))
    >>> inspector.add(ImageRecord("harbour", boxes=[[50, 40, 30, 10, 0]], labels=[0]), 0)
    >>> inspector.result().classes[0].objects
    1

    Args:
        class_names: What the records' labels index.
    """

    def __init__(self, class_names: ClassNames) -> None:
        self.class_names = class_names
        # 21 bytes an object, so that a million take 21 MB.
        self._labels, self._long, self._short, self._angles = array("i"), array("f"), array("f"), array("f")
        self._difficult = array("b")
        self._images_of_class = np.zeros(len(class_names), dtype=np.int64)
        self._per_image = array("i")
        self._sizes: list[tuple[int, int]] = []
        self._without_file = self._without_size = self._partly_outside = 0
        self._suspicious: list[Suspicion] = []
        self._broken: list[Broken] = []
        self._turned: list[Turned] = []
        self._on_its_side: list[OnItsSide] = []
        self._passed_over: Counter[str] = Counter()
        self._with_masks = 0

    def add(self, record: ImageRecord, index: int, file: Path | None = None) -> None:
        """Count one image.

        Args:
            record: The image.
            index: Which it is in its dataset.
            file: Its annotation's.
        """
        # Absurd coordinates are what is looked for: they may overflow.
        with np.errstate(over="ignore", invalid="ignore"):
            self._count(record)
            self._look_at_image(record, file)
            if len(record):
                self._look_at(record, index, file)

    def _count(self, record: ImageRecord) -> None:
        boxes = record.boxes.astype(np.float32)
        for column, values in (
            (self._labels, record.labels.astype(np.int32)),
            (self._long, boxes[:, 2]),
            (self._short, boxes[:, 3]),
            (self._angles, boxes[:, 4]),
            (self._difficult, record.difficult.astype(np.int8)),
        ):
            column.frombytes(values.tobytes())
        self._images_of_class[np.unique(record.labels)] += 1
        self._per_image.append(len(record))
        self._passed_over.update(record.passed_over)
        self._with_masks += len(record) if record.masks is not None else 0
        self._without_file += record.path is None
        if record.width is None or record.height is None:
            self._without_size += 1
        elif (size := record.size) not in self._sizes[:2]:
            self._sizes = sorted({*self._sizes, size}, key=lambda each: each[0] * each[1])
            self._sizes = [self._sizes[0], self._sizes[-1]]

    def _look_at(self, record: ImageRecord, image_index: int, file: Path | None) -> None:
        objects = Objects.of(record)
        self._partly_outside += int(np.count_nonzero(reaches_outside(objects)))
        for kind, check in CHECKS.items():
            for index, reason in check(objects).items():
                x, y = objects.quads[index].mean(axis=0).tolist()
                suspicion = Suspicion(
                    kind=kind,
                    image_id=record.image_id,
                    image_index=image_index,
                    object_index=index,
                    class_name=self.class_names[int(record.labels[index])],
                    reason=reason,
                    centre=(x, y),
                    file=None if file is None else str(file),
                )
                self._suspicious.append(suspicion)

    def _look_at_image(self, record: ImageRecord, file: Path | None) -> None:
        if record.path is None:
            return
        with suppress(ImageError):  # a file that is no image any more is for who reads its pixels
            if (orientation := images.read_orientation(record.path)) != 1:
                self._turned.append(Turned(record.image_id, str(record.path), orientation))
        stated, size = record.stated_size, (record.width, record.height)
        if stated is not None and stated != size and stated[::-1] == size:
            where = None if file is None else str(file)
            self._on_its_side.append(OnItsSide(record.image_id, where, stated, record.size))

    def add_broken(self, file: Path | str, error: Exception) -> None:
        """Note a file that could not be read."""
        self._broken.append(Broken(str(file), str(error)))

    def result(self) -> Inspection:
        """Return the inspection of what was added so far."""
        labels = np.asarray(self._labels)
        columns = np.asarray(self._long), np.asarray(self._short), np.asarray(self._difficult)
        order = np.argsort(labels, kind="stable")
        starts = np.searchsorted(labels[order], np.arange(len(self.class_names) + 1))
        classes = []
        for label, name in enumerate(self.class_names):
            its = order[starts[label] : starts[label + 1]]
            long, short, difficult = (column[its] for column in columns)
            classes.append(_summary(name, long, short, difficult, int(self._images_of_class[label])))
        bins = 180 // ANGLE_STEP
        degrees = np.degrees(np.asarray(self._angles, dtype=np.float64))
        turned = np.rint(degrees / ANGLE_STEP).astype(np.int64) + bins // 2
        sides = np.searchsorted(LONG_SIDES, columns[0], side="right")
        return Inspection(
            class_names=self.class_names,
            classes=tuple(classes),
            objects_per_image=np.array(self._per_image, dtype=np.int64),
            smallest_image=self._sizes[0] if self._sizes else None,
            largest_image=self._sizes[-1] if self._sizes else None,
            without_file=self._without_file,
            without_size=self._without_size,
            angles=np.bincount(turned % bins, minlength=bins),
            long_sides=np.bincount(sides, minlength=len(LONG_SIDES) + 1),
            partly_outside=self._partly_outside,
            suspicious=tuple(self._suspicious),
            broken=tuple(self._broken),
            turned=tuple(self._turned),
            on_its_side=tuple(self._on_its_side),
            passed_over=dict(self._passed_over),
            with_masks=self._with_masks,
        )


def _summary(name: str, long: Any, short: Any, difficult: Any, images: int) -> ClassSummary:
    if not len(long):
        return ClassSummary(name, 0, 0, images, None, None, None, None, 0, 0, 0)
    areas = long.astype(np.float64) * short
    small, medium = (int(np.count_nonzero(areas < bound)) for bound in (SMALL, MEDIUM))
    return ClassSummary(
        name=name,
        objects=len(long),
        difficult=int(np.count_nonzero(difficult)),
        images=images,
        shortest_long_side=float(long.min()),
        median_long_side=float(np.median(long)),
        longest_long_side=float(long.max()),
        median_short_side=float(np.median(short)),
        small=small,
        medium=medium - small,
        large=len(long) - medium,
    )


def inspect(dataset: Dataset, *, progress: bool = False) -> Inspection:
    """Go through a dataset once, one image at a time.

    A file that cannot be read does not end it: it is listed, with the first fault in it, and the next one is read.

    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import datasets, inspection, synthetic
    >>> with TemporaryDirectory() as folder:
    ...     scenes = synthetic.write_scenes(folder, None, [0, 1], synthetic.SceneConfig(size=128))
    ...     dataset = datasets.read("dota", folder, class_names=synthetic.SceneConfig().class_names)
    ...     found = inspection.inspect(dataset)
    >>> len(found.objects_per_image), len(found.suspicious), len(found.broken)
    (2, 0, 0)

    Args:
        dataset: Opened by `datasets.read`.
        progress: Shows a progress bar on standard error.
    """
    inspector = Inspector(dataset.class_names)
    with showing(progress):
        for index, source in enumerate(track(dataset.sources, "reading")):
            file = file_of(source)
            try:
                record = dataset.load(source)
            except (RboxError, OSError) as error:
                inspector.add_broken(file or f"image {index}", error)
            else:
                inspector.add(record, index, file)
    apart = dataset.unmatched
    return replace(
        inspector.result(),
        unlabelled=tuple(map(str, apart.images)),
        without_image=tuple(map(str, apart.labels)) if apart.image_count else (),
    )


def file_of(source: Any) -> Path | None:
    """Return the annotation's file from a source of a dataset: a path, what has one, or the first that does.

    >>> file_of(Path("labelTxt/P0001.txt")).name
    'P0001.txt'
    """
    if isinstance(source, tuple):
        return next((file for file in map(file_of, source) if file is not None), None)
    path = source if isinstance(source, Path) else getattr(source, "path", None)
    return path if isinstance(path, Path) else None
