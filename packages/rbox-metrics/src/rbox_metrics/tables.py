"""Rows as tables: for the terminal, Markdown and CSV.

A cell that is a float is a fraction: the terminal and Markdown show it in percent, CSV as it is.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from rich.table import Table
else:
    Table = Any  # rich is imported where a table is drawn

__all__ = ["Cell", "csv_table", "markdown_table", "percent", "shown", "simple_table"]

Cell: TypeAlias = str | int | float


def percent(value: float) -> str:
    """A figure from 0 to 1 in percent; "-" for NaN."""
    return "-" if math.isnan(value) else f"{100 * value:.2f}"


def shown(cell: Cell) -> str:
    """A table's cell as text: a fraction in percent, anything else as it is."""
    return percent(cell) if isinstance(cell, float) else str(cell)


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


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
