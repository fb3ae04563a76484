from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ImageRecord, datasets
from rbox_formats.errors import DatasetError

# Two lines as they are published with the dataset's benchmark (ming71/UCAS-AOD-benchmark, README.md).
PUBLISHED = (
    "2.763971e+02\t9.125021e+01\t2.911375e+02\t3.823406e+01\t3.308891e+02\t4.928647e+01\t3.161486e+02\t1.023026e+02\t"
    "1.055379e+02\t2.787673e+02\t3.876027e+01\t4.975157e+01\t6.301615e+01\t",
    "3.002141e+02\t1.003123e+02\t3.209637e+02\t4.665470e+01\t3.566901e+02\t6.047021e+01\t3.359405e+02\t1.141279e+02\t"
    "1.111416e+02\t3.055889e+02\t4.856245e+01\t4.572642e+01\t6.365764e+01\t",
)


def make_original(root: Path) -> Path:
    for folder in ("CAR", "PLANE", "Neg"):
        (root / folder).mkdir()
        Image.new("L", (64, 48)).save(root / folder / ("N1.png" if folder == "Neg" else "P0001.png"))
    (root / "CAR" / "P0001.txt").write_text("".join(f"{line}\n" for line in PUBLISHED))
    (root / "PLANE" / "P0001.txt").write_text(f"{PUBLISHED[0]}\n")
    return root


def make_joined(root: Path, *lines: str) -> Path:
    (root / "labelTxt").mkdir()
    (root / "labelTxt" / "P0001.txt").write_text("".join(f"{line}\n" for line in lines))
    return root


def test_as_distributed(tmp_path: Path) -> None:
    dataset = datasets.read("ucas-aod", make_original(tmp_path))
    assert dataset.class_names == ("car", "airplane")
    car, plane = dataset
    assert (car.image_id, plane.image_id) == ("CAR_P0001", "PLANE_P0001")
    assert car.file == tmp_path / "CAR" / "P0001.png"
    assert (car.labels.tolist(), plane.labels.tolist()) == ([0, 0], [1])
    assert car.quads is not None
    assert car.quads[0].tolist() == [
        [276.3971, 91.25021],
        [291.1375, 38.23406],
        [330.8891, 49.28647],
        [316.1486, 102.3026],
    ]


def test_the_columns_behind_the_corners_are_what_the_text_says(tmp_path: Path) -> None:
    (car, _) = datasets.read("ucas-aod", make_original(tmp_path))
    assert car.quads is not None
    for quad, line in zip(car.quads, PUBLISHED, strict=True):
        theta, x, y, w, h = map(float, line.split()[8:])
        first, second = quad[0], quad[1]
        assert np.degrees(np.arctan2(*(second - first)[::-1])) % 180 == pytest.approx(theta, abs=1e-3)
        np.testing.assert_allclose(quad.mean(axis=0), [x + w / 2, y + h / 2], atol=1e-3)


def test_classes_under_other_names(tmp_path: Path) -> None:
    make_original(tmp_path)
    (car, plane) = datasets.read("ucas-aod", tmp_path, class_names=["Plane", "boat", "CAR"])
    assert (car.labels.tolist(), plane.labels.tolist()) == ([2, 2], [0])
    with pytest.raises(
        DatasetError, match="expected 'airplane' or 'plane' among the classes for the folder PLANE, got car"
    ):
        list(datasets.read("ucas-aod", tmp_path, class_names=["car"]))


def test_one_folder_with_lists(tmp_path: Path) -> None:
    make_joined(tmp_path, f"car  {PUBLISHED[0]}", f"airplane\t{PUBLISHED[1]}")
    (tmp_path / "labelTxt" / "P0002.txt").write_text("")
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "val.txt").write_text("P0002\nP0001\n")
    assert [record.labels.tolist() for record in datasets.read("ucas-aod", tmp_path)] == [[0, 1], []]
    assert [record.image_id for record in datasets.read("ucas-aod", tmp_path, "val")] == ["P0002", "P0001"]
    with pytest.raises(
        DatasetError, match=r"train\.txt: expected a list of a split's images, found none\nIt has the lists val"
    ):
        datasets.read("ucas-aod", tmp_path, "train")


BAD_LINES = {
    "car 1 2 3": r"P0001\.txt:2: expected 13 numbers, got 3 fields\nA line reads: class x1",
    "car 1 2 3 4 5 6 7 x": r"P0001\.txt:2: expected 13 numbers, got 'x' as number 8",
    "car 1 2 3 4 5 6 7 nan": r"P0001\.txt:2: expected finite coordinates, got 1 2 3 4 5 6 7 nan",
    "car 1 2 3 4 5 6 7 8 9 10 11 12 inf": r"P0001\.txt:2: expected finite coordinates",
    "boat 1 2 3 4 5 6 7 8": r"P0001\.txt:2: expected a class among car, airplane, got 'boat'",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_lines(line: str, tmp_path: Path) -> None:
    make_joined(tmp_path, f"car {PUBLISHED[0]}", line)
    with pytest.raises(DatasetError, match=BAD_LINES[line]):
        list(datasets.read("ucas-aod", tmp_path))


def test_bad_folders_and_lists(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected a dataset folder, found none"):
        datasets.read("ucas-aod", tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="expected a folder 'labelTxt' or 'Annotations' in it, found none"):
        datasets.read("ucas-aod", tmp_path)
    make_joined(tmp_path)
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "val.txt").write_text("P0001\n../labelTxt/P0001\n")
    with pytest.raises(
        DatasetError, match=r"val\.txt:2: expected an image with a file in .*, got '\.\./labelTxt/P0001'"
    ):
        datasets.read("ucas-aod", tmp_path, "val")
    (tmp_path / "original").mkdir()
    make_original(tmp_path / "original")
    with pytest.raises(DatasetError, match="expected no split where the folders are CAR and PLANE, got 'val'"):
        datasets.read("ucas-aod", tmp_path / "original", "val")


def test_a_written_line_is_the_published_one(tmp_path: Path) -> None:
    quad = np.array([list(map(float, PUBLISHED[0].split()[:8]))]).reshape(1, 4, 2)
    record = ImageRecord.from_quads("P0001", quad, np.zeros(1, dtype=np.int64))
    folder = datasets.write("ucas-aod", [record], tmp_path, "train", datasets.FORMATS["ucas-aod"].class_names)
    name, *numbers = (folder / "P0001.txt").read_text().split()
    assert name == "car"
    assert list(map(float, numbers[:8])) == quad.ravel().tolist()
    assert float(numbers[8]) == pytest.approx(105.5379, abs=1e-3)  # theta as published
    assert (tmp_path / "ImageSets" / "train.txt").read_text() == "P0001\n"
    two = ImageRecord.from_quads("P1\nP2", quad, np.zeros(1, dtype=np.int64))
    with pytest.raises(DatasetError, match="expected an image's name that fits a line of a list"):
        datasets.write("ucas-aod", [two], tmp_path, "train", datasets.FORMATS["ucas-aod"].class_names)
