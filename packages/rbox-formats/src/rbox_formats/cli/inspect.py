"""`rbox-formats inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rbox_formats._records import ClassNames
from rbox_formats.cli._command import PATH, Listing, command, option
from rbox_formats.cli._locking import writes
from rbox_formats.cli._options import (
    class_names_option,
    dataset_options,
    folder_options,
    only_labelled_option,
    pixels_options,
)
from rbox_formats.progress import progress_bar

if TYPE_CHECKING:
    from rbox_formats import Dataset, ImageRecord
    from rbox_formats.inspection import Broken, Inspection

_BAR = 40


@command(
    "rbox-formats inspect DOTA --split train",
    "rbox-formats inspect --data DOTA --format dota-v1.5 --split val --out looked-at",
    cls=Listing,
)
@click.argument("folder", type=PATH, required=False)
@dataset_options(required=False)
@folder_options
@class_names_option
@only_labelled_option
@pixels_options
@option("--out", type=PATH, help="The folder for inspection.json, summary.png, and pictures of images.", group="Output")
@option(
    "--limit",
    type=click.IntRange(0),
    default=50,
    help="The most images to draw: first those with suspicious objects, then a random sample of the others.",
    group="Output",
)
@option(
    "--max-side",
    type=click.IntRange(64),
    default=2048,
    help="The longest side of a picture in pixels; larger images are drawn smaller.",
    group="Output",
)
@option(
    "--show",
    type=click.IntRange(0),
    default=10,
    help="The most suspicious objects of each kind, and broken files, to list here; inspection.json has all.",
    group="Output",
)
@click.pass_context
@writes("out")
def inspect(
    context: click.Context,
    folder: Path | None,
    data: Path | None,
    format: str,
    split: str | None,
    labels: str | None,
    image_folder: Path | None,
    format_options: dict[str, Any],
    class_names: ClassNames | None,
    only_labelled: bool,
    out: Path | None,
    limit: int,
    max_side: int,
    show: int,
) -> None:
    """Count a dataset's objects, find suspicious ones, and draw them.

    Give the dataset as FOLDER or as --data. For FOLDER without --format, the format is found by trying all of them.

    Suspicious is an object that lies outside its image, has no area, is larger than its image, crosses itself, is not
    rectangular (fills less than 0.7 of its smallest rectangle), is thin (less than 1 px wide, or 80 times as long as
    wide), or repeats another of its class (each corner within a tenth of its width).

    It also lists images that are turned by a note in their file (every command turns them), and annotations whose own
    size is that of the image before it is turned: they may have been drawn on the pixels as stored.

    Files that cannot be read are listed with their first error, and the exit code is then 1. Images are decoded only to
    be drawn (--out).
    """
    from rbox_formats import datasets, draw, files, inspection
    from rbox_formats.cli import _output

    if (folder is None) == (data is None):
        raise click.UsageError("Give the dataset's folder, as FOLDER or as --data.")
    if data is None:
        assert folder is not None
        data = folder
        if context.get_parameter_source("format") is click.core.ParameterSource.DEFAULT:
            format, split = _found(data, split, class_names)
    dataset = datasets.read(
        format, data, split, class_names, labels=labels, image_folder=image_folder, options=format_options
    )
    if only_labelled:
        dataset = dataset.labelled()
    if out:
        report = out / "inspection.json"
        sources = map(inspection.file_of, dataset.sources)
        files.not_an_input(report, *(path for path in sources if path is not None and path.name == report.name))
        _output.require_writable(out)
    found = inspection.inspect(dataset, progress=True)
    nothing = bool(found.broken) and not len(found.objects_per_image)
    if not nothing:
        _print(found, show)
    unreadable: tuple[Broken, ...] = ()
    if out:
        asked = {"data": str(data), "format": format, "split": split}
        _write(report, asked | found.to_dict())
    if out and nothing:
        click.echo(f"No file could be read. What is wrong with each is in {report}.")
    elif out:
        title = f"{data}" + (f" / {split}" if split else "")
        draw.save(inspection.summary_picture(found, title), out / "summary.png")
        count, unreadable = _draw(dataset, found, out / "pictures", limit, max_side)
        if unreadable:
            _write(report, asked | found.to_dict() | {"broken": [each._asdict() for each in found.broken + unreadable]})
        click.echo(f"All of it is in {report}, charts are in {out / 'summary.png'}.")
        click.echo(f"Pictures of images in {out / 'pictures'}: {count}.")
    if broken := found.broken + unreadable:
        _print_broken(broken, show)
        context.exit(1)


def _found(folder: Path, split: str | None, class_names: ClassNames | None) -> tuple[str, str | None]:
    """The format that a folder looks like, and its part, said to the user.

    Raises:
        DatasetError: If it looks like none, or its classes are to be named.
    """
    from rbox_formats import datasets
    from rbox_formats.errors import DatasetError, listed

    looks = datasets.guess(folder, split)
    if looks is None and (near := datasets._nearest(folder, split)) is not None:
        options, error = near[0].options, near[1]
        raise DatasetError(
            "expected a dataset of a known format, found none", path=folder, remedy=f"Nearest is {options}: {error}"
        )
    if looks is None:
        readable = [name for name, entry in datasets.FORMATS.items() if entry.read]
        raise DatasetError(
            f"expected a dataset of a known format, found none of {listed(readable)}",
            path=folder,
            remedy="Name one (--format): what is wrong is then said.",
        )
    if looks.needs_names and class_names is None:
        raise DatasetError(
            f"expected classes of the format {looks.format}, which it looks like, found others",
            path=folder,
            remedy=f"Name them: {looks.options}",
        )
    click.echo(f"It looks like {looks.options.removesuffix(' --class-names ...')}.")
    return looks.format, looks.split


def _write(path: Path, values: dict[str, Any]) -> None:
    from rbox_formats import files

    files.write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def _print(found: Inspection, show: int) -> None:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from rbox_formats import inspection

    console = Console()
    counts, sizes = Table("class"), Table("class")
    for name in ("objects", "difficult", "images", "small", "medium", "large"):
        counts.add_column(name, justify="right")
    for name in ("shortest", "median", "longest", "short side, median"):
        sizes.add_column(name, justify="right")
    for each in found.classes:
        if each.objects:
            counts.add_row(each.name, *map(str, (each.objects, each.difficult, each.images, *each[-3:])))
            sizes.add_row(each.name, *(f"{side:.1f}" for side in each[4:8]))
    click.echo("Objects by class; small and large by their boxes' areas, below 32² and from 96² px² on:")
    console.print(counts)
    click.echo("Long sides, px:")
    console.print(sizes)
    if absent := [each.name for each in found.classes if not each.objects]:
        click.echo(f"No objects of: {', '.join(absent)}.")

    # Three neighbours together, around multiples of 15 degrees: -90 has its neighbours at both ends.
    angles = np.roll(found.angles, 1).reshape(-1, 3).sum(axis=1).tolist()
    click.echo("\nAngles (le90, clockwise), to the nearest 15 degrees; -90 and 90 are the same:")
    mark = "#" if console.options.ascii_only else "█"
    for angle, count in zip(range(-90, 90, 15), angles, strict=True):
        bar = mark * max(round(_BAR * count / max(max(angles), 1)), count > 0)
        click.echo(f"{angle:4d}  {bar.ljust(_BAR)}  {count}".rstrip())

    click.echo()
    per_image = found.objects_per_image
    if len(per_image):
        empty = int(np.count_nonzero(per_image == 0))
        spread = f"{per_image.min()} to {per_image.max()}, median {np.median(per_image):g}"
        click.echo(f"Objects on an image: {spread}. Images without any: {empty}.")
    if found.smallest_image and found.largest_image:
        (w0, h0), (w1, h1) = found.smallest_image, found.largest_image
        click.echo(f"Images: {w0}x{h0} to {w1}x{h1} px.")
    if found.without_size:
        click.echo(f"Images of unknown size, where nothing is known to lie outside: {found.without_size}.")
    if found.partly_outside:
        click.echo(f"Objects that reach beyond their image: {found.partly_outside}.")
    if found.with_masks:
        click.echo(f"{found.with_masks} objects have a mask.")
    for what, count in found.passed_over.items():
        click.echo(f"Not read, {what}: {count}.")
    _print_turned(found, show)
    _print_suspicious(found, show)
    click.echo(inspection.headline(found))


def _print_turned(found: Inspection, show: int) -> None:
    turned = [f"{each.file}: orientation {each.orientation}" for each in found.turned]
    _print_some("Images that are turned as their files note (boxes are of the turned image)", turned, show)
    on_its_side = []
    for each in found.on_its_side:
        (w0, h0), (w1, h1) = each.stated, each.size
        on_its_side.append(f"{each.file or each.image_id}: {each.image_id} as {w0}x{h0}, the image is {w1}x{h1}")
    what = "Annotations whose own size is that of the image on its side, as if it had not been turned"
    _print_some(what, on_its_side, show)


def _print_some(what: str, lines: list[str], show: int) -> None:
    if lines:
        click.echo(f"{what}: {len(lines)}")
        for line in lines[:show]:
            click.echo(f"  {line}")
        if len(lines) > show:
            click.echo(f"  and {len(lines) - show} more")


def _print_suspicious(found: Inspection, show: int) -> None:
    for kind, count in found.kinds.items():
        if not count:
            continue
        click.echo(f"Suspicious, {kind}: {count}")
        its = [each for each in found.suspicious if each.kind == kind]
        for each in its[:show]:
            x, y = each.centre
            where = each.file or each.image_id
            click.echo(f"  {where}: object {each.object_index}, {each.class_name} at ({x:.0f}, {y:.0f}): {each.reason}")
        if count > show:
            click.echo(f"  and {count - show} more")
    if not found.suspicious:
        click.echo("Nothing is suspicious.")


def _print_broken(broken: tuple[Broken, ...], show: int) -> None:
    click.echo(f"\nFiles that cannot be read: {len(broken)}", err=True)
    for each in broken[:show]:
        said = each.error if each.file in each.error else f"{each.file}: {each.error}"
        click.echo("  " + said.replace("\n", "\n    "), err=True)
    if len(broken) > show:
        click.echo(f"  and {len(broken) - show} more", err=True)


def _draw(
    dataset: Dataset, found: Inspection, folder: Path, limit: int, max_side: int
) -> tuple[int, tuple[Broken, ...]]:
    """Draw at most `limit` images; return how many it drew, and the image files that it could not read."""
    import random

    from rbox_formats import draw, files
    from rbox_formats.errors import RboxError
    from rbox_formats.inspection import Broken

    marks: dict[int, dict[int, str]] = {}
    for each in found.suspicious:
        its = marks.setdefault(each.image_index, {})
        said = f"{each.kind}, {each.reason}"
        its[each.object_index] = f"{its[each.object_index]}; {said}" if each.object_index in its else said
    others = [index for index in range(len(dataset)) if index not in marks]
    drawn, broken = 0, []
    there = len(found.objects_per_image) - found.without_file
    with progress_bar("drawing", min(limit, there)) as advance:
        for index in [*marks, *random.Random(0).sample(others, len(others))]:
            if drawn == limit:
                break
            try:
                record = dataset[index]
            except (RboxError, OSError):
                continue  # listed before
            if record.path is None:
                continue
            try:
                pixels, (small,) = draw.fitted(record.path, record, max_side=max_side)
                page = draw.marked_page(pixels, small, dataset.class_names, marks.get(index), max_side=max_side)
            except (RboxError, OSError) as error:
                broken.append(Broken(str(record.path), str(error)))
                continue
            draw.save(page, files.not_an_input(folder / _picture_name(record, folder), record.path))
            drawn += 1
            advance(1)
    return drawn, tuple(broken)


def _picture_name(record: ImageRecord, folder: Path) -> str:
    """The image's id as a file name: one that has folders in it keeps them as underscores."""
    from rbox_formats import files

    return files.safe_name(record.image_id.replace("/", "_").replace("\\", "_") + ".png", folder)
