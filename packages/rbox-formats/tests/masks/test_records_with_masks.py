"""Masks of records through windows, splits, clipping, and files of predictions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets, draw, predictions, splitting, tiling
from rbox_formats.errors import PredictionsError
from rbox_formats.masks import Masks, PolygonMask, RunMask
from rbox_formats.sharding import Parts
from rbox_testing.telling import join_all


def pixels_of(seed: int = 0, width: int = 200, height: int = 120) -> list[np.ndarray]:
    """Turned ellipses, some across the border of windows of 100 px."""
    rng = np.random.default_rng(seed)
    found = []
    for x, y in ((50, 60), (100, 30), (160, 90), (12, 8)):
        drawn = np.zeros((height, width), np.uint8)
        axes = tuple(int(side) for side in rng.integers(6, 24, 2))
        cv2.ellipse(drawn, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        found.append(drawn.astype(bool))
    return found


def record_of(pixels: list[np.ndarray], **fields: object) -> ImageRecord:
    height, width = pixels[0].shape
    outline = [[20.5, 20, 40, 22, 38, 50, 30, 30, 22, 50]]
    return ImageRecord.from_masks("a", [*pixels, outline], range(len(pixels) + 1), width=width, height=height, **fields)


def arrays(record: ImageRecord) -> list[np.ndarray]:
    assert record.masks is not None
    return [mask.to_runs(*record.size).to_array(*record.size) for mask in record.masks]


@pytest.mark.parametrize("border", ["keep", "clip"])
def test_windows_hold_the_parts_of_masks(border: tiling.Border) -> None:
    pixels = pixels_of()
    record = record_of(pixels)
    for x in (0, 50, 100):
        part = tiling.clip_to_window(record, tiling.Window(x, 0, 100), 0.5, border=border)
        shares = [array[:100, x : x + 100].sum() / array.sum() for array in pixels]
        assert [label for label in part.labels if label < 4] == [i for i, share in enumerate(shares) if share >= 0.5]
        assert tiling.belonging(record, tiling.Window(x, 0, 100), 0.5).sum() == len(part)
        for label, array, box in zip(part.labels, arrays(part), part.boxes, strict=True):
            if label < 4:
                assert (array == pixels[label][:100, x : x + 100]).all()
                whole = shares[label] == 1 or border == "keep"
                expected = RunMask.of_array(pixels[label] if whole else array).to_rbox()
                assert np.allclose(box, expected - [x * whole, 0, 0, 0, 0])


def test_windows_of_another_scale_scale_their_masks() -> None:
    pixels = pixels_of()
    part = tiling.clip_to_window(record_of(pixels), tiling.Window(0, 0, 100, 2.0), 0.9)
    (array,) = (array for label, array in zip(part.labels, arrays(part), strict=True) if label == 0)
    assert (array == np.kron(pixels[0][:100, :100], np.ones((2, 2), bool))).all()


def test_a_split_keeps_masks_and_resumes(tmp_path: Path) -> None:
    pixels = pixels_of(1)
    source, out = tmp_path / "source", tmp_path / "windows"
    (source / "images").mkdir(parents=True)
    Image.new("RGB", (200, 120)).save(source / "images" / "a.png")
    record = record_of(pixels)
    predictions_path = source / "predictions.jsonl"
    with predictions.Writer(predictions_path, predictions.Header(ClassNames(["v", "w", "x", "y", "z"]), "f")) as writer:
        writer.write(record)
    dataset = datasets.read("predictions", source)
    settings = splitting.SplitSettings(size=100, gap=0, iof_threshold=0.3, padding=False)
    part, _ = splitting.split_image(dataset[0], settings, tmp_path, tmp_path)
    for window in part:
        x, y = window.metadata["window"][:2]
        for label, array in zip(window.labels, arrays(window), strict=True):
            if label < 4:
                assert (array == pixels[label][y : y + 100, x : x + 100][: array.shape[0], : array.shape[1]]).all()
    splitting.split(dataset, out, settings, format="coco")
    assert len(datasets.read("coco", out)) == len(part)


def test_predictions_files_hold_masks(tmp_path: Path) -> None:
    record = record_of(pixels_of(2), scores=np.linspace(0.1, 0.9, 5))
    header = predictions.Header(ClassNames(["v", "w", "x", "y", "z"]), "f")
    paths = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
    for path in paths:
        with predictions.Writer(path, header) as writer:
            writer.write(record)
    parts = tmp_path / "c.jsonl.parts"
    parts.mkdir()
    paths[1].replace(parts / "b.jsonl")
    assert join_all(Parts(tmp_path / "c.jsonl", header)).read_bytes() == paths[0].read_bytes()
    (read,) = predictions.read(paths[0])
    assert read.masks is not None
    assert [*map(type, read.masks)] == [RunMask] * 4 + [PolygonMask]
    assert all((one == other).all() for one, other in zip(arrays(read), arrays(record), strict=True))
    # The file of a stopped run, with half a line.
    paths[0].write_bytes(paths[0].read_bytes()[:-20])
    with predictions.Writer(paths[0], header) as writer:
        assert not writer.done
        writer.write(record)
    assert len(predictions.read(paths[0])) == 1


def test_masks_without_an_image_size_are_written_of_one_that_holds_them(tmp_path: Path) -> None:
    record = ImageRecord.from_masks("a", pixels_of(3), range(4), scores=[0.5] * 4)
    path = tmp_path / "p.jsonl"
    with predictions.Writer(path, predictions.Header(ClassNames(["v", "w", "x", "y"]), "f")) as writer:
        writer.write(record)
        wrong = ImageRecord.from_masks("b", pixels_of(3), range(4), width=20, height=20)
        with pytest.raises(PredictionsError, match="masks of 'b': expected a mask inside the image of 20x20 px"):
            writer.write(wrong)
    (read,) = predictions.read(path)
    assert read.masks is not None
    assert record.masks is not None
    assert all((a.to_runs().runs == b.to_runs().runs).all() for a, b in zip(read.masks, record.masks, strict=True))


def test_pictures_made_smaller_scale_their_masks(tmp_path: Path) -> None:
    Image.new("RGB", (8192, 4100)).save(tmp_path / "large.png")
    box = np.array([[1000.0, 1000, 3000, 1000, 3000, 2000, 1000, 2000]])
    record = ImageRecord.from_masks("large", [box.tolist()], [0], width=8192, height=4100)
    _, (small,) = draw.fitted(tmp_path / "large.png", record, max_side=1024)
    assert small.masks is not None
    assert np.allclose(small.masks.bounds, [[125, 125, 375, 250]])


def test_joined_masks_keep_their_order() -> None:
    one, other = Masks(pixels_of(0)), Masks(pixels_of(1))
    assert np.array_equal(Masks.joined([one, other]).areas, np.concatenate([one.areas, other.areas]))
