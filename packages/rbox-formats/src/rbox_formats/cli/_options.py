"""Options of the same name on every command, and their values from the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click

from rbox_formats._records import ClassNames
from rbox_formats.cli._command import CODEC, FORMAT, PATH, Decorator, option, options
from rbox_formats.errors import DatasetError, RboxError, quoted

# How a name that is meant as a file ends.
_NAME_FILES = (".txt", ".names", ".list", ".csv")


def dataset_options(*, required: bool = True) -> Decorator:
    """Add `--data`, `--format` and `--split`.

    Args:
        required: Whether `--data` must be given.
    """
    return options(data_option(required=required), format_option, split_option)


def data_option(*, required: bool = True, old: Sequence[str] = (), **more: Any) -> Decorator:
    """Add `--data`.

    Args:
        required: Whether it must be given.
        old: As in `option`.
        **more: As in `option`, in place of the common help text.
    """
    help = "The dataset with the ground truth: its folder."
    return option("--data", type=PATH, required=required, old=old, **{"help": help, **more}, group="Dataset")


format_option = option("--format", type=FORMAT, default="dota", help="The dataset's format.", group="Dataset")
split_option = option("--split", help="The part of the dataset, if it has parts, such as val.", group="Dataset")


def pixels_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--bands` and `--stretch`, which hold for the process and its children: the command gets no value of them."""

    def setting(variable: str, parse: str) -> Callable[..., None]:
        def set_variable(context: click.Context, _option: click.Parameter, value: str | None) -> None:
            if value is None:
                return
            from rbox_formats import images
            from rbox_formats.errors import ImageError

            try:
                getattr(images, parse)(value)
            except ImageError as error:
                raise click.BadParameter(str(error)) from error
            name = getattr(images, variable)
            context.call_on_close(partial(_restore, name, os.environ.get(name)))
            os.environ[name] = value

        return set_variable

    bands = option(
        "--bands",
        group="Windows and images",
        expose_value=False,
        callback=setting("BANDS_VARIABLE", "parse_bands"),
        help="The bands of an image to show as red, green and blue, such as 4,3,2; or one band as grey. [default: the "
        "first three, or the first]",
    )
    stretch = option(
        "--stretch",
        group="Windows and images",
        expose_value=False,
        callback=setting("STRETCH_VARIABLE", "parse_stretch"),
        help="The range of values from black to white: percentiles of each image (1%,99%), values (0,10000), or none. "
        "[default: 2%,98% for more than 8 bits; none for 8]",
    )
    return bands(stretch(function))


def _restore(name: str, value: str | None) -> None:
    """Puts an environment variable back."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


only_labelled_option = option(
    "--only-labelled",
    is_flag=True,
    help="Leave out images without an annotation file. Without this option they count as images without objects.",
    group="Dataset",
)

only_with_images_option = option(
    "--only-with-images",
    is_flag=True,
    help="Leave out images of the ground truth whose file is missing. Without this option all images count, and the "
    "objects on images without a file are missed.",
    group="Dataset",
)


folder_options = options(
    option(
        "--labels",
        help="The name of the folder with the label files, such as labelTxt-v1.5, for formats that have one. [default: "
        "the format's own]",
        group="Dataset",
    ),
    option(
        "--image-folder",
        type=PATH,
        help="The folder with the images. [default: where the format has them]",
        group="Dataset",
    ),
    option(
        "--format-option",
        "format_options",
        multiple=True,
        metavar="NAME=VALUE",
        callback=lambda _context, _option, value: parse_options(value),
        help="An option of the format. Those of whu: connectivity=8, fill_holes=true, min_area=20. Repeat it for more.",
        group="Dataset",
    ),
)


codec_option = option("--codec", type=CODEC, default="florence2", help="The text format.", group="Text format")

codec_settings_option = option(
    "--codec-option",
    "codec_options",
    multiple=True,
    metavar="NAME=VALUE",
    callback=lambda _context, _option, value: parse_options(value),
    help="An option of the codec, such as version=3. Repeat it for more.",
    group="Text format",
)

codec_options = options(codec_option, codec_settings_option)


def input_size_option(help: str = "", **more: Any) -> Decorator:
    """Add `--input-size WIDTHxHEIGHT`, whose value is a pair or None.

    Args:
        help: Its help text.
        **more: As in `option`.
    """
    return option(
        "--input-size",
        metavar="WIDTHxHEIGHT",
        callback=lambda _context, _option, value: None if value is None else parse_size(value),
        help=help,
        **more,
    )


class MapOption(NamedTuple):
    """What `--map` was given.

    Attributes:
        names: New names by old ones.
        files: JSON files with such names.
    """

    names: dict[str, str]
    files: tuple[Path, ...]


def _parse_map(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> MapOption:
    names: dict[str, str] = {}
    paths = []
    for value in values:
        old, equals, new = (part.strip() for part in value.partition("="))
        if not equals and value.lower().endswith(".json"):
            paths.append(Path(value))
            continue
        if not (old and equals and new):
            raise click.BadParameter(f"expected OLD=NEW or a JSON file, got {quoted(value)}")
        if names.setdefault(old, new) != new:
            raise click.BadParameter(
                f"expected one new name for {quoted(old)}, got {quoted(names[old])} and {quoted(new)}"
            )
    return MapOption(names, tuple(paths))


def class_map_options(whose: str, *, old: Sequence[str] = ()) -> Decorator:
    """Add `--map OLD=NEW` or `--map FILE`, and `--drop NAME`, for `read_class_map`.

    Args:
        whose: Whose classes they are, such as "the detector".
        old: Old names of `--map`.
    """
    return options(
        option(
            "--map",
            "mapping",
            multiple=True,
            metavar="OLD=NEW",
            callback=_parse_map,
            old=old,
            help=f"Rename a class of {whose}. Repeat it for more, or give a JSON file of new names, where null "
            'drops a class: {"van": "vehicle", "helipad": null}.',
            group="Dataset" if whose == "the dataset" else "Predictions",
        ),
        option(
            "--drop",
            multiple=True,
            metavar="NAME",
            help=f"Leave out the objects of a class of {whose}. Repeat it for more.",
            group="Dataset" if whose == "the dataset" else "Predictions",
        ),
    )


def read_class_map(
    given: MapOption, drop: Sequence[str], error: type[RboxError] = DatasetError
) -> dict[str, str | None] | None:
    """Return the new name of each class that `--map` and `--drop` name, None where it is dropped.

    Args:
        given: The value of `--map`.
        drop: The value of `--drop`.
        error: What to raise.

    Returns:
        New names by old ones; None where neither option was given.

    Raises:
        RboxError: Of the class `error`, if a file cannot be read, or one class gets two new names.
    """
    from rbox_formats.parsing import class_mapping

    found: dict[str, str | None] = {}
    named = [*given.names.items(), *((name, None) for name in drop)]
    for old, new in [*(pair for path in given.files for pair in class_mapping.read(path, error).items()), *named]:
        if found.setdefault(old, new) != new:
            raise error(f"expected one thing to be done with {quoted(old)}, got two")
    return found if found or given.files else None


def parse_size(value: str) -> tuple[int, int]:
    """A (width, height) from the command line."""
    width, _, height = value.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise click.BadParameter(f"expected WIDTHxHEIGHT in pixels, such as 1008x1008, got {value!r}")
    return int(width), int(height)


# As mmengine's commands take them; as text they would all be true.
_PYTHONS = {"True": True, "False": False, "None": None}


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE pairs from the command line: values are JSON, or True, False or None, or else text."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"expected NAME=VALUE, got {pair!r}")
        try:
            options[name] = _PYTHONS[value] if value in _PYTHONS else json.loads(value)
        except ValueError:
            options[name] = value
    return options


def named_classes_option(help: str, **more: Any) -> Decorator:
    """Add `--class-names`, whose value is class names, or None where it is not given.

    Args:
        help: Whose classes they are, and the default.
        **more: As in `option`.
    """
    return option(
        "--class-names",
        metavar="NAMES",
        callback=lambda _context, _option, value: None if value is None else parse_class_names(value),
        help=help.replace("NAMES", "a comma-separated list, a file with one name per line, or a dataset format"),
        **{"group": "Dataset", **more},
    )


class_names_option = named_classes_option("The dataset's classes: NAMES. [default: those of --format]")


def parse_class_names(value: str) -> ClassNames:
    """Class names from the command line: between commas, a file with a name per line, or a format that has a list."""
    from rbox_formats import datasets
    from rbox_formats._records import ClassNames

    if value in datasets.FORMATS and (listed := datasets.FORMATS[value].class_names):
        return listed
    is_file = "," not in value and Path(value).is_file()
    if not is_file and "," not in value and ("/" in value or Path(value).suffix in _NAME_FILES):
        raise click.BadParameter(f"expected a file of class names, found none: {value}")
    try:
        names = Path(value).read_text(encoding="utf-8-sig").splitlines() if is_file else value.split(",")
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"expected UTF-8 text in {value}, got {error}") from error
    found = ClassNames(name.strip() for name in names if name.strip())
    if not found:
        raise click.BadParameter(f"expected class names, got none in {value!r}")
    return found
