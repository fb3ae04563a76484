"""Overlaps and suppression of input that mmcv takes and rbox_metrics does not, and where mmcv errs."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
import shapely
import torch
from rbox_baselines._ops import OPERATORS, _suppression
from rbox_baselines.errors import OperatorError
from rbox_formats import rbox_to_quad
from torch import Tensor

SOUND = [50.0, 40, 20, 10, 0.3]


@pytest.mark.parametrize(
    ("box", "overlap"),
    [
        ([50.0, 40, 20, 10, 0.3 + 9 * math.pi], 1.0),
        ([50.0, 40, -20, -10, 0.3], 1.0),
        ([50.0, 40, -20, 10, 0.3], 0.0),
        ([50.0, 40, 0, 10, 0.3], 0.0),
        ([math.nan, 40, 20, 10, 0.3], 0.0),
        ([50.0, 40, math.inf, 10, 0.3], 0.0),
        ([50.0, 40, 20, 10, math.inf], 0.0),
        ([50.0, 40, 1e30, 1e30, 0.3], 0.0),
    ],
    ids=["many turns", "both sides negative", "one side", "no width", "NaN", "infinite", "angle", "all there is"],
)
def test_what_a_network_may_predict(ops: ModuleType, box: list[float], overlap: float) -> None:
    boxes, sound = torch.tensor([box]), torch.tensor([SOUND])
    for found in (ops.box_iou_rotated(boxes, sound), ops.box_iou_rotated(sound, boxes, aligned=True)):
        assert found.item() == pytest.approx(overlap, abs=1e-4)
    both, scores = torch.cat([boxes, sound]), torch.tensor([0.9, 0.8])
    assert ops.nms_rotated(both, scores, 0.5)[1].tolist() == ([0] if overlap else [0, 1])


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("name", ["box_iou_rotated", "box_iou_quadri", "bbox_overlaps"])
def test_of_no_boxes(ops: ModuleType, name: str, count: int) -> None:
    columns = {"box_iou_rotated": 5, "box_iou_quadri": 8, "bbox_overlaps": 4}[name]
    assert getattr(ops, name)(torch.zeros(count, columns), torch.zeros(0, columns)).shape == (count, 0)
    assert getattr(ops, name)(torch.zeros(0, columns), torch.zeros(0, columns), aligned=True).shape == (0,)


def test_overlaps_of_quads_are_the_true_ones(ops: ModuleType) -> None:
    """Of which some of mmcv's are off by up to 0.09."""
    rng = np.random.default_rng(0)
    boxes = np.c_[rng.uniform(0, 60, (40, 2)), rng.uniform(5, 40, (40, 2)), rng.uniform(-1.5, 1.5, 40)]
    quads = rbox_to_quad(boxes).reshape(-1, 8).astype(np.float32)
    found = ops.box_iou_quadri(torch.from_numpy(quads), torch.from_numpy(quads)).numpy()
    shapes = shapely.polygons(quads.reshape(-1, 4, 2).astype(float))
    common = np.array([[one.intersection(other).area for other in shapes] for one in shapes])
    areas = shapely.area(shapes)
    np.testing.assert_allclose(found, common / (areas[:, None] + areas - common), atol=1e-6)


def test_void_upright_boxes_overlap_nothing(ops: ModuleType) -> None:
    void = torch.tensor([[5.0, 5, 5, 9], [7, 7, 7, 7]])
    assert ops.bbox_overlaps(void, void).eq(0).all()


def spread(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Crowded boxes (N, 5), scores with some equal ones, labels from 0 to 2."""
    draw = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 5, generator=draw) * torch.tensor([60, 60, 30, 30, 3.0]) + torch.tensor(
        [0, 0, 4, 4, -1.5]
    )
    return boxes, (torch.rand(count, generator=draw) * 20).round() / 20, torch.arange(count) % 3


def greedy(overlaps: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> list[int]:
    """Suppression as its textbook has it."""
    kept: list[int] = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        if not any(labels[i] == labels[k] and overlaps[k, i] > threshold for k in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("by_label", [False, True])
def test_suppression_is_by_label(ops: ModuleType, by_label: bool) -> None:
    boxes, scores, labels = spread(80)
    label = labels if by_label else None
    groups = labels if by_label else torch.zeros_like(labels)
    dets, kept = ops.nms_rotated(boxes, scores, 0.3, label)
    assert kept.tolist() == greedy(ops.box_iou_rotated(boxes, boxes), scores, groups, 0.3)
    torch.testing.assert_close(dets, torch.cat([boxes[kept], scores[kept, None]], dim=1))
    quads = torch.from_numpy(rbox_to_quad(boxes.double().numpy()).reshape(-1, 8)).float()
    _, kept = ops.nms_quadri(quads, scores, 0.3, label)
    assert kept.tolist() == greedy(ops.box_iou_quadri(quads, quads), scores, groups, 0.3)


def test_a_chain_of_overlaps_is_settled_link_by_link(ops: ModuleType) -> None:
    """Each overlaps the next: of a row by falling score every second one stays."""
    start = torch.arange(30.0)[:, None] * 6
    square = torch.tensor([[0.0, 0, 10, 0, 10, 10, 0, 10]])
    quads = square + torch.cat([start, torch.zeros_like(start)], dim=1).repeat(1, 4)
    _, kept = ops.nms_quadri(quads, torch.linspace(1, 0.1, 30), 0.2)
    assert kept.tolist() == list(range(0, 30, 2))


@pytest.mark.parametrize("at_a_time", [1, 50, 2**24])
def test_boxes_are_matched_to_the_first_that_suppresses_them(
    ops: ModuleType, at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_suppression, "_PAIRS_AT_A_TIME", at_a_time)
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(40, 2, generator=generator) * 30
    boxes = torch.cat([low, low + 5 + torch.rand(40, 2, generator=generator) * 10], dim=1)
    scores = torch.linspace(1, 0.1, 40)
    overlaps, groups = ops.bbox_overlaps(boxes, boxes), {}
    for i in range(40):
        first = next((k for k in groups if overlaps[k, i] >= 0.3), i)
        groups.setdefault(first, []).append(i)
    found = ops.nms_match(torch.cat([boxes, scores[:, None]], dim=1), 0.3)
    assert [group.tolist() for group in found] == list(groups.values())


def test_an_overlap_equal_to_the_threshold_stays_but_where_mmcv_has_it_go(ops: ModuleType) -> None:
    boxes, scores = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 2]]), torch.tensor([0.9, 0.8])
    assert ops.nms(boxes, scores, 0.5)[1].tolist() == [0, 1]
    assert [group.tolist() for group in ops.nms_match(torch.cat([boxes, scores[:, None]], 1), 0.5)] == [[0, 1]]
    assert ops.soft_nms(boxes, scores, 0.5, method="naive")[1].tolist() == [0]
    turned = torch.tensor([[2.0, 2, 4, 4, 0], [2, 1, 4, 2, 0]])
    assert ops.nms_rotated(turned, scores, 0.5)[1].tolist() == [0, 1]


@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
def test_soft_suppression_keeps_the_best_in_any_case(ops: ModuleType, method: str) -> None:
    boxes, scores = torch.tensor([[0.0, 0, 4, 4], [9, 9, 14, 12]]), torch.tensor([0.1, 0.2])
    dets, kept = ops.soft_nms(boxes, scores, 0.3, min_score=0.5, method=method)
    assert kept.tolist() == [1]
    torch.testing.assert_close(dets, torch.tensor([[9.0, 9, 14, 12, 0.2]]))
    dets, kept = ops.soft_nms(boxes[:0], scores[:0], 0.3, method=method)
    assert (dets.shape, kept.shape) == ((0, 5), (0,))


def test_soft_suppression_of_all_of_a_score_keeps_it_where_none_is_too_low(ops: ModuleType) -> None:
    boxes, scores = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 3], [9, 9, 12, 12]]), torch.tensor([0.9, 0.8, 0.7])
    dets, kept = ops.soft_nms(boxes, scores, 0.5, min_score=0.0, method="naive")
    assert kept.tolist() == [0, 2, 1]
    assert dets[:, 4].tolist() == pytest.approx([0.9, 0.7, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_suppression_of_every_precision_and_of_none(ops: ModuleType, dtype: torch.dtype) -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 3], [9, 9, 12, 12], [9, 9, 9, 12]], dtype=dtype)
    scores = torch.tensor([0.9, math.nan, 0.7, 0.1], dtype=dtype)
    # What is no number is the best, as torch sorts.
    dets, kept = ops.nms(boxes, scores, 0.5)
    assert kept.tolist() == [1, 2, 3]
    assert dets.dtype == dtype
    assert ops.nms(boxes[:0], scores[:0], 0.5)[1].shape == (0,)


def test_what_does_not_fit_is_named() -> None:
    boxes, out = torch.zeros(2, 5), torch.zeros(4)
    with pytest.raises(OperatorError, match=r"box_iou_rotated: expected boxes of shape \(N, 5\), got \(2, 4\)"):
        OPERATORS["box_iou_rotated"](boxes[:, :4], boxes, out, mode_flag=0, aligned=False)
    with pytest.raises(OperatorError, match="expected mode_flag 0 or 1, got 2"):
        OPERATORS["box_iou_rotated"](boxes, boxes, out, mode_flag=2, aligned=False)
    with pytest.raises(OperatorError, match="as many boxes on either side where aligned, got 2 and 1"):
        OPERATORS["box_iou_quadri"](torch.zeros(2, 8), torch.zeros(1, 8), out, mode_flag=0, aligned=True)
    with pytest.raises(OperatorError, match="expected method 0, 1 or 2, got 3"):
        OPERATORS["softnms"](torch.zeros(1, 4), torch.ones(1), torch.zeros(1, 5), 0.3, 0.5, 1e-3, 3, 0)
    with pytest.raises(OperatorError, match=r"nms_match: expected dets of shape \(N, 5\)"):
        OPERATORS["nms_match"](torch.zeros(1, 4), 0.5)
