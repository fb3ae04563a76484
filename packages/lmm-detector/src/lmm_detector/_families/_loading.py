"""Reading a model's files, with errors that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rbox_formats import files
from rbox_formats.errors import quoted, said

from lmm_detector._families import _hub
from lmm_detector._families._base import Part
from lmm_detector._model_files import read_object, weight_files
from lmm_detector.errors import ModelError

DTYPES = ("float32", "bfloat16", "float16")

# The parts whose attention can be chosen, by the names of their settings in transformers; a projection has none.
_CONFIGS: dict[str, str] = {"vision": "vision_config", "language": "text_config"}

# transformers looks on the hub for a name that contains `owner/name`, and runs the code that it finds there.
_IMPLEMENTATIONS = ("attn_implementation", "experts_implementation")
_PLAIN_NAME = re.compile(r"\w+")


# What to do where weights are missing: those alone that may be one table under several names, or others.
_TIED = ("lm_head.weight", "embed_tokens.weight")
_TIE = (
    "Where output head and embeddings are one table, config.json has to say so: set tie_word_embeddings to true in it, "
    "at the top level and in text_config, if there is one. Else a table is not in the files: fetch them again."
)
_OTHER_NAMES = (
    "A checkpoint of remote code has other names; take one in transformers' layout, such as "
    "florence-community/Florence-2-*, or the -hf ones of InternVL and LLaVA-OneVision."
)


def read_config(source: str, revision: str | None = None) -> dict[str, Any]:
    """Return the model's config.json, from a local folder or the hub.

    Raises:
        ModelError: If there is none, the hub cannot be reached, or it asks for code or weights from elsewhere.
        DatasetError: If it names weights outside the folder.
    """
    folder = Path(source)
    if folder.is_dir():
        path = folder / "config.json"
        if not path.is_file():
            inside = sorted(p.parent.name for p in folder.glob("*/config.json"))
            remedy = f"Did you mean {folder / inside[-1]}?" if inside else None
            raise ModelError("expected a model's folder, found no config.json in it", path=folder, remedy=remedy)
    else:
        path = _hub.fetch_file(source, "config.json", revision)
    config = read_object(path)
    if config.get("transformers_weights") is not None:
        files.safe_name(str(config["transformers_weights"]), path.parent)
    for place, name in _implementations(config):
        if name is not None and not (isinstance(name, str) and _PLAIN_NAME.fullmatch(name)):
            raise ModelError(
                f"expected {place} to name what is built in, got {quoted(name)}",
                path=path,
                remedy="transformers would fetch it from the hub and run it. Remove the line from the file.",
            )
    return config


def _implementations(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what a configuration, and those within it, say of how things are computed; a dict says it for each part."""
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        if any(str(key).endswith(each) for each in _IMPLEMENTATIONS):
            parts = inner if isinstance(inner, dict) else {"": inner}
            yield from ((f"{place}{key}", name) for name in parts.values())
        else:
            yield from _implementations(inner, f"{place}{key}.")


def load_processor(source: str, processor_class: Any, what: str) -> Any:
    """Return a model's processor, always with Pillow's resizing.

    torchvision's, which transformers prefers where it is, gives other pixels.

    Raises:
        ModelError: If files are missing or broken.
    """
    try:
        processor = processor_class.from_pretrained(source, trust_remote_code=False, backend="pil")
        processor.tokenizer("a")  # some settings are only looked at then
        return processor
    except Exception as error:  # what is wrong with a broken file shows in any way
        raise ModelError(f"expected {what} in transformers' layout, got {_reason(error)}", path=source) from error


def load_model(
    source: str, model_class: Any, what: str, dtype: str, attn_implementation: str | Mapping[Part, str] | None
) -> Any:
    """Return a model in transformers' layout, with all of its weights.

    Args:
        source: A local folder, or a name on the hub.
        model_class: One of transformers' classes, or auto classes.
        what: How errors call it, such as "a Florence-2".
        dtype: What the weights are held in.
        attn_implementation: See `Family.load`.

    Raises:
        ModelError: If files are missing or broken, weights are missing, or dtype or attention are not to be had.
        DatasetError: If an index names weights outside the folder.
    """
    _require_dtype(dtype)
    options: dict[str, Any] = {"dtype": dtype}
    if attn_implementation is not None:
        options["attn_implementation"] = _attention(attn_implementation)
    if any(Path(source).glob("*.index.json")):
        weight_files(Path(source))
    try:
        # With loading info two things come back, which transformers' annotations do not know.
        loaded: Any = model_class.from_pretrained(source, trust_remote_code=False, output_loading_info=True, **options)
        model, found = loaded
    except Exception as error:  # of any class, as above
        raise ModelError(f"expected {what} in transformers' layout, got {_reason(error)}", path=source) from error
    # Weights that were not found are drawn at random, which nothing but the scores would show.
    left_out = sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])})
    if left_out:
        raise ModelError(
            f"expected all weights of {what} in transformers' layout, got none for {len(left_out)} of them, such as "
            f"{quoted(left_out[0])}",
            path=source,
            remedy=_TIE if all(name.endswith(_TIED) for name in left_out) else _OTHER_NAMES,
        )
    return model


def outline_model(source: str, model_class: Any, what: str, dtype: str) -> Any:
    """Return a model in transformers' layout without weights: its parameters are on PyTorch's device "meta".

    Args:
        source: A local folder.
        model_class: As in `load_model`.
        what: As in `load_model`.
        dtype: As in `load_model`.

    Raises:
        ModelError: If the configuration is broken, or there is no such dtype.
    """
    import torch
    from transformers import AutoConfig, GenerationConfig

    _require_dtype(dtype)
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        with torch.device("meta"):
            model = model_class.from_config(config, dtype=getattr(torch, dtype), trust_remote_code=False)
        if (Path(source) / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(source)
    except Exception as error:  # of any class, as above
        raise ModelError(f"expected {what} in transformers' layout, got {_reason(error)}", path=source) from error
    return model


def _require_dtype(dtype: str) -> None:
    if dtype not in DTYPES:
        raise ModelError(f"expected a dtype among {', '.join(DTYPES)}, got {quoted(dtype)}")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {said(error)}"


def _attention(wanted: str | Mapping[Part, str]) -> str | dict[str, str]:
    if isinstance(wanted, str):
        return wanted
    if unknown := sorted(set(wanted) - set(_CONFIGS)):
        raise ModelError(f"expected attention for the parts {', '.join(_CONFIGS)}, got {', '.join(unknown)}")
    return {_CONFIGS[part]: attention for part, attention in wanted.items()}


def settle_generation(
    model: Any,
    *,
    begin: int | None,
    pad: int | None,
    end: Sequence[int],
    start: int | None = None,
    never: Sequence[int] = (),
) -> None:
    """Give a model generation settings with what the answers' form needs, and nothing else.

    A checkpoint's own would change the answers: Florence-2's forbid repeated triples of tokens, which coordinates have,
    and put </s> where an answer is cut, which would hide that it is; Qwen's sample. Of its own the tokens that end a
    text are kept.

    Args:
        model: As it was loaded.
        begin: The token that begins a text.
        pad: The one that fills up the shorter answers of a batch.
        end: Those that end an answer, the one that is taught first.
        start: The one that the decoder of an encoder-decoder starts with.
        never: Those that are not to be written.
    """
    from transformers import GenerationConfig

    own = model.generation_config.eos_token_id
    model.generation_config = GenerationConfig(
        bos_token_id=begin,
        pad_token_id=pad,
        eos_token_id=list(dict.fromkeys([*end, *(own if isinstance(own, list) else [] if own is None else [own])])),
        decoder_start_token_id=start,
        suppress_tokens=list(never) or None,
    )


# What transformers calls the vision part; its own files always name it, remote code's never.
_NATIVE_VISION = "florence_vision"


def is_remote_code(config: Mapping[str, Any]) -> bool:
    """Return whether a config.json is of a Florence-2 whose weights have the names of Microsoft's remote code."""
    vision = config.get("vision_config")
    is_native = isinstance(vision, Mapping) and vision.get("model_type") == _NATIVE_VISION
    return config.get("model_type") == "florence2" and not is_native
