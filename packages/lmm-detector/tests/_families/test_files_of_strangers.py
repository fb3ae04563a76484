"""Folders of models as anyone may have made them: nothing in them is run; the worst is an error that names a file."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lmm_detector import Detector, _families
from lmm_detector._families import Preparation
from lmm_detector._spec import DetectorSpec
from lmm_detector.errors import ModelError
from rbox_formats import ClassNames, codecs
from rbox_formats.errors import DatasetError, RboxError
from rbox_testing.tiny_families import save_tiny
from safetensors.torch import save_file

NAMES = ClassNames(["ship", "plane"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("qwen2_5_vl", tmp_path_factory.mktemp("whole"), NAMES, codecs.get("qwen2.5-vl"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy to change; code that ran would leave `mark` in the folder above."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole, tmp_path / "model")
    yield tmp_path / "model"
    assert not (tmp_path / "mark").exists()


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


LEAVES_A_MARK = "open('mark', 'w')\nclass Evil: pass\ndef generate(*a, **b): pass\n"


def test_code_beside_a_model_is_not_run(folder: Path) -> None:
    """As models with remote code have it, and transformers' own generation."""
    (folder / "evil.py").write_text(LEAVES_A_MARK)
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(LEAVES_A_MARK)
    kinds = ("Config", "Model", "ModelForImageTextToText", "Processor", "ImageProcessor", "Tokenizer")
    names = {f"Auto{kind}": ["evil.Evil"] * 2 if kind == "Tokenizer" else "evil.Evil" for kind in kinds}
    for path in folder.glob("*.json"):
        if path.name != "tokenizer.json":
            change(path, auto_map=names)
    assert _families.load(str(folder)).render("?")


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation", "_experts_implementation"])
@pytest.mark.parametrize(
    "value", ["owner/kernel", "owner/kernel@main:flash", "paged|owner/kernel", {"text_config": "owner/kernel"}, 3, ""]
)
def test_kernels_are_not_fetched(key: str, value: Any, folder: Path) -> None:
    """transformers fetches from the hub, and runs, what a configuration names so."""
    for values in ({key: value}, {"text_config": {key: value}}, {"vision_config": {"deep": {key: value}}}):
        shutil.copy(folder / "config.json", folder / "config.json.whole")
        change(folder / "config.json", **values)
        with pytest.raises(ModelError, match=rf"config\.json: expected .*{key} to name what is built in, got"):
            _families.load(str(folder))
        shutil.move(folder / "config.json.whole", folder / "config.json")


@pytest.mark.parametrize(
    "template, told",
    [
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        ("{{ cycler.__init__.__globals__.os.mkdir('mark') }}", "SecurityError"),
        ("{% set x = [] %}{{ x.append(1) }}", "SecurityError"),
        ("{% for x in range(10 ** 9) %}a{% endfor %}", "Range too big"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "RecursionError"),
        ("{{ raise_exception('no images') }}", "no images"),
        ("{% include '/etc/hostname' %}", "TemplateAssertionError|TypeError|loader"),
        ("{% for %}", "TemplateSyntaxError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ messages[7].content }}", "UndefinedError"),
    ],
)
def test_a_template_stays_in_its_sandbox(template: str, told: str, folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(ModelError, match=f"expected a chat template that writes turns, got .*({told})"):
        _families.load(str(folder)).render("?")


def test_weights_stay_in_their_folder(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "model.safetensors", tmp_path / "outside.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"lm_head.weight": "../outside.safetensors"}}))
    with pytest.raises(DatasetError, match="expected a plain file name"):
        _families.load(str(folder))
    index.unlink()
    change(folder / "config.json", transformers_weights="../outside.safetensors")
    with pytest.raises(DatasetError, match="expected a plain file name"):
        _families.load(str(folder))


BROKEN = ["", "[]", "null", "3", '{"a": ' * 20_000, "\ud800", "{}", '{"size": "x"}', "\x00", '{"version": "1.0"}']


@pytest.mark.parametrize("text", BROKEN, ids=lambda text: text[:12])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "processor_config.json", "tokenizer_config.json"])
def test_a_broken_file_is_an_error_of_ours(name: str, text: str, folder: Path) -> None:
    (folder / name).write_bytes(text.encode(errors="surrogatepass"))
    if name in ("config.json", "tokenizer.json"):  # the others may lack all that is in them
        with pytest.raises(RboxError, match="expected"):
            _families.load(str(folder)).render("?")
    try:
        _families.load(str(folder)).render("?")
    except RboxError as error:
        assert len(str(error)) < 1_000  # noqa: PT017  # some of these files may lack what is in them


@pytest.mark.parametrize("seed", [*range(10), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(10, 100))])
def test_any_value_in_any_file(seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    path = rng.choice(sorted(path for path in folder.glob("*.json")))
    values = json.loads(path.read_text())
    path.write_text(json.dumps(changed_somewhere(values, rng)))
    try:
        _families.load(str(folder)).render("?")
    except RboxError as error:
        assert len(str(error)) < 1_000  # noqa: PT017  # a changed value may also fit


def changed_somewhere(value: Any, rng: random.Random) -> Any:
    """A copy in which one value, at any depth, is another."""
    if isinstance(value, dict | list) and value and rng.random() < 0.8:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        found = value.copy()
        found[key] = changed_somewhere(value[key], rng)
        return found
    return rng.choice([None, -1, 0, 1e308, 2**70, "", "x", "../x", [], [None], {}, {"type": "x"}, True, "\ud800"])


# What only one family has, as no checkpoint of it has it.
STRANGE: list[tuple[str, str, dict[str, Any]]] = [
    ("qwen3_vl_moe", "config.json", {"text_config": {"num_local_experts": 2**40}}),
    ("idefics3", "config.json", {"scale_factor": 0}),
    ("idefics3", "config.json", {"vision_config": {"image_size": 2**40}}),
    ("smolvlm", "processor_config.json", {"image_processor": "owner/name"}),
    ("glm4v", "config.json", {"vision_config": {"spatial_merge_size": 2**20}}),
    ("glm4v", "config.json", {"image_token_id": "x"}),
    ("gemma3", "config.json", {"mm_tokens_per_image": 0}),
    ("gemma3", "config.json", {"text_config": {"layer_types": ["x", "y"]}}),
    ("gemma3", "tokenizer_config.json", {"boi_token": None}),
    ("qwen3_vl_moe", "config.json", {"text_config": {"mlp_only_layers": "x"}}),
]


@pytest.mark.parametrize("model_type, name, values", STRANGE)
def test_a_familys_own_settings(model_type: str, name: str, values: dict[str, Any], tmp_path: Path) -> None:
    path = save_tiny(model_type, tmp_path, NAMES, codecs.get("qwen2.5-vl")) / name
    found = json.loads(path.read_text())
    for key, value in values.items():
        found[key] = {**found[key], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(found))
    with pytest.raises(ModelError, match="expected") as caught:
        _families.load(str(tmp_path))
    assert len(str(caught.value)) < 1_000


# Adapters.


@pytest.fixture
def adapters(whole: Path, tmp_path: Path) -> Path:
    preparation = Preparation(str(whole))
    family, _ = _families.prepare(preparation)
    out = tmp_path / "adapters"
    out.mkdir()
    _families.with_adapters(family, preparation, _families.Adapters(2), trained=["projection"]).save(out)
    return out


@pytest.mark.parametrize(
    "values",
    [
        {"peft_type": "PROMPT_TUNING"},
        {"peft_type": "IA3"},
        {"peft_type": None},
        {"megatron_config": {"a": 1}, "megatron_core": "antigravity"},  # which peft imports
        {"megatron_core": "antigravity"},
        {"corda_config": {"cache_file": "/etc/hostname"}},  # which peft reads
        {"lora_ga_config": {"cache_file": "x"}},
        {"eva_config": {"rho": 2}},
        {"init_lora_weights": "pissa"},
        {"layer_replication": [[0, 1_000_000]]},
        {"target_modules": "(a+)+$"},  # a regular expression that never ends
        {"r": "2"},
        {"new_in_peft": "x"},
    ],
    ids=lambda values: next(iter(values)),
)
def test_adapters_are_what_train_makes(values: dict[str, Any], adapters: Path) -> None:
    change(adapters / "adapter_config.json", **values)
    with pytest.raises(ModelError, match="expected adapters"):
        _families.load(str(adapters))


@pytest.mark.parametrize(
    "values, told",
    [
        ({"tokens": "abc"}, "tokens: "),
        ({"tokens": [1]}, r"tokens\.0: "),
        ({"image_square_length": "56"}, "image_square_length: "),
        ({"token_initialisation": "x"}, "token_initialisation: "),
        ({"model_name_or_path": None}, "model_name_or_path: "),
        ({"other": 1}, "expected a model's preparation"),
    ],
)
def test_the_base_of_adapters(values: dict[str, Any], told: str, adapters: Path) -> None:
    change(adapters / "base.json", **values)
    with pytest.raises(ModelError, match=rf"base\.json: .*{told}"):
        _families.load(str(adapters))


def test_adapters_do_not_stand_on_themselves(adapters: Path, tmp_path: Path) -> None:
    other = shutil.copytree(adapters, tmp_path / "other")
    change(adapters / "base.json", model_name_or_path=str(other))
    change(other / "base.json", model_name_or_path=str(adapters))
    with pytest.raises(ModelError, match="stand on themselves"):
        _families.load(str(adapters))


# Detectors.

SPEC = DetectorSpec(NAMES, codecs.get("qwen2.5-vl").to_dict(), "Find all.", 64, 16)


@pytest.mark.parametrize(
    "values, told",
    [
        ({"window": "64"}, "window: "),
        ({"window": 64.5}, "window: "),
        ({"window": 0, "gap": 0}, "gap below the window"),
        ({"gap": -1}, "gap below the window"),
        ({"gap": 64}, "gap below the window"),
        ({"class_names": "ship"}, "class_names: "),
        ({"class_names": [1, 2]}, r"class_names\.0: "),
        ({"prompt": None}, "prompt: "),
        ({"codec": []}, "codec: "),
        ({"other": 1}, "expected a detector's settings"),
    ],
)
def test_what_a_detector_was_taught(values: dict[str, Any], told: str, tmp_path: Path) -> None:
    SPEC.save(tmp_path)
    assert DetectorSpec.load(tmp_path) == SPEC
    change(tmp_path / "detector.json", **values)
    with pytest.raises(ModelError, match=rf"detector\.json: .*{told}"):
        DetectorSpec.load(tmp_path)


CODECS: list[Any] = [{}, {"name": "x"}, {"name": 3}, {"name": "qwen2.5-vl", "other": 1}, {"name": "../x"}, {"name": []}]


@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_codecs_of_a_detector(codec: dict[str, Any], folder: Path) -> None:
    SPEC.save(folder)
    change(folder / "detector.json", codec=codec)
    with pytest.raises(RboxError):
        Detector.from_pretrained(folder)


def test_weights_that_are_pickles_are_not_unpickled(folder: Path, pickle_that_runs: Callable[[Path], None]) -> None:
    """A model's own, and adapters'."""
    weights = folder / "model.safetensors"
    weights.unlink()
    pickle_that_runs(folder / "pytorch_model.bin")
    with pytest.raises(ModelError):
        _families.load(str(folder))


def test_adapters_that_are_pickles_are_not_unpickled(
    adapters: Path, folder: Path, pickle_that_runs: Callable[[Path], None]
) -> None:
    (adapters / "adapter_model.safetensors").unlink()
    pickle_that_runs(adapters / "adapter_model.bin")
    with pytest.raises(ModelError):
        _families.load(str(adapters))


@pytest.fixture
def pickle_that_runs(tmp_path: Path) -> Callable[[Path], None]:
    import os

    import torch

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "mark"),)

    return lambda path: torch.save({"a": Evil()}, path)


def test_weights_of_other_kinds_are_an_error_of_ours(folder: Path) -> None:
    import torch

    save_file({"lm_head.weight": torch.zeros(1)}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="expected"):
        _families.load(str(folder))
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match="expected"):
        _families.load(str(folder))
