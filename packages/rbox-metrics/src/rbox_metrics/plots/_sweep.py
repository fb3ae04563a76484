"""mAP_nc and F1 over score thresholds."""

from __future__ import annotations

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

# What is drawn: a row for each axis, with the figures on it and what they are called.
_ROWS = (
    (
        "mAP_nc",
        {
            "map_nc": "in the order of the input",
            "map_nc_random": "in random orders",
            "map_nc_tied": "all detections at once",
        },
    ),
    ("F1", {"f1_macro": "mean over classes", "f1_micro": "all classes together", "f1_lmmrotate": "LMMRotate's"}),
)
# Figures that LMMRotate publishes the best of, and at which thresholds it looks.
_LMMROTATE = {"map_nc": LMMROTATE_MAP_NC_THRESHOLDS, "f1_lmmrotate": LMMROTATE_F1_THRESHOLDS}
_SPREAD = {"map_nc_random": "map_nc_spread"}
_MOST_NAMED = 4  # best values that there is room for in one small picture


def thresholds(parts: Mapping[str, Mapping[str, Any]]) -> Figure:
    """The figures that are left where only detections from some score on are kept; the best of each is named.

    Of a single run the kinds of mAP_nc stand in one picture, and those of F1 in another. Several runs are compared in
    a small picture for each kind.

    Args:
        parts: `Sweep.to_dict()` of each run.
    """
    return _one(parts) if len(parts) == 1 else _several(parts)


@styled
def _one(parts: Mapping[str, Mapping[str, Any]]) -> Figure:
    (part,) = parts.values()
    figure = new_figure(COLUMN, 4.9)
    halves = figure.subfigures(len(_ROWS), 1, squeeze=False)
    for half, (axis, kinds) in zip(halves[:, 0], _ROWS, strict=True):
        axes = half.subplots()
        handles: list[Artist] = []
        texts: list[str] = []
        for number, (figure_name, kind) in enumerate(kinds.items()):
            handles.append(_line(axes, part, figure_name, number))
            best = _best(part, figure_name)
            spread = " ± std" if figure_name in _SPREAD else ""
            texts.append(f"{kind}{spread}: " + (f"best {best[1]:.1f} from {best[0]:g}" if best else "-"))
        _finish(axes, axis, 1.05 * _highest([part], kinds))
        axes.set_xlabel("score threshold")
        axes.set_title(title_with_iou(f"{axis} over score thresholds", parts))
        if any(name in _LMMROTATE for name in kinds):
            handles.append(_ring())
            texts.append("LMMRotate's own thresholds")
        _legend_one_column(half, handles, texts)
    return figure


@styled
def _several(parts: Mapping[str, Mapping[str, Any]]) -> Figure:
    figure = new_figure(PAGE, 3.8)
    columns = max(len(kinds) for _, kinds in _ROWS)
    grid = figure.subplots(len(_ROWS), columns, sharex=True, sharey="row")
    handles: list[Artist] = []
    for row, (axis, kinds) in zip(grid, _ROWS, strict=True):
        lines = len(parts) if len(parts) <= _MOST_NAMED else 1
        for axes, (figure_name, kind) in zip(row, kinds.items(), strict=True):
            handles = [_line(axes, part, figure_name, number) for number, part in enumerate(parts.values())]
            _name_bests(axes, list(parts.values()), figure_name)
            axes.set_title(f"{axis}, {kind}")
        # Room above the lines for what is written of the best.
        _finish(row[0], axis, (1.06 + 0.085 * lines) * _highest(list(parts.values()), kinds))
    for axes in grid[-1]:
        axes.set_xlabel("score threshold")
    figure.suptitle(title_with_iou("Over score thresholds", parts), fontsize=8, x=0.01, ha="left")
    legend_below(figure, [*handles, _ring()], [*run_names(parts), "LMMRotate's own thresholds"])
    return figure


def _line(axes: Axes, part: Mapping[str, Any], figure_name: str, number: int) -> Artist:
    """The figure over the thresholds, its spread, LMMRotate's thresholds as rings and the best as a dot."""
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
    """The threshold, and the value in percent; None where there is none."""
    best = part["best"][figure_name]
    value = float(percent([best["value"]])[0])
    return None if np.isnan(value) else (best["threshold"], value)


def _name_bests(axes: Axes, parts: list[Mapping[str, Any]], figure_name: str) -> None:
    """Each run's best in its colour, below each other at the upper right; of many runs the highest only."""
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
    """The highest value in percent, and at least 1."""
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


def _legend_one_column(half: Any, handles: list[Artist], texts: list[str]) -> None:
    half.legend(handles, texts, loc="outside lower center", ncols=1, borderaxespad=0.2)
