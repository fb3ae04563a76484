"""Boxes as other libraries hold them.

The stand-ins have what supervision 0.31 `Detections` and ultralytics 8.4 `Results.obb` have; where those are installed,
the tests at the end use their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rbox_formats import LE90, rbox_to_quad
from rbox_metrics import FlatBoxes, MetricsError, from_dicts, from_supervision, from_ultralytics


@dataclass
class Detections:
    xyxy: np.ndarray
    class_id: np.ndarray | None = None
    confidence: np.ndarray | None = None
    data: dict[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.xyxy)


@dataclass
class OBB:
    """(N, 7): cx, cy, w, h, rotation, confidence, class."""

    data: Any

    @property
    def xywhr(self) -> Any:
        return self.data[:, :5]

    @property
    def conf(self) -> Any:
        return self.data[:, -2]

    @property
    def cls(self) -> Any:
        return self.data[:, -1]


@dataclass
class Results:
    obb: OBB | None

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def turned(boxes: np.ndarray) -> np.ndarray:
    """Corners (N, 4, 2) of (cx, cy, w, h, rotation): half a side along the turned axes, as ultralytics adds them."""
    centre, (w, h, r) = boxes[:, :2], boxes[:, 2:].T
    u = np.stack([w / 2 * np.cos(r), w / 2 * np.sin(r)], axis=-1)
    v = np.stack([-h / 2 * np.sin(r), h / 2 * np.cos(r)], axis=-1)
    return np.stack([centre + u + v, centre + u - v, centre - u - v, centre - u + v], axis=1)


def overlap(corners: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of quads (N, 4, 2) with others, one by one, relative to the first corner."""
    first, second = (shapely.polygons(quads - corners[:, :1]) for quads in (corners, others))
    return shapely.area(first & second) / shapely.area(first | second)


places = st.floats(-1e4, 1e4, width=32)
sides = st.floats(1, 500, width=32)
boxes = st.tuples(places, places, sides, sides, st.floats(-6, 6, width=32))
box_lists = st.lists(boxes, min_size=1, max_size=6).map(lambda rows: np.array(rows, dtype=np.float32))


@given(box_lists)
def test_xywhr_is_the_same_rectangle_whatever_its_angle_and_order_of_sides(found: np.ndarray) -> None:
    rows = np.concatenate([found, np.full((len(found), 1), 0.5), np.zeros((len(found), 1))], axis=1)
    flat = from_ultralytics([Results(OBB(rows.astype(np.float32)))])
    assert (overlap(turned(found.astype(np.float64)), rbox_to_quad(flat.boxes)) > 1 - 1e-6).all()
    assert (flat.boxes[:, 2] >= flat.boxes[:, 3]).all()
    assert (np.abs(flat.boxes[:, 4]) <= math.pi / 2).all()


@given(box_lists, st.integers(0, 3), st.booleans())
def test_corners_may_begin_anywhere_and_run_either_way(found: np.ndarray, first: int, backwards: bool) -> None:
    corners = turned(found.astype(np.float64))
    given_as = np.roll(corners[:, ::-1] if backwards else corners, first, axis=1)
    one = Detections(np.zeros((len(found), 4)), np.zeros(len(found), int), None, {"xyxyxyxy": given_as})
    flat = from_supervision([one])
    assert (flat.quads == given_as).all()
    assert (overlap(corners, rbox_to_quad(flat.boxes)) > 1 - 1e-6).all()


BOX = [10.0, 20.0, 8.0, 4.0, 0.5]
QUAD = turned(np.array([BOX]))[0]


def same(one: FlatBoxes, other: FlatBoxes) -> None:
    assert np.abs(one.boxes - other.boxes).max() < 1e-9
    for name in ("labels", "image_index", "scores", "difficult"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist(), name
    assert one.image_ids == other.image_ids


def test_all_of_them_say_the_same() -> None:
    rows = np.array([[*BOX, 0.75, 2], [30.0, 40, 6, 3, -0.25, 0.5, 0]])
    empty = rows[:0]
    expected = from_dicts(
        [{"boxes": part[:, :5], "scores": part[:, 5], "labels": part[:, 6].astype(int)} for part in (empty, rows)],
        ["a", "b"],
    )
    assert expected.image_index.tolist() == [1, 1]
    assert expected.labels.tolist() == [2, 0]
    assert expected.image_ids == ("a", "b")
    for convert in (np.asarray, torch.from_numpy):
        results = [Results(OBB(convert(part))) for part in (empty, rows)]
        same(from_ultralytics(results, ["a", "b"]), expected)
        plain = [{"xywhr": one.obb.xywhr, "cls": one.obb.cls, "conf": one.obb.conf} for one in results]
        same(from_ultralytics(plain, ["a", "b"]), expected)
        same(from_ultralytics([one.obb for one in results], ["a", "b"]), expected)
    detections = [
        Detections(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0)),
        Detections(np.zeros((2, 4)), rows[:, 6].astype(int), rows[:, 5], {"xyxyxyxy": turned(rows[:, :5])}),
    ]
    same(from_supervision(iter(detections), ["a", "b"]), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tensors_of_any_kind(dtype: torch.dtype) -> None:
    image = {
        "boxes": torch.tensor([BOX], dtype=dtype, requires_grad=True),
        "scores": torch.tensor([0.5], dtype=dtype),
        "labels": torch.tensor([3], dtype=torch.int32),
    }
    flat = from_dicts([image])
    assert flat.boxes[0].tolist() == BOX
    assert flat.labels.dtype == np.int64


@pytest.mark.parametrize("corners", [QUAD[None], QUAD.reshape(1, 8), torch.from_numpy(QUAD[None])])
def test_corners_in_dictionaries(corners: Any) -> None:
    flat = from_dicts([{"boxes": corners, "labels": [0]}, {"boxes": [BOX], "labels": [1]}])
    assert np.abs(flat.boxes - np.array([BOX, BOX])).max() < 1e-9
    assert np.abs(flat.quads[0] - QUAD).max() == 0
    assert overlap(flat.quads[:1], flat.quads[1:])[0] > 1 - 1e-12
    assert flat.scores is None


@pytest.mark.parametrize("empty", [[], np.zeros((0, 5)), np.zeros((0, 4)), np.zeros((0, 4, 2)), torch.zeros(0)])
def test_images_without_boxes_may_have_any_shape_and_no_scores(empty: Any) -> None:
    images = [{"boxes": empty, "labels": []}, {"boxes": [BOX], "labels": [1], "scores": [0.5]}]
    flat = from_dicts(images)
    assert flat.image_index.tolist() == [1]
    assert flat.scores.tolist() == [0.5]
    assert len(from_dicts([images[0]])) == len(from_dicts([])) == 0


def test_difficult_ones_under_either_name() -> None:
    images = [
        {"boxes": [BOX, BOX], "labels": [0, 0], "iscrowd": torch.tensor([0, 1])},
        {"boxes": [BOX, BOX], "labels": [0, 0], "difficult": [True, False], "iscrowd": None},
        {"boxes": [BOX], "labels": [0]},
    ]
    assert from_dicts(images).difficult.tolist() == [False, True, True, False, False]


def test_another_convention() -> None:
    flat = from_dicts([{"boxes": [[10, 20, 8, 4, -400.0]], "labels": [0]}], convention=LE90.degrees.counter_clockwise)
    assert flat.boxes[0] == pytest.approx([10, 20, 8, 4, math.radians(40)])


def test_degrees_that_pass_for_radians_are_warned_about() -> None:
    with pytest.warns(UserWarning, match=r"got 30 at .*images\[0\].*degrees"):
        from_dicts([{"boxes": [[10, 20, 8, 4, 30]], "labels": [0]}])


GOOD = {"boxes": [BOX], "labels": [0], "scores": [0.5]}


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: from_ultralytics({"xywhr": [BOX], "cls": [0]}), "expected a list, of one object per image"),
        (lambda: from_dicts([GOOD, {"boxes": [BOX]}]), r"got 'boxes' in images\[1\]"),
        (lambda: from_dicts([GOOD, {**GOOD, "scores": None}]), "some images have scores and others do not"),
        (lambda: from_dicts([GOOD, {**GOOD, "labels": [0, 1]}]), r"the labels of images\[1\] of shape \(1,\)"),
        (lambda: from_dicts([{**GOOD, "labels": [0.0]}]), r"whole numbers in the labels of images\[0\]"),
        (lambda: from_dicts([{**GOOD, "boxes": [[1, 2, 3, 4]]}]), r"images\[0\] of shape \(N, 5\)"),
        (lambda: from_dicts([{**GOOD, "boxes": [[1, 2, 3, -4, 0]]}]), r"sides of zero or more"),
        (lambda: from_dicts([{**GOOD, "boxes": [[1, math.nan, 3, 4, 0]]}]), r"finite numbers.*images\[0\]"),
        (lambda: from_dicts([{**GOOD, "scores": [math.nan]}]), r"nan at box 0 of images\[0\]"),
        (lambda: from_dicts([{**GOOD, "difficult": [1, 0]}]), r"difficult ones of images\[0\]"),
        (lambda: from_dicts([GOOD, GOOD], ["a"]), "expected 2 different image ids"),
        (lambda: from_dicts([GOOD, GOOD], ["a", "a"]), "expected 2 different image ids"),
        (lambda: from_ultralytics(Results(None)), "expected a list"),
        (lambda: from_ultralytics([Results(None)]), r"oriented boxes in .obb, found none in results\[0\]"),
        (lambda: from_ultralytics([{"xywhr": [BOX]}]), r"found only one of them in results\[0\]"),
        (lambda: from_ultralytics([{"xywhr": [BOX], "cls": [0.5]}]), "whole numbers in cls, got 0.5"),
        (lambda: from_supervision(Detections(np.ones((1, 4)))), "expected a list"),
        (lambda: from_supervision([Detections(np.ones((1, 4)), np.zeros(1))]), r"found none in detections\[0\]"),
        (
            lambda: from_supervision([Detections(np.ones((1, 4)), None, None, {"xyxyxyxy": QUAD[None]})]),
            r"expected class_id, found none in detections\[0\]",
        ),
    ],
)
def test_bad_input_is_named(call: Any, message: str) -> None:
    with pytest.raises(MetricsError, match=message):
        call()


ROWS = arrays(np.float32, (3, 5), elements=st.floats(1, 100, width=32))


@given(ROWS)
def test_supervisions_own_detections(found: np.ndarray) -> None:
    supervision = pytest.importorskip("supervision")
    corners = turned(found.astype(np.float64) * [1, 1, 1, 1, 0.05])
    detections = supervision.Detections(
        xyxy=np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1),
        confidence=np.array([0.5, 0.25, 0.75], np.float32),
        class_id=np.array([2, 0, 1]),
        data={supervision.config.ORIENTED_BOX_COORDINATES: corners},
    )
    flat = from_supervision([detections, supervision.Detections.empty()])
    assert (flat.quads == corners).all()
    assert flat.scores.tolist() == [0.5, 0.25, 0.75]
    assert flat.labels.tolist() == [2, 0, 1]


@given(ROWS)
def test_ultralytics_own_results(found: np.ndarray) -> None:
    results = pytest.importorskip("ultralytics.engine.results")
    rows = np.concatenate([found * [1, 1, 1, 1, 0.05], [[0.5, 2], [0.25, 0], [0.75, 1]]], axis=1)
    one = results.Results(np.zeros((9, 9, 3), np.uint8), "a.png", {0: "a", 1: "b", 2: "c"}, obb=torch.from_numpy(rows))
    flat = from_ultralytics([one])
    assert (overlap(one.obb.xyxyxyxy.numpy(), rbox_to_quad(flat.boxes)) > 1 - 1e-6).all()
    assert flat.scores.tolist() == [0.5, 0.25, 0.75]
    assert flat.labels.tolist() == [2, 0, 1]
