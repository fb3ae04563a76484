"""Weights, gradients and optimiser in pieces over devices: DeepSpeed's ZeRO, PyTorch's FSDP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbox_formats.errors import quoted, said

from lmm_detector.errors import ConfigError

if TYPE_CHECKING:
    from transformers import TrainingArguments

_AUTO = "auto"  # transformers fills in what the other settings say

# Without an optimiser, which DeepSpeed would compile: PyTorch's, as everywhere else.
_ZERO = {
    "bf16": {"enabled": _AUTO},
    "fp16": {"enabled": _AUTO},
    "gradient_accumulation_steps": _AUTO,
    "gradient_clipping": _AUTO,
    "train_batch_size": _AUTO,
    "train_micro_batch_size_per_gpu": _AUTO,
}

#: ZeRO (Rajbhandari et al., 2020, arXiv:1910.02054): stage 2 cuts gradients and optimiser, stage 3 the weights as well.
DEEPSPEED: dict[str, dict[str, Any]] = {
    "zero2": {**_ZERO, "zero_optimization": {"stage": 2, "overlap_comm": True, "contiguous_gradients": True}},
    "zero3": {
        **_ZERO,
        "zero_optimization": {"stage": 3, "overlap_comm": True, "contiguous_gradients": True},
    },
}

#: Fully sharded: each transformer layer in pieces.
FSDP: dict[str, dict[str, Any]] = {
    "full": {"version": 2, "auto_wrap_policy": "TRANSFORMER_BASED_WRAP"},
}


def arguments(deepspeed: str | None, fsdp: str | None) -> dict[str, Any]:
    """Return what `TrainingArguments` takes.

    Args:
        deepspeed: A name in `DEEPSPEED`, or a JSON file of DeepSpeed's; None: without.
        fsdp: A name in `FSDP`, or a JSON file of `fsdp_config`; None: without.

    Raises:
        ConfigError: If both are given, or one is neither a name nor a JSON file.
    """
    if deepspeed is not None and fsdp is not None:
        raise ConfigError("expected deepspeed or fsdp, got both")
    if deepspeed is not None:
        settings = _settings(deepspeed, DEEPSPEED, "deepspeed")
        zero = settings.get("zero_optimization", {})
        if zero.get("stage") == 3:
            zero["stage3_gather_16bit_weights_on_model_save"] = True  # else checkpoints would be without weights
        return {"deepspeed": settings}
    if fsdp is not None:
        # Whole, whatever a file says: a checkpoint is a detector.
        return {"fsdp": True, "fsdp_config": {**_settings(fsdp, FSDP, "fsdp"), "state_dict_type": "FULL_STATE_DICT"}}
    return {}


def cuts_weights(deepspeed: str | None, fsdp: str | None) -> bool:
    """Return whether no device has all of the weights, so that the model writes nothing between steps."""
    if fsdp is not None:
        return True
    if deepspeed is None:
        return False
    stage = _settings(deepspeed, DEEPSPEED, "deepspeed").get("zero_optimization", {}).get("stage", 0)
    return bool(stage == 3)


def _settings(given: str, known: dict[str, dict[str, Any]], what: str) -> dict[str, Any]:
    if given in known:
        return json.loads(json.dumps(known[given]))  # transformers writes into what it gets
    path = Path(given)
    if not path.is_file():
        raise ConfigError(f"expected {what} to be {', '.join(known)} or a JSON file, got {quoted(given)}")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"expected {what}'s settings as JSON, got: {said(error)}", path=path) from error
    if not isinstance(settings, dict):
        raise ConfigError(f"expected {what}'s settings as a JSON object, got {type(settings).__name__}", path=path)
    return settings


@contextmanager
def whole_weights(arguments: TrainingArguments) -> Iterator[None]:
    """Within it models are loaded whole, so that they can be changed; ZeRO 3 cuts them up when training begins."""
    from transformers.integrations import deepspeed

    settings = getattr(arguments, "hf_deepspeed_config", None)
    if settings is None:
        yield
        return
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed.set_hf_deepspeed_config(settings)
