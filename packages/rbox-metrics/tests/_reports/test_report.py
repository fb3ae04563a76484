"""The report as a dictionary, a file and a table."""

from __future__ import annotations

import io
import json
import math
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rbox_formats import ImageRecord
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


def test_repr_is_the_table_and_no_dump(report: Report) -> None:
    """Worked by hand: of two ships one is found; what is printed in a session is read, and not scrolled past."""
    lines = repr(report).splitlines()
    assert lines[0] == "Report: voc07 on boxes, IoU 0.5, 0.75, percent"
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    assert rows["ship"] == ["2", "1", "54.55", "54.55", "54.55", "100.00", "50.00", "66.67"]
    assert lines[-1].endswith("0.5): 54.55")
    assert max(map(len, lines)) <= 100
    assert len(lines) < 15
    assert "\x1b" not in repr(report)
    truth = [ImageRecord(name, np.array([A]), np.array([0])) for name in ("P1", "P2", "P3")]
    found = evaluate(truth, truth[:1], ["ship"], protocol="coco")
    assert repr(found).startswith("Report: coco on boxes, IoU 0.5 to 0.95 (10), all 3 images, percent\n")
    found = replace(found, only_with_images=True, images_left_out=4)
    assert "3 images with a file of 7" in repr(found)


class Cells(HTMLParser):
    """The texts of a page's table cells, by rows."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self.tags.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_a_notebook_shows_tables_in_which_names_are_names() -> None:
    evil = "<script>alert(1)</script>&amp;"
    truth = from_arrays([A, B], [0, 0], [0, 1])
    page = evaluate(truth, truth, [evil], iou_thresholds=[0.5, 0.6, 0.7, 0.8])._repr_html_()
    cells = Cells()
    cells.feed(page)
    assert not cells.tags  # each that is opened is closed
    assert "script" not in {line.strip("<>/") for line in page.split(">")}
    header, row = cells.rows[:2]
    assert dict(zip(header, row, strict=True)) == {
        **{"class": evil, "truths": "2", "dets": "2"},
        **dict.fromkeys(["AP", "AP nc", "AP nc tied", "precision", "recall", "F1"], "100.00"),
    }
    assert page.count("<caption>") == 4  # three of the four thresholds, and what stands besides


def test_a_data_frame_is_what_pandas_reads_of_the_csv(report: Report) -> None:
    pandas = pytest.importorskip("pandas")
    frame = report.to_pandas()
    pandas.testing.assert_frame_equal(frame, pandas.read_csv(io.StringIO(report.to_csv())))
    assert frame.groupby("iou_threshold")["ap"].mean().to_dict() == pytest.approx({0.5: 6 / 11, 0.75: 6 / 11})


def test_without_pandas_the_error_says_what_to_install(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MetricsError, match=r"pip install 'rbox-metrics\[pandas\]'"):
        report.to_pandas()


def test_table_of_a_threshold_not_asked_for(report: Report) -> None:
    with pytest.raises(MetricsError, match=r"among 0\.5, 0\.75, got 0\.6"):
        report.table(0.6)


def test_nan_stays_out_of_the_file_only(report: Report) -> None:
    assert math.isnan(report.at[0].classes[1].ap)
