"""Rows as tables: for the terminal, Markdown, HTML and CSV.

A cell that is a float is a fraction: the terminal, Markdown and HTML show it in percent, CSV as a number from 0 to 1.
"""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from rich.table import Table
else:
    Table = Any  # rich is imported where a table is drawn

__all__ = ["Cell", "csv_table", "html_table", "markdown_table", "percent", "plain_table", "shown", "simple_table"]

Cell: TypeAlias = str | int | float


def percent(value: float) -> str:
    """Return a value from 0 to 1 in percent; "-" for NaN.

    >>> percent(0.7955), percent(float("nan"))
    ('79.55', '-')
    """
    return "-" if math.isnan(value) else f"{100 * value:.2f}"


def shown(cell: Cell) -> str:
    """Return a table's cell as text: a fraction in percent, anything else unchanged.

    >>> shown(0.5), shown(3), shown("ship")
    ('50.00', '3', 'ship')
    """
    return percent(cell) if isinstance(cell, float) else str(cell)


def simple_table(title: str, header: Sequence[str], body: Sequence[Sequence[Cell]]) -> Table:
    """Return rows as a table for the terminal.

    >>> table = simple_table("percent", ["class", "AP"], [["ship", 0.5]])
    >>> table.row_count
    1
    """
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
    """Return a Markdown table whose first column is text and whose others are numbers.

    >>> print(markdown_table(["class", "AP"], [["ship", 0.5]]), end="")
    | class | AP |
    | --- | ---: |
    | ship | 50.00 |
    """
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *body]
    return "".join("| " + " | ".join(shown(cell).replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def plain_table(table: Table, width: int = 100) -> str:
    """Return a terminal table as text, without colours and without spaces at the ends of lines.

    >>> from rbox_metrics.tables import simple_table
    >>> print(plain_table(simple_table("", ["class", "AP"], [["ship", 0.5]])))
     class    AP
     ───────────
     ship  50.00
    """
    from rich.console import Console

    console = Console(width=width, file=io.StringIO(), color_system=None, force_terminal=False, force_jupyter=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


def html_table(title: str, header: Sequence[str], body: Sequence[Sequence[Cell]]) -> str:
    """Return a table for a notebook: the first column is text, the others are numbers.

    >>> page = html_table("percent", ["class", "AP"], [["ship", 0.5]])
    >>> "<caption>percent</caption>" in page, "50.00" in page
    (True, True)
    """

    def row(cells: Sequence[Cell], tag: str) -> str:
        texts = (html.escape(shown(cell)) for cell in cells)
        aligned = (f'<{tag} style="text-align: {"right" if place else "left"}">' for place in range(len(cells)))
        return "<tr>" + "".join(f"{start}{text}</{tag}>" for start, text in zip(aligned, texts, strict=True)) + "</tr>"

    rows = "\n".join(row(line, "td") for line in body)
    head = f"<caption>{html.escape(title)}</caption>\n<thead>{row(header, 'th')}</thead>"
    return f"<table>\n{head}\n<tbody>\n{rows}\n</tbody>\n</table>\n"


def csv_table(header: Sequence[str], body: Sequence[Sequence[Cell]]) -> str:
    """Return CSV with fractions from 0 to 1, not in percent, and nothing for NaN.

    >>> print(csv_table(["class", "AP"], [["ship", 0.5]]), end="")
    class,AP
    ship,0.5
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([header, *(["" if _is_nan(cell) else cell for cell in row] for row in body)])
    return buffer.getvalue()


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
