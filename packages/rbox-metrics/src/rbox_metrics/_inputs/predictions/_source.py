"""What a reader of predictions is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rbox_formats import CONVENTIONS, LE90, ClassNames, Convention, Dataset, ImageRecord
from rbox_formats.errors import quoted

from rbox_metrics.errors import MetricsError

# A detection without a score among others with one has no place in their order; without any, all have the same.
MIXED_REMEDY = "Either all detections of a file have a score, or none has."

# How a box of five numbers may give its angle, by what the commands call it. Any range and any order of sides is
# understood, so that unit and direction are all there is to say.
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
        MetricsError: If it is no name of one.
    """
    if isinstance(given, Convention):
        return given
    named = {**CONVENTIONS, **ANGLES}
    if not isinstance(given, str) or given not in named:
        raise MetricsError(f"expected a convention of angles among {', '.join(named)}, got {quoted(given)}")
    return named[given]


@dataclass(frozen=True, kw_only=True)
class Predictions(Dataset):
    """Detections from a file, an image a record.

    Attributes:
        kind: The name of the file's kind as `read_predictions` lists them, or of a dataset format.
        has_empty_images: Whether the kind can say that an image was seen and nothing found on it. Where it cannot, an
            image without detections is one that the file does not name.
        angles: How boxes of five numbers gave their angle, as a name in `ANGLES`; None where there are none, or the
            kind itself says it.
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
    """What is known beside the file.

    Attributes:
        class_names: What the detections' labels index, or None where nobody said.
        image_ids: The truth's names of images by the numbers that its COCO file has for them, and by the numbers that
            are their names.
        categories: The names of classes by the numbers that the truth's COCO file has for them, or None without one.
        convention: How boxes of five numbers give their angle, for kinds that do not say; None: as the kind's reader
            takes them where nobody says.
        split: The part of a dataset.
        sizes: (width, height) of the truth's images by their ids, for kinds that count in shares of them.
        truth_names: The truth's classes, for kinds that have only numbers.
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
    """A file or folder to read, and what is known beside it."""

    path: Path
    context: Context
