from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ImageRecord, datasets
from rbox_formats.errors import DatasetError

OBJECT = "10 20 30 20 30 40 10 40"


def make(root: Path, *lines: str) -> Path:
    folder = root / "val" / "annfiles"
    folder.mkdir(parents=True)
    (folder / "s1.txt").write_text("".join(f"{line}\n" for line in lines))
    return root


def test_the_makers_classes_folders_and_difficulties(tmp_path: Path) -> None:
    make(tmp_path, f"{OBJECT} harbor 0", f"{OBJECT} aircraft 3", f"{OBJECT} ship 100")
    (tmp_path / "val" / "images").mkdir()
    Image.new("L", (50, 40)).save(tmp_path / "val" / "images" / "s1.jpg")
    dataset = datasets.read("rsar", tmp_path, "val")
    assert dataset.class_names == ("ship", "aircraft", "car", "tank", "bridge", "harbor")
    (record,) = dataset
    assert record.labels.tolist() == [5, 1, 0]
    assert record.difficult.tolist() == [False, True, True]
    assert (record.image_id, record.size) == ("s1", (50, 40))


BAD_LINES = {
    f"{OBJECT} plane 0": "expected a class among ship, aircraft, car, tank, bridge, harbor, got 'plane'",
    f"{OBJECT} ship -1": "expected a difficulty among 0, 1, .*, got '-1'",
    "10 20 30 20 30 40 10 nan ship 0": "expected finite coordinates",
    "10 20 30 20 30 40 10 ship 0": "expected 8 coordinates, got 'ship' as number 8",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_lines(line: str, tmp_path: Path) -> None:
    make(tmp_path, f"{OBJECT} ship 0", line)
    with pytest.raises(DatasetError, match=rf"s1\.txt:2: {BAD_LINES[line]}"):
        list(datasets.read("rsar", tmp_path, "val"))


def test_dotas_headers_are_not_written(tmp_path: Path) -> None:
    record = ImageRecord("s1", np.ones((1, 5)), np.zeros(1, dtype=np.int64), metadata={"gsd": "0.5"})
    folder = datasets.write("rsar", [record], tmp_path, "train", datasets.FORMATS["rsar"].class_names)
    assert folder == tmp_path / "train" / "annfiles"
    assert (folder / "s1.txt").read_text().count("\n") == 1


def test_another_layout(tmp_path: Path) -> None:
    (tmp_path / "labelTxt").mkdir()
    with pytest.raises(DatasetError, match="expected a folder 'annfiles' in it, found none"):
        datasets.read("rsar", tmp_path)
