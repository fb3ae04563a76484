"""What the user and the platform set for a task: config.yaml."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbox_formats._records import ClassNames
from rbox_formats.errors import ClassNameError, DatasetError, quoted
from rbox_formats.ymir._env import CONFIG_VARIABLE, Env, read_mapping
from rbox_formats.ymir._errors import TaskError
from rbox_formats.ymir._paths import below

#: What the platform sets in config.yaml beside the template's own parameters.
PLATFORM_KEYS = (
    "task_id",
    "class_names",
    "gpu_count",
    "gpu_id",
    "object_type",
    "export_format",
    "shm_size",
    "pretrained_model_params",
    "model_params_path",
    "git_url",
    "git_branch",
    "code_config",
    "openpai_enable",
)

_DETECTION = 2


@dataclass(frozen=True)
class TaskConfig:
    """What config.yaml says.

    >>> from rbox_formats import ClassNames, ymir
    >>> ymir.TaskConfig({"img_size": 640}, ClassNames(["ship"])).values["img_size"]
    640

    Attributes:
        values: All keys and values.
        class_names: The classes; a label is an index into them.
        gpus: The GPUs of the task, counted from 0; none for the CPU.
        models: Weights and other files of the stage to start from, or to run.
        path: The file.
    """

    values: Mapping[str, Any]
    class_names: ClassNames
    gpus: tuple[int, ...] = ()
    models: tuple[Path, ...] = ()
    path: Path | None = None


def read_config(env: Env) -> TaskConfig:
    """Read config.yaml.

    >>> from rbox_formats import ymir
    >>> ymir.read_config(ymir.read_env("/in/env.yaml")).class_names  # doctest: +SKIP
    ClassNames('ship', 'plane')

    Args:
        env: What `read_env` gave. The variable DEFAULT_CONFIG_FILE_PATH names another file.

    Raises:
        TaskError: If it cannot be read, or what the platform sets is missing or of another kind.
    """
    path = Path(os.environ.get(CONFIG_VARIABLE) or env.input.config_file)
    values = read_mapping(path)
    kind = values.get("object_type")
    if kind not in (None, "", _DETECTION, str(_DETECTION)):
        raise TaskError("object type", f"expected object_type {_DETECTION}, detection, got {quoted(kind)}", path=path)
    key = "pretrained_model_params" if env.run_training else "model_params_path"
    return TaskConfig(
        values, _class_names(values, path), _gpus(values, path), _models(values.get(key), key, env, path), path
    )


def _class_names(values: Mapping[str, Any], path: Path) -> ClassNames:
    found = values.get("class_names")
    if not isinstance(found, list) or not found or not all(isinstance(name, str | int | float) for name in found):
        raise TaskError("config", f"expected class_names as a list of names, got {quoted(found)}", path=path)
    try:
        return ClassNames([str(name) for name in found])
    except ClassNameError as error:
        raise TaskError("config", f"class_names: {error}", path=path) from error


def _gpus(values: Mapping[str, Any], path: Path) -> tuple[int, ...]:
    text = values.get("gpu_id")
    numbers = [part.strip() for part in ("" if text is None else str(text)).split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() for part in numbers):
        raise TaskError("config", f"expected gpu_id as numbers with commas between, got {quoted(text)}", path=path)
    return tuple(map(int, numbers))


def _models(found: Any, key: str, env: Env, path: Path) -> tuple[Path, ...]:
    texts: Sequence[Any] = [] if found in (None, "") else [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise TaskError("config", f"expected {key} as a list of files, got {quoted(found)}", path=path)
    models = []
    for text in texts:
        try:
            models.append(below(text, env.input.root_dir, base=env.input.models_dir))
        except DatasetError as error:
            raise TaskError("model", f"{key}: {error}", path=path) from error
    return tuple(models)
