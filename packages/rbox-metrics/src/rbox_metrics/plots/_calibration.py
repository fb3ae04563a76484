"""Reliability curves: whether scores are probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rbox_metrics.plots.style import (
    COLUMN,
    GREY,
    count_axis,
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
    from matplotlib.figure import Figure

_MARKERS = "osD^vPX"


@styled
def reliability(parts: Mapping[str, Mapping[str, Any]]) -> Figure | None:
    """Draw the share of right detections over the score, and below it how many detections have each score.

    Args:
        parts: `Calibration.to_dict()` of each run.

    Returns:
        None if no run has scores that are probabilities.
    """
    scored = {name: part for name, part in parts.items() if sum(part["counts"])}
    if not scored:
        return None
    figure = new_figure(COLUMN, 3.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    (diagonal,) = upper.plot([0, 1], [0, 100], color=GREY, linewidth=0.8, linestyle=(0, (2, 2)))
    handles: list[Artist] = []
    texts: list[str] = []
    for number, (name, part) in enumerate(zip(run_names(scored), scored.values(), strict=True)):
        look = line_style(number)
        confidence, accuracy = percent(part["confidence"]) / 100, percent(part["accuracy"])
        there = ~np.isnan(confidence)
        marker = _MARKERS[number % len(_MARKERS)]
        handles += upper.plot(confidence[there], accuracy[there], marker=marker, **look, gid=name, clip_on=False)
        texts.append(f"{name}, ECE {shown(float(percent([part['ece']])[0]))} %")
        bars = {"fill": True, "alpha": 0.35} if len(scored) == 1 else {"baseline": None, "linewidth": 1.1}
        lower.stairs(part["counts"], part["edges"], **bars, **look, gid=name)
    upper.set_ylim(0, 100)
    upper.set_xlim(0, 1)
    percent_axis(upper.yaxis, "right detections")
    upper.set_title(title_with_iou("Reliability of scores", scored))
    count_axis(lower.yaxis, max(max(part["counts"]) for part in scored.values()), "detections")
    lower.set_xlabel("score")
    legend_below(figure, [*handles, diagonal], [*texts, "perfectly calibrated"])
    return figure
