"""Train and load for the platform."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rbox_formats import datasets, files, tiling, ymir
from rbox_formats.executor import Package, TrainJob
from rbox_metrics.mining import mine

from lmm_detector._ymir._parameters import TrainParameters, config_of, folder_of

logger = logging.getLogger("lmm_detector")

# Scores of a stage beside its mAP.
_OTHERS = ("map_nc", "f1_micro")
_BOARD = "TENSORBOARD_LOGGING_DIR"  # where transformers writes TensorBoard's files


def load(models: Sequence[Path], *, device: str, score: float, iou: float) -> Any:
    """Load a detector from a stage's files; see `rbox_formats.executor.Package`.

    Such a model writes each object once: there is no suppression that `iou` would be for.
    """
    from lmm_detector import Detector

    return Detector.from_pretrained(folder_of(models), device=device)


def train(job: TrainJob) -> None:
    """Train as the platform asks for; see `rbox_formats.executor.Package`."""
    from lmm_detector._training._train import train as run

    config = config_of(job, _windows(job))
    before = os.environ.get(_BOARD)
    os.environ[_BOARD] = str(job.env.output.tensorboard_dir)
    try:
        run(config, follower=_Stages(job))
    finally:
        os.environ.pop(_BOARD)
        if before is not None:
            os.environ[_BOARD] = before


PACKAGE = Package("lmm-detector", TrainParameters, train=train, load=load, mine=mine)


def _windows(job: TrainJob) -> int:
    """Return how many windows the images have: a pass goes through all of them."""
    side = job.parameters.img_size
    count = 0
    for record in datasets.read(job.data_format, job.env_file, "train", job.config.class_names):
        if record.width and record.height:
            count += len(tiling.windows(record.width, record.height, side, tiling.default_gap(side)))
    return max(count, 1)


@dataclass(frozen=True)
class _Stages:
    """Makes a stage of each checkpoint, and says how far the training is.

    Attributes:
        job: The training.
    """

    job: TrainJob

    def stepped(self, done: int, total: int, loss: float | None) -> None:
        """Tell how many steps are done; see `TrainJob.stepped`."""
        self.job.stepped(done, total, loss, "Try a lower learning_rate, or {precision: float32} in args_options.")

    def saved(self, step: int, checkpoint: Path, metrics: Mapping[str, float]) -> None:
        """Write a stage: the detector's folder, without the state of the training."""
        from lmm_detector._training._run_folder import without_training

        result = self.job.result
        folder = result.folder(ymir.stage_name(f"step_{step}"))
        folder.mkdir(parents=True, exist_ok=True)
        every = [path for path in sorted(checkpoint.iterdir()) if path.is_file()]
        passed_over = without_training(str(checkpoint), [path.name for path in every])
        names = [path.name for path in every if path.name not in passed_over]
        for name in names:
            with files.replacing(folder / name) as temporary:
                shutil.copyfile(checkpoint / name, temporary)
        value = metrics.get("map", 0.0)
        others = {name: float(metrics[name]) for name in _OTHERS if name in metrics}
        now = int(time.time())
        stage = ymir.Stage(folder.name, tuple(names), now, float(value) if np.isfinite(value) else 0.0, others)
        for dropped in result.add(stage):
            shutil.rmtree(result.folder(dropped.name), ignore_errors=True)
        logger.info("step %d: mAP %.3f; the best stage is %s", step, stage.map, result.best.name)
