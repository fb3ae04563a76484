"""DIOR-R: the oriented boxes of DIOR, in Pascal VOC's files (see `voc`) with the corners of each object.

    <object>
      <type>robndbox</type> <name>golffield</name> <pose> <truncated> <difficult>0</difficult>
      <robndbox>
        <x_left_top>133</x_left_top> <y_left_top>237</y_left_top> ... right_top, right_bottom, left_bottom
      </robndbox>
      <angle>0</angle>
    </object>

The corners are in pixels, in this order around the object (clockwise in the makers' files), and are what a record's
quads hold, unchanged; its boxes are their minimum-area rectangles. What `angle` means is documented nowhere and it adds
nothing to the corners: it is neither read nor written.

On disk: `<root>/Annotations/Oriented Bounding Boxes/<image_id>.xml`; `<root>/JPEGImages-trainval` and
`<root>/JPEGImages-test` with `<image_id>.jpg`; `<root>/ImageSets/Main/<split>.txt` with train, val, trainval and test.
Also read: annotations straight in `Annotations`, images in `JPEGImages` or `images`, lists in `Main` or `ImageSets`,
and a folder per split. The horizontal boxes that DIOR has beside them are Pascal VOC's own: format "voc".

Source of the layout and of the classes, in their order: open-mmlab/mmrotate, `mmrotate/datasets/dior.py`,
`tools/data/dior/README.md` and its example file.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import _per_image, _voc
from rbox_formats.datasets._folders import image_index
from rbox_formats.datasets._per_image import Annotation, Layout
from rbox_formats.datasets._voc import Shape
from rbox_formats.parsing import xml_elements
from rbox_formats.parsing.xml_elements import Element, ElementError, Node

__all__ = ["CLASS_NAMES", "images", "parse", "read", "write"]

CLASS_NAMES = ClassNames(
    [
        "airplane",
        "airport",
        "baseballfield",
        "basketballcourt",
        "bridge",
        "chimney",
        "expressway-service-area",
        "expressway-toll-station",
        "dam",
        "golffield",
        "groundtrackfield",
        "harbor",
        "overpass",
        "ship",
        "stadium",
        "storagetank",
        "tenniscourt",
        "trainstation",
        "vehicle",
        "windmill",
    ]
)

_LAYOUT = Layout(("Annotations/Oriented Bounding Boxes", "Annotations"), ("ImageSets/Main", "Main", "ImageSets"))
_IMAGES = ("JPEGImages-trainval", "JPEGImages-test", "JPEGImages", "images")
_CORNERS = [f"{axis}_{corner}" for corner in ("left_top", "right_top", "right_bottom", "left_bottom") for axis in "xy"]


def read(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open a dataset in DIOR-R's layout; see `rbox_formats.datasets.read`."""
    found = _per_image.find(root, split, _LAYOUT)
    image_files = image_index((found.base / folder for folder in _IMAGES), nested=True)
    return _per_image.dataset(found, image_files, CLASS_NAMES if class_names is None else class_names, parse)


def parse(root: Element, class_names: ClassNames) -> Annotation:
    """Read the objects of an annotation file.

    Raises:
        ElementError: If the file breaks the rules of the format.
    """
    return _voc.parse(root, class_names, _shape, has_quads=True)


def _shape(element: Element) -> Shape:
    box = element.find("robndbox")
    if box is None:
        upright = element.find("bndbox")
        remedy = None if upright is None else 'These are horizontal boxes: read them as format "voc".'
        raise ElementError("expected <robndbox> in <object>, found none", element, remedy)
    return Shape(quad=[xml_elements.number(box, corner) for corner in _CORNERS])


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    return root / _IMAGES[split == "test"]


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write a file per record; see `rbox_formats.datasets.write`."""
    return _voc.write(records, root, split, class_names, _LAYOUT, _nodes, type_name="robndbox")


def _nodes(record: ImageRecord) -> Iterable[Node]:
    quads = record.corners
    return map(partial(_voc.box_node, "robndbox", _CORNERS), quads.reshape(-1, 8).tolist())
