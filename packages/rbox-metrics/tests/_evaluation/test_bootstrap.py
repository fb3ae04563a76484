"""Resampled figures against images that were really repeated or swapped, and what intervals and p-values must do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbox_formats import ImageRecord
from rbox_metrics import Interval, MetricsError, bootstrap, compare, evaluate, from_arrays, from_records
from rbox_metrics._evaluation import INTERVAL_FIGURES, Tables, draws, exchanges, figures_of, image_count
from rbox_metrics._matching import PROTOCOLS, pair

Scene = Callable[..., tuple[list[ImageRecord], list[ImageRecord]]]
NAMES = ("plane", "ship", "tank")
LEVELS = st.sampled_from([None, 2, 10**6])
PROTOCOL_NAMES = st.sampled_from(["voc07", "voc", "coco"])


def same(ours: float, theirs: float) -> bool:
    return ours == pytest.approx(theirs, abs=1e-12, nan_ok=True)


def repeated(records: list[ImageRecord], weights: np.ndarray) -> list[ImageRecord]:
    """Each image as often as its weight says, under ids that sort as before; weights are in the order of the ids."""
    weight = dict(zip(sorted(record.image_id for record in records), weights.tolist(), strict=True))
    return [
        replace(record, image_id=f"{record.image_id}, copy {copy}")
        for record in records
        for copy in range(weight[record.image_id])
    ]


def complete(truths: list[ImageRecord], predictions: list[ImageRecord], scored: bool) -> list[ImageRecord]:
    """With an empty record for each image that has none."""
    missing = {truth.image_id for truth in truths} - {p.image_id for p in predictions}
    scores = np.zeros(0) if scored else None
    return predictions + [ImageRecord(i, np.zeros((0, 5)), np.zeros(0, int), scores=scores) for i in sorted(missing)]


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 5),
    score_levels=LEVELS,
    protocol=PROTOCOL_NAMES,
    thresholds=st.sampled_from([(0.5,), (0.3, 0.6)]),
)
def test_weighted_figures_are_those_of_repeated_images(
    crowded_scene: Scene,
    seed: int,
    images: int,
    score_levels: int | None,
    protocol: str,
    thresholds: tuple[float, ...],
) -> None:
    truths, predictions = crowded_scene(seed, images, score_levels, difficult=0.2)
    predictions = complete(truths, predictions, score_levels is not None)
    paired = pair(truths[::-1], predictions, NAMES, across=False)
    tables = Tables.of((paired,), PROTOCOLS[protocol], thresholds, image_count((paired,)))
    (weights,) = draws(tables, 4, seed)
    found = figures_of(tables, [weights])
    for r, weight in enumerate(weights):
        assert weight.sum() == images
        drawn = [repeated(records, weight) for records in (truths, predictions)]
        figures = evaluate(*drawn, NAMES, protocol=protocol, iou_thresholds=thresholds).figures
        for name in INTERVAL_FIGURES:
            assert same(found.of(name)[r], figures[name]), name
        for c, average in enumerate(figures["map_per_class"]):
            assert same(found.of_class(c)[r], average), NAMES[c]


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), images=st.integers(1, 5), score_levels=LEVELS, protocol=PROTOCOL_NAMES)
def test_exchanged_figures_are_those_of_swapped_images(
    crowded_scene: Scene, seed: int, images: int, score_levels: int | None, protocol: str
) -> None:
    truths, first = crowded_scene(seed, images, score_levels)
    _, second = crowded_scene(seed + 1, images, score_levels)
    runs = [complete(truths, run, score_levels is not None) for run in (first, second)]
    pairs = [pair(truths, run, NAMES, across=False) for run in runs]
    tables = Tables.of(pairs, PROTOCOLS[protocol], (0.5,), images)
    ids = sorted(truth.image_id for truth in truths)
    for which in (False, True):
        (weights,) = exchanges(tables, 3, seed, which)
        found = figures_of(tables, [weights])
        for r, weight in enumerate(weights):
            # Each image's output is of the one run or of the other.
            np.testing.assert_array_equal(weight[:images] + weight[images:], 1)
            of_first = {image_id for image_id, kept in zip(ids, weight, strict=False) if kept}
            mixed = [p for p in runs[0] if p.image_id in of_first] + [p for p in runs[1] if p.image_id not in of_first]
            figures = evaluate(truths, mixed, NAMES, protocol=protocol, iou_thresholds=(0.5,)).figures
            for name in INTERVAL_FIGURES:
                assert same(found.of(name)[r], figures[name]), name


def test_the_two_runs_exchange_what_they_have(crowded_scene: Scene) -> None:
    truths, predictions = crowded_scene(0, 6)
    paired = pair(truths, predictions, NAMES, across=False)
    tables = Tables.of((paired, paired), PROTOCOLS["voc07"], (0.5,), 6)
    (first,), (second,) = (exchanges(tables, 50, 3, which) for which in (False, True))
    np.testing.assert_array_equal(first[:, :6], second[:, 6:])
    np.testing.assert_array_equal(first[:, 6:], second[:, :6])
    assert 0.4 < first[:, :6].mean() < 0.6


def test_draws_in_blocks_are_the_same_draws(crowded_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    truths, predictions = crowded_scene(0, 6)
    expected = bootstrap(truths, predictions, NAMES, resamples=70)
    compared = compare(truths, predictions, predictions[:3], NAMES, resamples=70)
    monkeypatch.setattr("rbox_metrics._evaluation._resampling._BLOCK", 1)
    assert bootstrap(truths, predictions, NAMES, resamples=70) == expected
    assert compare(truths, predictions, predictions[:3], NAMES, resamples=70) == compared


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), score_levels=LEVELS)
def test_intervals_hold_the_figures_and_no_order_changes_them(
    crowded_scene: Scene, seed: int, score_levels: int | None
) -> None:
    truths, predictions = crowded_scene(seed, 8, score_levels)
    found = bootstrap(truths, predictions, NAMES, resamples=100, seed=seed)
    figures = evaluate(truths, predictions, NAMES).figures
    for name in INTERVAL_FIGURES:
        assert same(found.figures[name].value, figures[name])
        assert 0 <= found.figures[name].low <= found.figures[name].high <= 1
    for name, average in zip(NAMES, figures["map_per_class"], strict=True):
        assert same(found.classes[name].value, average)
    rng = np.random.default_rng(seed)
    shuffled = [
        [records[k].select(rng.permutation(len(records[k]))) for k in rng.permutation(len(records))]
        for records in (truths, predictions)
    ]
    assert bootstrap(*shuffled, NAMES, resamples=100, seed=seed) == found
    wide = bootstrap(truths, predictions, NAMES, resamples=100, seed=seed, confidence=0.99)
    for name in INTERVAL_FIGURES:
        assert wide.figures[name].low <= found.figures[name].low
        assert wide.figures[name].high >= found.figures[name].high


def one_each(right: np.ndarray) -> tuple:
    """An image for each: one truth, and one detection that finds it or does not, all with the same score."""
    count = len(right)
    boxes = np.tile([50.0, 50, 20, 10, 0], (count, 1))
    index, labels = np.arange(count), np.zeros(count, int)
    detected = boxes + np.where(right[:, None], 0, [100.0, 0, 0, 0, 0])
    return from_arrays(boxes, labels, index), from_arrays(detected, labels, index)


def test_the_interval_of_a_share_is_the_binomial_one() -> None:
    """F1 is the share p of images that are right, with the standard error sqrt(p (1 - p) / n)."""
    right = np.arange(400) < 120
    interval = bootstrap(*one_each(right), ["a"], resamples=4000).figures["f1_micro"]
    error = math.sqrt(0.3 * 0.7 / 400)
    assert interval.value == pytest.approx(0.3)
    assert interval.error == pytest.approx(error, rel=0.05)
    assert interval.low == pytest.approx(0.3 - 1.96 * error, abs=0.005)
    assert interval.high == pytest.approx(0.3 + 1.96 * error, abs=0.005)


def test_the_difference_of_two_shares_is_that_of_mc_nemar() -> None:
    """Of 200 images 20 are right in a alone, 40 in b alone: the signs of 60 differences are tosses of a coin."""
    a, b = (np.arange(200) < 100, (np.arange(200) >= 20) & (np.arange(200) < 140))
    truth, first = one_each(a)
    _, second = one_each(b)
    found = compare(truth, first, second, ["a"], resamples=4000).figures["f1_micro"]
    assert (found.a, found.b, found.difference) == pytest.approx((0.5, 0.6, 0.1))
    # Differences of +1, -1 and 0: variance (60 - 20^2 / 200) / 200.
    error = math.sqrt((60 / 200 - 0.1**2) / 200)
    assert found.low == pytest.approx(0.1 - 1.96 * error, abs=0.012)
    assert found.high == pytest.approx(0.1 + 1.96 * error, abs=0.012)
    # |X - 30| >= 10 for X ~ B(60, 1/2).
    exact = 2 * sum(math.comb(60, k) for k in range(21)) / 2**60
    assert found.p_value == pytest.approx(exact, abs=0.006)


def test_runs_that_are_the_same_do_not_differ(crowded_scene: Scene) -> None:
    truths, predictions = crowded_scene(1, 10)
    found = compare(truths, predictions, list(predictions), NAMES, resamples=50)
    for difference in (*found.figures.values(), *found.classes.values()):
        assert (difference.difference, difference.low, difference.high, difference.p_value) == (0, 0, 0, 1)


def test_swapping_the_runs_turns_the_sign() -> None:
    rng = np.random.default_rng(0)
    truth, first = one_each(rng.random(40) < 0.7)
    _, second = one_each(rng.random(40) < 0.4)
    one = compare(truth, first, second, ["a"], resamples=200).figures["f1_micro"]
    other = compare(truth, second, first, ["a"], resamples=200).figures["f1_micro"]
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low))
    assert one.p_value == other.p_value


def noisy(truth: np.ndarray, images: np.ndarray, spread: float, rng: np.random.Generator) -> tuple:
    """Detections of all truths and as many of nothing, with scores that tell little."""
    copies = truth + rng.normal(0, spread, truth.shape) * [1, 1, 0, 0, 0]
    boxes = np.concatenate([copies, copies + np.array([1000, 0, 0, 0, 0])])
    scores = rng.random(len(boxes)) + np.repeat([0.3, 0.0], len(copies))
    return boxes, np.zeros(len(boxes), int), np.tile(images, 2), scores


def simulated(simulations: int, spreads: tuple[float, float], images: int = 25) -> np.ndarray:
    """(simulations,) p-values of `map` for two runs that are alike but for how far off their boxes are."""
    rng = np.random.default_rng(5)
    index = np.repeat(np.arange(images), 4)
    truth = np.column_stack([rng.uniform(0, 500, (len(index), 2)), np.tile([20.0, 10, 0], (len(index), 1))])
    flat = from_arrays(truth, np.zeros(len(index), int), index)
    values = []
    for simulation in range(simulations):
        runs = [from_arrays(*noisy(truth, index, spread, rng)) for spread in spreads]
        found = compare(flat, *runs, ["a"], protocol="voc", resamples=99, seed=simulation)
        values.append(found.figures["map"].p_value)
    return np.array(values)


@pytest.mark.parametrize("simulations", [100, pytest.param(2000, marks=[pytest.mark.slow, pytest.mark.variant])])
def test_p_values_of_runs_that_differ_by_chance_are_uniform(simulations: int) -> None:
    values = simulated(simulations, (2.0, 2.0))
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        # Three standard deviations of a share.
        assert abs((values <= level).mean() - level) < 3 * math.sqrt(level * (1 - level) / simulations), level


def test_p_values_of_runs_that_differ_much_are_small() -> None:
    assert (simulated(20, (1.5, 4.0)) <= 0.02).all()


def test_what_is_not_defined_is_nan() -> None:
    truth, detected = one_each(np.array([True, False]))
    none = from_arrays([], [], [])
    for given_truth, predictions in ((none, none), (none, detected)):
        found = bootstrap(given_truth, predictions, ["a"], resamples=5)
        for interval in (*found.figures.values(), *found.classes.values()):
            assert all(math.isnan(value) for value in vars(interval).values())
        compared = compare(given_truth, predictions, predictions, ["a"], resamples=5)
        assert math.isnan(compared.figures["map"].p_value)
        assert json.loads(json.dumps(compared.to_dict(), allow_nan=False))["figures"]["map"]["p_value"] is None
    # Nothing detected: zero with certainty.
    found = bootstrap(truth, none, ["a", "b"], resamples=5)
    assert found.figures["map"] == Interval(0, 0, 0, 0)
    assert math.isnan(found.classes["b"].value)
    assert found.to_dict()["classes"]["b"]["low"] is None


def test_records_that_can_be_read_once(crowded_scene: Scene) -> None:
    truths, predictions = crowded_scene(2, 4)
    once = compare(iter(truths), iter(predictions), iter(predictions[:2]), iter(NAMES), resamples=10)
    assert once == compare(from_records(truths), predictions, predictions[:2], NAMES, resamples=10)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"resamples": 1}, "expected 2 resamples or more, got 1"),
        ({"confidence": 1.0}, r"expected a confidence above 0 and below 1, got 1\.0"),
        ({"confidence": 0.0}, r"above 0 and below 1, got 0\.0"),
        ({"iou_thresholds": ()}, r"IoU thresholds above 0 and up to 1, got \[\]"),
    ],
)
def test_bad_input_is_named(options: dict, message: str) -> None:
    truth, detected = one_each(np.array([True]))
    with pytest.raises(MetricsError, match=message):
        bootstrap(truth, detected, ["a"], **options)
    with pytest.raises(MetricsError, match=message):
        compare(truth, detected, detected, ["a"], **options)
