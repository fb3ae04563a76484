"""Conversion of remote-code Florence-2, against a table of names that is written down here by hand.

The remote-code side is made here, backwards, from a tiny model of transformers: its weights under Microsoft's names,
its table of word embeddings without the row for `<image>`, and Microsoft's files of settings, in which the tokenizer
has none of the tokens that Microsoft's processor adds when it is loaded.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from lmm_detector import Detector, _families, convert_checkpoint
from lmm_detector._convert import _names
from lmm_detector._families._loading import is_remote_code
from lmm_detector._prediction._detector import Generation
from lmm_detector.cli.main import main
from lmm_detector.errors import ModelError
from PIL import Image
from rbox_formats import codecs
from rbox_testing.samples import sampled
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import BartConfig, Florence2Config, Florence2ForConditionalGeneration

PROMPT = "Locate the objects tightly with quad boxes and category names in the image."  # LMMRotate's for <ROD>
BASE_TOKENS = 260  # four special ones and every byte; 1,024 more come with Microsoft's processor
ROWS = BASE_TOKENS + 1024
NATIVE_ROWS = 1344  # the next multiple of 64 with room for <image>
DEPTHS = (1, 1, 2, 1)
POSITIONS = 200
Weights = dict[str, torch.Tensor]


# What is in a block of the vision part: Microsoft's name, transformers' name.
BLOCK = {
    "{kind}_block.conv1.fn.dw.weight": "{kind}_block.conv1.weight",
    "{kind}_block.conv1.fn.dw.bias": "{kind}_block.conv1.bias",
    "{kind}_block.{attention}.norm.weight": "{kind}_block.norm1.weight",
    "{kind}_block.{attention}.norm.bias": "{kind}_block.norm1.bias",
    "{kind}_block.{attention}.fn.qkv.weight": "{kind}_block.{attention}.qkv.weight",
    "{kind}_block.{attention}.fn.qkv.bias": "{kind}_block.{attention}.qkv.bias",
    "{kind}_block.{attention}.fn.proj.weight": "{kind}_block.{attention}.proj.weight",
    "{kind}_block.{attention}.fn.proj.bias": "{kind}_block.{attention}.proj.bias",
    "{kind}_block.conv2.fn.dw.weight": "{kind}_block.conv2.weight",
    "{kind}_block.conv2.fn.dw.bias": "{kind}_block.conv2.bias",
    "{kind}_block.ffn.norm.weight": "{kind}_block.norm2.weight",
    "{kind}_block.ffn.norm.bias": "{kind}_block.norm2.bias",
    "{kind}_block.ffn.fn.net.fc1.weight": "{kind}_block.ffn.fc1.weight",
    "{kind}_block.ffn.fn.net.fc1.bias": "{kind}_block.ffn.fc1.bias",
    "{kind}_block.ffn.fn.net.fc2.weight": "{kind}_block.ffn.fc2.weight",
    "{kind}_block.ffn.fn.net.fc2.bias": "{kind}_block.ffn.fc2.bias",
}
CONVOLUTION = {
    "proj.weight": "conv.weight",
    "proj.bias": "conv.bias",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
}
PROJECTOR = {
    "image_projection": "image_projection.weight",
    "image_proj_norm.weight": "image_proj_norm.weight",
    "image_proj_norm.bias": "image_proj_norm.bias",
    "image_pos_embed.row_embeddings.weight": "image_position_embed.row_embeddings.weight",
    "image_pos_embed.column_embeddings.weight": "image_position_embed.column_embeddings.weight",
    "visual_temporal_embed.pos_idx_to_embed": "visual_temporal_embed.pos_idx_to_embed",
}
ATTENTION = [f"{part}_proj.{kind}" for part in "qkv" for kind in ("weight", "bias")]
ATTENTION += ["out_proj.weight", "out_proj.bias"]


def table_of_names() -> dict[str, str]:
    """Every key of a Florence-2 of `DEPTHS` and one layer of text, Microsoft's name: transformers' name."""
    names = {}
    for stage, depth in enumerate(DEPTHS):
        for old, new in CONVOLUTION.items():
            names[f"vision_tower.convs.{stage}.{old}"] = f"model.vision_tower.convs.{stage}.{new}"
        for block in range(depth):
            for kind, attention in (("spatial", "window_attn"), ("channel", "channel_attn")):
                for old, new in BLOCK.items():
                    place = f"vision_tower.blocks.{stage}.{block}."
                    values = {"kind": kind, "attention": attention}
                    names[place + old.format(**values)] = "model." + place + new.format(**values)
    names |= {old: f"model.multi_modal_projector.{new}" for old, new in PROJECTOR.items()}
    text = ["shared.weight"]
    for part, attentions in (("encoder", ["self_attn"]), ("decoder", ["self_attn", "encoder_attn"])):
        norms = [f"{name}_layer_norm" for name in (*attentions, "final")]
        text += [f"{part}.embed_tokens.weight", f"{part}.embed_positions.weight"]
        text += [f"{part}.layernorm_embedding.{kind}" for kind in ("weight", "bias")]
        text += [f"{part}.layers.0.{name}.{leaf}" for name in attentions for leaf in ATTENTION]
        text += [f"{part}.layers.0.{name}.{kind}" for name in (*norms, "fc1", "fc2") for kind in ("weight", "bias")]
    names |= {f"language_model.model.{name}": f"model.language_model.{name}" for name in text}
    return names | {"language_model.lm_head.weight": "lm_head.weight"}


NAMES = table_of_names()
TIED = [key for key in NAMES if "embed_tokens" in key or "lm_head" in key]


def native_model(positions: int = POSITIONS, cells: int = 50) -> Florence2ForConditionalGeneration:
    """Random weights, of which the embeddings behind those of the tokenizer are the mean of the ones before."""
    text = BartConfig(
        vocab_size=NATIVE_ROWS, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=positions,
        forced_eos_token_id=None,
    )  # fmt: skip
    vision = {
        "depths": DEPTHS, "embed_dim": (8, 16, 24, 32), "num_heads": (1, 2, 3, 4), "num_groups": (1, 2, 3, 4),
        "window_size": 6, "projection_dim": 32, "max_position_embeddings": cells,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Florence2ForConditionalGeneration(
            Florence2Config(text_config=text, vision_config=vision, image_token_id=ROWS)
        )
        for parameter in model.parameters():  # norms and biases too, whose ones and zeros would hide a mix-up
            torch.nn.init.normal_(parameter, std=0.2)
    table = model.model.language_model.shared.weight.data
    table[ROWS:] = table[:ROWS].double().mean(dim=0).float()
    return model.eval()


def remote_weights(model: Florence2ForConditionalGeneration) -> Weights:
    """Under Microsoft's names, with every duplicate that the remote code's state has."""
    state = model.state_dict()
    weights = {old: state[new].clone() for old, new in NAMES.items()}
    weights["image_projection"] = weights["image_projection"].t().contiguous()
    for key in ("language_model.model.shared.weight", *TIED):
        weights[key] = weights[key][:ROWS].clone()
    return weights | {"language_model.final_logits_bias": torch.zeros(1, ROWS)}


CONFIG: dict[str, Any] = {
    "model_type": "florence2",
    "auto_map": {"AutoModelForCausalLM": "modeling_florence2.Florence2ForConditionalGeneration"},
    "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,  # as in some published files; the text part's count
    "vocab_size": ROWS, "projection_dim": 32,
    "text_config": {
        "model_type": "florence2_language", "vocab_size": ROWS, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
        "max_position_embeddings": POSITIONS, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
        "decoder_start_token_id": 2, "forced_bos_token_id": 0, "forced_eos_token_id": 2, "no_repeat_ngram_size": 3,
        "num_beams": 3, "early_stopping": True, "normalize_before": False, "output_attentions": True,
    },
    "vision_config": {
        "model_type": "davit", "depths": list(DEPTHS), "dim_embed": [8, 16, 24, 32], "num_heads": [1, 2, 3, 4],
        "num_groups": [1, 2, 3, 4], "window_size": 6, "projection_dim": 32, "drop_path_rate": 0.1,
        "patch_size": [7, 3, 3, 3], "patch_stride": [4, 2, 2, 2], "patch_padding": [3, 1, 1, 1],
        "patch_prenorm": [False, True, True, True], "enable_checkpoint": False,
        "visual_temporal_embedding": {"type": "COSINE", "max_temporal_embeddings": 100},
        "image_pos_embed": {"type": "learned_abs_2d", "max_pos_embeddings": 50},
        "image_feature_source": ["spatial_avg_pool", "temporal_avg_pool"],
    },
}  # fmt: skip
PREPROCESSOR = {
    "auto_map": {"AutoProcessor": "processing_florence2.Florence2Processor"},
    "image_processor_type": "CLIPImageProcessor", "do_center_crop": False, "do_convert_rgb": None, "resample": 3,
    "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "image_seq_length": 577,
    "size": {"height": 64, "width": 64}, "crop_size": {"height": 64, "width": 64},
}  # fmt: skip


def write_tokenizer(folder: Path) -> None:
    """BART's kind, with a padding that was in force when it was saved."""
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(vocabulary)}, []))
    tokenizer.add_special_tokens(vocabulary[:4])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>", length=50)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_source(folder: Path, weights: Weights, config: dict[str, Any] = CONFIG) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    (folder / "modeling_florence2.py").write_text("raise RuntimeError('code of the checkpoint was run')")
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def native() -> Florence2ForConditionalGeneration:
    return native_model()


@pytest.fixture(scope="module")
def weights(native: Florence2ForConditionalGeneration) -> Weights:
    return remote_weights(native)


@pytest.fixture
def source(weights: Weights, tmp_path: Path) -> Path:
    return write_source(tmp_path / "source", weights)


def load(folder: Path) -> Florence2ForConditionalGeneration:
    model, found = Florence2ForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(found.values()), found
    return model.eval()


def inputs() -> dict[str, torch.Tensor]:
    """Five image tokens (64 px: two by two cells, and their mean) before a prompt."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(4, BASE_TOKENS, (2, 9), generator=generator)
    return {
        "input_ids": torch.cat([torch.full((2, 5), ROWS), ids], dim=1),
        "pixel_values": torch.randn(2, 3, 64, 64, generator=generator),
        "decoder_input_ids": torch.tensor([[2, 0, 264, 300], [2, 0, 7, 9]]),
    }


def logits(model: Florence2ForConditionalGeneration) -> torch.Tensor:
    with torch.inference_mode():
        return model(**inputs()).logits


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_every_key_by_a_table_written_by_hand(native: Florence2ForConditionalGeneration) -> None:
    assert {key: _names.native_name(key) for key in NAMES} == NAMES
    assert set(NAMES.values()) == set(native.state_dict())


@pytest.mark.parametrize(
    "key",
    ["vision_tower.norms.weight", "vision_tower.blocks.0.0.spatial_block.conv1.weight", "image_projection.weight",
     "vision_tower.blocks.0.0.other_block.ffn.norm.weight", "language_model.final_logits_bias", "lm_head.weight"],
)  # fmt: skip
def test_keys_that_remote_code_does_not_have(key: str) -> None:
    assert _names.native_name(key) is None


def test_the_same_outputs_bit_for_bit(source: Path, native: Florence2ForConditionalGeneration, tmp_path: Path) -> None:
    made = convert_checkpoint(source, tmp_path / "out")
    model = load(tmp_path / "out")
    assert torch.equal(logits(model), logits(native))
    assert same(model.state_dict(), native.state_dict())
    assert (made.left_over, made.missing, made.is_detector) == ((), (), False)
    assert made.weights == len(NAMES) - len(TIED)
    assert model.dtype == torch.float32


def test_the_new_rows_are_never_the_likeliest(source: Path, tmp_path: Path) -> None:
    convert_checkpoint(source, tmp_path / "out")
    values = logits(load(tmp_path / "out"))
    assert values.shape[-1] == NATIVE_ROWS
    torch.testing.assert_close(
        values[..., ROWS:], values[..., :ROWS].mean(-1, keepdim=True).expand(-1, -1, NATIVE_ROWS - ROWS)
    )
    assert (values.argmax(-1) < ROWS).all()


def test_the_processor_has_the_tokens_that_remote_code_adds_when_it_is_loaded(source: Path, tmp_path: Path) -> None:
    convert_checkpoint(source, tmp_path / "out")
    family = _families.load(str(tmp_path / "out"))
    tokenizer = family.processor.tokenizer
    ids = {"<od>": 0, "</ocr>": 3, "<loc_0>": 4, "<loc_999>": 1003, "<cap>": 1004, "<sep>": 1014, "<poly>": 1021,
           "<and>": 1023, "<image>": 1024}  # fmt: skip
    # Florence-2's own: 50265 of BART's, <loc_0> at 50269, <sep> at 51279, and 51289 in all, which is <image> then.
    assert {token: tokenizer.convert_tokens_to_ids(token) - BASE_TOKENS for token in ids} == ids
    assert len(tokenizer) == ROWS + 1
    assert (tokenizer.bos_token, tokenizer.pad_token, tokenizer.eos_token) == ("<s>", "<pad>", "</s>")
    assert tokenizer("ab").input_ids == [0, *tokenizer.convert_tokens_to_ids(["a", "b"]), 2]  # not padded to 50
    batch = family.processor(images=[np.zeros((80, 70, 3), np.uint8)], text=["ab"], return_tensors="pt")
    assert batch["input_ids"].tolist() == [[ROWS] * 5 + tokenizer("ab").input_ids]
    black = -np.array([0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(batch["pixel_values"][0, :, 5, 7].numpy(), black, rtol=1e-5)
    assert batch["pixel_values"].shape == (1, 3, 64, 64)


def test_generation_settings_and_the_special_tokens_of_the_text_part_are_kept(source: Path, tmp_path: Path) -> None:
    convert_checkpoint(source, tmp_path / "out")
    settings = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    kept = {
        "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2, "forced_bos_token_id": 0,
        "forced_eos_token_id": 2, "num_beams": 3, "no_repeat_ngram_size": 3, "early_stopping": True,
    }  # fmt: skip
    assert kept.items() <= settings.items()
    text = json.loads((tmp_path / "out" / "config.json").read_text())["text_config"]
    assert {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}.items() <= text.items()


def test_lmmrotates_checkpoint_becomes_a_detector(tmp_path: Path) -> None:
    """Of longer tables than its base's, at another image size, with two settings of its own."""
    model = native_model(positions=300, cells=52)
    config = json.loads(json.dumps(CONFIG)) | {"response_format": "florence2", "hidden_size": 32}
    config["text_config"]["max_position_embeddings"] = 300
    config["vision_config"]["image_pos_embed"]["max_pos_embeddings"] = 52
    source = write_source(tmp_path / "source", remote_weights(model), config)
    out = tmp_path / "deeper" / "out"
    made = convert_checkpoint(source, out, class_names=["plane", "small-vehicle"], image_size=128)
    assert made.is_detector
    assert torch.equal(logits(load(out)), logits(model))
    detector = Detector.from_pretrained(out, device="cpu")
    assert (detector.spec.prompt, detector.spec.window, detector.spec.gap) == (PROMPT, 128, 25)
    assert (detector.codec, tuple(detector.class_names)) == (
        codecs.get("florence2", version=2),
        ("plane", "small-vehicle"),
    )
    assert detector.family.positions == 300
    assert detector.family.processor.num_image_tokens == 17
    Image.new("RGB", (128, 128), (90, 100, 110)).save(tmp_path / "a.png")
    (found,) = detector.predict([tmp_path / "a.png"], Generation(max_new_tokens=4))
    assert found.metadata["windows"][0]["status"] == "truncated"
    assert load(out).config.decoder_start_tokens == 1  # of three beams


def test_the_weights_decide_how_large_tables_are(
    weights: Weights, native: Florence2ForConditionalGeneration, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A setting that was made smaller than the table, as LMMRotate does with a base of 4,096 positions."""
    config = json.loads(json.dumps(CONFIG))
    config["text_config"]["max_position_embeddings"] = 100
    source = write_source(tmp_path / "source", weights, config)
    with caplog.at_level("INFO", "lmm_detector"):
        convert_checkpoint(source, tmp_path / "out")
    assert same(load(tmp_path / "out").state_dict(), native.state_dict())
    assert "202 rows of positions of encoder and decoder in the weights, 102 in config.json" in caplog.text


def test_prompt_codec_windows_and_beams_as_given(weights: Weights, tmp_path: Path) -> None:
    config = json.loads(json.dumps(CONFIG))
    config["text_config"]["num_beams"] = 5
    source = write_source(tmp_path / "source", weights, config)
    convert_checkpoint(
        source, tmp_path / "out", class_names=["ship"], codec_options={"version": 3}, prompt="<ROD>", window=80, gap=7
    )
    detector = Detector.from_pretrained(tmp_path / "out", device="cpu")
    assert (detector.spec.prompt, detector.spec.window, detector.spec.gap) == ("<ROD>", 80, 7)
    assert detector.codec == codecs.get("florence2", version=3)
    assert load(tmp_path / "out").config.decoder_start_tokens == 3


@pytest.mark.parametrize("trainer, found", [({"response_format": "florence2"}, 2), ({}, None)])
def test_starts_that_lmmrotate_taught_are_kept_for_training(
    trainer: dict[str, str], found: int | None, weights: Weights, tmp_path: Path
) -> None:
    """Without class names, too: Microsoft's own models, with or without beams, are BART's in this."""
    config = json.loads(json.dumps(CONFIG)) | trainer
    config["text_config"]["num_beams"] = 4
    convert_checkpoint(write_source(tmp_path / "source", weights, config), tmp_path / "out")
    assert getattr(load(tmp_path / "out").config, "decoder_start_tokens", None) == found


def test_what_a_detector_needs_is_checked(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected at most 200 tokens of image and prompt, got"):
        convert_checkpoint(source, tmp_path / "out", class_names=["ship"], image_size=480)
    with pytest.raises(
        ModelError, match="expected images of at most 1600 px, which the model has positions for, got 1632"
    ):
        convert_checkpoint(source, tmp_path / "out", image_size=1632)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kept", sampled(["language_model.model.shared.weight", *TIED], TIED[:1]))
def test_tied_embeddings_under_any_one_of_their_names(
    kept: str, weights: Weights, native: Florence2ForConditionalGeneration, tmp_path: Path
) -> None:
    tied = {"language_model.model.shared.weight", *TIED} - {kept}
    source = write_source(tmp_path / "source", {key: value for key, value in weights.items() if key not in tied})
    convert_checkpoint(source, tmp_path / "out")
    assert same(load(tmp_path / "out").state_dict(), native.state_dict())


def test_embeddings_that_are_not_tied(weights: Weights, tmp_path: Path) -> None:
    other = weights["language_model.lm_head.weight"].clone()
    other[5, 5] += 1
    source = write_source(tmp_path / "source", weights | {"language_model.lm_head.weight": other})
    with pytest.raises(ModelError, match=r"under all its names, got another in 'language_model\.lm_head\.weight' than"):
        convert_checkpoint(source, tmp_path / "out")


def test_a_bias_of_logits_that_is_not_zero_is_left_over(weights: Weights, tmp_path: Path) -> None:
    bias = {"language_model.final_logits_bias": torch.full((1, ROWS), 0.1)}
    with pytest.raises(ModelError, match=r"1 left over: language_model\.final_logits_bias\n"):
        convert_checkpoint(write_source(tmp_path / "source", weights | bias), tmp_path / "out")


def test_spare_rows_of_embeddings_stay(weights: Weights, tmp_path: Path) -> None:
    """A table that was padded before has a row for <image> already."""
    padded = {
        key: torch.nn.functional.pad(weights[key], (0, 0, 0, 6), value=0.5)
        for key in weights
        if key in {*TIED, "language_model.model.shared.weight"}
    }
    convert_checkpoint(write_source(tmp_path / "source", weights | padded), tmp_path / "out")
    table = load_file(tmp_path / "out" / "model.safetensors")["model.language_model.shared.weight"]
    assert torch.equal(table, padded["language_model.lm_head.weight"])


def test_a_tokenizer_of_another_model(weights: Weights, tmp_path: Path) -> None:
    fewer = {key: weights[key][:-7] for key in weights if key in {*TIED, "language_model.model.shared.weight"}}
    source = write_source(tmp_path / "source", {key: value.clone() for key, value in (weights | fewer).items()})
    with pytest.raises(ModelError, match=f"for each of the tokenizer's {ROWS} tokens, got {ROWS - 7}\n"):
        convert_checkpoint(source, tmp_path / "out")


@pytest.mark.parametrize("dtype", sampled(["bfloat16", "float16", "float32"], ["bfloat16"]))
def test_dtypes_are_kept_or_cast(dtype: str, weights: Weights, tmp_path: Path) -> None:
    kind = getattr(torch, dtype)
    cast = {key: value.to(kind) for key, value in weights.items()}
    source = write_source(tmp_path / "source", cast)
    convert_checkpoint(source, tmp_path / "kept")
    convert_checkpoint(source, tmp_path / "wide", dtype="float32")
    convert_checkpoint(write_source(tmp_path / "float32", weights), tmp_path / "cast", dtype=dtype)
    kept, wide, narrow = (load_file(tmp_path / name / "model.safetensors") for name in ("kept", "wide", "cast"))
    assert {value.dtype for value in kept.values()} == {kind}
    assert torch.equal(kept["model.vision_tower.convs.0.conv.weight"], cast["vision_tower.convs.0.proj.weight"])
    assert same(wide, {name: value.float() for name, value in kept.items()})
    new = "model.language_model.shared.weight"  # whose new rows are a mean before, or after, the cast
    assert same({k: v for k, v in narrow.items() if k != new}, {k: v for k, v in kept.items() if k != new})
    assert json.loads((tmp_path / "kept" / "config.json").read_text())["dtype"] == dtype


def test_numbers_that_a_dtype_cannot_hold(weights: Weights, tmp_path: Path) -> None:
    large = weights["image_proj_norm.bias"].clone()
    large[3] = 1e5
    source = write_source(tmp_path / "source", weights | {"image_proj_norm.bias": large})
    with pytest.raises(ModelError, match=r"a number that float16 cannot hold in 'model\..*image_proj_norm\.bias'"):
        convert_checkpoint(source, tmp_path / "out", dtype="float16")
    convert_checkpoint(source, tmp_path / "out", dtype="bfloat16")
    large[3] = torch.nan
    source = write_source(tmp_path / "source", weights | {"image_proj_norm.bias": large})
    with pytest.raises(ModelError, match="an infinity or no number in"):
        convert_checkpoint(source, tmp_path / "other")


def test_keys_left_over_and_missing_are_named_and_refused(
    weights: Weights, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changed = dict(weights)
    gone = "vision_tower.blocks.2.1.channel_block.ffn.fn.net.fc2.bias"
    changed["vision_tower.head.weight"] = torch.ones(2)
    del changed[gone]
    source = write_source(tmp_path / "source", changed)
    expected = f"1 left over: vision_tower.head.weight; 1 missing: {NAMES[gone]}\n"
    with pytest.raises(ModelError, match=expected.replace(".", r"\.")):
        convert_checkpoint(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with caplog.at_level("INFO", "lmm_detector"):
        made = convert_checkpoint(source, tmp_path / "out", strict=False)
    assert (made.left_over, made.missing) == (("vision_tower.head.weight",), (NAMES[gone],))
    assert {"left over: vision_tower.head.weight", f"missing: {NAMES[gone]}"} <= {
        message.removeprefix(f"{source}: ") for message in caplog.messages
    }
    convert_checkpoint(source, tmp_path / "again", strict=False)
    one, two = load(tmp_path / "out").state_dict(), load(tmp_path / "again").state_dict()
    assert same(one, two)  # what is drawn at random comes from a fixed seed
    assert torch.equal(one["lm_head.weight"][:ROWS], weights["language_model.lm_head.weight"])


def test_many_keys_are_counted_and_the_first_named(weights: Weights, tmp_path: Path) -> None:
    kept = {key: value for key, value in weights.items() if not key.startswith("vision_tower.blocks")}
    with pytest.raises(
        ModelError,
        match=r"160 missing: model\.vision_tower\.blocks\.0\.0\.channel_block\.channel_attn\.proj\.bias, .*, \.\.\.\n",
    ):
        convert_checkpoint(write_source(tmp_path / "source", kept), tmp_path / "out")


def test_a_shape_that_does_not_fit(weights: Weights, tmp_path: Path) -> None:
    changed = weights | {"image_projection": torch.zeros(31, 32)}
    with pytest.raises(ModelError, match=r"expected 'image_projection' of the shape 32x32, got 31x32\n"):
        convert_checkpoint(write_source(tmp_path / "source", changed), tmp_path / "out")
    narrow = {key: torch.zeros(ROWS, 31) for key in ("language_model.model.shared.weight", *TIED)}
    with pytest.raises(
        ModelError, match=r"expected 'language_model\.model\.shared\.weight' of the shape 1344x32, got 1344x31"
    ):
        convert_checkpoint(write_source(tmp_path / "source", weights | narrow), tmp_path / "out")
    changed = weights | {"language_model.model.encoder.embed_positions.weight": torch.zeros(99, 32)}
    with pytest.raises(ModelError, match=r"expected as many positions of encoder and decoder, got .* of 99, .* of 202"):
        convert_checkpoint(write_source(tmp_path / "source", changed), tmp_path / "out")


def split(weights: Weights, folder: Path, name: str, save: Callable[[Weights, Path], None]) -> None:
    """In three shards with an index."""
    stem, suffix = name.split(".")
    shards: list[Weights] = [dict(list(weights.items())[part::3]) for part in range(3)]
    places = {}
    for number, shard in enumerate(shards, start=1):
        file = f"{stem}-{number:05}-of-00003.{suffix}"
        save(shard, folder / file)
        places |= dict.fromkeys(shard, file)
    (folder / f"{name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


FILES: dict[str, Callable[[Weights, Path], None]] = {
    "one pickle": lambda weights, folder: torch.save(weights, folder / "pytorch_model.bin"),
    "an old pickle": lambda weights, folder: torch.save(
        weights, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False
    ),
    "sharded pickles": lambda weights, folder: split(weights, folder, "pytorch_model.bin", torch.save),
    "sharded safetensors": lambda weights, folder: split(weights, folder, "model.safetensors", save_file),
}


@pytest.mark.parametrize("kind", sampled(FILES, ["an old pickle", "sharded safetensors"]))
def test_kinds_of_files(kind: str, source: Path, weights: Weights, tmp_path: Path) -> None:
    convert_checkpoint(source, tmp_path / "one")
    (source / "model.safetensors").unlink()
    FILES[kind](weights, source)
    convert_checkpoint(source, tmp_path / "other")
    assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "other/model.safetensors").read_bytes()


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("run"),)


def test_nothing_in_a_pickle_is_run(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (source / "model.safetensors").unlink()
    torch.save({"a": Evil()}, source / "pytorch_model.bin")
    with pytest.raises(
        ModelError, match=r"pytorch_model\.bin: expected a whole file of weights, got: Weights only load"
    ):
        convert_checkpoint(source, tmp_path / "out")
    (source / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(ModelError, match=r"pytorch_model\.bin: expected a whole file of weights, got: "):
        convert_checkpoint(source, tmp_path / "out")
    assert not (tmp_path / "run").exists()
    torch.save({"a": torch.ones(1000)}, source / "pytorch_model.bin")
    cut("pytorch_model.bin")(source)
    with pytest.raises(ModelError, match=r"pytorch_model\.bin: expected a whole file of weights, got: .*\n.*cut short"):
        convert_checkpoint(source, tmp_path / "out")
    torch.save([torch.ones(1)], source / "pytorch_model.bin")
    with pytest.raises(ModelError, match="expected a dictionary of tensors, got another list"):
        convert_checkpoint(source, tmp_path / "out")


def cut(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return change


def replace(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def with_config(*keys: str, value: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads(json.dumps(CONFIG))
        section = config
        for key in keys[:-1]:
            section = section[key]
        section[keys[-1]] = value
        (folder / "config.json").write_text(json.dumps(config))

    return change


def indexed(shard: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))

    return change


BAD_SOURCES: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut weights": (
        cut("model.safetensors"),
        r"model\.safetensors: expected a whole safetensors file, got: .*\nIt may be cut",
    ),
    "a pointer": (replace("model.safetensors", "version https://git-lfs"), "expected a whole safetensors file"),
    "no weights": (
        without("model.safetensors"),
        r"expected weights \(model\.safetensors or pytorch_model\.bin, or their",
    ),
    "a missing shard": (indexed("b.safetensors"), r"expected the shard b\.safetensors beside its index, found none"),
    "a shard outside": (indexed("../outside.safetensors"), "expected a plain file name inside"),
    "no settings": (without("config.json"), r"source: expected a file config\.json, found none"),
    "cut settings": (cut("config.json"), r"config\.json: expected JSON, got"),
    "a list": (replace("config.json", "[]"), "expected a JSON object, got list"),
    "another model": (with_config("model_type", value="llama"), "remote code, got a model of type 'llama'"),
    "native": (
        with_config("vision_config", "model_type", value="florence_vision"),
        "got one in transformers' layout already",
    ),
    "no text part": (with_config("text_config", value=None), "expected a text_config, found none"),
    "no dimensions": (
        with_config("vision_config", "dim_embed", value=None),
        "expected dim_embed in vision_config, found none",
    ),
    "other features": (
        with_config("vision_config", "image_feature_source", value=["last_frame"]),
        r"expected image_feature_source \['spatial_avg_pool', .*, got \['last_frame'\]",
    ),
    "other positions": (
        with_config("vision_config", "image_pos_embed", value=None),
        r"expected image_pos_embed\.type 'learned_abs_2d', which transformers has built in, got None",
    ),
    "no tokenizer": (without("tokenizer.json"), r"expected a tokenizer \(tokenizer\.json\), found none\n.*--processor"),
    "a broken tokenizer": (cut("tokenizer.json"), r"tokenizer\.json: expected a tokenizer, got"),
    "an unknown token": (
        with_config("text_config", "eos_token_id", value=99999),
        "expected a token of id 99999, found none",
    ),
    "no image processor": (
        without("preprocessor_config.json"),
        r"expected a file preprocessor_config\.json, found none",
    ),
    "an oblong": (
        replace("preprocessor_config.json", json.dumps(PREPROCESSOR | {"size": {"height": 64, "width": 96}})),
        "expected images of a square of a multiple of 32 px, got 96x64",
    ),
}


@pytest.mark.parametrize("what", BAD_SOURCES)
def test_bad_sources(what: str, source: Path, tmp_path: Path) -> None:
    change, expected = BAD_SOURCES[what]
    change(source)
    with pytest.raises(ValueError, match=expected) as caught:
        convert_checkpoint(source, tmp_path / "out", class_names=["ship"])
    assert type(caught.value).__name__ in ("ModelError", "DatasetError")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "outside.safetensors") == ["source"]


def test_a_checkpoint_without_processor_takes_its_bases(source: Path, weights: Weights, tmp_path: Path) -> None:
    base = write_source(tmp_path / "base", weights)
    for name in ("tokenizer.json", "preprocessor_config.json"):
        (source / name).unlink()
    convert_checkpoint(source, tmp_path / "out", processor=base, image_size=96)
    family = _families.load(str(tmp_path / "out"))
    assert family.processor.num_image_tokens == 10


def test_the_source_and_other_files_are_never_written_over(source: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    with pytest.raises(ModelError, match="expected another folder to write to: this one is read"):
        convert_checkpoint(source, tmp_path / "x" / ".." / "source")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(ModelError, match="expected a new or an empty folder to write to, got one with files in it"):
        convert_checkpoint(source, tmp_path / "full")
    with pytest.raises(ModelError, match="expected a new or an empty folder to write to, got a file"):
        convert_checkpoint(source, tmp_path / "full" / "a")
    (tmp_path / "empty").mkdir()
    convert_checkpoint(source, tmp_path / "empty")
    assert before == {path.name: path.read_bytes() for path in source.iterdir()}
    assert (tmp_path / "empty").stat().st_mode == (tmp_path / "full").stat().st_mode


def test_a_conversion_that_is_stopped_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        assert len(list(tmp_path.iterdir())) == 2  # the model is written by now, under another name
        raise KeyboardInterrupt

    monkeypatch.setattr("lmm_detector._spec.DetectorSpec.save", stop)
    with pytest.raises(KeyboardInterrupt):
        convert_checkpoint(source, tmp_path / "out", class_names=["ship"])
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_which_configurations_are_remote_codes(source: Path, tiny_model: Path) -> None:
    assert is_remote_code(json.loads((source / "config.json").read_text()))
    assert not is_remote_code(json.loads((tiny_model / "config.json").read_text()))
    assert not is_remote_code({"model_type": "qwen2_vl", "vision_config": {"model_type": "qwen2_vl"}})


def test_the_command(source: Path, tmp_path: Path) -> None:
    def run(*arguments: object) -> Any:
        return CliRunner().invoke(main, ["convert", *map(str, arguments)], catch_exceptions=False)

    result = run(source, tmp_path / "a", "--class-names", "dota", "--codec-option", "version=1", "--dtype", "bfloat16")
    assert result.exit_code == 0, result.output
    assert f"weights are in {tmp_path / 'a'}. Next: lmm-detector predict --model {tmp_path / 'a'}" in result.output
    detector = Detector.from_pretrained(tmp_path / "a", device="cpu")
    assert len(detector.class_names) == 15
    assert detector.codec == codecs.get("florence2", version=1)
    result = run(source, tmp_path / "b")
    assert "Next: lmm-detector train --model" in result.output
    result = run(tmp_path / "microsoft/Florence-2-large", tmp_path / "c")
    assert result.exit_code == 1
    assert "expected a checkpoint's folder, found none\nFetch a model of the hub first: hf download" in result.output
    assert run(source, tmp_path / "c", "--dtype", "int8").exit_code == 2
    assert not (tmp_path / "c").exists()
