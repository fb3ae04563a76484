"""The settings of a training run: one dataclass, which the YAML file and the command line's options follow."""

from __future__ import annotations

import inspect
import os
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_type_hints

from rbox_formats.errors import listed, quoted, said

from lmm_detector._sources import Source, sources
from lmm_detector._training import _presets as presets
from lmm_detector._training._sharding import cuts_weights
from lmm_detector.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from lmm_detector._families import Adapters, Part
    from lmm_detector._training._augmentation import Augmentation
else:
    Adapters, Part, Augmentation = Any, str, Any  # torch loads with them, and `--help` answers at once

# Settings that take a list: a single value needs no brackets.
_LISTS = ("data_path", "format", "split", "image_folder", "class_names", "lora_targets")

_MOST_WORKERS = 8  # which feed any one GPU

# Settings that name places of the machine.
PLACES = (
    "model_name_or_path",
    "data_path",
    "image_folder",
    "eval_data_path",
    "eval_image_folder",
    "deepspeed",
    "fsdp",
    "out",
    "resume_from",
)

# Settings of evaluation during training: they need a split to evaluate on.
_OF_EVALUATION = (
    "eval_data_path",
    "eval_format",
    "eval_image_folder",
    "eval_every",
    "eval_images",
    "eval_max_new_tokens",
    "patience",
)

# Settings of adapters: they need a rank.
_OF_ADAPTERS = ("lora_alpha", "lora_dropout", "lora_targets", "lora_vision", "quantization")


def _setting(default: Any, text: str, **bounds: float) -> Any:
    """Return a field with its help text, and the bounds of its values as pydantic calls them: ge, gt, le, lt."""
    metadata = {"help": text, "bounds": bounds}
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class TrainConfig:
    """Hold a run's settings. The defaults are LMMRotate's for Florence-2-large on DOTA, except the number of GPUs."""

    model_name_or_path: str = _setting(
        "microsoft/Florence-2-large", "The model to start from: its name on the hub, or a local folder."
    )
    model_revision: str | None = _setting(
        None, "Branch, tag or commit of a model on the hub. Default: its main branch."
    )
    data_path: list[str] = _setting([], "A dataset's folder or file. Give several to mix them as dataset_mode says.")
    out: str = _setting(
        "", "The folder for the run: checkpoints, texts, the final model. If a stopped run is there, it is resumed."
    )
    resume_from: str | None = _setting(
        None,
        "Resume a run from another place: its folder, or its name on the hub if it was pushed with a checkpoint. "
        "It is copied into --out if no run has begun there.",
    )
    format: list[str] = _setting(["dota"], "The dataset's format: one for all datasets, or one for each.")
    split: list[str] | None = _setting(
        None, "The part of a dataset to train on, if it has parts, such as 'train': one for all, or one for each."
    )
    image_folder: list[str] | None = _setting(
        None, "The folder with a dataset's images: one for all, or one for each. Default: where the format has them."
    )
    dataset_mode: Literal["single", "concat", "balanced", "balanced concat"] = _setting(
        "concat",
        "How to mix datasets. concat: all windows of each; balanced: equal shares of each; balanced concat: as "
        "LMMRotate draws them; single: one dataset.",
    )
    class_names: list[str] | None = _setting(
        None, "The classes, in the order of their labels. Default: those of the formats."
    )
    response_format: str = _setting("florence2", "The text format of the boxes.")
    codec_options: dict[str, Any] = _setting({}, "The codec's options, such as version=3.")
    prompt: str | None = _setting(
        None,
        "The prompt that asks the model for the boxes; {classes} stands for their names. Default: the codec's own "
        "sentence.",
    )
    object_order: Literal["category", "position", "random"] = _setting(
        "category", "The order of the objects in a text; random means another order in each epoch."
    )
    augmentation: dict[str, float | list[float]] = _setting(
        {}, "Random changes of images and boxes, such as horizontal_flip=0.5: fields of Augmentation."
    )
    token_initialisation: Literal["digits", "mean"] = _setting(
        "digits",
        "How the embeddings of newly added coordinate tokens are initialised: from the digits of their text, or "
        "all at the mean.",
    )
    vision_warm_up: int = _setting(
        0,
        "Number of steps before training in which the vision tower alone learns, with a dense head that is then "
        "removed; for models that see an image as one grid. Helps a tower that has never seen such images. 0: none.",
        ge=0,
    )
    soft_targets: float = _setting(
        0.0,
        "Spreads the target of each coordinate over its neighbours, as a normal distribution with this standard "
        "deviation, in values of a coordinate; for codecs with a token for each value. 0: no spread.",
        ge=0,
    )
    image_square_length: int | None = _setting(
        None, "Side of the square that images are resized to, in pixels. Default: the model's (Florence-2: 768).", ge=1
    )
    language_model_max_length: int | None = _setting(
        None, "The most tokens of the language model. Default: the model's own limit.", ge=1
    )
    language_model_lora: int | None = _setting(
        None, "Train the language model by adapters (LoRA) of this rank. Default: train all of its weights.", ge=1
    )
    lora_alpha: int | None = _setting(
        None,
        "The adapters' output is scaled by this number over their rank. Default: twice the rank, as in LMMRotate.",
        ge=1,
    )
    lora_dropout: float = _setting(0.05, "Dropout of the adapters' inputs during training.", ge=0, lt=1)
    lora_targets: list[str] | None = _setting(
        None, "The linear layers that get adapters, by the ends of their names, such as q_proj. Default: all."
    )
    lora_vision: bool = _setting(False, "Train the image encoder by adapters of the same rank too.")
    frozen_precision: Literal["float32", "bfloat16", "float16"] | None = _setting(
        None,
        "The precision of weights that are not trained. Computed values stay the same if the model was published "
        "in it. Default: bfloat16 with adapters, otherwise float32.",
    )
    quantization: Literal["nf4"] | None = _setting(
        None, "Keep the language model under the adapters in 4 bits per weight (QLoRA). Needs a GPU and bitsandbytes."
    )
    attn_implementation: str | None = _setting(
        None,
        "The attention, such as sdpa or flash_attention_2, or one for each part: vision=sdpa,language=eager. "
        "Default: the fastest one available.",
    )
    freeze_vision: bool = _setting(False, "Do not train the image encoder.")
    freeze_language: bool = _setting(False, "Do not train the language model.")
    freeze_multimodal_projection: bool = _setting(
        False, "Do not train the projector between image encoder and language model."
    )
    gradient_checkpointing: bool = _setting(
        False, "Compute activations again instead of keeping them: slower, with less memory."
    )
    window: int = _setting(1024, "Side of the windows that images are cut into, in pixels.", ge=1)
    gap: int | None = _setting(
        None, "Overlap of neighbouring windows in pixels. Default: 200 for windows of 1024, others in proportion.", ge=0
    )
    epochs: float = _setting(100.0, "Passes over all windows; --steps overrides it.", gt=0)
    steps: int | None = _setting(None, "Optimiser steps. Default: as many as the epochs need.", ge=1)
    batch_size: int = _setting(32, "Windows per optimiser step, over all devices together.", ge=1)
    device_batch_size: int = _setting(
        2, "The most windows that a device takes at once; gradients are accumulated until batch_size is reached.", ge=1
    )
    length_grouping: int = _setting(
        1,
        "Sort the windows of this many steps by the length of their texts, so that a device takes windows of "
        "similar length at once. 1 sorts within a step, which only changes the padding.",
        ge=1,
    )
    learning_rate: float = _setting(2e-5, "AdamW's highest learning rate.", gt=0)
    learning_rate_vision: float | None = _setting(
        None, "The learning rate of the image encoder. Default: as --learning-rate.", gt=0
    )
    learning_rate_multimodal_projection: float | None = _setting(
        None,
        "The learning rate of the projector between image encoder and language model. Default: as --learning-rate.",
        gt=0,
    )
    schedule: Literal["constant", "linear", "cosine"] = _setting(
        "cosine", "How the learning rate changes after the warm-up."
    )
    warmup: float = _setting(0.03, "The share of the steps in which the learning rate rises.", ge=0, lt=1)
    weight_decay: float = _setting(0.0, "AdamW's weight decay.", ge=0)
    max_grad_norm: float = _setting(
        1.0, "Clip the gradient of a step to this norm. 0 clips nothing, as in LMMRotate's runs.", ge=0
    )
    optimiser: Literal["adamw", "adamw_8bit"] = _setting(
        "adamw",
        "The optimiser. adamw_8bit keeps AdamW's moments in 8 bits: a quarter of the memory. Needs a GPU and "
        "bitsandbytes.",
    )
    precision: Literal["float32", "bfloat16", "float16"] = _setting(
        "float32", "The precision of computation. bfloat16 and float16 are mixed with float32."
    )
    deepspeed: str | None = _setting(
        None,
        "Divide the model among devices by DeepSpeed: zero2 (gradients, optimiser), zero3 (weights too), or its "
        "JSON file.",
    )
    fsdp: str | None = _setting(
        None, "Divide the model among devices by PyTorch's FSDP: full, or a JSON file of its settings."
    )
    save_every: int = _setting(500, "Steps between checkpoints.", ge=1)
    # At least 2, as the newest may be half written.
    keep_checkpoints: int = _setting(
        2, "Keep this many of the newest checkpoints, at least 2, and the best one if there are evaluations.", ge=2
    )
    eval_split: str | None = _setting(
        None,
        "Score the model during training on this part of a dataset, such as 'val'; the best checkpoint becomes "
        "the detector. Default: no scores, and the last checkpoint becomes the detector.",
    )
    eval_data_path: str | None = _setting(None, "The dataset to score on. Default: the first dataset to train on.")
    eval_format: str | None = _setting(
        None, "The format of the dataset to score on. Default: that of the first dataset to train on."
    )
    eval_image_folder: str | None = _setting(
        None, "The folder with the images to score on. Default: where the format has them."
    )
    eval_every: int | None = _setting(None, "Steps between evaluations. Default: as --save-every.", ge=1)
    eval_images: int | None = _setting(
        None, "Score on this many images, drawn at random with --seed. Default: all.", ge=1
    )
    eval_only_with_images: bool = _setting(
        False, "Leave out images whose file is missing; otherwise the objects on them are missed."
    )
    eval_metric: Literal["map_nc", "map", "f1_micro", "f1_macro", "loss"] = _setting(
        "map_nc",
        "What makes a checkpoint the best: the highest value of this metric, or the lowest loss on held-out "
        "windows. With loss the model generates no boxes, which is fast.",
    )
    eval_batch_size: int = _setting(8, "Windows at a time in an evaluation.", ge=1)
    eval_max_new_tokens: int | None = _setting(
        None, "The most tokens of an answer in an evaluation. Default: 1.5 times the longest text.", ge=1
    )
    patience: int | None = _setting(
        None, "Stop training after this many evaluations without a better one. Default: never.", ge=1
    )
    log_every: int = _setting(10, "Steps between logged losses.", ge=1)
    workers: int | None = _setting(
        None,
        "Processes that load images, for each device. Default: one for each core that the device has, at most 8.",
        ge=0,
    )
    window_cache: float = _setting(
        32.0,
        "Cut the windows of large images once and keep them in the run's folder until its end, in at most this "
        "many GiB and half of the free space. 0 reads each window from its image.",
        ge=0,
    )
    seed: int = _setting(0, "Random seed of the order of the windows and of dropout.", ge=0, lt=2**32)
    report_to: str | None = _setting(
        None,
        "Where to report losses too: tensorboard, wandb, mlflow, none, ... Default: tensorboard, if it is installed.",
    )
    cpu: bool = _setting(False, "Train on the CPU even if there is a GPU.")

    def __post_init__(self) -> None:
        for name, value in _checked(vars(self)).items():
            object.__setattr__(self, name, value)
        for name in ("model_name_or_path", "data_path", "out"):
            if not getattr(self, name):
                option = {"model_name_or_path": "model", "data_path": "data"}.get(name, name)
                raise ConfigError(f"expected a value for {quoted(name)}, got none", remedy=f"Give --{option}.")
        if self.freeze_vision and self.freeze_language and self.freeze_multimodal_projection:
            raise ConfigError("expected a part of the model that is trained, got all of them frozen")
        self._check_adapters()
        self._check_warm_up()
        self._check_resumption()
        if self.gap is not None and self.gap >= self.window:
            raise ConfigError(f"expected a gap smaller than the window of {self.window}, got {self.gap}")
        from rbox_formats import codecs

        codec = codecs.get(self.response_format, **self.codec_options)  # one that there is
        if self.soft_targets and not codec.coordinate_tokens:
            raise ConfigError(
                f"expected no soft_targets with codec {quoted(codec.name)}, whose coordinates are not one token each",
                remedy="Codecs with a token for each value: "
                f"{', '.join(name for name, each in codecs.CODECS.items() if each.coordinate_tokens)}.",
            )
        self._check_evaluation()
        # Each refuses what does not fit: unknown parts, wrong numbers of datasets, unknown kinds of augmentation.
        _ = self.attention, self.sources, self.changes

    @property
    def sources(self) -> list[Source]:
        """The datasets."""
        return sources(self.data_path, self.format, self.split, self.image_folder)

    def _check_resumption(self) -> None:
        if self.resume_from is not None and (self.deepspeed or self.fsdp):
            raise ConfigError(
                "expected no resume_from with DeepSpeed or FSDP, whose checkpoints have files of their own",
                remedy="Copy the run's folder itself, and give it as --out.",
            )

    def _check_warm_up(self) -> None:
        if self.vision_warm_up and self.freeze_vision:
            raise ConfigError("expected vision_warm_up or freeze_vision, got both")
        if self.vision_warm_up and (self.deepspeed or self.fsdp):
            raise ConfigError(
                "expected no vision_warm_up with DeepSpeed or FSDP, which have the model in pieces",
                remedy="Warm up without them, in a run of few --steps, and train its model with them.",
            )

    def _check_adapters(self) -> None:
        if self.language_model_lora is None:
            defaults = {each.name: each.default for each in fields(self)}
            given = [name for name in _OF_ADAPTERS if getattr(self, name) != defaults[name]]
            if given:
                raise ConfigError(f"expected language_model_lora, the rank of adapters, beside {given[0]}, got none")
            return
        if self.freeze_language:
            raise ConfigError("expected language_model_lora or freeze_language, got both")
        if self.lora_vision and self.freeze_vision:
            raise ConfigError("expected lora_vision or freeze_vision, got both")
        if self.quantization is not None and cuts_weights(self.deepspeed, self.fsdp):
            raise ConfigError("expected no quantization where the weights are in pieces, as with ZeRO 3 and FSDP")

    def _check_evaluation(self) -> None:
        given = [name for name in _OF_EVALUATION if getattr(self, name) is not None]
        if self.eval_split is None and given:
            raise ConfigError(
                f"expected an eval_split to evaluate on, got {given[0]} alone",
                remedy="A dataset without parts takes any name, such as --eval-split all.",
            )
        if self.eval_split is not None and cuts_weights(self.deepspeed, self.fsdp):
            raise ConfigError(
                "expected no eval_split where the weights are in pieces, as with ZeRO 3 and FSDP: no device can write "
                "with them",
                remedy="Evaluate the checkpoints: lmm-detector evaluate --intermediate; or take zero2.",
            )

    @property
    def evaluation(self) -> Source | None:
        """What the model is scored on during training."""
        if self.eval_split is None:
            return None
        first = self.sources[0]
        return Source(
            self.eval_data_path or first.path,
            self.eval_format or first.format,
            self.eval_split,
            self.eval_image_folder or (None if self.eval_data_path else first.image_folder),
        )

    @property
    def attention(self) -> str | dict[Part, str] | None:
        """The attention of the model, or of each part."""
        if self.attn_implementation is None or "=" not in self.attn_implementation:
            return self.attn_implementation
        found = dict(pair.partition("=")[::2] for pair in self.attn_implementation.split(","))
        if not set(found) <= {"vision", "language"} or not all(found.values()):
            raise ConfigError(
                "expected attn_implementation as one name, or as vision=NAME,language=NAME, got "
                f"{quoted(self.attn_implementation)}"
            )
        return cast("dict[Part, str]", found)

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
    def adapters(self) -> Adapters | None:
        """The adapters, if there are any."""
        if self.language_model_lora is None:
            return None
        from lmm_detector._families import Adapters

        return Adapters(
            self.language_model_lora,
            self.lora_alpha,
            self.lora_dropout,
            self.lora_targets,
            ("language", "vision") if self.lora_vision else ("language",),
        )

    @property
    def learning_rates(self) -> dict[str, float]:
        """The highest learning rate of each part of the model."""
        return {
            "vision": self.learning_rate_vision or self.learning_rate,
            "language": self.learning_rate,
            "projection": self.learning_rate_multimodal_projection or self.learning_rate,
        }

    @property
    def held_in(self) -> str:
        """The precision of the weights that are not trained."""
        return self.frozen_precision or ("float32" if self.language_model_lora is None else "bfloat16")

    @property
    def loading_processes(self) -> int:
        """How many processes load images for this one."""
        if self.workers is not None:
            return self.workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, min(_MOST_WORKERS, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))

    @property
    def changes(self) -> Augmentation | None:
        """What is done to images, if anything."""
        if not self.augmentation:
            return None
        from lmm_detector._training._augmentation import Augmentation

        try:
            return Augmentation(**cast("dict[str, Any]", self.augmentation))
        except TypeError as error:
            known = ", ".join(field.name for field in fields(Augmentation))
            raise ConfigError(f"expected augmentation among {known}, got {listed(self.augmentation)}") from error


def _documented(cls: type[TrainConfig]) -> str:
    """Return the docstring of a class followed by its fields and their help texts, which the options have too."""
    lines = (f"    {each.name}: {each.metadata['help']}" for each in fields(cls))
    wrapped = (textwrap.fill(line, 120, subsequent_indent=" " * 8, break_on_hyphens=False) for line in lines)
    return "\n".join([inspect.cleandoc(cls.__doc__ or ""), "", "Attributes:", *wrapped])


TrainConfig.__doc__ = _documented(TrainConfig)


def load(path: str | Path | None, overrides: Mapping[str, Any], preset: str | None = None) -> TrainConfig:
    """Load a configuration: a preset, then the values of a YAML file, then the overrides; the later take precedence.

    Args:
        path: The file, or None for none.
        overrides: Values by field name.
        preset: The name of a published run's settings (`lmm_detector._training._presets`), or None for the defaults.

    Raises:
        ConfigError: If there is no such preset, the file is missing or not YAML, has an unknown key, or a value is of
            the wrong type or range.
    """
    layers = [presets.path(preset)] if preset is not None else []
    layers += [] if path is None else [Path(path)]
    merged: dict[str, Any] = {}
    for values in (*(_checked(_read(layer), layer) for layer in layers), _checked(overrides)):
        for name, value in values.items():  # options of codec and augmentation one by one
            merged[name] = {**merged.get(name, {}), **value} if isinstance(value, dict) else value
    return TrainConfig(**merged)


def to_yaml(config: TrainConfig) -> str:
    """Return the configuration as YAML that `load` takes back."""
    import yaml

    return yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the settings in a YAML file, made from the fields of `TrainConfig`.

    It describes each setting by itself: name, type, range, default and help text. Rules between settings, such as `gap`
    below `window`, are checked by `TrainConfig` alone. No setting is required, since the command line or a preset may
    give it.
    """
    made = _model().model_json_schema()
    properties = made["properties"]
    for name in _LISTS:  # a single value needs no brackets
        kinds = properties[name].pop("anyOf", None) or [{key: properties[name].pop(key) for key in ("type", "items")}]
        properties[name]["anyOf"] = [kinds[0]["items"], *kinds]
    for each in properties.values():
        del each["title"]  # the name again, with spaces
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of lmm-detector train",
        "description": "What --config and settings.yaml hold: fields of lmm_detector.TrainConfig.",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _read(path: Path) -> dict[str, Any]:
    """Return the settings in a YAML file, not yet checked."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ConfigError("expected a configuration file, found none", path=path) from error
    except (yaml.YAMLError, ValueError, TypeError, ArithmeticError, RecursionError) as error:  # YAML makes values too
        raise ConfigError(f"expected settings as YAML, got: {said(error)}", path=path) from error
    if not isinstance(values, dict | None):
        raise ConfigError(f"expected settings by their names, got {type(values).__name__}", path=path)
    return values or {}


@cache
def _model() -> type[BaseModel]:
    """Return what checks settings: each field of `TrainConfig` by its type and bounds, where it is given."""
    from pydantic import ConfigDict, Field, create_model

    types = get_type_hints(TrainConfig)
    settings = {
        each.name: (
            types[each.name],
            Field(
                each.default if each.default_factory is MISSING else each.default_factory(),
                description=each.metadata["help"],
                **each.metadata["bounds"],
            ),
        )
        for each in fields(TrainConfig)
    }
    config = ConfigDict(extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)
    return create_model("Settings", __config__=config, **cast("dict[str, Any]", settings))


def _checked(settings: Mapping[str, Any], path: Path | None = None) -> dict[str, Any]:
    """Return settings in the types that `TrainConfig` gives them.

    Args:
        settings: As they came: from YAML, the command line or Python.
        path: The file that they came from.

    Raises:
        ConfigError: If one is unknown, or its value is of the wrong type or range.
    """
    from pydantic import ValidationError
    from pydantic_core import to_jsonable_python

    # Plain values, which YAML holds and gives back as they were: a path is a text, a tuple a list.
    try:
        plain = to_jsonable_python(dict(settings), fallback=str)
    except (UnicodeEncodeError, RecursionError) as error:  # half a surrogate pair; a list that holds itself
        raise ConfigError(f"expected settings as YAML holds them, got {said(error)}", path=path) from error
    plain |= {name: [plain[name]] for name in _LISTS if not isinstance(plain.get(name), list | None)}
    try:
        return _model().model_validate(plain).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors()[0]
        name, expected = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Input should be ")
        message = f"expected {name} to be {expected}, got {quoted(first['input'])}"
        if first["type"] == "extra_forbidden":
            message = f"expected settings of `lmm-detector train`, got {quoted(name)}"
        raise ConfigError(message, path=path, remedy="`lmm-detector train --help` lists them.") from error
