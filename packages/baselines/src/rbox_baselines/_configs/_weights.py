"""Models without weights from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.config import Config


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
