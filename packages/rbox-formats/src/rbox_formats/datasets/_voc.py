"""Pascal VOC's annotation files, which several datasets use for rotated boxes: everything except the box itself.

    <annotation>
      <folder> <filename> <path> <source><database>... <size><width><height><depth> <segmented>
      <object> <type> <name> <pose> <truncated> <difficult> and the box, in elements of the dataset's own

`FIELDS`, where a file has them, are a record's metadata by their paths of tags, and written back. `difficult` is 0
if it is missing. An object's `pose` and `truncated` are not kept: they are written with annotation tools' defaults
("Unspecified", 0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rbox_formats._records import ClassNames, ImageRecord
from rbox_formats.datasets import _names, _per_image
from rbox_formats.datasets._per_image import Annotation, Layout
from rbox_formats.parsing import xml_elements
from rbox_formats.parsing.lines import shortest
from rbox_formats.parsing.xml_elements import Element, ElementError, Node

FIELDS = (
    "folder",
    "path",
    "source/database",
    "source/annotation",
    "source/image",
    "polarization",  # RSDD-SAR's
    "resolution",
    "size/depth",
    "segmented",
)
_ORDER = ("folder", "filename", *FIELDS[1:-2], "size/width", "size/height", *FIELDS[-2:])


UPRIGHT_TAGS = ("xmin", "ymin", "xmax", "ymax")


class Shape(NamedTuple):
    """An object's box as (cx, cy, w, h, angle), its corners as eight numbers, or both."""

    box: Sequence[float] | None = None
    quad: Sequence[float] | None = None


def parse(
    root: Element,
    class_names: ClassNames,
    shape: Callable[[Element], Shape],
    has_quads: bool = False,
    kept: Callable[[Element], bool] = lambda element: True,
) -> Annotation:
    """Read the objects of an annotation file.

    Args:
        root: The root element of the file.
        class_names: The class names in which the objects' names are looked up.
        shape: The function that reads an object's box.
        has_quads: Whether an image without objects has an empty array of quads instead of None.
        kept: The function that decides which objects count.
    """
    xml_elements.expect_root(root, "annotation")
    if (objects := root.find("objects")) is not None:
        raise ElementError("expected <object> in <annotation>, got <objects>", objects, "Is this FAIR1M's format?")
    found = [element for element in root.iterfind("object") if kept(element)]
    shapes = [shape(element) for element in found]
    return Annotation.from_lists(
        [xml_elements.label(element, "name", class_names) for element in found],
        boxes=_column(found, [shape.box for shape in shapes]),
        quads=_column(found, [shape.quad for shape in shapes]) if found or not has_quads else [],
        difficult=[xml_elements.flag(element, "difficult") for element in found],
        width=xml_elements.pixels(root, "size/width"),
        height=xml_elements.pixels(root, "size/height"),
        file_name=xml_elements.file_name(root, "filename"),
        metadata=xml_elements.fields(root, FIELDS),
    )


def _column(objects: Sequence[Element], shapes: Sequence[Sequence[float] | None]) -> list[Sequence[float]] | None:
    """Return the shapes of all objects, or None where they have none of this kind."""
    given = [shape for shape in shapes if shape is not None]
    if given and len(given) < len(shapes):
        element = next(element for element, shape in zip(objects, shapes, strict=True) if shape is None)
        raise ElementError("expected one kind of boxes in a file, got a second one", element)
    return given or None


def class_names_in(paths: Iterable[Path]) -> ClassNames:
    """Return the names in the files, sorted; one of those that differ only in case, '-', '_' or space."""
    used: set[str] = set()
    for path in paths:
        used |= xml_elements.read(
            path, lambda root: {xml_elements.text(element, "name") for element in root.findall("object")}
        )
    return _names.used(used)


def write(
    records: Iterable[ImageRecord],
    root: Path,
    split: str | None,
    class_names: ClassNames,
    layout: Layout,
    shapes: Callable[[ImageRecord], Iterable[Node]],
    *,
    type_name: str | None = None,
    attributes: Sequence[str] = (),
) -> Path:
    """Write a file per record.

    Args:
        records: The records to write.
        root: The dataset's folder.
        split: A part of the dataset, as in `rbox_formats.datasets.write`.
        class_names: The class names that the labels index.
        layout: Where to write.
        shapes: As of `write_record`.
        type_name: As of `write_record`.
        attributes: As of `write_record`.
    """
    settings: dict[str, Any] = {"shapes": shapes, "type_name": type_name, "attributes": attributes}
    write_one = partial(write_record, class_names=class_names, **settings)
    return _per_image.write(records, root, split, layout, write_one)


def write_record(
    path: Path,
    record: ImageRecord,
    class_names: ClassNames,
    shapes: Callable[[ImageRecord], Iterable[Node]],
    *,
    type_name: str | None = None,
    attributes: Sequence[str] = (),
    more: Iterable[Node] | None = None,
) -> None:
    """Write one record's file.

    Args:
        path: The file.
        record: The image and its objects.
        class_names: The class names that the labels index.
        shapes: The function that gives a record's boxes as nodes, one per object.
        type_name: The type of the objects, for datasets that note it.
        attributes: The keys of the metadata that are written as attributes of the root element.
        more: One more node for each object, after its box.
    """
    known = _per_image.texts(record.metadata, FIELDS)
    known |= _per_image.size_texts(record, "size/width", "size/height")
    known["filename"] = _per_image.image_name(record, ".jpg")
    nodes = xml_elements.nested([(field, known[field]) for field in _ORDER if field in known])
    kind = [] if type_name is None else [("type", type_name)]
    last = [[]] * len(record) if more is None else [[node] for node in more]
    for shape, label, difficult, others in zip(shapes(record), record.labels, record.difficult, last, strict=True):
        name = ("name", class_names[label])
        flags = [("pose", "Unspecified"), ("truncated", "0"), ("difficult", str(int(difficult)))]
        nodes.append(("object", [*kind, name, *flags, shape, *others]))
    xml_elements.write(path, ("annotation", nodes), _per_image.texts(record.metadata, attributes))


def box_node(tag: str, tags: Sequence[str], values: Sequence[float]) -> Node:
    """Return a box as a node: one number per tag."""
    return tag, [(inner, shortest(float(value))) for inner, value in zip(tags, values, strict=True)]


def upright_box(element: Element) -> list[float]:
    """Return a `bndbox` as a rotated box, not yet in `le90`.

    Raises:
        ElementError: If a number is missing, or the box ends before it begins.
    """
    x0, y0, x1, y1 = (xml_elements.number(element, tag) for tag in UPRIGHT_TAGS)
    if x1 < x0 or y1 < y0:
        raise ElementError(f"expected xmin <= xmax and ymin <= ymax, got {x0:g} {y0:g} {x1:g} {y1:g}", element)
    return [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, 0.0]


def rotated_box(element: Element, tags: Sequence[str]) -> list[float]:
    """Return a box from elements of five names: centre, sides and angle, unchanged.

    Raises:
        ElementError: If an element is missing or not a number, or a side is negative.
    """
    cx, cy, w, h, angle = tags
    centre = [xml_elements.number(element, tag) for tag in (cx, cy)]
    return [
        *centre,
        *(xml_elements.number(element, tag, at_least=0) for tag in (w, h)),
        xml_elements.number(element, angle),
    ]
