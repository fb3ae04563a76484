"""`rbox-formats convert`."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rbox_formats._records import ClassNames
from rbox_formats.cli._command import FORMAT_TO_WRITE, PATH, Listing, command, option
from rbox_formats.cli._locking import writes
from rbox_formats.cli._options import (
    MapOption,
    class_map_options,
    class_names_option,
    dataset_options,
    folder_options,
    only_labelled_option,
    parse_options,
    read_class_map,
)
from rbox_formats.errors import counted, listed, quoted
from rbox_formats.progress import track

if TYPE_CHECKING:
    from rbox_formats import Dataset, ImageRecord
    from rbox_formats.cli._conversion import ClassMap


@command(
    "rbox-formats convert --data DOTA --split train --to coco --out COCO --images link",
    "rbox-formats convert --data tasks --format label-studio --to dota --out DOTA --drop tree",
    "rbox-formats convert --data DOTA --to yolo-obb --out yolo --map ship=boat --clip",
    cls=Listing,
)
@dataset_options()
@folder_options
@class_names_option
@only_labelled_option
@option(
    "--only-with-images",
    is_flag=True,
    old="--skip-missing",
    help="Leave out annotations whose image is missing.",
    group="Dataset",
)
@class_map_options("the dataset")
@option("--to", type=FORMAT_TO_WRITE, required=True, help="The format to write.", group="Output")
@option(
    "--to-option",
    "to_options",
    multiple=True,
    metavar="NAME=VALUE",
    callback=lambda _context, _option, value: parse_options(value),
    help="An option of the format to write. That of geojson and geojson-map: tolerance=1.0, by how many pixels the "
    "outlines of masks may be simplified. That of label-studio: predictions=true, for pre-annotations. Repeat it for "
    "more.",
    group="Output",
)
@option("--out", type=PATH, required=True, help="The folder of the new dataset.", group="Output")
@option("--out-split", help="The part of the new dataset to write; '' for none. [default: as --split]", group="Output")
@option(
    "--clip",
    is_flag=True,
    help="Cut objects at the border of their image: each becomes the smallest rectangle around its part inside. An "
    "object outside of the image is dropped.",
    group="Output",
)
@option(
    "--images",
    type=click.Choice(["none", "copy", "link"]),
    default="none",
    help="Copy the images to their place in the new dataset, or make symbolic links; the world files beside them too.",
    group="Output",
)
@option(
    "--check/--no-check",
    default=True,
    help="Read the new dataset and compare it with the original.",
    group="Output",
)
@writes("out")
def convert(
    data: Path,
    format: str,
    split: str | None,
    labels: str | None,
    image_folder: Path | None,
    format_options: dict[str, Any],
    class_names: ClassNames | None,
    only_labelled: bool,
    to: str,
    to_options: dict[str, Any],
    out: Path,
    out_split: str | None,
    mapping: MapOption,
    drop: tuple[str, ...],
    clip: bool,
    only_with_images: bool,
    images: str,
    check: bool,
) -> None:
    """Write a dataset's annotations in another format.

    Classes that get the same new name become one. The new dataset is read back and compared with the original, and what
    the new format cannot hold is reported, with its amount. After a stopped run, the same command converts everything
    again.
    """
    from rbox_formats import datasets
    from rbox_formats.cli import _output
    from rbox_formats.cli._conversion import class_map, clipped, corners_outside, relabelled
    from rbox_formats.datasets import geojson
    from rbox_formats.errors import DatasetError, FormatsError

    dataset = datasets.read(
        format, data, split, class_names, labels=labels, image_folder=image_folder, options=format_options
    )
    if only_labelled:
        dataset = dataset.labelled()
    target = datasets.get(to)
    if format == "predictions" and "predictions" in target.write_options:
        to_options = {"predictions": True, **to_options}
    new_names = read_class_map(mapping, drop) or {}
    dropped = [name for name, new in new_names.items() if new is None]
    renamed = {name: new for name, new in new_names.items() if new is not None}
    classes = class_map(dataset.class_names, target.class_names, renamed, dropped)
    out_split = (split if out_split is None else out_split) or None
    _output.refuse_inputs(out, data, split, dataset)
    folder = target.images(out, out_split) if target.images else None
    if images != "none" and folder is None:
        raise DatasetError(
            f"expected a format that says where its images are, got {quoted(to)}",
            remedy="Use --images none, and place them.",
        )
    written: dict[str, int] = {}
    counts = {"objects": 0, "dropped": 0, "missing": 0, "outside": 0, "gone": 0, "images outside": 0}
    passed_over: Counter[str] = Counter()
    used: set[int] = set()
    in_hand: list[ImageRecord] = []

    def records(staged_folder: Path | None) -> Iterator[ImageRecord]:
        for index, record in enumerate(track(dataset, "converting")):
            if only_with_images and record.path is None:
                counts["missing"] += 1
                continue
            if record.image_id in written:
                raise DatasetError(
                    f"expected one image of each name, got {quoted(record.image_id)} twice",
                    path=data,
                    remedy="Convert the folders that they are in one by one (--split).",
                )
            new = relabelled(record, classes)
            counts["dropped"] += len(record) - len(new)
            if clip:
                new, outside, gone = clipped(new)
                counts["gone"] += gone
            else:
                outside = int(corners_outside(new).sum())
            counts["outside"] += outside
            counts["images outside"] += outside > 0
            if folder and staged_folder and images != "none" and record.path is not None:
                place = folder / _image_name(record, folder)
                if not (place.exists() and place.samefile(record.path)):
                    staged_place = staged_folder / place.relative_to(folder)
                    _place(record.path, staged_place, link=images == "link")
                    if (world := geojson.world_file_of(record.path)) is not None:
                        _place(world, staged_place.with_suffix(world.suffix), link=images == "link")
            written[record.image_id] = index
            passed_over.update(record.passed_over)
            counts["objects"] += len(new)
            used.update(new.labels.tolist())
            in_hand[:] = [new]
            yield new
            in_hand.clear()

    placed = _output.Placed(out, out_split)
    if removed := placed.remove_stopped():
        click.echo(f"Files of a run that was stopped, removed from {out}: {removed}.")
    with _output.staged(out) as staged:
        shared = _require_free(to, out, out_split, classes.names, staged)
        _take_along(out, staged)
        staged_folder = target.images(staged, out_split) if target.images else None
        try:
            where = datasets.write(to, records(staged_folder), staged, out_split, classes.names, options=to_options)
        except FormatsError as error:
            # The record itself says what it has not, and no format does.
            if type(error) is FormatsError and in_hand and in_hand[0].path is None:
                raise DatasetError(
                    str(error),
                    remedy="Put the image there, or leave out annotations without theirs (--only-with-images).",
                ) from error
            raise
        if shared:
            _refuse_taken(where, staged, out)
        where, new_place = out / where.relative_to(staged), where
        # A list of the images comes last: readers go by it.
        moves = [(new_place, where), (staged, out)]
        if folder and staged_folder:
            moves.insert(0, (staged_folder, folder))
        placed.begin(*moves)
        for source, place in moves:
            if source.exists():
                _output.move(source, place)
    compared = _compared(to, out, out_split, dataset, classes, written) if check else []
    on = counted(len(written), "image")
    click.echo(f"{counted(counts['objects'], f'object on {on} is', f'objects on {on} are')} in {where}.")
    if counts["missing"]:
        click.echo(f"Annotations left out because they have no image: {counts['missing']}.")
    if dropped:
        click.echo(f"Dropped objects, by --drop or --map: {counts['dropped']}.")
    if clip:
        click.echo(
            f"Objects cut at the border of their image: {counts['outside']}; left out, outside: {counts['gone']}."
        )
    elif counts["outside"] and target.drops_outside:
        click.echo(
            f"Objects with a corner outside of their image: {counts['outside']}, "
            f"on {counted(counts['images outside'], 'image')}. "
            "Ultralytics leaves such images out, with all that is on them: --clip cuts the objects at the border."
        )
    for what, count in passed_over.items():
        click.echo(f"Not read, {what}: {count}.")
    if foreign := [name for name in classes.foreign if classes.names.find(name) in used]:
        click.echo(
            f"{to} has no {listed(foreign)}: read the new files with --class-names {quoted(','.join(classes.names))}."
        )
    if images == "none" and folder is not None:
        click.echo(f"Images belong in {folder}; none were copied (--images).")
    for line in compared:
        click.echo(line)
    placed.end()  # after the last message: a user who did not get it may give the command again


def _require_free(to: str, out: Path, split: str | None, names: ClassNames, staged: Path) -> bool:
    """Makes sure that there is room for the new annotations, and that the format has a place for their classes.

    The format itself says where they will be: it writes a dataset without images beside.

    Returns:
        Whether the parts of the dataset share a folder of annotations, so that some may be there.

    Raises:
        DatasetError: If there are annotations, or a class is none of the format's.
    """
    from rbox_formats import datasets, files, images
    from rbox_formats.errors import DatasetError

    def probe(names: ClassNames, part: str) -> tuple[Path, Path]:
        root = staged.parent / "probe" / part / staged.name
        root.parent.mkdir(parents=True)
        return datasets.write(to, [], root, split, names), root

    def refused(name: str, part: str) -> bool:
        try:
            probe(ClassNames([name]), part)
        except DatasetError:
            return True
        return False

    try:
        written, root = probe(names, "all")
    except DatasetError as error:
        unknown = [name for label, name in enumerate(names) if refused(name, str(label))]
        if not unknown:
            raise
        raise DatasetError(
            str(error).partition("\n")[0],
            remedy=f"{to} does not have {listed(unknown)}: rename each (--map OLD=NEW), or leave its objects out "
            "(--drop NAME).",
        ) from error
    place = written.relative_to(root)
    where = out / place
    shared = split is not None and split not in place.as_posix()
    if shared:
        _refuse_taken(root, root, out, but=("*.yaml",))
    elif where.is_file() or any(path.is_file() and path.suffix not in images.SUFFIXES for path in files.visible(where)):
        raise DatasetError(
            "expected an empty folder for the new annotations, got one that holds some",
            path=where,
            remedy="Choose another --out, or remove it.",
        )
    return shared


def _refuse_taken(new: Path, staged: Path, out: Path, but: tuple[str, ...] = ()) -> None:
    """Makes sure that no new file takes the place of one that is there."""
    from rbox_formats.errors import DatasetError

    for path in (path for path in sorted(new.rglob("*")) if path.is_file()):
        old = out / path.relative_to(staged)
        if old.exists() and not any(path.match(pattern) for pattern in but):
            raise DatasetError(
                "expected no annotations of these images, found some",
                path=old,
                remedy="Choose another --out, or remove them.",
            )


def _take_along(out: Path, staged: Path) -> None:
    """Copies what formats add to when another part of a dataset is written: the YAML file with the class names."""
    if out.is_dir():
        for path in out.glob("*.yaml"):
            staged.mkdir(exist_ok=True)
            shutil.copyfile(path, staged / path.name)


def _image_name(record: ImageRecord, folder: Path) -> str:
    """The image's file name in the new dataset, where images are found by their id."""
    from rbox_formats import files

    return files.safe_path(f"{record.image_id}{record.file.suffix}", folder)


def _place(image: Path, target: Path, *, link: bool) -> None:
    """Copies an image, or makes a symbolic link to it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        target.symlink_to(image.resolve())
    else:
        shutil.copyfile(image, target)


def _compared(
    to: str, out: Path, split: str | None, dataset: Dataset, classes: ClassMap, written: dict[str, int]
) -> list[str]:
    """Reads what was written, and says how it differs from the original."""
    from rbox_formats import datasets
    from rbox_formats.cli._conversion import compare
    from rbox_formats.errors import RboxError

    if datasets.get(to).read is None:
        return [f"{to} is only written, never read: what was lost is not known."]
    try:
        new: Any = datasets.read(to, out, split, classes.names)
        losses = compare(written.items(), dataset, track(new, "comparing"), classes)
    except RboxError as error:
        return [f"The new files could not be compared with the old ones: {error}"]
    lines = losses.lines()
    heading = "Read back, it is the same." if not lines else "Read back, it is not the same:"
    return [heading, *(f"  {line}" for line in lines)]
