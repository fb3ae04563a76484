from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets, draw, predictions, visualization
from rbox_formats.masks import PolygonMask, RunMask

NAMES = ClassNames(["building", "ship"])


def pixels() -> np.ndarray:
    array = np.zeros((60, 80), bool)
    array[10:40, 20:50] = True
    array[20:30, 30:40] = False
    return array


@pytest.mark.parametrize("scale", [1, 2])
def test_the_pixels_of_masks_are_tinted(scale: int) -> None:
    """Black plus a share of the class's colour inside, black in the hole and outside."""
    record = ImageRecord.from_masks("a", [pixels()], [1], width=80, height=60)
    plain = ImageRecord("a", record.boxes, record.labels, width=80, height=60)
    black = np.zeros((60, 80, 3), np.uint8)
    drawn, without = (
        np.asarray(draw.draw_record(black, each, NAMES, scale=scale, show_labels=False)) for each in (record, plain)
    )
    changed = (drawn != without).any(axis=2)
    expected = np.kron(pixels(), np.ones((scale, scale), bool))
    boxed = without.any(axis=2)
    assert (changed & ~expected & ~boxed).sum() == 0
    assert (~changed & expected & ~boxed).sum() == 0
    inner = drawn[15 * scale, 25 * scale]
    assert np.allclose(inner, 0.35 * np.array(draw.class_colour(1)), atol=2)


def test_polygons_and_masks_beyond_the_picture_are_drawn() -> None:
    masks = [PolygonMask(([[-30, -30], [40, -20], [30, 30]],)), RunMask.of_array(np.zeros((60, 80), bool))]
    record = ImageRecord("a", [[20, 20, 9, 9, 0]] * 2, [0, 1], masks=masks)
    drawn = np.asarray(draw.draw_record(np.zeros((60, 80, 3), np.uint8), record, NAMES, show_labels=False))
    assert drawn[1, 25].any()
    assert not drawn[50:, 60:].any()


def test_visualize_draws_masks(tmp_path: Path) -> None:
    record = ImageRecord.from_masks("a", [pixels()], [1], width=80, height=60, scores=[0.5])
    images = datasets.get("whu").images
    assert images is not None
    folder = images(tmp_path, None)
    folder.mkdir(parents=True)
    Image.new("RGB", (80, 60)).save(folder / "a.png")
    datasets.write("whu", [record], tmp_path, None, ClassNames(["ship"]))
    with predictions.Writer(tmp_path / "p.jsonl", predictions.Header(NAMES, "f")) as writer:
        writer.write(record)
    truth = datasets.read("whu", tmp_path, class_names=[*NAMES])
    drawn = visualization.visualize(truth, tmp_path / "p.jsonl", tmp_path / "drawn")
    assert [path.name for path in drawn] == ["a.png", "sheet.png"]
