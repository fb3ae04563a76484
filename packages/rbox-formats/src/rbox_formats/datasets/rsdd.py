"""RSDD-SAR: ships in radar (SAR) images, in Pascal VOC's files (see `voc`) with centre, sides and angle.

    <annotation>
      ... <polarization>HH</polarization> <resolution>3</resolution> <size>... <segmented>0</segmented>
      <object> <type>robndbox</type> <name>ship</name> <pose> <truncated> <difficult>0</difficult>
        <robndbox> <cx>256</cx> <cy>250.5</cy> <h>42</h> <w>11</w> <angle>0.5236</angle> </robndbox>
      </object>

Pixels; the angle is that of the *long* side, whichever of `w` and `h` it is (the makers' files: `h`), from the x axis,
clockwise on the screen, in radians in [-pi/2, pi/2). This is where RSDD-SAR differs from roLabelImg, whose elements
have the same names and whose angle is that of `w`. It could not be verified on the makers' own files: it is what their
page says ("long-edge definition method"), and what the readers of three public repositories built on MMRotate and
Detectron2 do; one converter to YOLO takes the angle as that of `w`. Draw some images (`rbox-formats inspect`): a wrong
reading is off by 90 degrees and cannot be missed. "rolabelimg" reads the files in that other way.

`polarization` and `resolution` are kept in a record's metadata and written back. The one class is "ship".

On disk: `<root>/Annotations/<image_id>.xml`, `<root>/JPEGImages/<image_id>.jpg` (and `JPEGValidation`, the two
uncropped scenes), `<root>/ImageSets/<split>.txt` with train, test, test_inshore and test_offshore. Also read: lists in
`ImageSets/Main`, and a folder per split.

Source: Xu et al., RSDD-SAR, Journal of Radars 11 (2022), and its page at radars.ac.cn; open-mmlab/mmrotate,
`tools/data/rsdd/README.md`, for the folders.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from rbox_formats._geometry import canonical_le90
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import _per_image, _voc
from rbox_formats.datasets._folders import image_index
from rbox_formats.datasets._per_image import Annotation, Layout
from rbox_formats.datasets._voc import Shape
from rbox_formats.parsing import xml_elements
from rbox_formats.parsing.xml_elements import Element, Node

__all__ = ["CLASS_NAMES", "images", "parse", "read", "write"]

CLASS_NAMES = ClassNames(["ship"])

_LAYOUT = Layout(("Annotations",), ("ImageSets", "ImageSets/Main"))
_IMAGES = ("JPEGImages", "JPEGValidation")
_TAGS = ("cx", "cy", "h", "w", "angle")  # the long side first


def read(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open a dataset in RSDD-SAR's layout; see `rbox_formats.datasets.read`."""
    found = _per_image.find(root, split, _LAYOUT)
    image_files = image_index((found.base / folder for folder in _IMAGES), nested=True)
    return _per_image.dataset(found, image_files, CLASS_NAMES if class_names is None else class_names, parse)


def parse(root: Element, class_names: ClassNames) -> Annotation:
    """Read the objects of an annotation file.

    Raises:
        ElementError: If the file breaks the rules of the format.
    """
    annotation = _voc.parse(root, class_names, _shape)
    return annotation._replace(boxes=canonical_le90(annotation.boxes))


def _shape(element: Element) -> Shape:
    cx, cy, h, w, angle = _voc.rotated_box(xml_elements.child(element, "robndbox"), _TAGS)
    return Shape((cx, cy, max(w, h), min(w, h), angle))


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    return root / _IMAGES[0]


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write a file per record; see `rbox_formats.datasets.write`."""
    return _voc.write(records, root, split, class_names, _LAYOUT, _nodes, type_name="robndbox")


def _nodes(record: ImageRecord) -> Iterable[Node]:
    return map(partial(_voc.box_node, "robndbox", _TAGS), record.boxes.tolist())
