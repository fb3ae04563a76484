from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from lmm_detector import TrainConfig
from lmm_detector._sources import Source
from lmm_detector._training._config import load, to_yaml
from lmm_detector.errors import ConfigError
from rbox_formats.errors import CodecError

GIVEN = {"data_path": ["DOTA"], "out": "runs/x"}


def test_overrides_go_before_the_file_and_the_file_before_defaults(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("data_path: DOTA\nout: runs/x\nbatch_size: 4\nwindow: 512\n")
    config = load(path, {"batch_size": 8, "class_names": ("plane", "ship")})
    assert (config.batch_size, config.window, config.learning_rate) == (8, 512, TrainConfig(**GIVEN).learning_rate)
    assert config.class_names == ["plane", "ship"]


def test_a_file_goes_before_a_preset(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("image_square_length: 512\n")
    config = load(tmp_path / "config.yaml", {**GIVEN, "epochs": 1.0}, "lmmrotate-dota")
    assert (config.image_square_length, config.language_model_max_length, config.epochs) == (512, 2048, 1.0)
    with pytest.raises(ConfigError, match=r"expected a preset among lmmrotate-balanced, .*, got 'dota'"):
        load(None, GIVEN, "dota")


def test_attention_of_the_parts() -> None:
    assert TrainConfig(**GIVEN).attention is None
    assert TrainConfig(**GIVEN, attn_implementation="eager").attention == "eager"
    both = TrainConfig(**GIVEN, attn_implementation="vision=sdpa,language=eager")
    assert both.attention == {"vision": "sdpa", "language": "eager"}


@pytest.mark.parametrize("wrong", ["vision=sdpa,head=eager", "vision=sdpa,eager", "vision="])
def test_attention_of_no_part(wrong: str) -> None:
    with pytest.raises(ConfigError, match=f"expected attn_implementation .*, got '{wrong}'"):
        TrainConfig(**GIVEN, attn_implementation=wrong)


def test_what_the_model_is_evaluated_on() -> None:
    plain = TrainConfig(**GIVEN, split=["train"], image_folder=["png"])
    assert plain.evaluation is None
    beside = replace(plain, eval_split="val")
    assert beside.evaluation == Source("DOTA", "dota", "val", "png")
    other = replace(beside, eval_data_path="DIOR", eval_format="dior-r")
    assert other.evaluation == Source("DIOR", "dior-r", "val")


def test_a_configuration_comes_back_from_yaml(tmp_path: Path) -> None:
    config = TrainConfig(**GIVEN, steps=7, codec_options={"version": 3}, class_names=["a"], gap=0)
    (tmp_path / "c.yaml").write_text(to_yaml(config))
    assert asdict(load(tmp_path / "c.yaml", {})) == asdict(config)


@pytest.mark.parametrize(
    "text, found",
    [
        ("bath_size: 4", r"c\.yaml: expected settings of `lmm-detector train`, got 'bath_size'\n.* --help"),
        ("2001-01-01: 4", "expected settings of `lmm-detector train`, got '2001-01-01'"),
        ("batch_size: four", r"c\.yaml: expected batch_size to be a valid integer, .*, got 'four'\n.* --help"),
        ("batch_size: 0", "expected batch_size to be greater than or equal to 1, got 0"),
        ("steps: -1", "expected steps to be greater than or equal to 1, got -1"),
        ("steps: 1.5", "expected steps to be a valid integer, got a number with a fractional part, got 1.5"),
        ("learning_rate: .nan", "expected learning_rate to be a finite number, got nan"),
        ("warmup: 1", "expected warmup to be less than 1, got 1"),
        ("seed: 4294967296", "expected seed to be less than 4294967296, got 4294967296"),
        ("keep_checkpoints: 1", "expected keep_checkpoints to be greater than or equal to 2, got 1"),
        ("split: [train, [val]]", r"expected split.1 to be a valid string, got \['val'\]"),
        ("precision: half", "expected precision to be 'float32', 'bfloat16' or 'float16', got 'half'"),
        ("dataset_mode: mixed", "expected dataset_mode to be 'single', .* or 'balanced concat', got 'mixed'"),
        ("object_order: size", "expected object_order to be 'category', 'position' or 'random', got 'size'"),
        ("window: 64\ngap: 64", "expected a gap smaller than the window of 64, got 64"),
        ("split: [a, b, c]", "expected 1 split or 1, one for each data_path, got 3"),
        ("augmentation: {flip: 1.0}", "expected augmentation among horizontal_flip, .*, got flip"),
        ("augmentation: {horizontal_flip: 2.0}", "expected horizontal_flip from 0 to 1, got 2.0"),
        ("augmentation: {horizontal_flip: often}", "expected augmentation.horizontal_flip.* got 'often'"),
        ("a: [", "while parsing"),
        ("- a", "expected settings"),
    ],
)
def test_bad_files_are_told(text: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=found):
        load(tmp_path / "c.yaml", GIVEN)


def test_values_are_as_plain_as_a_file_has_them(tmp_path: Path) -> None:
    """Whoever wrote them: YAML reads 2e-5 as a text, and a year as a number."""
    (tmp_path / "c.yaml").write_text("learning_rate: 2e-5\nsplit: 2017\nwindow: 512.0\nepochs: 3")
    config = load(tmp_path / "c.yaml", {**GIVEN, "data_path": (tmp_path,), "augmentation": {"scale_range": (0.5, 1)}})
    assert (config.learning_rate, config.split, config.window, config.epochs) == (2e-5, ["2017"], 512, 3.0)
    assert (config.data_path, config.augmentation) == ([str(tmp_path)], {"scale_range": [0.5, 1.0]})
    assert config == TrainConfig(**asdict(config))


def test_options_are_merged_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("codec_options: {version: 2}\naugmentation: {rotation: 0.5}")
    config = load(tmp_path / "c.yaml", {**GIVEN, "augmentation": {"horizontal_flip": 0.25}}, "lmmrotate-dota")
    assert config.augmentation == {"rotation": 0.5, "horizontal_flip": 0.25}
    assert load(tmp_path / "c.yaml", {**GIVEN, "codec_options": {"version": 3}}).codec_options == {"version": 3}


def test_what_a_caller_holds_is_not_shared() -> None:
    options = {"version": 2}
    config = TrainConfig(**GIVEN, codec_options=options)
    options["version"] = 3
    assert config.codec_options == {"version": 2}


def test_a_codec_that_there_is_not() -> None:
    with pytest.raises(CodecError, match=r"expected a codec among .*, got 'florence3'"):
        TrainConfig(**GIVEN, response_format="florence3")


def test_several_datasets() -> None:
    config = load(None, {**GIVEN, "data_path": ("DOTA", "DIOR"), "format": ("dota", "dior-r"), "split": "train"})
    assert config.sources == [Source("DOTA", "dota", "train"), Source("DIOR", "dior-r", "train")]
    assert TrainConfig(data_path="DOTA", out="x", image_folder="png").sources == [Source("DOTA", image_folder="png")]


def test_what_must_be_given() -> None:
    with pytest.raises(ConfigError, match="expected a value for 'data_path', got none\nGive --data"):
        load(None, {"out": "x"})
    with pytest.raises(ConfigError, match="expected a configuration file, found none"):
        load("nowhere.yaml", GIVEN)
