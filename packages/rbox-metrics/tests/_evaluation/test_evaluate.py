"""Figures worked by hand, values at the edges, what may change nothing, and bad input."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbox_formats import ImageRecord, rbox_to_quad
from rbox_metrics import FlatBoxes, MetricsError, Report, evaluate, from_arrays, from_records

ORDER_FREE = (
    "map",
    "map_nc_tied",
    "map_nc_random",
    "map_nc_spread",
    "f1_micro",
    "f1_macro",
    "precision_micro",
    "recall_micro",
)


def record(image_id: str, boxes: list, labels: list | None = None, **fields: list) -> ImageRecord:
    columns = {name: np.array(values) for name, values in fields.items()}
    array = np.array(boxes, float).reshape(-1, 5)
    return ImageRecord(image_id, array, np.array(labels or [0] * len(array), int), **columns)


# Sides of 10 and 4: moved by 1 along the longer one the overlap is 9/11, by 2 it is 2/3, by 3 it is 7/13.
A, B, C, AWAY = [10, 10, 10, 4, 0], [50, 10, 10, 4, 0], [10, 50, 10, 4, 0], [90, 90, 10, 4, 0]
NEAR_A = [12, 10, 10, 4, 0]


def test_two_images_worked_by_hand() -> None:
    """Three truths, one missed; one hit is found twice, one detection hits nothing."""
    truth = [record("p", [A, B]), record("q", [C])]
    predictions = [record("p", [AWAY, NEAR_A, B, A], scores=[0.8, 0.6, 0.7, 0.9])]
    report = evaluate(truth, predictions, ["ship"])
    # By score: hit, miss, hit, duplicate. Precision 1, 1/2, 2/3, 1/2 at recall 1/3, 1/3, 2/3, 2/3: four of the eleven
    # recalls are up to 1/3, three more up to 2/3.
    assert report.figures["map"] == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)
    assert evaluate(truth, predictions, ["ship"], protocol="voc").figures["map"] == pytest.approx(1 / 3 + 2 / 9)
    # In the order given: miss, hit, hit, duplicate. Precision 0, 1/2, 2/3, 1/2 at recall 0, 1/3, 2/3, 2/3.
    assert report.figures["map_nc"] == pytest.approx(7 * (2 / 3) / 11)
    # One point: precision 2/4 at recall 2/3.
    assert report.figures["map_nc_tied"] == pytest.approx(7 * 0.5 / 11)
    assert report.figures["precision_micro"] == pytest.approx(1 / 2)
    assert report.figures["recall_micro"] == pytest.approx(2 / 3)
    assert report.figures["f1_micro"] == report.figures["f1_macro"] == pytest.approx(4 / 7)
    assert report.images == 2


def test_difficult_truths_count_on_neither_side() -> None:
    truth = [record("p", [A, B], difficult=[False, True])]
    predictions = [record("p", [B, B, A], scores=[0.9, 0.8, 0.7])]
    report = evaluate(truth, predictions, ["ship"])
    for figure in ("map", "map_nc", "map_nc_tied", "f1_micro", "precision_micro", "recall_micro"):
        assert report.figures[figure] == 1
    (ship,) = report.at[0].classes
    assert (ship.truths, ship.difficult, ship.detections) == (1, 1, 3)


def test_a_claim_is_lost_where_one_to_one_matching_finds_the_other_truth() -> None:
    """Two truths side by side; both detections overlap the first most."""
    first, second = [10, 10, 10, 4, 0], [13, 10, 10, 4, 0]
    predictions = [record("p", [first, [11, 10, 10, 4, 0]], scores=[0.9, 0.8])]
    report = evaluate([record("p", [first, second])], predictions, ["ship"])
    # The second detection claims the first truth, which is taken: a false positive at recall 1/2.
    assert report.figures["map"] == pytest.approx(6 / 11)
    assert report.figures["f1_micro"] == 1


def test_a_difficult_truth_that_overlaps_most_excuses_only_in_voc() -> None:
    truth = [record("p", [A, [11, 10, 10, 4, 0]], difficult=[False, True])]
    predictions = [record("p", [[11.5, 10, 10, 4, 0]])]
    report = evaluate(truth, predictions, ["ship"])
    assert report.figures["map"] == 0  # ignored: the ordinary truth is missed
    assert report.figures["f1_micro"] == 1  # one-to-one matching gives it the ordinary truth


def test_voc_forgets_difficult_truths_where_there_are_no_others() -> None:
    """As MMRotate; DOTA's kit does not."""
    truth = [record("p", [A]), record("q", [B], difficult=[True])]
    predictions = [record("q", [B], scores=[0.9]), record("p", [A], scores=[0.8])]
    found = {name: evaluate(truth, predictions, ["ship"], protocol=name) for name in ("voc07", "voc", "dota")}
    assert {name: report.figures["map"] for name, report in found.items()} == {"voc07": 0.5, "voc": 0.5, "dota": 1}
    # An ordinary truth of another class is enough.
    truth[1] = record("q", [B, C], [0, 1], difficult=[True, False])
    assert evaluate(truth, predictions, ["ship", "tank"]).at[0].classes[0].ap == 1


def test_dota_wants_more_than_its_threshold() -> None:
    truth, predictions = [record("p", [A])], [record("p", [[12.5, 10, 5, 4, 0]])]
    assert evaluate(truth, predictions, ["ship"], protocol="dota").figures["map"] == 0
    assert evaluate(truth, predictions, ["ship"], protocol="dota", iou_thresholds=(0.499,)).figures["map"] == 1


def test_quads_are_compared_as_drawn() -> None:
    """Of a box, half is annotated: a triangle with a corner on a side."""
    triangle = np.array([[[0.0, 0], [10, 0], [0, 4], [0, 2]]])
    truth = [ImageRecord.from_quads("p", triangle, np.array([0]))]
    predictions = [record("p", [[5, 2, 10, 4, 0]])]
    by_quad = evaluate(truth, predictions, ["ship"], geometry="quad", iou_thresholds=(0.49, 0.51))
    assert [at.map for at in by_quad.at] == [1, 0]


def test_coco_worked_by_hand() -> None:
    """Two truths of 40 square pixels and one of 2,000; a duplicate, a find that COCO's greedy rule moves on."""
    big = [200, 200, 50, 40, 0]
    truth = [record("p", [A, [13, 10, 10, 4, 0]]), record("q", [big])]
    predictions = [
        record("p", [A, [11, 10, 10, 4, 0], A], scores=[0.9, 0.8, 0.7]),
        record("q", [big, AWAY], scores=[0.95, 0.1]),
    ]
    report = evaluate(truth, predictions, ["ship"], protocol="coco", iou_thresholds=(0.5,), max_dets=(1, 2))
    # The second takes the free truth, at 2/3 of overlap, though it overlaps the other more; the third is cut off.
    assert report.figures["map"] == 1
    assert report.figures["mar_1"] == pytest.approx(2 / 3)
    assert report.figures["mar_2"] == 1
    assert (report.figures["map_small"], report.figures["map_medium"]) == (1, 1)
    assert math.isnan(report.figures["map_large"])
    assert report.figures["mar_small"] == report.figures["mar_medium"] == 1
    assert report.figures["mar_2_per_class"] == [1]


def test_random_orders_have_the_mean_and_spread_of_all_orders() -> None:
    """One hit and one miss: whichever comes first, half the time, makes an average precision of 1 or 1/2."""
    truth = [record(str(k), [A]) for k in range(40)]
    predictions = [record(str(k), [A if k % 2 else B]) for k in range(40)]
    figures = evaluate(truth, predictions, ["ship"]).figures
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(40) % 2, (2000, 1)), axis=1)
    expected = []
    for hits in orders:
        recall, precision = np.cumsum(hits) / 40, np.cumsum(hits) / np.arange(1, 41)
        levels = np.arange(0, 1 + 1e-3, 0.1)
        expected.append(np.mean([precision[recall >= level].max(initial=0) for level in levels]))
    # Ten orders: their mean is within four standard errors of that of all, their spread within a factor of two.
    assert figures["map_nc_random"] == pytest.approx(np.mean(expected), abs=4 * np.std(expected) / math.sqrt(10))
    assert np.std(expected) / 2 < figures["map_nc_spread"] < np.std(expected) * 2


def test_of_equal_overlaps_the_ordinary_truth_comes_first() -> None:
    for boxes, difficult in (([A, A], [True, False]), ([A, A], [False, True])):
        report = evaluate([record("p", boxes, difficult=difficult)], [record("p", [A])], ["ship"])
        assert report.figures["map"] == 1


def test_a_recall_of_three_tenths_does_not_reach_the_fourth_point() -> None:
    """VOC07's recalls are sums of floats, and 0.30000000000000004 is one of them."""
    boxes = [[100 * k, 0, 10, 4, 0] for k in range(10)]
    report = evaluate([record("p", boxes)], [record("p", boxes[:3])], ["ship"])
    assert report.figures["map"] == report.figures["map_nc_tied"] == pytest.approx(3 / 11)


def test_an_overlap_equal_to_the_threshold_is_enough() -> None:
    half = [[12.5, 10, 5, 4, 0]]
    upright = [[12.5, 10, 4, 5, -math.pi / 2]]
    for box in (half, upright):
        assert evaluate([record("p", [A])], [record("p", box)], ["ship"]).figures["map"] == 1


def test_thresholds_have_keys_and_a_mean() -> None:
    truth, predictions = [record("p", [A])], [record("p", [NEAR_A])]
    figures = evaluate(truth, predictions, ["ship", "tank"], iou_thresholds=(0.5, 0.6, 0.75)).figures
    assert figures["map"] == pytest.approx(2 / 3)
    assert (figures["map_50"], figures["map_75"]) == (1, 0)
    assert figures["map_per_class"][0] == pytest.approx(2 / 3)
    assert math.isnan(figures["map_per_class"][1])
    assert figures["classes"] == [0, 1]
    assert "map_75" not in evaluate(truth, predictions, ["ship"]).figures


def figures_of(report: Report) -> list[float]:
    at = asdict(report.at[0])
    return [at[name] for name in ("map_nc", *ORDER_FREE)]


def test_no_truth_at_all_is_nan() -> None:
    hard = record("p", [A], difficult=[True])
    for truth in ([], [record("p", [])], [hard]):
        for boxes in ([], [A]):
            predictions = [record("p", boxes)] if truth else []
            assert np.isnan(figures_of(evaluate(truth, predictions, ["ship", "tank"]))).all()


def test_no_predictions_are_zero() -> None:
    for predictions in ([], [record("p", [])]):
        report = evaluate([record("p", [A])], predictions, ["ship"])
        assert figures_of(report) == [0] * 9
        (ship,) = report.at[0].classes
        assert (ship.ap, ship.ap_nc, ship.ap_nc_tied, ship.precision, ship.recall, ship.f1) == (0,) * 6


def test_a_class_without_truth_is_in_no_mean_but_in_the_micro_figures() -> None:
    report = evaluate([record("p", [A])], [record("p", [A, B], [0, 1])], ["ship", "tank", "plane"])
    assert [report.figures[name] for name in ("map", "map_nc", "map_nc_tied", "f1_macro")] == [1] * 4
    assert report.figures["precision_micro"] == 1 / 2
    for tank in report.at[0].classes[1:]:
        values = (tank.ap, tank.ap_nc, tank.ap_nc_tied, tank.precision, tank.recall, tank.f1)
        assert np.isnan(values).all()


def test_an_image_without_predictions_is_missed() -> None:
    truth = [record("p", [A]), record("q", [A])]
    assert evaluate(truth, [record("q", [A])], ["ship"]).figures["recall_micro"] == 1 / 2


def grid_scene(seed: int, distinct_scores: bool) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """Upright boxes on a grid, so that overlaps tie exactly, scores too unless told, and some boxes come twice."""
    rng = np.random.default_rng(seed)

    def boxes(count: int) -> np.ndarray:
        boxes = np.tile([0.0, 0, 8, 4, 0], (count, 1))
        boxes[:, 0], boxes[:, 1] = 2 * rng.integers(0, 12, count), 2 * rng.integers(0, 2, count)
        return boxes

    truths, predictions = [], []
    for image in range(rng.integers(1, 4)):
        for records in (truths, predictions):
            n = rng.integers(0, 12)
            scores = rng.random(n) if distinct_scores else rng.integers(0, 2, n) / 2
            extra = {"scores": scores} if records is predictions else {"difficult": rng.random(n) < 0.2}
            records.append(ImageRecord(f"{image}", boxes(n), rng.integers(0, 2, n), **extra))
    return truths, predictions


@settings(max_examples=50)
@given(seed=st.integers(0, 10**6), distinct_scores=st.booleans())
def test_order_changes_nothing_that_is_free_of_it(seed: int, distinct_scores: bool) -> None:
    shuffle_and_compare(seed, distinct_scores)


@pytest.mark.slow
@settings(max_examples=500)
@given(seed=st.integers(0, 10**6), distinct_scores=st.booleans())
def test_order_changes_nothing_in_many_scenes(seed: int, distinct_scores: bool) -> None:
    shuffle_and_compare(seed, distinct_scores)


def shuffle_and_compare(seed: int, distinct_scores: bool) -> None:
    truths, predictions = grid_scene(seed, distinct_scores)
    rng = np.random.default_rng(seed)

    def figures(truths: list[ImageRecord], predictions: list[ImageRecord]) -> dict[str, object]:
        return evaluate(truths, predictions, ["a", "b"], iou_thresholds=(0.3,)).to_dict()

    def shuffled(records: list[ImageRecord]) -> list[ImageRecord]:
        return [records[k].select(rng.permutation(len(records[k]))) for k in rng.permutation(len(records))]

    before = figures(truths, predictions)
    after = figures(shuffled(truths), shuffled(predictions))
    # The order of the predictions' images is no matter to anything; that of boxes to `map_nc` alone.
    reordered = figures(truths, [predictions[k] for k in rng.permutation(len(predictions))])
    for name in ORDER_FREE:
        assert after[name] == before[name], name
    assert reordered == before


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**6), power=st.integers(-8, 8), shift=st.integers(-(2**12), 2**12))
def test_scaling_and_moving_change_nothing(seed: int, power: int, shift: int) -> None:
    truths, predictions = (from_records(records) for records in grid_scene(seed, False))

    def changed(flat: FlatBoxes) -> FlatBoxes:
        boxes = (flat.boxes + np.array([shift, -shift, 0, 0, 0])) * np.array([2.0**power] * 4 + [1])
        return from_arrays(boxes, flat.labels, flat.image_index, flat.scores, flat.difficult)

    before = evaluate(truths, predictions, ["a", "b"], iou_thresholds=(0.3, 0.5)).to_dict()
    after = evaluate(changed(truths), changed(predictions), ["a", "b"], iou_thresholds=(0.3, 0.5)).to_dict()
    before.pop("images"), after.pop("images")
    assert after == before


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), protocol=st.sampled_from(["voc07", "voc"]))
def test_a_false_positive_with_the_lowest_score_raises_nothing(seed: int, protocol: str) -> None:
    truths, predictions = grid_scene(seed, True)
    before = evaluate(truths, predictions, ["a", "b"], protocol=protocol)
    worse = record("0", [*predictions[0].boxes, [900, 900, 4, 4, 0]], [*predictions[0].labels, 0])
    worse = record("0", worse.boxes.tolist(), worse.labels.tolist(), scores=[*(predictions[0].scores + 1), 0.5])
    others = [
        record(p.image_id, p.boxes.tolist(), p.labels.tolist(), scores=(p.scores + 1).tolist()) for p in predictions[1:]
    ]
    after = evaluate(truths, [worse, *others], ["a", "b"], protocol=protocol)
    for old, new in zip(before.at[0].classes, after.at[0].classes, strict=True):
        for name in ("ap", "ap_nc_tied", "precision", "recall", "f1"):
            assert not getattr(new, name) > getattr(old, name) + 1e-12, name
    assert not after.figures["f1_micro"] > before.figures["f1_micro"] + 1e-12


def test_flat_arrays_are_scored_like_the_records() -> None:
    truths, predictions = grid_scene(3, False)
    flat_truth = from_records(truths)
    flat_predictions = from_records(predictions, flat_truth.image_ids)
    expected = evaluate(truths, predictions, ["a", "b"]).to_dict()
    assert evaluate(flat_truth, flat_predictions, ["a", "b"]).to_dict() == expected
    assert evaluate(iter(truths), iter(predictions), ["a", "b"]).to_dict() == expected
    # Images in another order, boxes of each in the same.
    turned = np.argsort(-flat_predictions.image_index, kind="stable")
    columns = (flat_predictions.boxes, flat_predictions.labels, flat_predictions.image_index, flat_predictions.scores)
    assert evaluate(flat_truth, from_arrays(*(x[turned] for x in columns)), ["a", "b"]).to_dict() == expected
    order = np.random.default_rng(0).permutation(len(flat_truth))
    bare = from_arrays(*(x[order] for x in (flat_truth.boxes, flat_truth.labels, flat_truth.image_index)))
    assert evaluate(bare, flat_predictions, ["a", "b"]).images is None


P, Q = record("p", [A]), record("q", [A])
FLAT = from_arrays([A], [0], [0])


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: evaluate([P], [Q], ["a"]),
            "images that are in the ground truth, got 'q'\nPredictions and ground truth must be of",
        ),
        (lambda: evaluate([P], [P, P], ["a"]), "once in the records, got 'p'"),
        (lambda: evaluate([P, P], [P], ["a"]), "once in the records, got 'p'"),
        (lambda: evaluate([record("p", [A], [1])], [P], ["a"]), "of 1 classes, from 0, in the truth, got 1 at box 0"),
        (lambda: evaluate([P], [record("p", [A], [-1])], ["a"]), "in the predictions, got -1 at box 0 of image 'p'"),
        (lambda: evaluate(FLAT, from_arrays([A], [2], [0]), ["a"]), r"got 2 at boxes\[0\]"),
        (lambda: evaluate(FLAT, [P], ["a"]), "flat arrays, like the ground truth, got records"),
        (lambda: evaluate([P], from_arrays([A], [0], [1]), ["a"]), "image indices below 1, got 1"),
        (
            lambda: evaluate(from_records([P]), from_records([Q]), ["a"]),
            "different images, or the same in another order",
        ),
        (
            lambda: evaluate([P], [P], ["a"], iou_thresholds=()),
            r"distinct IoU thresholds above 0 and up to 1, got \[\]",
        ),
        (lambda: evaluate([P], [P], ["a"], iou_thresholds=(0.0,)), r"got \[0.0\]"),
        (lambda: evaluate([P], [P], ["a"], iou_thresholds=(0.5, 0.5)), r"got \[0.5, 0.5\]"),
        (lambda: inspect.unwrap(evaluate)([P], [P], ["a"], iou_thresholds=0.5), "a list of distinct IoU .*got 0.5"),
        (lambda: evaluate([P], [P], ["a"], protocol="dota", iou_thresholds=(1.0,)), "below 1 for this protocol, whose"),
        (lambda: evaluate([P], [record("p", [A], scores=[np.inf])], ["a"]), "finite number as score, got inf at box 0"),
        (lambda: from_arrays([[0, 0, 1, 1, 0], [0, 0]], [0, 0], [0, 0]), "boxes as an array of numbers, got list"),
        (lambda: evaluate([P], [record("p", [[0, 0, -1, 1, 0]])], ["a"]), "sides of zero or more.*box 0 of image 'p'"),
        (lambda: inspect.unwrap(evaluate)([P], [P], ["a"], protocol="kitti"), "among 'voc07', .*'fair1m', got 'kitti'"),
        (
            lambda: inspect.unwrap(evaluate)([P], [P], ["a"], geometry="hbb"),
            "'rbox', 'quad', 'mask', 'boundary', got 'hbb'",
        ),
        (lambda: evaluate([P], [P], ["a"], max_dets=(1,)), "only with protocol 'coco', got it with protocol 'voc07'"),
        (
            lambda: evaluate([P], [P], ["a"], protocol="coco", max_dets=(10, 1)),
            r"rising max_dets from 1, got \[10, 1\]",
        ),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(MetricsError, match=message):
        call()


def test_order_decides_nothing_where_quads_share_a_rectangle() -> None:
    """Two halves of one rectangle are the same box: what tells them apart is the quad alone."""
    quad = rbox_to_quad(np.array([[50.0, 50, 40, 40, 0]]))[0]
    lower, upper = quad[[0, 1, 2, 2]], quad[[2, 3, 0, 0]]
    truth = from_arrays(np.stack([lower, quad]), [0, 0], [0, 0])
    found = [lower, upper, quad, upper]
    reports = []
    for order in itertools.permutations(range(4)):
        detections = from_arrays(np.stack([found[i] for i in order]), [0] * 4, [0] * 4, [0.5] * 4)
        report = evaluate(truth, detections, ["a"], geometry="quad", iou_thresholds=(0.4, 0.6), full=True).to_dict()
        for at in (report, *report["at"]):
            at.pop("map_nc")  # by the order of the input
        for at in report["at"]:
            at["classes"][0].pop("ap_nc")
        report["sweep"] = {key: value for key, value in report["sweep"].items() if not key.endswith("p_nc")}
        report["sweep"]["best"].pop("map_nc")
        reports.append(report)
    assert all(report == reports[0] for report in reports)


def test_image_numbers_may_lie_far_apart() -> None:
    """As COCO's, which are of any size; each image keeps its own."""
    numbers = np.array([10**11, 7, 5 * 10**15])
    truth = from_arrays([A, A, A], [0, 0, 0], numbers)
    found = from_arrays([A, A], [0, 0], numbers[[2, 1]], [0.5, 0.4])
    far = evaluate(truth, found, ["a"], full=True)
    near = evaluate(
        from_arrays([A, A, A], [0, 0, 0], [1, 0, 2]), from_arrays([A, A], [0, 0], [2, 0], [0.5, 0.4]), ["a"]
    )
    assert far.at == near.at
    assert far.placement.images == ("7", str(10**11), str(5 * 10**15))
    assert far.placement.missed.tolist() == [0, 1, 0]


def test_placement_counts_as_the_strict_protocol_does() -> None:
    """An overlap of exactly the threshold is none for DOTA's kit."""
    half = from_arrays([[10, 10, 20, 4, 0]], [0], [0])
    found = from_arrays([[10, 10, 10, 4, 0]], [0], [0], [0.9])
    hits = {
        protocol: evaluate(half, found, ["a"], protocol=protocol, geometry="rbox", full=True).placement.hits.tolist()
        for protocol in ("voc07", "dota")
    }
    assert hits == {"voc07": [1], "dota": [0]}
