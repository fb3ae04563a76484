"""How well the found objects are placed: histograms of the overlap and of the angle error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rbox_metrics.plots.style import (
    COLOURS,
    COLUMN,
    GREY,
    count_axis,
    new_figure,
    percent,
    say_nothing_there,
    shortened,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def histograms(run: str, part: Mapping[str, Any]) -> Figure:
    """Draw histograms of the matches' IoU with its mean, and of their angle errors with the median.

    Args:
        run: The name of the run.
        part: `Placement.to_dict()`.
    """
    figure = new_figure(COLUMN, 3.6)
    upper, lower = figure.subplots(2, 1)
    matched = part["matched"]
    upper.set_title(f"{shortened(run, 26)}: {matched:,} matches, IoU {part['iou_threshold']:g}")
    iou = part["iou_histogram"]
    # Older reports have only the coarse one.
    angle = part.get("angle_error_fitted_histogram_degrees") or part["angle_error_histogram_degrees"]
    _bars(upper, 100 * np.array(iou["edges"]), iou["counts"])
    upper.set_xlabel("IoU of match and truth (%)")
    upper.set_ylabel("matches")
    _bars(lower, np.array(angle["edges"]), angle["counts"])
    lower.set_xlabel("angle error (degrees)")
    lower.set_ylabel("matches")
    if not matched:
        for axes in (upper, lower):
            axes.set_yticks([])
            say_nothing_there(axes, "no matches")
        return figure
    for axes, counts in ((upper, iou["counts"]), (lower, angle["counts"])):
        count_axis(axes.yaxis, round(1.1 * max(counts)), "matches")
    if beyond := matched - sum(angle["counts"]):
        text = f"{beyond:,} beyond {angle['edges'][-1]:g}°"
        lower.annotate(text, (1, 0.5), xycoords="axes fraction", ha="right", fontsize=7, color=GREY)
    (mean,) = percent([part["iou_mean"]])
    _mark(upper, mean, f"mean {mean:.1f} %")
    median = part["angle_error_median_degrees"]
    _mark(lower, median, f"median {median:.2f}°")
    return figure


def _bars(axes: Axes, edges: np.ndarray, counts: list[int]) -> None:
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=COLOURS[0], edgecolor="white", linewidth=0.4)
    axes.set_xlim(edges[0], edges[-1])


def _mark(axes: Axes, at: float, text: str) -> None:
    """Draw a line at a value, and write the value above the bars, on the side where there is room."""
    axes.axvline(at, color="black", linewidth=0.9, linestyle=(0, (4, 2)))
    low, high = axes.get_xlim()
    if not low <= at <= high:  # beyond what is shown
        at = high
    right = at < (low + high) / 2
    axes.annotate(
        text,
        (at, 1),
        xycoords=("data", "axes fraction"),
        xytext=(3 if right else -3, -1),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top",
        fontsize=7,
        color=GREY,
    )
