"""Detectors scored on a dataset: predictions into a file from which a stopped run resumes, then metrics.

What is scored is the file: scoring again, by another protocol, needs no model.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import rbox_metrics
from rbox_formats import Dataset, ImageRecord, datasets, files
from rbox_formats.progress import showing

from lmm_detector._evaluation._checkpoints import Checkpoint, find_checkpoints, step_in
from lmm_detector._evaluation._comparison import FIGURES, Scored
from lmm_detector._evaluation._pictures import visualize
from lmm_detector._prediction._detector import Detector
from lmm_detector._prediction._generation import Generation
from lmm_detector._prediction._predict import predict
from lmm_detector._runtime import _ranks
from lmm_detector._spec import DetectorSpec
from lmm_detector.errors import ConfigError, RunError

logger = logging.getLogger("lmm_detector")

PREDICTIONS, REPORT, PICTURES = "predictions.jsonl", "report.json", "pictures"

# As LMMRotate's `--shuffle_seed`.
SHUFFLE_SEED = 42


def score_detector(
    detector: Detector,
    truth: Iterable[ImageRecord],
    out: str | Path,
    generation: Generation | None = None,
    *,
    dataset: Mapping[str, Any] | None = None,
    **scoring: Any,
) -> dict[str, float]:
    """Detect the objects on annotated images, and return the metrics; evaluation during training calls this.

    Every process of a run makes the same call: they share the images as in `predict`, the main process scores, and all
    get the same metrics.

    Args:
        detector: What to score.
        truth: Annotated records, labelled by the detector's classes. Nothing is predicted for those without an image
            file; their objects count as missed.
        out: A folder for `predictions.jsonl`. If the file holds some of the images already, it is resumed; it has to
            be of the same detector.
        generation: How answers are generated.
        dataset: What the file's header says of the images.
        **scoring: As in `rbox_metrics.evaluate`: protocol, geometry, iou_thresholds, max_dets.

    Returns:
        `map`, `map_nc`, `f1_micro`, `f1_macro`, `precision_micro`, `recall_micro`: from 0 to 1, as in
        `rbox_metrics.Report.figures`, by MMRotate's protocol at IoU 0.5 unless `scoring` names another. NaN where no
        record has an object.

    Raises:
        RboxError: As in `predict` and `rbox_metrics.evaluate`.
    """
    records = Dataset(detector.class_names, list(truth))
    path = Path(out) / PREDICTIONS
    seen = [record.file for record in datasets.with_images(records)]
    predict(detector, seen, path, generation=generation, dataset=dataset)

    def figures() -> dict[str, float]:
        found = rbox_metrics.evaluate_file(records, path, **scoring).figures
        return {name: float(found[name]) for name in FIGURES}

    return _ranks.on_main(figures)


def evaluate_checkpoints(
    models: Sequence[str | Path],
    data: str | Path,
    out: str | Path,
    *,
    format: str = "dota",
    split: str | None = None,
    class_names: Sequence[str] | None = None,
    intermediate: bool = False,
    clip_num: int | None = None,
    shuffle_seed: int = SHUFFLE_SEED,
    generation: Generation | None = None,
    device: str | None = None,
    dtype: str = "float32",
    score: bool = True,
    pictures: bool | str | Path | None = False,
    progress: bool = False,
    only_with_images: bool = False,
    **scoring: Any,
) -> list[Scored]:
    """Predict on a dataset with one or many checkpoints, and score each.

    For each checkpoint, `out/<its name>` holds `predictions.jsonl` and `report.json`. Called again, it
    predicts nothing twice: more images, of a larger `clip_num`, are added to those that are there.

    Args:
        models: Detectors' folders, or those of runs.
        data: The dataset's folder. All its images count: nothing is predicted for those without a file, and their
            objects count as missed.
        out: The folder for everything.
        format: The dataset's format.
        split: The part of the dataset, where it has parts.
        class_names: The dataset's classes. None: those of the first detector.
        intermediate: Evaluates all checkpoints of a run, and not its final model alone.
        clip_num: The number of images to take, drawn at random; None: all, in the dataset's order. As with LMMRotate's
            option of this name, Python's generator shuffles all images, and the first ones are taken. The images are
            the same as there if the dataset lists them in the same order.
        shuffle_seed: The seed of the generator that draws the images.
        generation: How answers are generated.
        device: As in `Detector.from_pretrained`.
        dtype: As in `Detector.from_pretrained`.
        score: False predicts alone; `report` is then None.
        pictures: A folder to draw the ground truth beside the predictions: `<pictures>/<checkpoint's name>`. True: each
            checkpoint's folder in `out` gets a folder `pictures`. False or None: nothing is drawn.
        only_with_images: Leaves out images whose file is not there, as in `rbox_metrics.evaluate_file`.
        **scoring: As in `rbox_metrics.evaluate`.
        progress: Shows progress bars on standard error.

    Returns:
        What came of each checkpoint, in the order of `find_checkpoints`.

    Raises:
        ModelError: If a folder holds no detector.
        PredictionsError: If `out` has predictions of another checkpoint under the same name, or made otherwise.
        RboxError: If dataset, models or settings are not as expected. What can be found wrong before the first image is
            predicted is.
    """
    with showing(progress):
        out = Path(out)
        files.require_writable(out)
        _ranks.check_device(device)
        checkpoints = find_checkpoints(models, intermediate=intermediate)
        specs = [DetectorSpec.load(checkpoint.path) for checkpoint in checkpoints]
        truth = annotated(data, format, split, class_names or specs[0].class_names)
        chosen = clipped(truth, clip_num, shuffle_seed, only_with_images=only_with_images)
        seen = [record.file for record in datasets.with_images(chosen)]
        for spec in specs:
            rbox_metrics.map_classes([], spec.class_names, truth.class_names)
        if score:
            rbox_metrics.evaluate(chosen, [], truth.class_names, **scoring)  # which finds what is wrong with settings
        description = {"format": format, "data": str(data), "split": split}
        scored = []
        for number, checkpoint in enumerate(checkpoints, start=1):
            logger.info("%s (%d of %d)", checkpoint.name, number, len(checkpoints))
            path = out / checkpoint.name / PREDICTIONS
            detector = Detector.from_pretrained(checkpoint.path, device=device, dtype=dtype)
            predict(detector, seen, path, generation=generation, dataset=description)
            del detector  # before the next one needs its memory
            images = {"only_with_images": only_with_images, "images": [record.image_id for record in chosen]}
            drawn = None
            if pictures is True:
                drawn = path.with_name(PICTURES)
            elif pictures:
                drawn = Path(pictures) / checkpoint.name
            finish = partial(_finish, checkpoint, path, truth, {**images, **scoring} if score else None, chosen, drawn)
            scored.append(_ranks.on_main(finish))
        return scored


def score_files(
    paths: Sequence[str | Path],
    truth: Dataset,
    *,
    images: Sequence[str] | None = None,
    pictures: str | Path | None = None,
    **scoring: Any,
) -> list[Scored]:
    """Score predictions files that exist already.

    Args:
        paths: The files. What tells them apart is their names: each file's path below the folder that all are in.
        truth: The dataset, as `annotated` opens it.
        images: The ids of the images that count. None: all.
        pictures: A folder to draw the ground truth beside the predictions: `<pictures>/<name>`.
        **scoring: As in `rbox_metrics.evaluate_file`.

    Returns:
        What came of each file, by steps where the names tell them, as those that `evaluate_checkpoints` makes do.
    """
    files_by_name = dict(zip(_names([Path(path) for path in paths]), map(Path, paths), strict=True))
    scored = []
    for name, path in files_by_name.items():
        logger.info("%s", path)
        report = rbox_metrics.evaluate_file(truth, path, images=images, full=True, **scoring)
        if pictures is not None:
            drawn = [record for record in truth if images is None or record.image_id in images]
            visualize(Dataset(truth.class_names, drawn), path, Path(pictures) / name)
        scored.append(Scored(name, step_in(name), path, report))
    return sorted(scored, key=lambda each: (each.run, each.step is None, each.step or 0))


def annotated(data: str | Path, format: str, split: str | None, class_names: Sequence[str] | None) -> Dataset:
    """Return a dataset's images, all read; arguments as in `evaluate_checkpoints`."""
    dataset = datasets.read(format, data, split, class_names)
    return Dataset(dataset.class_names, list(dataset))


def clipped(
    truth: Dataset,
    clip_num: int | None,
    shuffle_seed: int = SHUFFLE_SEED,
    *,
    only_with_images: bool = False,
) -> Dataset:
    """Return the images that count: some drawn at random, or all. With one seed, a smaller draw begins a larger one.

    Source: `OrientedDetEvalDataset.__init__` in lmmrotate/dataset.py, VisionXLab/mllm-mmrotate at 9475a93, which
    shuffles also where it takes all.
    """
    if clip_num is not None and clip_num < 1:
        raise ConfigError(f"expected clip_num of 1 or more, got {clip_num}")
    records = datasets.with_images(truth) if only_with_images else list(truth)
    if clip_num is not None:
        order = list(range(len(records)))
        random.Random(shuffle_seed).shuffle(order)  # not for secrets
        records = [records[number] for number in order[:clip_num]]
    return Dataset(truth.class_names, records)


def _finish(
    checkpoint: Checkpoint,
    path: Path,
    truth: Dataset,
    scoring: Mapping[str, Any] | None,
    chosen: Dataset,
    pictures: Path | None,
) -> Scored:
    """Make report and pictures of a checkpoint whose predictions exist."""
    report = None
    if scoring is not None:
        report = rbox_metrics.evaluate_file(truth, path, full=True, **scoring)
        report.save(path.with_name(REPORT))
    if pictures is not None:
        visualize(chosen, path, pictures)
    return Scored(checkpoint.name, checkpoint.step, path, report)


def _names(paths: Sequence[Path]) -> list[str]:
    """Return a short name for each file: its path below the folder that all are in, without the usual name.

    Raises:
        RunError: If a file comes twice.
    """
    paths = [path.resolve() for path in paths]
    if len(set(paths)) < len(paths):
        raise RunError("expected different predictions files, got one twice")
    # A checkpoint's file keeps the run's name, so that it has the same name alone and among others.
    bare = [path.parent if path.name == PREDICTIONS else path.with_suffix("") for path in paths]
    top = Path(os.path.commonpath([path.parent.parent if step_in(path.name) else path.parent for path in bare]))
    names = [path.relative_to(top).as_posix() for path in bare]
    if len(set(names)) < len(names):
        raise RunError(f"expected predictions files of different names, got {', '.join(names)}")
    for name in names:
        for part in name.split("/"):
            files.safe_name(part, top)
    return names
