"""`load_results`: the detections in the pickles of MMRotate's `tools/test.py --out`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from rbox_formats import ClassNames, ImageRecord, files, predictions
from rbox_formats.errors import quoted

from rbox_baselines._parts._records import to_record
from rbox_baselines._tools import _unpickling
from rbox_baselines._tools._unpickling import Array
from rbox_baselines.errors import ResultsError

_SHOWN = 3  # of images that do not fit
_WIDTHS = (4, 5, 8)  # upright, rotated, quads


def load_results(
    path: str | Path, class_names: Iterable[str] | None = None, *, image_ids: Sequence[str] | None = None
) -> list[ImageRecord]:
    """Read the detections in a pickle that MMRotate wrote, without running what is in it.

    Two forms are known. MMRotate 1.x (mmengine's DumpResults, mmdet's DumpDetResults) has a dict for each image, with
    its id, its size and `pred_instances`. MMRotate 0.x has for each image a list with an array (N, 6) for each class,
    (cx, cy, w, h, angle, score), and does not say which image it is.

    Boxes are those of the original image, as MMRotate writes them; any of its angle ranges is understood, and brought
    to `le90`. Quads, as Gliding Vertex gives them, are kept beside the rectangles around them.

    Args:
        path: The pickle.
        class_names: The classes that the labels are indices of, to check the labels. None: any label is accepted.
        image_ids: The images in the order in which they were tested, for results of 0.x. Results of 1.x name their
            images: by `img_id`, or, where that is a number, as from a COCO file, by the image file's name.

    Returns:
        A record for each image, in the order of the file, with scores.

    Raises:
        ResultsError: If the file is no pickle of detections, asks for anything but tensors, arrays and plain values
            (nothing of it is run), has an image twice, or a label beyond the classes.
    """
    path = files.as_path(path, ResultsError)
    found = _unpickling.load(path)
    if not isinstance(found, list | tuple):
        raise ResultsError(f"expected a list with the detections of each image, got {_kind(found)}", path=path)
    if found and all(isinstance(image, list | tuple) for image in found):
        records = _old_records(found, image_ids, path)
    else:
        records = [_record(image, number, path) for number, image in enumerate(found)]
    names = None if class_names is None else ClassNames(class_names)
    _check(records, names, path)
    return records


def check_images(records: Sequence[ImageRecord], known: Iterable[str], path: str | Path) -> None:
    """Make sure that detections are of a dataset.

    Args:
        records: The detections.
        known: The ids of the dataset's images.
        path: The file of the detections.

    Raises:
        ResultsError: If there are images that the dataset does not have: the first few are named.
    """
    ids = set(known)
    unknown = [record.image_id for record in records if record.image_id not in ids]
    if unknown:
        named = ", ".join(map(repr, unknown[:_SHOWN])) + (", ..." if len(unknown) > _SHOWN else "")
        raise ResultsError(
            f"expected images of the dataset, got {len(unknown)} of {len(records)} that it does not have: {named}",
            path=path,
            remedy="Name the dataset and the part that the detections were made on (--data, --format, --split). An "
            "image's id is its file's name without the ending"
            + (f", such as {quoted(min(ids))} in this dataset." if ids else "; this dataset has no images."),
        )


def write_predictions(
    records: Iterable[ImageRecord], class_names: ClassNames, out: str | Path, *, source: Path, dataset: dict[str, Any]
) -> None:
    """Write detections as `predictions.jsonl`, whole or not at all.

    Args:
        records: The detections.
        class_names: The classes that the labels are indices of.
        out: The file to write.
        source: The pickle that they are of; its hash is the fingerprint.
        dataset: What they were made on, for the header.
    """
    with source.open("rb") as file:
        fingerprint = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    header = predictions.Header(class_names, fingerprint, generation={"results": source.name}, dataset=dataset)
    with files.replacing(out) as temporary, predictions.Writer(temporary, header) as writer:
        for record in records:
            writer.write(record)


def _record(image: Any, number: int, path: Path) -> ImageRecord:
    """Return the record of one image, as MMRotate 1.x writes it."""
    instances = image.get("pred_instances") if isinstance(image, dict) else None
    if not isinstance(instances, dict):
        raise ResultsError(
            f"expected a dict with 'pred_instances', got {_kind(image)} for image {number}",
            path=path,
            remedy="Results are what MMRotate's tools/test.py --out writes.",
        )
    boxes, labels, scores = (_column(instances, name, number, path) for name in ("bboxes", "labels", "scores"))
    height, width = _size(image.get("ori_shape"), number, path)
    return _to_record(_image_id(image, number, path), boxes, labels, scores, (width, height), f"image {number}", path)


def _column(instances: dict[str, Any], name: str, number: int, path: Path) -> np.ndarray:
    value = instances.get(name)
    if not isinstance(value, Array) or value.values is None:
        raise ResultsError(f"expected a tensor {quoted(name)} of image {number}, got {_kind(value)}", path=path)
    return value.values


def _size(shape: Any, number: int, path: Path) -> tuple[int, int]:
    """Return the height and width that a result states."""
    sides = list(shape[:2]) if isinstance(shape, list | tuple) else []
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise ResultsError(f"expected 'ori_shape' of image {number} as (height, width), got {quoted(shape)}", path=path)
    return sides[0], sides[1]


def _image_id(image: dict[str, Any], number: int, path: Path) -> str:
    name = image.get("img_id")
    if isinstance(name, str) and name:
        return name
    file = image.get("img_path")
    if not isinstance(file, str) or not file:
        raise ResultsError(f"expected 'img_id' or 'img_path' of image {number}, got neither", path=path)
    return PurePosixPath(file.replace("\\", "/")).stem


def _old_records(found: Sequence[Any], image_ids: Sequence[str] | None, path: Path) -> list[ImageRecord]:
    """Return the records of all images, as MMRotate 0.x writes them."""
    if image_ids is None:
        raise ResultsError(
            f"expected results that name their images, got {len(found)} without names, as MMRotate 0.x writes them",
            path=path,
            remedy="Give the images' ids in the order in which they were tested (--image-ids FILE, a name on each "
            'line): in MMRotate 0.x these are [info["filename"] for info in dataset.data_infos], without endings.',
        )
    if len(image_ids) != len(found):
        raise ResultsError(f"expected as many image ids as images ({len(found)}), got {len(image_ids)}", path=path)
    return [_old_record(classes, name, path) for classes, name in zip(found, image_ids, strict=True)]


def _old_record(classes: Sequence[Any], name: str, path: Path) -> ImageRecord:
    rows = [each.values if isinstance(each, Array) else None for each in classes]
    widths = {array.shape[1] if array is not None and array.ndim == 2 else None for array in rows}
    if len(widths) != 1 or not widths <= {width + 1 for width in _WIDTHS}:
        raise ResultsError(f"expected an array (N, 6) for each class of {quoted(name)}, got others", path=path)
    values = np.concatenate([array for array in rows if array is not None])
    labels = np.repeat(np.arange(len(rows)), [len(array) for array in rows if array is not None])
    return _to_record(name, values[:, :-1], labels, values[:, -1], None, repr(name), path)


def _to_record(
    image_id: str,
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    size: tuple[int, int] | None,
    where: str,
    path: Path,
) -> ImageRecord:
    n = len(boxes) if boxes.ndim else -1
    if boxes.ndim != 2 or boxes.shape[1] not in _WIDTHS or labels.shape != (n,) or scores.shape != (n,):
        shapes = ", ".join(str(each.shape) for each in (boxes, labels, scores))
        raise ResultsError(
            f"expected boxes (N, 5) or (N, 8), labels (N,) and scores (N,) of {where}, got {shapes}", path=path
        )
    if labels.dtype.kind not in "iu" or labels.min(initial=0) < 0:
        raise ResultsError(f"expected labels from 0 on of {where}, got others", path=path)
    return to_record(image_id, boxes, labels, scores, size=size)


def _check(records: Sequence[ImageRecord], class_names: ClassNames | None, path: Path) -> None:
    seen: set[str] = set()
    for record in records:
        if record.image_id in seen:
            raise ResultsError(f"expected each image once, got {quoted(record.image_id)} again", path=path)
        seen.add(record.image_id)
        highest = int(record.labels.max(initial=-1))
        if class_names is not None and highest >= len(class_names):
            raise ResultsError(
                f"expected labels of {len(class_names)} classes, got {highest} on {quoted(record.image_id)}",
                path=path,
                remedy="Name the classes that the model was trained with, in its order (--class-names), or the "
                "dataset that it was made for (--format).",
            )


def _kind(value: object) -> str:
    return f"a dict with {', '.join(map(str, list(value)[:5]))}" if isinstance(value, dict) else type(value).__name__
