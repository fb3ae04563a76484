"""Pictures of an evaluation, in the trackers that a run's losses go to: TensorBoard, wandb, mlflow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rbox_formats import images
from rbox_formats.errors import said

logger = logging.getLogger("lmm_detector")

TAG = "evaluation"  # what the pictures are called in every tracker


def _to_tensorboard(callback: Any, path: Path, step: int) -> None:
    callback.tb_writer.add_image(TAG, images.load(path), step, dataformats="HWC")
    callback.tb_writer.flush()


def _to_wandb(_callback: Any, path: Path, step: int) -> None:
    import wandb

    # By the step that transformers logs beside the losses: wandb's own counts the calls.
    wandb.log({TAG: wandb.Image(str(path)), "train/global_step": step})


def _to_mlflow(_callback: Any, path: Path, step: int) -> None:
    import mlflow

    mlflow.log_image(images.load(path), key=TAG, step=step)


# By the callbacks of transformers' that send losses there.
_SENDERS: dict[str, Callable[[Any, Path, int], None]] = {
    "TensorBoardCallback": _to_tensorboard,
    "WandbCallback": _to_wandb,
    "MLflowCallback": _to_mlflow,
}


class Trackers:
    """Send pictures to the trackers of a run. If one cannot be reached, it is logged once, and training continues."""

    def __init__(self) -> None:
        self.failed: set[str] = set()

    def show(self, path: Path, step: int, callbacks: Sequence[Any]) -> None:
        """Send a picture.

        Args:
            path: Its file.
            step: The step that it is of.
            callbacks: The trainer's, among which are those of the trackers that are on.
        """
        for callback in callbacks:
            name = type(callback).__name__
            send = _SENDERS.get(name)
            if send is None:
                continue
            try:
                send(callback, path, step)
            except Exception as error:  # whatever a tracker's client raises where its server is not there
                if name not in self.failed:
                    self.failed.add(name)
                    logger.warning(
                        "pictures of evaluations do not reach %s, training continues: %s: %s",
                        name.removesuffix("Callback"),
                        type(error).__name__,
                        said(error),
                    )
