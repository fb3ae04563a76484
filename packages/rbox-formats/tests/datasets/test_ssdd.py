from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from rbox_formats import datasets, rbox_to_quad
from rbox_formats.datasets import ssdd
from rbox_formats.errors import DatasetError
from shapely import Polygon

OBJECT = """  <object>
    <name>ship</name>
    <difficult>0</difficult>
    <rotated_bndbox>
      <rotated_bbox_cx>{}</rotated_bbox_cx>
      <rotated_bbox_cy>{}</rotated_bbox_cy>
      <rotated_bbox_w>{}</rotated_bbox_w>
      <rotated_bbox_h>{}</rotated_bbox_h>
      <rotated_bbox_theta>{}</rotated_bbox_theta>
      {}
    </rotated_bndbox>
  </object>
"""
# Two objects of the dataset, as its readers' tests cite them: long side `h`, and long side `w`.
BOXES = {
    (235, 160, 13, 49, 85.03): (210, 155, 260, 151, 261, 165, 211, 169),
    (242, 96, 98, 45, 85.815): (215, 48, 261, 45, 268, 143, 223, 147),
}


def an_object(box: tuple[float, ...], corners: tuple[float, ...] | None) -> str:
    tags = [f"{axis}{i}" for i in range(1, 5) for axis in "xy"]
    text = (
        ""
        if corners is None
        else "\n".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(tags, corners, strict=True))
    )
    return OBJECT.format(*box, text)


def make(root: Path, *objects: str, folder: str = "Annotations", stem: str = "000002") -> Path:
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / f"{stem}.xml").write_text(f"<annotation>\n{''.join(objects)}</annotation>\n")
    return root


def test_the_box_and_the_corners_are_those_of_the_file(tmp_path: Path) -> None:
    (record,) = datasets.read("ssdd", make(tmp_path, *(an_object(*item) for item in BOXES.items())))
    np.testing.assert_array_equal(record.quads.reshape(-1, 8), list(BOXES.values()))
    np.testing.assert_allclose(
        record.boxes, [[235, 160, 49, 13, np.radians(85.03 - 90)], [242, 96, 98, 45, np.radians(85.815)]]
    )
    # Degrees, clockwise: the box covers the corners that the file has beside it, and lies as OpenCV has it.
    for box, quad, item in zip(rbox_to_quad(record.boxes), record.quads, BOXES, strict=True):
        ours, theirs = Polygon(box), Polygon(quad)
        assert ours.intersection(theirs).area / ours.union(theirs).area > 0.85
        opencv = Polygon(cv2.boxPoints((item[:2], item[2:4], item[4])))
        assert ours.symmetric_difference(opencv).area < 1e-2


def test_a_file_without_corners(tmp_path: Path) -> None:
    (record,) = datasets.read("ssdd", make(tmp_path, an_object((9, 8, 4, 2, 45), None)))
    assert record.quads is None
    np.testing.assert_allclose(record.boxes, [[9, 8, 4, 2, np.pi / 4]])
    (empty,) = datasets.read("ssdd", make(tmp_path / "empty"))
    assert empty.quads.shape == (0, 4, 2)


def test_corners_of_some_objects_or_some_corners(tmp_path: Path) -> None:
    box, corners = next(iter(BOXES.items()))
    make(tmp_path, an_object(box, corners), an_object(box, None))
    with pytest.raises(DatasetError) as error:
        list(datasets.read("ssdd", tmp_path))
    path = tmp_path / "Annotations" / "000002.xml"
    assert str(error.value) == f"{path}:21: expected one kind of boxes in a file, got a second one"
    path.write_text(path.read_text().replace("<y4>169</y4>", ""))
    with pytest.raises(DatasetError, match=r":5: expected <y4> in <rotated_bndbox>, found none"):
        list(datasets.read("ssdd", tmp_path))
    path.write_text(path.read_text().replace("rotated_bndbox", "bndbox"))
    with pytest.raises(DatasetError, match=r":2: expected <rotated_bndbox> in <object>, found none"):
        list(datasets.read("ssdd", tmp_path))


def test_folders_by_split(tmp_path: Path) -> None:
    item = an_object(*next(iter(BOXES.items())))
    make(tmp_path, item)
    make(tmp_path, item, folder="Annotations_train")
    make(tmp_path, item, folder="Annotations_test_inshore", stem="000001")
    for name in ("JPEGImages", "JPEGImages_train"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (64, 48)).save(tmp_path / name / "000002.jpg")
    assert [record.file.parent.name for record in datasets.read("ssdd", tmp_path, "train")] == ["JPEGImages_train"]
    assert [record.file.parent.name for record in datasets.read("ssdd", tmp_path)] == ["JPEGImages"]
    assert [record.path for record in datasets.read("ssdd", tmp_path, "test_inshore")] == [None]
    assert (ssdd.images(tmp_path, "train"), len(ssdd.CLASS_NAMES)) == (tmp_path / "JPEGImages", 1)
