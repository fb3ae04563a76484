"""What several subcommands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import (
    FORMAT,
    data_option,
    named_classes_option,
    option,
    options,
    parse_options,
)

config_options_option = option(
    "--cfg-options",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    callback=lambda _context, _option, value: parse_options(value),
    help="Set a value of the config, such as train_dataloader.batch_size=4; lists and numbers as in JSON. Repeat it "
    "for more.",
    group="Model",
)

class_names_option = named_classes_option(
    "The dataset's classes: NAMES that has a list. [default: those of the format]"
)

device_option = option(
    "--device", help="The device, such as cpu or cuda:0. [default: the GPU if there is one]", group="Model"
)


def config_data_options(split: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `--data`, `--format` and `--split`, without which the config's own dataset is taken.

    Args:
        split: The help text of `--split`.
    """
    return options(
        data_option(required=False, help="The dataset: its folder. [default: the config's own dataset]"),
        option(
            "--format", type=FORMAT, help="The dataset's format. [default: the preset's, else dota]", group="Dataset"
        ),
        option("--split", help=f"{split} [default: the preset's, else train]", group="Dataset"),
    )


training_data_options = options(
    config_data_options("The part of the dataset to train on."),
    option(
        "--val-split",
        help="The part to score on after each epoch; none disables scoring. [default: the preset's, else val]",
        group="Dataset",
    ),
    option(
        "--drop",
        multiple=True,
        metavar="NAME",
        old="--leave-out",
        help="Leave out the objects of a class of the dataset. Repeat it for more. [default: the preset's]",
        group="Dataset",
    ),
)


def training_data(
    config: str,
    data: Path | None,
    format: str | None,
    split: str | None,
    val_split: str | None,
    drop: tuple[str, ...] = (),
) -> Any | None:
    """The `Data` of these options; what was not given is the preset's."""
    from rbox_baselines._configs._load import Data
    from rbox_baselines._configs._presets import PRESETS

    if data is None:
        if format or split or val_split or drop:
            raise click.UsageError("--format, --split, --val-split and --drop go with --data.")
        return None
    preset = PRESETS.get(config)
    own = Data(str(data))
    if preset is not None:
        own = Data(str(data), preset.format, preset.train_split, preset.val_split, preset.left_out)
    scored_on = own.val_split if val_split is None else val_split
    return Data(
        str(data),
        own.format if format is None else format,
        own.train_split if split is None else split,
        None if scored_on == "none" else scored_on,
        drop or own.left_out,
    )


def set_up_output() -> None:
    """Prepares a command that runs a model; to be called before torch is imported."""
    import os

    from rbox_formats.cli import show_messages

    # torch's threads wait for each other in a loop by default, which takes the cores from other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    show_messages("rbox_baselines", "rbox_metrics", "rbox_formats")
    from rbox_baselines._stack import _mends

    _mends.silence()
