"""DOTA's submissions: a text file per class, `Task1_<class>.txt`, of a detection a line.

    image score x1 y1 x2 y2 x3 y3 x4 y4

The corners are in pixels of the whole image. The files are in a folder or a zip, or one file alone. The class is in the
file's name, where '-' may stand for a space; an image without detections is in no file.

Source: captain-whu.github.io/DOTA/tasks.html ("Submission Format"); MMRotate's DOTAMetric and ultralytics'
OBBValidator write the same.
"""

from __future__ import annotations

from array import array
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rbox_formats import ClassNames, ImageRecord, quad_to_rbox
from rbox_formats.errors import DatasetError, listed, quoted
from rbox_formats.parsing.lines import (
    LARGEST,
    NO_COMMAS,
    LineError,
    not_utf8,
    parse_lines,
    parse_numbers,
    plain_digits,
    split_lines,
)

from rbox_metrics._inputs.predictions._members import members
from rbox_metrics._inputs.predictions._source import Predictions, Source
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import FloatsN, IntsN, QuadsN

PREFIX = "Task1_"
_LINE = "A line reads: image score x1 y1 x2 y2 x3 y3 x4 y4"


class _Class(NamedTuple):
    """A file's class and detections: image ids, scores (N,) and corners (N, 4, 2)."""

    label: int
    images: list[str]
    scores: Any
    quads: Any


def read(source: Source) -> Predictions:
    """Read a submission; see `read_predictions`."""
    found = {}
    for path in members(source.path, ".txt"):
        if path.name.startswith(PREFIX):
            found[path.stem.removeprefix(PREFIX)] = (path, *_parse(path))
    if not found:
        raise MetricsError(f"expected files {PREFIX}<class>.txt, found none", path=source.path)
    names = ClassNames(sorted(found)) if source.context.class_names is None else source.context.class_names
    labelled: list[_Class] = []
    for name, (path, images, scores, quads) in found.items():
        label = names.find(name)
        if label is None:
            raise MetricsError(
                f"expected a class among {listed(names)}, got {quoted(name)} as the file's name",
                path=path,
                remedy="Give the detector's classes, and map them to those of the ground truth.",
            )
        labelled.append(_Class(label, images, scores, quads))
    records = _by_image(sorted(labelled, key=lambda of_class: of_class.label))
    return Predictions.of(names, records, "dota-task1", has_empty_images=False)


def _parse(path: Path) -> tuple[list[str], FloatsN, QuadsN]:
    """Return image ids, scores (N,) and corners (N, 4, 2) of one file."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(content, error, path) from error
    except OSError as error:
        raise DatasetError(f"expected a file that can be read, got: {error.strerror}", path=path) from error
    lines = split_lines(text)
    rows = [fields for line in lines if (fields := line.split())]
    numbers = _at_once(rows)
    if numbers is None:
        rows = parse_lines(lines, _fields, path)
        numbers = np.array([_numbers(row) for row in rows], dtype=np.float64).reshape(-1, 9)
    return [row[0] for row in rows], numbers[:, 0], numbers[:, 1:].reshape(-1, 4, 2)


def _at_once(rows: list[list[str]]) -> np.ndarray | None:
    """Return the numbers (N, 9) of a file without faults, several times faster than by line; else None."""
    if any(len(row) != 10 for row in rows):
        return None
    fields = list(chain.from_iterable(row[1:] for row in rows))
    if not plain_digits("".join(fields)):
        return None
    try:
        numbers = np.frombuffer(array("d", map(float, fields)))
    except ValueError:
        return None
    return numbers.reshape(-1, 9) if not len(numbers) or np.abs(numbers).max() <= LARGEST else None  # nor is nan


def _fields(line: str) -> list[str]:
    fields = line.split()
    if len(fields) != 10:
        remedy = f"{NO_COMMAS} {_LINE}" if "," in line else _LINE
        if len(fields) == 6:
            remedy = f"These may be upright boxes, as of DOTA's Task 2. {_LINE}"
        raise LineError(f"expected an image, a score and 8 coordinates, got {len(fields)} fields", remedy)
    _numbers(fields)
    return fields


def _numbers(fields: list[str]) -> list[float]:
    return [*parse_numbers(fields[1:2], "a score", _LINE), *parse_numbers(fields[2:], "8 coordinates", _LINE)]


def _by_image(labelled: list[_Class]) -> list[ImageRecord]:
    """Return a record per image, by their ids: detections are in the order of the classes, then of the lines."""
    ids = [image_id for of_class in labelled for image_id in of_class.images]
    number = {image_id: index for index, image_id in enumerate(sorted(set(ids)))}
    image_index: IntsN = np.array([number[image_id] for image_id in ids], dtype=np.int64)
    order = np.argsort(image_index, kind="stable")
    labels = np.repeat([of_class.label for of_class in labelled], [len(of_class.images) for of_class in labelled])[
        order
    ]
    scores = np.concatenate([of_class.scores for of_class in labelled])[order]
    quads = np.concatenate([of_class.quads for of_class in labelled])[order]
    boxes = quad_to_rbox(quads)
    bounds = np.searchsorted(image_index[order], np.arange(len(number) + 1))
    return [
        ImageRecord(image_id, boxes[first:last], labels[first:last], quads=quads[first:last], scores=scores[first:last])
        for image_id, (first, last) in zip(number, pairwise(bounds), strict=True)
    ]
