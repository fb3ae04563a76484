"""Training through adapters, from the settings to a detector and its merged weights."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lmm_detector import Detector, TrainConfig, merge_adapters, train
from lmm_detector._prediction._detector import Generation
from lmm_detector.errors import ConfigError, ModelError, RunError
from rbox_formats import codecs
from rbox_testing.tiny_families import save_tiny
from safetensors.torch import load_file


@pytest.fixture
def adapters(run_config: TrainConfig) -> TrainConfig:
    return dataclasses.replace(run_config, language_model_lora=2, freeze_vision=True)


def losses(out: str | Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (Path(out) / "losses.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_run_with_adapters_goes_on_and_its_detector_can_be_merged(
    adapters: TrainConfig, scenes: Path, tmp_path: Path
) -> None:
    # All windows in each step, so that its loss is of the same ones.
    adapters = dataclasses.replace(adapters, batch_size=4, device_batch_size=4, learning_rate=1e-2)
    folder = train(adapters)
    assert losses(adapters.out)[-1] < losses(adapters.out)[0]
    assert not (folder / "model.safetensors").exists()

    cut = dataclasses.replace(adapters, out=str(tmp_path / "cut"))
    shutil.copytree(adapters.out, cut.out)
    shutil.rmtree(Path(cut.out) / "model")
    shutil.rmtree(Path(cut.out) / "checkpoints" / "checkpoint-6")
    train(cut)
    assert losses(cut.out) == losses(adapters.out)
    first, second = (load_file(Path(out) / "model" / "adapter_model.safetensors") for out in (adapters.out, cut.out))
    assert all(torch.equal(first[name], second[name]) for name in first)

    path = next((scenes / "train" / "images").iterdir())
    generation = Generation(max_new_tokens=30)
    with_adapters = next(iter(Detector.from_pretrained(folder, device="cpu").predict([path], generation)))
    whole = merge_adapters(folder, tmp_path / "whole")
    assert (whole / "model.safetensors").is_file()
    alone = next(iter(Detector.from_pretrained(whole, device="cpu").predict([path], generation)))
    assert alone.metadata["windows"][0]["text"] == with_adapters.metadata["windows"][0]["text"]
    np.testing.assert_allclose(alone.scores, with_adapters.scores, atol=1e-4)
    with pytest.raises(ModelError, match="expected a detector with adapters, got whole weights"):
        merge_adapters(whole, tmp_path / "again")
    with pytest.raises(ModelError, match="expected a new or an empty folder"):
        merge_adapters(folder, whole)


@pytest.mark.slow
def test_a_run_does_not_go_on_upon_another_base(
    adapters: TrainConfig, tmp_path: Path, tiny_model: Path, class_names: Any
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    config = dataclasses.replace(adapters, model_name_or_path=str(base), steps=2, save_every=1)
    folder = train(config)
    out = Path(config.out)
    shutil.rmtree(folder)
    shutil.rmtree(out / "checkpoints" / "checkpoint-2")
    save_tiny("florence2", base, class_names, codecs.get("florence2"), seed=1)
    with pytest.raises(RunError, match=r"expected the model that the run in this folder began with, got another"):
        train(config)
    shutil.rmtree(base)
    shutil.copytree(tiny_model, base)
    assert train(config) == folder


@pytest.mark.slow
def test_the_seed_decides_on_what_adapters_begin_with(adapters: TrainConfig, tmp_path: Path) -> None:
    found = {}
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        torch.rand(3)  # whatever was drawn before
        folder = train(dataclasses.replace(adapters, seed=seed, steps=1, learning_rate=1e-12, out=str(tmp_path / name)))
        weights = load_file(folder / "adapter_model.safetensors")
        found[name] = torch.cat([weights[key].flatten() for key in sorted(weights) if "lora_A" in key])
    assert torch.equal(found["first"], found["again"])
    assert not torch.allclose(found["first"], found["other"], atol=1e-3)


@pytest.mark.slow
def test_new_tokens_and_a_longer_context_travel_with_adapters(
    adapters: TrainConfig, tmp_path: Path, class_names: Any
) -> None:
    start = save_tiny("internvl", tmp_path / "start", class_names, codecs.get("plain"), tied=False)
    folder = train(dataclasses.replace(adapters, model_name_or_path=str(start), gradient_checkpointing=True, steps=2))
    detector = Detector.from_pretrained(folder, device="cpu")
    assert detector.family.preparation is not None
    assert len(detector.family.preparation.tokens) == 1001
    assert "<loc_7>" in detector.family.tokenizer.get_vocab()


def test_what_adapters_are_like_and_where_they_are(adapters: TrainConfig) -> None:
    settings = {"lora_alpha": 3, "lora_dropout": 0.0, "lora_targets": ["q_proj", "fc1"], "lora_vision": True}
    config = dataclasses.replace(adapters, freeze_vision=False, steps=2, **settings)
    folder = train(config)
    written = json.loads((folder / "adapter_config.json").read_text())
    assert (written["r"], written["lora_alpha"], written["lora_dropout"]) == (2, 3, 0.0)
    names = [
        name.partition(".lora_A")[0] for name in load_file(folder / "adapter_model.safetensors") if "lora_A" in name
    ]
    assert {name.rpartition(".")[2] for name in names} == {"q_proj", "fc1"}
    assert {"vision_tower" in name for name in names} == {True, False}
    assert Detector.from_pretrained(folder, device="cpu")

    with pytest.raises(ModelError, match=r"expected targets of adapters among .*, got 'w_qkv'") as caught:
        train(dataclasses.replace(config, lora_targets=["q_proj", "w_qkv"], out=f"{config.out}-other"))
    assert "They end in fc1, fc2, " in str(caught.value)


def test_what_cannot_be_together(run_config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match="expected language_model_lora or freeze_language, got both"):
        dataclasses.replace(run_config, language_model_lora=2, freeze_language=True)
    for settings in ({"lora_alpha": 4}, {"lora_vision": True}, {"lora_targets": ["q_proj"]}, {"quantization": "nf4"}):
        (name,) = settings
        with pytest.raises(ConfigError, match=f"the rank of adapters, beside {name}, got none"):
            dataclasses.replace(run_config, **settings)
    with pytest.raises(ConfigError, match="expected lora_vision or freeze_vision, got both"):
        dataclasses.replace(run_config, language_model_lora=2, freeze_vision=True, lora_vision=True)
    with pytest.raises(ConfigError, match="expected no quantization where the weights are in pieces"):
        dataclasses.replace(run_config, language_model_lora=2, quantization="nf4", deepspeed="zero3")
    with pytest.raises(ConfigError, match="expected a GPU for quantization nf4, got none"):
        train(dataclasses.replace(run_config, language_model_lora=2, quantization="nf4"))
    with pytest.raises(ConfigError, match="expected a GPU for optimiser adamw_8bit, got none"):
        train(dataclasses.replace(run_config, optimiser="adamw_8bit"))
    with pytest.raises(ConfigError, match="expected language_model_lora to be greater than or equal to 1, got 0"):
        dataclasses.replace(run_config, language_model_lora=0)


def test_too_little_memory_says_which_settings_help(run_config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr("transformers.Trainer.training_step", run_out)
    with pytest.raises(
        ModelError, match="expected enough memory for a step of 3 windows, got: CUDA out of memory"
    ) as caught:
        train(run_config)
    assert "--device-batch-size, now 3" in str(caught.value)
    assert "--gradient-checkpointing" in str(caught.value)
