"""Images and texts of other sizes than the model's own: tables that grow, limits that hold, and both kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lmm_detector import _families
from lmm_detector._families import Decoding, Family, _sizes
from lmm_detector.errors import ModelError
from rbox_formats import ClassNames, codecs
from rbox_testing.samples import sampled
from rbox_testing.tiny_florence2 import save_tiny_florence2

PROMPT = "Find all ships."
CODEC = codecs.get("florence2")
Save = Callable[..., Path]

# A side that each model can be set to, and the size at which it then sees it.
SIDES = {
    "florence2": (96, 96),
    "paligemma": (56, 56),
    "qwen2_vl": (150, 140),
    "qwen2_5_vl": (84, 84),
    "qwen3_vl": (10, 28),
    "qwen3_vl_moe": (100, 112),
    "internvl": (168, 168),
    "glm4v": (150, 140),
    "gemma3": (56, 56),
    "idefics3": (168, 168),
    "smolvlm": (56, 56),
    "llava_onevision": (168, 168),
}


@pytest.fixture
def florence(tmp_path: Path, class_names: ClassNames) -> Family:
    family = _families.load(str(save_tiny_florence2(tmp_path / "plain", class_names, CODEC, max_tokens=64)))
    family.model.eval()
    return family


def answers(family: Family, images: list[np.ndarray], count: int = 6) -> tuple[list[list[int]], list[np.ndarray]]:
    family.model.eval()
    ids = family.tokenizer.convert_tokens_to_ids(["a", "b", "c"] * (count // 3))
    found = family.generate(images, PROMPT, Decoding(max_new_tokens=count, min_new_tokens=count))
    return [a.tokens.tolist() for a in found], family.log_probabilities(images, PROMPT, [ids] * len(images))


def same(ours: tuple[Any, Any], theirs: tuple[Any, Any]) -> None:
    assert ours[0] == theirs[0]
    for each, other in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_array_equal(each, other)


@pytest.mark.parametrize("window", sampled([30, 56, 64, 100, 151, 300], [30, 151]))
def test_every_square_is_seen_at_the_size_that_is_set(window: int, model_type: str, folder: Path) -> None:
    family = _families.load(str(folder))
    side, seen = SIDES[model_type]
    family.set_image_size(side)
    assert family.input_size((window, window)) == (seen, seen)
    image = np.zeros((window, window, 3), dtype=np.uint8)
    tokens = family.prompt_tokens(PROMPT, (window, window))
    assert tokens == family.collate([_families.Sample(image, "", False)], PROMPT)["input_ids"].shape[1]


def test_a_size_that_is_set_is_kept(model_type: str, folder: Path, images: list[np.ndarray], tmp_path: Path) -> None:
    family = _families.load(str(folder))
    side, seen = SIDES[model_type]
    family.set_image_size(side)
    limit = family.prompt_tokens(PROMPT, (64, 64)) + 40
    family.set_positions(limit)
    family.save(tmp_path)
    again = _families.load(str(tmp_path))
    assert again.input_size((64, 64)) == (seen, seen)
    assert again.positions == family.positions == limit
    same(answers(family, images), answers(again, images))


@pytest.mark.parametrize("model_type", ["qwen2_vl", "glm4v"])
def test_smart_sizes_hold_for_all_sides(model_type: str) -> None:
    """By transformers' own rounding: bounds exactly at the square would round below or above it."""
    from lmm_detector._families.chat import MODELS
    from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    class Processor:
        image_processor = {"qwen2_vl": Qwen2VLImageProcessorPil, "glm4v": Glm4vImageProcessorPil}[model_type]()

    kind = MODELS[model_type]
    for side in (28, 448, 1000, 1024, 2048):
        kind.set_image_size(Processor, None, side)
        expected = round(side / 28) * 28
        for window in (*range(5, 200, 13), *range(200, 5000, 97), side):
            assert kind.input_size(Processor, (window, window)) == (expected, expected)


@pytest.mark.parametrize(
    "model_type, side, found",
    [
        ("florence2", 100, r"in multiples of 32 px, .*, got 100(.|\n)*Take 96 or 128"),
        ("florence2", 0, "in multiples of 32 px, .*, got 0"),
        ("internvl", 100, r"in multiples of 56 px, .*, got 100(.|\n)*Take 56 or 112"),
        ("llava_onevision", 20, r"in multiples of 56 px, .*, got 20(.|\n)*Take 56 or 112"),
        ("paligemma", 112, r"expected images of 56 px, .*, got 112(.|\n)*224, 448 and 896"),
        ("idefics3", 100, r"in multiples of 56 px, .*, got 100(.|\n)*Take 56 or 112"),
        ("smolvlm", 224, r"tiles of 56 px the model has tokens for, got 224: there is no <row_4_col_4>"),
        ("gemma3", 84, r"expected images of 56 px, .*, got 84(.|\n)*896 px"),
        ("qwen3_vl", -5, "expected an image size of 1 px or more, got -5"),
    ],
)
def test_sizes_that_cannot_be(model_type: str, side: int, found: str, save: Save) -> None:
    family = _families.load(str(save(model_type)))
    with pytest.raises(ModelError, match=found):
        family.set_image_size(side)


def test_florences_images(florence: Family) -> None:
    """(S / 32)**2 + 1 tokens, in all places that say so; the positions must hold them and the prompt."""
    florence.set_positions(200)
    rows = florence.base.model.multi_modal_projector.image_position_embed.row_embeddings.weight
    florence.set_image_size(256)
    image_processor = florence.processor.image_processor
    for size in (image_processor.size, image_processor.crop_size):
        assert (size["height"], size["width"]) == (256, 256)
    assert image_processor.image_seq_length == florence.processor.num_image_tokens == 65
    batch = florence.collate([_families.Sample(np.zeros((256, 256, 3), np.uint8), "ship", True)], PROMPT)
    assert batch["pixel_values"].shape == (1, 3, 256, 256)
    assert int((batch["input_ids"] == florence.base.config.image_token_id).sum()) == 65
    florence.model(**florence.on_device(batch))
    florence.check(CODEC, PROMPT)
    # Up to 50 cells the tables are as they were.
    florence.set_image_size(1600)
    assert florence.base.model.multi_modal_projector.image_position_embed.row_embeddings.weight is rows
    with pytest.raises(ModelError, match=r"expected at most 200 tokens of image and prompt, got 25\d\d\nGive"):
        florence.check(CODEC, PROMPT)


def test_florences_rows_and_columns_beyond_fifty_cells(florence: Family, tmp_path: Path) -> None:
    """Against numpy's interpolation, the ends at the ends."""
    places = florence.base.model.multi_modal_projector.image_position_embed
    tables = (places.row_embeddings, places.column_embeddings)
    before = [table.weight.detach().numpy().copy() for table in tables]
    florence.set_image_size(1664)
    at = np.linspace(0, 49, 52)
    for table, old in zip(tables, before, strict=True):
        expected = np.stack([np.interp(at, np.arange(50), column) for column in old.T], axis=1)
        np.testing.assert_allclose(table.weight.detach().numpy(), expected, atol=1e-6)
        assert table.num_embeddings == 52
        assert table.weight.requires_grad
    assert florence.base.config.vision_config.max_position_embeddings == 52
    florence.save(tmp_path / "grown")
    again = _families.load(str(tmp_path / "grown"))
    for (name, ours), (_, theirs) in zip(
        florence.model.named_parameters(), again.model.named_parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name


@pytest.mark.slow
def test_more_positions(florence: Family, images: list[np.ndarray], tmp_path: Path) -> None:
    """What fitted before comes out the same to the last bit; new positions repeat the old ones, as LED's do."""
    before = answers(florence, images)
    encoder = florence.base.model.language_model.encoder.embed_positions
    old = encoder.weight.detach().clone()
    florence.set_positions(150)
    same(before, answers(florence, images))
    assert encoder.weight.shape[0] == 152
    assert torch.equal(encoder.weight[:66], old)
    assert torch.equal(encoder.weight[66:130], old[2:])
    assert torch.equal(encoder.weight[130:], old[2:24])
    assert florence.positions == florence.answer_room(PROMPT, (96, 96)) == 150
    long = answers(florence, images, 150)
    assert [len(tokens) for tokens in long[0]] == [150, 150]
    florence.check(CODEC, "word " * 25)
    florence.save(tmp_path / "grown")
    again = _families.load(str(tmp_path / "grown"))
    assert again.positions == 150
    same(long, answers(again, images, 150))


def test_fewer_positions(florence: Family, images: list[np.ndarray], tmp_path: Path) -> None:
    before = answers(florence, images)
    florence.set_positions(40)
    same(before, answers(florence, images))
    with pytest.raises(ModelError, match="expected answers of at most 40 tokens, got up to 41"):
        florence.generate(images, PROMPT, Decoding(max_new_tokens=41))
    florence.save(tmp_path / "fewer")
    assert _families.load(str(tmp_path / "fewer")).positions == 40
    with pytest.raises(ModelError, match="expected 1 position or more, got 0"):
        florence.set_positions(0)


def test_positions_in_half_precision_and_frozen() -> None:
    table = torch.nn.Embedding(6, 3, dtype=torch.bfloat16)
    table.weight.requires_grad_(False)
    old = table.weight.clone()
    _sizes.resize_positions(table, 9, 2)
    assert torch.equal(table.weight, torch.cat([old, old[2:], old[2:3]]))
    assert table.weight.dtype == torch.bfloat16
    assert not table.weight.requires_grad
    _sizes.interpolate(table, 21)
    assert table.weight.dtype == torch.bfloat16
    assert torch.equal(table.weight[::2], torch.cat([old, old[2:], old[2:3]]))


def test_rotary_positions_are_a_limit(save: Save, images: list[np.ndarray]) -> None:
    family = _families.load(str(save("qwen2_vl")))
    before = answers(family, images)
    prompt = max(family.prompt_tokens(PROMPT, image.shape[1::-1]) for image in images)
    family.set_positions(prompt + 6)
    same(before, answers(family, images))
    assert family.answer_room(PROMPT, (112, 112)) == 6
    with pytest.raises(ModelError, match=f"expected at most {prompt + 6} tokens of image, prompt and answer"):
        family.generate(images, PROMPT, Decoding(max_new_tokens=7))
    for count in (0, 1025):
        with pytest.raises(ModelError, match=f"expected a length from 1 to 1024 tokens, .*, got {count}"):
            family.set_positions(count)
    family.set_positions(1024)
    assert family.positions == 1024
