from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rbox_formats import datasets
from rbox_formats.datasets import srsdd
from rbox_formats.errors import DatasetError

LINES = """imagesource:GF3
gsd:1
10 20 30.5 20 30 40 10 40 Cell-Container 0
100 200 300 200 300 400 100 400 ore-oil 1
"""


def make(root: Path, text: str = LINES, folder: str = "labels") -> Path:
    (root / "train" / folder).mkdir(parents=True, exist_ok=True)
    (root / "train" / folder / "L1.txt").write_text(text)
    (root / "train" / "images").mkdir(exist_ok=True)
    Image.new("L", (64, 48)).save(root / "train" / "images" / "L1.png")
    return root


@pytest.mark.parametrize("folder", ["labels", "labelTxt", "annfiles"])
def test_files_and_folders(folder: str, tmp_path: Path) -> None:
    dataset = datasets.read("srsdd", make(tmp_path, folder=folder), "train")
    (record,) = dataset
    assert [dataset.class_names[label] for label in record.labels] == ["Cell-Container", "ore-oil"]
    assert (record.size, record.difficult.tolist()) == ((64, 48), [False, True])
    assert record.metadata == {"imagesource": "GF3", "gsd": "1"}
    np.testing.assert_array_equal(record.quads[0], [[10, 20], [30.5, 20], [30, 40], [10, 40]])


def test_what_is_written_is_what_was_read(tmp_path: Path) -> None:
    dataset = datasets.read("srsdd", make(tmp_path), "train")
    folder = datasets.write("srsdd", dataset, tmp_path / "out", "train", srsdd.CLASS_NAMES)
    assert folder == tmp_path / "out" / "train" / "labels"
    assert (folder / "L1.txt").read_text() == LINES


BAD_LINES = {
    "10 20 30 20 30 40 10 40 ship 0": f"expected a class among {', '.join(srsdd.CLASS_NAMES)}, got 'ship'",
    "10 20 30 20 30 40 10 nan Fishing 0": "expected finite coordinates",
    "10 20 30 20 30 40 10 Fishing 0": "expected 8 coordinates",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_lines_are_named_by_file_and_line(line: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as error:
        list(datasets.read("srsdd", make(tmp_path, f"{LINES}{line}\n"), "train"))
    assert str(error.value).startswith(f"{tmp_path / 'train' / 'labels' / 'L1.txt'}:5: {BAD_LINES[line]}")
