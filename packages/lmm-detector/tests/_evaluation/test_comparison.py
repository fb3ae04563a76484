"""One table and one plot of several checkpoints."""

from __future__ import annotations

import csv
import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import rbox_metrics
from lmm_detector._evaluation import _comparison
from lmm_detector._evaluation._comparison import Scored
from PIL import Image
from rbox_formats import ImageRecord

NAMES = ("plane", "ship")
BOXES = np.array([[20.0, 20, 10, 6, 0.3], [50, 50, 20, 8, -0.4], [80, 20, 12, 12, 0.0], [20, 80, 16, 4, 1.0]])
LABELS = np.array([0, 1, 1, 0])


def scored(name: str, step: int | None, kept: int) -> Scored:
    """The first of four objects found, and as many false alarms as are missing."""
    truth = ImageRecord("P1", BOXES, LABELS)
    boxes = BOXES.copy()
    boxes[kept:, :2] += 500
    report = rbox_metrics.evaluate([truth], [ImageRecord("P1", boxes, LABELS)], NAMES)
    return Scored(name, step, Path(name) / "predictions.jsonl", report)


CHECKPOINTS = [
    scored("dota/checkpoint-50", 50, 1),
    scored("dota/checkpoint-200", 200, 2),
    scored("dota/model-400", 400, 4),
]


def test_the_table_in_three_files(tmp_path: Path) -> None:
    """F1 is 2 * hits / (4 + 4) here."""
    _comparison.save(CHECKPOINTS, tmp_path)
    rows = json.loads((tmp_path / "checkpoints.json").read_text())
    assert [(row["checkpoint"], row["step"], row["f1_micro"]) for row in rows] == [
        ("dota/checkpoint-50", 50, 0.25),
        ("dota/checkpoint-200", 200, 0.5),
        ("dota/model-400", 400, 1.0),
    ]
    with (tmp_path / "checkpoints.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert [float(row["F1"]) for row in cells] == [0.25, 0.5, 1.0]
    assert [row["step"] for row in cells] == ["50", "200", "400"]
    lines = (tmp_path / "checkpoints.md").read_text().splitlines()
    assert lines[0].split(" | ")[:3] == ["| checkpoint", "step", "mAP"]
    assert lines[3].startswith("| dota/checkpoint-200 | 200 | ")
    assert " 50.00 " in lines[3]


def test_what_is_not_known(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A checkpoint without a step, and a dataset without objects: dashes, empty cells and null; no plot."""
    caplog.set_level(logging.INFO)
    report = rbox_metrics.evaluate([ImageRecord("P1", BOXES[:0], LABELS[:0])], [], NAMES)
    written = _comparison.save([Scored("mine", None, Path("p.jsonl"), report)], tmp_path)
    assert [path.suffix for path in written] == [".md", ".csv", ".json"]
    assert "no plot: the steps of the checkpoints are not known" in caplog.text
    assert (tmp_path / "checkpoints.md").read_text().splitlines()[2].startswith("| mine | - | - |")
    assert (tmp_path / "checkpoints.csv").read_text().splitlines()[1].startswith("mine,,,")
    assert json.loads((tmp_path / "checkpoints.json").read_text())[0]["map"] is None
    assert all(math.isnan(value) for value in Scored("mine", None, Path("p"), None).figures.values())


def test_the_plot_shows_the_figures_by_their_steps(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    others = [scored("dior/checkpoint-100", 100, 3), scored("dior/model", None, 4)]
    figure = _comparison.plot([*reversed(CHECKPOINTS), *others])
    lines = figure.axes[0].get_lines()
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [f"{run}: {name}" for run in ("dota", "dior") for name in ("mAP", "mAP_nc", "F1")]
    by_text = dict(zip(texts, lines, strict=True))
    assert by_text["dota: F1"].get_xdata().tolist() == [50, 200, 400]
    np.testing.assert_allclose(by_text["dota: F1"].get_ydata(), [25, 50, 100])
    assert by_text["dior: F1"].get_xdata().tolist() == [100]
    assert len({line.get_linestyle() for line in lines}) == 3
    assert len({line.get_color() for line in lines}) == 2
    assert [text.get_text() for text in _comparison.plot(CHECKPOINTS).legends[0].get_texts()] == ["mAP", "mAP_nc", "F1"]
    picture = _comparison.save(CHECKPOINTS, tmp_path)[-1]
    assert picture.name == "checkpoints.png"
    with Image.open(picture) as image:
        assert image.width > 800


def test_without_matplotlib(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert len(_comparison.save(CHECKPOINTS, tmp_path)) == 3
    assert "no plot: matplotlib is not there" in caplog.text
