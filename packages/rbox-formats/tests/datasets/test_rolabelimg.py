from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets, rbox_to_quad
from rbox_formats.errors import DatasetError

# The example of the tool's README.
FILE = """<annotation verified="yes">
  <folder>hsrc</folder>
  <filename>100000001</filename>
  <path>/Users/x/100000001.bmp</path>
  <source>
    <database>Unknown</database>
  </source>
  <size>
    <width>1166</width>
    <height>753</height>
    <depth>3</depth>
  </size>
  <segmented>0</segmented>
  <object>
    <type>bndbox</type>
    <name>ship</name>
    <difficult>0</difficult>
    <bndbox>
      <xmin>178</xmin>
      <ymin>246</ymin>
      <xmax>974</xmax>
      <ymax>504</ymax>
    </bndbox>
  </object>
  <object>
    <type>robndbox</type>
    <name>Aircraft</name>
    <difficult>1</difficult>
    <robndbox>
      <cx>580.7887</cx>
      <cy>343.2913</cy>
      <w>775.0449</w>
      <h>170.2159</h>
      <angle>2.889813</angle>
    </robndbox>
  </object>
</annotation>
"""


def make(root: Path, text: str = FILE, stem: str = "100000001") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / f"{stem}.xml").write_text(text)
    return root


def test_rotated_and_upright_boxes(tmp_path: Path) -> None:
    dataset = datasets.read("rolabelimg", make(tmp_path))
    (record,) = dataset
    assert dataset.class_names == ("Aircraft", "ship")
    assert (record.labels.tolist(), record.difficult.tolist(), record.quads) == ([1, 0], [False, True], None)
    np.testing.assert_allclose(
        record.boxes,
        [[576, 375, 796, 258, 0], [580.7887, 343.2913, 775.0449, 170.2159, 2.889813 - math.pi]],
    )
    assert record.metadata["verified"] == "yes"
    # Clockwise on the screen, as OpenCV's rotated rectangles are.
    corners = cv2.boxPoints(((580.7887, 343.2913), (775.0449, 170.2159), math.degrees(2.889813)))
    ours = rbox_to_quad(record.boxes)[1]
    assert np.abs(np.sort(corners.view("f4,f4"), axis=0).view("f4") - np.array(sorted(ours.tolist()))).max() < 1e-2


def test_the_longer_side_may_be_the_other(tmp_path: Path) -> None:
    text = FILE.replace("<w>775.0449<", "<w>100<").replace("2.889813", "0.25")
    boxes = datasets.read("rolabelimg", make(tmp_path, text))[0].boxes
    np.testing.assert_allclose(boxes[1], [580.7887, 343.2913, 170.2159, 100, 0.25 - math.pi / 2])


def test_the_mark_of_what_was_looked_over_comes_back(tmp_path: Path) -> None:
    dataset = datasets.read("rolabelimg", make(tmp_path))
    path = datasets.write("rolabelimg", dataset, tmp_path / "out", None, dataset.class_names) / "100000001.xml"
    assert '<annotation verified="yes">' in path.read_text()
    record = ImageRecord("P1", np.zeros((0, 5)), np.zeros(0, dtype=np.int64))
    path = datasets.write("rolabelimg", [record], tmp_path / "out", None, dataset.class_names) / "P1.xml"
    assert "<annotation>" in path.read_text()


@pytest.mark.parametrize(
    ("annotations", "images"), [(".", "."), ("Annotations", "JPEGImages"), ("annotations", "images")]
)
def test_folders(annotations: str, images: str, tmp_path: Path) -> None:
    make(tmp_path / "train" / annotations)
    (tmp_path / "train" / images).mkdir(exist_ok=True)
    Image.new("RGB", (64, 48)).save(tmp_path / "train" / images / "100000001.bmp")
    (record,) = datasets.read("rolabelimg", tmp_path, "train")
    assert record.file == tmp_path / "train" / images / "100000001.bmp"


def test_names_that_differ_in_what_lookup_disregards_are_one_class(tmp_path: Path) -> None:
    make(tmp_path, stem="a")
    make(tmp_path, FILE.replace(">ship<", ">Ship<").replace(">Aircraft<", ">air-craft<"), stem="b")
    dataset = datasets.read("rolabelimg", tmp_path)
    assert dataset.class_names == ("Aircraft", "Ship")
    assert [record.labels.tolist() for record in dataset] == [[1, 0]] * 2


def test_classes_that_are_given_are_not_looked_for(tmp_path: Path) -> None:
    make(tmp_path, "<annotation>\n<object><name>tram</name></object></annotation>")
    dataset = datasets.read("rolabelimg", tmp_path, class_names=["ship"])
    with pytest.raises(DatasetError, match=r":2: expected <robndbox> or <bndbox> in <object>, found neither"):
        list(dataset)
    corners = "<xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax>"
    make(tmp_path, f"<annotation>\n<object><name>-</name><bndbox>{corners}</bndbox></object></annotation>")
    with pytest.raises(DatasetError, match=r"100000001\.xml:2: expected a class .*, got '-'"):  # '-' names nothing
        list(datasets.read("rolabelimg", tmp_path))
    make(tmp_path, "<annotation>\n<object></object></annotation>")
    with pytest.raises(DatasetError, match=r"100000001\.xml:2: expected <name> in <object>, found none"):
        datasets.read("rolabelimg", tmp_path)


def test_negative_sides(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r":33: expected a number from 0 to 1e\+09 in <h>, got '-3'"):
        datasets.read("rolabelimg", make(tmp_path, FILE.replace("170.2159", "-3")))[0]


def test_text_of_all_kinds(tmp_path: Path) -> None:
    names = ClassNames(["<b> & 船"])
    record = ImageRecord("é & 船", np.array([[50.0, 40, 20, 10, 0.5]]), np.array([0]), metadata={"folder": "<>"})
    datasets.write("rolabelimg", [record], tmp_path, None, names)
    dataset = datasets.read("rolabelimg", tmp_path)
    assert dataset.class_names == names
    assert (dataset[0].image_id, dataset[0].metadata) == ("é & 船", {"folder": "<>"})


def test_degrees_are_no_angle_here(tmp_path: Path) -> None:
    text = FILE.replace("<angle>2.889813</angle>", "<angle>165.57</angle>")
    with pytest.raises(
        DatasetError, match=r"xml:34: expected an angle in radians, up to 2 pi, got 165.57\nDegrees are no"
    ):
        list(datasets.read("rolabelimg", make(tmp_path, text)))
