"""Options of the same name on every command, and their values from the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from rbox_formats._records import ClassNames

# How a name that is meant as a file ends.
_NAME_FILES = (".txt", ".names", ".list", ".csv")


def dataset_options(*, required: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds `--data`, `--format` and `--split`."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        function = click.option("--split", help="The part of the dataset, where it has parts, such as 'val'.")(function)
        function = click.option("--format", default="dota", show_default=True, help="The dataset's format.")(function)
        return click.option("--data", type=Path, required=required, help="The dataset's folder.")(function)

    return add


def pixels_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--bands` and `--stretch`, which hold for the process and those that it starts: no value comes of them."""

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

    bands = click.option(
        "--bands",
        expose_value=False,
        callback=setting("BANDS_VARIABLE", "parse_bands"),
        help="Which bands of an image are red, green and blue, or the one that is grey, such as 4,3,2. [default: the "
        "first three, or the first]",
    )
    stretch = click.option(
        "--stretch",
        expose_value=False,
        callback=setting("STRETCH_VARIABLE", "parse_stretch"),
        help="The range of values that become black to white: percentiles of each image (1%,99%), values (0,10000), or "
        "none. [default: 2%,98% for more than 8 bits; none for 8]",
    )
    return bands(stretch(function))


def _restore(name: str, value: str | None) -> None:
    """Puts an environment variable back."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


only_labelled_option = click.option(
    "--only-labelled",
    is_flag=True,
    help="Leaves out images without an annotation file, where these count as images without objects.",
)


def folder_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--labels` and `--image-folder`, for datasets whose folders have other names than their format's."""
    function = click.option(
        "--image-folder", type=Path, help="Where the images are. [default: where the format has them]"
    )(function)
    return click.option(
        "--labels",
        help="The folder of the label files in the place of the format's own, such as labelTxt-v1.5, for formats that "
        "have one.",
    )(function)


def codec_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--codec`, and its `--codec-option`."""
    codec = click.option("--codec", default="florence2", show_default=True, help="The text format.")
    return codec(codec_settings_option(function))


def codec_settings_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--codec-option NAME=VALUE`, which may be given often and comes as the dict `codec_options`."""
    return click.option(
        "--codec-option",
        "codec_options",
        multiple=True,
        metavar="NAME=VALUE",
        callback=lambda _context, _option, value: parse_options(value),
        help="An option of the codec, such as version=3; more than one may be given.",
    )(function)


def input_size_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--input-size WIDTHxHEIGHT`, which comes as a pair or None."""
    return click.option(
        "--input-size",
        metavar="WIDTHxHEIGHT",
        callback=lambda _context, _option, value: None if value is None else parse_size(value),
        help="What the model sees, in pixels, for codecs that count in those. [default: the image's own size]",
    )(function)


def parse_size(value: str) -> tuple[int, int]:
    """A (width, height) from the command line."""
    width, _, height = value.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise click.BadParameter(f"expected WIDTHxHEIGHT in pixels, such as 1008x1008, got {value!r}")
    return int(width), int(height)


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE pairs from the command line; a value that reads as JSON is taken as such, others as text."""
    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"expected NAME=VALUE, got {pair!r}")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def class_names_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--class-names`, as a comma-separated list or a file with a name per line; None where it is not given."""
    return click.option(
        "--class-names",
        callback=lambda _context, _option, value: None if value is None else parse_class_names(value),
        help="The classes: a comma-separated list, a file with one name per line, or a dataset format that has a list. "
        "[default: those of --format]",
    )(function)


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
