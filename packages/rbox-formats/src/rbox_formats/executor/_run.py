"""A task of the platform from its files to its results, and what is said where it fails."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rbox_formats import ymir
from rbox_formats._records import ImageRecord
from rbox_formats.detection import Detector
from rbox_formats.errors import RboxError, quoted, said
from rbox_formats.executor._package import InferParameters, MineParameters, Package, TrainJob
from rbox_formats.parsing.lines import read_text, split_lines

logger = logging.getLogger("rbox_formats")

_ENV_FILE = Path("/in/env.yaml")
_GPUS = "CUDA_VISIBLE_DEVICES"
# What the platform exports annotations as; empty: its default, VOC. The files say by their suffix what they are.
_EXPORTS = ("ark", "det-ark", "voc", "det-voc", "coco", "seg-coco", "")


def run(package: Package, env_file: str | Path | None = None) -> int:
    """Do the task, or the tasks, that env.yaml asks for, and write what the platform reads.

    >>> from rbox_formats import executor
    >>> executor.run(package)  # doctest: +SKIP
    0

    Args:
        package: What trains and loads.
        env_file: env.yaml. None: as `rbox_formats.ymir.read_env`.

    Returns:
        The exit code: 0 where all is done; else the platform's error code is in monitor.txt.
    """
    monitor: ymir.Monitor | None = None
    gpus = os.environ.get(_GPUS)
    try:
        path = Path(env_file or os.environ.get("DEFAULT_ENV_FILE_PATH") or _ENV_FILE)
        env = ymir.read_env(path)
        monitor = ymir.Monitor(env)
        monitor.start()
        _do(package, env, path, monitor)
        monitor.done()
    except Exception as error:
        code = ymir.code_of(error)
        message = str(error) if isinstance(error, RboxError) else f"{type(error).__name__}: {said(error)}"
        logger.error("error %d: %s", code, message, exc_info=None if isinstance(error, RboxError) else error)
        _report(monitor, code, message)
        return 1
    finally:
        os.environ.pop(_GPUS, None)
        if gpus is not None:
            os.environ[_GPUS] = gpus
    return 0


def _report(monitor: ymir.Monitor | None, code: int, message: str) -> None:
    """Tell the platform, in its own place for it where env.yaml could not be read."""
    default = ymir.Env()
    try:
        if monitor is None and os.access(default.output.root_dir, os.W_OK):
            monitor = ymir.Monitor(default)
        if monitor is not None:
            monitor.fail(code, message)
    except (RboxError, OSError) as error:
        logger.error("the platform does not get this error: %s", said(error))


def _do(package: Package, env: ymir.Env, path: Path, monitor: ymir.Monitor) -> None:
    """Do the tasks one after the other: mining before inference, as the platform expects."""
    asked = {"training": env.run_training, "mining": env.run_mining, "infer": env.run_infer}
    names = [name for name, wanted in asked.items() if wanted]
    if not names:
        logger.warning("%s asks for no task: none of run_training, run_mining and run_infer is true", path)
        return
    config = ymir.read_config(env)
    device = _device(config)
    tasks: dict[str, Callable[[ymir.Part], None]] = {
        "training": lambda part: _train(package, env, path, config, device, part),
        "mining": lambda part: _mine(package, env, config, device, part),
        "infer": lambda part: _infer(package, env, config, device, part),
    }
    monitor.prepared()
    for number, name in enumerate(names):
        logger.info("%s begins, on %s", name, device)
        tasks[name](monitor.part(number, len(names)))


def _device(config: ymir.TaskConfig) -> str:
    """Return what to compute on, and hide all else from torch: the first GPU of the task, or the CPU.

    Raises:
        TaskError: If a GPU is asked for, and there is none.
    """
    if not config.gpus:
        os.environ[_GPUS] = ""
        return "cpu"
    first = config.gpus[0]
    shown = os.environ.get(_GPUS)
    seen = None if shown is None else [part.strip() for part in shown.split(",") if part.strip()]
    if seen is None or first < len(seen):
        os.environ[_GPUS] = str(first) if seen is None else seen[first]
        import torch

        if torch.cuda.is_available():
            if len(config.gpus) > 1:
                logger.warning("one of the %d GPUs is used: %d", len(config.gpus), first)
            return "cuda:0"
    raise ymir.TaskError("no gpu", f"expected the GPU {first}, found none", path=config.path)


def _train(
    package: Package, env: ymir.Env, path: Path, config: ymir.TaskConfig, device: str, progress: ymir.Part
) -> None:
    parameters: Any = ymir.fill(package.train_parameters, config)
    work_dir = env.output.root_dir / "run"
    for folder in (work_dir, env.output.models_dir, env.output.tensorboard_dir):
        folder.mkdir(parents=True, exist_ok=True)
    if not _lines(env.input.training_index_file):
        raise ymir.TaskError(
            "dataset", "expected images to train on, found none", path=env.input.training_index_file or path
        )
    has_val = bool(_lines(env.input.val_index_file))
    if not has_val:
        logger.warning("there are no images to score on: all stages get an mAP of 0, and the last is the best")
    result = ymir.TrainingResult(env, parameters.max_keep_checkpoints, {"iou_thr": 0.5})
    package.train(
        TrainJob(
            env=env,
            config=config,
            parameters=parameters,
            env_file=path,
            data_format=_format(config, parameters),
            has_val=has_val,
            device=device,
            work_dir=work_dir,
            result=result,
            progress=progress,
        )
    )
    if not result.stages:
        raise ymir.TaskError("container", "expected a stage of the training, got none", path=work_dir)
    progress(1.0)


def _format(config: ymir.TaskConfig, parameters: Any) -> str:
    """Return the name of the dataset's format, which depends on the unit of its angles alone."""
    given = config.values.get("export_format", parameters.export_format) or ""
    annotation, _, asset = str(given).partition(":")
    if annotation not in _EXPORTS or asset not in ("raw", ""):
        known = ", ".join(f"{name}:raw" for name in _EXPORTS if name)
        raise ymir.TaskError(
            "config", f"expected export_format among {known}, got {quoted(str(given))}", path=config.path
        )
    return "ymir-pi" if parameters.angle_unit == "pi" else "ymir"


def _lines(index: Path | None) -> list[str]:
    if index is None or not index.is_file():
        return []
    return [line for line in split_lines(read_text(index)) if line.strip()]


def _infer(package: Package, env: ymir.Env, config: ymir.TaskConfig, device: str, progress: ymir.Part) -> None:
    parameters = ymir.fill(InferParameters, config)
    paths = list(ymir.read_candidates(env).values())
    detector = _loaded(package, config, device, parameters)
    options: dict[str, Any] = {"score_threshold": parameters.conf_threshold, "window": parameters.window}
    found: Any = detector.predict(paths, batch_size=parameters.batch_size, **options) if paths else ()

    def counted() -> Iterator[tuple[Path, ImageRecord]]:
        for number, (path, record) in enumerate(zip(paths, found, strict=True), start=1):
            yield path, record
            progress(number / len(paths))

    ymir.write_infer_result(env, counted(), detector.class_names, rotated=parameters.rotate_angle)
    progress(1.0)


def _mine(package: Package, env: ymir.Env, config: ymir.TaskConfig, device: str, progress: ymir.Part) -> None:
    parameters = ymir.fill(MineParameters, config)
    candidates = ymir.read_candidates(env)
    detector = _loaded(package, config, device, parameters)
    scores: Sequence[float] = package.mine(
        detector,
        list(candidates.values()),
        parameters.mining_algorithm.replace("_", "-"),
        score_threshold=parameters.conf_threshold,
        window=parameters.window,
        batch_size=parameters.batch_size,
        seed=parameters.seed,
        progress=progress,
    )
    ymir.write_mining_result(env, dict(zip(candidates, map(float, scores), strict=True)))
    progress(1.0)


def _loaded(
    package: Package, config: ymir.TaskConfig, device: str, parameters: InferParameters | MineParameters
) -> Detector:
    missing = [path for path in config.models if not path.is_file()]
    if missing or not config.models:
        where: dict[str, Any] = {"path": missing[0]} if missing else {"path": config.path}
        raise ymir.TaskError("model", "expected the files of a model (model_params_path), found none", **where)
    detector = package.load(config.models, device=device, score=parameters.conf_threshold, iou=parameters.iou_threshold)
    if tuple(detector.class_names) != tuple(config.class_names):
        logger.warning("the model knows the classes %s, and names them", ", ".join(detector.class_names))
    return detector
