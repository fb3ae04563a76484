"""`lmm-detector push`."""

from __future__ import annotations

from pathlib import Path

import click
from rbox_formats import files

from lmm_detector.cli._common import set_up_output


@click.command()
@click.argument("run", type=Path)
@click.argument("repository")
@click.option(
    "--public", is_flag=True, help="Makes the repository for everybody to see, if it is new. Left out: private."
)
@click.option("--checkpoint", is_flag=True, help="Uploads the newest checkpoint too, for `train --resume-from`.")
@click.option("--dry-run", is_flag=True, help="Shows the model card and the files, and uploads nothing.")
def push(run: Path, repository: str, public: bool, checkpoint: bool, dry_run: bool) -> None:
    """Upload the detector of the finished run in the folder RUN to the hub, as REPOSITORY (owner/name).

    A model card made from the run goes with it. You must be logged in: `hf auth login`.
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
