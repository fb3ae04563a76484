"""The protocol `dota` against what DOTA's own development kit made of the same labels and detections."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from rbox_formats import ImageRecord, datasets
from rbox_metrics import evaluate
from rbox_metrics._matching import AREA, PROTOCOLS, pair
from rbox_metrics._scores import figures_at
from rbox_testing.places import SHARED

EXAMPLE = SHARED / "data/dota-example"

pytestmark = pytest.mark.skipif(not EXAMPLE.is_dir(), reason="the example data is not here")


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, float]]:
    """The kit's average precisions: by "iou0.5_voc07" and its kin, then by class."""
    return json.loads((EXAMPLE / "devkit-expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def scene() -> tuple[list[ImageRecord], list[ImageRecord], tuple[str, ...]]:
    """Truth, detections, and the classes that have a file of detections: id, score, eight coordinates in each line."""
    dataset = datasets.read("dota", EXAMPLE)
    rows = [
        (line.split(), dataset.class_names.find(path.stem.removeprefix("Task1_")))
        for path in sorted((EXAMPLE / "Task1").glob("*.txt"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    detections = []
    for image_id in dict.fromkeys(fields[0] for fields, _ in rows):
        own = [(fields, label) for fields, label in rows if fields[0] == image_id]
        numbers = np.array([fields[1:] for fields, _ in own], dtype=float)
        quads, labels = numbers[:, 1:].reshape(-1, 4, 2), np.array([label for _, label in own])
        detections.append(ImageRecord.from_quads(image_id, quads, labels, scores=numbers[:, 0]))
    return list(dataset), detections, tuple(dataset.class_names)


def check(found: dict[str, float], expected: dict[str, float]) -> None:
    """The kit has a figure for each class that is on the images and in the files."""
    assert len(expected) > 5
    for name in set(expected) - {"mean"}:
        assert found[name] == pytest.approx(expected[name], abs=1e-6), name


@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_average_precisions_are_the_kits(threshold: float, expected: dict, scene: tuple) -> None:
    truth, detections, names = scene
    report = evaluate(truth, detections, names, protocol="dota", iou_thresholds=(threshold,))
    check({c.name: c.ap for c in report.at[0].classes}, expected[f"iou{threshold:g}_voc07"])
    assert report.geometry == "quad"


@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_so_are_those_of_its_other_average(threshold: float, expected: dict, scene: tuple) -> None:
    """The kit's `use_07_metric=False`, which its main function does not ask for."""
    protocol = replace(PROTOCOLS["dota"], recalls=AREA)
    at, _ = figures_at(pair(*scene, geometry="quad"), protocol, (threshold,), None)
    check({c.name: c.ap for c in at[0].classes}, expected[f"iou{threshold:g}_area"])


def test_boxes_around_the_quads_are_scored_otherwise(scene: tuple) -> None:
    """So that the tests above can tell the two apart."""
    thresholds = (0.6, 0.7, 0.8, 0.9)
    by_quad, by_box = (evaluate(*scene, geometry=name, iou_thresholds=thresholds) for name in ("quad", "rbox"))
    assert any(abs(q.map - b.map) > 1e-3 for q, b in zip(by_quad.at, by_box.at, strict=True))
