"""Configs made ready for other data: against MMRotate's own configs and datasets."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rbox_baselines import Data, load_config
from rbox_baselines._configs import _encoders
from rbox_baselines._configs._load import load_model
from rbox_baselines._configs._metrics import reported
from rbox_baselines._configs._presets import PRESETS
from rbox_baselines.cli._common import training_data
from rbox_baselines.errors import ConfigError
from rbox_formats import Dataset, datasets, synthetic
from rbox_testing.samples import sampled

NAMES = synthetic.CLASS_NAMES
RETINANET, FCOS = "rotated-retinanet-rbox-le90_r50_fpn_1x_dota", "rotated-fcos-le90_r50_fpn_1x_dota"


@pytest.fixture(autouse=True)
def _mmrotate(mmrotate: object) -> None:
    pass


# LMMRotate's configs (VisionXLab/mllm-mmrotate, playground/mmrotate_configs, 7d6a1b8): format, training split, classes,
# resized to, padded, epochs, milestones.
LMMROTATE = {
    "dota-train": ("dota", "train", 15, 1024, False, 12, [8, 11]),
    "dota-trainval": ("dota", "trainval", 15, 1024, False, 12, [8, 11]),
    "dior-r-1024": ("dior-r", "trainval", 20, 1024, False, 12, [8, 11]),
    "dior-r-800": ("dior-r", "trainval", 20, 800, False, 12, [8, 11]),
    "fair1m": ("fair1m", "train", 34, 1024, False, 12, [8, 11]),
    "rsar-1024": ("rsar", "trainval", 6, 1024, True, 12, [8, 11]),
    "rsar-800": ("rsar", "trainval", 6, 800, True, 12, [8, 11]),
    "srsdd": ("srsdd", "train", 6, 1024, False, 72, [48, 66]),
}


def test_there_are_all_of_lmmrotates_baselines() -> None:
    models = ("rotated-retinanet", "rotated-fcos", "oriented-rcnn-rsmamba")
    of_boxes = {name for name, preset in PRESETS.items() if preset.masks is None}
    assert of_boxes == {f"{model}-{data}" for model in models for data in LMMROTATE}


# RSPrompter's configs (KyanChen/RSPrompter, configs/rsprompter, f4e73c3) and RS4D's (QinzheYang/RS4D, configs/rs4d,
# 461aee4): epochs, images of a step, rate, half precision.
MASKS = {
    "sam-seg-base-whu": (150, 4, 2e-4, True),
    "sam-seg-base-nwpu": (250, 2, 2e-4, True),
    "sam-seg-base-ssdd": (250, 2, 2e-4, True),
    "rsprompter-anchor-sam-base-whu": (300, 2, 2e-4, True),
    "rsprompter-anchor-sam-base-nwpu": (500, 1, 2e-4, True),
    "rsprompter-anchor-sam-base-ssdd": (600, 2, 2e-4, True),
    "rsprompter-query-sam-base-whu": (300, 1, 1e-4, True),
    "rsprompter-query-sam-base-nwpu": (600, 1, 1e-4, True),
    "rsprompter-query-sam-base-ssdd": (600, 1, 1e-4, True),
    "mask-rcnn-rsmamba-base-whu": (800, 8, 9.2224e-5, False),
    "mask-rcnn-rsmamba-base-nwpu": (1600, 4, 1e-4, False),
    "mask-rcnn-rsmamba-base-ssdd": (800, 4, 1e-4, False),
    "rsprompter-anchor-rsmamba-base-whu": (800, 4, 1e-4, False),
    "rsprompter-anchor-rsmamba-base-nwpu": (800, 1, 1e-4, False),
    "rsprompter-anchor-rsmamba-base-ssdd": (800, 4, 1e-4, False),
}
QUERIES = {"whu": 100, "nwpu": 70, "ssdd": 30}
CLASSES = {"whu": 1, "nwpu": 10, "ssdd": 1}


@pytest.mark.parametrize("name", sampled(MASKS, ["rsprompter-query-sam-base-nwpu", "mask-rcnn-rsmamba-base-whu"]))
@pytest.mark.parametrize("ending", ["", "-short"])
def test_a_preset_of_masks_has_the_originals_schedule_or_a_shorter_one(name: str, ending: str) -> None:
    epochs, batch, rate, half = MASKS[name]
    config, data = load_model(name + ending), name.rpartition("-")[2]
    assert (config.train_cfg.max_epochs == epochs) == (not ending)
    assert config.train_cfg.max_epochs <= epochs
    assert config.train_dataloader.batch_size == config.auto_scale_lr.base_batch_size == batch
    wrapper, schedule = config.optim_wrapper, config.param_scheduler
    assert (wrapper.optimizer.type, wrapper.optimizer.lr, wrapper.optimizer.weight_decay) == ("AdamW", rate, 0.05)
    assert wrapper.type == ("AmpOptimWrapper" if half else "OptimWrapper")
    assert (schedule[0].type, schedule[0].end, schedule[1].type) == ("LinearLR", 50, "CosineAnnealingLR")
    assert schedule[1].T_max == config.train_cfg.max_epochs
    steps = {step["type"].removeprefix("mmdet."): step for step in config.train_dataloader.dataset.pipeline}
    assert (steps["RandomResize"]["scale"], steps["RandomResize"]["ratio_range"]) == ((1024, 1024), (0.1, 2.0))
    assert steps["RandomCrop"]["crop_size"] == config.model.data_preprocessor.batch_augments[0]["size"] == (1024, 1024)
    if "query" in name:
        head = config.model.panoptic_head
        assert wrapper.clip_grad.max_norm == 0.1
        assert (head.num_queries, config.model.test_cfg.max_per_image) == (QUERIES[data], QUERIES[data])
        assert (head.num_things_classes, len(head.loss_cls.class_weight)) == (CLASSES[data], CLASSES[data] + 1)
    else:
        assert config.model.roi_head.bbox_head.num_classes == CLASSES[data]


def test_presets_of_masks_are_of_every_size() -> None:
    """Of SAM's three, frozen and with LoRA, of RSPrompter's for small images, and of RSMamba's five."""
    found = [name for name, preset in PRESETS.items() if preset.masks is not None]
    assert len(found) == 3 * 2 * (3 * 7 + 3 * 5)
    assert {"rsprompter-anchor-sam-huge-lora-whu-short", "mask-rcnn-rsmamba-uhuge2-nwpu"} <= set(found)
    assert {PRESETS[name].model for name in found} <= set(_encoders.NAMES)


def test_presets_of_small_images() -> None:
    config = load_model("rsprompter-anchor-sam-base-lora-512-nwpu")
    assert config.model.backbone.img_size == config.model.data_preprocessor.batch_augments[0]["size"][0] == 512
    assert config.model.neck.feature_aggregator.type == "PseudoFeatureAggregator"


def test_images_of_another_size_are_jittered_to_it() -> None:
    from rbox_baselines._configs._jitter import jitter

    config = load_model("sam-seg-base-ssdd")
    jitter(config, 512)
    pipeline = config.train_dataloader.dataset.pipeline
    assert [step.get("scale") or step.get("crop_size") for step in pipeline if "Random" in step["type"]][1:] == [
        (512, 512), (512, 512)
    ]  # fmt: skip
    assert len(pipeline) == 7
    [resized] = [step for step in config.test_dataloader.dataset.pipeline if step["type"].endswith("Resize")]
    assert resized["scale"] == (512, 512)


@pytest.mark.parametrize("model, zoo_name", [("rotated-retinanet", RETINANET), ("rotated-fcos", FCOS)])
@pytest.mark.parametrize("data", sampled(LMMROTATE, ["dota-train", "dior-r-800"]))
def test_a_preset_is_lmmrotates_config(
    model: str, zoo_name: str, data: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    format, split, count, size, padded, epochs, milestones = LMMROTATE[data]
    names = datasets.FORMATS[format].class_names
    assert names is not None
    monkeypatch.setattr(datasets, "read", lambda *_: Dataset(names, [], lambda _: None))  # type: ignore[arg-type]
    config = load_config(f"{model}-{data}", data=training_data(f"{model}-{data}", tmp_path, None, None, None))

    own = load_config(zoo_name).model
    assert own.bbox_head.pop("num_classes") == 15
    assert config.model.bbox_head.pop("num_classes") == count
    assert config.model.to_dict() == own.to_dict()
    dataset = config.train_dataloader.dataset
    assert (dataset.format, dataset.split, len(dataset.metainfo["classes"])) == (format, split, count)
    kinds = {step["type"].removeprefix("mmdet."): step for step in dataset.pipeline}
    assert kinds["Resize"]["scale"] == (size, size)
    assert kinds["Resize"]["keep_ratio"]
    assert ("Pad" in kinds) == padded
    assert (kinds["RandomFlip"]["prob"], len(kinds["RandomFlip"]["direction"])) == (0.75, 3)
    assert config.train_cfg.max_epochs == epochs
    assert config.param_scheduler[1].milestones == milestones
    assert (config.train_dataloader.batch_size, config.optim_wrapper.optimizer.lr) == (2, 0.0025)


def test_without_validation_there_is_none(scenes: Path) -> None:
    config = load_config(RETINANET, data=Data(str(scenes), val_split=None), class_names=NAMES)
    assert config.val_dataloader is config.val_cfg is config.val_evaluator is None


def test_every_class_head_gets_the_number_of_classes(scenes: Path) -> None:
    config = load_config("roi-trans-le90_r50_fpn_1x_dota", data=Data(str(scenes)), class_names=NAMES)
    assert [head.num_classes for head in config.model.roi_head.bbox_head] == [4, 4]
    assert "num_classes" not in config.model.rpn_head


# Of DOTA's files, of COCO's, and two of DIOR's in one.
@pytest.mark.parametrize(
    "name",
    [RETINANET, "oriented-rcnn-le90_r50_fpn_6x_ssdd", "rotated-retinanet-rbox-le90_r50_fpn_1x_dior"],
)
def test_any_pipeline_reads_the_data(name: str, scenes: Path) -> None:
    from mmdet.registry import DATASETS

    config = load_config(name, data=Data(str(scenes)), class_names=NAMES, image_size=64)
    item = DATASETS.build(config.train_dataloader.dataset)[0]
    assert item["inputs"].shape == (3, 64, 64)
    assert item["data_samples"].gt_instances.bboxes.tensor.shape[1] == 5


def test_h2rbox_gets_a_window_that_its_images_fill_and_labels_of_its_classes(scenes: Path) -> None:
    """Of DOTA's classes 9 (storage-tank) and 11 (roundabout) it knows the first here, as its last."""
    config = load_config("h2rbox-le90_r50_fpn_adamw-1x_dota", data=Data(str(scenes)), class_names=NAMES, image_size=256)
    assert config.model.crop_size == config.model.bbox_head.crop_size == (256, 256)
    assert config.model.bbox_head.square_classes == [NAMES.index("storage-tank")]
    assert [step["type"] for step in config.train_dataloader.dataset.pipeline].count("mmdet.Pad") == 1


def test_images_that_are_resized_in_other_ways_are_refused(scenes: Path) -> None:
    with pytest.raises(ConfigError, match="RandomResize"):
        load_config("rotated_rtmdet_tiny-300e-aug-hrsc", data=Data(str(scenes)), class_names=NAMES, image_size=128)


@pytest.mark.parametrize("suffix", sampled(["jpg", "png", "tif", "webp"], ["jpg"]))
def test_pixels_are_turned_as_their_file_notes(suffix: str, scenes: Path, tmp_path: Path) -> None:
    """mmcv's own loader leaves such a TIFF as it is stored, and OpenCV 5 cannot read it."""
    from mmdet.registry import DATASETS
    from PIL import Image, ImageOps

    root = tmp_path / "data"
    shutil.copytree(scenes, root)
    path = sorted((root / "train" / "images").iterdir())[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    pixels[:10, :20], pixels[10:, 20:] = (250, 10, 10), (10, 10, 250)
    noted: dict[str, Any] = {"tiffinfo": {0x0112: 6}} if suffix == "tif" else {"exif": exif, "lossless": True}
    path.unlink()
    Image.fromarray(pixels).save(path.with_suffix(f".{suffix}"), quality=100, **noted)
    with Image.open(path.with_suffix(f".{suffix}")) as image:
        shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
    config = load_config(RETINANET, data=Data(str(root)), class_names=NAMES, image_size=64)
    dataset = DATASETS.build(config.val_dataloader.dataset | {"split": "train"})
    (number,) = [i for i in range(len(dataset)) if dataset.get_data_info(i)["img_id"] == path.stem]
    loaded = dataset.pipeline.transforms[0](dataset.get_data_info(number))
    assert loaded["ori_shape"] == loaded["img_shape"] == (40, 20)
    assert np.abs(loaded["img"][..., ::-1].astype(int) - shown).max() <= (0 if suffix != "jpg" else 4)
    assert dataset[number]["data_samples"].ori_shape == (40, 20)


def test_a_loader_of_other_pixels_stays() -> None:
    from mmengine.config import Config
    from rbox_baselines._configs._pipelines import read_images

    grey = {"type": "mmdet.LoadImageFromFile", "color_type": "grayscale"}
    plain = {"type": "LoadImageFromFile", "backend_args": None, "to_float32": True}
    stored = {"type": "mmdet.LoadImageFromFile", "color_type": "color_ignore_orientation", "imdecode_backend": "cv2"}
    remote = {"type": "LoadImageFromFile", "backend_args": {"backend": "petrel"}}
    config = Config({"train_dataloader": {"dataset": {"pipeline": [grey, plain, stored, remote]}}})
    read_images(config)
    ours = [{"type": "LoadRBoxImage", "to_float32": each} for each in (True, False)]
    assert config.train_dataloader.dataset.pipeline == [grey, *ours, remote]


def test_a_config_that_says_little_gets_what_mmrotates_have(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("default_hooks = dict(logger=dict(type='LoggerHook', interval=7))")
    hooks = load_config(path).default_hooks
    assert (hooks.logger.interval, hooks.checkpoint.type) == (7, "CheckpointHook")


def test_all_scores_come_from_rbox_metrics() -> None:
    """Which says them under MMRotate's names, too."""
    config = load_config(RETINANET)
    assert config.val_evaluator.to_dict() == config.test_evaluator.to_dict()
    assert config.val_evaluator.type == "RBoxMetric"
    assert reported([config.val_evaluator]) == [
        *("rbox/map", "rbox/map_50", "rbox/map_nc", "rbox/f1_micro", "dota/mAP", "dota/AP50"),
    ]


def test_options_come_last(scenes: Path) -> None:
    config = load_config(
        RETINANET, data=Data(str(scenes)), class_names=NAMES, options={"model.bbox_head.num_classes": 9}
    )
    assert config.model.bbox_head.num_classes == 9


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("rotated-retinanet-dota-trainvl", {}, "got 'rotated-retinanet-dota-trainvl'\nNear to it .*trainval"),
        ("no/such.py", {}, "no/such.py: expected a config file, found none"),
        ("rotated-fcos-srsdd", {}, "expected data for the preset rotated-fcos-srsdd, got none\n.*srsdd: --data"),
        (RETINANET, {"model.bbox_head.num_classes.deeper": 1}, "expected options that fit"),
    ],
)
def test_bad_input_is_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        load_config(name, options=options)


def test_a_config_file_that_fails_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("model = dict(type=unknown)")
    with pytest.raises(ConfigError, match=r"mine\.py: expected a config that mmengine reads, got NameError"):
        load_config(path)


def test_a_config_file_stands_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("model = dict(type='mmdet.RetinaNet', bbox_head=dict(num_classes=3))")
    assert load_config(path).model.to_dict() == {"type": "mmdet.RetinaNet", "bbox_head": {"num_classes": 3}}
