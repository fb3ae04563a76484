"""COCO files of instances: masks in all forms, as other programs write them, read by `pycocotools` again."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from pycocotools import mask as coco
from pycocotools.coco import COCO
from rbox_formats import ImageRecord, datasets
from rbox_formats.cli.main import main
from rbox_formats.errors import DatasetError
from rbox_formats.masks import PolygonMask, RunMask

OUTLINE = [10.0, 10.0, 40.5, 12.0, 38.0, 40.0, 25.0, 20.0, 12.0, 40.0]
QUAD = [5.0, 5.0, 20.0, 5.0, 20.0, 12.0, 5.0, 12.0]

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools 2.0.11


def ellipse(x: int = 40, y: int = 24, angle: float = 30) -> np.ndarray:
    drawn = np.zeros((48, 64), np.uint8)
    cv2.ellipse(drawn, (x, y), (16, 6), angle, 0, 360, 1, -1)
    return drawn


def compressed(pixels: np.ndarray) -> dict[str, Any]:
    found = coco.encode(np.asfortranarray(pixels))
    return {"size": found["size"], "counts": found["counts"].decode()}


def uncompressed(pixels: np.ndarray) -> dict[str, Any]:
    flat = np.concatenate([[0], pixels.ravel(order="F"), [2]])
    bounds = np.flatnonzero(np.diff(flat.astype(int)))
    return {"size": list(pixels.shape), "counts": np.diff(np.concatenate([[0], bounds])).tolist()}


def make(path: Path, *segmentations: Any, **fields: Any) -> Path:
    annotations = [
        {"id": i, "image_id": 1, "category_id": 1, "segmentation": each, "bbox": [1, 2, 3, 4], "iscrowd": 0, **fields}
        for i, each in enumerate(segmentations, start=1)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "s"}]}))
    return path


def pixels_of(record: ImageRecord) -> list[np.ndarray]:
    assert record.masks is not None
    return [mask.to_runs(64, 48).to_array(64, 48) for mask in record.masks]


def their_pixels(path: Path) -> list[np.ndarray]:
    with contextlib.redirect_stdout(io.StringIO()):
        found = COCO(str(path))
    return [found.annToMask(annotation).astype(bool) for annotation in found.dataset["annotations"]]


FORMS = [compressed(ellipse()), uncompressed(ellipse(20)), [OUTLINE], [OUTLINE, QUAD], [QUAD]]


@pytest.mark.parametrize("to", ["coco", "coco-rotated"])
def test_every_form_is_read_and_written_as_pycocotools_does(to: str, tmp_path: Path) -> None:
    path = make(tmp_path / "a.json", *FORMS)
    dataset = datasets.read("coco", path)
    (record,) = dataset
    assert record.masks is not None
    assert [*map(type, record.masks)] == [RunMask] * 2 + [PolygonMask] * 3
    assert all((one == other).all() for one, other in zip(pixels_of(record), their_pixels(path), strict=True))
    written = datasets.write(to, dataset, tmp_path / "out", None, dataset.class_names)
    assert all((one == other).all() for one, other in zip(pixels_of(record), their_pixels(written), strict=True))
    entries = json.loads(written.read_text())["annotations"]
    assert entries[0]["segmentation"] == FORMS[0]  # compressed
    assert entries[1]["segmentation"] == compressed(ellipse(20))
    assert [entry["segmentation"] for entry in entries[2:]] == FORMS[2:]
    if to == "coco":
        assert [entry["bbox"] for entry in entries[:2]] == [
            coco.toBbox(each).tolist() for each in map(compressed, (ellipse(), ellipse(20)))
        ]
        assert entries[0]["area"] == ellipse().sum()
    (again,) = datasets.read("coco", written)
    assert np.allclose(again.boxes, record.boxes)
    assert all((one == other).all() for one, other in zip(pixels_of(again), pixels_of(record), strict=True))


def test_the_box_of_run_lengths_is_the_rectangle_around_the_mask(tmp_path: Path) -> None:
    (record,) = datasets.read("coco", make(tmp_path / "a.json", compressed(ellipse())))
    cx, cy, w, h, angle = record.boxes[0]
    assert (w, h, np.degrees(angle)) == pytest.approx((32, 12, 30), abs=4)
    assert (cx, cy) == pytest.approx((40.5, 24.5), abs=0.3)
    assert record.quads is None


def test_a_file_of_quads_alone_has_no_masks(tmp_path: Path) -> None:
    (record,) = datasets.read("coco", make(tmp_path / "a.json", [QUAD], [[*QUAD, *QUAD[:2]]]))
    assert record.masks is None


def test_an_object_with_a_box_alone_has_it_as_its_mask(tmp_path: Path) -> None:
    (record,) = datasets.read("coco", make(tmp_path / "a.json", [OUTLINE], []))
    assert record.masks is not None
    assert record.masks[1].bounds == (1, 2, 4, 6)


@pytest.mark.parametrize(
    "segmentation, match",
    [
        (
            {"size": [48, 64], "counts": [1, 2]},
            r"annotations\[0\].segmentation: expected run lengths of 64x48 pixels, got 3",
        ),
        ({"size": [64, 48], "counts": [48 * 64]}, "of the image's size 64x48, got 48x64"),
        ({"size": [48, 64], "counts": "~"}, "compressed as pycocotools does"),
        ({"counts": [1]}, "expected run lengths as"),
    ],
)
def test_wrong_run_lengths_are_named(segmentation: Any, match: str, tmp_path: Path) -> None:
    dataset = datasets.read("coco", make(tmp_path / "a.json", segmentation))
    with pytest.raises(DatasetError, match=match):
        dataset[0]


def test_masks_that_are_all_crowds_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """CVAT's exports: uncompressed counts, iscrowd 1 for every mask, polygons beside them."""
    (record,) = datasets.read("coco", make(tmp_path / "a.json", *[uncompressed(ellipse())] * 5, iscrowd=1))
    assert record.difficult.all()
    assert "all 5 masks in run lengths have iscrowd" in caplog.text
    caplog.clear()
    datasets.read("coco", make(tmp_path / "b.json", *[uncompressed(ellipse())] * 5))
    assert not caplog.text


@pytest.mark.parametrize(
    "name, image, split",
    [
        ("NWPU_instances_val.json", "imgs/a.png", "val"),
        ("SSDD_instances_train.json", "imgs/a.png", "train"),
        ("WHU_building_test.json", "imgs/test/image/a.png", "test"),
    ],
)
def test_the_files_of_rsprompter_are_found_with_their_images(name: str, image: str, split: str, tmp_path: Path) -> None:
    make(tmp_path / "annotations" / name, [OUTLINE])
    (tmp_path / image).parent.mkdir(parents=True)
    Image.new("RGB", (64, 48)).save(tmp_path / image)
    (record,) = datasets.read("coco", tmp_path, split)
    assert record.file == tmp_path / image
    assert record.masks is not None


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_commands_keep_masks(tmp_path: Path) -> None:
    path = make(tmp_path / "data" / "a.json", *FORMS)
    (tmp_path / "data" / "images").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "data" / "images" / "a.png")
    said = run("convert", "--data", str(path), "--format", "coco", "--to", "predictions", "--out", str(tmp_path / "p"))
    assert "without their 'id': 1" in said  # of the image: all that is lost
    assert "their mask" not in said
    said = run("convert", "--data", str(path), "--format", "coco", "--to", "dota", "--out", str(tmp_path / "dota"))
    assert "objects without their mask, or with another one: 5" in said
    said = run("inspect", "--data", str(path), "--format", "coco")
    assert "5 objects have a mask" in said
    run("split", "--data", str(path), "--format", "coco", "--to", "coco", "--window", "32", "--gap", "0",
        "--out", str(tmp_path / "w"), "--iof", "0")  # fmt: skip
    whole = pixels_of(datasets.read("coco", path)[0])[:2]
    parts = np.zeros((2, 48, 64), bool)
    for window in datasets.read("coco", tmp_path / "w"):
        x, y, *_ = window.metadata["window"]
        assert window.masks is not None
        for mask in window.masks:
            array = mask.to_runs(32, 32).to_array(32, 32)[: 48 - y, : 64 - x]
            for i, pixels in enumerate(whole):
                if array.any() and (array == pixels[y : y + 32, x : x + 32]).all():
                    parts[i, y : y + 32, x : x + 32] |= array
    assert (parts == whole).all()
