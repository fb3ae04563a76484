"""`lmm-detector push`."""

from __future__ import annotations

from pathlib import Path

import click
from rbox_formats import files
from rbox_formats.cli import PATH, command, option

from lmm_detector.cli._common import set_up_output


@command("lmm-detector push runs/dota owner/name --dry-run", "lmm-detector push runs/dota owner/name --public")
@click.argument("run", type=PATH)
@click.argument("repository")
@option("--public", is_flag=True, help="Make a new repository public. Without this option it is private.")
@option("--checkpoint", is_flag=True, help="Upload the newest checkpoint too, for `lmm-detector train --resume-from`.")
@option("--dry-run", is_flag=True, help="Show the model card and the files, and upload nothing.")
def push(run: Path, repository: str, public: bool, checkpoint: bool, dry_run: bool) -> None:
    """Upload the detector of a run to the hub.

    RUN is the folder of the run, REPOSITORY owner/name on the hub. A model card made from the run is uploaded too.
    You must be logged in: `hf auth login`.
    """
    set_up_output()
    from lmm_detector import push_to_hub
    from lmm_detector._publishing._push import stage

    if not dry_run:
        click.echo(f"The detector is at {push_to_hub(run, repository, public=public, checkpoint=checkpoint)}.")
        return
    with files.temporary_folder(run) as folder:
        names = stage(run, folder / "all", repository, checkpoint=checkpoint)
        click.echo((folder / "all" / "README.md").read_text(encoding="utf-8"))
    click.echo("\n".join(["Files:", *names]))
