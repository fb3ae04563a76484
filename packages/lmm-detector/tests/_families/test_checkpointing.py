"""Gradient checkpointing: the same gradients from less that is kept, and nothing else changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lmm_detector import _families
from lmm_detector._families import Decoding, Family, Part, Sample

PROMPT = "Find all ships."


def step(family: Family, images: list[np.ndarray]) -> tuple[dict[str, torch.Tensor], int]:
    """The gradients of a training step, and the bytes that its forward pass keeps (each tensor once)."""
    inputs = family.on_device(family.collate([Sample(image, "ship 12,34", True) for image in images], PROMPT))
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    family.model.train()
    family.model.zero_grad()
    torch.manual_seed(0)  # of dropout and drop path
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = family.model(**inputs).loss
    loss.backward()
    return {name: p.grad.clone() for name, p in family.base.named_parameters() if p.grad is not None}, sum(
        kept.values()
    )


def compare(plain: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> None:
    assert plain.keys() == found.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-5, msg=name)


def test_gradients_are_the_same_from_less_memory(folder: Path, images: list[np.ndarray]) -> None:
    family = _families.load(str(folder))
    plain, before = step(family, images)
    names = list(family.model.state_dict())
    family.checkpoint_gradients()
    found, after = step(family, images)
    compare(plain, found)
    assert any(gradient.abs().max() > 1e-3 for gradient in plain.values())
    assert after < before
    assert list(family.model.state_dict()) == names
    family.checkpoint_gradients()  # a second time changes nothing
    compare(plain, step(family, images)[0])


@pytest.mark.parametrize("frozen", [("vision",), ("language",), ("vision", "projection")])
def test_frozen_parts(frozen: tuple[Part, ...], folder: Path, images: list[np.ndarray]) -> None:
    family = _families.load(str(folder))
    for part in frozen:
        for parameter in family.parts[part].values():
            parameter.requires_grad_(False)
    plain, _ = step(family, images)
    assert plain
    family.checkpoint_gradients()
    compare(plain, step(family, images)[0])


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft 0.21 asks in the old way
def test_adapters_get_their_gradients(model_type: str, folder: Path, images: list[np.ndarray]) -> None:
    peft = pytest.importorskip("peft")
    family = _families.load(str(folder))
    layers = [*family.linear_layers("vision"), *family.linear_layers("language")]
    config = peft.LoraConfig(r=2, target_modules=layers, init_lora_weights=False)
    torch.manual_seed(0)
    adapted = type(family)(peft.get_peft_model(family.model, config), family.processor)
    plain, _ = step(adapted, images)
    assert all("lora" in name for name in plain)
    # Gemma 3's projection begins at zero, which keeps all gradients from its vision tower.
    of_vision = [each for name, each in plain.items() if any(layer in name for layer in family.linear_layers("vision"))]
    assert model_type == "gemma3" or all(gradient.abs().max() > 0 for gradient in of_vision)
    adapted.checkpoint_gradients()
    compare(plain, step(adapted, images)[0])


def test_the_image_encoders_blocks_are_computed_again(
    save: Callable[..., Path], images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DaViT's, which transformers leaves alone; with drop path, whose draws must come out the same again."""
    from transformers.models.florence2 import modeling_florence2

    runs: list[str] = []
    original = modeling_florence2.Florence2VisionSpatialBlock.forward

    def counted(self: Any, *inputs: Any) -> Any:
        runs.append("again" if torch._C._current_graph_task_id() != -1 else "forward")
        return original(self, *inputs)

    monkeypatch.setattr(modeling_florence2.Florence2VisionSpatialBlock, "forward", counted)
    folder = save("florence2")
    family = _families.load(str(folder))
    for module in family.model.modules():
        if isinstance(module, modeling_florence2.Florence2VisionSpatialBlock):
            module.drop_path1 = modeling_florence2.Florence2DropPath(0.5)
    plain, _ = step(family, images)
    assert runs == ["forward"] * 4
    family.checkpoint_gradients()
    runs.clear()
    compare(plain, step(family, images)[0])
    assert sorted(runs) == ["again"] * 4 + ["forward"] * 4
    family.model.eval()
    runs.clear()
    family.generate(images, PROMPT, Decoding(max_new_tokens=2))
    assert runs == ["forward"] * 4


def test_prediction_and_saved_models_know_nothing_of_it(folder: Path, images: list[np.ndarray], tmp_path: Path) -> None:
    plain, checkpointed = (_families.load(str(folder)) for _ in range(2))
    checkpointed.checkpoint_gradients()
    step(checkpointed, images)
    answers = []
    checkpointed.save(tmp_path)
    for family in (plain, checkpointed, _families.load(str(tmp_path))):
        family.model.eval()
        answers.append([a.tokens.tolist() for a in family.generate(images, PROMPT, Decoding(max_new_tokens=5))])
    assert answers[0] == answers[1] == answers[2]
