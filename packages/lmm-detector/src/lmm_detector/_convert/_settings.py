"""From the configuration of Microsoft's remote code to that of transformers' Florence-2."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbox_formats.errors import quoted

from lmm_detector._families._loading import is_remote_code
from lmm_detector.errors import ModelError

if TYPE_CHECKING:
    from transformers import Florence2Config, GenerationConfig


_DIMENSIONS = ("depths", "num_heads", "num_groups", "projection_dim")
# Remote code's defaults of these are transformers' as well.
_OPTIONAL = ("drop_path_rate", "patch_size", "patch_stride", "patch_padding", "patch_prenorm", "window_size")

# What remote code leaves open and transformers has built in: the setting, and the one value that both know.
_BUILT_IN: tuple[tuple[tuple[str, ...], Any], ...] = (
    (("image_feature_source",), ["spatial_avg_pool", "temporal_avg_pool"]),
    (("image_pos_embed", "type"), "learned_abs_2d"),
    (("visual_temporal_embedding", "type"), "COSINE"),
)

_SPECIAL_TOKENS = ("bos_token_id", "pad_token_id", "eos_token_id", "decoder_start_token_id")
_GENERATION = (*_SPECIAL_TOKENS, "forced_bos_token_id", "forced_eos_token_id", "no_repeat_ngram_size", "num_beams")


def check_source(config: Mapping[str, Any], path: Path) -> None:
    """Make sure that a configuration is remote code's, and of a model that transformers can compute.

    Raises:
        ModelError: If it is not.
    """
    if not is_remote_code(config):
        kind = config.get("model_type")
        found = "one in transformers' layout already" if kind == "florence2" else f"a model of type {quoted(kind)}"
        raise ModelError(f"expected a Florence-2 in the layout of Microsoft's remote code, got {found}", path=path)
    for part, keys in (("vision_config", ("dim_embed", *_DIMENSIONS)), ("text_config", ("d_model", *_SPECIAL_TOKENS))):
        section = config.get(part)
        if not isinstance(section, Mapping):
            raise ModelError(f"expected a {part}, found none", path=path)
        for key in keys:
            if section.get(key) is None:
                raise ModelError(f"expected {key} in {part}, found none", path=path)
    for names, expected in _BUILT_IN:
        value = config["vision_config"]
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        if value != expected:
            message = (
                f"expected {'.'.join(names)} {quoted(expected)}, which transformers has built in, got {quoted(value)}"
            )
            raise ModelError(message, path=path)


def native_config(
    source: Mapping[str, Any], *, vocabulary: int, positions: int, cells: int, frames: int, image_token_id: int
) -> Florence2Config:
    """Return the configuration in transformers' layout.

    Args:
        source: Remote code's, once `check_source` has seen it.
        vocabulary: Rows of the table of word embeddings.
        positions: Tokens that the encoder and the decoder have positions for.
        cells: Rows, and columns, that the image's positions are known for.
        frames: Rows of the table of temporal positions.
        image_token_id: Of the token that stands for the image.

    Sizes of tables are asked for, rather than taken from the source, since the weights are the ones that decide:
    fine-tuning resizes tables, and does not always write that down.
    """
    from dataclasses import fields

    from transformers import BartConfig, Florence2Config

    vision, text = source["vision_config"], source["text_config"]
    known = {field.name for field in fields(BartConfig)} - {"model_type", "dtype", "architectures", "output_attentions"}
    return Florence2Config(
        text_config=BartConfig(
            **{key: value for key, value in text.items() if key in known and value is not None}
            | {"vocab_size": vocabulary, "max_position_embeddings": positions, "tie_word_embeddings": True}
            # What closes an answer by force hides that it was cut; it is a setting of generation, and kept there.
            | {"forced_eos_token_id": None}
        ),
        vision_config={
            "embed_dim": vision["dim_embed"],
            **{key: vision[key] for key in _DIMENSIONS},
            **{key: vision[key] for key in _OPTIONAL if key in vision},
            "max_position_embeddings": cells,
            "max_temporal_embeddings": frames,
        },
        image_token_id=image_token_id,
    )


def generation_config(source: Mapping[str, Any]) -> GenerationConfig:
    """Return how remote code generates: it takes beams and forced tokens from its text configuration."""
    from transformers import GenerationConfig

    text = source["text_config"]
    settings = {key: text[key] for key in _GENERATION if text.get(key) is not None}
    if settings.get("num_beams", 1) > 1:
        settings["early_stopping"] = bool(text.get("early_stopping", False))
    return GenerationConfig(**settings)


def start_tokens(source: Mapping[str, Any]) -> int:
    """Return how many `<s>` LMMRotate teaches a model to write before its answer: num_beams - 2, or none.

    `lmmrotate/dataset.py` of VisionXLab/mllm-mmrotate at 9475a93, `_collate_fn_florence2`. With Florence-2's three
    beams it is one, which makes the answer `<s> answer </s>`, as BART was trained and as `lmm-detector train` has it.
    """
    return max(0, int(source["text_config"].get("num_beams") or 1) - 2)
