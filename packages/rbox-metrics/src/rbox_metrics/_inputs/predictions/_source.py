"""What a reader of predictions gets, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rbox_formats import CONVENTIONS, LE90, ClassNames, Convention, Dataset, ImageRecord
from rbox_formats.errors import quoted

from rbox_metrics.errors import MetricsError

# A detection without a score has no place in the order of others that have scores.
MIXED_REMEDY = "Either all detections of a file have a score, or none has."

# How a box of five numbers may give its angle, by the commands' name. Any range and any order of sides can be
# converted, so only unit and direction matter.
ANGLES: dict[str, Convention] = {
    "degrees-counter-clockwise": LE90.degrees.counter_clockwise,
    "degrees-clockwise": LE90.degrees,
    "radians-counter-clockwise": LE90.counter_clockwise,
    "radians-clockwise": LE90,
}


def angle_name(convention: Convention) -> str:
    """Return the commands' name of a convention's unit and direction."""
    same = (
        name for name, each in ANGLES.items() if (each.unit, each.clockwise) == (convention.unit, convention.clockwise)
    )
    return next(same)


def convention_of(given: Convention | str) -> Convention:
    """Return a convention by its name in `ANGLES` or in `rbox_formats.CONVENTIONS`.

    Raises:
        MetricsError: If there is no convention of that name.
    """
    if isinstance(given, Convention):
        return given
    named = {**CONVENTIONS, **ANGLES}
    if not isinstance(given, str) or given not in named:
        raise MetricsError(f"expected a convention of angles among {', '.join(named)}, got {quoted(given)}")
    return named[given]


@dataclass(frozen=True, kw_only=True)
class Predictions(Dataset):
    """Detections from a file, with one record per image.

    Attributes:
        kind: The kind of the file, one of those that `read_predictions` lists, or a dataset format.
        has_empty_images: Whether files of this kind name images without detections. In other kinds such images are
            missing.
        angles: How boxes of five numbers give their angle, a name in `ANGLES`; None if there are no such boxes, or if
            the kind has only one convention.
    """

    kind: str
    has_empty_images: bool
    angles: str | None = None

    @classmethod
    def of(
        cls,
        class_names: ClassNames,
        records: list[ImageRecord],
        kind: str,
        *,
        has_empty_images: bool,
        angles: str | None = None,
    ) -> Predictions:
        """Make predictions from records that have all been read."""
        return cls(class_names, records, kind=kind, has_empty_images=has_empty_images, angles=angles)


@dataclass(frozen=True)
class Context:
    """What a reader needs to know that is not in the file.

    Attributes:
        class_names: The detector's classes, in the order of the labels, or None if they are not given.
        image_ids: The ids of the ground truth's images by their numbers: those in its COCO file, or names that are
            numbers.
        categories: The class names by their numbers in the ground truth's COCO file, or None if there is no such file.
        convention: How boxes of five numbers give their angle, for kinds that do not define it. Default: as the kind's
            reader takes them.
        split: The split of a dataset.
        sizes: (width, height) of the ground truth's images by their ids, for kinds with coordinates as shares of them.
        truth_names: The classes of the ground truth, for kinds that have only numbers of classes.
    """

    class_names: ClassNames | None = None
    image_ids: Mapping[int, str] | None = None
    categories: Mapping[int, str] | None = None
    convention: Convention | None = None
    split: str | None = None
    sizes: Mapping[str, tuple[int, int]] | None = None
    truth_names: ClassNames | None = None


@dataclass(frozen=True)
class Source:
    """A file or folder to read, and what is known beside it.

    Attributes:
        path: The file or folder; of several part files, the first.
        context: What is known beside it.
        parts: The part files, for the one kind that has some.
    """

    path: Path
    context: Context
    parts: tuple[Path, ...] = ()
