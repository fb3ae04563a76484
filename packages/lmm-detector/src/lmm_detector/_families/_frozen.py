"""Weights that are not trained, held in fewer bits; what is computed with them keeps its precision."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def hold_frozen(model: Any, dtype: str) -> None:
    """Hold the tables of linear layers and embeddings that are not trained in half precision.

    Each is used in the precision of what it is multiplied with, so that the model computes what it would with the
    rounded numbers in float32: the same as before, where it was published in that precision. Norms, biases,
    convolutions and positions, a thousandth of a large model, stay unchanged; so do tables that have some trained
    rows.

    Args:
        model: A transformers model in float32, adapters around it or not; what is trained requires gradients already.
        dtype: "float32" (nothing changes), "bfloat16" or "float16".
    """
    import torch
    from peft.tuners.trainable_tokens.layer import TrainableTokensLayer

    held = getattr(torch, dtype)
    if held == torch.float32:
        return
    # With one of their own: peft's layers show that of the layer within them.
    modules = [module for module in model.modules() if module._parameters.get("weight") is not None]
    words = model.get_input_embeddings()._parameters.get("weight")  # none of its own where some rows are trained
    new = {id(module): forward for module in modules if (forward := _forward(module, words)) is not None}
    # A table may be that of the embeddings and of the head.
    kept = {id(module.weight) for module in modules if id(module) not in new or module.weight.requires_grad}
    kept |= {id(each.base_layer.weight) for each in model.modules() if isinstance(each, TrainableTokensLayer)}
    for module in modules:
        if id(module.weight) not in kept:
            module.weight.data = module.weight.data.to(held)
            module.forward = new[id(module)]


def _forward(module: Any, words: Any) -> Any:
    """Return what a module computes with a weight in any precision; None: it is not known.

    Of tables of embeddings that of the words alone is only looked up; models interpolate those of positions.
    """
    import torch

    # By its exact type: subclasses compute in ways of their own.
    if type(module) is torch.nn.Linear:
        return _linear(module)
    is_scaled = isinstance(module, torch.nn.Embedding) and hasattr(module, "embed_scale")
    if module.weight is words and (type(module) is torch.nn.Embedding or is_scaled):
        return _embedding(module)
    return None


def _linear(module: torch.nn.Linear) -> Any:
    import torch
    from torch.nn.functional import linear

    class Product(torch.autograd.Function):
        """The weight is cast when it is used, and again for the gradient: no copy of it is kept between."""

        @staticmethod
        def forward(ctx: Any, given: torch.Tensor) -> torch.Tensor:
            ctx.dtype = given.dtype
            return linear(given, module.weight.to(given.dtype), module.bias)

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            return gradient @ module.weight.to(ctx.dtype)

    def forward(given: torch.Tensor) -> torch.Tensor:
        if torch.is_autocast_enabled(given.device.type):  # which casts both
            return linear(given, module.weight, module.bias)
        product: torch.Tensor = Product.apply(given)
        return product

    return forward


def _embedding(module: Any) -> Any:
    import torch

    scale = getattr(module, "embed_scale", 1.0)  # a number, BART's; or a tensor, Gemma's

    def forward(ids: torch.Tensor) -> torch.Tensor:
        rows = torch.nn.functional.embedding(ids, module.weight, module.padding_idx)
        return rows.float() * scale

    return forward


def quantise(model: Any, names: Collection[str], dtype: str) -> None:
    """Hold linear layers in 4 bits a weight (NF4 of QLoRA, Dettmers et al., 2023, arXiv:2305.14314), by bitsandbytes.

    The weights are quantised when the model moves to its device, in blocks of 64 with scales that are quantised too.

    Args:
        model: A transformers model, before adapters are put on it.
        names: Of the layers within it.
        dtype: What is computed in.
    """
    import torch
    from bitsandbytes.nn.modules import Linear4bit, Params4bit

    for name in names:
        old = model.get_submodule(name)
        new = Linear4bit(
            old.in_features,
            old.out_features,
            bias=old.bias is not None,
            compute_dtype=getattr(torch, dtype),
            quant_type="nf4",
        )
        new.weight = Params4bit(old.weight.data, requires_grad=False, quant_type="nf4", module=new)
        if old.bias is not None:
            new.bias = torch.nn.Parameter(old.bias.data, requires_grad=False)
        model.set_submodule(name, new)
