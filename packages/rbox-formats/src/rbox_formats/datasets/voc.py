"""Pascal VOC: upright boxes, in files that several datasets take for rotated ones too, and change the box alone.

    <annotation>
      <folder> <filename> <path> <source><database>... <size><width><height><depth> <segmented>
      <object> <type> <name> <pose> <truncated> <difficult> and the box, in elements of the dataset's own

The elements beside the objects are a record's metadata by their paths of tags, and written back. `difficult` is 0 if it
is missing. An object's `pose` and `truncated` are not kept: they are written with annotation tools' defaults
("Unspecified", 0). The box of this format:

    <object> <name>ship</name> <pose> <truncated> <difficult>0</difficult>
      <bndbox> <xmin>48</xmin> <ymin>240</ymin> <xmax>195</xmax> <ymax>371</ymax> </bndbox>
    </object>

The numbers are taken as pixel coordinates, unchanged. VOC's own files count pixels from 1 and include the last one, and
those of labelImg and others do not. A file does not show which it is, so that no shift is applied.

CVAT's export writes the box of a turned rectangle unturned, and its angle beside: it is read, in degrees, clockwise
about the box's centre.

    <attributes> <attribute> <name>rotation</name> <value>30.0</value> </attribute> </attributes>

Other elements and attributes of an object that look like an angle are named by `inspect`, and not read.

An upright box holds no rotation: what is written is the upright box around each object (around its annotated corners,
where a record has them), and that comes back. "rolabelimg" writes rotated boxes.

The classes are each dataset's own: without a list of them they are the names that the files use, sorted.

On disk: `<root>/Annotations/<image_id>.xml`, `<root>/JPEGImages/<image_id>.jpg` and
`<root>/ImageSets/Main/<split>.txt`. Also read: `<root>/ImageSets/<split>.txt`, a folder per split, images in `images`
or beside the annotations, and DIOR's `Annotations/Horizontal Bounding Boxes` with its two folders of images.

Source: Everingham and Winn, The PASCAL Visual Object Classes Challenge 2012 Development Kit, and its example files.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from rbox_formats._geometry import canonical_le90, quad_to_hbox, rbox_to_hbox
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import _per_image, _voc
from rbox_formats.datasets._folders import image_index
from rbox_formats.datasets._per_image import Annotation, Layout
from rbox_formats.datasets._voc import Shape
from rbox_formats.parsing import xml_elements
from rbox_formats.parsing.attributes import ROTATION, angle_named, looks_like_angle
from rbox_formats.parsing.xml_elements import Element, Node

__all__ = ["images", "parse", "read", "write"]

_LAYOUT = Layout(
    ("Annotations/Horizontal Bounding Boxes", "Annotations", "annotations", "."), ("ImageSets/Main", "ImageSets")
)
_WRITTEN = Layout(("Annotations",), ("ImageSets/Main",))
_DIOR_IMAGES = ("JPEGImages-trainval", "JPEGImages-test")
_IMAGES = ("JPEGImages", "images", ".")


def read(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open a dataset in Pascal VOC's layout; see `rbox_formats.datasets.read`."""
    found = _per_image.find(root, split, _LAYOUT)
    of_dior = image_index((found.base / folder for folder in _DIOR_IMAGES), nested=True)
    image_files = of_dior or _per_image.first_images(found, _IMAGES)
    names = _voc.class_names_in(found.files) if class_names is None else class_names
    return _per_image.dataset(found, image_files, names, parse)


def parse(root: Element, class_names: ClassNames) -> Annotation:
    """Read the objects of an annotation file.

    Raises:
        ElementError: If the file breaks the rules of the format.
    """
    annotation = _voc.parse(root, class_names, lambda element: Shape(_box(element)))
    unread = Counter(name for element in root.findall("object") for name in _unread_angles(element))
    return annotation._replace(boxes=canonical_le90(annotation.boxes), passed_over=unread)


def _box(element: Element) -> list[float]:
    """Return an object's box, turned as CVAT says."""
    box = _voc.upright_box(xml_elements.child(element, "bndbox"))
    for attribute in element.findall("attributes/attribute"):
        if attribute.findtext("name") == ROTATION:
            box[4] = math.radians(xml_elements.number(attribute, "value"))
    return box


def _unread_angles(element: Element) -> Iterable[str]:
    """Return what an object has that looks like an angle and is not read."""
    places = (element, element.find("bndbox"))
    said = [(inner.tag, xml_elements.text_of(inner)) for place in places if place is not None for inner in place]
    attributes = element.findall("attributes/attribute")
    others = [((one.findtext("name") or ""), (one.findtext("value") or "").strip()) for one in attributes]
    said += [(name, value) for name, value in others if name != ROTATION]
    return [angle_named(name) for name, value in said if looks_like_angle(name, value)]


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    return root / _IMAGES[0]


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write a file per record; see `rbox_formats.datasets.write`."""
    return _voc.write(records, root, split, class_names, _WRITTEN, _nodes)


def _nodes(record: ImageRecord) -> Iterable[Node]:
    uprights = rbox_to_hbox(record.boxes) if record.quads is None else quad_to_hbox(record.quads)
    return map(partial(_voc.box_node, "bndbox", _voc.UPRIGHT_TAGS), uprights.tolist())
