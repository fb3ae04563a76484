from __future__ import annotations

import math
from pathlib import Path

import pytest
from rbox_baselines._tools._curves import narrow, plot, rows, run_names
from rbox_baselines._tools._logs import Log, read_log

RUN = Path(__file__).parents[1] / "data" / "run"


def log(name: str, scale: float = 1.0, metric: str = "rbox/map") -> Log:
    train = {10 * i: {"loss": scale / i, "loss_cls": scale / i / 2, "time": 0.25} for i in range(1, 9)}
    val = {1: {metric: 0.25}, 2: {metric: 0.75 * scale}, 3: {metric: 0.5}, 4: {metric: math.nan}}
    return Log(name, train, val, {step: (step + 10) // 20 for step in train})


@pytest.mark.parametrize(
    "paths, names",
    [
        (["work/fcos"], ["fcos"]),
        (["work/fcos", "work/retinanet-1.5"], ["fcos", "retinanet-1.5"]),
        (["first/fcos/1", "second/fcos/1"], ["first/fcos/1", "second/fcos/1"]),
        (["first/fcos", "second/fcos"], ["first/fcos", "second/fcos"]),
    ],
)
def test_runs_are_named_by_as_many_folders_as_tell_them_apart(paths: list[str], names: list[str]) -> None:
    assert run_names([Path(path) for path in paths]) == names


def test_losses_and_metrics_have_a_panel_each() -> None:
    figure = plot([log("one"), log("two", 0.8)], ["loss", "rbox/map"])
    losses, metrics = figure.axes
    assert [losses.get_xlabel(), losses.get_ylabel()] == ["iteration", "loss"]
    assert [metrics.get_xlabel(), metrics.get_ylabel()] == ["epoch", "rbox/map (%)"]
    first, second = losses.lines
    assert first.get_xydata()[0].tolist() == [10, 1]  # type: ignore[union-attr,index]
    assert second.get_xydata()[1].tolist() == [20, 0.4]  # type: ignore[union-attr,index]
    assert metrics.lines[0].get_ydata()[:3].tolist() == [25, 75, 50]  # type: ignore[union-attr,index]
    # A run looks alike in both panels, and is named once.
    assert [line.get_color() for line in losses.lines] == [line.get_color() for line in metrics.lines]
    assert first.get_color() != second.get_color()
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]


def test_several_names_of_several_runs_are_told_apart() -> None:
    figure = plot([log("one"), log("two")], ["loss", "loss_cls"])
    [axes] = figure.axes
    looks = [(line.get_color(), str(line.get_linestyle()), line.is_dashed()) for line in axes.lines]
    assert len(set(looks)) == 4
    assert looks[0][0] == looks[1][0] != looks[2][0]
    assert looks[0][1:] == looks[2][1:] != looks[1][1:]
    [legend] = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["one: loss", "one: loss_cls", "two: loss", "two: loss_cls"]


def test_names_of_one_run() -> None:
    figure = plot([log("one")], ["loss", "loss_cls", "rbox/map"])
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["loss", "loss_cls", "rbox/map"]


def test_a_run_without_the_metric_has_no_curve_there() -> None:
    figure = plot([log("one"), log("two", metric="dota/mAP")], ["rbox/map"])
    assert len(figure.axes[0].lines) == 1


def test_a_run_without_epochs_counts_iterations() -> None:
    without = Log("run", {10: {"loss": 1.0}}, {10: {"mAP": 0.5}}, {})
    assert plot([without], ["loss", "mAP"]).axes[1].get_xlabel() == "iteration"


def test_what_is_no_fraction_is_no_percentage() -> None:
    run = Log("run", {10: {"loss": 1.0}}, {1: {"depth": 3.0}}, {10: 1})
    axes = plot([run], ["depth"]).axes[0]
    assert axes.get_ylabel() == "depth"
    assert axes.lines[0].get_ydata().tolist() == [3.0]  # type: ignore[union-attr]


def test_the_table() -> None:
    header, body = rows([log("one"), log("two", 0.8, "dota/mAP")], ["loss", "rbox/map", "dota/mAP"])
    # Last and best of what is known, with its epoch; nothing of the metric that a run does not have.
    assert body[0][:4] == ["one", 80, 0.25, 0.0]
    assert body[0][8:12] == [0.5, 3, 0.75, 2]
    assert body[1][12:] == [0.5, 3, pytest.approx(0.6), 2]
    assert [math.isnan(body[1][8]), body[1][9]] == [True, ""]  # type: ignore[arg-type]
    assert len(header) == len(body[0]) == len(body[1]) == 16
    shown_header, shown = narrow(header, body)
    assert shown[0][:3] == ["one", 80, "250.0 ± 0.0"]
    assert shown[0][5:7] == ["50.00 (3)", "75.00 (2)"]
    assert shown[1][5] == "-"
    assert len(shown_header) == len(shown[0]) == 9


def test_the_table_of_a_run_of_mmengine() -> None:
    header, [row] = rows([read_log(RUN)], ["rbox/map"])
    figures = dict(zip(header, row, strict=False))
    assert figures["iterations"] == 24
    assert figures["fastest epoch"] != figures["slowest epoch"]
    assert 0 < figures["its s/iter"] <= figures["s/iter"]  # type: ignore[operator]
