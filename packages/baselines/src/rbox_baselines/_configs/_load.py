"""A config by its name, made ready: which data it learns from, for which classes, what the caller overrides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbox_baselines._configs._classes import relabel, set_num_classes
from rbox_baselines._configs._jitter import jitter
from rbox_baselines._configs._metrics import DATASET, replace_evaluators
from rbox_baselines._configs._names import nearest
from rbox_baselines._configs._pipelines import (
    innermost,
    mask_form,
    pipelines,
    read_images,
    read_quads,
    resize,
    without_annotations,
)
from rbox_baselines._configs._presets import PRESETS, MaskTraining, Preset
from rbox_baselines.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config
else:
    Config = Any  # mmengine is imported where a config is read

# What MMRotate's `default_runtime.py` has, for configs that do not say.
_RUNTIME: dict[str, dict[str, Any]] = {
    "default_hooks": {
        "timer": {"type": "IterTimerHook"},
        "logger": {"type": "LoggerHook", "interval": 50},
        "param_scheduler": {"type": "ParamSchedulerHook"},
        "checkpoint": {"type": "CheckpointHook", "interval": 1},
        "sampler_seed": {"type": "DistSamplerSeedHook"},
    },
    "env_cfg": {
        "cudnn_benchmark": False,
        "mp_cfg": {"mp_start_method": "fork", "opencv_num_threads": 0},
        "dist_cfg": {"backend": "nccl"},
    },
    "visualizer": {"type": "RotLocalVisualizer", "vis_backends": [{"type": "LocalVisBackend"}], "name": "visualizer"},
}


@dataclass(frozen=True)
class Data:
    """The dataset of a run.

    Attributes:
        root: The dataset's folder or file.
        format: The name of the dataset's format, in rbox_formats.
        train_split: The split that a model learns from. None: the dataset has no splits.
        val_split: The split that a model is scored on after each epoch. None: no scores.
        left_out: Classes of the annotations whose objects count as background.
    """

    root: str
    format: str = "dota"
    train_split: str | None = "train"
    val_split: str | None = "val"
    left_out: tuple[str, ...] = ()


def load(
    name: str | Path,
    *,
    data: Data | None = None,
    class_names: Sequence[str] | None = None,
    image_size: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Config:
    """Read a config, and make it ready for these data.

    Args:
        name: A preset, a detector on RSMamba or SAM, the name of a config of MMRotate's zoo or of mmdet's instance
            models, or a config file (.py, .json, .yaml).
        data: Replaces the config's own datasets; the pipelines stay. A preset needs it.
        class_names: The classes that the labels are indices of. None: the format's own list; where it has none, the
            classes of the annotations.
        image_size: The longer side to which images are resized, in pixels. None: the config's own.
        options: What is set in the config last, by dotted names such as "train_dataloader.batch_size".

    Returns:
        The config. Its evaluator is `RBoxMetric`, whatever it was; it reports under the names of MMRotate's, too.

    Raises:
        ConfigError: If there is no such config, it cannot be read, or it is a preset without data.
    """
    set_up()
    preset = PRESETS.get(str(name))
    if preset is not None and data is None:
        remedy = f"Name its folder, in the format {preset.format}: --data."
        raise ConfigError(f"expected data for the preset {name}, got none", remedy=remedy)
    config = ready(_read(name))
    if image_size is not None:
        (resize if preset is None or preset.masks is None else jitter)(config, image_size)
    if data is not None:
        if class_names is None and preset is not None and data.format == preset.format:
            class_names = preset.class_names
        _set_data(config, data, _class_names(data, class_names))
    replace_evaluators(config)
    if options:
        override(config, options, name)
    return config


def load_model(name: str | Path) -> Config:
    """Read a config for a model that is not trained. A preset needs no data then, and has its format's classes.

    Raises:
        ConfigError: If there is no such config, or it cannot be read.
    """
    config = ready(_read(name))
    names = preset_classes(name)
    if names is not None:
        set_num_classes(config.model, len(names))
    return config


def preset_classes(name: str | Path) -> tuple[str, ...] | None:
    """Return the classes that a preset learns; None for other configs."""
    from rbox_formats.datasets import FORMATS

    preset = PRESETS.get(str(name))
    if preset is None:
        return None
    names = preset.class_names or FORMATS[preset.format].class_names or ()
    return tuple(each for each in names if each not in preset.left_out)


def ready(config: Config) -> Config:
    """Return a config whose parts mmengine's registries know."""
    set_up()
    config.default_scope = "mmrotate"
    if config.get("train_dataloader"):  # what its learning rate is for, on one device: `--auto-scale-lr`
        base = {"enable": False, "base_batch_size": config.train_dataloader.get("batch_size", 1)}
        config.auto_scale_lr = config.get("auto_scale_lr") or base
    for name, settings in _RUNTIME.items():
        config[name] = {**settings, **(config.get(name) or {})}
    for pipeline in pipelines(config):
        for step in pipeline:
            step.pop("file_client_args", None)  # an old name, and "disk" what it is without; mmengine warns each time
    read_images(config)
    return config


def set_up() -> None:
    """Make mmcv's operators, and the classes of MMRotate and ours, known. Doing it again changes nothing."""
    from mmengine.registry import init_default_scope

    from rbox_baselines._parts import register
    from rbox_baselines._stack._mmcv import enable_mmcv_ops

    enable_mmcv_ops()
    register()
    init_default_scope("mmrotate")


def class_names_of(config: Config) -> tuple[str, ...] | None:
    """Return the classes that a config's own datasets are made with; None where only the opened datasets have them."""
    dataset = innermost((config.get("train_dataloader") or {}).get("dataset", {}))
    classes = dict(dataset.get("metainfo") or {}).get("classes")
    if classes is None:
        from mmrotate.registry import DATASETS

        kind = DATASETS.get(dataset["type"]) if "type" in dataset else None
        classes = getattr(kind, "METAINFO", {}).get("classes")
    return None if classes is None else tuple(classes)


def _read(name: str | Path) -> Config:
    """Read the config that a name stands for: a preset, a config of the zoo, or a file."""
    from mmengine.config import Config

    from rbox_baselines._configs import _encoders, _mmdet, _zoo

    set_up()
    if str(name) in PRESETS:
        preset = PRESETS[str(name)]
        config = _read(preset.model)
        _apply_preset(config, preset)
        return config
    if str(name) in _encoders.NAMES:
        return _encoders.load(str(name))
    path = Path(name)
    if path.suffix in (".py", ".json", ".yaml", ".yml"):
        if not path.is_file():
            raise ConfigError("expected a config file, found none", path=path)
        try:
            found = Config.fromfile(path)
        except Exception as error:  # a config is a program: whatever it raises
            raise ConfigError(
                f"expected a config that mmengine reads, got {type(error).__name__}: {error}", path=path
            ) from error
        return _mmdet.named(found) if found.get("default_scope") == "mmdet" else found
    if str(name) in _mmdet.zoo():
        return _mmdet.load(str(name))
    if str(name) not in _zoo.zoo():
        raise _unknown(str(name), [*PRESETS, *_encoders.NAMES, *_zoo.zoo(), *_mmdet.zoo()])
    return _zoo.load_zoo(str(name))


def _unknown(name: str, known: Sequence[str]) -> ConfigError:
    return ConfigError(
        f"expected a preset, a config of MMRotate's or mmdet's zoo, or a config file, got {name!r}",
        remedy=f"{nearest(name, known)} `rbox-baselines train --list` names all of them.".strip(),
    )


def _apply_preset(config: Config, preset: Preset) -> None:
    """Set a config's image size, padding and schedule."""
    if preset.masks is not None:
        _apply_mask_training(config, preset.masks, preset.image_size)
        return
    resize(config, preset.image_size, pad=preset.pad)
    config.train_cfg.max_epochs = preset.epochs
    for scheduler in config.param_scheduler:
        if scheduler.type == "MultiStepLR":
            scheduler.end = preset.epochs
            scheduler.milestones = list(preset.milestones)


def _apply_mask_training(config: Config, training: MaskTraining, image_size: int) -> None:
    """Set the augmentation and the schedule of RSPrompter's and RS4D's configs."""
    jitter(config, image_size)
    config.train_dataloader.batch_size = training.batch_size
    config.train_cfg.max_epochs = training.epochs
    wrapper = config.optim_wrapper
    wrapper.optimizer.lr = training.lr
    if training.half:
        wrapper.type, wrapper.loss_scale = "AmpOptimWrapper", "dynamic"
    config.auto_scale_lr = {"enable": False, "base_batch_size": training.batch_size}
    if training.queries is not None:
        config.model.panoptic_head.num_queries = config.model.test_cfg.max_per_image = training.queries
    if training.clip is not None:
        wrapper.clip_grad = {"max_norm": training.clip, "norm_type": 2}
    config.param_scheduler = [
        {"type": "LinearLR", "start_factor": 0.001, "by_epoch": False, "begin": 0, "end": 50},
        {
            "type": "CosineAnnealingLR",
            "by_epoch": True,
            "begin": 0,
            "end": training.epochs,
            "T_max": training.epochs,
            "eta_min": training.lr * 0.001,
        },
    ]


def _class_names(data: Data, class_names: Sequence[str] | None) -> tuple[str, ...]:
    from rbox_formats import ClassNames, datasets

    split = data.train_split if data.train_split is not None else data.val_split
    left_out = ClassNames(data.left_out)
    found = datasets.read(data.format, data.root, split, class_names).class_names
    missing = [name for name in left_out if found.find(name) is None]
    if missing and class_names is None:
        raise ConfigError(f"expected a class to leave out among {', '.join(found)}, got {missing[0]!r}")
    return tuple(name for name in found if left_out.find(name) is None)


def _set_data(config: Config, data: Data, class_names: tuple[str, ...]) -> None:
    """Replace the config's own dataset, and fit the model's heads and the pipelines to its classes.

    Raises:
        ConfigError: If the config learns from semantic maps, which no dataset has here.
    """
    before = class_names_of(config)
    masks = mask_form(config)
    if masks is None:
        read_quads(config)
    splits = {"train": data.train_split, "val": data.val_split, "test": data.val_split}
    for kind, split in splits.items():
        loader = config.get(f"{kind}_dataloader")
        if loader is None:
            continue
        pipeline = innermost(loader.dataset).pipeline
        ours = {
            "type": DATASET,
            "format": data.format,
            "root": str(data.root),
            "split": split,
            "metainfo": {"classes": class_names},
            "left_out": data.left_out,
            "masks": masks,
            "filter_cfg": {"filter_empty_gt": kind == "train"},
            "test_mode": kind != "train",
            # The metric has the masks of the dataset: as pixels of whole images they would take far more memory.
            "pipeline": pipeline if masks is None or kind == "train" else without_annotations(pipeline),
        }
        loader.dataset = _in_place_of(loader.dataset, ours)
    if data.val_split is None:
        config.update({f"val_{each}": None for each in ("dataloader", "cfg", "evaluator")})
    set_num_classes(config.model, len(class_names))
    for part in (config.model, *pipelines(config)):
        relabel(part, before, class_names)


def _in_place_of(dataset: Any, ours: dict[str, Any]) -> Any:
    """Return our dataset inside the wrappers that another is in, such as one that repeats it; alone for several."""
    return {**dataset, "dataset": _in_place_of(dataset["dataset"], ours)} if "dataset" in dataset else ours


def override(config: Config, options: Mapping[str, Any], name: str | Path) -> None:
    """Set values in a config by dotted names.

    Raises:
        ConfigError: If they do not fit the config, which has that name.
    """
    try:
        config.merge_from_dict(dict(options))
    except Exception as error:
        raise ConfigError(
            f"expected options that fit {name}, got {dict(options)} ({type(error).__name__}: {error})",
            remedy="An option is a dotted name in the config, such as train_dataloader.batch_size=4.",
        ) from error
