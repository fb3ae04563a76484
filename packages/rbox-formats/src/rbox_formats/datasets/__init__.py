"""Dataset formats: `read` and `write`, and a module for each format."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rbox_formats import files
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import (
    _guess,
    coco,
    cvat,
    dior_r,
    dota,
    dronevehicle,
    fair1m,
    geojson,
    hrsc2016,
    label_studio,
    labelme,
    lmmrotate,
    map_layer,
    predictions_file,
    rolabelimg,
    rsar,
    rsdd,
    soda_a,
    srsdd,
    ssdd,
    ucas_aod,
    vedai,
    voc,
    whu,
    ymir,
    yolo_obb,
)
from rbox_formats.datasets._folders import images_by_split
from rbox_formats.datasets._format import Format
from rbox_formats.datasets._guess import Guess
from rbox_formats.datasets._per_image import Annotation
from rbox_formats.datasets._with_images import with_image_folder, with_images
from rbox_formats.errors import DatasetError, RboxError, listed, quoted

_logger = logging.getLogger("rbox_formats")

__all__ = ["FORMATS", "Annotation", "Format", "Guess", "get", "guess", "read", "with_images", "write"]

FORMATS: dict[str, Format] = {
    "coco": Format(coco.read, coco.write, None, coco.images),
    "coco-rotated": Format(coco.read, partial(coco.write, rotated=True), None, coco.images),
    "cvat": Format(cvat.read, cvat.write, None, cvat.images),
    "dior-r": Format(dior_r.read, dior_r.write, dior_r.CLASS_NAMES, dior_r.images),
    "dota": Format(dota.read, dota.write, dota.V1_0, images_by_split, label_folder=True),
    "dota-v1.5": Format(partial(dota.read, version="1.5"), dota.write, dota.V1_5, images_by_split, label_folder=True),
    "dota-v2.0": Format(partial(dota.read, version="2.0"), dota.write, dota.V2_0, images_by_split, label_folder=True),
    "dronevehicle": Format(dronevehicle.read, dronevehicle.write, dronevehicle.CLASS_NAMES, dronevehicle.images),
    "dronevehicle-ir": Format(
        partial(dronevehicle.read, infrared=True),
        partial(dronevehicle.write, infrared=True),
        dronevehicle.CLASS_NAMES,
        partial(dronevehicle.images, infrared=True),
    ),
    "fair1m": Format(fair1m.read, fair1m.write, fair1m.CLASS_NAMES, images_by_split, label_folder=True),
    "geojson": Format(map_layer.read_pixels, geojson.write, None, map_layer.images, write_options=("tolerance",)),
    "geojson-map": Format(
        map_layer.read_map,
        partial(geojson.write, on_map=True),
        None,
        map_layer.images,
        write_options=("tolerance",),
    ),
    "hrsc2016": Format(hrsc2016.read, hrsc2016.write, hrsc2016.SHIP, hrsc2016.images),
    "hrsc2016-l2": Format(hrsc2016.read, hrsc2016.write, hrsc2016.LEVEL_2, hrsc2016.images),
    "hrsc2016-l3": Format(hrsc2016.read, hrsc2016.write, hrsc2016.LEVEL_3, hrsc2016.images),
    "label-studio": Format(
        label_studio.read, label_studio.write, None, label_studio.images, write_options=("predictions",)
    ),
    "labelme": Format(labelme.read, labelme.write, None, labelme.images),
    "lmmrotate": Format(lmmrotate.read, lmmrotate.write, None, lmmrotate.images),
    "lmmrotate-v3": Format(
        partial(lmmrotate.read, codec=lmmrotate.V3),
        partial(lmmrotate.write, codec=lmmrotate.V3),
        None,
        lmmrotate.images,
    ),
    "predictions": Format(predictions_file.read, predictions_file.write, None, predictions_file.images),
    "rolabelimg": Format(rolabelimg.read, rolabelimg.write, None, rolabelimg.images),
    "rsar": Format(rsar.read, rsar.write, rsar.CLASS_NAMES, images_by_split, label_folder=True),
    "rsdd": Format(rsdd.read, rsdd.write, rsdd.CLASS_NAMES, rsdd.images),
    "soda-a": Format(soda_a.read, soda_a.write, soda_a.CLASS_NAMES, soda_a.images),
    "srsdd": Format(srsdd.read, srsdd.write, srsdd.CLASS_NAMES, images_by_split, label_folder=True),
    "ssdd": Format(ssdd.read, ssdd.write, ssdd.CLASS_NAMES, ssdd.images),
    "ucas-aod": Format(ucas_aod.read, ucas_aod.write, ucas_aod.CLASS_NAMES, ucas_aod.images),
    "vedai": Format(vedai.read, vedai.write, vedai.CLASS_NAMES, vedai.images),
    "voc": Format(voc.read, voc.write, None, voc.images),
    "whu": Format(whu.read, whu.write, whu.CLASS_NAMES, whu.images, options=whu.OPTIONS),
    "yolo-obb": Format(
        yolo_obb.read, yolo_obb.write, None, yolo_obb.images_folder, drops_outside=True, label_folder=True
    ),
    "yolov5-obb": Format(
        partial(yolo_obb.read, longside=True),
        partial(yolo_obb.write, longside=True),
        None,
        yolo_obb.images_folder,
        label_folder=True,
    ),
    "ymir": Format(ymir.read, ymir.write, None, ymir.images),
    "ymir-coco": Format(ymir.read, partial(ymir.write, suffix=".json"), None, ymir.images),
    "ymir-pi": Format(partial(ymir.read, unit=ymir.PI), partial(ymir.write, unit=ymir.PI), None, ymir.images),
    "ymir-voc": Format(ymir.read, partial(ymir.write, suffix=".xml"), None, ymir.images),
    "ymir-voc-pi": Format(
        partial(ymir.read, unit=ymir.PI), partial(ymir.write, suffix=".xml", unit=ymir.PI), None, ymir.images
    ),
}


def get(name: str) -> Format:
    """Return the format of a name in `FORMATS`.

    >>> from rbox_formats import datasets
    >>> len(datasets.get("dota").class_names)
    15

    Raises:
        DatasetError: If there is no format of that name.
    """
    if not isinstance(name, str) or name not in FORMATS:
        raise DatasetError(f"expected a dataset format among {', '.join(FORMATS)}, got {quoted(name)}")
    return FORMATS[name]


def guess(root: str | Path, split: str | None = None) -> Guess | None:
    """Return the format that a folder or a file looks like, by trying all; None where none fits.

    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import datasets, synthetic
    >>> with TemporaryDirectory() as folder:
    ...     _ = synthetic.write_scenes(folder, "val", [0], synthetic.SceneConfig(size=128))
    ...     print(datasets.guess(folder))
    Guess(format='dota', split='val', needs_names=False)

    Args:
        root: A dataset's folder, or its file.
        split: The part that is tried first.
    """
    return _guess.guess(files.as_path(root), _in_order(), split)


def _in_order() -> dict[str, Format]:
    return {name: FORMATS[name] for name in _ORDER + tuple(FORMATS)}


def _nearest(root: str | Path, split: str | None = None) -> tuple[Guess, RboxError] | None:
    """Return the format that a folder of no readable one comes nearest to, and what is wrong with it."""
    return _guess.nearest(files.as_path(root), _in_order(), split)


# A format that can also read the files of another comes after it: roLabelImg after VOC, RSDD-SAR after roLabelImg.
# YMIR's index names files of several formats. Coordinates of a map lie on the images that it shows, or on none.
_ORDER = (
    "ymir", "coco", "dota", "dota-v1.5", "dota-v2.0", "yolo-obb", "labelme", "voc", "rolabelimg", "geojson-map",
)  # fmt: skip


def read(
    format: str,
    root: str | Path,
    split: str | None = None,
    class_names: Iterable[str] | None = None,
    *,
    labels: str | None = None,
    image_folder: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Open a dataset; its files are read one image at a time, when asked for.

    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import datasets, synthetic
    >>> with TemporaryDirectory() as folder:
    ...     scenes = synthetic.write_scenes(folder, "val", [0], synthetic.SceneConfig(size=128))
    ...     dataset = datasets.read("dota", folder, "val", class_names=synthetic.SceneConfig().class_names)
    ...     print([(record.image_id, record.size) for record in dataset])
    [('scene_0000', (128, 128))]

    Args:
        format: A name in `FORMATS`.
        root: The dataset's folder, or the file of formats that have one for all images.
        split: A part of the dataset, such as "train"; each format says where it is on disk. None: `root` has no parts.
        class_names: The classes, in the order of their labels. None: the format's own list; if it has none, the names
            in the files.
        labels: The folder of the label files instead of the format's own, such as "labelTxt-v1.5", for formats that
            have one (`Format.label_folder`); relative to the split's folder, with '/' between folders.
        image_folder: The folder in which images are found by the records' ids. None: that of the format.
        options: Further arguments of formats that have some (`Format.options`), by name, such as
            `{"connectivity": 8}` of "whu".

    Raises:
        DatasetError: If the format is unknown or cannot be read, or the folder is missing or empty; while iterating,
            if an annotation is wrong (with file and line).

    Images without an annotation file, and annotation files without an image, are named in the log and in
    `Dataset.unmatched`.
    """
    chosen = get(format)
    if chosen.read is None:
        readable = ", ".join(name for name, entry in FORMATS.items() if entry.read)
        raise DatasetError(f"expected a format that can be read, among {readable}, got {quoted(format)}")
    names = chosen.class_names if class_names is None else ClassNames(class_names)
    reading, root = chosen.read, files.as_path(root)
    if labels is not None:
        if not chosen.label_folder:
            able = ", ".join(name for name, entry in FORMATS.items() if entry.label_folder)
            raise DatasetError(
                f"expected a format whose label folder can have another name, among {able}, got {format}"
            )
        reading = partial(reading, label_folders=("/".join(files.safe_name(part, root) for part in labels.split("/")),))
    reading = _with_options(reading, format, chosen.options, options)
    try:
        found = reading(root, split, names)
    except DatasetError as error:
        looks = guess(root, split)
        if looks is None or (looks.format, looks.split) == (format, split) or looks.needs_names:
            raise
        raise DatasetError(f"{error}\nIt looks like the format {looks.format}: {looks.options}") from error
    if image_folder is not None:
        return with_image_folder(found, image_folder)
    for line in found.unmatched.lines():
        _logger.warning(line)
    return found


def _with_options(
    function: Callable[..., Any], format: str, known: tuple[str, ...], options: Mapping[str, Any] | None
) -> Callable[..., Any]:
    """Return a format's function with options, once it is known to have them."""
    if not options:
        return function
    if unknown := [name for name in options if name not in known]:
        has = listed(known) if known else "none"
        raise DatasetError(f"expected options of the format {format}, which has {has}, got {listed(unknown)}")
    return partial(function, **options)


def write(
    format: str,
    records: Iterable[ImageRecord],
    root: str | Path,
    split: str | None,
    class_names: ClassNames,
    *,
    options: Mapping[str, Any] | None = None,
) -> Path:
    """Write records' annotations in a format; images are not copied.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import ImageRecord, datasets
    >>> record = ImageRecord("harbour", boxes=[[50, 40, 30, 10, 0]], labels=[1])
    >>> with TemporaryDirectory() as folder:
    ...     _ = datasets.write("dota", [record], folder, None, ["plane", "ship"])
    ...     print((Path(folder) / "labelTxt" / "harbour.txt").read_text().strip())
    35 35 65 35 65 45 35 45 ship 0

    Args:
        format: A name in `FORMATS`.
        records: The images and their objects. Annotated quads are written unchanged; for records without quads, the
            corners of the boxes are written.
        root: The dataset's folder, made if it is missing.
        split: A part of the dataset, as in `read`.
        class_names: The class names that the records' labels index.
        options: Further arguments of formats that have some (`Format.write_options`), by name, such as
            `{"tolerance": 1.0}` of "geojson".

    Returns:
        The folder of the annotations, or their file.

    Raises:
        DatasetError: If there is no such format or option, or the format cannot hold the records.
    """
    chosen = get(format)
    writing = _with_options(chosen.write, format, chosen.write_options, options)
    return writing(records, files.as_path(root), split, class_names)
