"""Model families: what each needs for loading, prompts and batches. A module, and a line here, for each."""

from __future__ import annotations

from lmm_detector._families._base import Family, Sample
from lmm_detector._families._loading import read_config, resolve
from lmm_detector._families.florence2 import Florence2
from lmm_detector.errors import ModelError

__all__ = ["FAMILIES", "Family", "Sample", "load"]

FAMILIES: dict[str, type[Family]] = {
    "florence2": Florence2,
}


def load(source: str) -> Family:
    """A model with its processor, by the family that its configuration names.

    Args:
        source: A local folder, or a model's name on the hub.

    Raises:
        ModelError: If it cannot be found or reached, its family is unknown, or its weights do not fit.
    """
    source = resolve(source)
    model_type = read_config(source).get("model_type")
    if model_type not in FAMILIES:
        raise ModelError(f"expected a model of type {', '.join(FAMILIES)}, got {model_type!r} in {source}")
    return FAMILIES[model_type].load(source)
