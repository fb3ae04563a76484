from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ImageRecord, datasets
from rbox_formats.datasets import dior_r
from rbox_formats.errors import DatasetError
from rbox_testing.places import SHARED

REAL = SHARED / "data" / "dior-example"

# A quad that is no rectangle, after the dataset's own files.
FILE = """<annotation>
    <filename>00001.jpg</filename>
    <size>
        <width>800</width>
        <height>800</height>
        <depth>3</depth>
    </size>
    <object>
        <type>robndbox</type>
        <name>Expressway-Service-area</name>
        <difficult>1</difficult>
        <robndbox>
            <x_left_top>10</x_left_top>
            <y_left_top>20</y_left_top>
            <x_right_top>110.5</x_right_top>
            <y_right_top>30</y_right_top>
            <x_right_bottom>100</x_right_bottom>
            <y_right_bottom>90</y_right_bottom>
            <x_left_bottom>0</x_left_bottom>
            <y_left_bottom>80</y_left_bottom>
        </robndbox>
        <angle>6</angle>
    </object>
</annotation>
"""


def make(root: Path, text: str = FILE, folder: str = "Annotations/Oriented Bounding Boxes") -> Path:
    (root / folder).mkdir(parents=True)
    (root / folder / "00001.xml").write_text(text)
    return root


def test_the_corners_are_the_quad(tmp_path: Path) -> None:
    (record,) = datasets.read("dior-r", make(tmp_path))
    np.testing.assert_array_equal(record.quads, [[[10, 20], [110.5, 30], [100, 90], [0, 80]]])
    assert dior_r.CLASS_NAMES[record.labels[0]] == "expressway-service-area"
    assert (record.difficult.tolist(), record.size, record.metadata) == ([True], (800, 800), {"size/depth": "3"})


@pytest.mark.parametrize("folder", ["Annotations/Oriented Bounding Boxes", "Annotations"])
@pytest.mark.parametrize("lists", ["ImageSets/Main", "Main", "ImageSets"])
def test_folders(folder: str, lists: str, tmp_path: Path) -> None:
    make(tmp_path, folder=folder)
    (tmp_path / lists).mkdir(parents=True)
    (tmp_path / lists / "trainval.txt").write_text("00001\r\n")
    for images in ("JPEGImages-trainval", "JPEGImages-test"):
        (tmp_path / images).mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "JPEGImages-test" / "00001.jpg")
    (record,) = datasets.read("dior-r", tmp_path, "trainval")
    assert record.file == tmp_path / "JPEGImages-test" / "00001.jpg"


def test_an_image_without_objects(tmp_path: Path) -> None:
    (record,) = datasets.read("dior-r", make(tmp_path, "<annotation/>"))
    assert (record.boxes.shape, record.quads.shape, len(record.difficult)) == ((0, 5), (0, 4, 2), 0)


def test_horizontal_boxes_are_another_format(tmp_path: Path) -> None:
    upright = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"
    make(tmp_path, f"<annotation>\n<object><name>ship</name>{upright}</object></annotation>")
    with pytest.raises(DatasetError) as error:
        list(datasets.read("dior-r", tmp_path))
    where = tmp_path / "Annotations" / "Oriented Bounding Boxes" / "00001.xml"
    assert str(error.value) == (
        f"{where}:2: expected <robndbox> in <object>, found none\n"
        'These are horizontal boxes: read them as format "voc".'
    )


def test_a_file_in_fair1ms_format_is_not_an_empty_one(tmp_path: Path) -> None:
    make(tmp_path, "<annotation>\n<objects/></annotation>")
    with pytest.raises(DatasetError, match=r"00001\.xml:2: expected <object> in <annotation>, got <objects>\n.*FAIR1M"):
        list(datasets.read("dior-r", tmp_path))


def test_images_of_the_test_set_have_a_folder_of_their_own(tmp_path: Path) -> None:
    images = datasets.FORMATS["dior-r"].images
    assert images is not None
    assert [images(tmp_path, split).name for split in ("train", "val", "test", None)] == [
        *["JPEGImages-trainval"] * 2,
        "JPEGImages-test",
        "JPEGImages-trainval",
    ]


def test_boxes_without_quads_are_written_as_their_corners(tmp_path: Path) -> None:
    record = ImageRecord("P1", np.array([[50.0, 40, 20, 10, 0]]), np.array([3]))
    datasets.write("dior-r", [record], tmp_path, "val", dior_r.CLASS_NAMES)
    (again,) = datasets.read("dior-r", tmp_path, "val")
    np.testing.assert_array_equal(again.quads, [[[40, 35], [60, 35], [60, 45], [40, 45]]])
    np.testing.assert_array_equal(again.boxes, record.boxes)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real DIOR-R file is not here")
def test_a_real_file_and_what_is_written_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "Annotations" / "Oriented Bounding Boxes"
    folder.mkdir(parents=True)
    shutil.copy(REAL / "dior_00001.xml", folder)
    (tmp_path / "JPEGImages-trainval").symlink_to(REAL)
    dataset = datasets.read("dior-r", tmp_path)
    (record,) = dataset
    np.testing.assert_array_equal(record.quads, [[[133, 237], [684, 237], [684, 672], [133, 672]]])
    np.testing.assert_array_equal(record.boxes, [[408.5, 454.5, 551, 435, 0]])
    assert [dataset.class_names[label] for label in record.labels] == ["golffield"]
    assert (record.size, record.difficult.tolist()) == ((800, 800), [False])
    written = datasets.write("dior-r", dataset, tmp_path / "out", "train", dataset.class_names) / "dior_00001.xml"
    # All but the element that nobody knows and the image's own name comes back, line by line.
    theirs = (REAL / "dior_00001.xml").read_text().replace(">00001.jpg<", ">dior_00001.jpg<").split("\n")
    assert [line.strip() for line in theirs if "angle" not in line] == [
        line.strip() for line in written.read_text().split("\n")
    ]
