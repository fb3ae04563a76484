"""`lmm-detector train`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
from rbox_formats.cli import (
    CODEC,
    FORMAT,
    PATH,
    PATH_TEXT,
    Decorator,
    Title,
    codec_settings_option,
    command,
    holding,
    named_classes_option,
    option,
    options,
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

# Names and types of options that the field's own do not give.
_NAMES = {
    "model_name_or_path": "--model",
    "data_path": "--data",
    "response_format": "--codec",
    "image_square_length": "--image-size",
    "eval_data_path": "--eval-data",
}
_TYPES: dict[str, Any] = {
    **dict.fromkeys(("format", "eval_format"), FORMAT),
    "response_format": CODEC,
    **dict.fromkeys(
        (
            "model_name_or_path",
            "data_path",
            "out",
            "resume_from",
            "image_folder",
            "eval_data_path",
            "eval_image_folder",
        ),
        PATH_TEXT,
    ),
}
_GROUPS: dict[Title, str] = {
    "Output": "out resume_from save_every keep_checkpoints log_every report_to",
    "Dataset": "data_path format split image_folder dataset_mode",
    "Model": "model_name_or_path model_revision token_initialisation language_model_max_length attn_implementation "
    "freeze_vision freeze_language freeze_multimodal_projection frozen_precision quantization",
    "Text format": "response_format prompt object_order",
    "Windows and images": "window gap image_square_length window_cache",
    "Adapters": "language_model_lora lora_alpha lora_dropout lora_targets lora_vision",
}
_TITLES: dict[str, Title] = {name: title for title, names in _GROUPS.items() for name in names.split()}


def _title(field: str) -> Title:
    """Return the group of a field's option."""
    return _TITLES.get(field, "Evaluation during training" if field.startswith(("eval_", "patience")) else "Training")


def _help(field: dataclasses.Field[Any]) -> str:
    """Return the help text of a field's option, with its default."""
    text = re.sub(r" (?:Left out|Default): (.*?)\.?$", r" [default: \1]", field.metadata["help"])
    default = field.default_factory() if callable(field.default_factory) else field.default
    if default in ("", None, []):
        return text
    return f"{text} [default: {default[0] if isinstance(default, list) else default}]"


def _config_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each field of `TrainConfig`, None where it is not given."""
    types = get_type_hints(TrainConfig)
    added: list[Decorator] = []
    for field in dataclasses.fields(TrainConfig):
        if field.name in _OWN_OPTIONS:
            continue
        kind = types[field.name]
        if type(None) in get_args(kind):
            kind, _ = get_args(kind)
        own = f"--{field.name.replace('_', '-')}"
        name = _NAMES.get(field.name, own)
        of_value = click.Choice(get_args(kind)) if get_origin(kind) is Literal else str if kind == list[str] else kind
        added.append(
            option(
                f"{name}/--no-{name[2:]}" if kind is bool else name,
                field.name,
                old=() if name == own else own,
                type=_TYPES.get(field.name, of_value),
                default=None,
                multiple=kind == list[str],
                help=_help(field),
                group=_title(field.name),
            )
        )
    return options(*added)(function)


@command(
    "lmm-detector train --data DOTA --split train --out runs/dota --steps 5000",
    "lmm-detector train --preset lmmrotate-dota --data DOTA --out runs/dota",
    "lmm-detector train --config settings.yaml --learning-rate 1e-5",
)
@option(
    "--preset",
    type=click.Choice(presets.names()),
    help="Start from the settings of a published run.",
    group="Settings",
)
@option("--config", type=PATH, help="A YAML file with settings.", group="Settings")
@_config_options
@named_classes_option(
    "The classes, in the order of their labels: NAMES that has a list. [default: those of the formats]", group="Dataset"
)
@codec_settings_option
@option(
    "--augmentation",
    multiple=True,
    metavar="NAME=VALUE",
    callback=lambda _context, _option, value: parse_options(value),
    help="A random change of images and boxes, such as horizontal_flip=0.5. Repeat it for more.",
    group="Training",
)
@pixels_options
@wait_option
def train(preset: str | None, config: Path | None, wait: bool, **settings: Any) -> None:
    """Fine-tune a model on a dataset.

    A setting comes from its option; without one from the file of --config, then from --preset, then from its default.
    After a stopped run, the same command resumes where that run stopped.
    """
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
