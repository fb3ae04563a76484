"""Weights that are not trained, held in fewer bits: what is computed with them is what it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from lmm_detector import _families
from lmm_detector._families import Adapters, Family, Preparation, Sample
from rbox_testing.samples import sampled
from torch import nn

PROMPT = "Find all ships."
TOKENS = ("<there>", "<here>")


def adapted(folder: Path, tokens: tuple[str, ...] = (), *, held: str = "float32") -> Family:
    """A model whose weights bfloat16 can hold, as published ones are, beneath adapters that add something."""
    preparation = Preparation(str(folder), tokens=tokens)
    family, added = _families.prepare(preparation)
    for parameter in family.model.parameters():
        parameter.data = parameter.data.bfloat16().float()
    torch.manual_seed(0)
    family = _families.with_adapters(family, preparation, Adapters(2), trained=["projection"], tokens=added)
    for parameter in family.parts["vision"].values():
        parameter.requires_grad_(False)
    for name, parameter in family.model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    _families.hold_frozen(family.model, held)
    return family.__class__(family.model.eval(), family.processor, preparation)


def learnt(family: Family, images: list[np.ndarray], precision: torch.dtype | None) -> dict[str, torch.Tensor]:
    """The loss of two windows and the gradients of all that is trained."""
    batch = family.on_device(family.collate([Sample(image, "ship 12,34", True) for image in images], PROMPT))
    with torch.autocast("cpu", precision, enabled=precision is not None):
        loss = family.loss(batch)
    loss.backward()
    found = {name: each.grad for name, each in family.model.named_parameters() if each.grad is not None}
    return {"loss": loss.detach(), **found}


@pytest.mark.parametrize("precision", sampled([None, torch.bfloat16], [torch.bfloat16]))
@pytest.mark.parametrize("tokens", [pytest.param((), marks=pytest.mark.slow), TOKENS])
def test_loss_and_gradients_are_those_of_float32(
    folder: Path, images: list[np.ndarray], tokens: tuple[str, ...], precision: torch.dtype | None
) -> None:
    wide, narrow = adapted(folder, tokens), adapted(folder, tokens, held="bfloat16")
    expected, found = learnt(wide, images, precision), learnt(narrow, images, precision)
    assert found.keys() == expected.keys()
    assert len(found) > 3
    assert float(found["loss"]) == float(expected["loss"])
    for name, value in expected.items():
        # Sums of products, which may run in another order in the gradient.
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6 * float(value.abs().max()), msg=name)


def test_what_is_held_in_what(folder: Path) -> None:
    family = adapted(folder, TOKENS, held="bfloat16")
    weights = dict(family.model.named_parameters())
    assert all(each.dtype == torch.float32 for each in weights.values() if each.requires_grad)
    held = {name for name, each in weights.items() if each.dtype == torch.bfloat16}
    layers = {name.removesuffix(".base_layer.weight") for name in held if name.endswith(".base_layer.weight")}
    assert layers == {name.partition(".lora_A")[0] for name in weights if ".lora_A." in name}
    assert any(family.part_of(name.removeprefix("base_model.model.")) == "vision" for name in held)
    assert family.dtype == torch.float32
    (table,) = {name for name in weights if name.endswith("embed_tokens.token_adapter.base_layer.weight")} or {None}
    assert table not in held  # whose new rows are trained


def test_a_model_in_one_precision_computes_in_it(folder: Path) -> None:
    assert _families.load(str(folder), dtype="bfloat16").dtype == torch.bfloat16


# QLoRA's sixteen values (Dettmers et al., 2023, arXiv:2305.14314, appendix E), to four digits.
NF4 = [-1, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0]
NF4 += [0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.7230, 1]


def test_four_bits_are_the_nearest_of_sixteen_values_in_each_block(folder: Path) -> None:
    pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 8))
    weight = model[0].weight.detach().clone()
    _families.quantise(model, ["0"], "float32")
    model.to("cpu")  # where it is quantised
    found = model(torch.eye(64)).T - model[0].bias[:, None]
    values = torch.tensor(NF4)
    largest = weight.abs().amax(dim=1, keepdim=True)  # a block is a row here
    nearest = values[(weight[..., None] / largest[..., None] - values).abs().argmin(dim=-1)] * largest
    torch.testing.assert_close(found.detach(), nearest, atol=2e-3, rtol=0)  # scales have 8 bits
    assert (found - weight).abs().max() > 1e-3


def test_a_quantised_model_learns_through_adapters(folder: Path, images: list[np.ndarray]) -> None:
    pytest.importorskip("bitsandbytes")
    preparation = Preparation(str(folder))
    family, _ = _families.prepare(preparation)
    layers = family.linear_layers("language")
    _families.quantise(family.base, layers, "float32")
    family = _families.with_adapters(family, preparation, Adapters(4), trained=[])
    _families.hold_frozen(family.model, "bfloat16")
    family.model.to("cpu")
    batch = family.on_device(family.collate([Sample(image, "ship 12,34", True) for image in images], PROMPT))
    optimiser = torch.optim.AdamW([p for p in family.model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(6):
        loss = family.loss(batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 1
    stored = [family.base.get_submodule(f"{name}.base_layer").weight.dtype for name in layers]
    assert set(stored) == {torch.uint8}
