"""Low-rank adapters (LoRA, Hu et al., 2021, arXiv:2106.09685) on the language part of any family, by peft."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rbox_formats.errors import quoted, said

from lmm_detector._families._base import Family, Part
from lmm_detector._families._preparation import Preparation
from lmm_detector._model_files import read_object
from lmm_detector.errors import ModelError

_ALPHA_BY_RANK = 2  # LMMRotate's, which is InternVL's (`wrap_llm_lora` of InternVLChatModel)


@dataclass(frozen=True)
class Adapters:
    """What adapters are like, and where they are.

    Attributes:
        rank: Of their two tables.
        alpha: What they add is scaled by alpha / rank. None: by 2, as LMMRotate's.
        dropout: The share of their inputs that is dropped in training; the default is LMMRotate's.
        targets: The linear layers that get them, by their names within the model or the ends of these, such as
            "q_proj". None: all of the parts.
        parts: The parts whose layers get them.
    """

    rank: int
    alpha: int | None = None
    dropout: float = 0.05
    targets: Sequence[str] | None = None
    parts: Sequence[Part] = ("language",)


# What `train` sets; anything else of an adapter_config.json must be peft's default. Some of the others have peft import
# a module by its name, or read files from elsewhere.
_SET = {
    "base_model_name_or_path": str | None,
    "auto_mapping": dict | None,  # peft imports it for `AutoPeftModel` alone
    "inference_mode": bool,
    "lora_alpha": int | float,
    "lora_dropout": int | float,
    "modules_to_save": list | None,
    "peft_type": str,
    "peft_version": str | None,
    "r": int,
    "revision": str | None,
    "target_modules": list,  # as a text it is a regular expression
    "task_type": str | None,
    "trainable_token_indices": dict | list | None,
}


def is_adapter(source: str | Path) -> bool:
    """Return whether a folder holds adapters rather than a model."""
    return (Path(source) / "adapter_config.json").is_file()


def with_adapters(
    family: Family,
    preparation: Preparation,
    adapters: Adapters,
    *,
    trained: Collection[Part],
    tokens: Sequence[int] = (),
) -> Family:
    """Return a family whose language part, and maybe others, learns through adapters only.

    Adapters are put on every linear layer of these parts except the output head, or on the layers that are asked for.
    A mixture's experts, which share one table in each layer, and its router get no adapters and stay unchanged. Apart
    from adapters only the rows of new tokens, in the embeddings and in an untied head, and enlarged tables of positions
    are trained.

    Args:
        family: A model without adapters; it is changed.
        preparation: How it came to be what it is.
        adapters: The settings of the adapters.
        trained: Other parts that are trained in full. What is not a module (LLaVA-OneVision's `image_newline`) stays
            unchanged.
        tokens: The ids of new tokens.

    Raises:
        ModelError: If no layer has a name that is asked for.
    """
    from peft import LoraConfig, get_peft_model

    rows: dict[str, list[int]] = {}
    if tokens:
        tables = [family.base.get_input_embeddings()]
        head = family.base.get_output_embeddings()
        if head is not None and head.weight is not tables[0].weight:
            tables.append(head)
        rows = {_name_of(family, table): list(tokens) for table in tables}
    settings = LoraConfig(
        r=adapters.rank,
        lora_alpha=_ALPHA_BY_RANK * adapters.rank if adapters.alpha is None else adapters.alpha,
        lora_dropout=adapters.dropout,
        target_modules=_target_layers(family, adapters),
        modules_to_save=[*_modules(family, trained), *_grown_tables(family, preparation)] or None,
        trainable_token_indices=rows or None,
    )
    with _without_false_alarms():
        model = get_peft_model(family.model, settings)
    # peft has the folder in which the hub's client keeps it.
    settings.base_model_name_or_path = preparation.model_name_or_path
    adapted = replace(family, model=model, preparation=_identified(preparation, family))
    # peft trains whole modules; a part within another (Qwen-VL's projection) may be frozen.
    for part, parameters in adapted.parts.items():
        if part not in adapters.parts and part not in trained:
            for parameter in parameters.values():
                parameter.requires_grad_(False)
    return adapted


def _identified(preparation: Preparation, family: Family) -> Preparation:
    """Return a preparation with the fingerprint of the model that the family was made from."""
    source = preparation.model_name_or_path
    return preparation.identified(source if is_adapter(source) else family.base.name_or_path)


def _target_layers(family: Family, adapters: Adapters) -> list[str]:
    layers = [name for part in adapters.parts for name in family.linear_layers(part)]
    if adapters.targets is None:
        return layers
    for target in adapters.targets:
        if not any(_ends_in(name, target) for name in layers):
            ends = sorted({name.rpartition(".")[2] for name in layers})
            raise ModelError(
                f"expected targets of adapters among the model's linear layers, got {quoted(target)}",
                remedy=f"They end in {', '.join(ends)}.",
            )
    return [name for name in layers if any(_ends_in(name, target) for target in adapters.targets)]


def _ends_in(name: str, end: str) -> bool:
    return name == end or name.endswith(f".{end}")


def with_adapters_of(family: Family, preparation: Preparation, folder: str | Path) -> Family:
    """Return a family with the adapters that a folder holds.

    Args:
        family: The base, prepared as it was before the adapters were put on.
        preparation: How.
        folder: Where the adapters are.

    Raises:
        ModelError: If they do not fit the base, were trained on another, are broken, or of another kind than `train`
            makes.
    """
    from peft import PeftModel

    if preparation.fingerprint not in (None, _identified(preparation, family).fingerprint):
        raise ModelError(
            f"expected the model that these adapters were trained on, got another in {preparation.model_name_or_path}",
            path=folder,
            remedy="Put the weights of then back there; or, where they are elsewhere now, their folder into base.json "
            "(model_name_or_path).",
        )
    _check_settings(Path(folder) / "adapter_config.json")
    try:
        with _without_false_alarms():
            model: Any = PeftModel.from_pretrained(family.model, str(folder), is_trainable=False)
    except Exception as error:  # what is wrong with a broken file shows in any way
        raise ModelError(
            f"expected adapters for {preparation.model_name_or_path}, got {type(error).__name__}: {said(error)}",
            path=folder,
        ) from error
    return replace(family, model=model, preparation=preparation)


def _check_settings(path: Path) -> None:
    """Make sure that adapters are plain LoRA: for these, peft reads only their own file of weights."""
    from peft import LoraConfig

    found, defaults = read_object(path), LoraConfig().to_dict()
    if found.get("peft_type") != "LORA":
        raise ModelError(f"expected adapters of LoRA, got {quoted(found.get('peft_type'))}", path=path)
    for name, value in found.items():
        fits = isinstance(value, _SET[name]) if name in _SET else value in (None, False, {}, defaults.get(name))
        if not fits:
            raise ModelError(
                f"expected adapters as `lmm-detector train` makes them, got {quoted(name)} {quoted(value)}",
                path=path,
                remedy="Merge others into their model with peft, and give that.",
            )


def merged(family: Family) -> Family:
    """Return a family with its adapters added into its weights; one without adapters is returned unchanged."""
    if family.preparation is None:
        return family
    return replace(family, model=family.model.merge_and_unload(), preparation=None)


def _modules(family: Family, parts: Collection[Part]) -> list[str]:
    """The modules of parts, without those inside others of them; the items of a list of modules, which peft refuses."""
    from torch.nn import ModuleList

    known = dict(family.base.named_modules())
    names = [name for part in parts for name in family.prefixes[part] if name in known]
    outermost = [name for name in names if not any(name.startswith(f"{other}.") for other in names)]
    return [
        inner
        for name in outermost
        for inner in (
            [f"{name}.{number}" for number in range(len(known[name]))]
            if isinstance(known[name], ModuleList)
            else [name]
        )
    ]


def _grown_tables(family: Family, preparation: Preparation) -> list[str]:
    """Return the tables of learned positions, if they have grown."""
    from torch.nn import Embedding

    if preparation.language_model_max_length is None:
        return []
    return [
        name
        for name, module in family.base.named_modules()
        if isinstance(module, Embedding) and name.endswith("embed_positions") and family.part_of(name) == "language"
    ]


def _name_of(family: Family, module: Any) -> str:
    return next(name for name, other in family.base.named_modules() if other is module)


@contextmanager
def _without_false_alarms() -> Iterator[None]:
    """Without what peft 0.21 says of itself: it asks transformers 5.23 in an old way."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield
