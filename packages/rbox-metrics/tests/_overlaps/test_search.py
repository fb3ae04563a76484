"""Pairs found by the grid against all pairs there are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbox_formats import rbox_to_quad
from rbox_metrics import box_iou_rotated
from rbox_metrics._overlaps import overlapping_pairs


def scene(rng: np.random.Generator, count: int, groups: list[int], spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of sizes from a point to the whole scene, many alike, in groups in any order."""
    sides = np.exp(rng.uniform(-2, np.log(spread), (count, 2)))
    sides[rng.random(count) < 0.1] = 0
    boxes = np.concatenate([rng.uniform(-spread, spread, (count, 2)), sides, rng.uniform(-3, 3, (count, 1))], axis=1)
    boxes[rng.random(count) < 0.2] = boxes[:1]
    return boxes, np.array(rng.choice(groups, count), dtype=np.int64)


@pytest.mark.parametrize("kind", ["boxes", "quads"])
@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    counts=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    groups=st.sampled_from([[0], [3, 4, 7], [-5, 0, 2**40], [2**62, -(2**61)]]),
    spread=st.sampled_from([1.0, 50.0, 1e5]),
    least=st.sampled_from([1e-9, 0.1, 0.5, 1.0]),
)
def test_all_pairs_are_found(kind: str, seed: int, counts: tuple, groups: list, spread: float, least: float) -> None:
    rng = np.random.default_rng(seed)
    (detections, group), (truths, truth_group) = (scene(rng, count, groups, spread) for count in counts)
    shared = min(len(detections), len(truths)) // 2
    truths[:shared] = detections[:shared]
    truth_group[truth_group == groups[-1]] = groups[0] + 1  # one group only there, one only here
    dense = box_iou_rotated(detections, truths)
    expected = set(zip(*np.nonzero((dense >= least) & (group[:, None] == truth_group)), strict=True))
    if kind == "quads":
        pairs = overlapping_pairs(rbox_to_quad(detections), group, rbox_to_quad(truths), truth_group, least)
    else:
        pairs = overlapping_pairs(detections, group, truths, truth_group, least)
    assert (np.diff(pairs.detection) >= 0).all()
    assert len(set(zip(pairs.detection, pairs.truth, strict=True))) == len(pairs.iou)
    if kind == "boxes":
        assert set(zip(pairs.detection, pairs.truth, strict=True)) == expected
        np.testing.assert_array_equal(pairs.iou, dense[pairs.detection, pairs.truth])
    else:
        # Corners round what the box has exactly: pairs at the threshold itself may fall on either side.
        np.testing.assert_allclose(pairs.iou, dense[pairs.detection, pairs.truth], rtol=0, atol=1e-6)
        clear = set(zip(*np.nonzero((dense >= least + 1e-6) & (group[:, None] == truth_group)), strict=True))
        assert clear <= set(zip(pairs.detection, pairs.truth, strict=True))


def test_crowds_and_parts_of_the_detections() -> None:
    """More pairs than there is room for at first, and more detections than are searched for at a time."""
    rng = np.random.default_rng(0)
    truths = np.tile([50.0, 50.0, 20.0, 10.0, 0.3], (40, 1))
    detections = np.tile(truths[:1], (200_000, 1))
    detections[:, 0] += np.where(np.arange(200_000) % 1000 == 0, 0, 1e4)
    order = rng.permutation(200_000)
    pairs = overlapping_pairs(detections[order], np.zeros(200_000, int), truths, np.zeros(40, int), 0.5)
    assert len(pairs.iou) == 200 * 40
    assert (detections[order][pairs.detection, 0] == 50).all()
    assert (np.bincount(pairs.truth) == 200).all()
    # The same from groups that change from one detection to the next.
    group = np.arange(200_000) % 2
    spread = overlapping_pairs(detections[order], group, np.tile(truths, (2, 1)), np.repeat([0, 1], 40), 0.5)
    np.testing.assert_array_equal(spread.detection, pairs.detection)
    assert (np.repeat([0, 1], 40)[spread.truth] == group[spread.detection]).all()
