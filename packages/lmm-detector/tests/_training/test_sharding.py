"""Settings for weights in pieces. What DeepSpeed and FSDP do with them wants GPUs, and is not tested here."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from lmm_detector import TrainConfig, train
from lmm_detector._training._preparation import prepared
from lmm_detector._training._sharding import DEEPSPEED, FSDP, arguments, cuts_weights
from lmm_detector.errors import ConfigError, ModelError
from rbox_formats import ClassNames, codecs
from rbox_testing.tiny_families import save_tiny


@pytest.mark.parametrize("name, stage", [("zero2", 2), ("zero3", 3)])
def test_names_of_deepspeed(name: str, stage: int) -> None:
    settings = arguments(name, None)["deepspeed"]
    assert settings["zero_optimization"]["stage"] == stage
    assert settings["train_batch_size"] == "auto"
    assert cuts_weights(name, None) == (stage == 3)
    settings["train_batch_size"] = 1  # transformers fills it in
    assert DEEPSPEED[name]["train_batch_size"] == "auto"


def test_names_of_fsdp() -> None:
    found = arguments(None, "full")
    assert found["fsdp"] is True
    assert found["fsdp_config"] == {**FSDP["full"], "state_dict_type": "FULL_STATE_DICT"}
    assert cuts_weights(None, "full")
    assert arguments(None, None) == {}
    assert not cuts_weights(None, None)


def test_files_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "zero.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 3}}))
    whole = {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}
    assert arguments(str(path), None) == {"deepspeed": {"zero_optimization": whole}}
    assert cuts_weights(str(path), None)
    for text, message in (("{", "expected deepspeed's settings as JSON"), ("[]", "as a JSON object, got list")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            arguments(str(path), None)
    with pytest.raises(ConfigError, match="expected fsdp to be full or a JSON file, got 'half'"):
        arguments(None, "half")
    with pytest.raises(ConfigError, match="expected deepspeed or fsdp, got both"):
        arguments("zero2", "full")


def test_without_a_gpu_nothing_is_cut_behind_ones_back(run_config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match="expected a GPU for DeepSpeed or FSDP"):
        train(dataclasses.replace(run_config, fsdp="full"))
    with pytest.raises(ConfigError, match="expected"):  # deepspeed itself may not be there
        train(dataclasses.replace(run_config, deepspeed="zero2"))


def test_single_rows_of_tables_in_pieces_are_not_trained(
    run_config: TrainConfig, tmp_path: Path, class_names: ClassNames
) -> None:
    start = save_tiny("qwen2_5_vl", tmp_path / "start", class_names, codecs.get("plain"))
    config = dataclasses.replace(run_config, model_name_or_path=str(start), language_model_lora=2, fsdp="full")
    with pytest.raises(ModelError, match=r"without new tokens for adapters with FSDP, got 100\d that the model lacks"):
        prepared(config, codecs.get("florence2"))
    assert prepared(config, codecs.get("plain")).preparation is not None
