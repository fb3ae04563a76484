"""`rbox-baselines publish`."""

from __future__ import annotations

from pathlib import Path

import click
from rbox_formats.cli import PATH, command, option, writes


@command("rbox-baselines publish runs/retinanet/epoch_12.pth --out published")
@click.argument("checkpoint", type=PATH)
@option(
    "--out",
    type=PATH,
    required=True,
    help="A folder, or a file ending in .pth. The name gets 8 digits of the file's hash.",
    group="Output",
)
@writes(lambda given: [_without_hash(given["checkpoint"], given["out"])])
def publish(checkpoint: Path, out: Path) -> None:
    """Write a small checkpoint to publish.

    It has the weights, classes and config of CHECKPOINT, without optimiser, schedule and log.

    Of a model trained with an average of its weights (EMA) the average is kept, which is what was validated.
    """
    from rbox_formats import files

    from rbox_baselines._tools._publish import publish as run

    files.require_writable(out.parent if out.suffix == ".pth" else out)
    before = checkpoint.stat().st_size if checkpoint.is_file() else 0
    published = run(checkpoint, out)
    if published.dropped:
        click.echo(f"Removed: {', '.join(published.dropped)}.")
    if published.is_average:
        click.echo("The weights are the average over training (EMA).")
    click.echo(f"The checkpoint is in {published.path} ({published.size / 1e6:.1f} MB of {before / 1e6:.1f}).")


def _without_hash(checkpoint: Path, out: Path) -> Path:
    """Return the file that is written, without the hash in its name, which is unknown before."""
    return out if out.suffix == ".pth" else out / f"{checkpoint.stem}.pth"
