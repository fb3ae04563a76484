"""`lmm-detector demo`."""

from __future__ import annotations

from pathlib import Path

import click
from rbox_formats.cli import writes

from lmm_detector.cli._common import set_up_output


@click.command()
@click.option("--out", type=Path, default=Path("runs/demo"), show_default=True, help="The folder for everything.")
@click.option("--scenes", type=click.IntRange(min=1), default=16, show_default=True, help="To train on, and held out.")
@click.option("--steps", type=click.IntRange(min=1), default=400, show_default=True, help="Training steps.")
@click.option("--seed", default=0, show_default=True, help="Of scenes, weights and order.")
@writes("out")
def demo(out: Path, scenes: int, steps: int, seed: int) -> None:
    """Show the whole loop on synthetic scenes: data, texts, fine-tuning, prediction, scores, pictures."""
    set_up_output()
    from rich.console import Console

    from lmm_detector._demo._demo import demo as run

    result = run(out, scenes=scenes, steps=steps, seed=seed)
    console = Console()
    titles = {"train": "the scenes that it was trained on", "val": "scenes that it has not seen"}
    for split, report in result.reports.items():
        console.print(f"\n[bold]{titles[split].capitalize()}[/bold]")
        console.print(report.table())
    width = max(len(str(path)) for path in result.files)
    for path, text in result.files.items():
        click.echo(f"{path!s:{width}}  {text}")
    train, val = (result.reports[split].to_dict() for split in ("train", "val"))
    console.print(
        f"F1 at IoU 0.5: {train['f1_micro']:.3f} on the training scenes, {val['f1_micro']:.3f} on held-out ones; "
        f"mAP_nc: {train['map_nc']:.3f} and {val['map_nc']:.3f}.\n"
        "A model of two million parameters learns its few scenes by heart and does not generalise: this shows that "
        "the whole loop works, and nothing more. For a detector, start from pretrained weights: "
        "lmm-detector train --model microsoft/Florence-2-large --data ..."
    )
