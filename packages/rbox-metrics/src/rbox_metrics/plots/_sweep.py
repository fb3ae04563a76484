"""Precision, recall, F1 and mAP_nc over score thresholds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rbox_metrics._scores import LMMROTATE_F1_THRESHOLDS, LMMROTATE_MAP_NC_THRESHOLDS
from rbox_metrics.plots.style import (
    COLUMN,
    GREY,
    PAGE,
    legend_below,
    line_style,
    new_figure,
    percent,
    percent_axis,
    run_names,
    shown,
    styled,
    title_with_iou,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What is drawn: a row for each axis, with the metrics on it and their names.
_ROWS = (
    (
        "precision, recall, F1",
        {
            "precision_micro": "precision",
            "recall_micro": "recall",
            "f1_micro": "F1",
            "f1_macro": "F1, mean over classes",
            "f1_lmmrotate": "LMMRotate's F1",
        },
    ),
    (
        "mAP_nc",
        {
            "map_nc": "in order of input",
            "map_nc_random": "in random orders",
            "map_nc_tied": "all at once",
        },
    ),
)
# The metrics whose best says nothing: it is reached by keeping all detections, or almost none.
_WITHOUT_BEST = ("precision_micro", "recall_micro")
# The metrics whose best LMMRotate publishes, and the thresholds that it tries.
_LMMROTATE = {"map_nc": LMMROTATE_MAP_NC_THRESHOLDS, "f1_lmmrotate": LMMROTATE_F1_THRESHOLDS}
_SPREAD = {"map_nc_random": "map_nc_spread"}
_MOST_COLUMNS = 4
_MOST_NAMED = 4  # best values that there is room for in one small picture


def thresholds(parts: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw the metrics over the score threshold, and name the best of each.

    For a single run, precision, recall and F1 are in one picture, and the kinds of mAP_nc below. For several runs,
    there is a small picture for each metric. Metrics that no run has are left out.

    Args:
        parts: `Sweep.to_dict()` of each run.
    """
    return _one(parts) if len(parts) == 1 else _several(parts)


@styled
def _one(parts: Mapping[str, Mapping[str, Any]]) -> Figure:
    (part,) = parts.values()
    figure = new_figure(COLUMN, 5.3)
    halves = figure.subfigures(len(_ROWS), 1, squeeze=False)
    for half, (axis, kinds) in zip(halves[:, 0], _ROWS, strict=True):
        axes = half.subplots()
        handles: list[Artist] = []
        texts: list[str] = []
        there = _there([part], kinds) or kinds
        for number, (figure_name, kind) in enumerate(there.items()):
            handles.append(_line(axes, part, figure_name, number))
            best = _best(part, figure_name)
            spread = " ± std" if figure_name in _SPREAD else ""
            said = f": best {best[1]:.1f} from {best[0]:g}" if best else ""
            texts.append(f"{kind}{spread}{said}")
        _finish(axes, "" if len(axis) > 20 else axis, 1.05 * _highest([part], there))
        axes.set_xlabel("score threshold")
        axes.set_title(title_with_iou(f"{axis[:1].upper()}{axis[1:]}" if axis[0] == "p" else axis, parts))
        if any(name in _LMMROTATE for name in there):
            handles.append(_ring())
            texts.append("LMMRotate's own thresholds")
        _legend_one_column(half, handles, texts)
    return figure


@styled
def _several(parts: Mapping[str, Mapping[str, Any]]) -> Figure:
    runs = list(parts.values())
    panels = [(axis, _there(runs, kinds) or kinds) for axis, kinds in _ROWS]
    columns = max(math.ceil(len(kinds) / math.ceil(len(kinds) / _MOST_COLUMNS)) for _, kinds in panels)
    rows = [
        (axis, kinds, list(kinds)[start : start + columns])
        for axis, kinds in panels
        for start in range(0, len(kinds), columns)
    ]
    figure = new_figure(PAGE, 0.2 + 1.75 * len(rows))
    grid = figure.subplots(len(rows), columns, sharex=True, sharey="row", squeeze=False)
    handles: list[Artist] = []
    for place, (row, (axis, kinds, names)) in enumerate(zip(grid, rows, strict=True)):
        lines = len(parts) if len(parts) <= _MOST_NAMED else 1
        for axes, figure_name in zip(row, names, strict=False):
            handles = [_line(axes, part, figure_name, number) for number, part in enumerate(runs)]
            _name_bests(axes, runs, figure_name)
            name = kinds[figure_name]
            axes.set_title(f"mAP_nc, {name}" if axis == "mAP_nc" else name[:1].upper() + name[1:])
            if place + 1 == len(rows) or len(rows[place + 1][2]) <= names.index(figure_name):
                axes.set_xlabel("score threshold")
                axes.tick_params(labelbottom=True)
        for axes in row[len(names) :]:
            axes.set_axis_off()
        # Room above the lines for the names of the best.
        _finish(row[0], "" if len(axis) > 20 else axis, (1.06 + 0.085 * lines) * _highest(runs, kinds))
    figure.suptitle(title_with_iou("Over score thresholds", parts), fontsize=8, x=0.01, ha="left")
    legend_below(figure, [*handles, _ring()], [*run_names(parts), "LMMRotate's own thresholds"])
    return figure


def _there(parts: list[Mapping[str, Any]], kinds: Mapping[str, str]) -> dict[str, str]:
    """Return the metrics that some run has."""
    return {
        name: kind for name, kind in kinds.items() if any(not np.isnan(percent(part[name])).all() for part in parts)
    }


def _line(axes: Axes, part: Mapping[str, Any], figure_name: str, number: int) -> Artist:
    """Draw a metric over the thresholds, its spread, LMMRotate's thresholds as rings and the best as a dot."""
    scores, values = np.array(part["thresholds"]), percent(part[figure_name])
    look = line_style(number)
    (line,) = axes.plot(scores, values, **look, gid=figure_name)
    if figure_name in _SPREAD:
        spread = percent(part[_SPREAD[figure_name]])
        axes.fill_between(scores, values - spread, values + spread, color=look["color"], alpha=0.2, linewidth=0)
    ringed = np.isin(scores, _LMMROTATE.get(figure_name, ()))
    if ringed.any():
        colour = look["color"]
        axes.plot(scores[ringed], values[ringed], "o", mfc="white", mec=colour, mew=0.8, gid="LMMRotate", zorder=3)
    best = _best(part, figure_name)
    if best:
        axes.plot(*best, "o", color=look["color"], markersize=5, gid="best", zorder=4)
    return line


def _ring() -> Artist:
    from matplotlib.lines import Line2D

    return Line2D([], [], marker="o", mfc="white", mec=GREY, mew=0.8, linestyle="none")


def _best(part: Mapping[str, Any], figure_name: str) -> tuple[float, float] | None:
    """Return the threshold, and the value in percent; None where there is none, or it says nothing."""
    if figure_name in _WITHOUT_BEST:
        return None
    best = part["best"][figure_name]
    value = float(percent([best["value"]])[0])
    return None if np.isnan(value) else (best["threshold"], value)


def _name_bests(axes: Axes, parts: list[Mapping[str, Any]], figure_name: str) -> None:
    """Write each run's best in its colour, one below the other at the upper right; of many runs only the highest."""
    bests = {number: best for number, part in enumerate(parts) if (best := _best(part, figure_name))}
    if len(parts) > _MOST_NAMED and bests:
        top = max(bests, key=lambda number: bests[number][1])
        bests = {top: bests[top]}
    for row, (number, (threshold, value)) in enumerate(bests.items()):
        text, colour = f"{shown(value)} from {threshold:g}", line_style(number)["color"]
        axes.annotate(
            text,
            (1, 1),
            xycoords="axes fraction",
            xytext=(-2, -1 - 8.5 * row),
            textcoords="offset points",
            color=colour,
            ha="right",
            va="top",
            fontsize=7,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )


def _highest(parts: list[Mapping[str, Any]], kinds: Mapping[str, str]) -> float:
    """Return the highest value in percent, and at least 1."""
    least = [np.ones(1)]
    values = [
        percent(part[kind]) + percent(part[_SPREAD[kind]] if kind in _SPREAD else [0])
        for part in parts
        for kind in kinds
    ]
    return float(np.nanmax(np.concatenate(least + values)))


def _finish(axes: Axes, name: str, top: float) -> None:
    axes.set_ylim(0, top)
    axes.set_xlim(-0.01, 1.0)
    axes.set_xticks(np.linspace(0, 1, 6))
    percent_axis(axes.yaxis, name, top)
    if not name:
        axes.set_ylabel("%")


def _legend_one_column(half: Any, handles: list[Artist], texts: list[str]) -> None:
    half.legend(handles, texts, loc="outside lower center", ncols=1, borderaxespad=0.2)
