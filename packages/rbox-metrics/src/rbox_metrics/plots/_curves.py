"""Precision over recall: the mean of each run, and a small picture of each class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rbox_metrics.plots.style import (
    COLOURS,
    COLUMN,
    GREY,
    LIGHT,
    PAGE,
    legend_below,
    line_style,
    name_lines,
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
_MOST_AVERAGES = 4  # how many there is room for above a picture
_MOST_NAMED = 6  # classes beside the curves of one run, each with a colour of its own
_NAMES = 1.2  # room for their names, inches


@styled
def mean_curves(parts: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw the mean curve of each run; for a single run also the curves of its classes, named beside them.

    If there are many classes, the best and the worst are named and have colours. The others are grey, and so are those
    without any found object. Classes without truths have no curve. The precision at a recall is the best at that recall
    or a higher one, and 0 if the recall is not reached.

    Args:
        parts: `Curves.to_dict()` of each run.
    """
    alone = len(parts) == 1
    figure = new_figure(COLUMN + (_NAMES if alone else 0), 2.6 if alone else 2.35)
    axes = figure.subplots()
    _square(axes)
    percent_axis(axes.xaxis, "recall")
    percent_axis(axes.yaxis, "precision")
    axes.set_title(title_with_iou("Precision over recall", parts))
    if alone:
        (part,) = parts.values()
        _curves_of_classes(axes, part, next(iter(parts)))
        return figure
    handles: list[Artist] = []
    texts: list[str] = []
    for number, (name, part) in enumerate(zip(run_names(parts), parts.values(), strict=True)):
        handles += _step(axes, part, part["mean_precision"], **line_style(number), gid=name, zorder=3)
        texts.append(f"{name}, mAP {shown(_mean_average(part))} %")
    if all(value is None or np.isnan(value) for part in parts.values() for value in part["mean_precision"]):
        say_nothing_there(axes, "no truth")
    legend_below(figure, handles, texts)
    return figure


def _curves_of_classes(axes: Axes, part: Mapping[str, Any], run: str) -> None:
    """Draw a single run: a curve for each class with ground truth, and their mean if there are several."""
    there = [curve for curve in part["classes"] if curve["truths"]]
    if not there:
        say_nothing_there(axes, "no truth")
        return
    averages = percent([curve["average_precision"] for curve in there])
    order = [number for number in np.argsort(-averages, kind="stable").tolist() if averages[number] > 0]
    named = order if len(order) <= _MOST_NAMED else [*order[: _MOST_NAMED // 2], *order[-(_MOST_NAMED // 2) :]]
    alone = len(there) == 1
    ends, texts, colours = [], [], []
    for number, curve in enumerate(there):
        colour = COLOURS[named.index(number) % (len(COLOURS) - 1)] if number in named and not alone else LIGHT
        wide = 0.9 if number in named else 0.6
        zorder = 2.5 if number in named else 2
        _step(axes, part, curve["precision"], color=colour, linewidth=wide, zorder=zorder, gid=curve["name"])
        if number in named and not alone:
            ends.append(_end(part, curve["precision"]))
            texts.append(f"{shortened(curve['name'], 22)} {shown(float(averages[number]))}")
            colours.append(colour)
    _step(axes, part, part["mean_precision"], color="black", linewidth=1.9, zorder=3, gid=run)
    ends.append(_end(part, part["mean_precision"]))
    of = f"{shortened(there[0]['name'], 16)}, AP" if alone else "mean, mAP"
    texts.append(f"{of} {shown(_mean_average(part))} %")
    colours.append("black")
    name_lines(axes, ends, texts, colours)
    notes = {"between": len(order) - len(named), "at 0": len(there) - len(order)}
    said = [f"{count} {where}" for where, count in notes.items() if count]
    if said:
        axes.text(1.04, -0.17, f"grey: {', '.join(said)}", color=GREY, fontsize=6.5, transform=axes.transAxes)


def _mean_average(part: Mapping[str, Any]) -> float:
    """Return the mean average precision over the classes with ground truth, in percent."""
    averages = percent([curve["average_precision"] for curve in part["classes"]])
    known = averages[~np.isnan(averages)]
    return float(known.mean()) if len(known) else float("nan")


def _end(part: Mapping[str, Any], precision: list[float | None]) -> tuple[float, float]:
    """Return the last point before a curve falls to zero."""
    values = percent(precision)
    reached = np.flatnonzero(values > 0)
    last = int(reached[-1]) if len(reached) else 0
    return float(percent(part["recalls"])[last]), float(values[last])


@styled
def class_curves(parts: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw a small picture for each class, with the curves of all runs and their average precisions above.

    Classes are matched by name, in the order in which the runs have them; a run without the class has no curve there.
    Classes without truths in every run are left out.

    Args:
        parts: `Curves.to_dict()` of each run.
    """
    runs = [{curve["name"]: curve for curve in part["classes"]} for part in parts.values()]
    names = list(dict.fromkeys(name for run in runs for name in run))
    every, names = len(names), [name for name in names if any(run[name]["truths"] for run in runs if name in run)]
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
        _square(axes)
        axes.set_xticks([0, 50, 100])
        axes.set_yticks([0, 50, 100])
        below = place + columns >= len(names)
        axes.tick_params(labelbottom=below, labelleft=place % columns == 0)
        if below:
            axes.set_xlabel("recall (%)")
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    if not names:
        say_nothing_there(grid[0, 0], "no truth")
    for axes in grid[:, 0]:
        axes.set_ylabel("precision (%)")
    title = title_with_iou("Precision over recall of each class", parts, int(figure.get_figwidth() / 0.063))
    if left := every - len(names):
        title += f"\n{left} {'class' if left == 1 else 'classes'} without truth left out"
    figure.suptitle(title, fontsize=8, x=0.01, ha="left")
    if len(parts) > 1 and handles:
        shown_runs = run_names(parts)
        numbers = sorted(handles)
        legend_below(figure, [handles[number] for number in numbers], [shown_runs[number] for number in numbers])
    return figure


def _step(axes: Axes, part: Mapping[str, Any], precision: list[float | None], **look: Any) -> list[Any]:
    """Draw a curve as steps: a precision is the best from its recall on, and holds down to the recall before."""
    return axes.plot(percent(part["recalls"]), percent(precision), drawstyle="steps-pre", **look)


def _square(axes: Axes) -> None:
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 102)  # a perfect curve is not half hidden by the border
