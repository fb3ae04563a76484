"""Model families: what each needs for loading, prompts and batches. A module, and a line here, for each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rbox_formats.errors import quoted

from lmm_detector._families import chat
from lmm_detector._families._adapters import Adapters, is_adapter, merged, with_adapters, with_adapters_of
from lmm_detector._families._base import PARTS, Answer, Decoding, Family, Part, Sample
from lmm_detector._families._frozen import hold_frozen, quantise
from lmm_detector._families._hub import fetch, fetch_detector, fetch_run, resolve
from lmm_detector._families._loading import DTYPES, is_remote_code, read_config
from lmm_detector._families._preparation import Preparation
from lmm_detector._families._soft_targets import Axis, SoftTargets
from lmm_detector._families.chat import Chat, Gemma3
from lmm_detector._families.florence2 import Florence2
from lmm_detector._families.paligemma import PaliGemma
from lmm_detector.errors import ModelError

__all__ = [
    "FAMILIES",
    "PARTS",
    "WITH_GRID",
    "Adapters",
    "Answer",
    "Axis",
    "Chat",
    "Decoding",
    "Family",
    "Part",
    "Preparation",
    "Sample",
    "SoftTargets",
    "fetch_detector",
    "fetch_run",
    "hold_frozen",
    "is_adapter",
    "load",
    "merged",
    "outline",
    "prepare",
    "published_dtype",
    "quantise",
    "read_config",
    "with_adapters",
]

#: By the model type in config.json.
FAMILIES: dict[str, type[Family]] = {
    "florence2": Florence2,
    "paligemma": PaliGemma,
    **dict.fromkeys(chat.MODELS, Chat),
    "gemma3": Gemma3,
}

#: The model types that see an image as one grid of places (`Family.places`), rather than in tiles.
WITH_GRID = ("florence2", "paligemma", *chat.PATCHED, "gemma3")


def load(
    source: str,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    attn_implementation: str | Mapping[Part, str] | None = None,
) -> Family:
    """Return a model with its processor, by the family that its configuration names; adapters on their base.

    Args:
        source: A local folder, or a model's name on the hub.
        revision: On the hub: branch, tag or commit. None: the main branch.
        dtype: See `Family.load`.
        attn_implementation: See `Family.load`.

    Raises:
        ModelError: If it cannot be found or reached, its family is unknown, or its weights do not fit.
    """
    if is_adapter(source):
        preparation = Preparation.load(source)
        _require_end(source)
        family, _ = prepare(preparation, dtype=dtype, attn_implementation=attn_implementation)
        return with_adapters_of(family, preparation, source)
    source = resolve(source)
    config = read_config(source, revision)
    if is_remote_code(config):
        raise ModelError(
            "expected a Florence-2 in transformers' layout, got one of Microsoft's remote code",
            path=source,
            remedy=f"Convert it: lmm-detector convert {source} OUT",
        )
    model_type = config.get("model_type")
    if model_type not in FAMILIES:
        raise ModelError(f"expected a model of type {', '.join(FAMILIES)}, got {quoted(model_type)} in {source}")
    return FAMILIES[model_type].load(fetch(source, revision), dtype=dtype, attn_implementation=attn_implementation)


def outline(source: str, *, dtype: str = "float32") -> Chat:
    """Return a model with a chat template without its weights, for another program to run it.

    Args:
        source: A local folder.
        dtype: See `Family.load`.

    Raises:
        ModelError: As `load`; and if the model has no chat template, or the folder holds adapters.
    """
    model_type = read_config(source).get("model_type")
    family = FAMILIES.get(str(model_type))
    if family is None or not issubclass(family, Chat):
        raise ModelError(f"expected a model of type {', '.join(chat.MODELS)}, got {quoted(model_type)} in {source}")
    return family.outline(source, dtype=dtype)


def published_dtype(source: str, revision: str | None = None) -> str:
    """Return the precision in a model's configuration, for adapters their base's; "float32" where it has none.

    Raises:
        ModelError: If there is no configuration, or it cannot be reached.
    """
    _require_end(source)
    while is_adapter(source):
        preparation = Preparation.load(source)
        source, revision = preparation.model_name_or_path, preparation.revision
    config = read_config(resolve(source), revision)
    sections = (config, config.get("text_config"))
    named = (each.get(key) for each in sections if isinstance(each, dict) for key in ("dtype", "torch_dtype"))
    return next((name for name in named if name in DTYPES), "float32")


def _require_end(source: str) -> None:
    """Adapters may stand on others, but not on themselves.

    Raises:
        ModelError: If they do.
    """
    seen: set[Path] = set()
    while is_adapter(source):
        if (path := Path(source).resolve()) in seen:
            raise ModelError("expected adapters on a model, got some that stand on themselves", path=path)
        seen.add(path)
        source = Preparation.load(source).model_name_or_path


def prepare(
    preparation: Preparation,
    *,
    dtype: str = "float32",
    attn_implementation: str | Mapping[Part, str] | None = None,
) -> tuple[Family, list[int]]:
    """Return a model as training begins with it, and the ids of the tokens that it lacked. Adapters are merged into it.

    Raises:
        ModelError: As `load`, and where the model cannot be changed as it says.
    """
    source = preparation.model_name_or_path
    revision = preparation.revision
    family = merged(load(source, revision=revision, dtype=dtype, attn_implementation=attn_implementation))
    if preparation.image_square_length is not None:
        family.set_image_size(preparation.image_square_length)
    if preparation.language_model_max_length is not None:
        family.set_positions(preparation.language_model_max_length)
    return family, family.add_tokens(preparation.tokens, preparation.token_initialisation)
