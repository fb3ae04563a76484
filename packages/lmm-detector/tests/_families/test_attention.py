"""Which attention each part is given; flash attention itself needs a GPU, so whether it is there is pretended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from lmm_detector import _families
from lmm_detector._families import FAMILIES, Part, _attention
from lmm_detector.errors import ModelError
from rbox_testing.samples import sampled
from transformers import AutoConfig

FLASH = "flash_attention_2"
WHOLE = ("paligemma", "gemma3")  # tokens of an image see all of each other
# Of published models: the heads of vision and language.
HEADS = {
    "qwen2_vl": {"vision_config": {"embed_dim": 1280, "num_heads": 16}},  # 80
    "qwen2_5_vl": {"vision_config": {"hidden_size": 1280, "num_heads": 16}},
    "llava_onevision": {
        "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 1152, "num_attention_heads": 16}  # 72
    },
}


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_attention, "flash_is_there", lambda: True)


def choose(model_type: str, wanted: str | Mapping[Part, str] | None, dtype: str = "bfloat16", **settings: Any) -> Any:
    config = AutoConfig.for_model(model_type, **(settings or HEADS.get(model_type, {})))
    return _attention.choose(lambda: config, wanted, dtype, FAMILIES[model_type].without_flash)


def test_what_each_part_uses(folder: Path) -> None:
    family = _families.load(str(folder))
    # Gemma 2, PaliGemma's language model, has no sdpa in transformers.
    language = "eager" if family.name == "paligemma" else "sdpa"
    assert family.attention == {"vision": "sdpa", "language": language}
    assert _families.load(str(folder), attn_implementation="auto").attention == family.attention
    other = _families.load(str(folder), attn_implementation={"vision": "eager"})
    assert other.attention == {"vision": "eager", "language": language}


def test_it_can_be_changed(save: Callable[..., Path]) -> None:
    family = _families.load(str(save("qwen2_5_vl")))
    family.use_attention({"language": "eager"}, "float32")
    assert family.attention == {"vision": "sdpa", "language": "eager"}
    family.use_attention(None, "bfloat16")
    assert family.attention == {"vision": "sdpa", "language": "eager"}
    with pytest.raises(ModelError, match="expected an attention that the model has, got"):
        family.use_attention("nonsense", "float32")


def test_without_flash_attention(folder: Path) -> None:
    """Not even asked for: transformers would fetch kernels from the hub in its place."""
    for wanted in (FLASH, {"language": FLASH}):
        with pytest.raises(ModelError, match=r"expected flash-attn .*, found none(.|\n)*Install flash-attn"):
            _families.load(str(folder), attn_implementation=wanted)


@pytest.mark.parametrize(
    "name", sampled(["owner/kernel", "owner/kernel@main:sdpa", "paged|owner/kernel"], ["paged|owner/kernel"])
)
def test_kernels_of_the_hub_are_not_fetched(name: str, save: Callable[..., Path]) -> None:
    """A settings file may be a stranger's."""
    family = _families.load(str(save("florence2")))
    for wanted in (name, {"vision": name}):
        with pytest.raises(ModelError, match=r"expected the name of an attention that is built in, got 'owner|'paged"):
            family.use_attention(wanted, "float32")
        with pytest.raises(ModelError, match="expected the name of an attention that is built in"):
            _families.load(str(save("florence2")), attn_implementation=wanted)


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize(
    "model_type, expected",
    [
        ("florence2", {"language": FLASH}),
        *((name, {"vision": FLASH}) for name in WHOLE),
        *((name, {"vision": FLASH, "language": FLASH}) for name in FAMILIES if name not in ("florence2", *WHOLE)),
    ],
)
@pytest.mark.parametrize("wanted", [None, "auto", {}])
def test_by_itself_each_part_takes_the_fastest_that_it_can(model_type: str, expected: Any, wanted: Any) -> None:
    for dtype in ("bfloat16", "float16"):
        assert choose(model_type, wanted, dtype) == expected
    assert choose(model_type, wanted, "float32") is None  # which flash-attn does not compute


@pytest.mark.usefixtures("there")
def test_by_name() -> None:
    assert choose("qwen2_5_vl", FLASH) == FLASH
    assert choose("qwen2_5_vl", "eager") == "eager"
    assert choose("florence2", {"vision": "sdpa", "language": FLASH}) == {"vision": "sdpa", "language": FLASH}
    assert choose("florence2", {"vision": "sdpa"}) == {"vision": "sdpa", "language": FLASH}
    assert choose("florence2", {"vision": "sdpa"}, "float32") == {"vision": "sdpa"}


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize(
    "model_type, wanted, settings, found",
    [
        ("florence2", FLASH, {}, r"of the vision part .*: in half of its blocks channels attend(.|\n)*language=flash"),
        ("paligemma", {"language": FLASH}, {}, "of the language part .*: image and prompt see all of each other"),
        ("gemma3", FLASH, {}, "of the language part .*: an image's tokens see all of each other"),
        (
            "qwen2_5_vl",
            FLASH,
            {"vision_config": {"hidden_size": 1160, "num_heads": 10}},
            "of the vision part .*: heads of 116, not of a multiple of 8 up to 256",
        ),
        (
            "internvl",
            FLASH,
            {"text_config": {"model_type": "qwen2", "head_dim": 320}},
            "language part .*: heads of 320",
        ),
    ],
)
def test_parts_that_cannot_take_it(model_type: str, wanted: Any, settings: Any, found: str) -> None:
    with pytest.raises(ModelError, match=found):
        choose(model_type, wanted, **settings)


def test_unknown_parts(save: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match="expected attention for the parts vision, language, got projection"):
        _families.load(str(save("qwen2_vl")), attn_implementation={"projection": "sdpa"})
