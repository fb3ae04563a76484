"""`lmm-detector merge`."""

from __future__ import annotations

from pathlib import Path

import click
from rbox_formats.cli import PATH, command, option, writes

from lmm_detector.cli._common import DTYPE, set_up_output


@command("lmm-detector merge runs/lora/model merged")
@click.argument("source", type=PATH)
@click.argument("out", type=PATH)
@option("--dtype", type=DTYPE, help="The precision of the weights. [default: that of the base model]", group="Model")
@writes("out")
def merge(source: Path, out: Path, dtype: str | None) -> None:
    """Merge a detector's adapters (LoRA) into its weights.

    The detector in the folder SOURCE is written to OUT, which needs no base model and runs faster.
    """
    set_up_output()
    from lmm_detector import merge_adapters as run

    click.echo(f"The detector is in {run(source, out, dtype=dtype)}.")
