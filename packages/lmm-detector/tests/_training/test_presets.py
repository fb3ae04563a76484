"""The presets that are published runs' settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from lmm_detector._training import _presets
from lmm_detector._training._config import TrainConfig, load
from lmm_detector.errors import ConfigError

SINGLE = {
    "lmmrotate-dota": ["dota"],
    "lmmrotate-dota-50e": ["dota"],
    "lmmrotate-dior-r": ["dior-r"],
    "lmmrotate-fair1m": ["fair1m"],
    "lmmrotate-srsdd": ["srsdd"],
    "lmmrotate-rsar": ["rsar"],
}
JOINT = {name: ["dota", "dior-r", "fair1m", "srsdd", "rsar"] for name in ("lmmrotate-balanced", "lmmrotate-concat")}
FORMATS = {**SINGLE, **JOINT}


def loaded(name: str) -> TrainConfig:
    count = 2 if name == "lmmrotate-rsar" else len(FORMATS[name])
    return load(_presets.path(name), {"data_path": [f"data{number}" for number in range(count)], "out": "runs/x"})


def test_names() -> None:
    assert _presets.names() == tuple(sorted(FORMATS))


@pytest.mark.parametrize("name", FORMATS)
def test_each_loads_once_data_and_out_are_given(name: str) -> None:
    """The hyperparameters of LMMRotate's published scripts, as its shell scripts have them."""
    config = loaded(name)
    assert list(dict.fromkeys(source.format for source in config.sources)) == FORMATS[name]
    assert (config.image_square_length, config.language_model_max_length) == (1024, 2048)
    assert (config.learning_rate, config.schedule, config.warmup, config.weight_decay) == (2e-5, "cosine", 0.03, 0.0)
    assert (config.batch_size, config.device_batch_size) == (32, 2)
    assert (config.response_format, config.codec_options, config.changes) == ("florence2", {"version": 2}, None)
    assert config.frozen == ()
    half = name == "lmmrotate-dota-50e"
    assert (config.epochs, config.precision) == ((50, "float16") if half else (100, "bfloat16"))
    assert config.gradient_checkpointing is not half


def test_how_datasets_are_mixed() -> None:
    modes = {name: loaded(name).dataset_mode for name in FORMATS}
    assert modes["lmmrotate-balanced"] == "balanced concat"
    assert modes["lmmrotate-concat"] == modes["lmmrotate-rsar"] == "concat"
    assert {modes[name] for name in SINGLE if name != "lmmrotate-rsar"} == {"single"}


def test_the_prompt_is_the_codecs_own() -> None:
    from rbox_formats import codecs

    assert {loaded(name).prompt for name in FORMATS} == {codecs.get("florence2").prompt}


@pytest.mark.parametrize("name", FORMATS)
def test_each_says_what_it_reproduces_and_what_differs(name: str) -> None:
    head = _presets.path(name).read_text().split("\n\n")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert "of VisionXLab/mllm-mmrotate at " in head.replace("\n# ", " ")
    assert "What differs" in head


@pytest.mark.parametrize("name", ["", "dota", "../presets/lmmrotate-dota", "lmmrotate-dota.yaml"])
def test_others_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a preset among lmmrotate-balanced, .*, got"):
        _presets.path(name)


def test_a_wheel_holds_them(tmp_path: Path) -> None:
    import zipfile

    builders = pytest.importorskip("hatchling.builders.wheel")
    root = Path(__file__).parents[2]
    wheel = next(builders.WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"]))
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".yaml")}
    assert packed == {f"lmm_detector/presets/{name}.yaml" for name in FORMATS}
