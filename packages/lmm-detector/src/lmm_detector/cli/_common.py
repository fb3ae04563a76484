"""What several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rbox_formats.cli import PATH, option, options, show_messages

if TYPE_CHECKING:
    import logging

    from rbox_formats import Dataset


DTYPE = click.Choice(["float32", "bfloat16", "float16"])

predictions_option = option(
    "--predictions",
    "predictions_path",
    type=PATH,
    required=True,
    help="The predictions file.",
    group="Predictions",
)

# The fields of `Generation`, and what a detector is loaded to.
generation_options = options(
    option("--batch-size", default=8, help="The most windows at a time.", group="Generation"),
    option("--num-beams", default=1, help="Beam width; 1 means greedy decoding.", group="Generation"),
    option(
        "--temperature",
        type=float,
        help="Sampling temperature; lower values favour likely tokens. [default: no sampling]",
        group="Generation",
    ),
    option(
        "--top-p",
        default=1.0,
        help="Sample only from the most likely tokens that together have this probability.",
        group="Generation",
    ),
    option("--seed", default=0, help="Random seed for sampling.", group="Generation"),
    option(
        "--max-new-tokens",
        type=int,
        help="The most tokens of an answer. [default: 1.5 times the longest text that the model was trained on]",
        group="Generation",
    ),
    option(
        "--max-repeats",
        default=4,
        help="Stop an answer that repeats the same boxes this often in a row. 0 never stops it.",
        group="Generation",
    ),
    option(
        "--first-tokens",
        default=128,
        help="The first pass stops at this many tokens; unfinished answers are generated again together at full "
        "length, so that short answers do not wait. For greedy decoding. 0 disables this.",
        group="Generation",
    ),
    option(
        "--scores",
        type=click.Choice(["mean", "geometric", "minimum", "product", "label", "none"]),
        default="mean",
        help="How to turn token probabilities into a box score.",
        group="Generation",
    ),
    option(
        "--constrained",
        is_flag=True,
        help="Let the model write only texts that the codec can read, with the detector's classes.",
        group="Generation",
    ),
    option(
        "--score-threshold",
        type=click.FloatRange(0, 1),
        default=0.0,
        help="Drop predictions of a lower score.",
        group="Generation",
    ),
    option("--device", help="The device, such as cpu or cuda:0. [default: the GPU if there is one]", group="Model"),
    option("--dtype", type=DTYPE, default="float32", help="The precision of the weights.", group="Model"),
)


def open_truth(format: str, data: Path, split: str | None, predictions_path: Path) -> Dataset:
    """The dataset, with the class names of a predictions file, so that labels mean the same in both."""
    from rbox_formats import datasets, predictions

    return datasets.read(format, data, split, predictions.read(predictions_path).class_names)


def set_up_output() -> None:
    """Prepares a command that runs a model; to be called before torch is imported.

    Show our own messages and the libraries' warnings, except those that a user can do nothing about: progress bars, the
    hub's advice and retries, whose end is an error of ours, and `_NOISE`.
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
