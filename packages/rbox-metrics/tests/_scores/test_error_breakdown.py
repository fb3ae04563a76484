"""The kinds of errors by hand, against their definitions as plain loops, and what repairs must do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbox_formats import ImageRecord
from rbox_metrics import ErrorBreakdown, MetricsError, error_breakdown, evaluate
from rbox_metrics._matching import FALSE_POSITIVE, PROTOCOLS, pair
from rbox_metrics._scores import (
    ERROR_KINDS,
    FALSE_POSITIVE_KINDS,
    TRUTH_KINDS,
    Errors,
    least_overlaps,
    protocol_outcomes,
)

Iou = Callable[[np.ndarray, np.ndarray], float]
Scene = Callable[..., tuple[list[ImageRecord], list[ImageRecord]]]
NAMES = ("plane", "ship", "tank")
PLANE, SHIP, TANK = range(3)
RIGHT = math.pi / 2

# Moved by k along its side of 40, a box of 40 x 10 overlaps itself by (40 - k) / (40 + k).
A, B = [100, 100, 40, 10, 0.3], [300, 100, 40, 10, 0]


def moved(by: float) -> list:
    return [100 + by * math.cos(0.3), 100 + by * math.sin(0.3), 40, 10, 0.3]


def record(boxes: list, labels: list, image_id: str = "p", **fields: list) -> ImageRecord:
    columns = {name: np.array(values) for name, values in fields.items()}
    return ImageRecord(image_id, np.array(boxes, float).reshape(-1, 5), np.array(labels, int), **columns)


def kinds_of(breakdown: ErrorBreakdown) -> list[str]:
    return ["" if kind < 0 else FALSE_POSITIVE_KINDS[kind] for kind in breakdown.detection_kinds.tolist()]


@pytest.mark.parametrize(
    "box, label, kind",
    [
        pytest.param(A, PLANE, "", id="right"),
        pytest.param(moved(13), PLANE, "", id="moved by less than a third"),
        pytest.param(moved(14), PLANE, "badly_placed", id="moved by more"),
        pytest.param(moved(32), PLANE, "badly_placed", id="an overlap of a ninth"),
        pytest.param(moved(33), PLANE, "background", id="an overlap of less than a tenth"),
        pytest.param([100, 100, 40, 10, 0.3 + RIGHT], PLANE, "wrong_angle", id="off by a right angle"),
        pytest.param([100, 100, 10, 40, 0.3], PLANE, "wrong_angle", id="sides swapped"),
        pytest.param([100, 100, 10, 40, 0.3 + RIGHT], PLANE, "", id="sides swapped and turned: the same box"),
        pytest.param([100, 100, 40, 10, 0.3 - 0.6], PLANE, "wrong_angle", id="turned"),
        pytest.param([100, 100, 60, 15, 0.3 - 0.6], PLANE, "badly_placed", id="turned, but too large as well"),
        pytest.param([100, 100, 16, 16, 0.3], PLANE, "badly_placed", id="a square has no angle to blame"),
        pytest.param(A, SHIP, "wrong_class", id="of another class"),
        pytest.param(moved(14), SHIP, "wrong_class_and_place", id="of another class, and moved"),
        pytest.param([500, 500, 40, 10, 0], PLANE, "background", id="on nothing"),
        pytest.param(B, TANK, "background", id="of another class, on a difficult truth"),
    ],
)
def test_one_detection_and_one_truth(box: list, label: int, kind: str) -> None:
    truth = record([A, B], [PLANE, SHIP], difficult=[False, True])
    breakdown = error_breakdown([truth], [record([box], [label], scores=[0.5])], NAMES)
    assert kinds_of(breakdown) == [kind]
    assert breakdown.false_positives.sum() == (kind != "")
    points = kind in ("wrong_class", "badly_placed", "wrong_angle")
    expected = dict.fromkeys(TRUTH_KINDS, 0)
    if kind:
        expected[kind if points else "missed"] = 1
    assert dict(zip(TRUTH_KINDS, breakdown.not_found[:, PLANE].tolist(), strict=True)) == expected
    # The repair of what points at the truth finds it; else it is the missed truth that costs, with what is left.
    assert breakdown.average_precision[PLANE] == (not kind)
    if points:
        assert breakdown.map_costs == {**dict.fromkeys(ERROR_KINDS, 0), kind: 1}


def test_duplicates_and_excused_detections() -> None:
    truth = record([A, B], [PLANE, PLANE], difficult=[False, True])
    detected = record([A, moved(3), B, B], [PLANE] * 4, scores=[0.8, 0.9, 0.7, 0.6])
    breakdown = error_breakdown([truth], [detected], NAMES)
    assert kinds_of(breakdown) == ["duplicate", "", "", ""]
    assert breakdown.map == 1
    assert breakdown.map_costs == dict.fromkeys(ERROR_KINDS, 0)


def test_the_order_of_the_kinds() -> None:
    """Where two fit: badly placed before wrong class, wrong class before duplicate."""
    close = record([A, moved(5)], [PLANE, SHIP])
    assert kinds_of(error_breakdown([close], [record([A, A], [PLANE, PLANE], scores=[0.9, 0.8])], NAMES)) == [
        "",
        "wrong_class",
    ]
    far = record([A, moved(20)], [PLANE, SHIP])
    assert kinds_of(error_breakdown([far], [record([moved(20)], [PLANE])], NAMES)) == ["badly_placed"]


def test_costs_by_hand() -> None:
    """Two planes, one found, one called a ship; a ship that is found behind it, and a wrong detection of a plane."""
    truth = record([A, [100, 300, 40, 10, 0], B], [PLANE, PLANE, SHIP])
    detected = record(
        [A, [100, 300, 40, 10, 0], B, [500, 500, 40, 10, 0]], [PLANE, SHIP, SHIP, PLANE], scores=[0.7, 0.9, 0.8, 0.95]
    )
    breakdown = error_breakdown([truth], [detected], NAMES, protocol="voc")
    # Planes: a miss, then a hit: precision 1/2 up to recall 1/2. Ships: a miss, then a hit: precision 1/2 up to 1.
    np.testing.assert_allclose(breakdown.average_precision, [1 / 4, 1 / 2, np.nan])
    costs = dict(zip(ERROR_KINDS, breakdown.costs, strict=True))
    # Renamed, the ship is a plane found with score 0.9: miss, hit, hit, precision 2/3 up to recall 1.
    np.testing.assert_allclose(costs["wrong_class"], [2 / 3 - 1 / 4, 1 / 2, np.nan])
    # Without the wrong plane: precision 1 up to recall 1/2.
    np.testing.assert_allclose(costs["background"], [1 / 4, 0, np.nan])
    # The second plane is not missed: its repair is the wrong class's.
    np.testing.assert_allclose(costs["missed"], [0, 0, np.nan])
    assert breakdown.map_costs["wrong_class"] == pytest.approx((2 / 3 - 1 / 4 + 1 / 2) / 2)
    assert breakdown.map == pytest.approx(3 / 8)


def test_only_the_best_of_a_kind_is_repaired() -> None:
    """Two wrong angles point at one truth: the better becomes a hit, the other is left out."""
    truth = record([A, B], [PLANE, PLANE])
    crossed = [100, 100, 40, 10, 0.3 + RIGHT]
    detected = record([B, crossed, crossed], [PLANE] * 3, scores=[0.3, 0.9, 0.6])
    breakdown = error_breakdown([truth], [detected], NAMES, protocol="voc")
    assert breakdown.average_precision[PLANE] == pytest.approx(1 / 3 / 2)
    assert breakdown.map_costs["wrong_angle"] == pytest.approx(1 - 1 / 6)


def test_missed_truths_and_classes_that_have_no_others() -> None:
    truth = record([A, B], [PLANE, SHIP])
    stray = record([[500, 500, 40, 10, 0]], [SHIP])
    breakdown = error_breakdown([truth], [stray], NAMES)
    np.testing.assert_array_equal(breakdown.average_precision, [0, 0, np.nan])
    # Nothing is left of the planes and all is well; of ships a false positive is left.
    np.testing.assert_array_equal(breakdown.costs[ERROR_KINDS.index("missed")], [1, 0, np.nan])
    np.testing.assert_array_equal(breakdown.not_found[TRUTH_KINDS.index("missed")], [1, 1, 0])


def slow_average(curve: list[tuple[float, bool]], truths: int) -> float:
    """The area below the curve of (score, right), its precision made to fall; scores are distinct."""
    if not truths:
        return float("nan")
    hits, points = 0, []
    for k, (_, right) in enumerate(sorted(curve, reverse=True)):
        hits += right
        points.append((hits / truths, hits / (k + 1)))
    area, reached = 0.0, 0.0
    for k, (recall, _) in enumerate(points):
        area += (recall - reached) * max(precision for _, precision in points[k:])
        reached = recall
    return area


class Slow:
    """TIDE's kinds and repairs from their definitions, for VOC's matching and the area below the curve."""

    def __init__(self, truths: list[ImageRecord], predictions: list[ImageRecord], iou: Iou) -> None:
        self.t = [(t.image_id, box, int(c), bool(hard)) for t in truths for box, c, hard in self.rows(t, t.difficult)]
        self.d = [(d.image_id, box, int(c), float(s)) for d in predictions for box, c, s in self.rows(d, d.scores)]
        self.kind: dict[int, str] = {}
        self.points_at: dict[int, int] = {}
        ordinary = {image for image, _, _, hard in self.t if not hard}
        found: set[int] = set()
        self.hit: dict[int, int] = {}
        for i in sorted(range(len(self.d)), key=lambda i: -self.d[i][3]):
            image, box, label, _ = self.d[i]
            near = {j: iou(box, t[1]) for j, t in enumerate(self.t) if t[0] == image and image in ordinary}
            own = {j: v for j, v in near.items() if self.t[j][2] == label}
            best = max(own, key=own.__getitem__, default=None)
            if best is not None and own[best] >= 0.5 and (self.t[best][3] or best not in found):
                if not self.t[best][3]:
                    found.add(best)
                    self.hit[i] = best
                continue
            own = {j: v for j, v in own.items() if not self.t[j][3]}
            other = {j: v for j, v in near.items() if self.t[j][2] != label and not self.t[j][3]}
            best_own, best_other = max(own.values(), default=0), max(other.values(), default=0)
            if 0.1 <= best_own < 0.5:
                target = max(own, key=own.__getitem__)
                turns = [[*box[:4], self.t[target][1][4] + turn] for turn in (0, math.pi / 2)]
                turned = max(iou(np.array(turn), self.t[target][1]) for turn in turns)
                self.kind[i], self.points_at[i] = "wrong_angle" if turned >= 0.5 else "badly_placed", target
            elif best_other >= 0.5:
                self.kind[i], self.points_at[i] = "wrong_class", max(other, key=other.__getitem__)
            elif best_own >= 0.5:
                self.kind[i] = "duplicate"
            elif max(best_own, best_other) < 0.1:
                self.kind[i] = "background"
            else:
                self.kind[i] = "wrong_class_and_place"
        self.loose = {j for j, t in enumerate(self.t) if not t[3]} - found

    @staticmethod
    def rows(record: ImageRecord, last: np.ndarray) -> list:
        return list(zip(record.boxes, record.labels, last, strict=True))

    def best(self, kinds: set[str]) -> dict[int, int]:
        """The best detection of these kinds for each truth that none found."""
        chosen: dict[int, int] = {}
        for i in sorted(self.points_at, key=lambda i: -self.d[i][3]):
            if self.kind[i] in kinds and self.points_at[i] in self.loose:
                chosen.setdefault(self.points_at[i], i)
        return chosen

    def averages(self, kinds: set[str]) -> list[float]:
        best = {i: j for j, i in self.best(kinds).items()}
        missed = self.loose - set(self.best(set(ERROR_KINDS)))
        result = []
        for c in range(3):
            curve = [(self.d[i][3], True) for i, j in (self.hit | best).items() if self.t[j][2] == c]
            curve += [(self.d[i][3], False) for i in self.kind if self.kind[i] not in kinds and self.d[i][2] == c]
            truths = [j for j, t in enumerate(self.t) if t[2] == c and not t[3]]
            left = [j for j in truths if not ("missed" in kinds and j in missed)]
            result.append(float(not curve) if truths and not left else slow_average(curve, len(left)))
        return result


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), images=st.integers(0, 4), difficult=st.sampled_from([0, 0.3]))
def test_kinds_and_costs_are_those_of_the_plain_loops(
    slow_iou: Iou, crowded_scene: Scene, seed: int, images: int, difficult: float
) -> None:
    truths, predictions = crowded_scene(seed, images, 10**9, difficult)
    breakdown = error_breakdown(truths, predictions, NAMES, protocol="voc")
    slow = Slow(truths, predictions, slow_iou)
    assert kinds_of(breakdown) == [slow.kind.get(i, "") for i in range(len(slow.d))]
    as_it_is = slow.averages(set())
    np.testing.assert_allclose(breakdown.average_precision, as_it_is, atol=1e-12)
    for kind, costs in zip(ERROR_KINDS, breakdown.costs, strict=True):
        expected = np.array(slow.averages({kind})) - as_it_is
        np.testing.assert_allclose(costs, expected, atol=1e-12, err_msg=kind)
    best = slow.best(set(ERROR_KINDS))
    for k, kind in enumerate(TRUTH_KINDS):
        of_kind = [j for j in slow.loose if (slow.kind[best[j]] if j in best else "missed") == kind]
        counts = np.bincount([slow.t[j][2] for j in of_kind], minlength=3)
        np.testing.assert_array_equal(breakdown.not_found[k], counts, err_msg=kind)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(0, 5),
    score_levels=st.sampled_from([None, 2, 1000]),
    protocol=st.sampled_from(["voc07", "voc", "coco"]),
    threshold=st.sampled_from([0.3, 0.5, 0.75]),
)
def test_sums_and_repairs(
    crowded_scene: Scene, seed: int, images: int, score_levels: int | None, protocol: str, threshold: float
) -> None:
    truths, predictions = crowded_scene(seed, images, score_levels)
    breakdown = error_breakdown(truths, predictions, NAMES, protocol=protocol, iou_threshold=threshold)
    report = evaluate(truths, predictions, NAMES, protocol=protocol, iou_thresholds=(threshold,))
    assert breakdown.map == pytest.approx(report.figures["map"], nan_ok=True)
    chosen = PROTOCOLS[protocol]
    paired = pair(truths, predictions, NAMES)
    (outcomes,) = protocol_outcomes(paired, chosen, least_overlaps((threshold,), chosen))
    # Every false positive is of one kind, and every truth found, or of one.
    wrong = paired.order[outcomes == FALSE_POSITIVE]
    counts = np.bincount(paired.detections.labels[wrong], minlength=3)
    np.testing.assert_array_equal(breakdown.false_positives.sum(axis=0), counts)
    hits = np.bincount(paired.detections.labels[paired.order[outcomes == 1]], minlength=3)
    np.testing.assert_array_equal(breakdown.not_found.sum(axis=0), paired.truth_counts - hits)
    # No repair does harm, and with everything repaired nothing is wrong.
    known = paired.truth_counts > 0
    assert (breakdown.costs[:, known] >= -1e-12).all()
    assert np.isnan(breakdown.costs[:, ~known]).all()
    repaired = Errors.of(paired, threshold, 0.1, chosen).repaired(range(len(ERROR_KINDS)))
    np.testing.assert_allclose(repaired, np.where(known, 1, np.nan))
    json.dumps(breakdown.to_dict(), allow_nan=False)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), scored=st.booleans())
def test_order_changes_nothing_where_everything_ties(seed: int, scored: bool) -> None:
    rng = np.random.default_rng(seed)

    def records(scored: bool) -> list[ImageRecord]:
        made = []
        for image in range(3):
            n = int(rng.integers(0, 10))
            boxes = np.column_stack([rng.integers(0, 4, (n, 2)) * 2.0, np.full((n, 2), [8.0, 4.0]), np.zeros(n)])
            scores = rng.integers(1, 3, n) / 2 if scored else None
            made.append(ImageRecord(f"{image}", boxes, rng.integers(0, 3, n), scores=scores))
        return made

    truths, predictions = records(False), records(scored)

    def shuffled(given: list[ImageRecord]) -> list[ImageRecord]:
        return [given[k].select(rng.permutation(len(given[k]))) for k in rng.permutation(len(given))]

    before = error_breakdown(truths, predictions, NAMES).to_dict()
    assert error_breakdown(shuffled(truths), shuffled(predictions), NAMES).to_dict() == before


def test_quads_are_turned_as_the_boxes_around_them() -> None:
    truth, crossed = record([A], [PLANE]), record([[100, 100, 40, 10, 0.3 + RIGHT]], [PLANE])
    breakdown = error_breakdown([truth], [crossed], NAMES, protocol="dota")
    assert kinds_of(breakdown) == ["wrong_angle"]


def test_nothing_at_all() -> None:
    breakdown = error_breakdown([], [], NAMES)
    assert math.isnan(breakdown.map)
    assert breakdown.false_positives.sum() == breakdown.not_found.sum() == 0
    assert breakdown.to_dict()["map_costs"] == dict.fromkeys(ERROR_KINDS)


@pytest.mark.parametrize("background", [0.0, 0.5, 0.6])
def test_thresholds_that_do_not_rise_are_named(background: float) -> None:
    with pytest.raises(MetricsError, match=r"background threshold above 0 and below 0\.5, got 0"):
        error_breakdown([], [], NAMES, background_threshold=background)
