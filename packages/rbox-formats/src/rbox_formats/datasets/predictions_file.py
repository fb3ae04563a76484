"""`predictions.jsonl` as a dataset: a detector's findings on their way into an annotation tool, or on a map.

`rbox_formats.predictions` says what is in the file. Read are boxes, quads, labels and scores; what a model said, and
with which settings, is not kept. Written is a file without a detector: its header has the classes, and "converted" in
place of a checkpoint's fingerprint. There is no place for what is difficult, nor for metadata.

On disk: the file itself as `root`, or `<root>/<split>.jsonl`, without a split `<root>/predictions.jsonl`; images in
`images/<split>` or `images` beside it, by the images' ids. A file that ends in .parquet is Parquet (which needs the
extra "parquet"); a folder without such a file is read as a run's part files. All is read when the dataset is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from rbox_formats import files
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets._folders import image_file, image_index
from rbox_formats.errors import DatasetError, listed, quoted

__all__ = ["images", "read", "write"]

_FILE, _SUFFIX = "predictions.jsonl", ".jsonl"
_SUFFIXES = (_SUFFIX, ".parquet")
_FINGERPRINT = "converted"


def read(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open a predictions file; see `rbox_formats.datasets.read`."""
    from rbox_formats import predictions  # msgspec loads with it

    if not root.exists():
        remedy = f"Give the file, or the folder that has {_FILE} in it."
        raise DatasetError("expected a dataset folder or a predictions file, found none", path=root, remedy=remedy)
    path = _file(root, split)
    in_parts = root.is_dir() and not path.exists() and split is None and predictions.parts(root)
    found = predictions.stream(root if in_parts else path)
    class_names_of = found.header.class_names
    names = class_names_of if class_names is None else class_names
    labels = [names.find(name) for name in class_names_of]
    if None in labels:
        unknown = quoted(class_names_of[labels.index(None)])
        raise DatasetError(f"expected classes among {listed(names)}, got {unknown} in the header", path=path, line=1)
    folders = [path.parent / "images" / split] if split else []
    image_files = next(
        (index for part in [*folders, path.parent / "images"] if (index := image_index([part], nested=True))), {}
    )
    load = partial(_load, image_files=image_files, labels=np.array(labels, dtype=np.int64))
    return Dataset(names, [replace(record, metadata={}) for record in found], load)


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    folder = _file(root, split).parent / "images"
    return folder / files.safe_name(split, root) if split else folder


def _file(root: Path, split: str | None) -> Path:
    name = files.safe_name(f"{split}{_SUFFIX}", root) if split else _FILE
    return root if root.suffix in _SUFFIXES and not root.is_dir() else root / name


def _load(record: ImageRecord, image_files: dict[str, Path], labels: np.ndarray) -> ImageRecord:
    image = image_file(image_files, record.image_id)
    return replace(
        record,
        labels=labels[record.labels],
        path=image.path,
        width=image.width if image.path else record.width,
        height=image.height if image.path else record.height,
        metadata={},
    )


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write one file; see `rbox_formats.datasets.write`."""
    from rbox_formats import predictions

    path = _file(root, split)

    def plain() -> Iterator[ImageRecord]:
        for record in records:
            files.safe_path(record.image_id, path.parent)
            yield replace(record, metadata={})

    predictions.write(path, predictions.Header(class_names, _FINGERPRINT), plain())
    return path
