"""The small Florence-2 that comes with lmm-detector: its shape, its tokenizer, and the weights that it begins with.

All of it is the stock `Florence2ForConditionalGeneration`, written to a folder and loaded from there like any other.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from rbox_formats import ClassNames
from rbox_formats.codecs import Codec
from rbox_testing.tiny_florence2 import byte_level

SIDE = 96  # px, of the windows
CELL = 12  # px, of an image token: 8 x 8 of them
POSITIONS = 256  # of image and prompt, and of an answer
NUMBERS = tuple(f"{number}," for number in range(1001))  # of centres and sides, as the codec "plain" writes them
ANGLES = tuple(f"{degrees}]" for degrees in range(-90, 90))

VISION: dict[str, Any] = {
    "depths": (1, 1, 1, 1),
    "embed_dim": (64, 96, 128, 128),
    "num_heads": (2, 3, 4, 4),
    "num_groups": (2, 3, 4, 4),
    "patch_size": (8, 3, 3, 3),
    "patch_padding": (1, 1, 1, 1),
    "patch_stride": (6, 2, 1, 1),  # 16 x 16 places, then 8 x 8
    "window_size": 8,  # from the second stage on every place attends to every other
    "projection_dim": 128,
    "drop_path_rate": 0.0,
}
LANGUAGE: dict[str, Any] = {
    "d_model": 128,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 256,
    "decoder_ffn_dim": 512,
    "max_position_embeddings": POSITIONS,
    "dropout": 0.0,
    "forced_eos_token_id": None,
}


def save_model(folder: Path, class_names: ClassNames, codec: Codec, *, seed: int) -> None:
    """Write the model with the weights that it begins with, and its processor.

    Args:
        folder: The folder to write to.
        class_names: The classes that are one token each.
        codec: "plain", whose numbers are one token each.
        seed: Seed of the random weights.
    """
    from transformers import BartConfig, Florence2Config, Florence2ForConditionalGeneration, Florence2Processor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = _tokenizer(class_names, codec)
    size = {"height": SIDE, "width": SIDE}
    image_processor = CLIPImageProcessorPil(
        size=size, crop_size=size, do_center_crop=False, image_seq_length=(SIDE // CELL) ** 2 + 1
    )
    text = BartConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        **LANGUAGE,
    )
    config = Florence2Config(text_config=text, vision_config=VISION, image_token_id=tokenizer.image_token_id)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = Florence2ForConditionalGeneration(config)
        _begin_smoothly(model, tokenizer)
    model.save_pretrained(folder)
    Florence2Processor(image_processor=image_processor, tokenizer=tokenizer).save_pretrained(folder)


def _tokenizer(class_names: ClassNames, codec: Codec) -> Any:
    """Return a tokenizer in which a number and the sign after it are one token."""
    tokenizer = byte_level([codec.question(class_names), codec.empty_answer or ""] * 2, size=320)
    tokenizer.add_tokens([*class_names, *NUMBERS, *ANGLES])
    return tokenizer


def _begin_smoothly(model: Any, tokenizer: Any) -> None:
    """Initialise number tokens as smooth functions of the number, places of the image by row and column.

    Rows drawn at random would have to learn from the answers alone that 499 lies beside 500.
    """
    table = model.get_input_embeddings().weight
    table.normal_(0, 0.05)
    width = table.shape[1]
    for tokens, period, most in ((NUMBERS, 2 * len(NUMBERS), 32), (ANGLES, len(ANGLES), 8)):
        rows = waves(len(tokens), width, period, most)
        table[tokenizer.convert_tokens_to_ids(list(tokens))] = 0.06 * rows + 0.03 * torch.randn(width)
    places = model.model.multi_modal_projector.image_position_embed
    for each in (places.row_embeddings.weight, places.column_embeddings.weight):
        count = SIDE // CELL
        each.copy_(0.5 * waves(len(each), each.shape[1], 2 * count, 6))


def waves(count: int, width: int, period: float, most: int) -> torch.Tensor:
    """Return rows (count, width), of about unit variance, of waves along random directions.

    Args:
        count: Number of rows, one for each of the values 0, 1, ...
        width: Length of a row.
        period: Period of the longest wave, in values.
        most: How many waves the shortest has within that; their height falls with the root of their number.
    """
    places = torch.arange(count, dtype=torch.float32)[:, None] * (2 * math.pi / period)
    numbers = torch.arange(1, most + 1, dtype=torch.float32)
    height = numbers**-0.5
    features = torch.cat([torch.cos(places * numbers) * height, torch.sin(places * numbers) * height], dim=1)
    directions = torch.randn(2 * most, width) / height.pow(2).sum().sqrt()
    return features @ directions
