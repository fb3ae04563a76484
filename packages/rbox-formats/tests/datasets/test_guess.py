"""Which format a folder looks like."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets, rbox_to_quad
from rbox_formats.cli.main import main
from rbox_formats.errors import DatasetError

# Of formats that hold the same files the first in order is found.
SAME = {
    "coco-rotated": "coco", "rsar": "dota", "dota-v1.5": "dota", "dota-v2.0": "dota",
    "hrsc2016-l2": "hrsc2016", "hrsc2016-l3": "hrsc2016", "rsdd": "rolabelimg",
    "ymir-coco": "ymir", "ymir-pi": "ymir", "ymir-voc": "ymir", "ymir-voc-pi": "ymir",
}  # fmt: skip
# A map layer needs images with a place on the map.
READ = [name for name, entry in datasets.FORMATS.items() if entry.read and name != "geojson-map"]


def make(format: str, root: Path, split: str | None = None) -> Path:
    names = datasets.FORMATS[format].class_names or ClassNames(["ship", "plane"])
    folder = (datasets.FORMATS[format].images or (lambda root, split: root))(root, split)
    folder.mkdir(parents=True, exist_ok=True)
    quads = rbox_to_quad(np.array([[30.0, 30, 20, 10, 0.3]]))
    path = folder / "a.png"
    Image.new("RGB", (64, 48)).save(path)
    record = ImageRecord.from_quads("a", quads, [0], path=path, width=64, height=48)
    datasets.write(format, [record], root, split, names)
    return root


@pytest.mark.parametrize("format", READ)
@pytest.mark.parametrize("split", [None, "val"])
def test_what_a_format_writes_looks_like_it(format: str, split: str | None, tmp_path: Path) -> None:
    if (format, split) == ("vedai", "val"):
        pytest.skip("a list beside VEDAI's annotations looks like one of them")
    found = datasets.guess(make(format, tmp_path, split))
    assert found is not None
    expected = SAME.get(format, format)
    assert found.format.removesuffix("-v3") == expected.removesuffix("-v3")  # of lmmrotate both read all versions
    records = list(datasets.read(found.format, tmp_path, found.split))
    assert sum(map(len, records)) == 1


def test_the_wrong_format_names_the_right_one(tmp_path: Path) -> None:
    make("coco", tmp_path, "val")
    with pytest.raises(
        DatasetError, match=r"expected a folder 'labelTxt'(.|\n)*looks like the format coco: --format coco"
    ):
        datasets.read("dota", tmp_path)
    with pytest.raises(DatasetError, match=r"expected (?!.*looks like)"):
        datasets.read("dota", tmp_path / "images")


def test_a_folder_is_inspected_without_a_format(tmp_path: Path) -> None:
    make("yolo-obb", tmp_path, "train")
    result = CliRunner().invoke(main, ["inspect", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "It looks like --format yolo-obb --split train." in result.output
    assert "1 object on 1 image." in result.output
    (tmp_path / "none").mkdir()
    result = CliRunner().invoke(main, ["inspect", str(tmp_path / "none")], catch_exceptions=False)
    assert result.exit_code == 1
    assert "expected a dataset of a known format, found none of coco" in result.output
    result = CliRunner().invoke(main, ["inspect"], catch_exceptions=False)
    assert result.exit_code == 2


DEGREES = "<robndbox><cx>5</cx><cy>5</cy><w>4</w><h>2</h><angle>145</angle></robndbox>"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"labelTxt/P1.txt": "1,2,3,2,3,4,1,4,ship,0"}, "dota: .*P1.txt:1: .*\nFields are separated by spaces"),
        ({"labelTxt/P1.txt": "1 2 9 8 ship 0"}, "dota: .*P1.txt:1: .*\nThese may be upright boxes"),
        ({"labelTxt/.keep": ""}, "dota: .*labelTxt: expected annotation files"),
        ({"data.yaml": "names: [ship]", "mine/P1.txt": "0 1"}, "yolo-obb: .*labels: expected label files"),
        ({"data.yaml": "names: [a]", "labels/P1.jpg.txt": "0 .1 .1 .3 .1 .3 .3 .1 .3"}, "yolo-obb: .*\nName the label"),
        (
            {"P1.xml": f"<annotation><object><type>robndbox</type><name>a</name>{DEGREES}</object></annotation>"},
            "rolabelimg: .*P1.xml:1: expected an angle in radians",
        ),
    ],
)
def test_the_nearest_format_says_what_is_wrong(files: dict[str, str], said: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "images" / "P1.jpg")
    result = CliRunner().invoke(main, ["inspect", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 1
    assert re.search(f"known format, found none\nNearest is --format {said}", result.output), result.output


def test_classes_that_are_not_the_formats_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "labelTxt").mkdir()
    (tmp_path / "labelTxt" / "a.txt").write_text("1 1 9 1 9 5 1 5 crane 0\n")
    result = CliRunner().invoke(main, ["inspect", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 1
    assert "Name them: --format dota --class-names ..." in result.output
    result = CliRunner().invoke(main, ["inspect", str(tmp_path), "--class-names", "crane"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
