"""A Florence-2 of half a million random parameters, with a tokenizer trained on the spot: for demonstrations and tests.

It is written to a folder like any checkpoint and loaded from there like any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rbox_formats import ClassNames
from rbox_formats.codecs import Codec

IMAGE_SIZE = 96  # three by three image tokens and one for their mean


def save_tiny_florence2(
    folder: str | Path,
    class_names: ClassNames,
    codec: Codec,
    *,
    image_size: int = IMAGE_SIZE,
    max_tokens: int = 512,
    seed: int = 0,
) -> Path:
    """Write a tiny, randomly initialised Florence-2 with its processor.

    Args:
        folder: The folder to write to.
        class_names: The names that its tokenizer learns.
        codec: The codec whose tokens and prompt its tokenizer holds.
        image_size: Side of the square that images are resized to, in pixels, a multiple of 32.
        max_tokens: The longest prompt with image, and the longest answer.
        seed: Seed of the random weights.

    Returns:
        The folder.
    """
    import torch
    from transformers import BartConfig, Florence2Config, Florence2ForConditionalGeneration, Florence2Processor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = _tokenizer(class_names, codec)
    image_processor = CLIPImageProcessorPil(
        size={"height": image_size, "width": image_size},
        crop_size={"height": image_size, "width": image_size},
        do_center_crop=False,
        image_seq_length=(image_size // 32) ** 2 + 1,
    )
    text_config = BartConfig(
        vocab_size=len(tokenizer),
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        max_position_embeddings=max_tokens,
        dropout=0.0,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=None,
    )
    vision_config = {
        "depths": (1, 1, 1, 1),
        "embed_dim": (16, 32, 48, 64),
        "num_heads": (1, 2, 4, 8),
        "num_groups": (1, 2, 4, 8),
        "window_size": 6,
        "projection_dim": 64,
        "drop_path_rate": 0.0,
    }
    config = Florence2Config(
        text_config=text_config, vision_config=vision_config, image_token_id=tokenizer.image_token_id
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Florence2ForConditionalGeneration(config)
    folder = Path(folder)
    model.save_pretrained(folder)
    Florence2Processor(image_processor=image_processor, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def _tokenizer(class_names: ClassNames, codec: Codec) -> Any:
    """Make a tokenizer that knows the prompt, the names and the codec's tokens."""
    names = [name.replace("-", " ").lower() for name in class_names]
    tokenizer = byte_level([codec.question(ClassNames(names)), *names], size=512)
    tokenizer.add_tokens(list(codec.added_tokens), special_tokens=True)
    return tokenizer


def byte_level(texts: Iterable[str], *, size: int) -> Any:
    """Train a byte-level BPE tokenizer like BART's on some texts, with at most this number of tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    start, pad, end, unknown = "<s>", "<pad>", "</s>", "<unk>"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[start, pad, end, unknown],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(token, tokenizer.token_to_id(token)) for token in (start, end)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=start,
        pad_token=pad,
        eos_token=end,
        unk_token=unknown,
        extra_special_tokens={"image_token": "<image>"},
    )
