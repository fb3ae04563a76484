"""What several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rbox_formats.cli import show_messages

if TYPE_CHECKING:
    from rbox_formats import Dataset


predictions_option = click.option(
    "--predictions", "predictions_path", type=Path, required=True, help="The predictions file."
)


def open_truth(format: str, data: Path, split: str | None, predictions_path: Path) -> Dataset:
    """The dataset, with the class names of a predictions file, so that labels mean the same in both."""
    from rbox_formats import datasets, predictions

    return datasets.read(format, data, split, predictions.read(predictions_path).class_names)


def set_up_output() -> None:
    """Prepares a command that runs a model; to be called before torch is imported.

    Shows our own messages, and keeps the libraries' progress bars, retries and advice out of them.
    """
    import os
    import warnings

    # torch's threads wait for each other in a loop by default: with one other busy process on two cores that makes
    # small models many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    import huggingface_hub
    import transformers

    show_messages("lmm_detector", "rbox_metrics")
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    huggingface_hub.logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\..*")
