"""Which weight of Microsoft's remote code is which of transformers' Florence-2.

The names are those of `modeling_florence2.py` in microsoft/Florence-2-large and of `modeling_florence2.py` in
transformers; that they mean the same follows from the order in which both apply them. Remote code wraps the parts of a
block in modules that add the residual (`fn`) and normalise before (`norm`), which transformers writes out.
"""

from __future__ import annotations

import re

_PROJECTOR = "model.multi_modal_projector"
_BLOCK = r"vision_tower\.blocks\.(\d+)\.(\d+)\.(spatial_block|channel_block)\."
_NATIVE_BLOCK = r"model.vision_tower.blocks.\1.\2.\3."

# A key is renamed by the one rule that it begins with; what follows stays.
_RULES = tuple(
    (re.compile(old), new)
    for old, new in (
        (r"vision_tower\.convs\.(\d+)\.proj\.", r"model.vision_tower.convs.\1.conv."),
        (r"vision_tower\.convs\.(\d+)\.norm\.", r"model.vision_tower.convs.\1.norm."),
        (_BLOCK + r"(conv[12])\.fn\.dw\.", _NATIVE_BLOCK + r"\4."),
        (_BLOCK + r"(?:window|channel)_attn\.norm\.", _NATIVE_BLOCK + "norm1."),
        (_BLOCK + r"((?:window|channel)_attn)\.fn\.", _NATIVE_BLOCK + r"\4."),
        (_BLOCK + r"ffn\.norm\.", _NATIVE_BLOCK + "norm2."),
        (_BLOCK + r"ffn\.fn\.net\.", _NATIVE_BLOCK + "ffn."),
        (r"image_projection$", f"{_PROJECTOR}.image_projection.weight"),
        (r"image_proj_norm\.", f"{_PROJECTOR}.image_proj_norm."),
        (r"image_pos_embed\.", f"{_PROJECTOR}.image_position_embed."),
        (r"visual_temporal_embed\.", f"{_PROJECTOR}.visual_temporal_embed."),
        (r"language_model\.model\.", "model.language_model."),
        (r"language_model\.lm_head\.", "lm_head."),
    )
)

# Remote code holds it as a parameter that is multiplied from the right, transformers as a linear layer's weight.
TRANSPOSED = "image_projection"

# The table of word embeddings, under each of the names under which remote code holds the one tensor.
EMBEDDINGS = (
    "language_model.model.shared.weight",
    "language_model.model.encoder.embed_tokens.weight",
    "language_model.model.decoder.embed_tokens.weight",
    "language_model.lm_head.weight",
)

# A buffer of BART that is added to the logits. It is zero in every published checkpoint; transformers has none.
LOGITS_BIAS = "language_model.final_logits_bias"


def native_name(key: str) -> str | None:
    """Return the name in transformers' layout of a weight of remote code, or None for a key that has none.

    >>> native_name("vision_tower.blocks.2.8.channel_block.ffn.fn.net.fc1.bias")
    'model.vision_tower.blocks.2.8.channel_block.ffn.fc1.bias'
    """
    for old, new in _RULES:
        if match := old.match(key):
            return match.expand(new) + key[match.end() :]
    return None
