"""SSDD with rotated boxes (RBox-SSDD): ships in radar (SAR) images, in Pascal VOC's files (see `voc`).

    <object> <name>ship</name> ... <difficult>0</difficult>
      <rotated_bndbox>
        <rotated_bbox_cx>235</rotated_bbox_cx> <rotated_bbox_cy>160</rotated_bbox_cy>
        <rotated_bbox_w>13</rotated_bbox_w> <rotated_bbox_h>49</rotated_bbox_h>
        <rotated_bbox_theta>85.03</rotated_bbox_theta>
        <x1>210</x1> <y1>155</y1> <x2>260</x2> <y2>151</y2> <x3>261</x3> <y3>165</y3> <x4>211</x4> <y4>169</y4>
      </rotated_bndbox>
    </object>

Pixels; `theta` in degrees, from the x axis to the side `w`, clockwise on the screen, in (0, 90] (the
convention "oc"); any angle is read. In the example the long side `h` runs from (210, 155) to (260, 151), 4.6 degrees
counter-clockwise of the x axis, and 85.03 - 90 = -4.97: the makers' centre and sides are rounded to whole pixels.

The corners are what a record's quads hold, unchanged, and the box is the one that the file gives, not one around the
corners. A file may leave all its corners out: then there are no quads. Written are both. The segments and horizontal
boxes that the release with all three kinds has beside them are not read.

The one class is "ship".

On disk, in the makers' `RBox_SSDD/voc_style`: `Annotations_<split>` or `Annotations` with `<image_id>.xml`,
`JPEGImages_<split>` or `JPEGImages` with `<image_id>.jpg`, and `ImageSets/Main/<split>.txt`, with train, test,
test_inshore and test_offshore. Written are `Annotations` and the list.

Source: Zhang et al., SAR Ship Detection Dataset (SSDD): Official Release and Comprehensive Data Analysis, Remote
Sensing 13 (2021) 3690, and readers of it in public repositories (element names, folders, the example above);
Jittor/JDet's documentation of SSDD for the folders by split.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from rbox_formats import files
from rbox_formats._geometry import LE90, OC, convert
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import _per_image, _voc
from rbox_formats.datasets._per_image import Annotation, Layout
from rbox_formats.datasets._voc import Shape
from rbox_formats.parsing import xml_elements
from rbox_formats.parsing.xml_elements import Element, Node

__all__ = ["CLASS_NAMES", "images", "parse", "read", "write"]

CLASS_NAMES = ClassNames(["ship"])

_LAYOUT = Layout(("Annotations",), ("ImageSets/Main", "ImageSets"))
_TAGS = [f"rotated_bbox_{name}" for name in ("cx", "cy", "w", "h", "theta")]
_CORNERS = [f"{axis}{corner}" for corner in range(1, 5) for axis in "xy"]


def read(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open a dataset in RBox-SSDD's layout; see `rbox_formats.datasets.read`."""
    of_split = [] if split is None else [f"_{files.safe_name(split, root)}"]
    by_split = [suffix for suffix in of_split if (root / f"Annotations{suffix}").is_dir()]
    layout = _LAYOUT._replace(annotations=tuple(f"Annotations{suffix}" for suffix in (*by_split, "")))
    found = _per_image.find(root, None if by_split else split, layout)
    image_files = _per_image.first_images(found, [f"JPEGImages{suffix}" for suffix in (*of_split, "")])
    found = found._replace(listed=split is not None)  # images of all splits may be in one folder
    return _per_image.dataset(found, image_files, CLASS_NAMES if class_names is None else class_names, parse)


def parse(root: Element, class_names: ClassNames) -> Annotation:
    """Read the objects of an annotation file.

    Raises:
        ElementError: If the file breaks the rules of the format.
    """
    annotation = _voc.parse(root, class_names, _shape, has_quads=True)
    return annotation._replace(boxes=convert(annotation.boxes, OC.degrees, LE90))


def _shape(element: Element) -> Shape:
    box = xml_elements.child(element, "rotated_bndbox")
    corners = any(box.find(tag) is not None for tag in _CORNERS)
    return Shape(_voc.rotated_box(box, _TAGS), [xml_elements.number(box, tag) for tag in _CORNERS] if corners else None)


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    return root / "JPEGImages"


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write a file per record; see `rbox_formats.datasets.write`."""
    return _voc.write(records, root, split, class_names, _LAYOUT, _nodes)


def _nodes(record: ImageRecord) -> Iterable[Node]:
    quads = record.corners
    rows = np.concatenate([convert(record.boxes, LE90, OC.degrees), quads.reshape(-1, 8)], axis=-1)
    return (_voc.box_node("rotated_bndbox", [*_TAGS, *_CORNERS], row) for row in rows.tolist())
