"""Datasets without some of their classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rbox_formats import ClassNames, Dataset, ImageRecord, datasets


def read(
    format: str, root: str | Path, split: str | None, class_names: Sequence[str], left_out: Sequence[str] = ()
) -> Dataset:
    """Open a dataset, and leave out the objects of some classes.

    Args:
        format: A name in `rbox_formats.datasets.FORMATS`.
        root: The dataset's folder or file.
        split: A part of it, where it has parts.
        class_names: The classes that the labels are indices of.
        left_out: The other classes that its annotations have.

    Raises:
        RboxError: As `rbox_formats.datasets.read`.
    """
    found = datasets.read(format, root, split, [*class_names, *left_out])

    def load(source: Any) -> ImageRecord:
        record = found.load(source)
        return record.select(record.labels < len(class_names))

    return Dataset(ClassNames(class_names), found.sources, load) if left_out else found
