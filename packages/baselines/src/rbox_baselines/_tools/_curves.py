"""The curves of one or more trainings in one plot, and a table of their times and best scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rbox_baselines._tools._logs import Log, timing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from rbox_metrics.tables import Cell

_HEIGHT = 2.6  # of a panel, inches
_PERCENT = ("map", "ap", "f1", "precision", "recall")  # how the names of metrics from 0 to 1 begin


def run_names(paths: Sequence[Path]) -> list[str]:
    """Return names for runs: their folders', with as many parent folders as are needed to distinguish them."""
    parts = [path.resolve().parts for path in paths]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(names):
            break
    return names


def plot(logs: Sequence[Log], names: Sequence[str]) -> Figure:
    """Plot losses over iterations, and metrics over epochs beside them.

    Each run has a colour and each name its dashes; of one run alone, each name has both.

    Args:
        logs: The runs.
        names: What to draw, as `choose` gives it.

    Raises:
        MetricsError: If matplotlib is not there.
    """
    from rbox_metrics.plots import style

    metrics = _metrics(logs, names)
    panels = [panel for panel in ([n for n in names if n not in metrics], [n for n in names if n in metrics]) if panel]
    with style.applied():
        figure = style.new_figure(style.PAGE if len(panels) > 1 else style.PAGE / 2 * 1.4, _HEIGHT)
        entries: dict[str, Line2D] = {}
        for place, panel in enumerate(panels, start=1):
            axes = figure.add_subplot(1, len(panels), place)
            for label, line in _panel(axes, logs, panel, is_metric=panel[0] in metrics).items():
                entries.setdefault(label, line)
        if len(entries) > 1:
            style.legend_below(figure, list(entries.values()), list(entries))
    return figure


def _metrics(logs: Sequence[Log], names: Sequence[str]) -> list[str]:
    return [name for name in names if any(name in log.names() and log.is_metric(name) for log in logs)]


def _panel(axes: Axes, logs: Sequence[Log], names: Sequence[str], *, is_metric: bool) -> dict[str, Line2D]:
    """Draw the values that share an axis, and return the legend's entries."""
    from matplotlib.ticker import MaxNLocator
    from rbox_metrics.plots import style

    in_percent = is_metric and all(name.lower().rpartition("/")[2].startswith(_PERCENT) for name in names)
    entries: dict[str, Line2D] = {}
    highest = 0.0
    for number, log in enumerate(logs):
        for place, name in enumerate(names):
            steps, values = log.series(name)
            if not steps:
                continue
            shown = [100 * value for value in values] if in_percent else values
            # Runs alone, or names alone, differ in both.
            look = style.line_style(place if len(logs) == 1 else number)
            look["linestyle"] = style.line_style(place if len(names) > 1 else number)["linestyle"]
            # What is logged every few iterations is noisy: thin lines.
            look |= {"marker": "o"} if is_metric else {"linewidth": 0.9}
            parts = ([log.name] if len(logs) > 1 else []) + ([name] if len(names) > 1 or len(logs) == 1 else [])
            [line] = axes.plot(steps, shown, **look)
            entries[": ".join(parts)] = line
            highest = max([highest, *(value for value in shown if math.isfinite(value))])
    axes.set_xlabel("epoch" if is_metric and all(log.epochs for log in logs) else "iteration")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlim(left=0)
    axes.set_ylim(0, highest * 1.05 or 1)
    label = names[0] if len(names) == 1 else "score" if is_metric else "loss"
    if in_percent:
        style.percent_axis(axes.yaxis, label, highest * 1.05 or 1)
    else:
        axes.set_ylabel(label)
    return entries


def rows(logs: Sequence[Log], names: Sequence[str]) -> tuple[list[str], list[list[Cell]]]:
    """Return a header and a row for each run: iterations, seconds for one, each metric's last and best value.

    Args:
        logs: The runs.
        names: What was chosen. Of losses, which fall and are noisy, the table has nothing.
    """
    metrics = _metrics(logs, names)
    header = ["run", "iterations", "s/iter", "spread", "slowest epoch", "its s/iter", "fastest epoch", "its s/iter"]
    for name in metrics:
        header += [f"{name} last", "epoch", f"{name} best", "epoch"]
    body: list[list[Cell]] = []
    for log in logs:
        times = timing(log)
        row: list[Cell] = [log.name, max(log.train), times.mean, times.spread]
        for epoch, seconds in (times.slowest, times.fastest):
            row += ["" if epoch is None else epoch, seconds]
        for name in metrics:
            row += _last_and_best(log, name)
        body.append(row)
    return header, body


def _last_and_best(log: Log, name: str) -> list[Cell]:
    steps, values = log.series(name)
    known = [(value, step) for step, value in zip(steps, values, strict=True) if not math.isnan(value)]
    if not known:
        return [math.nan, "", math.nan, ""]
    best = max(known, key=lambda each: each[0])
    return [known[-1][0], known[-1][1], best[0], best[1]]


def narrow(header: Sequence[str], body: Sequence[Sequence[Cell]]) -> tuple[list[str], list[list[Cell]]]:
    """Return such a table for the terminal: times in milliseconds and scores in percent, with their epochs."""
    shown_header = ["run", "iter", "ms/iter", "slowest", "fastest"]
    shown_header += header[8::2]
    shown: list[list[Cell]] = []
    for row in body:
        cells: list[Cell] = [row[0], row[1], f"{_ms(row[2])} ± {_ms(row[3])}"]
        cells += [f"{_ms(row[place + 1])} ({row[place]})" for place in (4, 6)]
        for place in range(8, len(row), 2):
            value = row[place]
            text = "-" if not isinstance(value, float) or math.isnan(value) else f"{100 * value:.2f}"
            cells.append(f"{text} ({row[place + 1]})" if row[place + 1] != "" else text)
        shown.append(cells)
    return shown_header, shown


def _ms(seconds: Cell) -> str:
    return "-" if not isinstance(seconds, float) or math.isnan(seconds) else f"{1000 * seconds:.1f}"
