from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets, rbox_to_quad
from rbox_formats.errors import DatasetError

INDEX = "/in/assets/02/1c5c.png\t/in/annotations/02/1c5c.txt\n"


def make(root: Path, *lines: str, index: str = INDEX, yaml: str | None = "class_names:\n- plane\n- ship\n") -> Path:
    (root / "annotations" / "02").mkdir(parents=True)
    (root / "assets" / "02").mkdir(parents=True)
    (root / "annotations" / "02" / "1c5c.txt").write_text("".join(f"{line}\n" for line in lines))
    (root / "train-index.tsv").write_text(index)
    if yaml is not None:
        (root / "config.yaml").write_text(yaml)
    return root


def test_the_documented_lines(tmp_path: Path) -> None:
    # From dataset-format.md of modelai/ymir-executor-fork, the second turned.
    make(tmp_path, "0, 242, 61, 424, 249, -1.0, 0.0", "1, 211, 147, 325, 255, -1.0, 0.5", "1, 122, 7, 372, 375")
    Image.new("L", (500, 400)).save(tmp_path / "assets" / "02" / "1c5c.png")
    (record,) = datasets.read("ymir", tmp_path, "train")
    assert (record.image_id, record.size, record.labels.tolist()) == ("1c5c", (500, 400), [0, 1, 1])
    assert record.quads is None
    corners = rbox_to_quad(record.boxes)
    # The last pixel counts: from 242 to 424 are 183 pixels, from the edge 242 to the edge 425.
    np.testing.assert_allclose([corners[0].min(axis=0), corners[0].max(axis=0)], [[242, 61], [425, 250]])
    np.testing.assert_allclose([corners[2].min(axis=0), corners[2].max(axis=0)], [[122, 7], [373, 376]])


def test_the_angle_turns_clockwise_on_the_screen(tmp_path: Path) -> None:
    make(tmp_path, "0, 100, 100, 139, 109, -1.0, 0.5235987755982988")  # 40 wide, 10 high, 30 degrees
    (record,) = datasets.read("ymir", tmp_path, "train")
    np.testing.assert_allclose(record.boxes, [[120, 105, 40, 10, np.pi / 6]])
    right = rbox_to_quad(record.boxes)[0, 1:3].mean(axis=0)
    np.testing.assert_allclose(right, [120 + 20 * np.cos(np.pi / 6), 105 + 10])  # the right end is below


BAD_LINES = {
    "0, 1, 2, 3": "expected 7 values with commas between, got 4",
    "0, 1, 2, 3, 4, 5, 6, 7": "expected 7 values with commas between, got 8",
    "ship, 1, 2, 3, 4, -1.0, 0.0": "expected class_id as a whole number from 0, got 'ship'",
    "2, 1, 2, 3, 4, -1.0, 0.0": "expected a class_id from 0 to 1, got 2",
    "0, 1, 2, x, 4, -1.0, 0.0": "expected 4 coordinates, got 'x' as number 3",
    "0, 1, 2, 3.5, 4, -1.0, 0.0": "expected 4 whole numbers, got 1, 2, 3.5, 4",
    "0, 1, 2, 3, 4, -1.0, nan": "expected finite coordinates, got -1.0 nan",
    "0, 1, 2, 3, 4, -1.0, x": "expected a quality and an angle, got 'x' as number 2",
    "0, 3, 2, 1, 4, -1.0, 0.0": "expected xmin <= xmax and ymin <= ymax, got 3, 2, 1, 4",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_lines(line: str, tmp_path: Path) -> None:
    make(tmp_path, "0, 1, 2, 3, 4, -1.0, 0.0", line)
    with pytest.raises(DatasetError, match=rf"1c5c\.txt:2: {BAD_LINES[line]}"):
        list(datasets.read("ymir", tmp_path, "train"))


BAD_INDEXES = {
    "/in/assets/a.png": "expected the paths of an image and its annotations with a tab between, got '/in/assets/a.png'",
    "/in/assets/a.png /in/annotations/a.txt": "expected the paths of an image and its annotations",
    "/data/a.png\t/in/annotations/a.txt": "expected a path below .*, got '/data/a.png'\nPaths are below",
    "/in/assets/a.png\t/in/../a.txt": r"expected a path below .*, got '/in/\.\./a\.txt'",
    "/in/../a.png\ta.txt": r"expected a path below .*, got '/in/\.\./a\.png'",
    "/in/\ta.txt": "expected a path below .*, got '/in/'",
}


@pytest.mark.parametrize("line", BAD_INDEXES)
def test_bad_indexes(line: str, tmp_path: Path) -> None:
    make(tmp_path, index=f"{INDEX}\n{line}\n")
    with pytest.raises(DatasetError, match=rf"train-index\.tsv:3: {BAD_INDEXES[line]}"):
        datasets.read("ymir", tmp_path, "train")


def test_bad_datasets(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected a dataset folder, found none"):
        datasets.read("ymir", tmp_path / "nowhere")
    make(tmp_path, yaml=None)
    with pytest.raises(
        DatasetError, match=r"val-index\.tsv: expected an index file, found none\nIt has the splits train"
    ):
        datasets.read("ymir", tmp_path, "val")
    with pytest.raises(DatasetError, match=r"index\.tsv: expected an index file, found none\nIt has the splits train"):
        datasets.read("ymir", tmp_path)
    with pytest.raises(DatasetError, match=r"expected class_names in config\.yaml, found none"):
        datasets.read("ymir", tmp_path, "train")
    assert datasets.read("ymir", tmp_path, "train", ["ship"]).class_names == ("ship",)
    (tmp_path / "train-index.tsv").write_text(INDEX * 2)
    with pytest.raises(DatasetError, match="expected annotation files of different names, got '1c5c' for"):
        datasets.read("ymir", tmp_path, "train", ["ship"])


def test_names_of_the_caller_are_looked_up(tmp_path: Path) -> None:
    make(tmp_path, "1, 1, 2, 3, 4, -1.0, 0.0")
    (record,) = datasets.read("ymir", tmp_path, "train", ["Ship"])
    assert record.labels.tolist() == [0]
    with pytest.raises(DatasetError, match=r"1c5c\.txt:1: expected a class among tram, got 'ship'"):
        list(datasets.read("ymir", tmp_path, "train", ["tram"]))


def test_what_is_written_is_what_the_platform_writes(tmp_path: Path) -> None:
    names = ClassNames(["plane", "small vehicle"])
    boxes = np.array([[120.2, 104.9, 40.3, 9.8, 0.5], [5, 5, 0.1, 0.1, 0]])
    record = ImageRecord("P1", boxes, np.array([1, 0]))
    datasets.write("ymir", [record], tmp_path, "val", names)
    assert (tmp_path / "val-index.tsv").read_text() == "/in/assets/val/P1.png\t/in/annotations/val/P1.txt\n"
    written = (tmp_path / "annotations" / "val" / "P1.txt").read_text()
    assert written.splitlines()[0] == "1, 100, 100, 139, 109, -1.0, 0.5"
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == {"class_names": ["plane", "small vehicle"]}
    with pytest.raises(DatasetError, match="expected the names ship, got plane, small vehicle"):
        datasets.write("ymir", [record], tmp_path, "test", ClassNames(["ship"]))
    with pytest.raises(DatasetError, match="expected an image's name that fits a line of an index"):
        datasets.write("ymir", [ImageRecord("a\tb", boxes, np.array([1, 0]))], tmp_path, "val", names)


def test_images_without_annotations_have_no_objects(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, index=f"{INDEX}/in/assets/02/none.png\t/in/annotations/02/none.txt\n")
    dataset = datasets.read("ymir", tmp_path, "train")
    assert [(record.image_id, len(record)) for record in dataset] == [("1c5c", 0), ("none", 0)]  # empty, and missing
    assert "1 of 2 images have no annotation file and count as images without objects: none.png" in caplog.text


def test_a_list_without_lines_is_a_dataset_without_images(tmp_path: Path) -> None:
    make(tmp_path, index="\n")
    assert list(datasets.read("ymir", tmp_path, "train")) == []


def test_paths_may_have_spaces_and_be_absolute(tmp_path: Path) -> None:
    make(tmp_path, "0, 1, 2, 3, 4, -1.0, 0.0", index=f"{tmp_path}/assets/a b.png\t{tmp_path}/annotations/02/1c5c.txt")
    Image.new("L", (9, 8)).save(tmp_path / "assets" / "a b.png")
    (record,) = datasets.read("ymir", tmp_path, "train")
    assert (record.path, len(record)) == (tmp_path / "assets" / "a b.png", 1)


def test_an_angle_in_pi(tmp_path: Path) -> None:
    make(tmp_path, "0, 100, 100, 139, 109, -1.0, 0.25")
    (record,) = datasets.read("ymir-pi", tmp_path, "train")
    np.testing.assert_allclose(record.boxes, [[120, 105, 40, 10, np.pi / 4]])
    datasets.write("ymir-pi", [record], tmp_path / "again", None, ClassNames(["plane", "ship"]))
    line = (tmp_path / "again" / "annotations" / "1c5c.txt").read_text()
    assert line == "0, 100, 100, 139, 109, -1.0, 0.25\n"


def test_qualities_are_kept(tmp_path: Path) -> None:
    make(tmp_path, "0, 1, 2, 3, 4, 0.5, 0.0", "0, 1, 2, 3, 4")
    (record,) = datasets.read("ymir", tmp_path, "train")
    assert record.metadata["quality"] == [0.5, -1.0]
    for name, suffix in (("ymir", "txt"), ("ymir-voc", "xml")):
        datasets.write(name, [record], tmp_path / name, None, ClassNames(["plane", "ship"]))
        assert "0.5" in (tmp_path / name / "annotations" / f"1c5c.{suffix}").read_text()
        (again,) = datasets.read(name, tmp_path / name)
        assert again.metadata["quality"] == [0.5, -1.0]


VOC = """<annotation><filename>1c5c.png</filename><size><width>500</width><height>400</height></size>
<object><name>ship</name><bndbox><xmin>100</xmin><ymin>100</ymin><xmax>139</xmax><ymax>109</ymax>
<rotate_angle>{angle}</rotate_angle></bndbox><difficult>1</difficult><box_quality>-1.0</box_quality></object>
</annotation>"""
INDEX_VOC = INDEX.replace(".txt", ".xml")


def test_xml(tmp_path: Path) -> None:
    make(tmp_path, index=INDEX_VOC)
    path = tmp_path / "annotations" / "02" / "1c5c.xml"
    path.write_text(VOC.format(angle="0.5236"))
    (record,) = datasets.read("ymir", tmp_path, "train")
    np.testing.assert_allclose(record.boxes, [[120, 105, 40, 10, 0.5236]])
    assert (record.labels.tolist(), record.difficult.tolist(), record.size) == ([1], [True], (500, 400))
    datasets.write("ymir-voc", [record], tmp_path / "again", None, ClassNames(["plane", "ship"]))
    written = (tmp_path / "again" / "annotations" / "1c5c.xml").read_text()
    assert "<xmax>139</xmax>" in written
    assert "<rotate_angle>0.5236</rotate_angle>" in written
    (again,) = datasets.read("ymir-voc", tmp_path / "again")
    np.testing.assert_allclose(again.boxes, record.boxes)
    path.write_text(VOC.format(angle="0.5236").replace("<xmax>139", "<xmax>139.5"))
    with pytest.raises(DatasetError, match=r"1c5c\.xml:2: expected 4 whole numbers, got 100 100 139\.5 109"):
        list(datasets.read("ymir", tmp_path, "train"))


def coco_file(root: Path, **annotation: Any) -> None:
    make(root, index="/in/assets/02/1c5c.png\t/in/annotations/coco-annotations.json\n")
    whole = {
        "images": [{"id": 7, "file_name": "other.png"}, {"id": 9, "file_name": "1c5c.png"}],
        "annotations": [{"id": 1, "image_id": 9, "category_id": 1, "confidence": -1.0, **annotation}],
        "categories": [{"id": 0, "name": "plane"}, {"id": 1, "name": "ship"}],
    }
    (root / "annotations" / "coco-annotations.json").write_text(json.dumps(whole))


def test_json(tmp_path: Path) -> None:
    corners = [10, 10, 30, 10, 30, 20, 10, 20]
    coco_file(tmp_path, segmentation=[corners], bbox=[10, 10, 20, 10])
    (record,) = datasets.read("ymir", tmp_path, "train")
    assert (record.image_id, record.labels.tolist()) == ("1c5c", [1])
    assert record.corners.reshape(-1).tolist() == corners
    datasets.write("ymir-coco", [record], tmp_path / "again", "val", ClassNames(["plane", "ship"]))
    written = json.loads((tmp_path / "again" / "annotations" / "val" / "coco-annotations.json").read_text())
    assert [category["id"] for category in written["categories"]] == [0, 1]
    (again,) = datasets.read("ymir-coco", tmp_path / "again", "val")
    assert again.corners.tolist() == record.corners.tolist()
    assert again.labels.tolist() == [1]


def test_a_mask_in_run_lengths(tmp_path: Path) -> None:
    masks = pytest.importorskip("pycocotools.mask")
    mask = np.zeros((40, 50), dtype=np.uint8, order="F")
    rows, columns = np.mgrid[:40, :50]
    mask[(np.abs(rows - columns) < 4) & (np.abs(rows + columns - 45) < 18)] = 1
    packed = masks.encode(mask)
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[2], mask.ravel(order="F"), [2]])))).tolist()
    cv2 = pytest.importorskip("cv2")
    centres = (np.argwhere(mask)[:, ::-1] + 0.5).astype(np.float32)
    expected = cv2.contourArea(cv2.boxPoints(cv2.minAreaRect(centres)))
    for number, counts in enumerate([packed["counts"].decode(), runs]):
        root = tmp_path / str(number)
        coco_file(root, segmentation={"counts": counts, "size": [40, 50]}, bbox=[0, 0, 50, 40])
        (record,) = datasets.read("ymir", root, "train")
        assert np.prod(record.boxes[0, 2:4]) == pytest.approx(expected, rel=1e-4)
        assert abs(abs(record.boxes[0, 4]) - np.pi / 4) < 0.01


@pytest.mark.parametrize("counts", ["", "~", "0", [1, 2], [5, -5, 2000]])
def test_a_broken_mask(counts: Any, tmp_path: Path) -> None:
    coco_file(tmp_path, segmentation={"counts": counts, "size": [40, 50]}, bbox=[0, 0, 5, 4])
    if not counts:
        assert len(datasets.read("ymir", tmp_path, "train")) == 1
        return
    with pytest.raises(DatasetError, match=r"segmentation: expected (the counts of )?run lengths"):
        list(datasets.read("ymir", tmp_path, "train"))


def test_a_set_by_its_env_yaml(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    make(tmp_path, "0, 1, 2, 3, 4, -1.0, 0.0")
    (tmp_path / "lists").mkdir()
    (tmp_path / "train-index.tsv").rename(tmp_path / "lists" / "a.tsv")
    (tmp_path / "lists" / "b.tsv").write_text("")
    text = f"input: {{root_dir: {tmp_path}, training_index_file: lists/a.tsv, val_index_file: lists/b.tsv}}"
    (tmp_path / "env.yaml").write_text(text)
    assert [len(record) for record in datasets.read("ymir", tmp_path / "env.yaml", "train")] == [1]
    assert list(datasets.read("ymir", tmp_path / "env.yaml", "val")) == []
