"""Which implementation of attention each part of a model uses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rbox_formats.errors import quoted

from lmm_detector.errors import ModelError

if TYPE_CHECKING:
    from lmm_detector._families._types import Part

FLASH = "flash_attention_2"
AUTO = "auto"  # what None means too

# The parts that have attention, by the names of their settings in transformers.
CONFIGS: dict[Part, str] = {"vision": "vision_config", "language": "text_config"}

# What flash-attn 2's kernels take (README of Dao-AILab/flash-attention at v2.8: "all head dimensions up to 256"; sizes
# between multiples of 8 are padded by its own interface, which costs what they would gain).
_LARGEST_HEAD, _HEAD_MULTIPLE = 256, 8
_DTYPES = ("bfloat16", "float16")

_BUILT_IN = re.compile(r"[\w|]+")  # transformers takes any other for a repository of the hub


def choose(
    read_config: Callable[[], Any],
    wanted: str | Mapping[Part, str] | None,
    dtype: str,
    without_flash: Mapping[Part, str],
) -> str | dict[Part, str] | None:
    """Return the attention to load a model with.

    Args:
        read_config: Gives the model's configuration; called where flash attention comes into question.
        wanted: The attention of the whole model, or of its parts. None or "auto", also for a part: flash attention
            where flash-attn is installed, the numbers are of half precision and the part allows it; otherwise what
            transformers chooses, which is sdpa if the model supports it.
        dtype: The dtype that attention is computed in.
        without_flash: The parts that cannot take it, and why.

    Returns:
        What is asked of transformers; None: nothing.

    Raises:
        ModelError: If flash attention is asked for by name and cannot be had, or a name is one of the hub's.
    """
    asked: dict[Part, str] = (
        dict.fromkeys(CONFIGS, AUTO) | dict(wanted)
        if isinstance(wanted, Mapping)
        else dict.fromkeys(CONFIGS, wanted or AUTO)
    )
    is_there = flash_is_there()
    names: dict[Part, str] = {}
    for part, name in asked.items():
        if not _BUILT_IN.fullmatch(name):
            raise ModelError(
                f"expected the name of an attention that is built in, got {quoted(name)}",
                remedy="transformers would fetch it from the hub and run it.",
            )
        if name == FLASH:
            if not is_there:
                raise ModelError(
                    f"expected flash-attn for {FLASH}, found none that works here",
                    remedy="Install flash-attn 2.3.3 or later, for a GPU, or leave attn_implementation out.",
                )
            if reason := _obstacle(read_config, part, without_flash):
                raise ModelError(
                    f"expected attention of the {part} part that flash-attn can compute, got one that it cannot: "
                    f"{reason}",
                    remedy=f"Ask for it in the other part alone ({_other(part)}={FLASH}), or leave attn_implementation "
                    "out: each part takes the fastest that it can.",
                )
            names[part] = name
        elif name != AUTO:
            names[part] = name
        elif is_there and dtype in _DTYPES and not _obstacle(read_config, part, without_flash):
            names[part] = FLASH
    if isinstance(wanted, str) and wanted != AUTO:
        return wanted
    return names or None


def choose_attention(
    source: str, wanted: str | Mapping[Part, str] | None, dtype: str, without_flash: Mapping[Part, str]
) -> str | dict[Part, str] | None:
    """Return what `choose` does, for a model that is not loaded yet."""
    from transformers import AutoConfig

    return choose(lambda: AutoConfig.from_pretrained(source, trust_remote_code=False), wanted, dtype, without_flash)


def flash_is_there() -> bool:
    """Return whether flash-attn 2 is installed, in a version that transformers takes, and there is a GPU for it."""
    from transformers.utils.import_utils import is_flash_attn_2_available

    return bool(is_flash_attn_2_available())


def _other(part: Part) -> Part:
    return "vision" if part == "language" else "language"


def _obstacle(read_config: Callable[[], Any], part: Part, without_flash: Mapping[Part, str]) -> str | None:
    """Return why a part cannot take flash attention, if it cannot."""
    if part in without_flash:
        return without_flash[part]
    if part not in CONFIGS:
        return None  # `load_model` says what is wrong with it
    section = getattr(read_config(), CONFIGS[part])
    size = _head_size(section)
    if size <= _LARGEST_HEAD and size % _HEAD_MULTIPLE == 0:
        return None
    return f"heads of {size}, not of a multiple of {_HEAD_MULTIPLE} up to {_LARGEST_HEAD}"


def _head_size(section: Any) -> int:
    """Return the width of a head; vision models say it in words of their own."""
    if getattr(section, "head_dim", None):
        return int(section.head_dim)
    # Qwen2-VL's hidden_size is the language model's.
    width = getattr(section, "embed_dim", None) or section.hidden_size
    heads = getattr(section, "num_heads", None) or section.num_attention_heads
    return int(width) // int(heads)
