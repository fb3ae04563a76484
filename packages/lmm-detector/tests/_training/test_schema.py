"""The JSON Schema of a run's settings, and the docstring of `TrainConfig`: both are made from the fields."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from lmm_detector import TrainConfig
from lmm_detector._training import _config, _presets
from lmm_detector._training._config import load
from lmm_detector.errors import ConfigError

COMMITTED = Path(__file__).parents[4] / "docs" / "train-config.schema.json"
SCHEMA = json.loads(COMMITTED.read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
NEEDED = {"data_path": ["data"], "out": "run"}


def test_the_committed_schema_is_that_of_the_fields() -> None:
    assert plain(_config.schema()) == plain(SCHEMA), "run hatch run config-schema"


def plain(schema: Any) -> Any:
    """The schema without what means nothing, which some versions of pydantic say."""
    if isinstance(schema, list):
        return [plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: plain(value) for key, value in schema.items() if (key, value) != ("additionalProperties", True)}


def test_it_is_a_schema_and_describes_each_field() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert list(SCHEMA["properties"]) == [field.name for field in dataclasses.fields(TrainConfig)]
    assert all(setting["description"].endswith(".") for setting in SCHEMA["properties"].values())


@pytest.mark.parametrize("name", _presets.names())
def test_presets_are_valid(name: str) -> None:
    VALIDATOR.validate(yaml.safe_load(_presets.path(name).read_text()))


def test_what_a_run_writes_is_valid() -> None:
    config = TrainConfig(
        **NEEDED,
        split=["train"],
        augmentation={"scale_range": [0.5, 1.5]},
        codec_options={"version": 3},
    )
    VALIDATOR.validate(yaml.safe_load(_config.to_yaml(config)))


@pytest.mark.parametrize(
    "settings",
    [
        {"split": "train"},  # one value of a list, without brackets
        {"split": ["train", "val"], "data_path": ["a", "b"]},
        {"learning_rate": 1},
        {"epochs": 0.5},
        {"gap": None},
        {"lora_targets": None},
        {"augmentation": {"horizontal_flip": 0.5, "scale_range": [0.5, 1.5]}},
        {"codec_options": {"version": 3}},
    ],
)
def test_both_take(settings: dict[str, Any]) -> None:
    VALIDATOR.validate(settings)
    load(None, NEEDED | settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rat": 1e-5},
        {"learning_rate": 0},
        {"learning_rate": "fast"},
        {"lora_dropout": 1},
        {"window": 0},
        {"window": 0.5},
        {"window": None},
        {"schedule": "step"},
        {"precision": None},
        {"keep_checkpoints": 1},
        {"seed": 2**32},
        {"split": [["train"]]},
        {"augmentation": {"horizontal_flip": "often"}},
        {"augmentation": ["horizontal_flip"]},
    ],
)
def test_both_refuse(settings: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(settings)
    with pytest.raises(ConfigError):
        load(None, NEEDED | settings)


def test_help_documents_every_field() -> None:
    text = inspect.getdoc(TrainConfig) or ""
    attributes = re.sub(r"\s+", " ", text.partition("Attributes:")[2])
    for field in dataclasses.fields(TrainConfig):
        assert f" {field.name}: {field.metadata['help']}" in attributes
    assert max(map(len, text.splitlines())) <= 120
