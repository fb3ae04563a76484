"""Flat arrays of many images."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from rbox_formats import ImageRecord
from rbox_metrics import MetricsError, from_arrays, from_records


def record(image_id: str, count: int, first: float = 0.0, scored: bool = False, **fields: object) -> ImageRecord:
    boxes = np.array([[first + k, 0.0, 2.0, 1.0, 0.0] for k in range(count)]).reshape(-1, 5)
    scores = np.linspace(0.1, 0.9, count) if scored else None
    return ImageRecord(image_id, boxes, np.arange(count), scores=scores, **fields)


def test_records_follow_the_images_whatever_their_own_order() -> None:
    difficult = np.array([False, True])
    records = [record("b", 2, 10, difficult=difficult), record("c", 0), record("a", 1, 20)]
    flat = from_records(records, ["a", "b", "c", "d"])
    assert flat.boxes[:, 0].tolist() == [20, 10, 11]
    assert flat.labels.tolist() == [0, 0, 1]
    assert flat.image_index.tolist() == [0, 1, 1]
    assert flat.difficult.tolist() == [False, False, True]
    assert flat.scores is None
    assert flat.image_ids == ("a", "b", "c", "d")
    assert len(flat) == 3


def test_records_are_their_own_images_where_none_are_given() -> None:
    flat = from_records(iter([record("b", 1, scored=True), record("a", 2, scored=True), record("none", 0)]))
    assert flat.image_ids == ("b", "a", "none")
    assert flat.image_index.tolist() == [0, 1, 1]
    assert flat.scores is not None
    assert flat.scores.tolist() == pytest.approx([0.1, 0.1, 0.9])


def test_no_records_and_records_without_boxes() -> None:
    for flat in (from_records([]), from_records([record("a", 0)]), from_arrays([], [], [])):
        assert flat.boxes.shape == (0, 5)
        assert flat.image_index.shape == flat.labels.shape == flat.difficult.shape == (0,)
        assert flat.scores is None


def test_arrays_are_taken_as_they_are() -> None:
    flat = from_arrays(np.ones((2, 5), np.float32), [3, 1], np.array([7, 0], np.int32), [0.5, 0.25], [0, 1])
    assert flat.boxes.dtype == np.float64
    assert flat.labels.tolist() == [3, 1]
    assert flat.image_index.tolist() == [7, 0]
    assert flat.scores is not None
    assert flat.scores.tolist() == [0.5, 0.25]
    assert flat.difficult.tolist() == [False, True]


BOX = [[0, 0, 1, 1, 0]]
BROKEN = ImageRecord("x", np.array([[0, 0, 1, 1, 0], [0, 0, math.nan, 1, 0]]), np.zeros(2, int))
UNSCORED = ImageRecord("x", np.array(BOX, float), np.zeros(1, int), scores=np.array([math.nan]))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: from_arrays(BOX, [0, 1], [0]), r"labels of shape \(1,\)"),
        (lambda: from_arrays(BOX, [0], [-1]), r"got -1 at image_index\[0\]"),
        (lambda: from_arrays(BOX, [0], [0.0]), "whole numbers in image_index"),
        (lambda: from_arrays(BOX, [0], [0], [math.nan]), r"scores\[0\]"),
        (lambda: from_arrays(BOX, [0], [0], None, [True, False]), r"difficult of shape \(1,\)"),
        (lambda: from_records([record("a", 1), record("a", 0)]), "once in the records, got 'a' more than once"),
        (lambda: from_records([], ["a", "b", "a"]), "once in the image_ids, got 'a'"),
        (lambda: from_records([record(f"p{k}", 1) for k in range(7)], ["a"]), "'p0', 'p1'.* 'p4' and 2 more"),
        (lambda: from_records([record("a", 1), record("b", 1, scored=True)]), "there are none on 'a'"),
        (lambda: from_records([record("a", 3), BROKEN]), "box 1 of image 'x'"),
        (lambda: from_records([record("a", 3, scored=True), UNSCORED]), "got nan at box 0 of image 'x'"),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(MetricsError, match=message):
        call()
