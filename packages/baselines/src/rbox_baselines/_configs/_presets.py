"""The baselines of LMMRotate's paper (Li et al., 2025), as a table: a model of MMRotate's zoo, a dataset, a schedule.

The settings are those of LMMRotate's own configs (VisionXLab/mllm-mmrotate, `playground/mmrotate_configs`, at 7d6a1b8).
Only the images that are scored differ: LMMRotate scores DOTA's trainval and FAIR1M's train on the training images.
Oriented R-CNN on RSMamba has the same datasets and schedules.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Preset:
    """A model and the settings that it is trained with.

    Attributes:
        model: The model's name in MMRotate's zoo, or among those on RSMamba.
        format: The dataset's format, of rbox_formats; its class names are the model's.
        train_split: What it learns from.
        val_split: What it is scored on after each epoch. None: nothing.
        image_size: The length to which the longer side of images is resized, in pixels.
        pad: Whether images are padded to a square of that side.
        epochs: 12 is what is called 1x.
        milestones: The epochs after which the learning rate falls to a tenth.
        left_out: Classes of the dataset that are not learnt.
    """

    model: str
    format: str
    train_split: str
    val_split: str | None
    image_size: int = 1024
    pad: bool = False
    epochs: int = 12
    milestones: tuple[int, ...] = (8, 11)
    left_out: tuple[str, ...] = ()


_MODELS = {
    "rotated-retinanet": "rotated-retinanet-rbox-le90_r50_fpn_1x_dota",
    "rotated-fcos": "rotated-fcos-le90_r50_fpn_1x_dota",
    "oriented-rcnn-rsmamba": "oriented-rcnn-rsmamba-base",
}

_DATASETS = {
    "dota-train": Preset("", "dota", "train", "val"),
    "dota-trainval": Preset("", "dota", "trainval", None),
    "dior-r-1024": Preset("", "dior-r", "trainval", "test"),
    "dior-r-800": Preset("", "dior-r", "trainval", "test", image_size=800),
    "fair1m": Preset("", "fair1m", "train", None, left_out=("other-airplane", "other-ship", "other-vehicle")),
    "rsar-1024": Preset("", "rsar", "trainval", "test", pad=True),
    "rsar-800": Preset("", "rsar", "trainval", "test", image_size=800, pad=True),
    "srsdd": Preset("", "srsdd", "train", "test", epochs=72, milestones=(48, 66)),
}

PRESETS: dict[str, Preset] = {
    f"{name}-{dataset}": replace(preset, model=model)
    for name, model in _MODELS.items()
    for dataset, preset in _DATASETS.items()
}
