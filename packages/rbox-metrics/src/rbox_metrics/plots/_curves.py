"""Precision over recall: the mean of each run, and a small picture of each class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rbox_metrics.plots.style import (
    COLUMN,
    LIGHT,
    PAGE,
    legend_below,
    line_style,
    new_figure,
    percent,
    percent_axis,
    run_names,
    say_nothing_there,
    shortened,
    shown,
    styled,
    title_with_iou,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS, _MANY, _COLUMNS_OF_MANY = 5, 20, 7  # small pictures beside each other; more where there are many
_LETTER, _LEAST_TITLE = 0.58, 4.8  # a letter's width over its size, and the least size of a title, points
_MOST_AVERAGES = 4  # what there is room for above one


@styled
def mean_curves(parts: Mapping[str, Mapping[str, Any]]) -> Figure:
    """The mean over classes of each run; of a single run, the classes' curves as thin lines behind it.

    The precision at a recall is the best at that recall or a higher one, and 0 where the recall is not reached.

    Args:
        parts: `Curves.to_dict()` of each run.
    """
    figure = new_figure(COLUMN, 2.35)
    axes = figure.subplots()
    handles: list[Artist] = []
    texts: list[str] = []
    if len(parts) == 1:
        (part,) = parts.values()
        for curve in part["classes"] if len(part["classes"]) > 1 else []:
            (line,) = _step(axes, part, curve["precision"], color=LIGHT, linewidth=0.6, gid=curve["name"])
            if not handles:
                handles, texts = [line], ["each class"]
    for number, (name, part) in enumerate(zip(run_names(parts), parts.values(), strict=True)):
        averages = percent([curve["average_precision"] for curve in part["classes"]])
        known = averages[~np.isnan(averages)]
        mean = shown(float(known.mean())) if len(known) else "-"
        handles += _step(axes, part, part["mean_precision"], **line_style(number), gid=name, zorder=3)
        texts.append(f"{'mean over classes' if len(parts) == 1 else name}, mAP {mean} %")
    if all(value is None or np.isnan(value) for part in parts.values() for value in part["mean_precision"]):
        say_nothing_there(axes, "no truth")
    _square(axes)
    percent_axis(axes.xaxis, "recall")
    percent_axis(axes.yaxis, "precision")
    axes.set_title(title_with_iou("Precision over recall", parts))
    # The longest entry names the columns' width: the mean first.
    legend_below(figure, handles[::-1] if len(parts) == 1 else handles, texts[::-1] if len(parts) == 1 else texts)
    return figure


@styled
def class_curves(parts: Mapping[str, Mapping[str, Any]]) -> Figure:
    """A small picture for each class, with the curves of all runs and their average precisions above it.

    Classes are by name, in the order in which the runs have them; a run without the class has no curve there.

    Args:
        parts: `Curves.to_dict()` of each run.
    """
    runs = [{curve["name"]: curve for curve in part["classes"]} for part in parts.values()]
    names = list(dict.fromkeys(name for run in runs for name in run))
    most = _COLUMNS_OF_MANY if len(names) > _MANY else _COLUMNS
    columns = max(1, min(most, len(names)))
    rows = max(1, math.ceil(len(names) / columns))
    width = PAGE / most
    figure = new_figure(max(COLUMN, width * columns), 0.7 + (0.4 + 0.68 * width) * rows)
    grid = figure.subplots(rows, columns, squeeze=False)  # sharing axes takes a time that is quadratic in them
    handles: dict[int, Artist] = {}
    for place, name in enumerate(names):
        axes = grid.flat[place]
        room = 0.86 * width * 72 / _LETTER  # points by letters
        title = shortened(name, int(room / _LEAST_TITLE))
        size = min(6.5, room / len(title))
        axes.set_title(title, pad=10 if len(runs) <= _MOST_AVERAGES else 4, fontsize=size)
        for number, (part, run) in enumerate(zip(parts.values(), runs, strict=True)):
            if name not in run or not run[name]["truths"]:
                continue
            look = line_style(number)
            (handles[number],) = _step(axes, part, run[name]["precision"], **look, linewidth=1.1, gid=name)
            if len(runs) <= _MOST_AVERAGES:
                average = shown(float(percent([run[name]["average_precision"]])[0]))
                at = number / max(len(runs), 3)
                text = average if len(runs) > 1 else f"AP {average}"
                axes.text(at, 1.03, text, color=look["color"], fontsize=6.5, transform=axes.transAxes)
        if not axes.lines:
            say_nothing_there(axes, "no truth")
        _square(axes)
        axes.set_xticks([0, 50, 100])
        axes.set_yticks([0, 50, 100])
        below = place + columns >= len(names)
        axes.tick_params(labelbottom=below, labelleft=place % columns == 0)
        if below:
            axes.set_xlabel("recall (%)")
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("precision (%)")
    figure.suptitle(title_with_iou("Precision over recall of each class", parts), fontsize=8, x=0.01, ha="left")
    if len(parts) > 1 and handles:
        shown_runs = run_names(parts)
        numbers = sorted(handles)
        legend_below(figure, [handles[number] for number in numbers], [shown_runs[number] for number in numbers])
    return figure


def _step(axes: Axes, part: Mapping[str, Any], precision: list[float | None], **look: Any) -> list[Any]:
    """A precision holds down to the recall before it, since it is the best of all from there on."""
    return axes.plot(percent(part["recalls"]), percent(precision), drawstyle="steps-pre", **look)


def _square(axes: Axes) -> None:
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 102)  # a perfect curve is not half hidden by the border
