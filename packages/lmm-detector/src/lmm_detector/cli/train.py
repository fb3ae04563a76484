"""`lmm-detector train`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
from rbox_formats.cli import (
    class_names_option,
    codec_settings_option,
    holding,
    parse_options,
    pixels_options,
    wait_option,
)
from rbox_formats.progress import is_first_process

from lmm_detector._training import _presets as presets
from lmm_detector._training._config import TrainConfig, load
from lmm_detector.cli._common import set_up_output

# Fields that the command line writes in another way than as one value; they have options of their own below.
_OWN_OPTIONS = ("class_names", "codec_options", "augmentation")
# As the other commands call them.
_SHORT = {"model_name_or_path": "--model", "data_path": "--data", "response_format": "--codec"}


def _config_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds an option for each field of `TrainConfig`, None where it is not given."""
    types = get_type_hints(TrainConfig)
    for field in reversed(dataclasses.fields(TrainConfig)):
        if field.name in _OWN_OPTIONS:
            continue
        kind = types[field.name]
        if type(None) in get_args(kind):
            kind, _ = get_args(kind)
        name = field.name.replace("_", "-")
        flags = [f"--{name}/--no-{name}" if kind is bool else f"--{name}"]
        flags += [_SHORT[field.name]] if field.name in _SHORT else []
        default = "" if field.default in ("", None, dataclasses.MISSING) else f"  [default: {field.default}]"
        function = click.option(
            *flags,
            field.name,
            type=click.Choice(get_args(kind)) if get_origin(kind) is Literal else str if kind == list[str] else kind,
            default=None,
            multiple=kind == list[str],
            help=field.metadata["help"] + default,
        )(function)
    return function


@click.command()
@click.option("--preset", help=f"The settings of a published run: {', '.join(presets.names())}.")
@click.option(
    "--config",
    type=Path,
    help="A YAML file with settings, which go before the preset's; the options below before both.",
)
@_config_options
@class_names_option
@codec_settings_option
@click.option(
    "--augmentation",
    multiple=True,
    metavar="NAME=VALUE",
    callback=lambda _context, _option, value: parse_options(value),
    help="What is done to images and boxes by chance, such as horizontal_flip=0.5; more than one may be given.",
)
@pixels_options
@wait_option
def train(preset: str | None, config: Path | None, wait: bool, **settings: Any) -> None:
    """Fine-tune a model on a dataset. Given again, the command goes on where a stopped run was."""
    loaded = load(config, {name: value for name, value in settings.items() if value not in (None, {}, ())}, preset)

    set_up_output()
    from lmm_detector import train as run

    with holding([Path(loaded.out)], wait=wait, shared=True):
        folder = run(loaded)
    if not is_first_process():
        return
    split = loaded.eval_split or (loaded.split[0] if loaded.split else None)
    click.echo(
        f"The detector is in {folder}. Next: "
        f"lmm-detector predict --model {folder} --data {loaded.data_path[0]} "
        f"--out {Path(loaded.out) / 'predictions.jsonl'}" + (f" --split {split}" if split else "")
    )
