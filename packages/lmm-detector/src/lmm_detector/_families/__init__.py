"""Model families: what each needs for loading, prompts and batches. A module, and a line here, for each."""

from __future__ import annotations

from collections.abc import Mapping

from lmm_detector._families import chat
from lmm_detector._families._base import PARTS, Answer, Decoding, Family, Part, Sample
from lmm_detector._families._loading import read_config, resolve
from lmm_detector._families.chat import Chat
from lmm_detector._families.florence2 import Florence2
from lmm_detector._families.paligemma import PaliGemma
from lmm_detector.errors import ModelError

__all__ = ["FAMILIES", "PARTS", "Answer", "Decoding", "Family", "Part", "Sample", "load"]

#: By the model type in config.json.
FAMILIES: dict[str, type[Family]] = {
    "florence2": Florence2,
    "paligemma": PaliGemma,
    **dict.fromkeys(chat.MODELS, Chat),
}


def load(source: str, *, dtype: str = "float32", attn_implementation: str | Mapping[Part, str] | None = None) -> Family:
    """A model with its processor, by the family that its configuration names.

    Args:
        source: A local folder, or a model's name on the hub.
        dtype: See `Family.load`.
        attn_implementation: See `Family.load`.

    Raises:
        ModelError: If it cannot be found or reached, its family is unknown, or its weights do not fit.
    """
    from lmm_detector._convert import is_remote_code

    source = resolve(source)
    config = read_config(source)
    if is_remote_code(config):
        raise ModelError(
            "expected a Florence-2 in transformers' layout, got one of Microsoft's remote code",
            path=source,
            remedy=f"Convert it: lmm-detector convert {source} OUT",
        )
    model_type = config.get("model_type")
    if model_type not in FAMILIES:
        raise ModelError(f"expected a model of type {', '.join(FAMILIES)}, got {model_type!r} in {source}")
    return FAMILIES[model_type].load(source, dtype=dtype, attn_implementation=attn_implementation)
