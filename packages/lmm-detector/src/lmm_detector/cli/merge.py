"""`lmm-detector merge`."""

from __future__ import annotations

from pathlib import Path

import click
from rbox_formats.cli import writes

from lmm_detector.cli._common import set_up_output


@click.command()
@click.argument("source", type=Path)
@click.argument("out", type=Path)
@click.option("--dtype", default="float32", show_default=True, help="float32, bfloat16 or float16.")
@writes("out")
def merge(source: Path, out: Path, dtype: str) -> None:
    """Add the adapters (LoRA) of the detector SOURCE into its weights: OUT needs no base and runs faster."""
    set_up_output()
    from lmm_detector import merge_adapters as run

    click.echo(f"The detector is in {run(source, out, dtype=dtype)}.")
