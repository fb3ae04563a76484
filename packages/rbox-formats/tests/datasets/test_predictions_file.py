from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets, predictions
from rbox_formats.cli.main import main
from rbox_formats.errors import DatasetError
from rbox_formats.predictions import Header

NAMES = ClassNames(["ship", "plane"])
BOXES = np.array([[50.0, 40, 30, 10, 0.5], [20, 20, 10, 5, -0.25]])


def found(root: Path) -> Path:
    """As a detector writes it."""
    root.mkdir(exist_ok=True)
    record = ImageRecord("P1", BOXES, [1, 0], scores=[0.9, 0.5], width=100, height=80, metadata={"status": "boxes"})
    with predictions.Writer(root / "predictions.jsonl", Header(NAMES, "sha256:1", {"name": "florence2"})) as writer:
        writer.write(record)
    return root / "predictions.jsonl"


def test_a_detectors_file(tmp_path: Path) -> None:
    path = found(tmp_path)
    (record,) = datasets.read("predictions", path)
    assert (record.image_id, record.path, record.size, record.quads) == ("P1", None, (100, 80), None)
    assert record.scores is not None
    assert record.scores.tolist() == [0.9, 0.5]
    assert record.boxes.tolist() == BOXES.tolist()
    assert record.metadata == {}
    (tmp_path / "images").mkdir()
    Image.new("L", (100, 80)).save(tmp_path / "images" / "P1.jpg")
    (record,) = datasets.read("predictions", tmp_path, class_names=["plane", "tram", "SHIP"])
    assert (record.path, record.labels.tolist()) == (tmp_path / "images" / "P1.jpg", [0, 2])
    with pytest.raises(
        DatasetError, match=r"predictions\.jsonl:1: expected classes among plane, got 'ship' in the hea"
    ):
        datasets.read("predictions", tmp_path, class_names=["plane"])


@pytest.mark.parametrize(("to", "name"), [("label-studio", "tasks.json"), ("cvat", "annotations.xml")])
def test_findings_go_into_an_annotation_tool(to: str, name: str, tmp_path: Path) -> None:
    path = found(tmp_path / "run")
    words = ["convert", "--data", str(path), "--format", "predictions", "--to", to, "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "Read back, it is not the same" not in result.output
    (record,) = datasets.read(to, tmp_path / "out" / name, class_names=NAMES)
    assert record.scores is not None
    assert record.scores.tolist() == [0.9, 0.5]
    np.testing.assert_allclose(record.boxes, BOXES, atol=1e-9)


def test_what_is_written_is_a_predictions_file(tmp_path: Path) -> None:
    record = ImageRecord("P1", BOXES, [0, 1], width=100, height=80, metadata={"gsd": "0.3"})
    path = datasets.write("predictions", [record], tmp_path, "val", NAMES)
    assert path == tmp_path / "val.jsonl"
    header = json.loads(path.read_text().splitlines()[0])
    assert (header["class_names"], header["fingerprint"]) == (["ship", "plane"], "converted")
    assert len(predictions.read(path)) == 1
