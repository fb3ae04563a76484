"""mmdet's instance models on the datasets of rbox_formats: masks from files to predictions and scores."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rbox_baselines import Data, load_config
from rbox_baselines._configs import _mmdet
from rbox_baselines._configs._trial import STEPS, trial
from rbox_baselines._stack import _mends
from rbox_baselines.cli.main import main
from rbox_baselines.errors import ConfigError
from rbox_formats import synthetic

SMALLEST = "rtmdet-ins_tiny_8xb32-300e_coco"
NAMES = synthetic.CLASS_NAMES
MASKED = replace(synthetic.TINY, size=64, masks=True)


@pytest.fixture(autouse=True)
def _without_noise(mmrotate: ModuleType) -> Iterator[None]:
    with warnings.catch_warnings():
        _mends.silence()
        yield


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes of 64 px in COCO's format, with the masks of what was painted."""
    root = tmp_path_factory.mktemp("masked")
    synthetic.write_scenes(root, "train", range(4), MASKED, format="coco")
    synthetic.write_scenes(root, "val", range(4, 7), MASKED, format="coco")
    return root


def test_its_models_of_masks_are_known_by_name() -> None:
    zoo = _mmdet.zoo()
    assert len(zoo) == len(set(zoo.values())) > 80
    assert {"mask-rcnn_r50_fpn_1x_coco", "yolact_r50_1xb8-55e_coco", SMALLEST} <= set(zoo)
    assert not [name for name in zoo if "panoptic" in name or name.startswith(("cascade-rcnn", "rtmdet_", "htc_"))]


def test_a_file_of_mmdets_is_read_as_its_name_is(masked: Path) -> None:
    spec = find_spec("mmdet")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / ".mim" / "configs" / "rtmdet" / f"{SMALLEST}.py"
    of_file, of_name = (load_config(each, data=Data(str(masked), "coco")) for each in (path, SMALLEST))
    assert of_file.to_dict() == of_name.to_dict()


# One that takes pixels, one outlines; each kind of the page, with four classes of its own.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(SMALLEST, id="rtmdet-ins"),
        *(
            pytest.param(name, id=name.partition("_")[0], marks=[pytest.mark.slow, *more])
            for name, more in {
                "condinst_r50_fpn_ms-poly-90k_coco_instance": (),
                **dict.fromkeys(
                    (
                        "mask-rcnn_r50_fpn_1x_coco",
                        "cascade-mask-rcnn_r50_fpn_1x_coco",
                        "htc-without-semantic_r50_fpn_1x_coco",
                        "ms-rcnn_r50_fpn_1x_coco",
                        "point-rend_r50-caffe_fpn_ms-1x_coco",
                        "decoupled-solo-light_r50_fpn_3x_coco",
                        "solov2-light_r18_fpn_ms-3x_coco",
                        "queryinst_r50_fpn_1x_coco",
                        "mask2former_r50_8xb2-lsj-50e_coco",
                        "yolact_r50_1xb8-55e_coco",
                    ),
                    (pytest.mark.variant,),
                ),
            }.items()
        ),
    ],
)
def test_it_learns_masks_of_other_classes(name: str, masked: Path) -> None:
    from rbox_baselines._parts._dataset import opened  # not before the stack is mended

    config = load_config(name, data=Data(str(masked), "coco"), class_names=NAMES)
    sample = opened(config.train_dataloader.dataset)[0]["data_samples"]
    assert len(sample.gt_instances.masks) == len(sample.gt_instances.labels) > 0
    assert set(sample.gt_instances.labels.tolist()) <= set(range(4))
    outcome = trial(config, size=128)
    assert outcome.reason is None
    assert outcome.passed == STEPS


def test_the_weights_of_classes_fit_others(masked: Path) -> None:
    """Mask2Former weighs the losses of 80 classes, and that of none."""
    config = load_config("mask2former_r50_8xb2-lsj-50e_coco", data=Data(str(masked), "coco"), class_names=NAMES)
    assert config.model.panoptic_head.loss_cls.class_weight == [1.0] * 4 + [0.1]
    assert config.model.panoptic_head.num_things_classes == config.model.panoptic_fusion_head.num_things_classes == 4


def test_semantic_maps_are_refused(masked: Path) -> None:
    spec = find_spec("mmdet")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / ".mim" / "configs" / "htc" / "htc_r50_fpn_1x_coco.py"
    with pytest.raises(ConfigError, match="got one that learns from semantic maps too"):
        load_config(path, data=Data(str(masked), "coco"))


def test_the_metric_is_mask_ap_under_both_names(masked: Path) -> None:
    config = load_config(SMALLEST, data=Data(str(masked), "coco"))
    evaluator = config.val_evaluator
    assert (evaluator.type, evaluator.geometry, evaluator.protocol) == ("RBoxMetric", "mask", "coco")
    assert [each["names"]["segm_mAP"] for each in evaluator.also] == ["map"]
    kinds = [step["type"] for step in config.val_dataloader.dataset.pipeline]
    assert not [kind for kind in kinds if "Annotations" in kind]
    assert load_config(SMALLEST).val_evaluator.type == "mmdet.CocoMetric"  # with its own data, its own metric


def test_browse_draws_masks(masked: Path, tmp_path: Path) -> None:
    words = ["browse", SMALLEST, "--data", masked, "--format", "coco", "--split", "val", "--out", tmp_path]
    words += ["--cfg-options", "train_dataloader.dataset.pipeline=" + json.dumps(PLAIN), "--limit", 2]
    result = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    [record] = [each for each in synthetic_records() if each.image_id == "scene_0004"]
    drawn = np.asarray(Image.open(tmp_path / "scene_0004.png").convert("RGB"))
    pixels, _ = synthetic.scene(4, MASKED)
    changed = (drawn[:64, :64].astype(int) != pixels).any(axis=2)
    assert record.masks is not None
    for mask in record.masks:
        assert changed[mask.to_array(64, 64)].mean() > 0.9  # tinted


PLAIN = [
    {"type": "LoadRBoxImage"},
    {"type": "mmdet.LoadAnnotations", "with_bbox": True, "with_mask": True},
    {"type": "mmdet.PackDetInputs", "meta_keys": ["img_id", "img_path"]},
]


def synthetic_records() -> list[Any]:
    return [synthetic.scene(seed, MASKED)[1] for seed in range(4, 7)]


def test_a_train_list_names_them() -> None:
    assert f"  {SMALLEST}\n" in CliRunner().invoke(main, ["train", "--list"]).output
