from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ImageRecord, datasets
from rbox_formats.datasets import fair1m
from rbox_formats.errors import DatasetError

OBJECT = """    <object>
      <coordinate>pixel</coordinate>
      <type>rectangle</type>
      <description>None</description>
      <possibleresult>
        <name>{name}</name>{probability}
      </possibleresult>
      <points>
        {points}
      </points>
    </object>
"""
FILE = """<?xml version="1.0" encoding="utf-8"?>
<annotation>
  <source>
    <filename>1.tif</filename>
    <origin>GF2/GF3</origin>
  </source>
  <size>
    <width>1000</width>
    <height>900</height>
    <depth>3</depth>
  </size>
  <objects>
{}  </objects>
</annotation>
"""
POINTS = ("10.5,20.000000", "110, 30", "100,90", "0,80", "10.500000,20")


def an_object(name: str = "Boeing737", points: tuple[str, ...] = POINTS, probability: str = "") -> str:
    lines = "\n".join(f"<point>{point}</point>" for point in points)
    return OBJECT.format(name=name, points=lines, probability=probability)


def make(root: Path, *objects: str, stem: str = "1", folder: str = "labelXml") -> Path:
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / f"{stem}.xml").write_text(FILE.format("".join(objects)))
    return root


def test_closed_polygons_are_quads(tmp_path: Path) -> None:
    (record,) = datasets.read("fair1m", make(tmp_path, an_object(), an_object("other-ship", POINTS[:4])))
    np.testing.assert_array_equal(record.quads, [[[10.5, 20], [110, 30], [100, 90], [0, 80]]] * 2)
    assert [fair1m.CLASS_NAMES[label] for label in record.labels] == ["Boeing737", "other-ship"]
    assert (record.size, record.scores, record.difficult.any()) == ((1000, 900), None, False)
    assert record.metadata == {"source/origin": "GF2/GF3", "size/depth": "3"}


def test_the_zips_of_2_0_are_read_as_they_unpack(tmp_path: Path) -> None:
    """`labelXmls.zip` has a folder labelXml, and `images.zip` a folder images."""
    for part, stem in (("part1", "1"), ("part2", "2")):
        make(tmp_path / "train" / part, an_object(), stem=stem, folder="labelXmls/labelXml")
        (tmp_path / "train" / part / "images" / "images").mkdir(parents=True)
        Image.new("L", (64, 48)).save(tmp_path / "train" / part / "images" / "images" / f"{stem}.tif")
    read = datasets.read("fair1m", tmp_path, "train")
    assert [(record.image_id, len(record), record.size) for record in read] == [("1", 1, (64, 48)), ("2", 1, (64, 48))]


def test_the_classes_are_37() -> None:
    assert len(fair1m.CLASS_NAMES) == 37
    assert sum(name.startswith("other-") for name in fair1m.CLASS_NAMES) == 3


def test_results_have_scores_and_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    quads = rng.uniform(0, 1000, (5, 4, 2))
    record = ImageRecord.from_quads("1", quads, rng.integers(0, 37, 5), scores=rng.random(5))
    folder = datasets.write("fair1m", [record], tmp_path, "test", fair1m.CLASS_NAMES)
    assert folder == tmp_path / "test" / "labelXml"
    (again,) = datasets.read("fair1m", tmp_path, "test")
    np.testing.assert_array_equal(again.quads, quads)
    np.testing.assert_array_equal(again.scores, record.scores)
    text = (folder / "1.xml").read_text()
    assert text.count("<point>") == 25
    assert "<filename>1.tif</filename>" in text
    # Scores that only some objects have are none: the rest could only be made up.
    mixed = make(tmp_path / "mixed", an_object(probability="<probability>0.5</probability>"), an_object())
    assert next(iter(datasets.read("fair1m", mixed))).scores is None


def test_two_parts_are_one_training_set(tmp_path: Path) -> None:
    for stem, part in (("1", "part1"), ("2", "part2")):
        make(tmp_path / "train" / part, an_object(), stem=stem, folder="labelXmls" if part == "part2" else "labelXml")
        (tmp_path / "train" / part / "images").mkdir()
        Image.new("RGB", (64, 48)).save(tmp_path / "train" / part / "images" / f"{stem}.tif")
    records = list(datasets.read("fair1m", tmp_path, "train"))
    assert [(record.image_id, record.file.parts[-3:]) for record in records] == [
        ("1", ("part1", "images", "1.tif")),
        ("2", ("part2", "images", "2.tif")),
    ]
    assert [record.size for record in records] == [(64, 48)] * 2
    make(tmp_path / "train" / "part2", stem="1", folder="labelXmls")
    with pytest.raises(
        DatasetError, match=r"part1/labelXml/1\.xml: expected one annotation of '1', got .*part2.* as well"
    ):
        datasets.read("fair1m", tmp_path, "train")


def test_folders_that_are_missing(tmp_path: Path) -> None:
    make(tmp_path / "train", an_object())
    with pytest.raises(DatasetError, match=r"expected a folder 'labelXml' or 'labelXmls' in it.*\n.*the splits train"):
        datasets.read("fair1m", tmp_path)
    with pytest.raises(DatasetError, match=r"val: expected a dataset folder, found none"):
        datasets.read("fair1m", tmp_path, "val")


SIX = (*POINTS, "1,1")
BAD_OBJECTS = {
    "three points": (an_object(points=POINTS[:3]), 20, "expected 4 or 5 points, got 3"),
    "six points": (an_object(points=SIX), 20, "expected 4 or 5 points, got 6"),
    "open polygon": (
        an_object(points=(*POINTS[:4], "1,2.5")),
        20,
        "expected the last of 5 points to be the first, 10.5 20, got 1 2.5",
    ),
    "three numbers": (an_object(points=("1,2,3", *POINTS[1:])), 21, "expected x,y in <point>, got '1,2,3'"),
    "one number": (an_object(points=("1", *POINTS[1:])), 21, "expected x,y in <point>, got '1'"),
    "no number": (an_object(points=(POINTS[0], "1,b", *POINTS[2:])), 22, "expected a number in <point>, got 'b'"),
    "nan": (an_object(points=(POINTS[0], "nan,1", *POINTS[2:])), 22, "expected a number in <point>, got 'nan'"),
    "infinite": (
        an_object(points=(POINTS[0], "1,inf", *POINTS[2:])),
        22,
        "expected a number from -1e+09 to 1e+09 in <point>, got 'inf'",
    ),
    "half a pair": (an_object(points=("1,", *POINTS[1:])), 21, "expected a number in <point>, got ''"),
    "no points": (
        an_object().replace("points>", "polygon>"),
        13,
        "expected <points> in <object>, found none",
    ),
    "map coordinates": (
        an_object().replace(">pixel<", ">geodegree<"),
        14,
        "expected coordinates of the kind 'pixel', got 'geodegree'",
    ),
    "score": (
        an_object(probability="<probability>high</probability>"),
        18,
        "expected a number in <possibleresult/probability>, got 'high'",
    ),
    "unknown class": (
        an_object("tram"),
        18,
        f"expected a class among {', '.join(fair1m.CLASS_NAMES)}, got 'tram'",
    ),
}


@pytest.mark.parametrize("name", BAD_OBJECTS)
def test_bad_objects_are_named_by_file_and_line(name: str, tmp_path: Path) -> None:
    bad, line, message = BAD_OBJECTS[name]
    with pytest.raises(DatasetError) as error:
        list(datasets.read("fair1m", make(tmp_path, bad)))
    assert str(error.value).split("\n")[0] == f"{tmp_path / 'labelXml' / '1.xml'}:{line}: {message}"


def test_a_file_without_a_list_of_objects(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "labelXml" / "1.xml").write_text("<annotation>\n<object/></annotation>")
    with pytest.raises(DatasetError, match=r"1\.xml:1: expected <objects> in <annotation>, found none"):
        list(datasets.read("fair1m", tmp_path))
