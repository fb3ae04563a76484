"""Models without weights from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rbox_baselines.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config

#: The parts whose weights come from transformers.
_SAM = ("SAMEncoder", "SAMDecoder")


def without_pretrained(config: Config) -> Config:
    """Return a copy of a config whose model begins with random weights, so that nothing is fetched when it is built.

    Every `init_cfg` of type "Pretrained" is left out, wherever it stands in the model; those that say how random
    weights are drawn stay. `frozen_stages` and `norm_eval` stay too: they suit a backbone that has learnt.
    `load_from`, a checkpoint of the whole model, is left out.
    """
    from mmengine.config import Config

    plain = config.to_dict()
    plain["model"] = _without(plain["model"])
    if "load_from" in plain:
        plain["load_from"] = None
    return Config(plain, filename=config.filename)


def with_sam(config: Config, source: str) -> None:
    """Make every part of SAM in a config begin with the weights of a folder or hub name.

    Raises:
        ConfigError: If there is no such part.
    """
    parts = list(_parts_of_sam(config.model))
    if not parts:
        raise ConfigError(
            f"expected a model with parts of SAM, for the weights in {source}, got {config.model.type} without",
            remedy="Leave --sam out, or choose a model with them, such as sam-seg-base.",
        )
    for part in parts:
        part["init_cfg"] = {"type": "Pretrained", "checkpoint": source}


def _parts_of_sam(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict) and value.get("type") in _SAM:
        yield value
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _parts_of_sam(inner)


def without_backbone(config: Config) -> Config:
    """Return a copy of a config whose backbone begins with random weights; the weights of other parts stay."""
    from mmengine.config import Config

    plain = config.to_dict()
    plain["model"]["backbone"] = _without(plain["model"]["backbone"])
    if _is_pretrained(plain["model"].get("init_cfg")):
        del plain["model"]["init_cfg"]  # the whole model's
    plain.pop("load_from", None)
    return Config(plain, filename=config.filename)


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        left = {name: _without(inner) for name, inner in value.items()}
        init = left.get("init_cfg")
        kept = [inner for inner in (init if isinstance(init, list | tuple) else [init]) if not _is_pretrained(inner)]
        if not kept:
            del left["init_cfg"]  # not None: without one some models have a way of their own
        elif isinstance(init, list | tuple):
            left["init_cfg"] = kept
        return left
    if isinstance(value, list | tuple):
        return type(value)(map(_without, value))
    return value


def _is_pretrained(init: Any) -> bool:
    return isinstance(init, dict) and init.get("type") == "Pretrained"
