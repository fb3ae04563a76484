"""Figures against what MMRotate and LMMRotate themselves made of the same boxes: see data/peers.py."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from rbox_formats import ImageRecord
from rbox_metrics import box_iou_rotated, evaluate, nms_rotated, quad_iou, sweep_scores

Scene = tuple[list[ImageRecord], list[ImageRecord], list[str]]


@pytest.fixture(scope="module")
def peers() -> dict[str, Any]:
    return json.loads((Path(__file__).parents[1] / "data" / "peers.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def scene(peers: dict[str, Any]) -> Scene:
    truths, predictions = [], []
    for k, image in enumerate(peers["images"]):
        name = f"{k:02}"
        boxes, found = (np.array(image[key], float).reshape(-1, 5) for key in ("truths", "boxes"))
        difficult = np.array(image["difficult"], bool)
        truths.append(ImageRecord(name, boxes, np.array(image["labels"], int), difficult=difficult))
        detected, scores = np.array(image["detected"], int), np.array(image["scores"], float)
        predictions.append(ImageRecord(name, found, detected, scores=scores))
    return truths, predictions, [f"class {c}" for c in range(peers["classes"])]


def same(found: float | list[float], expected: float | list[float | None] | None) -> bool:
    """To 1e-6; None where there is no figure."""
    wanted = [math.nan if x is None else x for x in (expected if isinstance(expected, list) else [expected])]
    return (found if isinstance(found, list) else [found]) == pytest.approx(wanted, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("protocol", ["voc07", "voc"])
@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_mmrotates_mean_average_precision(peers: dict, scene: Scene, protocol: str, threshold: float) -> None:
    expected = peers["expected"][protocol][f"{threshold:g}"]
    at = evaluate(*scene, protocol=protocol, iou_thresholds=(threshold,)).at[0]
    assert 0.05 < expected["map"] < 0.95
    assert same(at.map, expected["map"])
    assert same([c.ap for c in at.classes], expected["ap"])


def test_mmrotates_coco_metric(peers: dict, scene: Scene) -> None:
    figures = evaluate(*scene, protocol="coco", max_dets=peers["max_dets"]).figures
    expected = peers["expected"]["coco"]
    for name, value in expected.items():
        assert same(figures[name], value), name
    # The limits bite, and the sizes differ.
    assert len({round(expected[f"mar_{limit}"], 6) for limit in peers["max_dets"]}) == 3
    assert len({round(expected[f"map_{size}"], 6) for size in ("small", "medium")}) == 2


def test_lmmrotates_map_nc(peers: dict, scene: Scene) -> None:
    expected = peers["expected"]["map_nc"]
    thresholds = tuple(map(float, expected))
    sweep = sweep_scores(*scene, thresholds=thresholds)
    for s, (threshold, values) in enumerate(expected.items()):
        assert same(float(sweep.map_nc[s]), values["map"]), threshold
        assert same(sweep.ap_nc[s].tolist(), values["ap"]), threshold
    assert same(evaluate(*scene).figures["map_nc"], expected["-1"]["map"])
    assert sweep.best("map_nc", among=thresholds[1:]).value == max(sweep.map_nc[1:])


def test_lmmrotates_f1(peers: dict, scene: Scene) -> None:
    expected = peers["expected"]["f1_lmmrotate"]
    # Its thresholds are k * 0.1, of which 0.3, 0.6 and 0.7 come out above what one would write.
    sweep = sweep_scores(*scene, thresholds=[step * 0.1 for step in range(10)])
    assert same(sweep.f1_lmmrotate.tolist(), expected)
    assert max(expected) > 0.2


def test_mmcvs_overlaps(peers: dict) -> None:
    """mmcv computes in float32."""
    operators = peers["operators"]
    for mode in ("iou", "iof"):
        found = box_iou_rotated(operators["first"], operators["second"], mode=mode)
        assert found == pytest.approx(np.array(operators[mode]), abs=1e-5)


def test_mmcvs_overlaps_of_quads_where_they_are_right(peers: dict) -> None:
    """mmcv 2.1.0 is wrong by up to 0.09 on some pairs of these convex quads; shapely tells which."""
    operators = peers["operators"]
    first, second = (np.array(operators[name]).reshape(-1, 4, 2) for name in ("first_quads", "second_quads"))
    a, b = shapely.polygons(first)[:, None], shapely.polygons(second)
    common = shapely.area(shapely.intersection(a, b))
    exact = common / (shapely.area(a) + shapely.area(b) - common)
    found, mmcv = quad_iou(first, second), np.array(operators["quad_iou"])
    right = np.abs(mmcv - exact) < 1e-5
    assert found == pytest.approx(exact, abs=1e-12)
    assert right.mean() > 0.99
    assert found[right] == pytest.approx(mmcv[right], abs=1e-5)


def test_mmcvs_suppression(peers: dict) -> None:
    operators = peers["operators"]
    assert nms_rotated(operators["first"], operators["scores"], 0.1).tolist() == operators["kept"]
    assert len(operators["kept"]) < len(operators["first"])
