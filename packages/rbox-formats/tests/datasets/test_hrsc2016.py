from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets, rbox_to_hbox, rbox_to_quad
from rbox_formats.datasets import hrsc2016
from rbox_formats.errors import DatasetError
from rbox_testing.places import SHARED
from shapely import Polygon, box

REAL = SHARED / "data" / "hrsc-example"

FILE = """<HRSC_Image>
  <Img_FileName>P1</Img_FileName>
  <Img_Location>69.040297,33.070036</Img_Location>
  <Img_Des>
  </Img_Des>
  <Img_SizeWidth>1172</Img_SizeWidth>
  <Img_SizeHeight>816</Img_SizeHeight>
  <HRSC_Objects>
    <HRSC_Object>
      <Class_ID>{}</Class_ID>
      <difficult>1</difficult>
      <mbox_cx>300</mbox_cx>
      <mbox_cy>200</mbox_cy>
      <mbox_w>{}</mbox_w>
      <mbox_h>20</mbox_h>
      <mbox_ang>{}</mbox_ang>
    </HRSC_Object>
  </HRSC_Objects>
</HRSC_Image>
"""


def make(
    root: Path, class_id: str = "100000013", w: str = "100", angle: str = "0.5", folder: str = "FullDataSet"
) -> Path:
    (root / folder / "Annotations").mkdir(parents=True)
    (root / folder / "Annotations" / "P1.xml").write_text(FILE.format(class_id, w, angle))
    return root


def test_a_box_turns_clockwise_in_radians(tmp_path: Path) -> None:
    (record,) = datasets.read("hrsc2016", make(tmp_path))
    np.testing.assert_array_equal(record.boxes, [[300, 200, 100, 20, 0.5]])
    # Half the long side along (cos, sin), with y down: the right end lies below the centre.
    right = rbox_to_quad(record.boxes)[0, 1:3].mean(axis=0)
    np.testing.assert_allclose(right, [300 + 50 * math.cos(0.5), 200 + 50 * math.sin(0.5)])
    assert (record.size, record.difficult.tolist()) == ((1172, 816), [True])
    assert record.metadata == {"Img_Location": "69.040297,33.070036"}


def test_sides_and_angles_beyond_the_range(tmp_path: Path) -> None:
    (record,) = datasets.read("hrsc2016", make(tmp_path, w="10", angle="2"))
    np.testing.assert_allclose(record.boxes, [[300, 200, 20, 10, 2 - math.pi / 2]])


@pytest.mark.parametrize(
    ("class_id", "ship", "kind", "type_"),
    [
        ("100000001", "ship", "ship", "ship"),
        ("100000003", "ship", "warcraft", "warcraft"),
        ("100000013", "ship", "aircraft carrier", "Kuznetsov"),
        ("100000016", "ship", "aircraft carrier", "Tarawa"),
        ("100000025", "ship", "merchant ship", "CntShip(_|.--.--|_]="),
        ("100000027", "ship", "submarine", "submarine"),
    ],
)
def test_classes_by_layer(class_id: str, ship: str, kind: str, type_: str, tmp_path: Path) -> None:
    make(tmp_path, class_id)
    for name, expected in (("hrsc2016", ship), ("hrsc2016-l2", kind), ("hrsc2016-l3", type_)):
        dataset = datasets.read(name, tmp_path)
        assert [dataset.class_names[label] for label in dataset[0].labels] == [expected]


def test_the_most_specific_class_of_a_list_of_ones_own(tmp_path: Path) -> None:
    names = ["submarine", "Aircraft_Carrier", "Nimitz"]
    (record,) = datasets.read("hrsc2016", make(tmp_path), class_names=names)
    assert record.labels.tolist() == [1]


def test_the_tree() -> None:
    assert len(hrsc2016.LEVEL_3) == len(hrsc2016.TYPES) == 31
    assert list(hrsc2016.LEVEL_2) == ["ship", "aircraft carrier", "warcraft", "merchant ship", "submarine"]
    below = {above: {number for number, kind in hrsc2016.TYPES.items() if kind.above == above} for above in range(5)}
    # By Class_ID and HRS_Class_ID in the dataset's sysdata.xml.
    assert below == {
        0: set(),
        1: {2, 3, 4, 27},
        2: {5, 6, 12, 13, 16, 31, 32, 33},
        3: {7, 8, 9, 10, 11, 14, 15, 17, 19, 28, 29},
        4: {18, 20, 22, 24, 25, 26, 30},
    }


BAD = {
    "unknown number": (("100000021",), 10, f"among {', '.join(hrsc2016.LEVEL_3)}, got '100000021'"),
    "no number": (("Nimitz",), 10, f"among {', '.join(hrsc2016.LEVEL_3)}, got 'Nimitz'"),
    "negative side": (("100000013", "-1"), 14, "expected a number from 0 to 1e+09 in <mbox_w>, got '-1'"),
    "degrees sign": (("100000013", "9", "30°"), 16, "expected a number in <mbox_ang>, got '30°'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_objects_are_named_by_file_and_line(name: str, tmp_path: Path) -> None:
    values, line, message = BAD[name]
    with pytest.raises(DatasetError) as error:
        list(datasets.read("hrsc2016-l3", make(tmp_path, *values)))
    first = str(error.value).split("\n")[0]
    assert first.startswith(f"{tmp_path / 'FullDataSet' / 'Annotations' / 'P1.xml'}:{line}: ")
    assert first.endswith(message)


def test_a_class_that_a_list_has_not(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(DatasetError) as error:
        list(datasets.read("hrsc2016", tmp_path, class_names=["submarine", "yacht"]))
    assert (
        "P1.xml:10: expected a class among submarine, yacht, got '100000013 (Kuznetsov, aircraft carrier, ship)'"
        in str(error.value)
    )


def test_numbers_out_of_the_tree_are_ships_where_all_are(tmp_path: Path) -> None:
    assert datasets.read("hrsc2016", make(tmp_path, "100000021"))[0].labels.tolist() == [0]
    make(tmp_path / "bad", "yacht")
    with pytest.raises(DatasetError, match="expected a class among ship, got 'yacht'"):
        list(datasets.read("hrsc2016", tmp_path / "bad"))


def test_folders(tmp_path: Path) -> None:
    make(tmp_path / "a", folder=".")
    make(tmp_path / "b", folder="Test")
    for folder in (tmp_path / "a" / "AllImages", tmp_path / "b" / "Test" / "JPEGImages"):
        folder.mkdir()
        Image.new("RGB", (64, 48)).save(folder / "P1.bmp")
    assert [record.size for record in datasets.read("hrsc2016", tmp_path / "a")] == [(64, 48)]
    assert [record.size for record in datasets.read("hrsc2016", tmp_path / "b", "Test")] == [(64, 48)]


def test_classes_that_the_dataset_has_not_are_not_written(tmp_path: Path) -> None:
    record = ImageRecord("P1", np.array([[50.0, 40, 20, 10, 0]]), np.array([0]))
    with pytest.raises(DatasetError, match=r"expected a class among ship, .*, got 'tram'\n.*leave its objects out"):
        datasets.write("hrsc2016", [record], tmp_path, None, ClassNames(["tram"]))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not REAL.is_dir(), reason="the real HRSC2016 file is not here")
def test_a_real_file(tmp_path: Path) -> None:
    (tmp_path / "FullDataSet").mkdir()
    (tmp_path / "FullDataSet" / "Annotations").symlink_to(REAL)
    dataset = datasets.read("hrsc2016-l3", tmp_path)
    (record,) = dataset
    np.testing.assert_array_equal(record.boxes, [[341.2143, 443.3325, 778.4297, 178.2595, -1.122944]])
    assert [dataset.class_names[label] for label in record.labels] == ["Kuznetsov"]
    assert (record.image_id, record.size) == ("100000006", (1172, 816))
    # The unit: the upright box that the file has beside it covers what the rotated one spans, in radians and not in
    # degrees (which would leave the ship nearly level).
    upright = box(119, 75, 587, 789)
    spanned = box(*rbox_to_hbox(record.boxes)[0])
    assert upright.intersection(spanned).area / upright.union(spanned).area > 0.8
    assert Polygon(rbox_to_quad(record.boxes)[0]).intersection(upright).area > 0.8 * 778.4297 * 178.2595
    # The sign, which an upright box does not tell: the bow, at (143, 776), lies at an end of the long side.
    long_side = np.array([math.cos(-1.122944), math.sin(-1.122944)])
    bow = (np.array([143, 776]) - record.boxes[0, :2]) / (778.4297 / 2)
    assert bow @ long_side == pytest.approx(-1, abs=0.05)
    assert abs(bow[1] * long_side[0] - bow[0] * long_side[1]) < 178.2595 / 778.4297
    assert abs(bow[1] * long_side[0] + bow[0] * long_side[1]) > 2 * 178.2595 / 778.4297  # with the other sign


@pytest.mark.skipif(not REAL.is_dir(), reason="the real HRSC2016 file is not here")
def test_what_is_written_of_a_real_file(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    shutil.copy(REAL / "100000006.xml", tmp_path / "Annotations")
    dataset = datasets.read("hrsc2016-l3", tmp_path)
    written = datasets.write("hrsc2016-l3", dataset, tmp_path / "out", "test", dataset.class_names) / "100000006.xml"
    theirs = [line.strip() for line in (REAL / "100000006.xml").read_text().split("\n")]
    ours = [line.strip() for line in written.read_text().split("\n")[1:]]
    # What is left out has no text; what differs is said in the module.
    lost = {line for line in theirs if line not in ours}
    assert {line.strip("</>").split(">")[0] for line in lost} == {
        *("Object_ID", "Object_NO", "box_xmin", "box_ymin", "box_xmax", "box_ymax", "header_x", "header_y"),
        *("Img_Des", "Img_SclPxlNum", "Img_MaskFileName", "Img_MaskFileFmt", "Img_MaskType", "Img_SegFileName"),
        *("Img_SegFileFmt", "seg_color"),
    }
    assert [line for line in theirs if line in ours] == [line for line in ours if line in theirs]
