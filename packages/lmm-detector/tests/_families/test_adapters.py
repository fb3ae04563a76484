"""Adapters on every family: what they train, and that a folder of them gives the same model again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lmm_detector import _families
from lmm_detector._families import Decoding, Family, Part, Preparation, Sample
from lmm_detector.errors import ModelError
from safetensors.torch import load_file

PROMPT = "Find all ships."
TOKENS = tuple(f"<point_{number}>" for number in range(10))
TEXT = "ship" + "".join(TOKENS)


def adapted(folder: Path, trained: tuple[Part, ...] = ("vision", "projection"), **changes: Any) -> Family:
    preparation = Preparation(str(folder), tokens=TOKENS, **changes)
    family, added = _families.prepare(preparation)
    torch.manual_seed(0)
    return _families.with_adapters(family, preparation, _families.Adapters(2), trained=trained, tokens=added)


def learn(family: Family, images: list[np.ndarray], steps: int = 4) -> list[float]:
    batch = family.collate([Sample(image, TEXT, True) for image in images], PROMPT)
    optimizer = torch.optim.AdamW([p for p in family.model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    family.model.train()
    for _ in range(steps):
        loss = family.model(**family.on_device(batch)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    family.model.eval()
    return losses


def test_a_folder_of_adapters_is_the_model_again(folder: Path, images: list[np.ndarray], tmp_path: Path) -> None:
    family = adapted(folder)
    losses = learn(family, images)
    assert losses[-1] < losses[0]
    ids = family.tokenizer.convert_tokens_to_ids(list(TOKENS))
    answers = family.generate(images, PROMPT, Decoding(max_new_tokens=6))
    found = family.log_probabilities(images, PROMPT, [ids, ids])

    family.save(tmp_path / "adapters")
    # Nothing of the language model but adapters and the new rows: far less than the tables alone.
    saved = load_file(tmp_path / "adapters" / "adapter_model.safetensors")
    tables = [family.base.get_input_embeddings().weight.numel()]
    of_language = sum(value.numel() for name, value in saved.items() if "lora" in name or "token" in name)
    assert of_language < sum(tables)
    again = _families.load(str(tmp_path / "adapters"))
    again.model.eval()
    assert [answer.text for answer in again.generate(images, PROMPT, Decoding(max_new_tokens=6))] == [
        answer.text for answer in answers
    ]
    for ours, theirs in zip(again.log_probabilities(images, PROMPT, [ids, ids]), found, strict=True):
        np.testing.assert_array_equal(ours, theirs)

    whole = _families.merged(again)
    whole.save(tmp_path / "whole")
    assert not (tmp_path / "whole" / "adapter_config.json").exists()
    alone = _families.load(str(tmp_path / "whole"))
    alone.model.eval()
    assert alone.preparation is None
    for ours, theirs in zip(alone.log_probabilities(images, PROMPT, [ids, ids]), found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("trained", [(), ("vision",), ("projection",), ("vision", "projection")])
def test_what_is_trained(folder: Path, trained: tuple[Part, ...], images: list[np.ndarray]) -> None:
    before = {part: _values(parameters) for part, parameters in _families.load(str(folder)).parts.items()}
    family = adapted(folder, trained)
    after_start = {part: _values(parameters) for part, parameters in family.parts.items()}
    learn(family, images, steps=1)
    # LLaVA-OneVision's lone parameter is no module.
    lone = {"model.image_newline"}
    for part in ("vision", "projection"):
        names = {name.replace(".modules_to_save.default", "") for name in after_start[part]}
        assert names == set(before[part])
        for name, parameter in family.parts[part].items():
            assert parameter.requires_grad == (part in trained and name not in lone), name
    learned = {name for name, parameter in family.parts["language"].items() if parameter.requires_grad}
    assert learned
    assert all("lora_" in name or "trainable_tokens" in name for name in learned)
    for name, value in family.parts["language"].items():
        if name not in learned:
            assert torch.equal(value, after_start["language"][name])
    assert any(not torch.equal(family.parts["language"][name], after_start["language"][name]) for name in learned)


def _values(parameters: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


def test_an_untied_head_learns_its_new_rows(save: Callable[..., Path], images: list[np.ndarray]) -> None:
    family = adapted(save("qwen2_5_vl", tied=False))
    learned = [name for name, parameter in family.parts["language"].items() if parameter.requires_grad]
    assert sum("trainable_tokens" in name for name in learned) == 2
    ids = family.tokenizer.convert_tokens_to_ids(list(TOKENS))
    before = family.log_probabilities(images[:1], PROMPT, [ids])[0].mean()
    learn(family, images[:1], steps=6)
    assert family.log_probabilities(images[:1], PROMPT, [ids])[0].mean() > before + 0.1


def test_grown_positions_are_trained_and_saved(tiny_model: Path, images: list[np.ndarray], tmp_path: Path) -> None:
    family = adapted(tiny_model, trained=(), language_model_max_length=600)
    tables = {name: p for name, p in family.parts["language"].items() if "embed_positions" in name}
    assert len(tables) == 2
    assert all(p.requires_grad for p in tables.values())
    before = _values(tables)
    learn(family, images, steps=1)
    family.save(tmp_path)
    again = _families.load(str(tmp_path))
    assert again.positions == 600
    for name, parameter in again.parts["language"].items():
        if "embed_positions" in name:
            assert torch.equal(parameter, tables[name])
            assert not torch.equal(parameter, before[name])


def test_adapters_on_adapters_begin_from_the_merged_model(
    tiny_model: Path, images: list[np.ndarray], tmp_path: Path
) -> None:
    family = adapted(tiny_model)
    learn(family, images)
    family.save(tmp_path / "first")
    ids = family.tokenizer.convert_tokens_to_ids(list(TOKENS))
    found = family.log_probabilities(images, PROMPT, [ids, ids])
    second = adapted(tmp_path / "first")
    second.model.eval()
    for ours, theirs in zip(second.log_probabilities(images, PROMPT, [ids, ids]), found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_adapters_that_are_not_ours_or_broken(tiny_model: Path, tmp_path: Path) -> None:
    adapted(tiny_model).save(tmp_path / "a")
    base = tmp_path / "a" / "base.json"
    values = json.loads(base.read_text())
    assert values["model_name_or_path"] == str(tiny_model)
    for change, message in [
        ({"model_name_or_path": "nowhere"}, "expected a local folder, or a name on the hub"),
        ({"tokens": None}, "expected a model's preparation"),
    ]:
        base.write_text(json.dumps({**values, **change}))
        with pytest.raises(ModelError, match=message):
            _families.load(str(tmp_path / "a"))
    base.unlink()
    with pytest.raises(ModelError, match=r"found no base\.json beside them"):
        _families.load(str(tmp_path / "a"))
    base.write_text(json.dumps(values))
    (tmp_path / "a" / "adapter_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="expected adapters for"):
        _families.load(str(tmp_path / "a"))


def test_a_family_without_adapters_is_merged_already(tiny_model: Path) -> None:
    family = _families.load(str(tiny_model))
    assert _families.merged(family) is family
