from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rbox_formats import datasets
from rbox_formats.datasets import rsdd

FILE = """<annotation>
  <filename>{stem}.jpg</filename>
  <polarization>HH</polarization>
  <resolution>3</resolution>
  <size>
    <width>512</width>
    <height>512</height>
    <depth>3</depth>
  </size>
  <object>
    <name>ship</name>
    <difficult>0</difficult>
    <robndbox>
      <cx>256</cx>
      <cy>250.5</cy>
      <h>{h}</h>
      <w>{w}</w>
      <angle>{angle}</angle>
    </robndbox>
  </object>
</annotation>
"""


def make(root: Path, stem: str = "P1", h: float = 42, w: float = 11, angle: float = 0.5) -> Path:
    (root / "Annotations").mkdir(parents=True, exist_ok=True)
    (root / "Annotations" / f"{stem}.xml").write_text(FILE.format(stem=stem, h=h, w=w, angle=angle))
    return root


@pytest.mark.parametrize(("h", "w"), [(42, 11), (11, 42)])
def test_the_angle_is_that_of_the_long_side(h: float, w: float, tmp_path: Path) -> None:
    (record,) = datasets.read("rsdd", make(tmp_path, h=h, w=w))
    np.testing.assert_array_equal(record.boxes, [[256, 250.5, 42, 11, 0.5]])
    assert (record.size, record.metadata["polarization"], record.metadata["resolution"]) == ((512, 512), "HH", "3")
    # roLabelImg's elements have the same names and another meaning.
    (other,) = datasets.read("rolabelimg", tmp_path)
    assert other.boxes[0, 4] == pytest.approx(0.5 if w > h else 0.5 - math.pi / 2)


def test_both_folders_of_images_and_a_list(tmp_path: Path) -> None:
    for stem, folder in (("P1", "JPEGImages"), ("scene", "JPEGValidation")):
        make(tmp_path, stem)
        (tmp_path / folder).mkdir()
        Image.new("L", (64, 48)).save(tmp_path / folder / f"{stem}.jpg")
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "test_inshore.txt").write_text("P1\n")
    assert [record.size for record in datasets.read("rsdd", tmp_path)] == [(64, 48)] * 2
    assert [record.image_id for record in datasets.read("rsdd", tmp_path, "test_inshore")] == ["P1"]


def test_the_long_side_is_written_as_h(tmp_path: Path) -> None:
    dataset = datasets.read("rsdd", make(tmp_path, h=11, w=42))
    text = (datasets.write("rsdd", dataset, tmp_path / "out", "train", rsdd.CLASS_NAMES) / "P1.xml").read_text()
    assert "<h>42</h>\n      <w>11</w>\n      <angle>0.5</angle>" in text
    assert "<polarization>HH</polarization>" in text
