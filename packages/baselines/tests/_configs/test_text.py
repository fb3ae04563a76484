"""Configs out of checkpoints, read as data: against mmengine's own reader."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from rbox_baselines._configs._text import config_from_text
from rbox_baselines.errors import CheckpointError
from rbox_testing.samples import sampled


@pytest.mark.parametrize(
    "name",
    sampled(
        [
            "rotated-retinanet-rbox-le90_r50_fpn_1x_dota",
            "oriented-rcnn-le90_swin-tiny_fpn_1x_dota",
            "roi-trans-le90_r50_fpn_1x_dota",
            "rotated_rtmdet_l-3x-dota",
        ],
        ["oriented-rcnn-le90_swin-tiny_fpn_1x_dota", "rotated_rtmdet_l-3x-dota"],
    ),
)
def test_it_reads_what_mmengine_writes(name: str, mmrotate: object) -> None:
    from rbox_baselines import load_config

    text = load_config(name).pretty_text
    assert config_from_text(text).to_dict() == Config.fromstring(text, ".py").to_dict()


def test_plain_values() -> None:
    text = "a = dict(b=[1, -2.5, (None,)], c={'d e': True, 1: {2}})\nx = float('inf')\ny = 'a' 'b'"
    assert config_from_text(text).to_dict() == {
        "a": {"b": [1, -2.5, (None,)], "c": {"d e": True, 1: {2}}},
        "x": float("inf"),
        "y": "ab",
    }


@pytest.mark.parametrize(
    "text, told",
    [
        ("import os", "import os"),
        ("a = __import__('os').system('true')", "__import__('os').system('true')"),
        ("a = dict(b=open('x'))", "open('x')"),
        ("a = [f() for f in ()]", "[f() for f in ()]"),
        ("a = dict(**b)", "b"),
        ("a.b = 1", "a.b = 1"),
        ("a, b = 1, 2", "a, b = (1, 2)"),
        ("a = f'{x}'", "f'{x}'"),
        ("a = float(open('x'))", "float(open('x'))"),
        ("for x in y: pass", "for x in y"),
    ],
)
def test_anything_that_runs_is_refused(text: str, told: str) -> None:
    with pytest.raises(CheckpointError, match="it was not run") as error:
        config_from_text(text)
    assert told in str(error.value)


@pytest.mark.parametrize(
    "text", ["a = (", "a = {[1]: 2}", "a = float('abc')", "a = " + "-" * 20_000 + "1", "a = " + "[" * 900 + "]" * 900]
)
def test_text_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match="expected"):
        config_from_text(text)
