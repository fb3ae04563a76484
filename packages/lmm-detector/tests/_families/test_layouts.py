"""Checkpoints in the layout of the hub's, and under the newest names: one model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lmm_detector import _families
from lmm_detector._families import Decoding, Sample
from lmm_detector._families.chat import MODELS
from lmm_detector.errors import ModelError
from rbox_testing.layouts import LAYOUTS, Layout, rewrite
from rbox_testing.samples import sampled
from safetensors.torch import load_file
from transformers import AutoProcessor
from transformers.video_processing_utils import BaseVideoProcessor

PROMPT = "Find all ships."
OLD_NAMES = ("qwen2_vl", "qwen2_5_vl", "internvl", "llava_onevision", "gemma3", "paligemma")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_layouts_hold_the_model(
    layout: Layout, model_type: str, save: Callable[..., Path], images: list[np.ndarray]
) -> None:
    """The same losses and answers as the checkpoint has that transformers wrote by itself."""
    plain, other = (_families.load(str(folder)) for folder in (save(model_type), rewrite(save(model_type), layout)))
    samples = [Sample(image, "ship 12,34 é", True) for image in images]
    found = []
    for family in (plain, other):
        family.model.eval()
        with torch.no_grad():
            loss = float(family.loss(family.on_device(family.collate(samples, PROMPT))))
        found.append((loss, [a.text for a in family.generate(images, PROMPT, Decoding(max_new_tokens=6))]))
    assert found[1][0] == pytest.approx(found[0][0], rel=0.05 if layout == "hub" else 1e-6)  # rows are added to the sum
    assert layout == "hub" or found[0][1] == found[1][1]


@pytest.mark.parametrize("model_type", sampled(OLD_NAMES, ["qwen2_5_vl", "paligemma"]))
def test_the_layouts_are_what_they_are_called(model_type: str, save: Callable[..., Path]) -> None:
    """Or tests on both would be of one: no name in common but those of what never moved."""
    hub, new = (rewrite(save(model_type), layout) for layout in LAYOUTS)
    names = _families.load(str(new)).model.state_dict().keys()
    assert load_file(new / "model.safetensors").keys() <= names
    assert not load_file(hub / "model.safetensors").keys() & (names - {"lm_head.weight"})
    config = json.loads((hub / "config.json").read_text())
    text = config.get("text_config", config)
    assert text["vocab_size"] % 64 == 0
    assert text["vocab_size"] > len(_families.load(str(hub)).tokenizer)
    assert ("text_config" in config) == (model_type not in ("qwen2_vl", "qwen2_5_vl"))
    assert (hub / "preprocessor_config.json").is_file()


def test_published_experts_lie_the_other_way_round(save: Callable[..., Path]) -> None:
    hub, new = (load_file(rewrite(save("qwen3_vl_moe"), layout) / "model.safetensors") for layout in LAYOUTS)
    name = "model.language_model.layers.0.mlp.experts.down_proj"
    assert (hub[name].shape, new[name].shape) == ((4, 24, 32), (4, 32, 24))
    assert torch.equal(hub[name].transpose(1, 2), new[name])


VIDEOS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "glm4v", "internvl", "llava_onevision", "smolvlm")


def stock(folder: Path) -> str:
    """What transformers' own AutoProcessor says of a folder: the processor's class, or why it cannot be had."""
    try:
        return type(AutoProcessor.from_pretrained(folder)).__name__
    except (ImportError, OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}".replace(str(folder), "FOLDER")


@pytest.mark.parametrize("model_type", sampled(MODELS, ["qwen3_vl"]))
def test_saved_processors_are_as_readable_as_the_bases(
    model_type: str, save: Callable[..., Path], tmp_path: Path
) -> None:
    """To transformers, which finds in both the same of videos; where torchvision is not, it says so of both."""
    base = rewrite(save(model_type), "hub")
    preparation = _families.Preparation(str(base))
    family = _families.load(str(base))
    family.save(tmp_path / "whole")
    adapters = _families.with_adapters(family, preparation, _families.Adapters(2), trained=())
    adapters.save(tmp_path / "adapters")
    _families.merged(_families.load(str(tmp_path / "adapters"))).save(tmp_path / "merged")
    _families.load(str(tmp_path / "whole")).save(tmp_path / "again")
    for name in ("whole", "adapters", "merged", "again"):
        assert stock(tmp_path / name) == stock(base), name
        assert "can't load" not in stock(tmp_path / name).lower()
        settings = json.loads((tmp_path / name / "processor_config.json").read_text())
        assert ("video_processor" in settings) == (model_type in VIDEOS)
        if model_type in VIDEOS:
            ours, theirs = (BaseVideoProcessor.get_video_processor_dict(each)[0] for each in (tmp_path / name, base))
            assert ours == theirs


def test_code_that_a_file_of_videos_names_is_not_carried_over(save: Callable[..., Path], tmp_path: Path) -> None:
    base = rewrite(save("internvl"), "hub")
    path = base / "video_preprocessor_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "auto_map": {"AutoVideoProcessor": "owner/name--code.Videos"}}))
    _families.load(str(base)).save(tmp_path)
    assert json.loads((tmp_path / "processor_config.json").read_text())["video_processor"] == settings


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_head_that_the_configuration_does_not_tie(layout: Layout, model_type: str, save: Callable[..., Path]) -> None:
    """The error says what to set, which gives the model that it was."""
    folder = rewrite(save(model_type), layout)
    before = _families.load(str(folder)).base.state_dict()
    path = folder / "config.json"
    settings = json.loads(path.read_text())
    levels = [settings, *(settings[name] for name in ("text_config",) if name in settings)]
    for level in levels:
        level["tie_word_embeddings"] = False
    path.write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=r"got none for [13] of them, such as 'lm_head.weight'\n.*tie_word_embeddings"):
        _families.load(str(folder))
    for level in levels:
        level["tie_word_embeddings"] = True
    path.write_text(json.dumps(settings))
    after = _families.load(str(folder)).base.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in after.items())
