"""The style of all pictures: sizes, colours, and how they are saved.

Nothing here uses the state of `pyplot` or a display.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from rbox_formats import files

from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import FloatsN

__all__ = [
    "COLOURS",
    "COLUMN",
    "DPI",
    "GREY",
    "LIGHT",
    "PAGE",
    "applied",
    "count_axis",
    "legend_below",
    "line_style",
    "log_axis",
    "name_lines",
    "new_figure",
    "percent",
    "percent_axis",
    "run_names",
    "save",
    "say_nothing_there",
    "short_number",
    "shortened",
    "shown",
    "styled",
    "title_with_iou",
]

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure
else:
    Artist = Axes = XAxis = YAxis = Figure = Any  # matplotlib is imported where something is drawn

# A column and a page of most papers, inches.
COLUMN, PAGE = 3.4, 7.0
DPI = 300

# Okabe and Ito's colours, which can be distinguished with any colour vision, without the yellow, which is too light for
# a line. Dashes distinguish neighbours in print without colours.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1.2, 1.2)))
GREY, LIGHT = "#606060", "#B4B4B4"

_STYLE = {
    "font.family": "sans-serif",
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.titlelocation": "left",
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "savefig.dpi": DPI,
    "text.parse_math": False,  # a dollar sign in a class name stays one
}

_LETTER, _LEGEND_ROW = 0.055, 0.145  # a letter's width and a row's height in a legend, inches

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def applied() -> Iterator[None]:
    """Set matplotlib's defaults and the settings above, whatever the user has set, and restore all afterwards.

    Raises:
        MetricsError: If matplotlib is not installed.
    """
    try:
        import matplotlib.style
    except ImportError as error:
        raise MetricsError(
            "expected matplotlib for pictures, got none", remedy="pip install 'rbox-metrics[plot]'"
        ) from error
    with matplotlib.style.context(_STYLE, after_reset=True):
        yield


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function so that it runs in the pictures' style."""

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with applied():
            return function(*args, **kwargs)

    return inner


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of matplotlib, its size in inches, that makes room for what is around its axes."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


@styled
def save(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def line_style(number: int) -> dict[str, Any]:
    """Return the colour and dashes of the first, second, ... run or metric."""
    # Dashes shift by one more after each round of colours: only the 29th line looks like the first.
    dashes = _DASHES[(number + number // (len(COLOURS) * len(_DASHES))) % len(_DASHES)]
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": dashes}


def percent(values: Sequence[float | None]) -> FloatsN:
    """Return values (N,) from 0 to 1 in percent; None, which JSON has for NaN, becomes NaN."""
    return np.array([np.nan if value is None else 100 * value for value in values], dtype=np.float64)


def shown(value: float) -> str:
    """Return a value in percent, as short as pictures need it; "-" for NaN."""
    return "-" if np.isnan(value) else f"{value:.1f}"


def percent_axis(axis: XAxis | YAxis, name: str, highest: float = 100) -> None:
    """Name an axis and give it round ticks up to the highest value, at most 100."""
    from matplotlib.ticker import MaxNLocator

    axis.set_label_text(f"{name} (%)")
    highest = min(highest, 100)
    ticks = np.asarray(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(0, highest))
    axis.set_ticks(ticks[ticks <= highest])


def log_axis(axis: XAxis | YAxis, least: float, most: float) -> None:
    """Show counts on a logarithmic axis, with plain numbers at powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    which = axis.axis_name
    axis.axes.set(**{f"{which}scale": "log", f"{which}lim": (least, most)})
    axis.set_major_locator(LogLocator(10, numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: short_number(round(value))))


def title_with_iou(title: str, parts: Mapping[str, Mapping[str, Any]], letters: int = 46) -> str:
    """Return a title with the run, if there is one, and the IoU threshold, if all runs have the same.

    Args:
        title: The name of what is shown.
        parts: The part of each run's report, by the name of the run.
        letters: How many letters there is room for; the middle of a longer run's name is left out.
    """
    common = {part["iou_threshold"] for part in parts.values()}
    title = f"{title}, IoU {common.pop():g}" if len(common) == 1 else title
    if len(parts) > 1:
        return title
    (run,) = parts
    return f"{shortened(run, max(8, letters - len(title) - 2))}: {title[:1].lower()}{title[1:]}"


def run_names(parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the runs' names for a legend, with the IoU threshold where the runs differ in it."""
    if len({part["iou_threshold"] for part in parts.values()}) == 1:
        return list(parts)
    return [f"{name} (IoU {part['iou_threshold']:g})" for name, part in parts.items()]


def legend_below(figure: Figure, handles: Sequence[Artist], texts: Sequence[str]) -> None:
    """Draw a legend below all axes, where it covers no data, in as many columns as there is room for.

    The picture grows by the height of the legend, so that the size of the axes does not change.
    """
    width, height = figure.get_size_inches()
    room = int((width - 0.5) / _LETTER)
    texts = [shortened(text, room) for text in texts]
    longest = max(map(len, texts)) * _LETTER + 0.55
    columns = min(len(texts), max(1, int(width / longest)))
    figure.set_size_inches(width, height + _LEGEND_ROW * math.ceil(len(texts) / columns) + 0.1)
    figure.legend(handles, texts, loc="outside lower center", ncols=columns, columnspacing=1.4, borderaxespad=0.2)


def shortened(text: str, letters: int) -> str:
    """Return a text of at most `most` characters; the middle of a longer one is left out."""
    if len(text) <= letters:
        return text
    tail = (letters - 3) // 2
    return text[: letters - 3 - tail] + "..." + text[len(text) - tail :]


def name_lines(axes: Axes, ends: Sequence[tuple[float, float]], texts: Sequence[str], colours: Sequence[str]) -> None:
    """Write names beside lines, at the right of the axes, none over another, each joined to its line's end.

    Args:
        axes: The axes, with their final limits.
        ends: Where each line ends, in coordinates of the data.
        texts: The name of each line.
        colours: The colour of each name, and of the line that joins it to its line's end.
    """
    if not texts:
        return
    height = axes.get_position().height * axes.figure.bbox.height / axes.figure.dpi
    least = min(0.125 / height, 1 / len(texts))  # a row's height, as a part of the axes
    at = axes.transAxes.inverted().transform(axes.transData.transform(np.asarray(ends, dtype=float)))[:, 1]
    places = np.empty(len(at))
    # The highest end has the highest name. Names are moved down until none is over another, then up from the bottom.
    below = np.inf
    for number in sorted(range(len(at)), key=lambda number: (-at[number], -ends[number][0])):
        below = places[number] = min(float(at[number]), below - least)
    lowest = 0.0
    for number in np.argsort(places):
        places[number] = max(places[number], lowest)
        lowest = places[number] + least
    for end, text, colour, place in zip(ends, texts, colours, places, strict=True):
        axes.annotate(
            text,
            end,
            xytext=(1.04, place),
            textcoords="axes fraction",
            color=colour,
            fontsize=6.5,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 1},
        )


def count_axis(axis: XAxis | YAxis, most: int, name: str = "") -> None:
    """Scale an axis of counts from 0 up to a bit more than the most."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.axes.set(**{f"{axis.axis_name}lim": (0, 1.12 * max(most, 1))})
    axis.set_major_locator(MaxNLocator(4, integer=True))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short_number(round(value))))
    axis.set_label_text(name)


def say_nothing_there(axes: Axes, why: str) -> None:
    """Write a text where there is no data to draw."""
    axes.text(0.5, 0.5, why, color=GREY, ha="center", va="center", transform=axes.transAxes)


def short_number(count: int) -> str:
    """Return at most four letters up to a billion: 9999, 12k, 123k, 1.2M, 123M."""
    if count < 10_000:
        return str(count)
    if count < 999_500:
        return f"{round(count / 1000)}k"
    return f"{count / 1e6:.1f}M" if count < 9_950_000 else f"{round(count / 1e6)}M"
