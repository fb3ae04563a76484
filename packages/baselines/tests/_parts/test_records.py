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
