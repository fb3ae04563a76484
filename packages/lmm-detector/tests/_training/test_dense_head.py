"""The dense head: what it is to say, worked by hand, and its losses against a loop in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lmm_detector._training._dense_head import DenseHead, Objects, box_targets, cells_of
from rbox_formats import ImageRecord

SIDE, CELLS = 96, 8  # places of 12 px


def test_targets_worked_by_hand() -> None:
    """A box in the middle of a place; one at its corner, turned; one whose centre is outside, without a height."""
    boxes = torch.tensor(
        [[30.0, 18.0, 24.0, 12.0, 0.0], [36.0, 59.0, 48.0, 6.0, math.pi / 6], [97.0, -1.0, 24.0, 0.0, -math.pi / 2]]
    )
    assert cells_of(boxes, CELLS, SIDE).tolist() == [[2, 1], [3, 4], [7, 0]]
    expected = [
        # 30 is the middle of 24..36, 18 that of 12..24; a side of 24 is two places.
        [0.0, 0.0, 0.0, math.log(0.5), 1.0, 0.0],
        # 36 is the left end of 36..48, 59 is 11/12 into 48..60; twice 30 degrees.
        [-0.5, 11 / 12 - 0.5, math.log(2), math.log(0.25), 0.5, math.sqrt(3) / 2],
        # The nearest place is 84..96, 0..12; a side of nothing counts as a tenth of a pixel.
        [97 / 12 - 7.5, -1 / 12 - 0.5, 0.0, math.log(0.1 / 24), -1.0, 0.0],
    ]
    torch.testing.assert_close(box_targets(boxes, CELLS, SIDE), torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_a_box_that_is_turned_by_half_a_circle_is_the_same() -> None:
    box = torch.tensor([[40.0, 50.0, 20.0, 10.0, 0.3]])
    turned = box + torch.tensor([0, 0, 0, 0, math.pi])
    torch.testing.assert_close(box_targets(box, CELLS, SIDE), box_targets(turned, CELLS, SIDE), atol=1e-5, rtol=0)


@pytest.fixture
def records() -> list[ImageRecord]:
    """Two objects, one of them in the same place as the other; an image with none; one with one."""
    return [
        ImageRecord("a", np.array([[30.0, 18, 24, 12, 0.2], [31, 19, 10, 4, -0.4]]), np.array([1, 0])),
        ImageRecord("b", np.zeros((0, 5)), np.zeros(0, dtype=np.int64)),
        ImageRecord("c", np.array([[90.0, 90, 30, 20, 1.0]]), np.array([2])),
    ]


def test_losses_are_a_loop_in_numpy(records: list[ImageRecord]) -> None:
    torch.manual_seed(0)
    head, features = DenseHead(16, 3), torch.randn(3, CELLS, CELLS, 16)
    found = head.loss(features, Objects.of(records), SIDE)
    with torch.no_grad():
        there, classes, boxes = (value.double().numpy() for value in head(features))
    wanted = np.zeros((3, CELLS, CELLS))
    of_class = of_box = 0.0
    for image, record in enumerate(records):
        for box, label in zip(record.boxes, record.labels, strict=True):
            row, column = int(box[1] // 12), int(box[0] // 12)
            wanted[image, row, column] = 1
            logits = classes[image, row, column]
            of_class -= math.log(math.exp(logits[label]) / np.exp(logits).sum())
            x, y, w, h, angle = box
            target = [x / 12 - column - 0.5, y / 12 - row - 0.5, math.log(w / 24), math.log(h / 24)]
            target += [math.cos(2 * angle), math.sin(2 * angle)]
            for value, right in zip(boxes[image, row, column], target, strict=True):
                off = abs(value - right)
                of_box += 2 * (off**2 / 0.2 if off < 0.1 else off - 0.05)
    of_there = 0.0
    for logit, is_there in zip(there.ravel(), wanted.ravel(), strict=True):
        p = 1 / (1 + math.exp(-logit))
        of_there -= 4 * (1 - p) ** 2 * math.log(p) if is_there else p**2 * math.log(1 - p)
    expected = {"there": of_there / 3, "class": of_class / 3, "box": of_box / 3}
    assert {name: float(value.detach()) for name, value in found.items()} == pytest.approx(expected, rel=1e-4)


def test_parts_of_a_step_add_up_to_it(records: list[ImageRecord]) -> None:
    torch.manual_seed(0)
    head, features = DenseHead(16, 3), torch.randn(3, CELLS, CELLS, 16)
    whole = head.loss(features, Objects.of(records), SIDE)
    parts = [head.loss(features[n : n + 1], Objects.of(records[n : n + 1]), SIDE, count=3) for n in range(3)]
    for name, value in whole.items():
        torch.testing.assert_close(torch.stack([part[name] for part in parts]).sum(), value)


def test_images_without_objects_teach_that_there_are_none(records: list[ImageRecord]) -> None:
    head = DenseHead(16, 3)
    losses = head.loss(torch.randn(1, CELLS, CELLS, 16), Objects.of(records[1:2]), SIDE)
    assert (losses["class"].item(), losses["box"].item()) == (0, 0)
    torch.stack(list(losses.values())).sum().backward()
    assert head.found.weight.grad is not None
    assert torch.isfinite(head.found.weight.grad).all()
    assert head.found.weight.grad[0].abs().sum() > 0
    assert head.found.weight.grad[1:].abs().sum() == 0
