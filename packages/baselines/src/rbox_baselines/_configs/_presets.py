"""The baselines of LMMRotate's paper (Li et al., 2025), as a table: a model of MMRotate's zoo, a dataset, a schedule.

The settings are those of LMMRotate's own configs (VisionXLab/mllm-mmrotate, `playground/mmrotate_configs`, at 7d6a1b8).
Only the images that are scored differ: LMMRotate scores DOTA's trainval and FAIR1M's train on the training images.
Oriented R-CNN on RSMamba has the same datasets and schedules.

Those of masks have the schedules of RSPrompter's and RS4D's own configs (KyanChen/RSPrompter at f4e73c3,
QinzheYang/RS4D at 461aee4), and, with the ending -short, fewer epochs. Two things differ. WHU is scored on val: the
originals choose their checkpoint by the test split. RSPrompter's query variant asks for DeepSpeed: here it has
PyTorch's half precision.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple


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
        class_names: The classes, where the format has no list of its own.
        masks: The settings of a model of masks. None: it has none.
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
    class_names: tuple[str, ...] | None = None
    masks: MaskTraining | None = None


class MaskTraining(NamedTuple):
    """How a model of masks is trained: by AdamW, with a rate that falls as a cosine, on images of random sizes.

    Attributes:
        epochs: How many.
        batch_size: Images of a step on each device.
        lr: The rate after 50 steps.
        half: Whether it computes in half precision, on a GPU.
        clip: The largest norm of the gradients. None: the model's own.
        queries: How many objects the query variant looks for. None: those of its config.
    """

    epochs: int
    batch_size: int
    lr: float = 1e-4
    half: bool = False
    clip: float | None = None
    queries: int | None = None


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

#: NWPU VHR-10 and SSDD as RSPrompter's annotation files have them, and WHU's buildings from its rasters.
_MASK_DATASETS = {
    "whu": Preset("", "whu", "train", "val"),
    "nwpu": Preset(
        "",
        "coco",
        "train",
        "val",
        class_names=(
            "airplane",
            "ship",
            "storage_tank",
            "baseball_diamond",
            "tennis_court",
            "basketball_court",
            "ground_track_field",
            "harbor",
            "bridge",
            "vehicle",
        ),
    ),
    "ssdd": Preset("", "coco", "train", "val", class_names=("ship",)),
}

_QUERY = {
    "whu": MaskTraining(300, 1, half=True, clip=0.1, queries=100),
    "nwpu": MaskTraining(600, 1, half=True, clip=0.1, queries=70),
    "ssdd": MaskTraining(600, 1, half=True, clip=0.1, queries=30),
}

#: By head and kind of encoder, whatever its size. RS4D has no query variant that runs: RSPrompter's schedule is taken.
_MASK_TRAININGS = {
    "mask-rcnn-rsmamba": {
        "whu": MaskTraining(800, 8, 9.2224e-5),
        "nwpu": MaskTraining(1600, 4),
        "ssdd": MaskTraining(800, 4),
    },
    "sam-seg": {
        "whu": MaskTraining(150, 4, 2e-4, half=True),
        "nwpu": MaskTraining(250, 2, 2e-4, half=True),
        "ssdd": MaskTraining(250, 2, 2e-4, half=True),
    },
    "rsprompter-anchor-rsmamba": {
        "whu": MaskTraining(800, 4),
        "nwpu": MaskTraining(800, 1),
        "ssdd": MaskTraining(800, 4),
    },
    "rsprompter-anchor-sam": {
        "whu": MaskTraining(300, 2, 2e-4, half=True),
        "nwpu": MaskTraining(500, 1, 2e-4, half=True),
        "ssdd": MaskTraining(600, 2, 2e-4, half=True),
    },
    "rsprompter-query-rsmamba": _QUERY,
    "rsprompter-query-sam": _QUERY,
}

_SIZES = {
    "rsmamba": ("small", "base", "large", "huge", "uhuge2"),
    "sam": ("base", "large", "huge", "base-lora", "large-lora", "huge-lora", "base-lora-512"),
}

#: The epochs of -short: 26,000 to 57,000 images, at most a fifth of what the originals see.
_SHORT = {"whu": 12, "nwpu": 50, "ssdd": 36}


def _mask_presets() -> dict[str, Preset]:
    found = {}
    for model, trainings in _MASK_TRAININGS.items():
        for size in _SIZES["rsmamba" if model.endswith("rsmamba") else "sam"]:
            for dataset, training in trainings.items():
                side = 512 if size.endswith("-512") else 1024
                preset = replace(_MASK_DATASETS[dataset], model=f"{model}-{size}", image_size=side)
                short = training._replace(epochs=_SHORT[dataset])
                for ending, each in {"": training, "-short": short}.items():
                    name = f"{model}-{size}-{dataset}{ending}"
                    found[name] = replace(preset, masks=each, epochs=each.epochs, milestones=())
    return found


PRESETS: dict[str, Preset] = {
    f"{name}-{dataset}": replace(preset, model=model)
    for name, model in _MODELS.items()
    for dataset, preset in _DATASETS.items()
} | _mask_presets()
