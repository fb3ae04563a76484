"""Adapters on every family: what they train, and that a folder of them gives the same model again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lmm_detector import _families
from lmm_detector._families import Decoding, Family, Part, Preparation, Sample
from lmm_detector._families._fingerprints import fingerprint
from lmm_detector.errors import ModelError
from safetensors.torch import load_file, save_file

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


@pytest.mark.parametrize(
    "trained",
    [
        (),
        pytest.param(("vision",), marks=pytest.mark.slow),
        pytest.param(("projection",), marks=pytest.mark.slow),
        ("vision", "projection"),
    ],
)
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


def test_adapters_know_their_base(save: Callable[..., Path], tmp_path: Path) -> None:
    """Another with the same names and shapes is refused; the same elsewhere is not."""
    base, other = tmp_path / "base", save("qwen2_5_vl", seed=1)
    shutil.copytree(save("qwen2_5_vl"), base)
    adapted(base).save(tmp_path / "a")
    file = tmp_path / "a" / "base.json"
    values = json.loads(file.read_text())
    assert values["model_commit"] is None

    elsewhere = shutil.copytree(base, tmp_path / "elsewhere")
    file.write_text(json.dumps({**values, "model_name_or_path": str(elsewhere)}))
    _families.load(str(tmp_path / "a"))
    refused = r"expected the model that these adapters were trained on, got another in .*\nPut the weights"
    for change in ({"model_name_or_path": str(other)}, {"tokens": values["tokens"][:-1]}):
        file.write_text(json.dumps({**values, **change}))
        with pytest.raises(ModelError, match=refused):
            _families.load(str(tmp_path / "a"))
    file.write_text(json.dumps({**values, "model_name_or_path": str(other), "fingerprint": None}))
    _families.load(str(tmp_path / "a"))
    del values["model_commit"], values["fingerprint"]
    file.write_text(json.dumps({**values, "model_name_or_path": str(other)}))  # as they were before there was one
    _families.load(str(tmp_path / "a"))


def test_fingerprints_are_of_weights_and_not_of_files(save: Callable[..., Path], tmp_path: Path) -> None:
    folder = save("qwen2_5_vl")
    weights = load_file(folder / "model.safetensors")
    first = fingerprint(folder)
    names = sorted(weights)
    for number, part in enumerate((names[::2], names[1::2])):
        save_file({name: weights[name] for name in part}, tmp_path / f"model-{number}-of-2.safetensors")
    assert fingerprint(tmp_path) == first
    for name in names:
        for place in (0, -1):
            changed = {**weights, name: weights[name].clone()}
            changed[name].view(-1)[place] += 1
            save_file(changed, folder / "model.safetensors", {"format": "pt"})
            assert fingerprint(folder) != first, name
    name = names[0]
    for changed in (
        {**weights, name: weights[name].to(torch.float64)},
        {**weights, name: weights[name][None]},
        {(f"{key}x" if key == name else key): value for key, value in weights.items()},
    ):
        save_file(changed, folder / "model.safetensors", {"format": "pt"})
        assert fingerprint(folder) != first
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert fingerprint(folder) == first
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")  # whatever is in it
    assert fingerprint(folder) not in (first, fingerprint(tmp_path))


@pytest.mark.parametrize("broken", [b"", b"\xff" * 16, b"\x02" + bytes(7) + b"[]", b"\x09" + bytes(7) + b'{"a": {}}'])
def test_weights_without_a_fingerprint(broken: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(broken)
    with pytest.raises(ModelError, match="expected weights, got "):
        fingerprint(tmp_path)


def test_a_fingerprint_reads_little_of_large_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({f"{number}": torch.rand(1000, 1000) for number in range(3)}, tmp_path / "model.safetensors")
    seen = []
    original = hashlib.sha256

    class Counted:
        def __init__(self, data: bytes = b"") -> None:
            self.inner = original(data)
            self.hexdigest = self.inner.hexdigest

        def update(self, data: bytes) -> None:
            seen.append(len(data))
            self.inner.update(data)

    monkeypatch.setattr("lmm_detector._families._fingerprints.hashlib.sha256", Counted)
    fingerprint(tmp_path)
    assert seen == 3 * 8 * [64]


def test_the_commit_of_the_hubs_cache_is_kept_and_fetched(tmp_path: Path, save: Callable[..., Path]) -> None:
    folder = tmp_path / "models--owner--name" / "snapshots" / "0a1b"
    shutil.copytree(save("qwen2_5_vl"), folder)
    found = Preparation("owner/name", model_revision="main").identified(folder)
    assert (found.model_commit, found.revision) == ("0a1b", "0a1b")
    assert Preparation("owner/name", model_revision="main").revision == "main"
    found.save(tmp_path)
    assert Preparation.load(tmp_path) == found


def test_a_family_without_adapters_is_merged_already(tiny_model: Path) -> None:
    family = _families.load(str(tiny_model))
    assert _families.merged(family) is family
