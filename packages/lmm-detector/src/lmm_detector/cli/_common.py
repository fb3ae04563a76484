"""What several subcommands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rbox_formats.cli import show_messages

if TYPE_CHECKING:
    import logging

    from rbox_formats import Dataset


predictions_option = click.option(
    "--predictions", "predictions_path", type=Path, required=True, help="The predictions file."
)


_GENERATION_OPTIONS = (
    click.option("--batch-size", default=8, show_default=True, help="The most windows at a time."),
    click.option("--num-beams", default=1, show_default=True, help="1 is greedy."),
    click.option("--temperature", type=float, help="Draws tokens, the likelier ones the more, the lower it is."),
    click.option(
        "--top-p", default=1.0, show_default=True, help="Draws among the likeliest tokens of this probability."
    ),
    click.option("--seed", default=0, show_default=True, help="Of the draws."),
    click.option(
        "--max-new-tokens",
        type=int,
        help="The longest answer. [default: half as long again as the longest text that the model was taught]",
    ),
    click.option(
        "--max-repeats",
        default=4,
        show_default=True,
        help="An answer that repeats the same boxes so many times in a row is stopped there; 0: it goes on.",
    ),
    click.option(
        "--first-tokens",
        default=128,
        show_default=True,
        help="Greedy answers that are longer are generated anew, among themselves; 0: all at once.",
    ),
    click.option(
        "--scores",
        default="mean",
        show_default=True,
        help="How scores come of token probabilities: mean, geometric, minimum, product, label, or none.",
    ),
    click.option(
        "--constrained", is_flag=True, help="Only texts of the codec, with the detector's classes, are written."
    ),
    click.option(
        "--score-threshold",
        type=click.FloatRange(0, 1),
        default=0.0,
        show_default=True,
        help="Drops predictions of a lower score.",
    ),
    click.option("--device", help="Such as cpu or cuda:0. [default: the best that there is]"),
    click.option("--dtype", default="float32", show_default=True, help="float32, bfloat16 or float16."),
)


def generation_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the fields of `Generation`, and what a detector is loaded to: `--device` and `--dtype`."""
    for option in reversed(_GENERATION_OPTIONS):
        function = option(function)
    return function


def open_truth(format: str, data: Path, split: str | None, predictions_path: Path) -> Dataset:
    """The dataset, with the class names of a predictions file, so that labels mean the same in both."""
    from rbox_formats import datasets, predictions

    return datasets.read(format, data, split, predictions.read(predictions_path).class_names)


def set_up_output() -> None:
    """Prepares a command that runs a model; to be called before torch is imported.

    Shows our own messages and the libraries' warnings, but for what nobody can act on: progress bars, the hub's advice
    and retries, whose end is an error of ours, and `_NOISE`.
    """
    import logging
    import os

    # torch's threads wait for each other in a loop by default: with one other busy process on two cores that makes
    # small models many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    import huggingface_hub
    import transformers

    show_messages("lmm_detector", "rbox_metrics", "rbox_formats")
    transformers.utils.logging.disable_progress_bar()
    huggingface_hub.logging.set_verbosity_error()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # else it says at every start what a GPU would have
    for handler in logging.getLogger("transformers").handlers:
        handler.addFilter(_is_worth_showing)


# What transformers warns of at every run, by the logger and the beginning.
_NOISE = {
    "transformers.utils.generic": "`use_cache=True` is incompatible with gradient checkpointing",  # training has none
    "transformers.trainer_utils": "mtime may not be reliable",  # we know the order of checkpoints by their numbers
}


def _is_worth_showing(record: logging.LogRecord) -> bool:
    noise = _NOISE.get(record.name)
    return noise is None or not record.getMessage().startswith(noise)
