"""Several datasets under one list of classes, with images in other places."""

from __future__ import annotations

from pathlib import Path

import pytest
from lmm_detector._sources import Source, joined, open_sources, sources
from lmm_detector.errors import ConfigError
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets
from rbox_formats.datasets import dota
from rbox_formats.errors import DatasetError


def write(root: Path, lines: list[str], *, images: bool = True) -> Path:
    """A dataset in DOTA's format of one image per line, which is its only object."""
    (root / "labelTxt").mkdir(parents=True)
    (root / "images").mkdir()
    for number, line in enumerate(lines):
        (root / "labelTxt" / f"P{number}.txt").write_text(f"1 1 9 1 9 5 1 5 {line} 0\n", encoding="utf-8")
        if images:
            Image.new("RGB", (20, 10)).save(root / "images" / f"P{number}.png")
    return root


def test_what_is_given_once_holds_for_all() -> None:
    assert sources(["a", "b"], ["dota"], ["train"], None) == [
        Source("a", "dota", "train"),
        Source("b", "dota", "train"),
    ]
    assert sources(["a", "b"], ["dota", "voc"], None, ["x", "y"]) == [
        Source("a", "dota", None, "x"),
        Source("b", "voc", None, "y"),
    ]
    with pytest.raises(ConfigError, match="expected 1 format or 3, one for each data_path, got 2"):
        sources(["a", "b", "c"], ["dota", "voc"], None, None)


def test_classes_are_joined_by_name() -> None:
    lists = [
        ClassNames(["plane", "small-vehicle"]),
        ClassNames(["ship", "Small Vehicle"]),
        ClassNames(["PLANE", "van"]),
    ]
    assert joined(lists) == ("plane", "small-vehicle", "ship", "van")


def test_labels_mean_the_same_in_all_datasets(tmp_path: Path) -> None:
    """The second dataset has its own list, in which the class that both have has another number."""
    first = write(tmp_path / "a", ["ship", "plane"])
    crane = ClassNames(["Crane", "Ship"])
    records = datasets.read("dota", write(tmp_path / "c", ["ship", "crane"]), None, crane)
    datasets.write("coco", records, tmp_path / "b", None, crane)
    places = [Source(str(first)), Source(str(tmp_path / "b"), "coco", image_folder=str(tmp_path / "c" / "images"))]

    def named(names: ClassNames, found: list[list[ImageRecord]]) -> list[list[str]]:
        return [[names[record.labels[0]] for record in records] for records in found]

    names, found = open_sources(places)
    assert names == (*dota.V1_0, "Crane")
    assert named(names, found) == [["ship", "plane"], ["ship", "Crane"]]
    names, found = open_sources(places, ["crane", "ship", "plane"])
    assert named(names, found) == [["ship", "plane"], ["ship", "crane"]]


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    root = write(tmp_path / "a", ["ship", "plane"], images=False)
    elsewhere = tmp_path / "png"
    elsewhere.mkdir()
    Image.new("RGB", (33, 44)).save(elsewhere / "P1.png")
    _, (records,) = open_sources([Source(str(root), image_folder=str(elsewhere))])
    assert [(record.image_id, record.file, record.size) for record in records] == [
        ("P1", elsewhere / "P1.png", (33, 44))
    ]
    with pytest.raises(DatasetError, match=r"annotations has an image file(.|\n)*--image-folder"):
        open_sources([Source(str(root))])
    with pytest.raises(DatasetError, match="nowhere: expected a folder with images, found none"):
        open_sources([Source(str(root), image_folder=str(tmp_path / "nowhere"))])
