"""What several subcommands share."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rbox_formats import Dataset


predictions_option = click.option(
    "--predictions", "predictions_path", type=Path, required=True, help="The predictions file."
)


def open_truth(format: str, data: Path, split: str | None, predictions_path: Path) -> Dataset:
    """The dataset, with the class names of a predictions file, so that labels mean the same in both."""
    from rbox_formats import datasets, predictions

    return datasets.read(format, data, split, predictions.read(predictions_path).class_names)


def show_messages() -> None:
    """Shows our own messages on standard error."""
    logger = logging.getLogger("lmm_detector")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())


def set_up_output() -> None:
    """Shows our own messages, and keeps the libraries' progress bars, retries and advice out of them."""
    import warnings

    import huggingface_hub
    import transformers

    show_messages()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    huggingface_hub.logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\..*")
