"""MMRotate's boxes as records: against MMRotate's own conversions between its kinds of boxes."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from rbox_baselines._parts._records import to_record
from rbox_formats import rbox_to_quad

BOXES = torch.tensor([[50.0, 40.0, 10.0, 30.0, 2.0], [20.0, 30.0, 8.0, 4.0, -3.0], [5.0, 6.0, 7.0, 3.0, 0.0]])


def corners(quads: np.ndarray) -> np.ndarray:
    """Of each quad, in an order that does not depend on where it begins or which way it goes."""
    return np.stack([quad[np.lexsort(quad.T)] for quad in quads.round(3)])


@pytest.mark.parametrize("kind", ["rbox", "qbox"])
def test_the_corners_are_those_that_mmrotate_computes(kind: str, mmrotate: ModuleType) -> None:
    from mmrotate.structures import RotatedBoxes

    boxes = RotatedBoxes(BOXES)
    record = to_record("a", boxes.convert_to(kind), torch.zeros(3, dtype=torch.int64), torch.ones(3))
    wanted = boxes.convert_to("qbox").tensor.reshape(-1, 4, 2).numpy()
    np.testing.assert_allclose(corners(rbox_to_quad(record.boxes)), corners(wanted), atol=2e-3)
    assert (record.quads is not None) == (kind == "qbox")
    assert (record.boxes[:, 2] >= record.boxes[:, 3]).all()
    assert ((record.boxes[:, 4] >= -np.pi / 2) & (record.boxes[:, 4] < np.pi / 2)).all()


def test_upright_boxes() -> None:
    record = to_record("a", torch.tensor([[10.0, 20.0, 30.0, 60.0]]), torch.tensor([1]))
    np.testing.assert_allclose(record.boxes, [[20, 40, 40, 20, -np.pi / 2]])


@pytest.mark.parametrize("boxes", [torch.zeros(0, 5), torch.zeros(0, 8), np.zeros((0, 4)), torch.zeros(0)])
def test_nothing_is_nothing(boxes: object) -> None:
    record = to_record("a", boxes, torch.zeros(0), torch.zeros(0), size=(9, 7))
    assert (record.boxes.shape, record.width, record.height) == ((0, 5), 9, 7)


def test_masks_make_the_boxes_and_what_has_none_is_left_out(mmrotate: ModuleType) -> None:
    from mmdet.structures.mask import BitmapMasks, PolygonMasks

    pixels = torch.zeros(3, 40, 60, dtype=torch.bool)
    pixels[0, 5:25, 10:50] = pixels[2, 30:34, 2:8] = True
    labels, scores = torch.tensor([1, 0, 2]), torch.tensor([0.9, 0.8, 0.7])
    boxes = torch.tensor([[0.0, 0, 60, 40]] * 3)
    record = to_record("a", boxes, labels, scores, masks=pixels, size=(60, 40))
    assert (record.labels.tolist(), record.scores.tolist()) == ([1, 2], [pytest.approx(0.9), pytest.approx(0.7)])
    np.testing.assert_allclose(record.boxes[0], [30, 15, 39, 19, 0])  # around the centres of its pixels
    bitmaps = to_record("a", boxes, labels, masks=BitmapMasks(pixels.numpy().astype(np.uint8), 40, 60))
    assert bitmaps.masks.areas.tolist() == record.masks.areas.tolist() == [800, 24]
    outlines = [[np.array([10.0, 5, 50, 5, 50, 25, 10, 25])], [np.array([0.0, 0, 4, 0, 4, 4])]]
    polygons = to_record("a", boxes[:2], labels[:2], masks=PolygonMasks(outlines, 40, 60))
    assert polygons.masks.areas.tolist() == [800, 8]
