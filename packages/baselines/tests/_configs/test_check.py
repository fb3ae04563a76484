"""Classes that a config names and that are not there."""

from __future__ import annotations

from types import ModuleType

import pytest
from mmengine.config import Config
from rbox_baselines._configs._check import check_types
from rbox_baselines._configs._zoo import load_zoo, zoo
from rbox_baselines.errors import ConfigError

RETINANET = "rotated-retinanet-rbox-le90_r50_fpn_1x_dota"

#: One of each registry and place that a config of the zoo has.
READ = (
    RETINANET,
    "s2anet-le135_r50_fpn_3x_hrsc",
    "rotated_rtmdet_l-100e-aug-dota",
    "h2rbox-le90_r50_fpn_adamw-1x_dior",
    "redet-le90_re50_refpn_1x_dota",
    "oriented-rcnn-le90_swin-tiny_fpn_1x_dota",
    "rotated-retinanet-rbox-le90_convnext-tiny_fpn_kld-stable_adamw-1x_dota",
)

WRONG = {
    "model.type": ("RotatedRetinaNet", "MODELS", "'mmdet.RetinaNet'"),
    "model.bbox_head.type": ("RotatedRetinaHaed", "MODELS", "'RotatedRetinaHead'"),
    "model.backbone.type": ("ResNet", "MODELS", "'mmdet.ResNet'"),  # MMRotate's names of mmdet's have it in front
    "model.backbone.init_cfg.type": ("Pretraind", "WEIGHT_INITIALIZERS", "'Pretrained'"),
    "model.data_preprocessor.type": ("mmdet.DetDataPreprocesor", "MODELS", "'mmdet.DetDataPreprocessor'"),
    "model.train_cfg.assigner.type": ("mmdet.MaxIOUAssigner", "TASK_UTILS", "'mmdet.MaxIoUAssigner'"),
    "model.test_cfg.nms.type": ("nms_rotate", "mmcv.ops", "'nms_rotated'"),
    "train_dataloader.dataset.type": ("DOTADatset", "DATASETS", "'DOTADataset'"),
    "train_dataloader.sampler.type": ("DefaultSample", "DATA_SAMPLERS", "'DefaultSampler'"),
    "train_dataloader.dataset.pipeline.0.type": ("mmdet.LoadImageFromFil", "TRANSFORMS", "'LoadImageFromFile'"),
    "test_evaluator.type": ("DotaMetric", "METRICS", "'DOTAMetric'"),
    "optim_wrapper.type": ("OptimWraper", "OPTIM_WRAPPERS", "'OptimWrapper'"),
    "optim_wrapper.optimizer.type": ("SDG", "OPTIMIZERS", "'SGD'"),
    "param_scheduler.1.type": ("MultistepLR", "PARAM_SCHEDULERS", "'MultiStepLR'"),
    "default_hooks.checkpoint.type": ("CheckpointHok", "HOOKS", "'CheckpointHook'"),
    "visualizer.vis_backends.0.type": ("LocalVisBackends", "VISBACKENDS", "'LocalVisBackend'"),
}


@pytest.mark.parametrize("name", READ)
def test_configs_of_the_zoo_name_nothing_that_is_not_there(name: str, mmrotate: ModuleType) -> None:
    check_types(load_zoo(name))


def test_the_config_of_an_older_mmrotate_is_told_by_its_class(mmrotate: ModuleType) -> None:
    stale = Config.fromfile(zoo()["s2anet-le135_r50_fpn_3x_hrsc"])
    with pytest.raises(ConfigError, match=r"s2anet-le135.*model\.type to be in the registry MODELS.*got 'S2ANet'"):
        check_types(stale)


@pytest.mark.parametrize("place", WRONG)
def test_a_class_that_is_not_there_is_told_with_its_place_and_what_is_near(place: str, mmrotate: ModuleType) -> None:
    name, registry, near = WRONG[place]
    config = load_zoo(RETINANET)
    config.merge_from_dict({place: name})
    with pytest.raises(ConfigError) as error:
        check_types(config)
    first, _, remedy = str(error.value).partition("\n")
    shown = place.replace(".0.", "[0].").replace(".1.", "[1].")
    assert f"expected {shown} to be in" in first
    assert registry in first
    assert first.endswith(f"got {name!r}")
    assert near in remedy


@pytest.mark.parametrize(
    "kind, remedy", {"mmcls.ConvNeXt": "pip install mmpretrain", "mmpose.HRNet": "pip install mmpose"}.items()
)
def test_a_class_of_a_package_that_is_not_installed_is_told_with_it(
    kind: str, remedy: str, mmrotate: ModuleType
) -> None:
    config = load_zoo(RETINANET)
    config.model.backbone.type = kind
    with pytest.raises(ConfigError, match=remedy):
        check_types(config)


def test_classes_given_as_such_are_taken_as_they_are(mmrotate: ModuleType) -> None:
    import torch

    config = load_zoo(RETINANET)
    config.optim_wrapper.optimizer.type = torch.optim.SGD
    check_types(config)
