"""Which pictures there are, their files, and what holds for all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from rbox_metrics import MetricsError, Report, plots
from rbox_metrics.plots._draw import file_names
from rbox_testing.samples import sampled

TOGETHER = ["pr-curves", "pr-classes", "score-thresholds", "calibration", "errors"]


@pytest.mark.slow
def test_every_picture_is_written(one_class: Report, tmp_path: Path) -> None:
    paths = plots.draw({"first": json.loads(one_class.to_json())}, tmp_path / "new" / "folder")
    names = [*TOGETHER, "confusion-first", "placement-first"]
    assert [path.name for path in paths] == [f"{name}.png" for name in names]
    assert {path.parent for path in paths} == {tmp_path / "new" / "folder"}
    assert sorted(paths) == sorted((tmp_path / "new" / "folder").iterdir())
    for path in paths:
        with Image.open(path) as image:
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
            assert image.width >= 900  # three inches
            shades = image.convert("L").getextrema()
        assert shades[0] < 100
        assert shades[1] == 255


def test_missing_parts_are_passed_over(report: Report, other: Report) -> None:
    whole = report.to_dict()
    without = {**whole, "confusion": None, "curves": None}
    del without["errors"]
    assert list(plots.figures({"a": without})) == ["score-thresholds", "calibration", "placement-a"]
    # Where another run has the part, it is drawn alone.
    whole = {**other.to_dict(), "calibration": None}
    drawn = plots.figures({"a": without, "b": whole})
    assert list(drawn) == [*TOGETHER, "placement-a", "confusion-b", "placement-b"]
    (legend,) = drawn["score-thresholds"].legends
    assert [text.get_text() for text in legend.get_texts()][:2] == ["a", "b"]
    assert [line.get_gid() for line in drawn["pr-classes"].axes[0].lines] == ["ship"]


@pytest.mark.parametrize("report", [{}, {"map": 0.5}, {"sweep": None, "curves": 3}, [], None], ids=repr)
def test_report_without_any_part(report: object) -> None:
    with pytest.raises(
        MetricsError, match=r"expected a report with at least one of curves.* for 'x', got none(.|\n)*full=True"
    ):
        plots.figures({"x": report})


def test_no_reports() -> None:
    with pytest.raises(MetricsError, match="expected at least one report"):
        plots.figures({})


def test_report_of_another_version(report: Report) -> None:
    old = report.to_dict()
    del old["sweep"]["map_nc_spread"]
    with pytest.raises(MetricsError, match="'map_nc_spread' in 'sweep' of the reports of 'x'"):
        plots.figures({"x": old})


def test_without_matplotlib(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(MetricsError, match=r"pip install 'rbox-metrics\[plot\]'"):
        plots.figures({"x": report.to_dict()})


def test_failed_drawing_leaves_the_old_file(report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pr-curves.png").write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="no space"):
        plots.draw({"x": report.to_dict()}, tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize(
    "runs, expected",
    [
        (["epoch_12", "epoch-12.b"], ["epoch_12", "epoch-12.b"]),
        (["../../etc/passwd"], ["etc_passwd"]),
        (["runs/a.json", "runs\\a.json", "runs:a.json"], ["runs_a.json", "runs_a.json-2", "runs_a.json-3"]),
        (["A", "a"], ["A", "a-2"]),
        (["", "..", "\0", "  "], ["run", "run-2", "run-3", "run-4"]),
        (["café 船", "\ud800x"], ["café_船", "x"]),
        (["x" * 300], ["x" * 40]),
        (["a-2", "a", "A"], ["a-2", "a", "A-3"]),
    ],
)
def test_names_are_safe_and_distinct(runs: list[str], expected: list[str]) -> None:
    assert file_names(runs) == expected


def test_files_stay_in_their_folder(report: Report, tmp_path: Path) -> None:
    part = {"placement": report.to_dict()["placement"]}
    paths = plots.draw({"../up": part, "..\\up": part}, tmp_path / "in")
    assert [path.name for path in paths] == ["placement-up.png", "placement-up-2.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


# Reports, and the parts of them whose pictures are not the same as in another case.
CASES = {
    "one run": (["report"], ["curves", "sweep", "calibration", "errors", "confusion", "placement"]),
    "three runs": (["report", "other", "unscored"], ["curves", "sweep"]),
    "nine runs": (["report"] * 9, ["sweep", "errors"]),
    "37 classes": (["many"], ["curves", "confusion"]),
    "one class": (["one_class"], ["curves", "confusion"]),
    "nothing found": (["nothing_found"], ["sweep", "placement", "errors"]),
    "no truth": (["no_truth"], ["sweep", "confusion", "errors"]),
}


@pytest.mark.parametrize("case", sampled(CASES, ["three runs", "no truth"]))
def test_all_texts_are_whole_and_no_legend_covers_data(case: str, request: pytest.FixtureRequest) -> None:
    fixtures, parts = CASES[case]
    reports = [request.getfixturevalue(fixture).to_dict() for fixture in fixtures]
    drawn = plots.figures(
        {
            f"run {number} of a model with a long name": {part: report[part] for part in parts}
            for number, report in enumerate(reports)
        }
    )
    for name, figure in drawn.items():
        figure.draw_without_rendering()
        inside = figure.bbox.padded(1)
        for text in set(figure.findobj(Text)) - _out_of_range(figure):
            if text.get_text() and text.get_visible():
                box = text.get_window_extent()
                assert inside.x0 <= box.x0, (name, text)
                assert box.x1 <= inside.x1, (name, text)
                assert inside.y0 <= box.y0, (name, text)
                assert box.y1 <= inside.y1, (name, text)
        panels = [axes.get_window_extent() for axes in figure.axes if axes.axison]
        for legend in (*figure.legends, *(one for half in figure.subfigs for one in half.legends)):
            assert not any(legend.get_window_extent().overlaps(panel) for panel in panels), name


def _out_of_range(figure: Figure) -> set[Text]:
    """Labels of ticks that are kept ready, and not drawn."""
    return {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
        for label in (tick.label1, tick.label2)
    }


def test_users_settings_neither_matter_nor_change(report: Report) -> None:
    part = {"x": {"placement": report.to_dict()["placement"]}}
    (plain,) = plots.figures(part).values()
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        (figure,) = plots.figures(part).values()
        assert dict(matplotlib.rcParams) == before
    sizes = [[text.get_fontsize() for text in each.findobj(Text)] for each in (plain, figure)]
    assert sizes[0] == sizes[1]


def test_nothing_is_loaded_before_it_is_needed_and_pyplot_never(report: Report, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(report.to_json(), encoding="utf-8")
    script = (
        "import json, pathlib, sys; from rbox_metrics import plots\n"
        "assert 'matplotlib' not in sys.modules and 'PIL.Image' not in sys.modules\n"
        "report = json.loads(pathlib.Path('report.json').read_text())\n"
        "plots.draw({'x': {'placement': report['placement']}}, 'out')\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    assert (tmp_path / "out" / "placement-x.png").exists()
