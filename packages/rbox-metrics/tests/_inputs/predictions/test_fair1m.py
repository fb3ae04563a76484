"""FAIR1M's submissions."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import pytest
from rbox_formats import RboxError
from rbox_formats.datasets import fair1m
from rbox_metrics import read_predictions

# As the forks of MMRotate write it, with what they leave to be filled in.
HEAD = """<?xml version="1.0" encoding="utf-8"?>
<annotation>
  <source><filename>placeholder_filename</filename><origin>GF2/GF3</origin></source>
  <research><version>4.0</version><provider>placeholder_affiliation</provider></research>
  <size><width>placeholder_width</width><height>placeholder_height</height><depth>placeholder_depth</depth></size>
  <objects>
"""
OBJECT = """    <object>
      <coordinate>pixel</coordinate>
      <type>rectangle</type>
      <description>None</description>
      <possibleresult><name>{name}</name><probability>{score}</probability></possibleresult>
      <points><point>1.00, 2.00</point><point>9.00, 2.00</point><point>9.00, 6.00</point><point>1.00, 6.00</point>
        <point>1.00, 2.00</point></points>
    </object>
"""
TAIL = "  </objects>\n</annotation>\n"


def content(*objects: tuple[str, object]) -> str:
    return HEAD + "".join(OBJECT.format(name=name, score=score) for name, score in objects) + TAIL


@pytest.mark.parametrize("folder", ["", "test", "labelXml"])
@pytest.mark.parametrize("zipped", [False, True])
def test_results_as_others_write_them(folder: str, zipped: bool, tmp_path: Path) -> None:
    files = {"12": content(("Boeing737", 0.5), ("small-car", 0.25)), "7": content()}
    source = tmp_path / "test.zip" if zipped else tmp_path
    if zipped:
        with ZipFile(source, "w") as archive:
            for name, text in files.items():
                archive.writestr(f"{folder}/{name}.xml" if folder else f"{name}.xml", text)
    else:
        (tmp_path / folder).mkdir(exist_ok=True)
        for name, text in files.items():
            (tmp_path / folder / f"{name}.xml").write_text(text)
    found = read_predictions(source)
    assert found.class_names == fair1m.CLASS_NAMES
    twelve, seven = found
    assert [twelve.image_id, seven.image_id] == ["12", "7"]
    assert [found.class_names[label] for label in twelve.labels] == ["Boeing737", "Small Car"]
    assert twelve.scores.tolist() == [0.5, 0.25]
    assert twelve.quads[0].tolist() == [[1, 2], [9, 2], [9, 6], [1, 6]]
    assert twelve.boxes[0] == pytest.approx([5, 4, 8, 4, 0])
    assert len(seven) == 0
    assert found.has_empty_images


@pytest.mark.parametrize(
    "text, message",
    [
        (content(("Boeing737", 0.5), ("Concorde", 0.5)), r"1.xml:19: expected a class among"),
        (content(("Boeing737", "likely")), r"1.xml:11: expected a number in <possibleresult/probability>"),
        (content(("Boeing737", 0.5))[:400], r"1.xml:\d+: expected well-formed XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + TAIL, r"1.xml:1: expected XML without a document type"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_bad_file_is_named_with_its_line(text: str, message: str, zipped: bool, tmp_path: Path) -> None:
    (tmp_path / "1.xml").write_text(text)
    if zipped:
        with ZipFile(tmp_path / "test.zip", "w") as archive:
            archive.write(tmp_path / "1.xml", "test/1.xml")
    with pytest.raises(RboxError, match=message):
        read_predictions(tmp_path / "test.zip" if zipped else tmp_path)
