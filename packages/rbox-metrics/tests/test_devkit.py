"""Matching and averages against what DOTA's own development kit made of the same quads and overlaps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from rbox_formats import datasets
from rbox_metrics._curves import area, eleven_points, precision_recall
from rbox_metrics._matching import best_truths, claim
from rbox_metrics._search import Pairs

EXAMPLE = Path(__file__).parent / "../../../../shared/data/dota-example"

pytestmark = pytest.mark.skipif(not EXAMPLE.is_dir(), reason="the example data is not here")


def task1(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Image ids, scores (D,) and quads (D, 4, 2) of a file of the server's: id, score, eight coordinates."""
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    numbers = np.array([row[1:] for row in rows], dtype=float)
    return [row[0] for row in rows], numbers[:, 0], numbers[:, 1:].reshape(-1, 4, 2)


@pytest.mark.parametrize("protocol, average", [("voc07", eleven_points), ("area", area)])
@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_average_precisions_are_the_kits(protocol: str, average: object, threshold: float) -> None:
    expected = json.loads((EXAMPLE / "devkit-expected.json").read_text(encoding="utf-8"))
    expected = expected[f"iou{threshold:g}_{protocol}"]
    records = list(datasets.read("dota", EXAMPLE))
    names = datasets.read("dota", EXAMPLE).class_names
    assert len(expected) > 5
    for name in set(expected) - {"mean"}:
        picked = [record.select(record.labels == names.find(name)) for record in records]
        images = np.concatenate([[record.image_id] * len(record) for record in picked])
        difficult = np.concatenate([record.difficult for record in picked])
        truths = shapely.polygons(np.concatenate([record.quads for record in picked]))
        ids, scores, quads = task1(EXAMPLE / "Task1" / f"Task1_{name}.txt")
        detections = shapely.polygons(quads)
        first, second = np.nonzero(np.array(ids)[:, None] == images[None])
        common = shapely.area(shapely.intersection(detections[first], truths[second]))
        iou = common / (shapely.area(detections[first]) + shapely.area(truths[second]) - common)

        best, best_iou = best_truths(Pairs(first, second, iou), difficult, len(ids))
        order = np.argsort(-scores, kind="stable")
        outcomes = claim(order, best, best_iou, difficult, threshold)[order]
        found = average(*precision_recall(outcomes, int((~difficult).sum())))
        assert found == pytest.approx(expected[name], abs=1e-6), name
