"""`lmm-detector demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rbox_formats.cli import PATH, command, option, writes

from lmm_detector.cli._common import set_up_output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rbox_metrics import Report


@command("lmm-detector demo", "lmm-detector demo --out runs/quick --scenes 64 --held-out 20 --steps 50")
@option("--out", type=PATH, default=Path("runs/demo"), help="The folder for all results.", group="Output")
@option("--scenes", type=click.IntRange(min=1), default=512, help="Scenes to train on.", group="Training")
@option("--held-out", type=click.IntRange(min=1), default=100, help="Scenes to score on.", group="Training")
@option("--steps", type=click.IntRange(min=1), default=400, help="Training steps.", group="Training")
@option("--seed", default=0, help="Random seed of the scenes and their order.", group="Training")
@writes("out")
def demo(out: Path, scenes: int, held_out: int, steps: int, seed: int) -> None:
    """Train, predict and score on synthetic scenes, in minutes.

    The small detector of this package knows four classes in drawn summer scenes. It is fine-tuned on winter scenes with
    a fifth class, and scored on new scenes, before and after, with pictures.
    """
    set_up_output()
    from rich.console import Console

    from lmm_detector._demo._demo import demo as run

    result = run(out, scenes=scenes, held_out=held_out, steps=steps, seed=seed)
    console = Console()
    console.print(_table(result.reports, held_out))
    width = max(len(str(path)) for path in result.files)
    for path, text in result.files.items():
        click.echo(f"{path!s:{width}}  {text}")
    before, after = (result.reports[name].to_dict()["f1_micro"] for name in ("before", "after"))
    console.print(
        f"F1 at IoU 0.5 on {held_out} scenes that it has never seen: {before:.3f} before, {after:.3f} after.\n"
        "For a detector of photographs, start from pretrained weights: "
        "lmm-detector train --model microsoft/Florence-2-large --data ..."
    )


def _table(reports: Mapping[str, Report], held_out: int) -> Any:
    """A row for each class: how many objects, and F1 before and after; the means of classes below."""
    from rich.table import Table

    table = Table(title=f"{held_out} held-out scenes, IoU 0.5, percent")
    table.add_column("class", no_wrap=True)
    for title in ("objects", "F1 before", "F1 after"):
        table.add_column(title, justify="right")
    before, after = (reports[name].to_dict() for name in ("before", "after"))
    for first, second in zip(before["at"][0]["classes"], after["at"][0]["classes"], strict=True):
        table.add_row(first["name"], str(first["truths"]), _percent(first["f1"]), _percent(second["f1"]))
    table.add_section()
    for title, key in (("F1, all objects", "f1_micro"), ("mAP_nc", "map_nc"), ("mAP", "map")):
        table.add_row(title, "", _percent(before[key]), _percent(after[key]))
    return table


def _percent(value: float | None) -> str:
    """None: of a class without objects and detections."""
    return "-" if value is None else f"{100 * value:.1f}"
