"""The parameters of a training on the platform, and the settings of a run that they stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from rbox_formats.errors import quoted, said
from rbox_formats.ymir import parameter

from lmm_detector.errors import ConfigError

if TYPE_CHECKING:
    from rbox_formats.executor import TrainJob

    from lmm_detector._training._config import TrainConfig


# Settings that name places and data: nothing is read or written elsewhere.
_OF_THE_PLATFORM = (
    *("out", "resume_from", "data_path", "format", "split", "image_folder", "class_names"),
    *("eval_split", "eval_data_path", "eval_format", "eval_image_folder", "report_to", "cpu"),
)


@dataclass(frozen=True)
class TrainParameters:
    """A training's parameters; those that the template does not show are honoured where they are added."""

    export_format: str = parameter(
        "ark:raw", "The format of the annotations: ark, det-ark, voc, det-voc or coco, :raw."
    )
    model_name: str = parameter(
        "microsoft/Florence-2-base", "The model to start from: a folder of the image, or a name on the hub."
    )
    samples_per_gpu: int = parameter(8, "Windows in a training step.", ge=1)
    device_batch_size: int = parameter(2, "The most windows that the device takes at once.", ge=1)
    workers_per_gpu: int = parameter(4, "Processes that load images.", ge=0)
    max_epochs: int = parameter(100, "Passes over all images.", ge=1)
    learning_rate: float = parameter(2e-5, "The highest learning rate.", ge=0)
    response_format: str = parameter("florence2", "The text format in which the model writes boxes.")
    img_size: int = parameter(1024, "The side of the windows that images are cut into, in pixels.", ge=32)
    val_interval: int = parameter(1, "Epochs between two scores, each with a stage.")
    max_keep_checkpoints: int = parameter(
        1,
        "How many of the best and how many of the latest stages are kept; -1: all. The platform takes at most 11.",
        ge=-1,
    )
    args_options: str = parameter(
        "", "Other settings of lmm-detector train, as YAML: {precision: bfloat16, language_model_lora: 16}."
    )
    angle_unit: Literal["radians", "pi"] = parameter("radians", "The unit of the annotations' angles: radians or pi.")
    shm_size: str = parameter("128G", "Shared memory of the container, which the platform sets up.")
    seed: int = parameter(0, "The random seed.", shown=False, ge=0)


def config_of(job: TrainJob, windows: int) -> TrainConfig:
    """Return the settings of a run.

    Args:
        job: The training.
        windows: How many windows the images have.

    Raises:
        ConfigError: If `args_options` is no mapping, or a setting is unknown or wrong.
    """
    from lmm_detector._training._config import TrainConfig

    parameters: TrainParameters = job.parameters
    interval = min(parameters.val_interval, parameters.max_epochs) if parameters.val_interval > 0 else 1
    every = interval * math.ceil(windows / parameters.samples_per_gpu)
    settings: dict[str, Any] = {
        "model_name_or_path": str(_start(job.config.models) or parameters.model_name),
        "data_path": [str(job.env_file)],
        "format": [job.data_format],
        "split": ["train"],
        "class_names": list(job.config.class_names),
        "out": str(job.work_dir),
        "response_format": parameters.response_format,
        "window": parameters.img_size,
        "epochs": float(parameters.max_epochs),
        "batch_size": parameters.samples_per_gpu,
        "device_batch_size": min(parameters.device_batch_size, parameters.samples_per_gpu),
        "learning_rate": parameters.learning_rate,
        "workers": parameters.workers_per_gpu,
        "save_every": every,
        "log_every": max(1, min(10, every)),
        "eval_split": "val" if job.has_val else None,
        "eval_metric": "map" if job.has_val else TrainConfig.eval_metric,
        "seed": parameters.seed,
        "report_to": "tensorboard",
        "cpu": job.device == "cpu",
    }
    try:
        return TrainConfig(**{**settings, **_others(parameters.args_options)})
    except TypeError as error:
        raise ConfigError(f"expected settings of `lmm-detector train` as args_options, got: {said(error)}") from error


def _others(text: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text) if text.strip() else {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"expected YAML as args_options, got {quoted(text)}: {said(error)}") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ConfigError(f"expected args_options such as {{precision: bfloat16}}, got {quoted(text)}")
    if taken := [name for name in found if name in _OF_THE_PLATFORM]:
        raise ConfigError(f"expected args_options without {taken[0]}, which the platform decides")
    return found


def _start(models: Sequence[Path]) -> Path | None:
    """Return the folder of the stage to start from; None where there is none."""
    return folder_of(models) if models else None


def folder_of(models: Sequence[Path]) -> Path:
    """Return the folder of a stage's files: a detector's.

    Raises:
        ConfigError: If they are in several folders.
    """
    folders = sorted({path.parent for path in models})
    if len(folders) != 1:
        names = ", ".join(map(str, folders)) or "none"
        raise ConfigError(f"expected the files of a model in one folder, got {names}")
    return folders[0]
