"""Evaluation during training: what the model writes about held-out images, scored."""

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
from lmm_detector._evaluation._evaluate import PICTURES, PREDICTIONS, score_detector
from lmm_detector._evaluation._pictures import visualize
from lmm_detector._families._types import IGNORED_LABEL
from lmm_detector._prediction._detector import Detector
from lmm_detector._prediction._generation import Generation
from lmm_detector._runtime import _ranks
from lmm_detector._spec import DetectorSpec
from lmm_detector._training._config import TrainConfig
from lmm_detector._training._samples import TextWriter, WindowText, window_texts
from lmm_detector._training._window_cache import direct

_DRAWN = 8  # images of each evaluation


def held_out(config: TrainConfig, class_names: ClassNames) -> list[ImageRecord]:
    """Return the annotated images that a run is scored on; none where it is not.

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
    """Return the function that scores the model after step N, and writes the predictions to `evaluations/step-N`.

    Args:
        family: The model. Training changes it between the calls.
        spec: What the model is taught.
        records: The images with their ground truth.
        config: The run's settings.
    """
    windows = _windows(family, spec, datasets.with_images(Dataset(spec.class_names, records)))
    # The other metrics do not look at scores, which take a pass of their own.
    generation = Generation(
        batch_size=config.eval_batch_size,
        max_new_tokens=config.eval_max_new_tokens,
        scores="mean" if config.eval_metric == "map" else "none",
    )

    def evaluate(step: int) -> dict[str, float]:
        family.model.eval()  # the trainer sets it back before each step
        device = family.model.device.type
        dtype = getattr(torch, config.precision)
        # As in training; `generate`, the pass for scores and the loss go round the trainer's own autocast.
        with torch.autocast(device, dtype, enabled=config.precision != "float32"):
            loss = {"loss": _loss(family, spec, windows, config.eval_batch_size)}
            return loss if config.eval_metric == "loss" else loss | scores(step)

    def scores(step: int) -> dict[str, float]:
        folder = _folder(Path(config.out), step)
        together = PartialState()
        if together.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped in the middle of it
        together.wait_for_everyone()
        detector = Detector(family, spec, spec.make_codec(), fingerprint=f"step {step}")
        found = score_detector(detector, records, folder, generation)
        if together.is_main_process:
            _draw(detector.class_names, records, folder)
        return found

    return evaluate


def _folder(out: Path, step: int) -> Path:
    return out / "evaluations" / f"step-{step}"


def sheet(out: Path, step: int) -> Path:
    """Return the file with the pictures of an evaluation; there is none where the model wrote no boxes.

    Args:
        out: The run's folder.
        step: Of the evaluation.
    """
    return _folder(out, step) / PICTURES / "sheet.png"


def _windows(family: _families.Family, spec: DetectorSpec, records: Sequence[ImageRecord]) -> list[WindowText]:
    """Return the windows of held-out images with the texts that a perfect model would write, the longest first."""
    room = family.answer_room(spec.prompt, (spec.window, spec.window))
    writer = TextWriter(spec.class_names, spec.make_codec(), room, family.count_tokens, input_size=family.input_size)
    found = window_texts(records, writer, window=spec.window, gap=spec.gap)
    return sorted(found, key=lambda item: -len(item.text))


def _loss(family: _families.Family, spec: DetectorSpec, windows: Sequence[WindowText], batch_size: int) -> float:
    """Return the mean negative log-probability of all tokens of these texts; the processes share the windows."""
    rank, count = _ranks.place()
    mine = windows[rank::count]
    total, tokens = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(mine), batch_size):
            part = mine[start : start + batch_size]
            samples = [_families.Sample(direct(each.path, each.window), each.text, not each.left_out) for each in part]
            batch = family.on_device(family.collate(samples, spec.prompt))
            total += float(family.loss(batch))
            tokens += int((batch["labels"] != IGNORED_LABEL).sum())
    sums = _ranks.gathered((total, tokens))
    return sum(each for each, _ in sums) / sum(each for _, each in sums)


def _draw(class_names: ClassNames, records: Sequence[ImageRecord], folder: Path) -> None:
    """Some images, the same at each evaluation, with their annotations and with what was detected."""
    visualize(Dataset(class_names, records), folder / PREDICTIONS, folder / PICTURES, limit=_DRAWN)
