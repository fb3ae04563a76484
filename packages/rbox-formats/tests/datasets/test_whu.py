"""WHU's rasters: objects as RSPrompter's converter finds them with OpenCV, large ones part by part."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from pycocotools import mask as coco
from rbox_formats import ClassNames, ImageRecord, datasets, images
from rbox_formats.cli.main import main
from rbox_formats.errors import DatasetError, ImageError

SIZE = (96, 80)


def buildings(seed: int = 0) -> np.ndarray:
    """Turned rectangles, one with a court and two that meet at a corner."""
    drawn = np.zeros(SIZE[::-1], np.uint8)
    rng = np.random.default_rng(seed)
    for x, y in ((20, 20), (70, 18), (24, 60)):
        box = cv2.boxPoints(((x, y), tuple(rng.uniform(10, 26, 2).tolist()), float(rng.uniform(0, 90))))
        cv2.fillPoly(drawn, [box.round().astype(np.int32)], 255)
    drawn[50:70, 55:75] = 255
    drawn[56:64, 60:70] = 0
    drawn[70:76, 75:85] = 255
    drawn[2, 2] = 255
    return drawn


def write(root: Path, name: str = "a", values: np.ndarray | None = None, **fields: Any) -> None:
    for folder in ("image", "label"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    pixels = buildings() if values is None else values
    Image.new("RGB", pixels.shape[1::-1]).save(root / "image" / f"{name}.tif")
    Image.fromarray(pixels).save(root / "label" / f"{name}.tif", **fields)


def original(pixels: np.ndarray) -> list[dict[str, Any]]:
    """What RSPrompter's converter makes of a label image."""
    count, labels = cv2.connectedComponents(pixels, connectivity=4)
    found = [coco.encode(np.asfortranarray(labels == i, dtype=np.uint8)) for i in range(1, count)]
    return sorted(({"size": each["size"], "counts": each["counts"].decode()} for each in found), key=str)


@pytest.mark.parametrize("folders", ["val", "imgs/val"])
def test_objects_are_those_of_the_original(folders: str, tmp_path: Path) -> None:
    write(tmp_path / folders)
    (record,) = datasets.read("whu", tmp_path, "val")
    assert record.masks is not None
    assert sorted(record.masks.to_coco(*SIZE), key=str) == original(buildings())
    assert (record.file, record.size) == (tmp_path / folders / "image" / "a.tif", SIZE)
    assert record.labels.tolist() == [0] * 6


def test_options_join_fill_and_drop(tmp_path: Path) -> None:
    write(tmp_path)

    def areas(**options: Any) -> list[float]:
        record = datasets.read("whu", tmp_path, options=options)[0]
        assert record.masks is not None
        return sorted(record.masks.areas.tolist())

    plain = areas()
    assert {1.0, 60.0, 320.0} <= {*plain}
    assert areas(min_area=2) == plain[1:]
    assert 400.0 in areas(fill_holes=True)
    assert 380.0 in areas(connectivity=8)
    assert 460.0 in areas(connectivity=8, fill_holes=True)


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "RGB"])
def test_any_value_but_zero_is_building(mode: str, tmp_path: Path) -> None:
    pixels = buildings() // 255
    if mode == "1":
        image = Image.fromarray(pixels * 255).convert("1")
    elif mode == "I;16":
        image = Image.fromarray(pixels.astype(np.uint16))
    elif mode == "RGB":
        image = Image.fromarray(np.stack([pixels * 0, pixels * 0, pixels], axis=2))
    else:
        image = Image.fromarray(pixels)
        if mode == "P":
            image = image.convert("P")
            image.putpalette([0, 0, 0, 200, 30, 30])
    write(tmp_path)
    image.save(tmp_path / "label" / "a.tif")
    (record,) = datasets.read("whu", tmp_path)
    assert record.masks is not None
    assert record.masks.areas.sum() == pixels.sum()


def test_a_written_dataset_is_read_the_same(tmp_path: Path) -> None:
    write(tmp_path / "a")
    dataset = datasets.read("whu", tmp_path / "a")
    datasets.write("whu", dataset, tmp_path / "b", "train", dataset.class_names)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b" / "train" / "label" / "a.tif")), buildings())
    boxes = ImageRecord("b", [[30, 30, 20, 10, 0]], [0], width=96, height=80)
    datasets.write("whu", [boxes], tmp_path / "c", None, ClassNames(["house"]))
    (record,) = datasets.read("whu", tmp_path / "c", class_names=["house"])
    assert record.masks is not None
    assert record.masks.areas.tolist() == [200]


@pytest.mark.parametrize(
    "options, match",
    [
        ({"connectivity": 6}, "a connectivity of 4 or 8, got 6"),
        ({"fill_holes": "yes"}, "fill_holes as true or false"),
        ({"min_area": -1}, "min_area as a whole number"),
        ({"holes": True}, "options of the format whu, which has connectivity, fill_holes, min_area, got holes"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_options_are_named(options: dict[str, Any], match: str, tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(DatasetError, match=match):
        datasets.read("whu", tmp_path, options=options)


def test_formats_without_options_say_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="which has none, got connectivity"):
        datasets.read("dota", tmp_path, options={"connectivity": 8})


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(DatasetError, match="expected one class, or 'building' among them, got ship, plane"):
        datasets.read("whu", tmp_path, class_names=["ship", "plane"])
    assert datasets.read("whu", tmp_path, class_names=["ship", "building"])[0].labels.tolist() == [1] * 6
    Image.new("RGB", (10, 10)).save(tmp_path / "image" / "a.tif")
    with pytest.raises(DatasetError, match=r"a label image of 10x10 px, as its image a\.tif, got 96x80"):
        datasets.read("whu", tmp_path)[0]
    with pytest.raises(DatasetError, match="expected one class, got ship, plane"):
        datasets.write("whu", [], tmp_path / "out", None, ClassNames(["ship", "plane"]))


def test_how_images_are_shown_plays_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, values=buildings() // 255)
    monkeypatch.setenv(images.STRETCH_VARIABLE, "(10,200)")
    monkeypatch.setenv(images.BANDS_VARIABLE, "3,2,1")
    assert len(datasets.read("whu", tmp_path)[0]) == 6


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")  # rasterio, when the file is begun
def test_a_large_raster_is_read_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rasterio = pytest.importorskip("rasterio")
    width, height = 512, 8192
    tile = np.zeros((512, 512), np.uint8)
    tile[100:300, 50:450] = 1
    tile[400, 10:500] = 1
    profile = {"driver": "GTiff", "width": width, "height": height, "count": 1, "dtype": "uint8", "compress": "deflate"}
    with rasterio.open(tmp_path / "large.tif", "w", tiled=True, blockxsize=512, blockysize=512, **profile) as file:
        for y in range(0, height, 512):
            for x in range(0, width, 512):
                file.write(tile, 1, window=((y, y + 512), (x, x + 512)))
    (tmp_path / "label").mkdir()
    (tmp_path / "large.tif").rename(tmp_path / "label" / "large.tif")
    monkeypatch.setenv(images.LIMIT_VARIABLE, str(2**20))  # what is larger is read part by part
    dataset = datasets.read("whu", tmp_path)
    tracemalloc.start()
    (record,) = dataset
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert record.masks is not None
    assert sorted({*record.masks.areas.tolist()}) == [490, 80000]
    assert len(record) == 2 * 16
    assert most < width * height / 4
    with pytest.raises(ImageError, match="expected at most 1048576 pixels, got 512x8192"):
        datasets.write("whu", [record], tmp_path / "out", None, dataset.class_names)


def test_the_commands_read_it(tmp_path: Path) -> None:
    write(tmp_path / "whu" / "train")
    call = ["convert", "--data", str(tmp_path / "whu"), "--split", "train", "--format", "whu", "--to", "coco"]
    options = [
        "--format-option",
        "connectivity=8",
        "--format-option",
        "fill_holes=true",
        "--format-option",
        "min_area=2",
    ]
    for more, count in (([], 6), (options, 4)):
        out = tmp_path / f"coco{count}"
        result = CliRunner().invoke(main, [*call, *more, "--out", str(out)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert "Read back, it is the same" in result.output
        written = json.loads((out / "annotations" / "instances_train.json").read_text())
        assert len(written["annotations"]) == count
