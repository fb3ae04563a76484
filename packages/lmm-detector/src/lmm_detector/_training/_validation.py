"""Evaluation in mid-training: what the model writes about held-out images, scored."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from rbox_formats import ClassNames, Dataset, ImageRecord, datasets
from rbox_formats.errors import DatasetError

from lmm_detector import _families
from lmm_detector._evaluation._evaluate import score_detector
from lmm_detector._prediction._detector import Detector
from lmm_detector._prediction._generation import Generation
from lmm_detector._spec import DetectorSpec
from lmm_detector._training._config import TrainConfig


def held_out(config: TrainConfig, class_names: ClassNames) -> list[ImageRecord]:
    """The annotated images that a run is scored on; none where it is not.

    They are those that `lmm-detector evaluate` scores: all of the dataset, or with `eval_only_with_images` those with
    an image.

    Raises:
        DatasetError: If the dataset is not there, or has no object of the classes, or no image.
    """
    place = config.evaluation
    if place is None:
        return []
    dataset = datasets.read(place.format, place.path, place.split, class_names, image_folder=place.image_folder)
    every = list(dataset)
    with_images = datasets.with_images(Dataset(class_names, every))
    records = with_images if config.eval_only_with_images else every
    if config.eval_images is not None:
        chosen = np.random.default_rng(config.seed).permutation(len(records))[: config.eval_images]
        records = [records[number] for number in sorted(chosen)]
    if all(record.difficult.all() for record in records):
        raise DatasetError(
            f"expected objects that are not difficult on the images to evaluate on, got none on {len(records)}",
            path=place.path,
        )
    return records


def evaluator(
    family: _families.Family, spec: DetectorSpec, records: Sequence[ImageRecord], config: TrainConfig
) -> Callable[[int], dict[str, float]]:
    """What scores the model as it is after a step, and leaves the predictions in `evaluations/step-N`.

    Args:
        family: The model, which training goes on changing.
        spec: What it is taught.
        records: The images, with what is on them.
        config: The run's settings.
    """
    # The other metrics do not look at scores, which take a pass of their own.
    generation = Generation(
        batch_size=config.eval_batch_size,
        max_new_tokens=config.eval_max_new_tokens,
        scores="mean" if config.eval_metric == "map" else "none",
    )

    def evaluate(step: int) -> dict[str, float]:
        folder = Path(config.out) / "evaluations" / f"step-{step}"
        together = PartialState()
        if together.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped in the middle of it
        together.wait_for_everyone()
        family.model.eval()  # the trainer sets it back before each step
        detector = Detector(family, spec, spec.make_codec(), fingerprint=f"step {step}")
        device = family.model.device.type
        dtype = getattr(torch, config.precision)
        # As in training; `generate` and the pass for scores go round the trainer's own autocast.
        with torch.autocast(device, dtype, enabled=config.precision != "float32"):
            return score_detector(detector, records, folder, generation)

    return evaluate
