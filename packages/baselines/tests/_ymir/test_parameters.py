"""Models by short names, schedules for other numbers of epochs, and what the two lines of options may say."""

from __future__ import annotations

from typing import Any

import pytest
from rbox_baselines import Data, load_config
from rbox_baselines._configs._zoo import zoo
from rbox_baselines._ymir._names import config_named
from rbox_baselines._ymir._parameters import Arguments, TrainParameters, arguments_of, options_of, stretched
from rbox_baselines.errors import ConfigError
from rbox_formats import synthetic


@pytest.mark.parametrize(
    "name, expected",
    [
        ("rtmdet_tiny", "rotated_rtmdet_tiny-3x-dota"),
        ("RTMDet-s", "rotated_rtmdet_s-3x-dota"),
        ("rotated_rtmdet_tiny-9x-hrsc", "rotated_rtmdet_tiny-9x-hrsc"),
        ("redet_le90_re50_refpn_1x", "redet-le90_re50_refpn_1x_dota"),
        ("faster_rcnn", "rotated-faster-rcnn-le90_r50_fpn_1x_dota"),
    ],
)
def test_short_names(name: str, expected: str) -> None:
    assert config_named(name) == expected


def test_every_model_has_its_whole_name() -> None:
    assert all(config_named(name) == name for name in zoo())


@pytest.mark.parametrize(
    "name, message",
    [
        ("yolov8_n", "expected a model of MMRotate's zoo, got 'yolov8_n'"),
        ("retinanet", r"which begins the names of rotated-retinanet-.*, and \d+ more"),
        ("rtmdet_tinny", "Near to it (is|are) 'rtmdet_tiny'"),
        ("", "expected a model"),
        ("../x", "expected a model"),
    ],
)
def test_other_names(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_named(name)


def test_schedules_follow_the_epochs() -> None:
    # Of RTMDet: a warm-up by steps, and half of 36 epochs flat.
    before = [
        {"type": "LinearLR", "by_epoch": False, "begin": 0, "end": 1000},
        {"type": "CosineAnnealingLR", "begin": 18, "end": 36, "T_max": 18, "by_epoch": True},
        {"type": "MultiStepLR", "begin": 0, "end": 12, "milestones": [8, 11]},
    ]
    found = stretched(before, 100 / 36)
    assert found[0] == before[0]
    assert (found[1]["begin"], found[1]["end"], found[1]["T_max"]) == (50, 100, 50)
    found = stretched(before[2:], 2 / 12)
    assert (found[0]["begin"], found[0]["end"], found[0]["milestones"]) == (0, 2, [1, 2])
    found = stretched(before[1:2], 1 / 36)
    assert (found[0]["begin"], found[0]["end"]) == (0, 1)


def options(name: str, scenes: Any, **values: Any) -> dict[str, Any]:
    config = load_config(name, data=Data(str(scenes)), class_names=synthetic.CLASS_NAMES)
    return options_of(config, TrainParameters(**values))


def test_parameters_become_settings(mmrotate: Any, scenes: Any) -> None:
    found = options(
        "rotated_rtmdet_tiny-3x-dota", scenes, samples_per_gpu=4, max_epochs=10, val_interval=20, learning_rate=0.5
    )
    assert found["train_dataloader.batch_size"] == 4
    assert found["train_cfg.max_epochs"] == found["train_cfg.val_interval"] == 10
    assert found["optim_wrapper.optimizer.lr"] == 0.5
    ends = {each["end"] for each in found["param_scheduler"] if each.get("by_epoch", True)}
    assert ends == {10}
    assert options("rotated_rtmdet_tiny-3x-dota", scenes, val_interval=0)["train_cfg.val_interval"] == 1
    both = options("rotated_rtmdet_tiny-3x-dota", scenes, samples_per_gpu=4, train_batch_size_per_gpu=2)
    assert both["train_dataloader.batch_size"] == 2


def test_the_users_own_settings_come_last(mmrotate: Any, scenes: Any) -> None:
    text = "train_cfg.max_epochs=3 param_scheduler.0.end=5 model.test_cfg.score_thr=0.1 'a.b=[1, 2]'"
    found = options("rotated_rtmdet_tiny-3x-dota", scenes, cfg_options=text)
    assert found["train_cfg.max_epochs"] == 3
    assert found["param_scheduler.0.end"] == 5
    assert "param_scheduler" not in found
    assert found["a.b"] == [1, 2]
    for wrong in ("train_cfg.max_epochs", "a='b"):
        with pytest.raises(ConfigError, match="cfg_options"):
            options("rotated_rtmdet_tiny-3x-dota", scenes, cfg_options=wrong)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", Arguments()),
        ("--amp --auto-scale-lr --resume", Arguments(amp=True, auto_scale_lr=True, resume=True)),
        ("--backbone none", Arguments(backbone="none")),
        ("--backbone='a b.pth'", Arguments(backbone="a b.pth")),
    ],
)
def test_arguments(text: str, expected: Arguments) -> None:
    assert arguments_of(text) == expected


@pytest.mark.parametrize("text", ["--fast", "amp", "--backbone", "--backbone=", "'", "--amp x", "-- amp"])
def test_other_arguments(text: str) -> None:
    with pytest.raises(ConfigError, match="args_options"):
        arguments_of(text)
