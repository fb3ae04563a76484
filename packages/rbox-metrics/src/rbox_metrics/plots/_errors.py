"""The kinds of errors, and how much each costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rbox_metrics.plots.style import (
    COLOURS,
    PAGE,
    count_axis,
    legend_below,
    new_figure,
    percent,
    run_names,
    short_number,
    shown,
    styled,
    title_with_iou,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAR = 0.125  # inches, with the gap to the next
_HATCHES = ("", "////", "....", "\\\\\\\\")


@styled
def costs(parts: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw for each kind of error a bar per run: on the left the AP that it costs, on the right how many there are.

    Missed are truths at which no detection points; the other kinds are kinds of detections.

    Args:
        parts: `ErrorBreakdown.to_dict()` of each run.
    """
    kinds = list(dict.fromkeys(kind for part in parts.values() for kind in part["map_costs"]))
    height = 1.0 + max(_BAR * len(parts) + 0.08, 0.24) * len(kinds)
    figure = new_figure(PAGE, height)
    left, right = figure.subplots(1, 2, sharey=True)
    step = 0.84 / len(parts)
    handles = []
    for number, part in enumerate(parts.values()):
        places = np.arange(len(kinds)) + (number - (len(parts) - 1) / 2) * step
        look = {
            "height": 0.92 * step,
            "color": COLOURS[number % len(COLOURS)],
            "edgecolor": "white",
            "linewidth": 0.3,
            "hatch": _HATCHES[number // len(COLOURS) % len(_HATCHES)],
        }
        lost = percent([part["map_costs"].get(kind) for kind in kinds])
        counts = np.array([_count(part, kind) for kind in kinds])
        handles.append(left.barh(places, lost, **look))
        right.barh(places, counts, **look)
        _values(left, 0, places, lost, [shown(value) for value in lost])
        _values(right, 0, places, counts, [f"{count:,}" if count < 10_000 else short_number(count) for count in counts])
    left.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
    left.set_ylim(len(kinds) - 0.45, -0.55)
    left.set_xlabel("AP lost (percentage points)")
    left.set_title(title_with_iou("What each kind of error costs", parts))
    low, high = left.get_xlim()
    left.set_xlim(min(low, 0), max(high, 1) * 1.12)
    right.set_title("How many there are")
    most = max([max(_count(part, kind) for kind in kinds) for part in parts.values()], default=1)
    count_axis(right.xaxis, most, "errors")
    for axes in (left, right):
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    if len(parts) > 1:
        legend_below(figure, handles, run_names(parts))
    return figure


def _count(part: Mapping[str, Any], kind: str) -> int:
    """Return how many detections have this kind of error, or how many truths if it is a kind of truths."""
    found = part["false_positives"] if kind in part["false_positives"] else part["not_found"]
    return sum(found[kind])


def _values(axes: Axes, least: float, places: np.ndarray, values: np.ndarray, texts: list[str]) -> None:
    """Write each bar's value at its end; where there is no bar, at the axis, which begins at the least value."""
    for place, value, text in zip(places, values, texts, strict=True):
        at = least if np.isnan(value) else max(float(value), least)
        axes.annotate(text, (at, place), xytext=(2, 0), textcoords="offset points", va="center", fontsize=6)
