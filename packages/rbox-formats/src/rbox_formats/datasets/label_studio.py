"""Label Studio: one JSON file of tasks, each an image with the regions that were drawn on it.

    [{"id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-P0001.png"},
      "annotations": [{"result": [
          {"id": "x1", "type": "rectanglelabels", "from_name": "label", "to_name": "image",
           "original_width": 1000, "original_height": 500, "image_rotation": 0,
           "value": {"x": 20, "y": 20, "width": 30, "height": 20, "rotation": 90, "rectanglelabels": ["ship"]}}, ...]}],
      "predictions": []}, ...]

Coordinates are percents of the image's sides. An object's quad is, by what is in `value`,

- `x`, `y`, `width`, `height`, `rotation`: the rectangle whose first corner is (x, y), turned around that corner by
  `rotation` degrees, clockwise on the screen; the first corner of the quad is that one;
- `points`: its four points, of any other number from three the corners of the least rectangle around them;
- `x`, `y`, `radiusX`, `radiusY`, `rotation`: the rectangle around the ellipse, turned around its centre.

Brushes and keypoints, and regions without a label, are left out and counted in the log. Percents are of the image's
size; where its file is not there, of `original_width` and `original_height`.

Read are the tool's exports "JSON" and "JSON-MIN", in which each annotation is a flat object:

    [{"image": "...", "id": 1, "label": [{"x": 20, ..., "rectanglelabels": ["ship"], "original_width": 1000, ...}],
      "annotator": 1, "annotation_id": 1, "created_at": "...", "updated_at": "...", "lead_time": 3.2}, ...]

Of several annotations of one task the one marked `ground_truth` counts, else the one changed last; cancelled ones do
not. A task without any has not been looked at: it is left out, and counted in the log. Where no task has an annotation,
the file holds a detector's findings, and `predictions` are read, with the scores of the regions.

An image is looked for by the path in `data`, which may be a URL or Label Studio's own: as the whole of it, and without
its first folders, down to the name; and without the eight digits that the tool puts before the names of uploaded files.
Its id is that name without suffix, or, if two are equal, the path after the folders that all have, such as
"cam1/0001", with the digits of uploaded files. What `data` says, and the task's `id`, is the record's metadata and is
written back.
An object is difficult where its region's text (`meta`) has the word "difficult", which JSON-MIN leaves out.

Written is "JSON": rectangles as such, other quads as polygons; records with scores as predictions, which the tool shows
as pre-annotations, others as annotations. The option `predictions` (`datasets.write(..., options=)`, `--to-option`)
says whether all are predictions: a detector's findings may be without scores, and an image on which it found nothing
is not yet looked at. `convert` sets it for the format `predictions`. The images' paths are those that they came with,
else "/data/local-files/?d=images/P0001.png", for a tool whose LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT is the dataset's
folder. The labeling configuration must have the names `label` (RectangleLabels), `polygon` (PolygonLabels) and `image`
(Image).

On disk: the file itself as `root`, or `<root>/<split>.json`, without a split `<root>/tasks.json` or the only JSON file
there; images in `images/<split>`, `images` or beside the file. Without a list of classes they are the labels in the
file, sorted. The file is parsed whole when the dataset is opened; writing holds one record at a time.

Source: labelstud.io/guide/task_format and /guide/export; HumanSignal/label-studio-sdk,
src/label_studio_sdk/converter/converter.py (`annotation_result_from_task`, `convert_to_json_min`) and utils.py
(`convert_annotation_to_yolo_obb`).
"""

from __future__ import annotations

import base64
import binascii
import itertools
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

import numpy as np

from rbox_formats import files
from rbox_formats._geometry import quad_around
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import _names
from rbox_formats.datasets._folders import ImageFile
from rbox_formats.datasets._images import find_first, image_name, is_name_of, without_common
from rbox_formats.datasets._one_file import Layout, annotation_file, written_file
from rbox_formats.datasets._rectangles import Rectangle, as_rectangle, corners_of
from rbox_formats.errors import DatasetError, listed, quoted
from rbox_formats.images import SUFFIXES, stem_of
from rbox_formats.parsing import json_values
from rbox_formats.parsing.json_values import Value
from rbox_formats.parsing.lines import CORRECT_OR_NAME

__all__ = ["images", "read", "write"]

_LAYOUT = Layout(by_split=("{split}.json",), whole=("tasks.json", "annotations.json"))
_LABELS = ("rectanglelabels", "polygonlabels", "ellipselabels", "labels")
_OTHER_LABELS = ("brushlabels", "keypointlabels", "vectorlabels", "bitmasklabels")
_RECTANGLE, _ELLIPSE = ("x", "y", "width", "height"), ("x", "y", "radiusX", "radiusY")
_SIZES = ("original_width", "original_height")
_FARTHEST = 1000.0  # percents of the image's sides that a region may reach beyond it
_UPLOADED = re.compile(r"[0-9a-f]{4,8}-(?=.)")  # eight digits of a random number
_WORD = "difficult"
# The keys that JSON-MIN adds to the task's own data and the regions.
_MIN_KEYS = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement")
_EXPORT = 'Choose "JSON" or "JSON-MIN" as the export of the project.'

_logger = logging.getLogger("rbox_formats")


class _Region(NamedTuple):
    """An object: its place, its other entries (in JSON-MIN the same entry), its label, and a score or None."""

    place: Value
    about: Value
    label: Value
    score: float | None


class _Task(NamedTuple):
    """An image: the entry that names it, its id, its objects, and its other data."""

    image: Value
    image_id: str
    regions: list[_Region]
    metadata: Mapping[str, Any]


def read(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open an export of Label Studio; see `rbox_formats.datasets.read`."""
    path, folder = annotation_file(root, split, _LAYOUT)
    document = json_values.read(path)
    left_out: Counter[str] = Counter()
    tasks = _tasks([document] if isinstance(document.value, dict) else list(document.items()), left_out)
    if not tasks:
        raise DatasetError("expected tasks with annotations or predictions, found none", path=path, remedy=_EXPORT)
    tasks = _told_apart(tasks)
    used = (region.label.text() for task in tasks for region in task.regions)
    names = _names.used(used) if class_names is None else class_names
    for what, count in left_out.items():
        _logger.warning("%s: left out %d %s", path.name, count, what)
    folders = [folder / part for part in ([f"images/{split}", split] if split else [])]
    load = partial(_load, root=folder, folders=[*folders, folder / "images", folder], class_names=names)
    return Dataset(names, tasks, load)


def _told_apart(tasks: list[_Task]) -> list[_Task]:
    """Return the tasks with ids that differ: if two images have the same name, by their folders too."""
    if len({task.image_id for task in tasks}) < len(tasks):
        parts = [_parts(task.image.text()) for task in tasks]
        folders = without_common([part[:-1] for part in parts])
        ids = ["/".join([*inner, stem_of(part[-1])]) for inner, part in zip(folders, parts, strict=True)]
        tasks = [task._replace(image_id=image_id) for task, image_id in zip(tasks, ids, strict=True)]
    seen: set[str] = set()
    for task in tasks:
        if task.image_id in seen:
            raise task.image.error("an image that no other task has, up to its suffix")
        seen.add(task.image_id)
    return tasks


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    root = root.parent if root.suffix == ".json" else root
    return root / "images" / files.safe_name(split, root) if split else root / "images"


# Tasks, as both exports have them.


def _tasks(entries: Sequence[Value], left_out: Counter[str]) -> list[_Task]:
    if any(entry.has("annotation_id") for entry in entries) and not any(entry.has("data") for entry in entries):
        return _flat_tasks(entries, left_out)
    opened = []
    for entry in entries:
        if not entry.has("data"):
            raise entry.error("a task with its 'data', as Label Studio exports it", _EXPORT)
        key = "annotations" if entry.has("annotations") or not entry.has("completions") else "completions"
        opened.append((entry, _chosen(entry, key)))
    looked_at = [pair for pair in opened if pair[1] is not None]
    if looked_at and len(looked_at) < len(opened):
        left_out["tasks without an annotation"] += len(opened) - len(looked_at)
    if not looked_at:
        looked_at = [(entry, found) for entry, _ in opened if (found := _chosen(entry, "predictions")) is not None]
    tasks = []
    for entry, annotation in looked_at:
        assert annotation is not None
        results = list(annotation["result"].items()) if annotation.has("result") else []
        places = [(result["value"], result) for result in results if result.has("value")]
        overall = annotation["score"].number() if annotation.has("score") else None
        data = entry["data"]
        if not isinstance(data.value, dict):
            raise data.error("an object")
        metadata = {**data.value, **({"id": entry.value["id"]} if entry.has("id") else {})}
        image = _image_in(data, data.value)
        tasks.append(_Task(image, _id_of(image), _regions(places, overall, left_out), metadata))
    return tasks


def _chosen(entry: Value, key: str) -> Value | None:
    """Return the annotation that counts among those under a key: the ground truth, else the one changed last."""
    given = list(entry[key].items()) if entry.has(key) else []
    given = [
        one for one in given if not any(one.has(flag) and one[flag].flag() for flag in ("was_cancelled", "skipped"))
    ]
    marked = [one for one in given if one.has("ground_truth") and one["ground_truth"].flag()]
    return max(reversed(marked or given), key=_time, default=None)


def _time(annotation: Value) -> str:
    """Return when it was changed, as a text that sorts by time: ISO format, or seconds in old exports."""
    value = next((annotation.value[key] for key in ("updated_at", "created_at") if annotation.has(key)), "")
    return f"{value:020.3f}" if isinstance(value, int | float) else str(value)


def _flat_tasks(entries: Sequence[Value], left_out: Counter[str]) -> list[_Task]:
    """Read the tasks of JSON-MIN, an entry per annotation."""
    by_id: dict[Any, Value] = {}
    for number, entry in enumerate(entries):
        if not entry.has("annotation_id"):
            left_out["tasks without an annotation"] += 1
            continue
        task = entry["id"].integer() if entry.has("id") else ("without", number)
        if task not in by_id or _time(by_id[task]) <= _time(entry):
            by_id[task] = entry
    tasks = []
    for entry in by_id.values():
        lists = {key: value for key, value in entry.value.items() if isinstance(value, list)}
        places = [(value, value) for key in lists for value in entry[key].items() if isinstance(value.value, dict)]
        data = {key: value for key, value in entry.value.items() if key not in (*_MIN_KEYS, *lists)}
        image = _image_in(entry, data)
        metadata = {**data, **({"id": entry.value["id"]} if entry.has("id") else {})}
        tasks.append(_Task(image, _id_of(image), _regions(places, None, left_out), metadata))
    return tasks


def _regions(places: Sequence[tuple[Value, Value]], score: float | None, left_out: Counter[str]) -> list[_Region]:
    """Return the objects among results, which also hold choices and texts, each with its region."""
    regions, unlabelled, seen = [], [], set()
    for place, about in places:
        key = next((name for name in _LABELS if place.has(name) and place.value[name] != []), None)
        shape = _shape_of(place)
        if key is None:
            if any(place.has(name) for name in _OTHER_LABELS):
                left_out["regions that are no rectangles, polygons or ellipses"] += 1
            elif shape is not None and set(place.value) <= {*shape, *_SIZES, *_LABELS, "rotation", "closed", "type"}:
                unlabelled.append(_geometry(place, shape))
        elif shape is None:
            left_out["regions that are no rectangles, polygons or ellipses"] += 1
        else:
            if len(labels := list(place[key].items())) != 1:
                raise place[key].error("one label", "A region is one object: take the others away.")
            own = about["score"].number() if about is not place and about.has("score") else score
            regions.append(_Region(place, about, labels[0], own))
            seen.add(_geometry(place, shape))
    # If shapes and labels are two tags of the tool, each region occurs twice: with its label and without it.
    if missing := sum(geometry not in seen for geometry in unlabelled):
        left_out["regions without a label"] += missing
    return regions


def _shape_of(place: Value) -> tuple[str, ...] | None:
    """Return the keys that define a region's shape; None for brushes and keypoints."""
    return next((keys for keys in (_RECTANGLE, _ELLIPSE, ("points",)) if all(map(place.has, keys))), None)


def _geometry(place: Value, keys: tuple[str, ...]) -> str:
    return repr([place.value[key] for key in keys])


# Images.


def _image_in(holder: Value, data: Mapping[str, Any]) -> Value:
    """Return the entry of a task's data that names its image: "image", else the first text with an image suffix."""
    keys = [key for key, value in data.items() if isinstance(value, str) and _parts(value)[-1:]]
    keys = [key for key in keys if _parts(data[key])[-1].lower().endswith(SUFFIXES)] or keys
    if not keys:
        raise holder.error("the path of an image in the task's data")
    return holder["image" if "image" in keys else keys[0]]


def _parts(url: str) -> list[str]:
    """Return the names of the folders and the file that a task's data means."""
    try:
        split = urlsplit(url.replace("\\", "/"))
        query = parse_qs(split.query)
    except ValueError:  # looks like a network address, but is not one
        return []
    if split.scheme == "data":  # the image's content
        return []
    path = unquote(split.path)
    if "d" in query:  # the tool's own files
        path = query["d"][0]
    elif "fileuri" in query:  # files in a cloud, which the tool fetches
        try:
            path = unquote(urlsplit(base64.b64decode(query["fileuri"][0], altchars=b"-_").decode()).path)
        except (ValueError, binascii.Error):
            return []
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _id_of(image: Value) -> str:
    """Return an image's id: its name without suffix and without the prefix of an uploaded file."""
    name = _parts(image.text())[-1]
    return stem_of(_UPLOADED.sub("", name, count=1) if "/upload/" in image.text() else name)


def _may_be(image_id: str, given: str, parts: Sequence[str]) -> bool:
    """Return whether an image with this path in a task may have the id."""
    return _id_of(Value(given, Path())) == image_id or is_name_of("/".join(parts), image_id)


def _find(image: Value, image_id: str, root: Path, folders: Sequence[Path]) -> ImageFile:
    parts = _parts(image.text())
    # With fewer parts than the id has, it would be another image's name, too.
    names = ["/".join(parts[first:]) for first in range(len(parts) - image_id.count("/"))]
    if "/upload/" in image.text() and image_id == _id_of(image):
        names.append(_UPLOADED.sub("", parts[-1], count=1))
    return find_first(names, root, folders)


# Records.


def _load(task: _Task, root: Path, folders: Sequence[Path], class_names: ClassNames) -> ImageRecord:
    image = _find(task.image, task.image_id, root, folders)
    stated = next((_stated(region) for region in task.regions if _has_size(region)), None)
    quads, labels, difficult = [], [], []
    for region in task.regions:
        label = class_names.find(region.label.text())
        if label is None:
            remedy = CORRECT_OR_NAME.replace("line", "label")
            raise region.label.error(f"a class among {listed(class_names)}", remedy)
        labels.append(label)
        size = (image.width, image.height) if image.width and image.height else _stated(region)
        quads.append(_quad(region, size))
        difficult.append(_is_difficult(region.about))
    scores = [region.score for region in task.regions]
    width, height = stated or (None, None)
    return ImageRecord.from_quads(
        image_id=task.image_id,
        quads=np.array(quads, dtype=np.float64).reshape(-1, 4, 2),
        labels=np.array(labels, dtype=np.int64),
        difficult=np.array(difficult, dtype=bool),
        scores=None if not scores or None in scores else np.array(scores, dtype=np.float64),
        path=image.path,
        width=image.width if image.path else width,
        height=image.height if image.path else height,
        metadata=task.metadata,
        stated_size=stated,
    )


def _has_size(region: _Region) -> bool:
    return all(map(region.about.has, _SIZES))


def _stated(region: _Region) -> tuple[int, int]:
    if not _has_size(region):
        remedy = "Coordinates are percents of the image's size: put the image into the folder 'images'."
        raise region.about.error(f"the image, or {' and '.join(_SIZES)}", remedy)
    width, height = (region.about[key].side() for key in _SIZES)
    return width, height


def _is_difficult(about: Value) -> bool:
    meta = about["meta"] if about.has("meta") else None
    if meta is None or not isinstance(meta.value, dict) or not meta.has("text"):
        return False
    words = meta.value["text"]
    return _WORD in (words if isinstance(words, list) else [words])


def _quad(region: _Region, size: tuple[int, int]) -> list[float]:
    place, about = region.place, region.about
    if about.has("image_rotation") and about["image_rotation"].number() % 360:
        remedy = "Turn the image back in the tool, or turn its file, and export again."
        raise about["image_rotation"].error("0: places on an image that was turned while drawing are not read", remedy)
    degrees = place["rotation"].number() if place.has("rotation") else 0.0
    width, height = size[0] / 100, size[1] / 100
    if all(map(place.has, _RECTANGLE)):
        x, y, w, h = _percents(place, _RECTANGLE)
        return corners_of(Rectangle(x * width, y * height, w * width, h * height, math.radians(degrees)))
    if all(map(place.has, _ELLIPSE)):
        x, y, a, b = _percents(place, _ELLIPSE)
        angle, a, b = math.radians(degrees), a * width, b * height
        cos, sin = math.cos(angle), math.sin(angle)
        x, y = x * width - a * cos + b * sin, y * height - a * sin - b * cos
        return corners_of(Rectangle(x, y, 2 * a, 2 * b, angle))
    points = list(place["points"].items())
    json_values.require_few_corners(place["points"], len(points))
    if len(points) < 3:
        raise place["points"].error("at least 3 points")
    corners = []
    for point in points:
        if len(numbers := point.numbers()) != 2:
            raise point.error("x and y")
        if max(map(abs, numbers)) > _FARTHEST + 100:
            raise point.error("percents of the image's size")
        corners += [numbers[0] * width, numbers[1] * height]
    return quad_around(corners)


def _percents(place: Value, keys: Sequence[str]) -> Iterator[float]:
    for key in keys:
        number = place[key].number()
        if abs(number) > _FARTHEST + 100 or (key not in ("x", "y") and number < 0):
            raise place[key].error("percents of the image's size, and sides of 0 or more")
        yield number


# Writing.


def write(
    records: Iterable[ImageRecord],
    root: Path,
    split: str | None,
    class_names: ClassNames,
    *,
    predictions: bool | None = None,
) -> Path:
    """Write one file of tasks; see `rbox_formats.datasets.write`.

    Args:
        records: The images and their objects.
        root: The dataset's folder.
        split: A part of the dataset.
        class_names: The class names.
        predictions: Whether the objects are predictions, not annotations. None: where a record has scores.

    Raises:
        FormatsError: If the size of a record's image is unknown, or `predictions` is neither true nor false.
    """
    if not (predictions is None or isinstance(predictions, bool)):
        raise DatasetError(f"expected predictions=true or predictions=false, got {quoted(predictions)}")
    path = written_file(root, split, _LAYOUT)
    folder = f"images/{split}" if split else "images"
    used: set[int] = set()
    free = itertools.count(1)
    with files.replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        stream.write("[")
        for index, record in enumerate(records):
            number = record.metadata.get("id")
            if not isinstance(number, int) or isinstance(number, bool) or number in used:
                number = next(candidate for candidate in free if candidate not in used)
            used.add(number)
            task = {"id": number, "data": _data(record, folder), **_annotation(record, class_names, predictions)}
            stream.write((",\n" if index else "\n") + json_values.dump(task))
        stream.write("\n]\n")
    return path


def _data(record: ImageRecord, folder: str) -> dict[str, Any]:
    others = {key: value for key, value in json_values.holdable(record.metadata).items() if key != "id"}
    name = files.safe_path(image_name(record), Path(folder))
    given = others.pop("image", None)
    own = isinstance(given, str) and (parts := _parts(given)) and _may_be(record.image_id, given, parts)
    # Only if it still means this image, since windows of an image have its metadata as well.
    return {"image": given if own else f"/data/local-files/?d={quote(f'{folder}/{name}')}", **others}


def _annotation(record: ImageRecord, class_names: ClassNames, predictions: bool | None) -> dict[str, Any]:
    width, height = record.size
    results = []
    for i, quad in enumerate(record.corners):
        rectangle = as_rectangle(quad)
        label = class_names[record.labels[i]]
        value: dict[str, Any]
        if rectangle is None:
            points = (quad * [100 / width, 100 / height]).tolist()
            value = {"points": points, "closed": True, "polygonlabels": [label]}
        else:
            x, y, w, h, angle = rectangle
            sides = {"width": w * 100 / width, "height": h * 100 / height, "rotation": math.degrees(angle)}
            value = {"x": x * 100 / width, "y": y * 100 / height, **sides, "rectanglelabels": [label]}
        result: dict[str, Any] = {
            "id": f"r{i}",
            "type": "polygonlabels" if rectangle is None else "rectanglelabels",
            "from_name": "polygon" if rectangle is None else "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": value,
        }
        if record.difficult[i]:
            result["meta"] = {"text": [_WORD]}
        if record.scores is not None:
            result["score"] = float(record.scores[i])
        results.append(result)
    if not (record.scores is not None if predictions is None else predictions):
        return {"annotations": [{"result": results, "was_cancelled": False, "ground_truth": False}]}
    return {"predictions": [{"model_version": "rbox", "result": results}]}
