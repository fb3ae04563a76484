"""The configs of MMRotate's zoo; their models tried with random weights: one of each kind, all of them as `slow`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from mmengine.config import Config
from rbox_baselines._configs import _zoo
from rbox_baselines._configs._trial import STEPS, Outcome, trial
from rbox_baselines._stack import _mends
from rbox_baselines.errors import ConfigError
from rbox_testing.samples import sampled


@pytest.fixture(autouse=True)
def _without_noise(mmrotate: ModuleType) -> Iterator[None]:
    """What is left out here is what the commands leave out, and nothing else."""
    with warnings.catch_warnings():
        _mends.silence()
        yield


def test_each_file_of_the_zoo_has_a_name_of_its_own() -> None:
    paths = _zoo.zoo()
    assert len(paths) == 100
    assert all(path.is_file() and path.stem == name for name, path in paths.items())
    assert paths["h2rbox-le90_r50_fpn_adamw-1x_dior"].parent.name == "dior"


def test_all_configs_are_read_and_75_have_different_models() -> None:
    """98 can be read as they are, and their models are 73; those of the other two are like none of them."""
    groups = _zoo.distinct()
    assert sorted(name for names in groups.values() for name in names) == sorted(_zoo.zoo())
    assert len(groups) == 75
    # The weights that it begins with are all that the first has of its own.
    [rtmdet] = [names for names in groups.values() if "rotated_rtmdet_l-coco_pretrain-3x-dota_ms" in names]
    assert "rotated_rtmdet_l-3x-dota_ms" in rtmdet


def test_changes_are_needed_and_name_configs_that_are_there() -> None:
    import fnmatch

    for pattern, change in _zoo.CHANGES.items():
        assert fnmatch.filter(_zoo.zoo(), pattern), pattern
        assert {change.read, change.model_of} - {None} <= set(_zoo.zoo())
    with pytest.raises(FileNotFoundError, match="obb"):
        Config.fromfile(_zoo.zoo()["rotated-retinanet-rbox-le135_r50_fpn_gwd_1x_dota"])
    with pytest.raises(ImportError, match="mmcls"):
        Config.fromfile(_zoo.zoo()["rotated-retinanet-rbox-le90_convnext-tiny_fpn_kld-stable_adamw-1x_dota"])


def test_gwd_for_le135_changes_of_its_base_what_gwd_for_le90_does() -> None:
    """Two configs of the same lines, on two bases; the second can be read as it is."""
    name = "rotated-retinanet-rbox-{}_r50_fpn_{}1x_dota"
    mended = _zoo.load_zoo(name.format("le135", "gwd_")).to_dict()
    plain, le90, le135 = (
        Config.fromfile(_zoo.zoo()[name.format(*each)]).to_dict()
        for each in (("le90", "gwd_"), ("le90", ""), ("le135", ""))
    )
    changed = dict(_differences(mended, le135))
    assert changed == dict(_differences(plain, le90))
    assert changed["model.bbox_head.loss_bbox.loss_type"] == ("gwd", None)


def test_s2anet_for_ships_is_s2anet_for_dota_with_one_class() -> None:
    mended = _zoo.load_zoo("s2anet-le135_r50_fpn_3x_hrsc")
    dota = Config.fromfile(_zoo.zoo()["s2anet-le135_r50_fpn_1x_dota"])
    assert dict(_differences(mended.model.to_dict(), dota.model.to_dict())) == {
        "bbox_head_init.num_classes": (1, 15),
        "bbox_head_refine.0.num_classes": (1, 15),
    }
    assert mended.train_dataloader.dataset.type == "HRSCDataset"
    assert mended.train_cfg.max_epochs == 36
    assert "data" not in mended


def _differences(first: Any, second: Any, place: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Where two configs differ, and how; None where one has nothing."""
    if isinstance(first, dict) and isinstance(second, dict):
        for key in first.keys() | second.keys():
            yield from _differences(first.get(key), second.get(key), f"{place}.{key}".lstrip("."))
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for index, pair in enumerate(zip(first, second, strict=True)):
            yield from _differences(*pair, f"{place}.{index}")
    elif first != second:
        yield place, (first, second)


def test_a_name_that_is_not_there_is_told_with_those_near_to_it() -> None:
    with pytest.raises(ConfigError, match="got 'rotated-fcos-le90_r50_fpn_1x'") as error:
        _zoo.load_zoo("rotated-fcos-le90_r50_fpn_1x")
    assert "'rotated-fcos-le90_r50_fpn_1x_dota'" in str(error.value)


def _resnet18(config: Config) -> None:
    """A smaller backbone, whose stages have a quarter of ResNet-50's channels."""
    config.model.backbone.depth = 18
    config.model.neck.in_channels = [64, 128, 256, 512]


def _as_it_is(config: Config) -> None:
    """Small already."""


FAMILIES: dict[str, Callable[[Config], None]] = {
    "rotated-retinanet-rbox-le90_r50_fpn_1x_dota": _resnet18,  # overlaps of rotated boxes, their suppression
    "rotated-fcos-le90_r50_fpn_kld_1x_dota": _resnet18,  # a loss that is mended
    "oriented-rcnn-le90_r50_fpn_1x_dota": _resnet18,  # rotated regions
    "gliding-vertex-rbox_r50_fpn_1x_dota": _resnet18,  # upright regions
    "s2anet-le135_r50_fpn_1x_dota": _resnet18,  # deformable convolution, filters that turn
    "r3det-oc_r50_fpn_1x_dota": _resnet18,  # features at refined boxes
    "sasm-reppoints-qbox_r50_fpn_1x_dota": _resnet18,  # convex hulls; a loss and an assigner that are mended
    "rotated_rtmdet_tiny-3x-dota": _as_it_is,  # differentiable overlaps
    "h2rbox-le90_r50_fpn_adamw-1x_dota": _resnet18,  # two views of an image
}


# Of two stages; test_whole_models.py has two models of one.
DEFAULT = ["oriented-rcnn-le90_r50_fpn_1x_dota"]


@pytest.mark.parametrize("name", sampled(FAMILIES, DEFAULT))
def test_one_model_of_a_kind_learns_and_predicts(name: str) -> None:
    config = _zoo.load_zoo(name)
    FAMILIES[name](config)
    _check_passed(trial(config, size=128))


@pytest.mark.slow
@pytest.mark.parametrize("name", sampled(_zoo.zoo(), list(_zoo.zoo())[::12]))
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_each_model_learns_and_predicts(name: str, device: str) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    if name not in _zoo.distinct():
        pytest.skip("another config has the same model")
    _check_passed(trial(_zoo.load_zoo(name), device=device))


def _check_passed(outcome: Outcome) -> None:
    assert outcome.reason is None
    assert outcome.passed == STEPS
    # Objects were found to learn from: where none is assigned, the loss of the boxes is 0.
    assert all(value > 0 for name, value in outcome.losses.items() if "bbox" in name or "pts" in name), outcome.losses
