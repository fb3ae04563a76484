"""Ultralytics' `predict save_txt save_conf`: a text file per image on which something was found.

    class x1 y1 x2 y2 x3 y3 x4 y4 confidence

`class` is a number from 0; corners are shares of the image's size. The files are in `labels` in the run's folder, or in
the folder itself. These are read too:

- lines without a confidence (without `save_conf`), and lines that end with the number of a track (`track`);
- `class cx cy w h` with or without a confidence, which a detector of upright boxes writes;
- pixels instead of shares, if a coordinate is more than 10 image sizes outside (yolov5_obb's `detect.py`); and, in
  pixels, `class cx cy w h angle` with or without a confidence: Ultralytics' `obb.xywhr`, with the angle in radians,
  clockwise on the screen, in any range.

Shares need the size of the image: that in the ground truth, or that of the picture which the run saved beside `labels`.
The class names are read from `data.yaml` or `classes.txt` in the run's folder or the one above it. Without such a file,
the numbers are taken for the ground truth's classes in their order, and the log says so: this is right only if the
detector has the same list.

An image without detections has no file.

Source: ultralytics 8.4, ultralytics/engine/results.py (`Results.save_txt`) and engine/predictor.py (which file it is);
hukaixuan19970627/yolov5_obb, detect.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rbox_formats import ClassNames, ImageRecord, convert, images, quad_to_rbox, rbox_to_quad
from rbox_formats.datasets import yolo_obb
from rbox_formats.errors import listed, quoted
from rbox_formats.parsing.lines import LineError, parse_index, parse_lines, parse_numbers, read_text, split_lines

from rbox_metrics._inputs.predictions._members import members
from rbox_metrics._inputs.predictions._source import MIXED_REMEDY, Predictions, Source
from rbox_metrics.errors import MetricsError

FOLDERS = ("labels",)
_NO_LABELS = "classes.txt"
_LINE = "A line reads: class x1 y1 x2 y2 x3 y3 x4 y4 confidence"
_SHOWN = 5  # classes in the log

_logger = logging.getLogger("rbox_metrics")


class _Found(NamedTuple):
    """A detection: the number of its class, its place (8, 5 or 4 numbers), and its score."""

    number: int
    place: list[float]
    score: float | None


def looks_like(path: Path) -> bool:
    """Return whether a text file has such lines: a class's number, then other numbers. Only the first line is read."""
    try:
        fields = next((line.split() for line in split_lines(read_text(path)) if line.strip()), [])
        return 4 <= len(parse_numbers(fields[1:], "numbers")) <= 10 and parse_index(fields[0], "a class") >= 0
    except (LineError, ValueError, IndexError):
        return False


def read(source: Source) -> Predictions:
    """Read a folder of text files; see `read_predictions`."""
    context = source.context
    within = source.path / FOLDERS[0]
    folder = within if within.is_dir() else source.path
    paths = [path for path in members(folder, ".txt") if path.name != _NO_LABELS]
    if not paths:
        raise MetricsError("expected text files, one per image, found none", path=source.path)
    lines = {path: split_lines(read_text(path)) for path in paths}
    places = [field for of_file in lines.values() for line in of_file for field in line.split()[1:5]]
    in_pixels = any(abs(value) > 1 + yolo_obb.FARTHEST for field in places if (value := _number(field)) is not None)
    names = context.class_names or _names_beside(source.path)
    if names is None and context.truth_names is not None:
        names = context.truth_names
        shown = ", ".join(f"{number} {name}" for number, name in enumerate(names[:_SHOWN]))
        _logger.warning(
            "%s: class numbers are taken for those of the ground truth (%s%s); if the detector has others, put its "
            "data.yaml there",
            source.path.name,
            shown,
            ", ..." if len(names) > _SHOWN else "",
        )
    if names is None:
        remedy = "Put the data.yaml that the detector was trained with, or classes.txt, into the folder."
        raise MetricsError("the files have only numbers of classes, no names", path=source.path, remedy=remedy)
    size_of = partial(_size, sizes=context.sizes or {}, beside=_pictures(source.path))
    records = [_record(path, lines[path], names, None if in_pixels else size_of) for path in paths]
    scored = {record.scores is not None for record in records if len(record)}
    if len(scored) > 1:
        raise MetricsError("some files have confidences and others do not", path=source.path, remedy=MIXED_REMEDY)
    return Predictions.of(names, records, "ultralytics", has_empty_images=False)


def _number(field: str) -> float | None:
    try:
        return float(field)
    except ValueError:
        return None


def _folders(path: Path) -> list[Path]:
    """Return where the other files of a run may be: its folder, and the one above."""
    folder = path if path.is_dir() else path.parent
    folder = folder.parent if folder.name in FOLDERS else folder
    return [folder, folder.absolute().parent]


def _names_beside(path: Path) -> ClassNames | None:
    return next((names for folder in _folders(path) if (names := yolo_obb.names_beside(folder)) is not None), None)


def _pictures(path: Path) -> dict[str, Path]:
    """Return the image files beside the labels."""
    folder = _folders(path)[0]
    return {image.stem: image for part in (folder / "images", folder) for image in images.find(part)}


def _size(path: Path, sizes: Mapping[str, tuple[int, int]], beside: Mapping[str, Path]) -> tuple[int, int]:
    if path.stem in sizes:
        return sizes[path.stem]
    if path.stem in beside:
        return images.read_size(beside[path.stem])
    raise MetricsError(
        f"expected an image {quoted(path.stem)} in the ground truth, or beside the labels, found none",
        path=path,
        remedy="Coordinates are relative to the image's size: name the dataset that was predicted on, with its images.",
    )


def _record(
    path: Path, lines: list[str], names: ClassNames, size_of: Callable[[Path], tuple[int, int]] | None
) -> ImageRecord:
    found = parse_lines(lines, partial(_detection, names=names, in_pixels=size_of is None), path)
    width, height = (1, 1) if size_of is None or not found else size_of(path)
    quads = np.array([_quad(one.place, width, height) for one in found], dtype=np.float64).reshape(-1, 4, 2)
    scores = [one.score for one in found]
    if None in scores and any(score is not None for score in scores):
        raise MetricsError("some lines have a confidence and others do not", path=path, remedy=MIXED_REMEDY)
    return ImageRecord(
        path.stem,
        quad_to_rbox(quads),
        np.array([one.number for one in found], dtype=np.int64),
        quads=quads,
        scores=None if None in scores else np.array(scores, dtype=np.float64),
    )


def _detection(line: str, names: ClassNames, in_pixels: bool) -> _Found:
    fields = line.split()
    number = parse_index(fields[0], "the class")
    numbers = parse_numbers(fields[1:], f"{len(fields) - 1} numbers", _LINE)
    if number >= len(names):
        remedy = "Put the data.yaml that the detector was trained with, or classes.txt, into the folder."
        raise LineError(f"expected a class from 0 to {len(names) - 1} ({listed(names)}), got {number}", remedy)
    # From how many numbers there are to how many of them give the place.
    lengths = {5: 5, 6: 5} if in_pixels else {4: 4, 5: 4, 6: 4}
    length = {**lengths, 4: 4, 8: 8, 9: 8, 10: 8}.get(len(numbers))
    if length is None:
        raise LineError(f"expected a class, 8 coordinates and perhaps a confidence, got {len(fields)} fields", _LINE)
    place, rest = numbers[:length], numbers[length:]
    if not in_pixels and not max(map(abs, place)) <= 1 + yolo_obb.FARTHEST:
        raise LineError(f"expected coordinates divided by the image's size, got {quoted(' '.join(fields[1:]))}", _LINE)
    if length in (4, 5) and min(place[2:4]) < 0:
        raise LineError(f"expected sides that are not negative, got {quoted(' '.join(fields[3:5]))}", _LINE)
    if rest and not 0 <= rest[0] <= 1:
        remedy = "The number of a track must come after a confidence (save_conf)." if rest[0] == int(rest[0]) else _LINE
        raise LineError(f"expected a confidence from 0 to 1, got {fields[length + 1]}", remedy)
    return _Found(number, place, rest[0] if rest else None)


def _quad(place: list[float], width: int, height: int) -> list[float]:
    """Return corners in pixels, eight numbers, from corners as shares of the image's size."""
    if len(place) == 5:
        return [float(value) for value in rbox_to_quad(convert(np.array(place), "le90", "le90")).ravel()]
    if len(place) == 4:
        cx, cy, w, h = place
        x0, y0, x1, y1 = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
        place = [x0, y0, x1, y0, x1, y1, x0, y1]
    return [share * (height if i % 2 else width) for i, share in enumerate(place)]
