"""FAIR1M (1.0 and 2.0): XML files of closed polygons, which also is what the benchmark's server takes as results.

    <annotation>
      <source> <filename>1.tif</filename> <origin>GF2/GF3</origin> </source>
      <research> <version> <provider> <author> <pluginname> <pluginclass> <time> </research>
      <size> <width>1000</width> <height>1000</height> <depth>3</depth> </size>
      <objects>
        <object>
          <coordinate>pixel</coordinate> <type>rectangle</type> <description>None</description>
          <possibleresult> <name>Boeing737</name> <probability>0.97</probability> </possibleresult>
          <points> <point>1.5,2.0</point> ... </points>
        </object>

Five points, the last one the first again (four are read as well), in pixels: they are a record's quads, unchanged; its
boxes are their minimum-area rectangles. Coordinates of another kind than "pixel" are an error. Of several possible
results the first one counts. `probability` is only in results: read as scores where every object has one, written where
a record has scores. A folder written from detections is therefore a submission, once it is packed as a zip.

`FIELDS` are a record's metadata by their paths of tags, and written back. The format has no place for `difficult`: none
is when read, and it is not written. `description` is not kept.

On disk: `<root>/<split>/labelXml/<image_id>.xml` and `<root>/<split>/images/<image_id>.tif`; the training set in two
such folders, `train/part1` and `train/part2`, read as one. Also read: `labelXmls`, `labelXmls/labelXml` as the zips of
2.0 unpack, `images/images`, and annotations for which there is no image. Written is `<root>/<split>/labelXml`.

Source: Sun et al., FAIR1M, ISPRS Journal 184 (2022) 116, for the 37 classes; for the elements and folders, readers and
writers of FAIR1M in public repositories, which agree. The classes are in the paper's groups: airplanes, ships,
vehicles, courts, roads.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from rbox_formats import files, images
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import _per_image
from rbox_formats.datasets._folders import annotation_files, annotation_folder, as_unpacked, image_index, split_folder
from rbox_formats.datasets._per_image import Annotation, Found, Layout
from rbox_formats.errors import DatasetError, quoted
from rbox_formats.parsing import xml_elements
from rbox_formats.parsing.lines import shortest
from rbox_formats.parsing.xml_elements import Element, ElementError, Node

__all__ = ["CLASS_NAMES", "parse", "read", "write"]

_AIRPLANES = ("Boeing737", "Boeing747", "Boeing777", "Boeing787", "C919", "A220", "A321", "A330", "A350", "ARJ21")
_SHIPS = (
    "Passenger Ship",
    "Motorboat",
    "Fishing Boat",
    "Tugboat",
    "Engineering Ship",
    "Liquid Cargo Ship",
    "Dry Cargo Ship",
    "Warship",
)
_VEHICLES = (
    "Small Car",
    "Bus",
    "Cargo Truck",
    "Dump Truck",
    "Van",
    "Trailer",
    "Tractor",
    "Excavator",
    "Truck Tractor",
)
_PLACES = (
    "Basketball Court",
    "Tennis Court",
    "Football Field",
    "Baseball Field",
    "Intersection",
    "Roundabout",
    "Bridge",
)
CLASS_NAMES = ClassNames([*_AIRPLANES, "other-airplane", *_SHIPS, "other-ship", *_VEHICLES, "other-vehicle", *_PLACES])

FIELDS = (
    "source/origin",
    "research/version",
    "research/provider",
    "research/author",
    "research/pluginname",
    "research/pluginclass",
    "research/time",
    "size/depth",
)
_ORDER = ("source/filename", *FIELDS[:-1], "size/width", "size/height", "size/depth")

_LABEL_FOLDERS = ("labelXml", "labelXmls")
_WRITTEN = Layout(("labelXml",), ())


def read(
    root: Path,
    split: str | None,
    class_names: ClassNames | None,
    *,
    label_folders: tuple[str, ...] = _LABEL_FOLDERS,
) -> Dataset:
    """Open a dataset in FAIR1M's layout; see `rbox_formats.datasets.read`."""
    base = split_folder(root, split)
    parts = [base]
    if not any((base / folder).is_dir() for folder in label_folders):
        inner = [part for part in files.visible(base) if any((part / folder).is_dir() for folder in label_folders)]
        parts = [part for part in inner if part.name.lower().startswith("part")] or parts
    found: dict[str, Path] = {}
    folders = [as_unpacked(annotation_folder(part, label_folders), _LABEL_FOLDERS, (".xml",)) for part in parts]
    for path in (path for folder in folders for path in annotation_files(folder, ".xml")):
        if path.stem in found:
            raise DatasetError(
                f"expected one annotation of {quoted(path.stem)}, got {path} as well", path=found[path.stem]
            )
        found[path.stem] = path
    image_files = image_index(as_unpacked(part / "images", ("images",), images.SUFFIXES) for part in parts)
    names = CLASS_NAMES if class_names is None else class_names
    return _per_image.dataset(Found(base, list(found.values())), image_files, names, parse)


def parse(root: Element, class_names: ClassNames) -> Annotation:
    """Read the objects of an annotation file.

    Raises:
        ElementError: If the file breaks the rules of the format.
    """
    xml_elements.expect_root(root, "annotation")
    found = xml_elements.child(root, "objects").findall("object")
    scored = bool(found) and all(element.find("possibleresult/probability") is not None for element in found)
    return Annotation.from_lists(
        [xml_elements.label(element, "possibleresult/name", class_names) for element in found],
        quads=[_corners(element) for element in found],
        scores=[xml_elements.number(element, "possibleresult/probability") for element in found] if scored else None,
        width=xml_elements.pixels(root, "size/width"),
        height=xml_elements.pixels(root, "size/height"),
        file_name=xml_elements.file_name(root, "source/filename"),
        metadata=xml_elements.fields(root, FIELDS),
    )


def _corners(element: Element) -> list[float]:
    kind = element.find("coordinate")
    if kind is not None and xml_elements.text_of(kind).lower() not in ("", "pixel"):
        raise ElementError(f"expected coordinates of the kind 'pixel', got {quoted(xml_elements.text_of(kind))}", kind)
    points = [_point(point) for point in xml_elements.child(element, "points").findall("point")]
    if len(points) not in (4, 5):
        remedy = "A box has its four corners and the first one again."
        raise ElementError(f"expected 4 or 5 points, got {len(points)}", xml_elements.child(element, "points"), remedy)
    if len(points) == 5 and points[4] != points[0]:
        first, last = (" ".join(map(shortest, point)) for point in (points[0], points[4]))
        raise ElementError(
            f"expected the last of 5 points to be the first, {first}, got {last}", xml_elements.child(element, "points")
        )
    return [value for point in points[:4] for value in point]


def _point(element: Element) -> list[float]:
    values = xml_elements.text_of(element).split(",")
    if len(values) != 2:
        raise ElementError(f"expected x,y in <point>, got {quoted(xml_elements.text_of(element))}", element)
    return [xml_elements.to_number(value.strip(), element, "point") for value in values]


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write a file per record, with scores where it has them; see `rbox_formats.datasets.write`."""
    base = root / files.safe_name(split, root) if split else root
    write_record = partial(_write_record, class_names=class_names)
    return _per_image.write(records, base, None, _WRITTEN, write_record, nested=False)


def _write_record(path: Path, record: ImageRecord, class_names: ClassNames) -> None:
    known = _per_image.texts(record.metadata, FIELDS)
    known |= _per_image.size_texts(record, "size/width", "size/height")
    known["source/filename"] = _per_image.image_name(record, ".tif")
    quads = record.corners
    scores = [None] * len(record) if record.scores is None else record.scores.tolist()
    objects: list[Node] = []
    for quad, label, score in zip(quads.tolist(), record.labels, scores, strict=True):
        result = [("name", class_names[label])]
        if score is not None:
            result.append(("probability", shortest(score)))
        points = [("point", ",".join(map(shortest, corner))) for corner in (*quad, quad[0])]
        kinds = [("coordinate", "pixel"), ("type", "rectangle"), ("description", "None")]
        objects.append(("object", [*kinds, ("possibleresult", result), ("points", points)]))
    image = xml_elements.nested([(field, known[field]) for field in _ORDER if field in known])
    xml_elements.write(path, ("annotation", [*image, ("objects", objects)]))
