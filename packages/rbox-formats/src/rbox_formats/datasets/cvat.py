"""CVAT for images 1.1: one XML file for all images of a task or a project, with the shapes that were drawn on them.

    <annotations>
      <version>1.1</version>
      <meta> <task> ... <labels> <label> <name>ship</name> ...
      <image id="0" name="P0001.png" width="1000" height="500">
        <box label="ship" source="manual" occluded="0" xtl="20.00" ytl="30.00" xbr="60.00" ybr="40.00"
             rotation="30.00" z_order="0"> <attribute name="difficult">true</attribute> </box>
        <polygon label="ship" ... points="10.00,20.00;30.00,20.00;30.00,40.00"> </polygon>
        <tag label="cloudy" source="manual"> </tag>
      </image>

Pixels of the image. An object's quad is

- of a `box` the rectangle between its corners, turned around its centre by `rotation` degrees, clockwise on the screen;
- of a `polygon` its four points, of any other number from three the corners of the least rectangle around them;
- of an `ellipse` (`cx cy rx ry`) the rectangle around it, turned like a box;
- of a `mask` (`left top width height` and its pixels) the upright rectangle around it.

Polylines, points, cuboids and skeletons are left out, and counted in the log. A file with tracks, which "CVAT for
video" writes, is refused. The tags of an image, which have no place on it, are in the metadata (`tags`) and written
back.

An object is difficult where its attribute `difficult` is "true"; `score` is read where each object of the image has
one. They are written in the same way; CVAT reads them if its labels have attributes of these names, and drops them
otherwise. Quads that are rectangles are written as boxes, others as polygons. This is how a detector's predictions get
into a task, by "Upload annotations", which finds the images by their names. `occluded`, `z_order`, groups and other
attributes are not kept.

On disk: the file itself as `root`, or `<root>[/<split>]/annotations.xml`, or the only XML file there; images in
`images`, in `images/<subset>` or beside the file. A project's images have a `subset`: it is the split where no folder
has that name. An image's id is its name without folders and suffix, or its path if two names are equal; a name with
folders is kept in the metadata (`name`).

Without a list of classes they are the labels of the task, except those of tags, in its order. The file is parsed when
the dataset is opened; writing holds one record at a time.

Source: docs.cvat.ai, "XML annotation format"; cvat-ai/cvat, cvat/apps/dataset_manager/formats/cvat.py
(`dump_as_cvat_annotation`, `load_anno`).
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rbox_formats import archives, files
from rbox_formats._geometry import quad_around, rbox_to_quad, upright_quad
from rbox_formats._records import ClassNames, Dataset, ImageRecord, _normalised
from rbox_formats.datasets._images import find_first, ids_of, image_name, is_name_of
from rbox_formats.datasets._per_image import Annotation
from rbox_formats.datasets._rectangles import Rectangle, as_rectangle
from rbox_formats.errors import DatasetError, listed, quoted
from rbox_formats.images import stem_of
from rbox_formats.parsing import xml_elements
from rbox_formats.parsing.lines import MOST_CORNERS, shortest
from rbox_formats.parsing.xml_elements import Element, ElementError

__all__ = ["images", "read", "write"]

_FILE = "annotations.xml"
_SHAPES = ("box", "polygon", "ellipse", "mask")
_OTHERS = ("polyline", "points", "cuboid", "skeleton")
_DIFFICULT, _SCORE = "difficult", "score"
_FLAGS = {"true": True, "1": True, "false": False, "0": False, "": False}
_EXPORT = 'Choose "CVAT for images 1.1" as the export format.'

_logger = logging.getLogger("rbox_formats")


class _Image(NamedTuple):
    """An image's id, its name in the file, its subset, and its metadata."""

    image_id: str
    name: str
    subset: str | None
    annotation: Annotation


def read(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open an export of CVAT; see `rbox_formats.datasets.read`."""
    path, subset = _file(root, split)
    left_out: Counter[str] = Counter()

    def parse(element: Element) -> tuple[ClassNames, list[_Image]]:
        _require_images(element)
        names = _names_in(element) if class_names is None else class_names
        return names, list(_images(element, names, subset, left_out))

    names, found = xml_elements.read(path, parse)
    if subset is not None and not found:
        subsets = xml_elements.read(path, lambda element: {image.get("subset", "") for image in element.iter("image")})
        remedy = f"It has the subsets {listed(sorted(subsets - {''}))}." if subsets - {""} else "Leave --split out."
        raise DatasetError(f"expected images of the subset {quoted(subset)}, found none", path=path, remedy=remedy)
    if left_out:
        counts = ", ".join(f"{count} of <{tag}>" for tag, count in sorted(left_out.items()))
        _logger.warning("%s: left out what is no box, polygon, ellipse or mask: %s", path.name, counts)
    return Dataset(names, found, partial(_load, root=path.parent))


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    root = root.parent if root.suffix == ".xml" else root
    return (root / files.safe_name(split, root) if split else root) / "images"


def _file(root: Path, split: str | None) -> tuple[Path, str | None]:
    """Return the file, and the subset of its images that is meant."""
    if root.is_file():
        if archives.is_archive(root):
            raise DatasetError("expected an XML file or a folder, got a zip", path=root, remedy="Unpack it first.")
        return root, split
    if not root.is_dir():
        remedy = f"Give the file, or the folder that has {_FILE} in it."
        raise DatasetError("expected a dataset folder or an XML file, found none", path=root, remedy=remedy)
    if split is not None and (found := _only_xml(root / files.safe_name(split, root))) is not None:
        return found, None
    if (found := _only_xml(root)) is not None:
        return found, split
    inside = sorted(path.parent.name for path in root.glob(f"*/{_FILE}") if not path.parent.name.startswith("."))
    remedy = f"It has the splits {listed(inside)}: choose one (--split)." if inside else "Give the file itself."
    raise DatasetError(f"expected a file {_FILE}, found none", path=root, remedy=remedy)


def _only_xml(folder: Path) -> Path | None:
    if (folder / _FILE).is_file():
        return folder / _FILE
    found = [path for path in files.visible(folder) if path.suffix.lower() == ".xml" and path.is_file()]
    return found[0] if len(found) == 1 else None


def _require_images(root: Element) -> None:
    xml_elements.expect_root(root, "annotations")
    if (track := root.find("track")) is not None:
        raise ElementError('expected images with their shapes, got a track, as "CVAT for video" has it', track, _EXPORT)
    if root.find("image") is None:
        raise ElementError("expected <image> in <annotations>, found none", root, _EXPORT)


def _names_in(root: Element) -> ClassNames:
    """Return the labels of shapes: those of the task in its order, then others that are used."""
    declared = [
        name
        for label in root.iterfind("meta//labels/label")
        if label.findtext("type", "") != "tag" and label.find("parent") is None
        if (name := label.findtext("name", "").strip())
    ]
    used = [shape.get("label", "") for image in root.iterfind("image") for shape in image if shape.tag in _SHAPES]
    distinct: dict[str, str] = {}
    for name in [*declared, *sorted(set(used))]:
        if key := _normalised(name):
            distinct.setdefault(key, name)
    return ClassNames(distinct.values())


def _images(root: Element, names: ClassNames, subset: str | None, left_out: Counter[str]) -> Iterator[_Image]:
    elements = [
        element
        for element in root.iterfind("image")
        if subset is None or (element.get("subset") or "").casefold() == subset.casefold()
    ]
    seen: set[str] = set()
    for element, image_id in zip(elements, ids_of([_text(element, "name") for element in elements]), strict=True):
        name = _text(element, "name")
        if not stem_of(name) or image_id in seen:
            raise ElementError(
                f"expected a name that no other image has, up to its suffix, got {quoted(name)}", element
            )
        seen.add(image_id)
        left_out.update(shape.tag for shape in element if shape.tag in _OTHERS)
        yield _Image(image_id, name, element.get("subset"), _annotation(element, names))


def _annotation(element: Element, names: ClassNames) -> Annotation:
    shapes = [shape for shape in element if shape.tag in _SHAPES]
    attributes = [
        {each.get("name", ""): xml_elements.text_of(each) for each in shape.iterfind("attribute")} for shape in shapes
    ]
    scores = [
        xml_elements.to_number(values[_SCORE], shape, _SCORE)
        for shape, values in zip(shapes, attributes, strict=True)
        if values.get(_SCORE)
    ]
    metadata = {"tags": tags} if (tags := [_text(tag, "label") for tag in element.iterfind("tag")]) else {}
    return Annotation.from_lists(
        [_label(shape, names) for shape in shapes],
        quads=[_quad(shape) for shape in shapes],
        difficult=[_flag(values, shape) for shape, values in zip(shapes, attributes, strict=True)],
        scores=scores if scores and len(scores) == len(shapes) else None,
        width=_side(element, "width"),
        height=_side(element, "height"),
        metadata=metadata,
    )


def _text(element: Element, key: str) -> str:
    value = element.get(key)
    if not value:
        raise ElementError(f"expected an attribute {quoted(key)} of <{element.tag}>, found none", element)
    return value


def _number(element: Element, key: str) -> float:
    return xml_elements.to_number(_text(element, key), element, f"{element.tag} {key}")


def _side(element: Element, key: str) -> int | None:
    if not element.get(key):
        return None
    value = _number(element, key)
    if value != int(value) or value < 1:
        raise ElementError(f"expected whole pixels in <image {key}>, got {quoted(element.get(key))}", element)
    return int(value)


def _label(shape: Element, names: ClassNames) -> int:
    label = names.find(name := _text(shape, "label"))
    if label is None:
        raise xml_elements.unknown_class(name, shape, names)
    return label


def _flag(values: dict[str, str], shape: Element) -> bool:
    if (value := values.get(_DIFFICULT, "").lower()) not in _FLAGS:
        raise ElementError(f"expected true or false as the attribute {quoted(_DIFFICULT)}, got {quoted(value)}", shape)
    return _FLAGS[value]


def _quad(shape: Element) -> list[float]:
    if shape.tag == "polygon":
        return _around(shape)
    if shape.tag == "mask":
        left, top, width, height = (_number(shape, key) for key in ("left", "top", "width", "height"))
        sides, upright = (width, height), upright_quad(left, top, left + width, top + height)
    elif shape.tag == "box":
        x0, y0, x1, y1 = (_number(shape, key) for key in ("xtl", "ytl", "xbr", "ybr"))
        sides, upright = (x1 - x0, y1 - y0), upright_quad(x0, y0, x1, y1)
    else:
        cx, cy, rx, ry = (_number(shape, key) for key in ("cx", "cy", "rx", "ry"))
        sides, upright = (rx, ry), upright_quad(cx - rx, cy - ry, cx + rx, cy + ry)
    if min(sides) < 0:
        raise ElementError(f"expected <{shape.tag}> with sides of 0 or more, got negative ones", shape)
    degrees = _number(shape, "rotation") if shape.get("rotation") else 0.0
    if not degrees:
        return upright
    box = [(upright[0] + upright[4]) / 2, (upright[1] + upright[5]) / 2, upright[4] - upright[0]]
    turned = rbox_to_quad(np.array([*box, upright[5] - upright[1], math.radians(degrees)]))
    return [float(value) for value in turned.ravel()]


def _around(shape: Element) -> list[float]:
    points = [point.split(",") for point in _text(shape, "points").split(";")]
    if not 3 <= len(points) <= MOST_CORNERS:
        raise ElementError(f"expected 3 to {MOST_CORNERS:,} points of a polygon, got {len(points):,}", shape)
    if wrong := next((point for point in points if len(point) != 2), None):
        raise ElementError(f"expected x,y in <polygon points>, got {quoted(','.join(wrong))}", shape)
    return quad_around(
        [xml_elements.to_number(value.strip(), shape, "polygon points") for point in points for value in point]
    )


def _load(image: _Image, root: Path) -> ImageRecord:
    annotation = image.annotation
    names = [image.name.replace("\\", "/"), image.name.replace("\\", "/").rpartition("/")[2]]
    has_folders = len(set(names)) > 1
    if "/" in image.image_id:  # the last part is another image's, too
        names = names[:1]
    subsets = [f"images/{image.subset}"] if image.subset and not set("/\\") & set(image.subset) else []
    folders = [root / part for part in (*subsets, "images", ".")]
    found = find_first(names, root, folders)
    width, height = annotation.width, annotation.height
    return ImageRecord(
        image_id=image.image_id,
        boxes=annotation.boxes,
        labels=annotation.labels,
        quads=annotation.quads,
        difficult=annotation.difficult,
        scores=annotation.scores,
        path=found.path,
        width=found.width if found.path else width,
        height=found.height if found.path else height,
        metadata={**annotation.metadata, **({"name": image.name} if has_folders else {})},
        stated_size=None if width is None or height is None else (width, height),
    )


# Writing.


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write one file; see `rbox_formats.datasets.write`."""
    path = root if root.suffix == ".xml" else images(root, split).parent / _FILE
    tag = partial(xml_elements.start_tag, path=path)
    labels = [f"<label>{tag('name', {}, content=name)}<attributes></attributes></label>" for name in class_names]
    with files.replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        stream.write(f"{xml_elements.DECLARATION}\n<annotations>\n  <version>1.1</version>\n")
        stream.write(f"  <meta><task><labels>{''.join(labels)}</labels></task></meta>\n")
        for number, record in enumerate(records):
            stream.write("".join(f"  {line}\n" for line in _lines(record, number, class_names, path)))
        stream.write("</annotations>\n")
    return path


def _lines(record: ImageRecord, number: int, class_names: ClassNames, path: Path) -> Iterator[str]:
    """Yield the lines of an image's element."""
    name = files.safe_path(image_name(record), path.parent)
    given = record.metadata.get("name")
    if isinstance(given, str) and is_name_of(given, record.image_id):  # a window of the image has a different id
        name = given
    sizes = {"width": record.width, "height": record.height}
    sides = {key: str(side) for key, side in sizes.items() if side is not None}
    yield xml_elements.start_tag("image", {"id": str(number), "name": name, **sides}, path)
    for i, quad in enumerate(record.corners):
        tag, place = _place(quad.tolist(), as_rectangle(quad))
        about = {"label": class_names[record.labels[i]], "source": "file", "occluded": "0"}
        values = {_DIFFICULT: "true"} if record.difficult[i] else {}
        if record.scores is not None:
            values[_SCORE] = shortest(float(record.scores[i]))
        yield "  " + xml_elements.start_tag(tag, {**about, **place, "z_order": "0"}, path)
        for key, value in values.items():
            yield "    " + xml_elements.start_tag("attribute", {"name": key}, path, value)
        yield f"  </{tag}>"
    tags = record.metadata.get("tags")
    for label in tags if isinstance(tags, list | tuple) else ():
        yield "  " + xml_elements.start_tag("tag", {"label": str(label), "source": "file"}, path, None)
    yield "</image>"


def _place(corners: Sequence[Sequence[float]], rectangle: Rectangle | None) -> tuple[str, dict[str, str]]:
    """Return the tag of a shape, and its place as attributes."""
    if rectangle is None:
        return "polygon", {"points": ";".join(",".join(map(shortest, corner)) for corner in corners)}
    cx, cy = ((corners[0][axis] + corners[2][axis]) / 2 for axis in (0, 1))
    w, h = rectangle.w / 2, rectangle.h / 2
    place = {"xtl": cx - w, "ytl": cy - h, "xbr": cx + w, "ybr": cy + h}
    if rectangle.angle:
        place["rotation"] = math.degrees(rectangle.angle) % 360
    return "box", {key: shortest(value) for key, value in place.items()}
