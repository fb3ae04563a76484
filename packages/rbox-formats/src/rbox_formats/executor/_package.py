"""What a package of detectors gives to do a platform's tasks, and the parameters of each task."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from rbox_formats import ymir
from rbox_formats.detection import Detector
from rbox_formats.ymir import parameter


@dataclass(frozen=True)
class InferParameters:
    """The parameters of inference.

    >>> from rbox_formats.executor import InferParameters
    >>> InferParameters().conf_threshold
    0.2
    """

    conf_threshold: float = parameter(0.2, "Leave out boxes of a lower score.", ge=0, le=1)
    iou_threshold: float = parameter(
        0.65, "Of two boxes of a class with a larger rotated IoU, keep the one of the higher score.", ge=0, le=1
    )
    rotate_angle: bool = parameter(
        True,
        "Give the angle of each box (rotate_angle, radians, clockwise). false: give the upright boxes around the "
        "turned ones, for platforms that refuse the key.",
    )
    batch_size: int = parameter(4, "Images, or windows of large images, at a time.", ge=1)
    window: int | None = parameter(
        None, "The side of the windows in pixels; 0: whole images. Empty: the detector's own choice.", ge=0
    )


@dataclass(frozen=True)
class MineParameters:
    """The parameters of mining.

    >>> from rbox_formats.executor import MineParameters
    >>> MineParameters().mining_algorithm
    'entropy'
    """

    mining_algorithm: str = parameter(
        "entropy",
        "What to rank by: random, entropy, entropy-image, entropy-class, margin, least-confidence, aldd, cald, "
        "diversity.",
    )
    conf_threshold: float = parameter(0.1, "Boxes of this score or less do not count.", ge=0, le=1)
    iou_threshold: float = parameter(
        0.65, "Of two boxes of a class with a larger rotated IoU, keep the one of the higher score.", ge=0, le=1
    )
    seed: int = parameter(0, "The random seed of random.", ge=0)
    batch_size: int = parameter(4, "Images, or windows of large images, at a time.", ge=1)
    window: int | None = parameter(
        None, "The side of the windows in pixels; 0: whole images. Empty: the detector's own choice.", ge=0
    )


@dataclass(frozen=True)
class TrainJob:
    """A training that the platform asks for.

    >>> job.result.add(ymir.Stage("epoch_1", ("epoch_1.pth",), 1675840000, 0.4))  # doctest: +SKIP

    Attributes:
        env: The platform's paths. The dataset is env.yaml, in the format `data_format`.
        config: The platform's classes, GPUs and weights to start from.
        parameters: Of the package's own kind.
        env_file: The file env.yaml.
        data_format: The name of the dataset's format, in `rbox_formats.datasets.FORMATS`.
        has_val: Whether there are images to score on.
        device: "cpu" or "cuda:0".
        work_dir: A folder for checkpoints and logs.
        result: Takes the stages.
        progress: Takes the share that is done.
    """

    env: ymir.Env
    config: ymir.TaskConfig
    parameters: Any
    env_file: Path
    data_format: str
    has_val: bool
    device: str
    work_dir: Path
    result: ymir.TrainingResult
    progress: Callable[[float], None]

    def stepped(self, done: int, total: int, loss: float | None, remedy: str) -> None:
        """Tell the platform how many steps are done.

        Args:
            done: The number of steps that are done.
            total: The number of all steps.
            loss: The loss of the last step; None where it is not known.
            remedy: What the user can change if the loss is not finite.

        Raises:
            TaskError: If the loss is not finite.
        """
        if loss is not None and not math.isfinite(loss):
            raise ymir.TaskError("nan", f"expected a finite loss, got {loss} at step {done} of {total}", remedy=remedy)
        self.progress(done / max(total, 1))


@runtime_checkable
class Load(Protocol):
    """Load a detector from a stage's files."""

    def __call__(self, models: Sequence[Path], *, device: str, score: float, iou: float) -> Detector:
        """Load it.

        Args:
            models: A stage's files.
            device: "cpu" or "cuda:0".
            score: The least score that is of interest.
            iou: Of two boxes of a class with a larger rotated IoU, the one of the higher score stays.
        """
        ...


#: Scores images by how much a detector would learn from their labels: `rbox_metrics.mining.mine`, which comes from
#: above this package.
Mine: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Package:
    """What a package of detectors gives.

    >>> from rbox_formats.executor import InferParameters, Package
    >>> package = Package("my-detector", InferParameters, train=print, load=print, mine=print)
    >>> package.command
    'my-detector'

    Attributes:
        command: The package's command, which has the subcommand `ymir`.
        train_parameters: A dataclass whose fields are made by `rbox_formats.ymir.parameter`; with `export_format`,
            `angle_unit` and `max_keep_checkpoints`.
        train: Trains.
        load: Loads a detector.
        mine: Ranks images.
    """

    command: str
    train_parameters: type
    train: Callable[[TrainJob], None]
    load: Load
    mine: Mine
