"""Train and load for the platform."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rbox_formats import files, ymir
from rbox_formats.errors import listed
from rbox_formats.executor import Package, TrainJob
from rbox_metrics.mining import mine

from rbox_baselines._ymir._names import config_named
from rbox_baselines._ymir._parameters import TrainParameters, arguments_of, options_of
from rbox_baselines.errors import CheckpointError, ConfigError

logger = logging.getLogger("rbox_baselines")

#: Where an image keeps weights to begin with, by the names of their configs.
WEIGHTS = Path("/weights")
_WEIGHTS = (".pth", ".pt")
# Scores of a stage beside its mAP, by rbox_metrics' names.
_OTHERS = ("map_nc", "f1_micro")


def load(models: Sequence[Path], *, device: str, score: float, iou: float) -> Any:
    """Load a detector from a stage's files; see `rbox_formats.executor.Package`."""
    from rbox_baselines import Detector

    return Detector.from_checkpoint(_weights_of(models), device=device).with_thresholds(score=score, iou=iou)


def train(job: TrainJob) -> None:
    """Train as the platform asks for; see `rbox_formats.executor.Package`."""
    from rbox_baselines import Data, load_config
    from rbox_baselines import train as run

    parameters: TrainParameters = job.parameters
    arguments = arguments_of(parameters.args_options)
    name = config_named(parameters.model_name)
    data = Data(str(job.env_file), job.data_format, "train", "val" if job.has_val else None)
    names = job.config.class_names
    config = load_config(name, data=data, class_names=names, image_size=parameters.img_size)
    options = options_of(config, parameters)
    start = None if arguments.resume and list(job.work_dir.glob("*.pth")) else _start(job, name)
    if start is not None:
        ready = load_config(name, data=data, class_names=names, image_size=parameters.img_size, options=options)
        start = _fitting(start, name, ready, names, job.work_dir)
    run(
        name,
        job.work_dir,
        data=data,
        class_names=names,
        image_size=parameters.img_size,
        options=options,
        backbone=None if start is not None else arguments.backbone,
        load_from=start,
        resume=arguments.resume,
        amp=arguments.amp,
        auto_scale_lr=arguments.auto_scale_lr,
        tensorboard=job.env.output.tensorboard_dir,
        seed=parameters.seed,
        follower=_Stages(job, _patterns(parameters.ymir_saved_file_patterns)),
    )


PACKAGE = Package("rbox-baselines", TrainParameters, train=train, load=load, mine=mine)


@dataclass(frozen=True)
class _Stages:
    """Makes a stage of each checkpoint, and tells how far the training is.

    Attributes:
        job: The training.
        patterns: Of names of more files to keep with a stage.
    """

    job: TrainJob
    patterns: tuple[re.Pattern[str], ...]

    def stepped(self, done: int, total: int, loss: float | None) -> None:
        """Tell how many steps are done; see `TrainJob.stepped`."""
        self.job.stepped(done, total, loss, "Try a lower learning_rate, or leave out --amp.")

    def saved(self, epoch: int, checkpoint: Path, metrics: Mapping[str, float]) -> None:
        """Write a stage: the weights with their config, and the config as a file."""
        import torch

        from rbox_baselines._checkpoints import read_checkpoint
        from rbox_baselines._tools._publish import stripped

        kept, _, _ = stripped(read_checkpoint(checkpoint))
        result = self.job.result
        folder = result.folder(ymir.stage_name(checkpoint.stem))
        folder.mkdir(parents=True, exist_ok=True)
        with files.replacing(folder / checkpoint.name) as temporary:
            torch.save(kept, temporary)
        files.write_text(folder / "config.py", str(kept["meta"].get("cfg", "")))
        more = [path for path in self.job.work_dir.rglob("*") if path.is_file() and self._is_wanted(path)]
        for path in more:
            with files.replacing(folder / path.name) as temporary:
                shutil.copyfile(path, temporary)
        value = metrics.get("rbox/map", 0.0)
        found = tuple(dict.fromkeys([checkpoint.name, "config.py", *(path.name for path in more)]))
        others = {name: float(metrics[f"rbox/{name}"]) for name in _OTHERS if f"rbox/{name}" in metrics}
        stage = ymir.Stage(folder.name, found, int(time.time()), float(value) if np.isfinite(value) else 0.0, others)
        for dropped in result.add(stage):
            shutil.rmtree(result.folder(dropped.name), ignore_errors=True)
        logger.info("epoch %d: mAP %.3f; the best stage is %s", epoch, stage.map, result.best.name)

    def _is_wanted(self, path: Path) -> bool:
        return path.suffix not in _WEIGHTS and any(pattern.search(path.name) for pattern in self.patterns)


def _patterns(text: str) -> tuple[re.Pattern[str], ...]:
    try:
        return tuple(re.compile(part.strip()) for part in text.split(",") if part.strip())
    except re.error as error:
        raise ConfigError(f"expected regular expressions as ymir_saved_file_patterns, got {text!r}") from error


def _weights_of(models: Sequence[Path]) -> Path:
    """Return the weights among a stage's files: the best before those of one epoch, the newest of them.

    Raises:
        CheckpointError: If there are none.
    """
    found = [path for path in models if path.suffix in _WEIGHTS and path.is_file()]
    if not found:
        raise CheckpointError(f"expected weights (.pth, .pt) among the model's files, got {listed(models) or 'none'}")
    of_epoch = {path: bool(re.match(r"(epoch|iter)_\d", path.name)) for path in found}
    return min(found, key=lambda path: (of_epoch[path], -path.stat().st_mtime_ns, path.name))


def _start(job: TrainJob, name: str) -> Path | None:
    """Return the weights to begin with: the user's, else those that the image has for the config, else none."""
    if job.config.models:
        return _weights_of(job.config.models)
    found = sorted(
        path for path in WEIGHTS.rglob("*.pth") if re.fullmatch(rf"{re.escape(name)}(-[0-9a-f]{{8}})?", path.stem)
    )
    if not found:
        logger.warning("no weights to begin with: the backbone's are fetched, if the config names some")
    return found[0] if found else None


def _fitting(path: Path, name: str, config: Any, class_names: Sequence[str], work_dir: Path) -> Path:
    """Return weights that fit the classes: the file itself, or one without the layers that tell classes apart.

    Raises:
        CheckpointError: If they are of another model.
    """
    import torch
    from mmdet.registry import MODELS

    from rbox_baselines._checkpoints import check_classes, read_checkpoint, without_classes
    from rbox_baselines._configs._weights import without_pretrained

    checkpoint = read_checkpoint(path)
    own = {key: value.shape for key, value in MODELS.build(without_pretrained(config).model).state_dict().items()}
    fitting = [key for key, value in checkpoint["state_dict"].items() if own.get(key) == value.shape]
    if 2 * len(fitting) < len(own):
        raise CheckpointError(
            f"expected weights of the model {name}, got a file that has {len(fitting)} of its {len(own)}",
            path=path,
            remedy="Choose the model that the weights are of (model_name), or start without weights.",
        )
    try:
        check_classes(checkpoint, class_names, path=path)
    except CheckpointError:
        logger.warning("%s is of other classes: the layers that tell classes apart begin at random", path)
    else:
        return path
    with files.replacing(work_dir / "other-classes" / "start.pth") as temporary:
        torch.save(without_classes(checkpoint), temporary)
    return work_dir / "other-classes" / "start.pth"
