from __future__ import annotations

from pathlib import Path

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
    "/data/a.png\t/in/annotations/a.txt": "expected the name of a file inside .*, got '/data/a.png'\nPaths begin with",
    "/in/assets/a.png\t/in/../a.txt": r"expected the name of a file inside .*, got '\.\./a\.txt'",
    "/in/../a.png\ta.txt": r"expected the name of a file inside .*, got '\.\./a\.png'",
    "/in/\ta.txt": "expected the name of a file inside .*, got ''",
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
    (tmp_path / "train-index.tsv").write_text("assets/a.png\tannotations/a.txt")
    with pytest.raises(DatasetError, match=r"a\.txt: expected a file that can be read, got: No such file"):
        list(datasets.read("ymir", tmp_path, "train", ["ship"]))


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
