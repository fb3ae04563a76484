"""HRSC2016: ships in optical images, in XML files of its own.

    <HRSC_Image>
      <Img_ID>100000006</Img_ID> ... <Img_Location>69.040297,33.070036</Img_Location> ... <Annotated>1</Annotated>
      <HRSC_Objects>
        <HRSC_Object>
          <Object_ID>100000006</Object_ID> <Class_ID>100000013</Class_ID> <Object_NO> <truncated> <difficult>
          <box_xmin>119</box_xmin> <box_ymin> <box_xmax> <box_ymax>
          <mbox_cx>341.2143</mbox_cx> <mbox_cy>443.3325</mbox_cy> <mbox_w>778.4297</mbox_w> <mbox_h>178.2595</mbox_h>
          <mbox_ang>-1.122944</mbox_ang>
          <segmented> <seg_color> <header_x>143</header_x> <header_y>776</header_y>
        </HRSC_Object>

Pixels; `mbox_ang` in radians, from the x axis to the side `mbox_w`, clockwise on the screen, in [-pi/2, pi/2); any
angle is read. `box_...` is an upright box that was drawn by itself (not the one around the rotated box, which is
written), and `header_...` the ship's bow.

`FIELDS` of the image are a record's metadata, and written back. An object's numbers, `truncated`, `segmented` and the
bow are not kept; in their place, running numbers, 0 and the centre are written, since readers need them.

Classes: `Class_ID` stands in a tree of three layers (`TYPES`), and an object has the most specific one of its classes
that `class_names` has. So the one class "ship" takes every object (format "hrsc2016", the usual benchmark). With the
four kinds below it ("hrsc2016-l2"; the papers count layers from 1) an object is of its kind, and a "ship" where the
makers said no more; with all 31 ("hrsc2016-l3") it is what the makers said. A `Class_ID` that is not in the tree is an
error, but where "ship" is the only class. Written is the `Class_ID` of the class with a record's name.

On disk: `<root>/FullDataSet/Annotations/<image_id>.xml`, `<root>/FullDataSet/AllImages/<image_id>.bmp` and
`<root>/ImageSets/<split>.txt` with train, val, trainval and test. Also read: the two folders straight in `<root>`,
`JPEGImages` in place of `AllImages`, and a folder per split (`Train`, `Test`) with the two in it.

Source: Liu et al., HRSC2016, ICPRAM 2017; the dataset's own `sysdata.xml` for the tree (Class_ID, HRS_Class_ID,
Class_ShortName), which has no 21 and 23; open-mmlab/mmrotate, `mmrotate/datasets/hrsc.py`, for the order of the 31.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rbox_formats._geometry import canonical_le90, rbox_to_hbox
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import _per_image, _voc
from rbox_formats.datasets._per_image import Annotation, Layout
from rbox_formats.errors import DatasetError, quoted
from rbox_formats.parsing import xml_elements
from rbox_formats.parsing.lines import shortest
from rbox_formats.parsing.xml_elements import Element, Node

__all__ = ["LEVEL_2", "LEVEL_3", "SHIP", "TYPES", "Type", "images", "parse", "read", "write"]


class Type(NamedTuple):
    """A class in the dataset's tree: its name, and the number of the class above it."""

    name: str
    above: int | None


# By the last two digits of Class_ID.
TYPES = {
    1: Type("ship", None),
    2: Type("aircraft carrier", 1),
    3: Type("warcraft", 1),
    4: Type("merchant ship", 1),
    5: Type("Nimitz", 2),
    6: Type("Enterprise", 2),
    7: Type("Arleigh Burke", 3),
    8: Type("WhidbeyIsland", 3),
    9: Type("Perry", 3),
    10: Type("Sanantonio", 3),
    11: Type("Ticonderoga", 3),
    12: Type("Kitty Hawk", 2),
    13: Type("Kuznetsov", 2),
    14: Type("Abukuma", 3),
    15: Type("Austen", 3),
    16: Type("Tarawa", 2),
    17: Type("Blue Ridge", 3),
    18: Type("Container", 4),
    19: Type("OXo|--)", 3),
    20: Type("Car carrier([]==[])", 4),
    22: Type("Hovercraft", 4),
    24: Type("yacht", 4),
    25: Type("CntShip(_|.--.--|_]=", 4),
    26: Type("Cruise", 4),
    27: Type("submarine", 1),
    28: Type("lute", 3),
    29: Type("Medical", 3),
    30: Type("Car carrier(======|", 4),
    31: Type("Ford-class", 2),
    32: Type("Midway-class", 2),
    33: Type("Invincible-class", 2),
}
_NUMBER_OF = {f"1000000{number:02}": number for number in TYPES}

SHIP = ClassNames(["ship"])
LEVEL_2 = ClassNames(type.name for type in TYPES.values() if type.above in (None, 1))
LEVEL_3 = ClassNames(type.name for type in TYPES.values())

FIELDS = (
    "Place_ID",
    "Source_ID",
    "Img_NO",
    "Img_FileFmt",
    "Img_Date",
    "Img_CusType",
    "Img_Des",
    "Img_Location",
    "Img_SizeDepth",
    "Img_Resolution",
    "Img_Resolution_Layer",
    "Img_Scale",
    "Img_SclPxlNum",
    "segmented",
    "Img_Havemask",
    "Img_MaskFileName",
    "Img_MaskFileFmt",
    "Img_MaskType",
    "Img_SegFileName",
    "Img_SegFileFmt",
    "Img_Rotation",
    "Annotated",
)
_ORDER = ("Img_ID", *FIELDS[:3], "Img_FileName", *FIELDS[3:8], "Img_SizeWidth", "Img_SizeHeight", *FIELDS[8:])

_LAYOUT = Layout(("FullDataSet/Annotations", "Annotations"), ("ImageSets",))
_IMAGES = ("FullDataSet/AllImages", "AllImages", "FullDataSet/JPEGImages", "JPEGImages")
_TAGS = ("mbox_cx", "mbox_cy", "mbox_w", "mbox_h", "mbox_ang")
_UPRIGHT_TAGS = ("box_xmin", "box_ymin", "box_xmax", "box_ymax")


def read(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open a dataset in HRSC2016's layout; see `rbox_formats.datasets.read`."""
    found = _per_image.find(root, split, _LAYOUT)
    image_files = _per_image.first_images(found, _IMAGES)
    return _per_image.dataset(found, image_files, SHIP if class_names is None else class_names, parse)


def parse(root: Element, class_names: ClassNames) -> Annotation:
    """Read the objects of an annotation file.

    Raises:
        ElementError: If the file breaks the rules of the format.
    """
    xml_elements.expect_root(root, "HRSC_Image")
    found = root.findall("HRSC_Objects/HRSC_Object")
    annotation = Annotation.from_lists(
        [_label(element, class_names) for element in found],
        boxes=[_voc.rotated_box(element, _TAGS) for element in found],
        difficult=[xml_elements.flag(element, "difficult") for element in found],
        width=xml_elements.pixels(root, "Img_SizeWidth"),
        height=xml_elements.pixels(root, "Img_SizeHeight"),
        file_name=xml_elements.file_name(root, "Img_FileName"),
        metadata=xml_elements.fields(root, FIELDS),
    )
    return annotation._replace(boxes=canonical_le90(annotation.boxes))


def _label(element: Element, class_names: ClassNames) -> int:
    class_id = xml_elements.text(element, "Class_ID")
    number: int | None = _NUMBER_OF.get(class_id)
    if number is None and class_names == SHIP and class_id.isdigit():
        number = 1
    names = []
    while number is not None:
        name, number = TYPES[number]
        if (label := class_names.find(name)) is not None:
            return label
        names.append(name)
    known = f" ({', '.join(names)})" if names else ""
    raise xml_elements.unknown_class(f"{class_id}{known}", xml_elements.child(element, "Class_ID"), class_names)


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    return root / _IMAGES[0]


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write a file per record; see `rbox_formats.datasets.write`.

    Raises:
        DatasetError: If a class is not one of the dataset's.
    """
    class_ids = [_class_id(name) for name in class_names]
    return _per_image.write(records, root, split, _LAYOUT, partial(_write_record, class_ids=class_ids))


def _class_id(name: str) -> str:
    label = LEVEL_3.find(name)
    if label is None:
        raise DatasetError(
            f"expected a class among {', '.join(LEVEL_3)}, got {quoted(name)}",
            remedy="Rename the class to one of these, or leave its objects out.",
        )
    return list(_NUMBER_OF)[label]


def _write_record(path: Path, record: ImageRecord, class_ids: list[str]) -> None:
    known = {"Img_FileFmt": "bmp", "Annotated": "1", **_per_image.texts(record.metadata, FIELDS)}
    known |= {"Img_ID": record.image_id, "Img_FileName": record.image_id.rpartition("/")[2]}
    known |= _per_image.size_texts(record, "Img_SizeWidth", "Img_SizeHeight")
    if record.path is not None:
        known["Img_FileFmt"] = record.path.suffix.removeprefix(".")
    uprights = rbox_to_hbox(record.boxes).round().tolist()
    objects: list[Node] = []
    for i, (box, upright) in enumerate(zip(record.boxes.tolist(), uprights, strict=True)):
        values: dict[str, str] = {
            "Object_ID": str(i + 1),
            "Class_ID": class_ids[record.labels[i]],
            "Object_NO": str(i + 1),
            "truncated": "0",
            "difficult": str(int(record.difficult[i])),
            **dict(zip(_UPRIGHT_TAGS, map(shortest, upright), strict=True)),
            **dict(zip(_TAGS, map(shortest, box), strict=True)),
            "segmented": "0",
            "header_x": str(round(box[0])),
            "header_y": str(round(box[1])),
        }
        objects.append(("HRSC_Object", list(values.items())))
    image = [(field, known[field]) for field in _ORDER if field in known]
    xml_elements.write(path, ("HRSC_Image", [*image, ("HRSC_Objects", objects)]))
