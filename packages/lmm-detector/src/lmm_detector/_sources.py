"""The datasets of a run: opened, brought to one list of classes, with their images.

The settings are checked with what is here, also where only `--help` is asked for: numpy and the formats load later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lmm_detector.errors import ConfigError

if TYPE_CHECKING:
    from rbox_formats import ClassNames, ImageRecord


@dataclass(frozen=True)
class Source:
    """Where one dataset lies.

    Attributes:
        path: Its folder or file.
        format: Its format.
        split: A part of it, where it has parts.
        image_folder: Where its images are, if not where the format has them.
    """

    path: str
    format: str = "dota"
    split: str | None = None
    image_folder: str | None = None


def sources(
    paths: Sequence[str], formats: Sequence[str], splits: Sequence[str] | None, image_folders: Sequence[str] | None
) -> list[Source]:
    """Return a dataset for each path; what is given once holds for all of them.

    Raises:
        ConfigError: If there are neither one nor as many of something as there are paths.
    """

    def each(name: str, values: Sequence[str] | None) -> list[str | None]:
        if not values:
            return [None] * len(paths)
        if len(values) not in (1, len(paths)):
            raise ConfigError(f"expected 1 {name} or {len(paths)}, one for each data_path, got {len(values)}")
        return list(values) if len(values) == len(paths) else [*values] * len(paths)

    columns = (each("format", formats), each("split", splits), each("image_folder", image_folders))
    return [
        Source(path, format or "dota", split, folder)
        for path, format, split, folder in zip(paths, *columns, strict=True)
    ]


def open_sources(
    places: Sequence[Source], class_names: Sequence[str] | None = None
) -> tuple[ClassNames, list[list[ImageRecord]]]:
    """Return the records of each dataset that have an image, all labelled by one list of classes.

    Args:
        places: The datasets.
        class_names: The classes. None: those of the datasets, in the order in which they come first; names that differ
            only in case, '-', '_' and spaces are one class.

    Raises:
        DatasetError: If a dataset is not as its format says, or none of its images is there.
    """
    from rbox_formats import ClassNames, datasets

    opened = [datasets.read(place.format, place.path, place.split, class_names) for place in places]
    names = ClassNames(class_names) if class_names is not None else joined(dataset.class_names for dataset in opened)
    return names, [
        _relabelled(datasets.with_images(dataset, place.image_folder), dataset.class_names, names)
        for dataset, place in zip(opened, places, strict=True)
    ]


def joined(lists: Iterable[ClassNames]) -> ClassNames:
    """Return all classes of several lists, each once."""
    from rbox_formats import ClassNames

    found: list[str] = []
    for names in lists:
        known = ClassNames(found)
        found += [name for name in names if known.find(name) is None]
    return ClassNames(found)


def _relabelled(records: list[ImageRecord], source: ClassNames, target: ClassNames) -> list[ImageRecord]:
    import numpy as np

    table = np.array([target.find(name) for name in source], dtype=np.int64)
    if (table == np.arange(len(table))).all():
        return records
    return [replace(record, labels=table[record.labels]) for record in records]
