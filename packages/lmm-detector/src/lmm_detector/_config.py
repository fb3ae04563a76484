"""The settings of a training run: one dataclass, which the YAML file and the command line's options follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lmm_detector._augmentation import Augmentation
from lmm_detector._mixing import MODES
from lmm_detector._sources import Source, sources
from lmm_detector.errors import ConfigError

# Ours, by transformers' names; its "constant" disregards the warm-up.
SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}
PRECISIONS = ("float32", "bfloat16", "float16")
INITIALISATIONS = ("digits", "mean")
ORDERS = ("category", "position", "random")

# Settings of which there may be several.
_LISTS = ("data_path", "format", "split", "image_folder", "class_names")

_FROM_ONE = ("of 1 or more", lambda value: value >= 1)
_FROM_ZERO = ("of 0 or more", lambda value: value >= 0)
_ABOVE_ZERO = ("above 0", lambda value: value > 0)
_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "window": _FROM_ONE,
    "gap": _FROM_ZERO,
    "epochs": _ABOVE_ZERO,
    "steps": _FROM_ONE,
    "batch_size": _FROM_ONE,
    "device_batch_size": _FROM_ONE,
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

    model_name_or_path: str = _setting("microsoft/Florence-2-large", "A model on the hub, or a local folder.")
    data_path: list[str] = _setting([], "A dataset's folder or file; several are mixed as dataset_mode says.")
    out: str = _setting("", "The folder for the run: checkpoints, texts, the final model. A stopped run goes on there.")
    format: list[str] = _setting(["dota"], "The dataset's format; one for all datasets, or one for each.")
    split: list[str] | None = _setting(
        None, "The part of a dataset to train on, where it has parts, such as 'train'; one for all, or one for each."
    )
    image_folder: list[str] | None = _setting(
        None, "Where a dataset's images are, if not where its format has them; one for all, or one for each."
    )
    dataset_mode: str = _setting(
        "concat", f"How datasets are mixed: {', '.join(MODES)} (equal shares; the last one as LMMRotate draws)."
    )
    class_names: list[str] | None = _setting(
        None, "The classes, in the order of their labels. Left out: those of the formats."
    )
    response_format: str = _setting("florence2", "The text format of the boxes: a codec.")
    codec_options: dict[str, Any] = _setting({}, "The codec's options, such as version=3.")
    prompt: str | None = _setting(
        None, "What asks the model for the boxes; {classes} stands for their names. Left out: the codec's own sentence."
    )
    object_order: str = _setting(
        "category", f"The order of the objects in a text: {', '.join(ORDERS)} (another in each epoch)."
    )
    augmentation: dict[str, Any] = _setting(
        {}, "What is done to images and boxes by chance, such as horizontal_flip=0.5; fields of Augmentation."
    )
    token_initialisation: str = _setting(
        "digits",
        f"How coordinate tokens that a model lacks begin: {', '.join(INITIALISATIONS)} (near their text, or alike).",
    )
    attn_implementation: str | None = _setting(
        None, "Such as sdpa or flash_attention_2. Left out: what transformers chooses."
    )
    freeze_vision: bool = _setting(False, "Leaves the image encoder as it is.")
    freeze_language: bool = _setting(False, "Leaves the language model as it is.")
    freeze_multimodal_projection: bool = _setting(False, "Leaves what is between them as it is.")
    window: int = _setting(1024, "Side of the windows that images are cut into, in pixels.")
    gap: int | None = _setting(None, "How far neighbouring windows overlap, in pixels. Left out: DOTA's 200 at 1024.")
    epochs: float = _setting(100.0, "Passes over the windows; --steps overrides it.")
    steps: int | None = _setting(None, "Optimiser steps. Left out: as many as the epochs need.")
    batch_size: int = _setting(32, "Windows per optimiser step, over all devices together.")
    device_batch_size: int = _setting(
        2,
        "Windows that a device takes at once, at most; gradients are added up until batch_size is reached.",
    )
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
        for name in _LISTS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(
                    self, name, [str(item) for item in ([value] if isinstance(value, str | Path) else value)]
                )
        for name in ("model_name_or_path", "out"):
            object.__setattr__(self, name, str(getattr(self, name)))
        for name in ("model_name_or_path", "data_path", "out"):
            if not getattr(self, name):
                option = name.replace("_", "-")
                raise ConfigError(f"expected a value for {name!r}, got none", remedy=f"Give --{option}.")
        if self.freeze_vision and self.freeze_language and self.freeze_multimodal_projection:
            raise ConfigError("expected a part of the model that is trained, got all of them frozen")
        self.sources  # noqa: B018  # as many of everything as there are datasets
        self.changes  # noqa: B018  # augmentation that there is
        for name, (expected, holds) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not holds(value):
                raise ConfigError(f"expected {name} {expected}, got {value}")
        for name, choices in (
            ("schedule", tuple(SCHEDULES)),
            ("precision", PRECISIONS),
            ("dataset_mode", tuple(MODES)),
            ("object_order", ORDERS),
            ("token_initialisation", INITIALISATIONS),
        ):
            if getattr(self, name) not in choices:
                raise ConfigError(f"expected a {name} among {', '.join(choices)}, got {getattr(self, name)!r}")

    @property
    def sources(self) -> list[Source]:
        """The datasets."""
        return sources(self.data_path, self.format, self.split, self.image_folder)

    @property
    def frozen(self) -> tuple[str, ...]:
        """The parts of the model that are not trained."""
        settings = {
            "vision": self.freeze_vision,
            "language": self.freeze_language,
            "projection": self.freeze_multimodal_projection,
        }
        return tuple(part for part, is_frozen in settings.items() if is_frozen)

    @property
    def changes(self) -> Augmentation | None:
        """What is done to images, if anything."""
        if not self.augmentation:
            return None
        try:
            return Augmentation(**self.augmentation)
        except TypeError as error:
            known = ", ".join(field.name for field in fields(Augmentation))
            raise ConfigError(f"expected augmentation among {known}, got {', '.join(self.augmentation)}") from error


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
        given: Any = OmegaConf.create() if path is None else OmegaConf.load(path)
        for values in (given, overrides):
            for name in _LISTS:  # one may be written without brackets
                if isinstance(values.get(name), str):
                    values[name] = [values[name]]
        merged = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(TrainConfig), given, overrides))
    except FileNotFoundError as error:
        raise ConfigError("expected a configuration file, found none", path=path) from error
    except (OmegaConfBaseException, YAMLError, TypeError, AttributeError, UnicodeDecodeError) as error:  # a list
        key = getattr(error, "full_key", None)
        message = f"expected settings of `lmm-detector train`, got: {str(error).splitlines()[0]}"
        remedy = "`lmm-detector train --help` lists them."
        raise ConfigError(message + (f" ({key})" if key else ""), path=path, remedy=remedy) from error
    return TrainConfig(**merged)  # type: ignore[arg-type]  # OmegaConf has checked them against the dataclass


def to_yaml(config: TrainConfig) -> str:
    """The configuration as YAML that `load` takes back."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(asdict(config)))
