"""`rbox-formats convert`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rbox_formats._records import ClassNames
from rbox_formats.cli import class_names_option, dataset_options, track

if TYPE_CHECKING:
    from rbox_formats import Dataset, ImageRecord
    from rbox_formats._conversion import ClassMap


def _renamed(_context: click.Context, _option: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    renamed: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = (part.strip() for part in pair.partition("="))
        if not (old and equals and new):
            raise click.BadParameter(f"expected OLD=NEW, got {pair!r}")
        if renamed.setdefault(old, new) != new:
            raise click.BadParameter(f"expected one new name for {old!r}, got {renamed[old]!r} and {new!r}")
    return renamed


@click.command()
@dataset_options()
@class_names_option
@click.option("--to", required=True, help="The format to write.")
@click.option("--out", type=Path, required=True, help="The new dataset's folder.")
@click.option("--out-split", help="The part of the new dataset to write; '' for none.  [default: as --split]")
@click.option("--map", "renamed", multiple=True, metavar="OLD=NEW", callback=_renamed, help="Rename a class.")
@click.option("--drop", multiple=True, metavar="NAME", help="Leave a class's objects out.")
@click.option("--skip-missing", is_flag=True, help="Leave out annotations whose image is not there.")
@click.option(
    "--images",
    type=click.Choice(["none", "copy", "link"]),
    default="none",
    show_default=True,
    help="Whether to copy the images to where the new dataset has them, or to link them (symbolic links).",
)
@click.option("--check/--no-check", default=True, help="Whether to read what was written and compare it.")
def convert(
    data: Path,
    format: str,
    split: str | None,
    class_names: ClassNames | None,
    to: str,
    out: Path,
    out_split: str | None,
    renamed: dict[str, str],
    drop: tuple[str, ...],
    skip_missing: bool,
    images: str,
    check: bool,
) -> None:
    """Write a dataset's annotations in another format.

    --map and --drop may be given more than once; classes renamed alike become one. What was written is read back and
    compared with the original: what the new format cannot hold is said, with how much of it there was.
    """
    from rbox_formats import datasets
    from rbox_formats._conversion import class_map, relabelled
    from rbox_formats.errors import DatasetError

    dataset = datasets.read(format, data, split, class_names)
    target = datasets.get(to)
    classes = class_map(dataset.class_names, target.class_names, renamed, drop)
    out_split = (split if out_split is None else out_split) or None
    _refuse_inputs(out, data, dataset)
    folder = target.images(out, out_split) if target.images else None
    if images != "none" and folder is None:
        raise DatasetError(
            f"expected a format that says where its images are, got {to!r}", remedy="Use --images none, and place them."
        )
    written: dict[str, int] = {}
    counts = {"objects": 0, "dropped": 0, "missing": 0}
    used: set[int] = set()

    def records() -> Iterator[ImageRecord]:
        for index, record in enumerate(track(dataset, "converting")):
            if skip_missing and record.path is None:
                counts["missing"] += 1
                continue
            if record.image_id in written:
                raise DatasetError(
                    f"expected one image of each name, got {record.image_id!r} twice",
                    path=data,
                    remedy="Convert the folders that they are in one by one (--split).",
                )
            new = relabelled(record, classes)
            if folder is not None and images != "none" and record.path is not None:
                _place(record.path, folder / _image_name(record, folder), link=images == "link")
            written[record.image_id] = index
            counts["objects"] += len(new)
            counts["dropped"] += len(record) - len(new)
            used.update(new.labels.tolist())
            yield new

    where = datasets.write(to, records(), out, out_split, classes.names)
    click.echo(f"{counts['objects']} objects on {len(written)} images are in {where}.")
    if counts["missing"]:
        click.echo(f"Annotations left out because they have no image: {counts['missing']}.")
    if drop:
        click.echo(f"Objects of dropped classes left out: {counts['dropped']}.")
    if foreign := [name for name in classes.foreign if classes.names.find(name) in used]:
        click.echo(
            f"{to} has no {', '.join(foreign)}: read the new files with --class-names {','.join(classes.names)!r}."
        )
    if images == "none" and folder is not None:
        click.echo(f"Images belong in {folder}; none were copied (--images).")
    if check:
        _check(to, out, out_split, dataset, classes, written)


def _refuse_inputs(out: Path, data: Path, dataset: Dataset) -> None:
    """Makes sure that no annotation that is read lies in the folder to write to."""
    from rbox_formats import inspection
    from rbox_formats.errors import DatasetError

    folder = out.resolve()
    sources = (inspection.file_of(source) for source in dataset.sources)
    for path in (data, *sorted({source.parent for source in sources if source is not None})):
        if folder in (path.resolve(), *path.resolve().parents):
            raise DatasetError(
                f"expected a folder for the new dataset that holds nothing of the old one, which is in {path}",
                path=out,
                remedy="Choose another --out.",
            )


def _image_name(record: ImageRecord, folder: Path) -> str:
    """The image's file name in the new dataset, where images are found by their id."""
    from rbox_formats import files

    return files.safe_name(f"{record.image_id}{record.file.suffix}", folder)


def _place(image: Path, target: Path, *, link: bool) -> None:
    """Copies an image, whole or not at all, or makes a symbolic link to it; one that is there already is replaced."""
    from rbox_formats import files

    if target.exists() and target.samefile(image):
        return
    with files.replacing(target) as temporary:
        if link:
            temporary.unlink()
            temporary.symlink_to(image.resolve())
        else:
            shutil.copyfile(image, temporary)


def _check(to: str, out: Path, split: str | None, dataset: Dataset, classes: ClassMap, written: dict[str, int]) -> None:
    from rbox_formats import datasets
    from rbox_formats._conversion import compare
    from rbox_formats.errors import RboxError

    if datasets.get(to).read is None:
        click.echo(f"{to} is only written, never read: what was lost is not known.")
        return
    try:
        new: Any = datasets.read(to, out, split, classes.names)
        losses = compare(written.items(), dataset, track(new, "comparing"), classes)
    except RboxError as error:
        click.echo(f"The new files could not be compared with the old ones: {error}")
        return
    lines = losses.lines()
    click.echo("Read back, it is the same." if not lines else "Read back, it is not the same:")
    for line in lines:
        click.echo(f"  {line}")
