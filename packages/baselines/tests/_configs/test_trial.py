"""The trial itself: what does not work is told as such."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from mmengine.config import Config
from rbox_baselines._configs._trial import STEPS, batch, drawn_scene, outcomes, reason_of, trial
from rbox_baselines._configs._zoo import load_zoo
from rbox_baselines._stack import _mends


@pytest.fixture
def config(mmrotate: ModuleType) -> Iterator[Config]:
    """A small Rotated FCOS."""
    config = load_zoo("rotated-fcos-hbox-le90_r50_fpn_1x_dota")
    config.model.backbone.depth = 18
    config.model.neck.update(in_channels=[64, 128, 256, 512], out_channels=64)
    config.model.bbox_head.update(in_channels=64, feat_channels=64, stacked_convs=1)
    with warnings.catch_warnings():
        _mends.silence()
        yield config


def test_the_same_seed_gives_the_same(config: Config) -> None:
    first, second, other = (trial(config, size=64, seed=seed) for seed in (1, 1, 2))
    assert first.reason is None
    assert first.losses == second.losses != other.losses
    assert first.boxes == second.boxes > 0
    assert first.parameters > 1e6


def test_each_step_is_told_once_it_is_passed(config: Config) -> None:
    found = list(outcomes(config, size=64))
    assert [outcome.passed for outcome in found] == [STEPS[: count + 1] for count in range(len(STEPS))]
    assert found[0].parameters > 1e6
    assert not found[0].losses


def test_steps_of_a_pipeline_may_be_classes(config: Config) -> None:
    """As in configs that import what they name."""
    from mmrotate.datasets.transforms import ConvertBoxType
    from mmrotate.structures import RotatedBoxes

    image, corners = drawn_scene(64, 0)
    for step in config.train_dataloader.dataset.pipeline:
        if step["type"] == "ConvertBoxType":
            step["type"] = ConvertBoxType
    [sample] = batch(config, image, corners)["data_samples"]
    assert isinstance(sample.gt_instances.bboxes, RotatedBoxes)
    assert len(sample.gt_instances.bboxes) == len(corners) > 0


def test_a_model_that_cannot_be_built_is_told_with_its_reason(config: Config) -> None:
    config.model.bbox_head.loss_cls.type = "Nothing"
    outcome = trial(config, size=64)
    assert outcome.passed == ()
    assert outcome.reason is not None
    assert "Nothing" in outcome.reason
    assert outcome.parameters == 0


def _imported() -> None:
    try:
        import no_such_module  # noqa: F401
    except ImportError as error:
        raise ImportError("Failed to import\ncustom modules") from error


def _asserted() -> None:
    raise AssertionError


@pytest.mark.parametrize(
    "function, reason",
    [
        (_imported, "ModuleNotFoundError: No module named 'no_such_module'"),
        (_asserted, r"AssertionError: line \d+ of test_trial.py, raise AssertionError"),
        (lambda: Path(b"x"), "TypeError: .*"),
    ],
)
def test_a_reason_is_one_line_and_says_something(function: Callable[[], object], reason: str) -> None:
    with pytest.raises(Exception) as error:  # noqa: PT011
        function()
    assert re.fullmatch(reason, reason_of(error.value))


@pytest.mark.parametrize(
    "method, spoil, passed",
    [
        ("loss", lambda losses: {**losses, "loss_cls": losses["loss_cls"] * torch.nan}, ("build",)),
        ("loss", lambda losses: {name: _steep(value) for name, value in losses.items()}, ("build", "loss")),
        ("loss", lambda losses: {name: value.detach() for name, value in losses.items()}, ("build", "loss")),
        ("predict", lambda samples: [_without_boxes(each) for each in samples], ("build", "loss", "gradients")),
    ],
)
def test_what_is_not_finite_or_not_there_is_told(
    config: Config, monkeypatch: pytest.MonkeyPatch, method: str, spoil: Any, passed: tuple[str, ...]
) -> None:
    from mmdet.models.detectors import FCOS

    whole = getattr(FCOS, method)
    monkeypatch.setattr(FCOS, method, lambda *args, **named: spoil(whole(*args, **named)))
    outcome = trial(config, size=64)
    assert outcome.passed == passed
    assert outcome.reason is not None


def _steep(value: torch.Tensor) -> torch.Tensor:
    """The same value; its slope is infinite."""
    return value + (value - value.detach()).abs().sqrt()


def _without_boxes(sample: Any) -> Any:
    sample.pred_instances = sample.pred_instances[:0]
    return sample
