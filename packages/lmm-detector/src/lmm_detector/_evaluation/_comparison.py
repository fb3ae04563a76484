"""Several checkpoints side by side: one table, and one plot against the training step."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbox_formats import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rbox_metrics import Report
    from rich.table import Table

logger = logging.getLogger("lmm_detector")

# The metrics of a report that show at a glance how checkpoints differ, and what they are called.
FIGURES = {
    "map": "mAP",
    "map_nc": "mAP_nc",
    "f1_micro": "F1",
    "f1_macro": "mean F1",
    "precision_micro": "precision",
    "recall_micro": "recall",
}
# Those of the plot: marker and dashes.
_LOOKS: dict[str, tuple[str, Any]] = {"map": ("o", "-"), "map_nc": ("s", "--"), "f1_micro": ("^", ":")}


@dataclass(frozen=True)
class Scored:
    """What came of a checkpoint.

    Attributes:
        name: The checkpoint's, `<run>/checkpoint-<step>` where it is a run's.
        step: After how many optimiser steps it was written, or None.
        predictions: The predictions file.
        report: Its metrics, or None where it was not scored.
    """

    name: str
    step: int | None
    predictions: Path
    report: Report | None

    @property
    def run(self) -> str:
        """The run that it is of, or ""."""
        return self.name.rpartition("/")[0]

    @property
    def figures(self) -> dict[str, float]:
        """The metrics of `FIGURES`, from 0 to 1; NaN where there are none."""
        found = {} if self.report is None else self.report.figures
        return {name: float(found.get(name, math.nan)) for name in FIGURES}

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON: None for NaN."""
        known = {name: None if math.isnan(value) else value for name, value in self.figures.items()}
        return {"checkpoint": self.name, "step": self.step, **known, "predictions": str(self.predictions)}


def save(scored: Sequence[Scored], out: str | Path) -> list[Path]:
    """Write the table as `checkpoints.md`, `.csv` and `.json`, and the plot as `checkpoints.png`.

    The plot is left out where no step is known, or matplotlib is not there; the log says so.

    Args:
        scored: The checkpoints.
        out: The folder.

    Returns:
        The files.
    """
    from rbox_metrics import tables

    out = Path(out)
    header, rows = _rows(scored)
    texts = {
        ".md": tables.markdown_table(header, [[_whole(cell) for cell in row] for row in rows]),
        ".csv": tables.csv_table(header, [["" if cell is None else cell for cell in row] for row in rows]),
        ".json": json.dumps([each.to_dict() for each in scored], indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    }
    paths = []
    for ending, text in texts.items():
        paths.append(out / f"checkpoints{ending}")
        files.write_text(paths[-1], text)
    if not any(each.step is not None for each in scored):
        logger.info("no plot: the steps of the checkpoints are not known")
    elif importlib.util.find_spec("matplotlib") is None:
        logger.info("no plot: matplotlib is not there (pip install 'rbox-metrics[plot]')")
    else:
        from rbox_metrics.plots.style import save as save_figure

        paths.append(out / "checkpoints.png")
        save_figure(plot(scored), paths[-1])
    return paths


def table(scored: Sequence[Scored]) -> Table:
    """Return the table for the terminal, in percent."""
    from rbox_metrics import tables

    header, rows = _rows(scored)
    return tables.simple_table("checkpoints, percent", header, [[_whole(cell) for cell in row] for row in rows])


def plot(scored: Sequence[Scored]) -> Figure:
    """Plot mAP, mAP_nc and F1 over the training step: a colour for each run, a marker and dashes for each metric.

    Checkpoints without a step are left out.
    """
    from matplotlib.lines import Line2D
    from rbox_metrics.plots import style

    known = sorted((each for each in scored if each.step is not None), key=lambda each: each.step or 0)
    runs = list(dict.fromkeys(each.run for each in known))
    with style.applied():
        figure = style.new_figure(style.PAGE / 2 * 1.4, 2.6)
        axes = figure.add_subplot()
        highest = 0.0
        handles = []
        for number, run in enumerate(runs):
            of_run = [each for each in known if each.run == run]
            for place, (name, (marker, dashes)) in enumerate(_LOOKS.items()):
                colour = style.COLOURS[(number * len(_LOOKS) + place if len(runs) == 1 else number) % 7]
                values = style.percent([each.figures[name] for each in of_run])
                axes.plot([each.step or 0 for each in of_run], values, color=colour, marker=marker, linestyle=dashes)
                label = FIGURES[name] if len(runs) == 1 else f"{run}: {FIGURES[name]}"
                handles.append(Line2D([], [], color=colour, marker=marker, linestyle=dashes, label=label))
                highest = max([highest, *(value for value in values if not math.isnan(value))])
        axes.set_xlabel("training step")
        axes.set_xlim(left=0)
        axes.set_ylim(0, max(highest * 1.05, 1))
        style.percent_axis(axes.yaxis, "score", max(highest * 1.05, 1))
        style.legend_below(figure, handles, [str(handle.get_label()) for handle in handles])
    return figure


def _rows(scored: Sequence[Scored]) -> tuple[list[str], list[list[Any]]]:
    """Return header and a row for each checkpoint: fractions from 0 to 1, NaN and None for what is not known."""
    header = ["checkpoint", "step", *FIGURES.values()]
    return header, [[each.name, each.step, *each.figures.values()] for each in scored]


def _whole(cell: Any) -> str | int | float:
    """Return what a printed table has for an unknown step."""
    return "-" if cell is None else cell
