"""The report as a dictionary, a file and a table."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from rbox_metrics import MetricsError, Report, evaluate, from_arrays
from rich.console import Console

A, B = [10, 10, 10, 4, 0], [50, 10, 10, 4, 0]


@pytest.fixture
def report() -> Report:
    """Of two ships one is found; a tank is reported, and there is none."""
    truth = from_arrays([A, B], [0, 0], [0, 1])
    predictions = from_arrays([A, A], [0, 1], [0, 0], scores=np.array([0.9, 0.8]))
    return evaluate(truth, predictions, ["ship", "tank"], iou_thresholds=(0.5, 0.75))


def test_dictionary_is_ready_for_json(report: Report) -> None:
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert values == report.to_dict()
    assert values["map"] == values["map_50"] == values["map_75"] == pytest.approx(6 / 11)
    assert values["map_per_class"] == [values["map"], None]
    assert values["iou_thresholds"] == [0.5, 0.75]
    assert values["protocol"] == "voc07"
    assert values["class_names"] == ["ship", "tank"]
    ship, tank = values["at"][0]["classes"]
    assert ship == {
        "name": "ship",
        "truths": 2,
        "difficult": 0,
        "detections": 1,
        "ap": pytest.approx(6 / 11),
        "ap_nc": pytest.approx(6 / 11),
        "ap_nc_tied": pytest.approx(6 / 11),
        "ap_nc_random": pytest.approx(6 / 11),
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
    }
    assert (tank["detections"], tank["ap"], tank["f1"]) == (1, None, None)
    assert values["precision_micro"] == 0.5


def test_save_replaces_the_file_and_leaves_no_other(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.json"
    report.save(path)
    path.write_text("old", encoding="utf-8")
    report.save(path)
    assert json.loads(path.read_text(encoding="utf-8")) == report.to_dict()
    assert [file.name for file in path.parent.iterdir()] == ["report.json"]


def test_table_holds_the_figures_in_80_columns(report: Report) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report.table(0.75))
    lines = console.export_text().splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    assert "0.75" in lines[0]
    assert rows["ship"] == ["2", "1", "54.55", "54.55", "54.55", "100.00", "50.00", "66.67"]
    assert rows["tank"] == ["0", "1", "-", "-", "-", "-", "-", "-"]
    assert rows["mean"] == ["54.55", "54.55", "54.55", "66.67"]
    assert rows["all"] == ["2", "2", "50.00", "50.00", "50.00"]


def test_table_of_a_threshold_not_asked_for(report: Report) -> None:
    with pytest.raises(MetricsError, match=r"among 0\.5, 0\.75, got 0\.6"):
        report.table(0.6)


def test_nan_stays_out_of_the_file_only(report: Report) -> None:
    assert math.isnan(report.at[0].classes[1].ap)
