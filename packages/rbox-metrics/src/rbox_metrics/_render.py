"""A report as text: for the terminal, Markdown and CSV, all from the same rows."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from rbox_metrics._error_breakdown import FALSE_POSITIVE_KINDS, TRUTH_KINDS, ErrorBreakdown
from rbox_metrics._lmmrotate import F1_THRESHOLDS, MAP_NC_THRESHOLDS
from rbox_metrics._report import AtThreshold, ClassFigures, Report

if TYPE_CHECKING:
    from rich.table import Table

    from rbox_metrics._confusion import Confusion
    from rbox_metrics._sweep import Best, Sweep

Cell = str | int | float


def percent(value: float) -> str:
    """A figure from 0 to 1 in percent; "-" for NaN."""
    return "-" if math.isnan(value) else f"{100 * value:.2f}"


def shown(cell: Cell) -> str:
    """A table's cell as text: a fraction in percent, anything else as it is."""
    return percent(cell) if isinstance(cell, float) else str(cell)


_COLUMNS: tuple[tuple[str, Callable[[ClassFigures], str]], ...] = (
    ("truths", lambda figures: str(figures.truths)),
    ("dets", lambda figures: str(figures.detections)),
    ("AP", lambda figures: percent(figures.ap)),
    ("AP nc", lambda figures: percent(figures.ap_nc)),
    ("AP nc tied", lambda figures: percent(figures.ap_nc_tied)),
    ("precision", lambda figures: percent(figures.precision)),
    ("recall", lambda figures: percent(figures.recall)),
    ("F1", lambda figures: percent(figures.f1)),
)


def rows(at: AtThreshold) -> tuple[list[list[str]], list[list[str]]]:
    """A row per class, and the two of all classes: the mean over them, and all detections together."""
    per_class = [[figures.name, *(show(figures) for _, show in _COLUMNS)] for figures in at.classes]
    truths, detections = sum(c.truths for c in at.classes), sum(c.detections for c in at.classes)
    means = map(percent, (at.map, at.map_nc, at.map_nc_tied))
    micro = map(percent, (at.precision_micro, at.recall_micro, at.f1_micro))
    return per_class, [
        ["mean", "", "", *means, "", "", percent(at.f1_macro)],
        ["all", str(truths), str(detections), "", "", "", *micro],
    ]


def table(report: Report, at: AtThreshold) -> Table:
    """For the terminal, narrow enough for 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text  # so that nothing in a class's name is taken for markup

    result = Table(title=_title(report, at), box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False)
    result.add_column("class", overflow="fold")
    for name, _ in _COLUMNS:
        result.add_column(_NARROW.get(name, name), justify="right")
    per_class, totals = rows(at)
    for row in per_class:
        result.add_row(*map(Text, row))
    result.add_section()
    for row in totals:
        result.add_row(*map(Text, row))
    return result


_NARROW = {"AP nc": "AP\nnc", "AP nc tied": "AP nc\ntied", "precision": "preci-\nsion"}


def summary(report: Report) -> list[tuple[str, str]]:
    """What stands besides the table: names and values, in the order in which they are of interest.

    Over all IoU thresholds first, then, under a name of its own, what is of the lowest alone.
    """
    at, lines = report.at[0], []
    if len(report.at) > 1:
        lines.append((f"mAP over {len(report.at)} IoU thresholds", percent(report.figures["map"])))
    if report.coco:
        lines += [(name, percent(value)) for name, value in report.coco.figures.items() if not isinstance(value, list)]
    if len(report.at) > 1:
        lines.append(("from here on, the IoU threshold is", f"{at.iou_threshold:g}"))
    lines.append(("mAP_nc, mean of random orders", f"{percent(at.map_nc_random)} ± {percent(at.map_nc_spread)}"))
    if report.sweep:
        lines += best_lines(report.sweep)
    if report.placement and len(report.placement.iou):
        lines.append(("mean IoU of matches", percent(float(report.placement.iou.mean()))))
        degrees = math.degrees(float(np.median(report.placement.angle_error)))
        lines.append(("median angle error of matches", f"{degrees:.2f} degrees"))
    if report.calibration:
        lines.append(("expected calibration error", percent(report.calibration.ece)))
    return lines


def best_lines(sweep: Sweep) -> list[tuple[str, str]]:
    """The best of each figure over the score thresholds, and LMMRotate's over its own."""

    def line(name: str, best: Best) -> tuple[str, str]:
        return name, f"{percent(best.value)} from score {best.threshold:g}" if best.value == best.value else "-"

    lines = [line(f"best {name}", sweep.best(figure)) for figure, name in _SWEPT.items()]
    lines.append(("F1, mean over classes, each from its own score", percent(sweep.f1_macro_per_class)))
    for name, figure, thresholds in (
        ("LMMRotate's mAP_nc, best of its nine", "map_nc", MAP_NC_THRESHOLDS),
        ("LMMRotate's F1, best of its ten", "f1_lmmrotate", F1_THRESHOLDS),
    ):
        if np.isin(thresholds, sweep.thresholds).all():
            lines.append(line(name, sweep.best(figure, among=thresholds)))
    return lines


# The figures over score thresholds, and what they are called.
_SWEPT = {
    "f1_macro": "F1, mean over classes",
    "f1_micro": "F1, all together",
    "map_nc": "mAP_nc",
    "map_nc_tied": "mAP_nc, tied",
    "map_nc_random": "mAP_nc, random orders",
}


def sweep_rows(sweep: Sweep) -> tuple[list[str], list[list[Cell]]]:
    """Header, and a row for each score threshold."""
    columns = {
        "precision": sweep.precision_micro,
        "recall": sweep.recall_micro,
        "F1": sweep.f1_micro,
        "mean F1": sweep.f1_macro,
        "mAP nc": sweep.map_nc,
        "nc tied": sweep.map_nc_tied,
        "nc random": sweep.map_nc_random,
        "±": sweep.map_nc_spread,
        "F1 LMMRotate": sweep.f1_lmmrotate,
    }
    body: list[list[Cell]] = [
        [f"{threshold:g}", *(float(values[s]) for values in columns.values())]
        for s, threshold in enumerate(sweep.thresholds)
    ]
    return ["score", *columns], body


def confusion_rows(confusion: Confusion) -> tuple[list[str], list[list[Cell]]]:
    """Header, and a row for each true class; without classes that were neither there nor detected."""
    counts = confusion.counts
    kept = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    names = [confusion.labels[k] for k in kept]
    table: list[list[int]] = counts[np.ix_(kept, kept)].tolist()
    body: list[list[Cell]] = [[name, *row] for name, row in zip(names, table, strict=True)]
    return ["truth \\ detected", *names], body


def numbered(header: Sequence[str], body: Sequence[Sequence[Cell]]) -> tuple[list[str], list[list[Cell]]]:
    """The same matrix with numbers for its columns, which the rows have before their names: narrow at any length."""
    return (
        [header[0], *map(str, range(1, len(header)))],
        [[f"{number} {row[0]}", *row[1:]] for number, row in enumerate(body, start=1)],
    )


def error_rows(errors: ErrorBreakdown) -> tuple[list[str], list[list[Cell]]]:
    """Header, and a row for each kind of error: how many, and the AP that it costs."""
    counts = {
        **dict(zip(TRUTH_KINDS, errors.not_found.sum(axis=1).tolist(), strict=True)),
        **dict(zip(FALSE_POSITIVE_KINDS, errors.false_positives.sum(axis=1).tolist(), strict=True)),
    }
    body = [[kind.replace("_", " "), counts[kind], cost] for kind, cost in errors.map_costs.items()]
    return ["error", "count", "AP lost"], body


def simple_table(title: str, header: Sequence[str], body: Sequence[Sequence[Cell]]) -> Table:
    """Rows as a table for the terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    result = Table(title=Text(title), box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False)
    for place, name in enumerate(header):
        result.add_column(Text(name), justify="right" if place else "left", overflow="fold")
    for row in body:
        result.add_row(*(Text(shown(cell)) for cell in row))
    return result


def markdown(report: Report) -> str:
    """The report as Markdown: a table for each IoU threshold, then what stands besides."""
    parts = []
    for at in report.at:
        per_class, totals = rows(at)
        header = ["class", *(name for name, _ in _COLUMNS)]
        parts.append(f"## {_title(report, at)}\n\n" + markdown_table(header, [*per_class, *totals]))
    parts.append("## Besides\n\n" + markdown_table(["figure", "value"], summary(report)))
    if report.sweep:
        parts.append("## Over score thresholds, percent\n\n" + markdown_table(*sweep_rows(report.sweep)))
    if report.errors:
        parts.append(
            "## Errors, and the AP that each kind costs, percent\n\n" + markdown_table(*error_rows(report.errors))
        )
    if report.confusion:
        parts.append("## Which class was taken for which\n\n" + markdown_table(*confusion_rows(report.confusion)))
    return "\n".join(parts)


def markdown_table(header: Sequence[str], body: Sequence[Sequence[Cell]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *body]
    return "".join("| " + " | ".join(shown(cell).replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def csv_table(header: Sequence[str], body: Sequence[Sequence[Cell]]) -> str:
    """A table with fractions as they are, from 0 to 1, and nothing for NaN."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([header, *(["" if _is_nan(cell) else cell for cell in row] for row in body)])
    return buffer.getvalue()


def to_csv(report: Report) -> str:
    """A row for each IoU threshold and class, with all its figures; empty cells for NaN."""
    names = [field.name for field in fields(ClassFigures)]
    body = [
        [at.iou_threshold, *(getattr(figures, name) for name in names)] for at in report.at for figures in at.classes
    ]
    return csv_table(["iou_threshold", *names], body)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _title(report: Report, at: AtThreshold) -> str:
    return f"{report.protocol}, IoU {at.iou_threshold:g}, percent"
