"""Damaged files of detections: each is read, as finite numbers, or refused in one of our errors."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from rbox_formats import RboxError
from rbox_metrics import read_predictions
from rbox_testing.damage import damaged

_QUAD = [0, 0, 4, 0, 4, 4, 0, 4]
# As MMRotate, ultralytics and detectron2 write them, in one file.
_COCO = [
    {"image_id": 0, "category_id": 0, "bbox": [10, 10, 5, 5, 30], "score": 0.5},
    {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "segmentation": [_QUAD], "score": 1},
    {"image_id": "a", "category_id": 1, "bbox": _QUAD, "score": 0.25},
    {"image_id": 1, "category_id": 1, "rbox": [0, 0, 4, 3, 0], "poly": _QUAD, "score": 1e-3},
]
_TRUTH = {
    "images": [{"id": 0, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}],
    "categories": [{"id": 0, "name": "plane"}, {"id": 1, "name": "ship"}],
}
_XML = """<?xml version="1.0" encoding="utf-8"?><annotation><source><filename>0.tif</filename></source>
<size><width>100</width><height>100</height></size><objects><object><coordinate>pixel</coordinate>
<type>rectangle</type><possibleresult><name>plane</name><probability>0.5</probability></possibleresult>
<points><point>1,2</point><point>4,2</point><point>4,6</point><point>1,6</point><point>1,2</point></points>
</object></objects></annotation>"""
FILES = {
    "coco-results": ("results.json", json.dumps(_COCO)),
    "annotations": ("truth.json", json.dumps(_TRUTH)),
    "dota-task1": ("Task1_plane.txt", "P0 0.5 0 0 4 0 4 4 0 4\nP1 0.25 0 0 4 0 4 4 0 4.5\n"),
    "fair1m-results": ("0.xml", _XML),
}


def fuzz(kind: str, root: Path, count: int, seed: int) -> tuple[int, int]:
    """Damages one file again and again; returns how often it was refused and taken."""
    name, text = FILES[kind]
    path, results = root / name, root / "sound.json"
    results.write_text(json.dumps(_COCO[:2]))
    chance, refused = random.Random(seed), 0
    for number in range(count + 1):
        path.write_bytes(damaged(text.encode(), chance) if number else text.encode())
        try:
            if kind == "annotations":
                found = read_predictions(results, annotations=path)
            else:
                found = read_predictions(path, class_names=["plane", "ship"], format=chance.choice([kind, None]))
            for record in found:
                assert np.isfinite(record.boxes).all()
                assert (record.boxes[:, 2:4] >= 0).all()
                assert record.scores is None or np.isfinite(record.scores).all()
        except RboxError as error:
            assert number  # undamaged it reads
            refused += "expected" in str(error)
    return refused, count - refused


@pytest.mark.parametrize("kind", FILES)
def test_damaged_files_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    refused, taken = fuzz(kind, tmp_path, 60, seed=1)
    assert refused > 20
    assert taken >= 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
def test_very_many_damaged_files_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    refused, taken = fuzz(kind, tmp_path, 2_500, seed=2)
    assert refused > 1_000
    assert taken > 50
