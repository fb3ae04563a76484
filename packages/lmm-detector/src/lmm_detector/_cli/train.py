"""`lmm-detector train`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import class_names_option, codec_settings_option

from lmm_detector._cli._common import set_up_output
from lmm_detector._config import TrainConfig, load

# Fields that the command line writes in another way than as one value; they have options of their own below.
_OWN_OPTIONS = ("class_names", "codec_options")
_TYPES = {"str": str, "int": int, "float": float, "bool": bool}


def _config_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds an option for each field of `TrainConfig`, None where it is not given."""
    for field in reversed(dataclasses.fields(TrainConfig)):
        if field.name in _OWN_OPTIONS:
            continue
        kind = str(field.type).removesuffix(" | None")
        name = field.name.replace("_", "-")
        flag = f"--{name}/--no-{name}" if kind == "bool" else f"--{name}"
        default = "" if field.default in ("", None) else f"  [default: {field.default}]"
        function = click.option(
            flag, field.name, type=_TYPES[kind], default=None, help=field.metadata["help"] + default
        )(function)
    return function


@click.command()
@click.option("--config", type=Path, help="A YAML file with settings; the options below override it.")
@_config_options
@class_names_option
@codec_settings_option
def train(config: Path | None, **settings: Any) -> None:
    """Fine-tune a model on a dataset. Given again, the command goes on where a stopped run was."""
    loaded = load(config, {name: value for name, value in settings.items() if value not in (None, {})})

    set_up_output()
    from lmm_detector import train as run

    folder = run(loaded)
    click.echo(
        f"The detector is in {folder}. Next: "
        f"lmm-detector predict --model {folder} --data {loaded.data} --out {Path(loaded.out) / 'predictions.jsonl'}"
        + (f" --split {loaded.split}" if loaded.split else "")
    )
