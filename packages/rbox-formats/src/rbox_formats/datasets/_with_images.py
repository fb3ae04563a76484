"""Select the records of a dataset that have an image, for training and prediction."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

from rbox_formats import images
from rbox_formats._records import Dataset, ImageRecord
from rbox_formats.datasets._folders import images_below
from rbox_formats.errors import DatasetError
from rbox_formats.progress import showing, track

_logger = logging.getLogger("rbox_formats")


def with_images(
    dataset: Dataset, image_folder: str | Path | None = None, *, progress: bool = False
) -> list[ImageRecord]:
    """Return the dataset's records whose image exists.

    >>> from rbox_formats import Dataset, ImageRecord
    >>> with_images(Dataset(["ship"], [ImageRecord("harbour", boxes=[], labels=[], path="harbour.png")]))[0].image_id
    'harbour'

    Args:
        dataset: The dataset.
        image_folder: The folder in which images are found by the records' ids. None: the dataset's own.
        progress: Whether to show progress bars on standard error.

    Raises:
        DatasetError: If no record has an image.
    """
    with showing(progress):
        records = list(track(dataset, "reading annotations"))
    if image_folder is not None:
        if not Path(image_folder).is_dir():
            raise DatasetError("expected a folder with images, found none", path=image_folder)
        files = images_below(Path(image_folder))
        records = [_at(record, files.get(record.image_id)) for record in records]
    found = [record for record in records if record.path is not None]
    if not found:
        raise DatasetError(
            f"none of the {len(records)} annotations has an image file",
            path=image_folder,
            remedy="Images are looked for where the format has them (DOTA: in the folder 'images'), under the names of "
            "the label files; --image-folder names another place.",
        )
    if len(found) < len(records):
        _logger.info("%d of %d images have no file, and are not looked at", len(records) - len(found), len(records))
    return found


def with_image_folder(dataset: Dataset, folder: str | Path) -> Dataset:
    """Look up the dataset's images in a folder by their ids; a record whose image is not there has none.

    Raises:
        DatasetError: If there is no such folder.
    """
    if not Path(folder).is_dir():
        raise DatasetError("expected a folder with images, found none", path=folder)
    found = images_below(Path(folder))
    return Dataset(dataset.class_names, range(len(dataset)), partial(_load_at, dataset=dataset, found=found))


def _load_at(index: int, dataset: Dataset, found: dict[str, Path]) -> ImageRecord:
    record = dataset[index]
    path = found.get(record.image_id)
    # Without its image, a record has the size in its annotation.
    return replace(record, path=None) if path is None else _at(record, path)


def _at(record: ImageRecord, path: Path | None) -> ImageRecord:
    width, height = (None, None) if path is None else images.read_size(path)
    return replace(record, path=path, width=width, height=height)
