"""The settings of a training run: one dataclass, which the YAML file and the command line's options follow."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lmm_detector.errors import ConfigError

# Ours, by transformers' names; its "constant" disregards the warm-up.
SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}
PRECISIONS = ("float32", "bfloat16", "float16")


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
    epochs: float = _setting(100.0, "Passes over the windows; --steps goes before it.")
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
    device: str | None = _setting(None, "cpu. Left out: the best device that there is.")

    def __post_init__(self) -> None:
        for name in ("model", "data", "out"):
            if not getattr(self, name):
                raise ConfigError(f"expected a value for {name!r}, got none", remedy=f"Give --{name}.")
        for name in ("window", "batch_size", "gradient_accumulation", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"expected {name} of 1 or more, got {getattr(self, name)}")
        if self.steps is not None and self.steps < 1:
            raise ConfigError(f"expected steps of 1 or more, got {self.steps}")
        for name, choices in (("schedule", tuple(SCHEDULES)), ("precision", PRECISIONS), ("device", (None, "cpu"))):
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"expected a {name} among {', '.join(map(str, choices))}, got {getattr(self, name)!r}"
                )


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
        overrides = {**overrides, **{k: list(v) for k, v in overrides.items() if isinstance(v, tuple)}}
        given = OmegaConf.create() if path is None else OmegaConf.load(path)
        values = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(TrainConfig), given, overrides))
    except FileNotFoundError as error:
        raise ConfigError("expected a configuration file, found none", path=path) from error
    except (OmegaConfBaseException, YAMLError, TypeError) as error:  # TypeError: a list where settings should be
        key = getattr(error, "full_key", None)
        message = f"expected settings of `lmm-detector train`, got: {str(error).splitlines()[0]}"
        remedy = "`lmm-detector train --help` lists them."
        raise ConfigError(message + (f" ({key})" if key else ""), path=path, remedy=remedy) from error
    return TrainConfig(**values)  # type: ignore[arg-type]


def to_yaml(config: TrainConfig) -> str:
    """The configuration as YAML that `load` takes back."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(asdict(config)))
