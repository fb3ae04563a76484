"""The settings of a training run: one dataclass, which the YAML file and the command line's options follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lmm_detector.errors import ConfigError

# Ours, by transformers' names; its "constant" disregards the warm-up.
SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}
PRECISIONS = ("float32", "bfloat16", "float16")

_FROM_ONE = ("of 1 or more", lambda value: value >= 1)
_FROM_ZERO = ("of 0 or more", lambda value: value >= 0)
_ABOVE_ZERO = ("above 0", lambda value: value > 0)
_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "window": _FROM_ONE,
    "gap": _FROM_ZERO,
    "epochs": _ABOVE_ZERO,
    "steps": _FROM_ONE,
    "batch_size": _FROM_ONE,
    "gradient_accumulation": _FROM_ONE,
    "learning_rate": _ABOVE_ZERO,
    "warmup": ("of 0 or more, and below 1", lambda value: 0 <= value < 1),
    "weight_decay": _FROM_ZERO,
    "save_every": _FROM_ONE,
    "log_every": _FROM_ONE,
    "workers": _FROM_ZERO,
    "seed": ("from 0 to 4294967295", lambda value: 0 <= value < 2**32),
}


def _setting(default: Any, text: str) -> Any:
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata={"help": text})
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainConfig:
    """How to fine-tune a model. The defaults are LMMRotate's for Florence-2-large on DOTA, but for the number of GPUs.

    Each field's `help` says what it is; `lmm-detector train --help` prints them.
    """

    model: str = _setting("microsoft/Florence-2-large", "A model on the hub, or a local folder.")
    data: str = _setting("", "The dataset's folder.")
    out: str = _setting("", "The folder for the run: checkpoints, texts, the final model. A stopped run goes on there.")
    format: str = _setting("dota", "The dataset's format.")
    split: str | None = _setting(None, "The part of the dataset to train on, where it has parts, such as 'train'.")
    class_names: list[str] | None = _setting(
        None, "The classes, in the order of their labels. Left out: the format's own."
    )
    codec: str = _setting("florence2", "The text format of the boxes.")
    codec_options: dict[str, Any] = _setting({}, "The codec's options, such as version=3.")
    prompt: str | None = _setting(None, "What asks the model for the boxes. Left out: the codec's own sentence.")
    window: int = _setting(1024, "Side of the windows that images are cut into, in pixels.")
    gap: int | None = _setting(None, "How far neighbouring windows overlap, in pixels. Left out: DOTA's 200 at 1024.")
    epochs: float = _setting(100.0, "Passes over the windows; --steps overrides it.")
    steps: int | None = _setting(None, "Optimiser steps. Left out: as many as the epochs need.")
    batch_size: int = _setting(2, "Windows per step on each device.")
    gradient_accumulation: int = _setting(1, "Batches per optimiser step.")
    learning_rate: float = _setting(2e-5, "AdamW's learning rate at its highest.")
    schedule: str = _setting("cosine", f"How the learning rate runs after the warm-up: {', '.join(SCHEDULES)}.")
    warmup: float = _setting(0.03, "The share of the steps in which the learning rate rises.")
    weight_decay: float = _setting(0.0, "AdamW's weight decay.")
    precision: str = _setting("float32", f"{', '.join(PRECISIONS)}; the last two mixed with float32.")
    save_every: int = _setting(500, "Steps between checkpoints.")
    log_every: int = _setting(10, "Steps between logged losses.")
    workers: int = _setting(0, "Processes that load images.")
    seed: int = _setting(0, "Seed of the order of the windows and of dropout.")
    report_to: str = _setting("none", "Where losses go as well: tensorboard, wandb, none, ...")
    cpu: bool = _setting(False, "Train on the CPU also where there is a GPU.")

    def __post_init__(self) -> None:
        # Plain types, however they came: the settings are written to YAML and compared with what was written before.
        for name in ("model", "data", "out"):
            object.__setattr__(self, name, str(getattr(self, name)))
            if not getattr(self, name):
                raise ConfigError(f"expected a value for {name!r}, got none", remedy=f"Give --{name}.")
        if self.class_names is not None:
            object.__setattr__(self, "class_names", [str(name) for name in self.class_names])
        for name, (expected, holds) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not holds(value):
                raise ConfigError(f"expected {name} {expected}, got {value}")
        for name, choices in (("schedule", tuple(SCHEDULES)), ("precision", PRECISIONS)):
            if getattr(self, name) not in choices:
                raise ConfigError(f"expected a {name} among {', '.join(choices)}, got {getattr(self, name)!r}")


def load(path: str | Path | None, overrides: dict[str, Any]) -> TrainConfig:
    """A configuration out of a YAML file, with values that go before the file's.

    Args:
        path: The file, or None for the defaults.
        overrides: Values by field name.

    Raises:
        ConfigError: If the file is missing or not YAML, has an unknown key, or a value is of the wrong type or range.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        overrides = {name: list(v) if isinstance(v, tuple) else v for name, v in overrides.items()}
        given = OmegaConf.create() if path is None else OmegaConf.load(path)
        values = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(TrainConfig), given, overrides))
    except FileNotFoundError as error:
        raise ConfigError("expected a configuration file, found none", path=path) from error
    except (OmegaConfBaseException, YAMLError, TypeError, UnicodeDecodeError) as error:  # TypeError: a list
        key = getattr(error, "full_key", None)
        message = f"expected settings of `lmm-detector train`, got: {str(error).splitlines()[0]}"
        remedy = "`lmm-detector train --help` lists them."
        raise ConfigError(message + (f" ({key})" if key else ""), path=path, remedy=remedy) from error
    return TrainConfig(**values)  # type: ignore[arg-type]  # OmegaConf has checked them against the dataclass


def to_yaml(config: TrainConfig) -> str:
    """The configuration as YAML that `load` takes back."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(asdict(config)))
