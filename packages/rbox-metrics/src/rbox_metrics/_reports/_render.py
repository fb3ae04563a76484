"""The parts of a report as rows: header and body, and lines of names and values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rbox_metrics._scores import (
    FALSE_POSITIVE_KINDS,
    LMMROTATE_F1_THRESHOLDS,
    LMMROTATE_MAP_NC_THRESHOLDS,
    TRUTH_KINDS,
    AtThreshold,
    ClassFigures,
    ErrorBreakdown,
)
from rbox_metrics.tables import Cell, percent

if TYPE_CHECKING:
    from rich.table import Table

    from rbox_metrics._scores import Best, Confusion, Sweep

COLUMNS: tuple[tuple[str, Callable[[ClassFigures], str]], ...] = (
    ("truths", lambda figures: str(figures.truths)),
    ("dets", lambda figures: str(figures.detections)),
    ("AP", lambda figures: percent(figures.ap)),
    ("AP nc", lambda figures: percent(figures.ap_nc)),
    ("AP nc tied", lambda figures: percent(figures.ap_nc_tied)),
    ("precision", lambda figures: percent(figures.precision)),
    ("recall", lambda figures: percent(figures.recall)),
    ("F1", lambda figures: percent(figures.f1)),
)


def class_rows(at: AtThreshold) -> tuple[list[list[str]], list[list[str]]]:
    """Return a row per class and two of all classes: the mean over them, and all detections together."""
    per_class = [[figures.name, *(show(figures) for _, show in COLUMNS)] for figures in at.classes]
    truths, detections = sum(c.truths for c in at.classes), sum(c.detections for c in at.classes)
    means = map(percent, (at.map, at.map_nc, at.map_nc_tied))
    micro = map(percent, (at.precision_micro, at.recall_micro, at.f1_micro))
    return per_class, [
        ["mean", "", "", *means, "", "", percent(at.f1_macro)],
        ["all", str(truths), str(detections), "", "", "", *micro],
    ]


def table(title: str, at: AtThreshold) -> Table:
    """Return a terminal table with a row per class, at most 80 columns wide."""
    from rich import box
    from rich.table import Table
    from rich.text import Text  # so that nothing in a class name is taken for markup

    result = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False)
    result.add_column("class", overflow="fold")
    for name, _ in COLUMNS:
        result.add_column(_NARROW.get(name, name), justify="right")
    per_class, totals = class_rows(at)
    for row in per_class:
        result.add_row(*map(Text, row))
    result.add_section()
    for row in totals:
        result.add_row(*map(Text, row))
    return result


_NARROW = {"AP nc": "AP\nnc", "AP nc tied": "AP nc\ntied", "precision": "preci-\nsion"}


def best_lines(sweep: Sweep) -> list[tuple[str, str]]:
    """Return the best of each metric over the score thresholds, and LMMRotate's over its own."""

    def line(name: str, best: Best) -> tuple[str, str]:
        return name, f"{percent(best.value)} from score {best.threshold:g}" if best.value == best.value else "-"

    lines = [line(f"best {name}", sweep.best(figure)) for figure, name in _SWEPT.items()]
    lines.append(("F1, mean over classes, each from its own score", percent(sweep.f1_macro_per_class)))
    for name, figure, thresholds in (
        ("LMMRotate's mAP_nc, best of its nine", "map_nc", LMMROTATE_MAP_NC_THRESHOLDS),
        ("LMMRotate's F1, best of its ten", "f1_lmmrotate", LMMROTATE_F1_THRESHOLDS),
    ):
        if np.isin(thresholds, sweep.thresholds).all():
            lines.append(line(name, sweep.best(figure, among=thresholds)))
    return lines


# The metrics over score thresholds, and their names in the table.
_SWEPT = {
    "f1_macro": "F1, mean over classes",
    "f1_micro": "F1, all together",
    "map_nc": "mAP_nc",
    "map_nc_tied": "mAP_nc, tied",
    "map_nc_random": "mAP_nc, random orders",
}


def sweep_rows(sweep: Sweep) -> tuple[list[str], list[list[Cell]]]:
    """Return the header, and a row for each score threshold."""
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
    """Return the header, and a row for each true class; classes without ground truth and detections are left out."""
    counts = confusion.counts
    kept = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    names = [confusion.labels[k] for k in kept]
    table: list[list[int]] = counts[np.ix_(kept, kept)].tolist()
    body: list[list[Cell]] = [[name, *row] for name, row in zip(names, table, strict=True)]
    return ["truth \\ detected", *names], body


def numbered(header: Sequence[str], body: Sequence[Sequence[Cell]]) -> tuple[list[str], list[list[Cell]]]:
    """Return the same matrix with numbers as column names, also put before the row names: narrow at any length."""
    return (
        [header[0], *map(str, range(1, len(header)))],
        [[f"{number} {row[0]}", *row[1:]] for number, row in enumerate(body, start=1)],
    )


def error_rows(errors: ErrorBreakdown) -> tuple[list[str], list[list[Cell]]]:
    """Return the header, and a row for each kind of error: how many, and the AP that it costs."""
    counts = {
        **dict(zip(TRUTH_KINDS, errors.not_found.sum(axis=1).tolist(), strict=True)),
        **dict(zip(FALSE_POSITIVE_KINDS, errors.false_positives.sum(axis=1).tolist(), strict=True)),
    }
    body = [[kind.replace("_", " "), counts[kind], cost] for kind, cost in errors.map_costs.items()]
    return ["error", "count", "AP lost"], body
