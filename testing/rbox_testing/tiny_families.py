"""Random models of all families with some ten thousand parameters, and tokenizers trained on the spot: for tests.

Like `rbox_testing.tiny_florence2`'s, they are written to a folder like any checkpoint and loaded from there like any
other. Their chat template is our own, in the manner of ChatML.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rbox_formats import ClassNames
from rbox_formats.codecs import Codec

from rbox_testing.tiny_florence2 import save_tiny_florence2

WIDTH = 32
_PATCH = 14
SIDE = 4 * _PATCH  # of an image, or of a tile of one: four by four patches

_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for content in message.content %}"
    "{% if content.type == 'image' %}IMAGE{% else %}{{ content.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_TURNS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

_Saved = tuple[Any, Any]  # model and processor


def save_tiny(
    model_type: str, folder: str | Path, class_names: ClassNames, codec: Codec, *, tied: bool = True, seed: int = 0
) -> Path:
    """Write a tiny, randomly initialised model of a type with its processor.

    Args:
        model_type: One of `lmm_detector._families.FAMILIES`.
        folder: The folder to write to.
        class_names: The names that its tokenizer learns.
        codec: The codec whose prompt, and names of classes, its tokenizer learns; its added tokens are not there, but
            in Florence-2's and PaliGemma's.
        tied: Whether the output head is the table of embeddings.
        seed: Seed of the random weights.

    Returns:
        The folder.
    """
    import torch

    if model_type == "florence2":
        return save_tiny_florence2(folder, class_names, codec, image_size=64, seed=seed)
    texts = [codec.question(class_names), *class_names, *(name.replace("-", " ").lower() for name in class_names)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, processor = _MAKERS[model_type](texts, tied)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return Path(folder)


_QWEN3_VISION: dict[str, Any] = {
    "out_hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_position_embeddings": 16,
    "deepstack_visual_indexes": [0],
}
# Qwen-VL by model type: the name of its classes, its own vision, and what its text model has beside the others'.
_QWEN: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "qwen2_vl": ("Qwen2VL", {"embed_dim": WIDTH, "mlp_ratio": 2}, {}),
    "qwen2_5_vl": (
        "Qwen2_5_VL",
        {
            "out_hidden_size": WIDTH,
            "intermediate_size": 2 * WIDTH,
            "window_size": 2 * _PATCH,
            "fullatt_block_indexes": [1],
        },
        {},
    ),
    "qwen3_vl": ("Qwen3VL", _QWEN3_VISION, {"head_dim": WIDTH // 2}),
    # The first layer has experts, and a token uses two; as published, no side of an expert is twice another.
    "qwen3_vl_moe": (
        "Qwen3VLMoe",
        _QWEN3_VISION,
        {
            "head_dim": WIDTH // 2,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "mlp_only_layers": [1],
        },
    ),
}


def _qwen(model_type: str, texts: Sequence[str], tied: bool) -> _Saved:
    import transformers
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    name, vision, text = _QWEN[model_type]
    marks = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer = _byte_level(texts, (*_TURNS, *marks))
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(marks))
    config = getattr(transformers, f"{name}Config")(
        vision_config={"hidden_size": WIDTH, "depth": 2, "num_heads": 2, "patch_size": _PATCH, **vision},
        text_config={
            **_text_config(tokenizer, tied),
            **text,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]},
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
        tie_word_embeddings=tied,
    )
    image_processor = Qwen2VLImageProcessorPil(
        patch_size=_PATCH, size={"shortest_edge": (2 * _PATCH) ** 2, "longest_edge": (8 * _PATCH) ** 2}
    )
    template = _CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    model = getattr(transformers, f"{name}ForConditionalGeneration")(config)
    return model, _processor(model_type, image_processor, tokenizer, template)


def _internvl(texts: Sequence[str], tied: bool) -> _Saved:
    from transformers import InternVLConfig, InternVLForConditionalGeneration
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    marks = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = _byte_level(texts, _TURNS, marks)
    config = InternVLConfig(
        vision_config={**_vision_config(), "image_size": (SIDE, SIDE), "patch_size": (_PATCH, _PATCH)},
        text_config={**_text_config(tokenizer, tied), "model_type": "qwen2"},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=tied,
    )
    image_processor = GotOcr2ImageProcessorPil(size={"height": SIDE, "width": SIDE}, min_patches=1, max_patches=4)
    template = _CHATML.replace("IMAGE", "<IMG_CONTEXT>\n")
    processor = _processor("internvl", image_processor, tokenizer, template, image_seq_length=4)
    return InternVLForConditionalGeneration(config), processor


def _llava_onevision(texts: Sequence[str], tied: bool) -> _Saved:
    from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

    grids = [[SIDE, SIDE], [SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
    tokenizer = _byte_level(texts, (*_TURNS, "<image>", "<video>"))
    image, video = tokenizer.convert_tokens_to_ids(["<image>", "<video>"])
    config = LlavaOnevisionConfig(
        vision_config={**_vision_config(), "model_type": "siglip_vision_model", "vision_use_head": False},
        text_config={**_text_config(tokenizer, tied), "model_type": "qwen2"},
        image_token_index=image,
        video_token_index=video,
        image_grid_pinpoints=grids,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_4",
        tie_word_embeddings=tied,
    )
    processor = _processor(
        "llava_onevision",
        LlavaOnevisionImageProcessorPil(size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=grids),
        tokenizer,
        _CHATML.replace("IMAGE", "<image>\n"),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_4",
    )
    return LlavaOnevisionForConditionalGeneration(config), processor


def _paligemma(texts: Sequence[str], tied: bool) -> _Saved:
    """Make a PaliGemma 2, with Gemma 2's bounded logits and its sliding windows."""
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration, PaliGemmaProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    image_processor: Any = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    image_processor.image_seq_length = 16
    # The processor adds its tokens to the tokenizer.
    processor = PaliGemmaProcessor(image_processor=image_processor, tokenizer=_pieces(texts))
    tokenizer = processor.tokenizer
    config = PaliGemmaConfig(
        vision_config={**_vision_config(), "model_type": "siglip_vision_model", "vision_use_head": False},
        text_config={
            **_text_config(tokenizer, tied),
            "model_type": "gemma2",
            "head_dim": WIDTH // 2,
            "sliding_window": 8,
            "query_pre_attn_scalar": WIDTH // 2,
            "final_logit_softcapping": 10.0,  # a third of Gemma 2's: it shows in the logits of small weights
        },
        image_token_index=processor.image_token_id,
        projection_dim=WIDTH,
        hidden_size=WIDTH,
        tie_word_embeddings=tied,
    )
    return PaliGemmaForConditionalGeneration(config), processor


# As Gemma 3's: the assistant's turns are the model's, and texts lose the space around them.
_GEMMA = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>{{ 'model' if message.role == 'assistant' else "
    "message.role }}\n{% for content in message.content %}{% if content.type == 'image' %}<start_of_image>{% else %}"
    "{{ content.text | trim }}{% endif %}{% endfor %}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def _gemma3(texts: Sequence[str], tied: bool) -> _Saved:
    from tokenizers.processors import TemplateProcessing
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    marks = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = _pieces(texts, ("<start_of_turn>", "<end_of_turn>"), marks)
    # It begins every text, also one that its template has begun already.
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)]
    )
    config = Gemma3Config(
        vision_config={**_vision_config(), "model_type": "siglip_vision_model", "vision_use_head": False},
        text_config={
            **_text_config(tokenizer, tied),
            "model_type": "gemma3_text",
            "head_dim": WIDTH // 2,
            "query_pre_attn_scalar": WIDTH // 2,
            "sliding_window": 8,
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
            },
        },
        boi_token_index=tokenizer.convert_tokens_to_ids(marks["boi_token"]),
        eoi_token_index=tokenizer.convert_tokens_to_ids(marks["eoi_token"]),
        image_token_index=tokenizer.convert_tokens_to_ids(marks["image_token"]),
        mm_tokens_per_image=4,
        tie_word_embeddings=tied,
    )
    image_processor = Gemma3ImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    processor = _processor("gemma3", image_processor, tokenizer, _GEMMA, image_seq_length=4)
    return Gemma3ForConditionalGeneration(config), processor


# As Idefics3's and SmolVLM's: one start, roles with capitals, and a space before what is no image.
_IDEFICS = (
    "<|im_start|>{% for message in messages %}{{ message.role | capitalize }}:"
    "{% if message.content[0].type != 'image' %} {% endif %}{% for content in message.content %}"
    "{% if content.type == 'image' %}<image>{% else %}{{ content.text }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def _idefics(model_type: str, texts: Sequence[str], tied: bool) -> _Saved:
    import transformers
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    name, image_processor_class = {
        "idefics3": ("Idefics3", Idefics3ImageProcessorPil),
        "smolvlm": ("SmolVLM", SmolVLMImageProcessorPil),
    }[model_type]
    places = [f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4)]
    marks = ("<global-img>", *places, "<fake_token_around_image>", "<image>", "<end_of_utterance>")
    tokenizer = _byte_level(texts, (*_TURNS, *marks), end="<end_of_utterance>", pad="<|im_end|>")
    config = getattr(transformers, f"{name}Config")(
        vision_config=_vision_config(),
        text_config={**_text_config(tokenizer, tied), "model_type": "llama"},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=tied,
    )
    image_processor = image_processor_class(size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE})
    processor = _processor(model_type, image_processor, tokenizer, _IDEFICS, image_seq_len=4)
    return getattr(transformers, f"{name}ForConditionalGeneration")(config), processor


# As GLM-4.1V's: a turn has no end but the next one's beginning, and the assistant's are texts.
_GLM = (
    "[gMASK]<sop>{% for message in messages %}<|{{ message.role }}|>\n{% if message.role == 'assistant' %}"
    "{{ message.content }}{% else %}{% for content in message.content %}{% if content.type == 'image' %}"
    "<|begin_of_image|><|image|><|end_of_image|>{% else %}{{ content.text }}{% endif %}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def _glm4v(texts: Sequence[str], tied: bool) -> _Saved:
    from transformers import Glm4vConfig, Glm4vForConditionalGeneration
    from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil

    roles = ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
    ends = [f"<|{which}_of_{kind}|>" for kind in ("image", "video") for which in ("begin", "end")]
    thoughts = ("<think>", "</think>", "<answer>", "</answer>")
    special = ("<|endoftext|>", *roles, *ends, *thoughts, "<|image|>", "<|video|>")
    tokenizer = _byte_level(texts, special, end="<|endoftext|>")
    image, video, *places = tokenizer.convert_tokens_to_ids(["<|image|>", "<|video|>", *ends])
    config = Glm4vConfig(
        vision_config={
            "hidden_size": WIDTH,
            "out_hidden_size": WIDTH,
            "intermediate_size": 2 * WIDTH,
            "depth": 2,
            "num_heads": 2,
            "image_size": SIDE,
            "patch_size": _PATCH,
        },
        text_config={
            **_text_config(tokenizer, tied),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "partial_rotary_factor": 0.5,
                "mrope_section": [1, 1, 2],
            },
        },
        image_token_id=image,
        video_token_id=video,
        image_start_token_id=places[0],
        image_end_token_id=places[1],
        video_start_token_id=places[2],
        video_end_token_id=places[3],
        tie_word_embeddings=tied,
    )
    # Of both frames of a patch, which an image fills.
    pixels = {"shortest_edge": 2 * (2 * _PATCH) ** 2, "longest_edge": 2 * (8 * _PATCH) ** 2}
    processor = _processor("glm4v", Glm4vImageProcessorPil(patch_size=_PATCH, size=pixels), tokenizer, _GLM)
    return Glm4vForConditionalGeneration(config), processor


_MAKERS: dict[str, Callable[[Sequence[str], bool], _Saved]] = {
    **{model_type: partial(_qwen, model_type) for model_type in _QWEN},
    **{model_type: partial(_idefics, model_type) for model_type in ("idefics3", "smolvlm")},
    "glm4v": _glm4v,
    "gemma3": _gemma3,
    "internvl": _internvl,
    "llava_onevision": _llava_onevision,
    "paligemma": _paligemma,
}


def _vision_config() -> dict[str, Any]:
    return {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": _PATCH,
    }


def _text_config(tokenizer: Any, tied: bool) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 1024,
        "initializer_range": 0.1,  # larger than usual: the answers of smaller weights are one token again and again
        "tie_word_embeddings": tied,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _processor(model_type: str, image_processor: Any, tokenizer: Any, template: str, **options: Any) -> Any:
    from lmm_detector._families.chat import processor_class

    return processor_class(model_type)(
        image_processor=image_processor, tokenizer=tokenizer, chat_template=template, **options
    )


def _byte_level(
    texts: Sequence[str],
    special: Sequence[str],
    named: dict[str, str] | None = None,
    *,
    end: str = "<|im_end|>",
    pad: str = "<|endoftext|>",
) -> Any:
    """Return a byte-level BPE tokenizer in Qwen's manner: no start, a turn's end as end-of-text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=end,
        pad_token=pad,
        extra_special_tokens=named or {},
    )


def _pieces(texts: Sequence[str], more: Sequence[str] = (), named: dict[str, str] | None = None) -> Any:
    """Return a BPE tokenizer of pieces with bytes to fall back on, in Gemma's manner."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    space = "\u2581"
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", space)
    trained.pre_tokenizer = pre_tokenizers.Split(Regex(f"(?={space})"), "isolated")
    trained.train_from_iterator([*texts, "0123456789;\n"], trainers.BpeTrainer(vocab_size=150, show_progress=False))
    special = ["<pad>", "<eos>", "<bos>", "<unk>", *more, *(f"<0x{byte:02X}>" for byte in range(256))]
    learnt = sorted(trained.get_vocab().items(), key=lambda item: item[1])
    vocabulary = {token: place for place, token in enumerate([*special, *(token for token, _ in learnt)])}
    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", space)
    tokenizer.decoder = decoders.Sequence([decoders.Replace(space, " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(list(more))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        extra_special_tokens=named or {},
    )
