"""A Florence-2 of the large one's shape with random weights: what it computes costs as much as the published one's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lmm_detector import _families
from rbox_formats import codecs, synthetic
from rbox_testing.tiny_florence2 import save_tiny_florence2

# microsoft/Florence-2-large's config.json: 0.77 G parameters.
VISION = {
    "depths": (1, 1, 9, 1),
    "embed_dim": (256, 512, 1024, 2048),
    "num_heads": (8, 16, 32, 64),
    "num_groups": (8, 16, 32, 64),
    "window_size": 12,
    "projection_dim": 1024,
}
TEXT = {
    "d_model": 1024,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_attention_heads": 16,
    "decoder_attention_heads": 16,
    "encoder_ffn_dim": 4096,
    "decoder_ffn_dim": 4096,
    "vocab_size": 51328,  # 51,289 and what makes a multiple of 64
    "max_position_embeddings": 4096,
}


def family(
    folder: Path, *, tiny: bool, image_size: int = 1024, dtype: str = "float32", attention: Any = None, seed: int = 0
) -> Any:
    """Return the model with a small tokenizer; `tiny`: of half a million parameters, for machines without a GPU.

    Args:
        folder: Where the tokenizer and the tiny model are written.
        tiny: See above.
        image_size: Side of the square that images are resized to, in pixels.
        dtype: What the weights are held in.
        attention: "sdpa" or "flash_attention_2".
        seed: Of the weights.
    """
    import torch
    from transformers import BartConfig, Florence2Config, Florence2ForConditionalGeneration

    positions = max(2048, (image_size // 32) ** 2 + 64)
    save_tiny_florence2(
        folder, synthetic.CLASS_NAMES, codecs.get("florence2"), image_size=image_size, max_tokens=positions, seed=seed
    )
    made = _families.load(str(folder), dtype=dtype, attn_implementation=attention)
    if tiny:
        return made
    small = made.model.config
    text = BartConfig(
        **{**small.text_config.to_dict(), **TEXT, "attn_implementation": None, "dropout": 0.1},
    )
    config = Florence2Config(text_config=text, vision_config=VISION, image_token_id=small.image_token_id)
    config._attn_implementation = attention or "sdpa"
    torch.manual_seed(seed)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Florence2ForConditionalGeneration._from_config(config, dtype=getattr(torch, dtype))
    model.generation_config = made.model.generation_config
    return type(made)(model, made.processor)
