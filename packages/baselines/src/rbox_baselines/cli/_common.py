"""What several subcommands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import parse_options


def config_options_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--cfg-options NAME=VALUE ...`, which comes as the dict `options`."""
    return click.option(
        "--cfg-options",
        "options",
        multiple=True,
        metavar="NAME=VALUE",
        callback=lambda _context, _option, value: parse_options(value),
        help="Sets something in the config, such as train_dataloader.batch_size=4; lists and numbers as in JSON. More "
        "than one may be given.",
    )(function)


def training_data_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--data`, `--format`, `--split`, `--val-split` and `--leave-out`."""
    for option in reversed(
        (
            click.option("--data", type=Path, help="The dataset's folder. [default: the config's own datasets]"),
            click.option("--format", help="The dataset's format. [default: the preset's, else dota]"),
            click.option("--split", help="The part to learn from. [default: the preset's, else train]"),
            click.option(
                "--val-split",
                help="The part to score on after each epoch; 'none': no scoring. [default: the preset's, else val]",
            ),
            click.option(
                "--leave-out",
                "left_out",
                multiple=True,
                help="A class of the annotations that is not learnt; may be given often. [default: the preset's]",
            ),
        )
    ):
        function = option(function)
    return function


def training_data(
    config: str,
    data: Path | None,
    format: str | None,
    split: str | None,
    val_split: str | None,
    left_out: tuple[str, ...] = (),
) -> Any | None:
    """The `Data` of these options; what was not given is the preset's."""
    from rbox_baselines._configs._load import Data
    from rbox_baselines._configs._presets import PRESETS

    if data is None:
        if format or split or val_split or left_out:
            raise click.UsageError("--format, --split, --val-split and --leave-out go with --data.")
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
        left_out or own.left_out,
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
