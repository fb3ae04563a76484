"""The confusion matrix as a heat map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rbox_metrics.plots.style import COLUMN, GREY, new_figure, say_nothing_there, short_number, shortened, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# With more rows, their numbers cannot be read on a page.
MOST_WITH_COUNTS = 22
_CELL, _CELL_WITHOUT_COUNTS = 0.24, 0.145  # inches
_LEAST_SIDE = 1.8
_LONGEST_NAME = 28


@styled
def heat_map(run: str, part: Mapping[str, Any]) -> Figure:
    """Draw the matrix: rows are true classes, columns detected ones; the shade is the cell's share of its row.

    Shades follow the square root of the share, so that a few percent are visible beside a hundred. Counts are written
    where there is room. Classes without truths and detections are left out; a row without truths is hatched.

    Args:
        run: The name of the run.
        part: `Confusion.to_dict()`.
    """
    from matplotlib.colors import PowerNorm

    counts = np.array(part["counts"], dtype=np.int64)
    kept = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    counts = counts[np.ix_(kept, kept)]
    names = [shortened(part["labels"][k], _LONGEST_NAME) for k in kept]
    n = len(kept)
    written = n <= MOST_WITH_COUNTS
    side = max(_LEAST_SIDE, n * (_CELL if written else _CELL_WITHOUT_COUNTS))
    margin = 0.45 + 0.052 * max(map(len, names), default=0)
    figure = new_figure(max(COLUMN, side + margin + 0.75), side + margin + 0.35)
    axes = figure.subplots()
    axes.grid(visible=False)
    from_score = part["score_threshold"]
    which = "all detections" if from_score is None else f"detections from score {from_score:g}"
    axes.set_title(f"{shortened(run, int(side / 0.06))}\nIoU {part['iou_threshold']:g}, {which}")
    if not n:
        axes.set_axis_off()
        say_nothing_there(axes, "no truths and no detections")
        return figure

    totals = counts.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, 100 * counts / np.maximum(totals, 1), np.nan)
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 100), aspect="equal", interpolation="nearest")
    for row in np.flatnonzero(totals[:, 0] == 0):
        axes.axhspan(row - 0.5, row + 0.5, facecolor="none", edgecolor="#C8C8C8", hatch="////", linewidth=0)
    small = 7 if written else 5.5
    axes.set_xticks(range(n), names, rotation=90, fontsize=small)
    axes.set_yticks(range(n), names, fontsize=small)
    axes.tick_params(length=0)
    axes.set_xlabel("detected as")
    axes.set_ylabel("truth")
    if part["labels"][kept[-1]] == part["labels"][-1] and n > 1:
        axes.axhline(n - 1.5, color=GREY, linewidth=0.7)
        axes.axvline(n - 1.5, color=GREY, linewidth=0.7)
    if written:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 35 else "black"
            text = short_number(int(counts[row, column]))
            axes.text(column, row, text, color=colour, fontsize=5.5, ha="center", va="center")
    for spine in axes.spines.values():
        spine.set(visible=True, color=GREY)
    bar = figure.colorbar(image, ax=axes, ticks=[0, 1, 5, 10, 25, 50, 75, 100], shrink=0.8, aspect=25, pad=0.02)
    bar.set_label("share of the row (%),\nshades by its square root", fontsize=7)
    bar.ax.tick_params(labelsize=6)
    return figure
