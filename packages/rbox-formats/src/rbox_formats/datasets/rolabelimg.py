"""roLabelImg: Pascal VOC's files (see `voc`) with a centre, two sides and an angle, or an upright box.

    <annotation verified="yes">
      ...
      <object> <type>robndbox</type> <name>ship</name> ...
        <robndbox> <cx>580.7887</cx> <cy>343.2913</cy> <w>775.0449</w> <h>170.2159</h> <angle>2.889813</angle> ...
      </object>
      <object> <type>bndbox</type> ...
        <bndbox> <xmin>178</xmin> <ymin>246</ymin> <xmax>974</xmax> <ymax>504</ymax> </bndbox>
      </object>

Pixels; the angle in radians, from the x axis to the side `w`, clockwise on the screen, in [0, pi). Either side may be
the longer one. Any angle is read; it is written in [0, pi) with w >= h. Upright boxes are read as rotated ones and
written as such. The mark `verified` is kept in a record's metadata and written back. HRSC2016-MS, UAV-ROD and others
have the same files.

The classes are each dataset's own: without a list of them they are the names that the files use, sorted.

On disk the tool puts a file beside each image: `<root>[/<split>]/<image_id>.xml` and `<image_id>.jpg`, and so it is
written; folders within are read if they have images. Also read: Pascal VOC's folders, `Annotations` and `JPEGImages`
(or `AllImages`, `images`) with lists in `ImageSets/Main` or `ImageSets`, and `annotations` beside `images`.

Source: cgvict/roLabelImg, `libs/pascal_voc_io.py` (the sign is its `rotatePoint`'s) and README.rst.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from rbox_formats import files
from rbox_formats._geometry import canonical_le90
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import _per_image, _voc
from rbox_formats.datasets._per_image import Annotation, Layout
from rbox_formats.datasets._voc import Shape
from rbox_formats.parsing import xml_elements
from rbox_formats.parsing.xml_elements import Element, ElementError, Node

__all__ = ["images", "parse", "read", "write"]

_LAYOUT = Layout(("Annotations", "annotations", "."), ("ImageSets/Main", "ImageSets"))
_WRITTEN = Layout((".",), ())
_IMAGES = ("JPEGImages", "AllImages", "images", ".")
_TAGS = ("cx", "cy", "w", "h", "angle")


_A_TURN = 2 * math.pi + 1e-6


def read(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open a folder of roLabelImg's files; see `rbox_formats.datasets.read`."""
    found = _per_image.find(root, split, _LAYOUT)
    image_files = _per_image.first_images(found, _IMAGES)
    names = _voc.class_names_in(found.files) if class_names is None else class_names
    return _per_image.dataset(found, image_files, names, parse)


def parse(root: Element, class_names: ClassNames) -> Annotation:
    """Read the objects of an annotation file.

    Raises:
        ElementError: If the file breaks the rules of the format.
    """
    annotation = _voc.parse(root, class_names, _shape)
    verified = {"verified": root.attrib["verified"]} if "verified" in root.attrib else {}
    return annotation._replace(boxes=canonical_le90(annotation.boxes), metadata={**annotation.metadata, **verified})


def _shape(element: Element) -> Shape:
    if (box := element.find("robndbox")) is not None:
        found = _voc.rotated_box(box, _TAGS)
        if abs(found[4]) > _A_TURN:
            remedy = "Degrees are no angle here: roLabelImg writes radians. Divide them by 57.29578."
            angle = xml_elements.child(box, _TAGS[4])
            raise ElementError(f"expected an angle in radians, up to 2 pi, got {found[4]:g}", angle, remedy)
        return Shape(found)
    if (box := element.find("bndbox")) is not None:
        return Shape(_voc.upright_box(box))
    raise ElementError("expected <robndbox> or <bndbox> in <object>, found neither", element)


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    return root / files.safe_name(split, root) if split else root


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write a file per record, to lie beside its image; see `rbox_formats.datasets.write`."""
    base = images(root, split)
    return _voc.write(
        records, base, None, class_names, _WRITTEN, _nodes, type_name="robndbox", attributes=("verified",)
    )


def _nodes(record: ImageRecord) -> Iterable[Node]:
    boxes = record.boxes.copy()
    boxes[:, 4] = np.where(boxes[:, 4] < 0, boxes[:, 4] + math.pi, boxes[:, 4])
    boxes[:, 4] = np.where(boxes[:, 4] >= math.pi, 0.0, boxes[:, 4])  # what was a hair below 0
    return map(partial(_voc.box_node, "robndbox", _TAGS), boxes.tolist())
