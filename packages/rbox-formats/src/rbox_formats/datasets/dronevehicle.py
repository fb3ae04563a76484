"""DroneVehicle: vehicles in pairs of colour and infrared images, as Pascal VOC's files with the corners.

    <annotation>
      <filename> <source> <size> ...
      <object> <name>car</name> <pose> <truncated> <difficult>
        <polygon> <x1>421</x1> <y1>280</y1> <x2> <y2> <x3> <y3> <x4> <y4> </polygon>
      </object>

Pixels of the image as distributed, with its white border of 100 px. Few objects have an upright `bndbox`, which
is read as its corners; those with a `point` alone or the name "*" are left out. Names that are misspelt in the files
are read as what they mean: "feright car", "feright_car", "feright" and "freight_car" as "freight-car", "truvk" as
"truck".

Two formats: "dronevehicle" has the colour images and what was annotated on them, "dronevehicle-ir" the infrared ones.

On disk: `<root>/<split>/<split>label/<image_id>.xml` and `<root>/<split>/<split>img/<image_id>.jpg` with the splits
train, val and test; of the infrared images `<split>labelr` and `<split>imgr`. Without a split these folders (or `label`
and `img`) are in `root`.

Source: VisDrone/DroneVehicle, README.md; Sun et al., Drone-based RGB-infrared cross-modality vehicle detection via
uncertainty-aware learning, IEEE TCSVT 2022; for what the files hold, converters in public repositories that read
`polygon`, and their lists of misspelt names.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from rbox_formats import files
from rbox_formats._geometry import upright_quad
from rbox_formats._records import ClassNames, Dataset, ImageRecord, _normalised
from rbox_formats.datasets import _per_image, _voc
from rbox_formats.datasets._folders import annotation_files, annotation_folder, image_index, split_folder
from rbox_formats.datasets._per_image import Annotation, Layout
from rbox_formats.datasets._voc import Shape
from rbox_formats.parsing import xml_elements
from rbox_formats.parsing.xml_elements import Element, ElementError, Node

__all__ = ["CLASS_NAMES", "images", "parse", "read", "write"]

CLASS_NAMES = ClassNames(["car", "truck", "bus", "van", "freight-car"])

_MISSPELT = {"ferightcar": "freight-car", "feright": "freight-car", "truvk": "truck"}
_TAGS = ("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4")
_SPLITS = ("train", "val", "test")


def read(root: Path, split: str | None, class_names: ClassNames | None, *, infrared: bool = False) -> Dataset:
    """Open a dataset in DroneVehicle's layout; see `rbox_formats.datasets.read`."""
    base = split_folder(root, split)
    names = CLASS_NAMES if class_names is None else class_names
    kind = "r" if infrared else ""
    prefixes = (split,) if split else ("", *_SPLITS)
    folder = annotation_folder(base, [f"{prefix}label{kind}" for prefix in prefixes])
    pictures = image_index([base / f"{folder.name.removesuffix(f'label{kind}')}img{kind}"])
    found = _per_image.Found(base, annotation_files(folder, ".xml"))
    return _per_image.dataset(found, pictures, names, parse)


def parse(root: Element, class_names: ClassNames) -> Annotation:
    """Read the objects of an annotation file.

    Raises:
        ElementError: If the file breaks the rules of the format.
    """
    for element in root.iterfind("object/name"):
        element.text = _MISSPELT.get(_normalised(element.text or ""), element.text)
    return _voc.parse(root, class_names, _shape, has_quads=True, kept=_has_place)


def _has_place(element: Element) -> bool:
    name = element.find("name")
    alone = element.find("point") is not None and element.find("polygon") is None and element.find("bndbox") is None
    return not alone and (name is None or xml_elements.text_of(name) != "*")


def _shape(element: Element) -> Shape:
    if (box := element.find("polygon")) is not None:
        return Shape(quad=[xml_elements.number(box, tag) for tag in _TAGS])
    if (box := element.find("bndbox")) is not None:
        _voc.upright_box(box)
        return Shape(quad=upright_quad(*(xml_elements.number(box, tag) for tag in _voc.UPRIGHT_TAGS)))
    raise ElementError("expected <polygon> or <bndbox> in <object>, found neither", element)


def images(root: Path, split: str | None, *, infrared: bool = False) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    return (root / files.safe_name(split, root) if split else root) / f"{split or ''}img{'r' if infrared else ''}"


def write(
    records: Iterable[ImageRecord],
    root: Path,
    split: str | None,
    class_names: ClassNames,
    *,
    infrared: bool = False,
) -> Path:
    """Write a file per record; see `rbox_formats.datasets.write`."""
    base = images(root, split).parent
    layout = Layout((f"{split or ''}label{'r' if infrared else ''}",), ())
    return _voc.write(records, base, None, class_names, layout, _nodes)


def _nodes(record: ImageRecord) -> Iterable[Node]:
    return map(partial(_voc.box_node, "polygon", _TAGS), record.corners.reshape(-1, 8).tolist())
