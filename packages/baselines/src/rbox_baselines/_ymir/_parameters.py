"""The parameters of a training on the platform, and the settings of MMRotate's config that they stand for."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rbox_formats.cli import parse_options
from rbox_formats.errors import said
from rbox_formats.ymir import parameter

from rbox_baselines.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config
else:
    Config = Any  # mmengine is imported where a config is read


@dataclass(frozen=True)
class TrainParameters:
    """A training's parameters; those that the template does not show are honoured where they are added."""

    export_format: str = parameter(
        "ark:raw", "The format of the annotations: ark, det-ark, voc, det-voc or coco, :raw."
    )
    model_name: str = parameter(
        "rtmdet_tiny",
        "The model: a config of MMRotate's zoo, or the first words of its name if they are those of one alone.",
    )
    samples_per_gpu: int = parameter(8, "Images in a training step.", ge=1)
    workers_per_gpu: int = parameter(4, "Processes that load images.", ge=0)
    max_epochs: int = parameter(100, "Passes over all images. The config's schedule is stretched to it.", ge=1)
    args_options: str = parameter(
        "", "Options of the training: --amp, --auto-scale-lr, --resume, --backbone FILE (none: random weights)."
    )
    cfg_options: str = parameter("", "Values of the config: NAME=VALUE, with spaces between.")
    img_size: int = parameter(512, "The longer side that images are resized to, in pixels.", ge=32)
    val_interval: int = parameter(1, "Epochs between two scores, each with a stage.")
    max_keep_checkpoints: int = parameter(
        1,
        "How many of the best and how many of the latest stages are kept; -1: all. The platform takes at most 11.",
        ge=-1,
    )
    angle_unit: Literal["radians", "pi"] = parameter("radians", "The unit of the annotations' angles: radians or pi.")
    shm_size: str = parameter("128G", "Shared memory of the container, which the platform sets up.")
    seed: int = parameter(0, "The random seed.", shown=False, ge=0)
    train_batch_size_per_gpu: int | None = parameter(None, "As samples_per_gpu.", shown=False, ge=1)
    learning_rate: float | None = parameter(None, "The optimiser's learning rate.", shown=False, ge=0)
    find_unused_parameters: bool = parameter(False, "Whether parts of the model may be unused.", shown=False)
    log_level: str = parameter("", "mmengine's level of messages, such as debug.", shown=False)
    ymir_saved_file_patterns: str = parameter(
        "", "Regular expressions, with commas between, of more files to keep with a stage.", shown=False
    )


class Arguments(NamedTuple):
    """What `args_options` asks for."""

    amp: bool = False
    auto_scale_lr: bool = False
    resume: bool = False
    backbone: str | None = None


def arguments_of(text: str) -> Arguments:
    """Return what `args_options` asks for.

    Raises:
        ConfigError: If it asks for anything else.
    """
    words = _words(text, "args_options")
    found: dict[str, Any] = {}
    place = 0
    while place < len(words):
        name, equals, value = words[place].partition("=")
        field = name.removeprefix("--").replace("-", "_")
        if not name.startswith("--") or field not in Arguments._fields:
            known = ", ".join(f"--{each.replace('_', '-')}" for each in Arguments._fields)
            raise ConfigError(f"expected args_options among {known}, got {words[place]!r}")
        if field == "backbone":
            place += not equals
            if not equals:
                value = words[place] if place < len(words) else ""
            if not value:
                raise ConfigError("expected a file, or none, after --backbone in args_options, got nothing")
        found[field] = value if field == "backbone" else True
        place += 1
    return Arguments(**found)


def options_of(config: Config, parameters: TrainParameters) -> dict[str, Any]:
    """Return the settings to put over a config's own, by dotted names.

    Args:
        config: The model's config, made ready for the data.
        parameters: What the platform asks for; `cfg_options` wins over all else.

    Raises:
        ConfigError: If `cfg_options` is not of names and values, or the config trains by steps and not by epochs.
    """
    before = config.train_cfg.get("max_epochs")
    if before is None:
        raise ConfigError("expected a model that is trained by epochs, got one by steps", path=config.filename)
    epochs = parameters.max_epochs
    interval = min(parameters.val_interval, epochs) if parameters.val_interval > 0 else 1
    size = parameters.train_batch_size_per_gpu or parameters.samples_per_gpu
    keep = parameters.max_keep_checkpoints
    found: dict[str, Any] = {
        "train_cfg.max_epochs": epochs,
        "train_cfg.val_interval": interval,
        "train_cfg.val_begin": 1,
        "train_dataloader.batch_size": size,
        "param_scheduler": stretched(config.get("param_scheduler") or [], epochs / before),
        # The stages keep the best: the run itself needs the latest alone.
        "default_hooks.checkpoint.interval": interval,
        "default_hooks.checkpoint.by_epoch": True,
        "default_hooks.checkpoint.save_best": None,
        "default_hooks.checkpoint.max_keep_ckpts": 1 if keep < 1 else keep,
        "find_unused_parameters": parameters.find_unused_parameters,
    }
    for kind in ("train", "val"):
        if config.get(f"{kind}_dataloader"):
            found[f"{kind}_dataloader.num_workers"] = parameters.workers_per_gpu
            found[f"{kind}_dataloader.persistent_workers"] = parameters.workers_per_gpu > 0
    if config.train_cfg.get("dynamic_intervals"):
        found["train_cfg.dynamic_intervals"] = None
    hooks = config.get("custom_hooks") or []
    if any("switch_epoch" in hook for hook in hooks):
        found["custom_hooks"] = [_with_scaled(hook, ("switch_epoch",), epochs / before) for hook in hooks]
    if "batch_size_per_gpu" in config.optim_wrapper.get("optimizer", {}):
        found["optim_wrapper.optimizer.batch_size_per_gpu"] = size
    if parameters.learning_rate is not None:
        found["optim_wrapper.optimizer.lr"] = parameters.learning_rate
    if parameters.log_level:
        found["log_level"] = parameters.log_level.upper()
    try:
        own = parse_options(tuple(_words(parameters.cfg_options, "cfg_options")))
    except ConfigError:
        raise
    except Exception as error:  # of click, whose errors are of commands
        raise ConfigError(f"expected cfg_options as NAME=VALUE, with spaces between: {said(error)}") from error
    return {**{name: value for name, value in found.items() if not _replaced(name, own)}, **own}


def stretched(schedulers: Any, factor: float) -> list[dict[str, Any]]:
    """Return schedulers of learning rates for another number of epochs; what counts steps, such as a warm-up, stays.

    Args:
        schedulers: The config's, one or many.
        factor: The new number of epochs, over the config's own.
    """
    many = [schedulers] if isinstance(schedulers, Mapping) else schedulers
    names = ("begin", "end", "T_max", "milestones")
    return [_with_scaled(each, names, factor) if each.get("by_epoch", True) else dict(each) for each in many]


def _with_scaled(settings: Mapping[str, Any], names: tuple[str, ...], factor: float) -> dict[str, Any]:
    found = dict(settings)
    for name in names:
        value = found.get(name)
        if isinstance(value, list | tuple):
            found[name] = sorted({max(1, round(each * factor)) for each in value})
        elif isinstance(value, int | float) and value > 0:
            found[name] = max(1, round(value * factor))
    if "begin" in found and "end" in found and found["end"] <= found["begin"]:
        found["begin"] = found["end"] - 1
    return found


def _replaced(name: str, own: Mapping[str, Any]) -> bool:
    """Return whether a user sets a value, a part of it, or what it is a part of."""
    return any(each == name or each.startswith(f"{name}.") or name.startswith(f"{each}.") for each in own)


def _words(text: str, name: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"expected words in {name}, with every quote closed, got {text!r}") from error
