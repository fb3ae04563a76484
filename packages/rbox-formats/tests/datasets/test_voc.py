from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets, rbox_to_hbox
from rbox_formats.errors import DatasetError

FILE = """<annotation>
  <filename>P1.jpg</filename>
  <object>
    <name>dog</name>
    <bndbox>
      <xmin>48</xmin>
      <ymin>{}</ymin>
      <xmax>195</xmax>
      <ymax>371.5</ymax>
    </bndbox>
    <part>
      <name>head</name>
      <bndbox>
        <xmin>1</xmin>
        <ymin>2</ymin>
        <xmax>3</xmax>
        <ymax>4</ymax>
      </bndbox>
    </part>
  </object>
</annotation>
"""


def make(root: Path, y_min: str = "240", folder: str = "Annotations") -> Path:
    (root / folder).mkdir(parents=True)
    (root / folder / "P1.xml").write_text(FILE.format(y_min))
    return root


def test_upright_boxes(tmp_path: Path) -> None:
    dataset = datasets.read("voc", make(tmp_path))
    (record,) = dataset
    assert dataset.class_names == ("dog",)  # parts are no objects
    np.testing.assert_allclose(rbox_to_hbox(record.boxes), [[48, 240, 195, 371.5]])
    assert (record.quads, record.difficult.tolist(), record.width) == (None, [False], None)


def test_a_box_that_ends_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as error:
        list(datasets.read("voc", make(tmp_path, "400")))
    where = tmp_path / "Annotations" / "P1.xml"
    assert str(error.value) == f"{where}:5: expected xmin <= xmax and ymin <= ymax, got 48 400 195 371.5"


def test_what_is_written_lies_around_the_objects(tmp_path: Path) -> None:
    boxes = np.array([[50.0, 40, 20, 10, np.pi / 6]])
    quads = np.array([[[10.0, 20], [30, 18], [31, 40], [9, 38]]])
    names = ClassNames(["dog"])
    records = [ImageRecord("a", boxes, np.array([0])), ImageRecord.from_quads("b", quads, np.array([0]))]
    datasets.write("voc", records, tmp_path, "train", names)
    a, b = datasets.read("voc", tmp_path, "train", names)
    # 20 cos 30 + 10 sin 30 wide, 20 sin 30 + 10 cos 30 high.
    half_w, half_h = 10 * 0.75**0.5 + 2.5, 5 + 5 * 0.75**0.5
    np.testing.assert_allclose(rbox_to_hbox(a.boxes), [[50 - half_w, 40 - half_h, 50 + half_w, 40 + half_h]])
    np.testing.assert_allclose(rbox_to_hbox(b.boxes), [[9, 18, 31, 40]])


def test_diors_horizontal_boxes(tmp_path: Path) -> None:
    make(tmp_path, folder="Annotations/Horizontal Bounding Boxes")
    (tmp_path / "JPEGImages-test").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "JPEGImages-test" / "P1.jpg")
    (record,) = datasets.read("voc", tmp_path)
    assert record.file == tmp_path / "JPEGImages-test" / "P1.jpg"


def test_a_box_is_turned_as_cvat_says(tmp_path: Path) -> None:
    attributes = "".join(
        f"<attribute><name>{name}</name><value>{value}</value></attribute>"
        for name, value in (("rotation", "30.0"), ("heading", "7"), ("occluded", "False"))
    )
    path = make(tmp_path) / "Annotations" / "P1.xml"
    text = path.read_text().replace("<part>", f"<attributes>{attributes}</attributes><rotation>3</rotation><part>")
    path.write_text(
        text.replace("</object>", "</object>" + text[text.index("<object>") : text.index("<attributes>")] + "</object>")
    )
    (record,) = datasets.read("voc", tmp_path)
    width, height = 195 - 48, 371.5 - 240
    np.testing.assert_allclose(
        record.boxes, [[121.5, 305.75, width, height, np.pi / 6], [121.5, 305.75, width, height, 0]]
    )
    assert record.passed_over == {
        "attribute 'heading' that looks like an angle": 1,
        "attribute 'rotation' that looks like an angle": 1,
    }


def test_images_and_annotations_that_do_not_find_each_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """P1's annotation is called otherwise, and names it."""
    make(tmp_path)
    folder = tmp_path / "Annotations"
    (folder / "P1.xml").rename(folder / "first.xml")
    (folder / "P9.xml").write_text((folder / "first.xml").read_text().replace("P1.jpg", "P9.jpg"))
    (tmp_path / "JPEGImages").mkdir()
    for name in ("P1", "P2"):
        Image.new("RGB", (400, 400)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
    dataset = datasets.read("voc", tmp_path)
    assert [path.name for path in dataset.unmatched.images] == ["P2.jpg"]
    assert [path.name for path in dataset.unmatched.labels] == ["P9.xml"]
    assert caplog.messages == [
        "1 of 2 images have no annotation file and are left out: P2.jpg",
        "1 of 2 annotation files have no image: P9.xml",
    ]
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("first\n")
    assert not datasets.read("voc", tmp_path, "train").unmatched.images  # others' images are among them
