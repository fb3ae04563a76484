"""The chat adapter: templates, ends, sizes, and models that it cannot take."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lmm_detector import _families
from lmm_detector._families import Decoding, Family, Sample
from lmm_detector._families.chat import MODELS
from lmm_detector.errors import ModelError
from rbox_formats import codecs
from safetensors.torch import load_file, save_file

PROMPT = "Find all ships."

Save = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(save: Save) -> Path:
    return save("qwen2_5_vl", tied=False)


@pytest.fixture(scope="module")
def family(folder: Path) -> Family:
    family = _families.load(str(folder))
    family.model.eval()
    return family


def copied(folder: Path, to: Path) -> Path:
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_a_sample_is_a_users_turn_and_the_assistants(family: Family) -> None:
    """At 56 px, four by four patches of which four make a token."""
    batch = family.collate([Sample(np.zeros((56, 56, 3), dtype=np.uint8), "ship", True)], PROMPT)
    image = "<|vision_start|>" + 4 * "<|image_pad|>" + "<|vision_end|>"
    turns = f"<|im_start|>user\n{image}{PROMPT}<|im_end|>\n<|im_start|>assistant\nship<|im_end|>"
    assert family.tokenizer.decode(batch["input_ids"][0]) == turns
    taught = batch["labels"][0]
    assert family.tokenizer.decode(taught[taught != -100]) == "ship<|im_end|>"
    assert batch["attention_mask"].all()


@pytest.mark.parametrize(
    "model_type", [pytest.param(name, marks=() if name == "qwen2_5_vl" else pytest.mark.slow) for name in MODELS]
)
def test_batches_are_those_of_the_processors_own_chats(model_type: str, save: Save, images: list[np.ndarray]) -> None:
    """Turns, tokens and pixels as `apply_chat_template` makes them of a conversation in one call."""
    family = _families.load(str(save(model_type)))
    answer = "ship 12,34 é"
    # GLM-4.1V's turns of an assistant are texts.
    content = answer if model_type == "glm4v" else [{"type": "text", "text": answer}]
    for image in images:
        question = {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": PROMPT}]}
        conversations = ([question], [question, {"role": "assistant", "content": content}])

        def rendered(turns: list[dict[str, Any]], **options: Any) -> Any:
            options["add_generation_prompt"] = len(turns) == 1
            return family.processor.apply_chat_template(turns, **options)

        asked, told = (rendered(turns, tokenize=False) for turns in conversations)
        assert told.startswith(asked)
        # Answers begin where generation does: the space that some templates put before them is left out.
        space, _, behind = told[len(asked) :].partition(answer)
        assert space == (" " if model_type in ("idefics3", "smolvlm") else "")
        end = family.tokenizer.decode([family.end_tokens[0]])
        assert behind.strip() == ("" if model_type == "glm4v" else end)

        ours = family.on_device(family.collate([Sample(image, answer, True)], PROMPT))
        labels = ours.pop("labels")[0]
        asked, told = (
            {name: torch.from_numpy(values) for name, values in found.items()}
            for found in (
                rendered(turns, tokenize=True, return_dict=True, return_tensors="np") for turns in conversations
            )
        )
        prompt = asked["input_ids"].shape[1]
        assert (labels[:prompt] == -100).all()
        assert torch.equal(labels[prompt:], ours["input_ids"][0, prompt:])
        assert family.tokenizer.decode(labels[prompt:]) == answer + end
        if not space:
            length = prompt + len(labels[prompt:-1])
            assert torch.equal(ours["input_ids"][0, :length], told["input_ids"][0, :length])
        assert ours.keys() == asked.keys()
        for name, expected in asked.items():
            found = ours[name][:, :prompt] if expected.shape == asked["input_ids"].shape else ours[name]
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=0, check_dtype=False, msg=name)


@pytest.mark.parametrize(
    "behind, ends",
    [
        ("<|im_end|>\n", ["<|im_end|>"]),
        ("\n<|endoftext|>", ["<|endoftext|>", "<|im_end|>"]),  # the tokenizer's own ends an answer as well
        ("", ["<|im_end|>"]),
    ],
)
def test_an_answer_ends_with_what_the_template_puts_there(
    behind: str, ends: list[str], folder: Path, tmp_path: Path
) -> None:
    template = copied(folder, tmp_path) / "chat_template.jinja"
    text = template.read_text().replace(
        "<|im_end|>\n{% endfor %}", behind.replace("\n", "{{ '\\n' }}") + "{% endfor %}"
    )
    template.write_text(text)
    changed = _families.load(str(tmp_path))
    assert [changed.tokenizer.decode([token]) for token in changed.end_tokens] == ends
    assert changed.model.generation_config.eos_token_id == list(changed.end_tokens)


def test_all_ends_of_a_checkpoints_generation_settings_end_an_answer(
    folder: Path, family: Family, images: list[np.ndarray], tmp_path: Path
) -> None:
    """As Qwen's, which name two; saved and loaded again they stay, in their order."""
    plain = family.generate(images, PROMPT, Decoding(max_new_tokens=8, min_new_tokens=8))
    third = int(plain[0].tokens[3])
    (tmp_path / "model").mkdir()
    settings = copied(folder, tmp_path / "model") / "generation_config.json"
    ends = [family.tokenizer.pad_token_id, third]
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"eos_token_id": ends}))
    changed = _families.load(str(tmp_path / "model"))
    changed.save(tmp_path / "again")
    for found in (changed, _families.load(str(tmp_path / "again"))):
        assert found.end_tokens == (*family.end_tokens, *(end for end in ends if end not in family.end_tokens))
        (answer, _) = found.generate(images, PROMPT, Decoding(max_new_tokens=8))
        first = plain[0].tokens.tolist().index(third)
        assert answer.tokens.tolist() == plain[0].tokens[: first + 1].tolist()
        assert answer.finished


def test_a_checkpoints_own_generation_settings_are_left_aside(
    folder: Path, family: Family, images: list[np.ndarray], tmp_path: Path
) -> None:
    """As Qwen's: sampling, with repeated tokens made less likely."""
    settings = copied(folder, tmp_path) / "generation_config.json"
    own = {"do_sample": True, "temperature": 0.1, "top_k": 1, "repetition_penalty": 5.0, "num_beams": 2}
    settings.write_text(json.dumps(json.loads(settings.read_text()) | own))
    decoding = Decoding(max_new_tokens=8)
    ours, theirs = (f.generate(images, PROMPT, decoding) for f in (family, _families.load(str(tmp_path))))
    assert [answer.text for answer in ours] == [answer.text for answer in theirs]


def test_placeholders_of_images_are_never_written(folder: Path, images: list[np.ndarray]) -> None:
    family = _families.load(str(folder))
    head = family.model.get_output_embeddings()
    head.bias = torch.nn.Parameter(torch.zeros(head.out_features))
    placeholders = family.tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|video_pad|>"])
    with torch.no_grad():
        head.bias[placeholders] = 1e4
    (answer,) = family.generate(images[:1], PROMPT, Decoding(max_new_tokens=5))
    assert len(answer.tokens) > 0
    assert not set(answer.tokens.tolist()) & set(placeholders)
    family.log_probabilities(images[:1], PROMPT, [answer.tokens])


@pytest.mark.parametrize(
    "model_type, size, seen, tokens",
    [
        # Whole patches of 28 pixels, between 28 and 112 a side; a token for each.
        ("qwen2_vl", (56, 56), (56, 56), 4),
        ("qwen2_5_vl", (70, 100), (56, 112), 8),
        ("qwen3_vl", (10, 10), (28, 28), 1),
        ("qwen2_vl", (500, 500), (112, 112), 16),
        ("glm4v", (70, 100), (56, 112), 8),
        ("glm4v", (500, 500), (112, 112), 16),
        # Tiles of 56 pixels, up to four; of more than one, a thumbnail as well. Four tokens each, and two around them.
        ("internvl", (56, 56), (56, 56), 4),
        ("internvl", (300, 300), (112, 112), 20),
        ("internvl", (300, 150), (112, 56), 12),
        # Up to two by two squares of 56 pixels, each line of which ends with a token; a small view of 16 before it.
        # The longer side brought to 112 pixels, then tiles of 56; of more than one, a small view as well.
        ("idefics3", (300, 300), (112, 112), 20),
        ("smolvlm", (30, 50), (112, 112), 20),
        ("smolvlm", (1000, 200), (112, 56), 12),
        ("idefics3", (100, 700), (56, 112), 12),
        ("llava_onevision", (50, 50), (56, 56), 16 + 4 * (4 + 1)),
        ("llava_onevision", (100, 100), (112, 112), 16 + 8 * (8 + 1)),
    ],
)
def test_what_the_model_sees(
    model_type: str, size: tuple[int, int], seen: tuple[int, int], tokens: int, save: Save
) -> None:
    family = _families.load(str(save(model_type)))
    assert family.input_size(size) == seen
    image = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    (ids,) = family.collate([Sample(image, "", complete=False)], "")["input_ids"]
    assert int((ids == family.model.config.image_token_id).sum()) == tokens


@pytest.mark.parametrize("model_type", ["internvl", "llava_onevision", "idefics3"])
def test_rows_and_columns_are_not_mixed_up(model_type: str, save: Save) -> None:
    """The left half of a wide image is another tile than the right one."""
    family = _families.load(str(save(model_type)))
    image = np.zeros((56, 112, 3), dtype=np.uint8)
    image[:, 56:] = 255
    pixels = family.collate([Sample(image, "", complete=False)], PROMPT)["pixel_values"]
    pixels = pixels.reshape(-1, 3, 56, 56)
    flat = [bool((tile == tile[:, :1, :1]).all()) for tile in pixels]
    assert sorted(flat) == [False, True, True]  # two halves, and a view of both
    assert family.input_size((112, 56)) == (112, 56)


@pytest.mark.parametrize("rows, columns", [(0, 0), (1, 2), (3, 3)])
def test_smolvlms_images_are_written_as_its_own_processor_writes_them(rows: int, columns: int, save: Save) -> None:
    """Idefics3's is taken in its place."""
    from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

    processor = _families.load(str(save("smolvlm"))).processor
    ours = processor.replace_image_token({"rows": [[rows]], "cols": [[columns]]}, 0)
    assert ours == get_image_prompt_string(rows, columns, 4, "<fake_token_around_image>", "<image>", "<global-img>")


def test_saved_processors_are_transformers(folder: Path, family: Family, tmp_path: Path) -> None:
    family.save(tmp_path)
    assert json.loads((tmp_path / "processor_config.json").read_text())["processor_class"] == "Qwen2_5_VLProcessor"
    assert (tmp_path / "chat_template.jinja").read_text() == (folder / "chat_template.jinja").read_text()


# A mixture of experts.


def test_a_routers_auxiliary_loss_is_left_out_and_that_is_said(
    save: Save, images: list[np.ndarray], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = save("qwen3_vl_moe")
    config = json.loads((copied(plain, tmp_path) / "config.json").read_text())
    config["text_config"] |= {"output_router_logits": True, "router_aux_loss_coef": 100.0}
    (tmp_path / "config.json").write_text(json.dumps(config))
    losses = []
    for folder in (plain, tmp_path):
        family = _families.load(str(folder))
        assert ("training leaves out the router's auxiliary loss" in caplog.text) == (folder == tmp_path)
        batch = family.on_device(family.collate([Sample(image, "ship", True) for image in images], PROMPT))
        count = int((batch["labels"] != -100).sum())
        with torch.no_grad():
            losses.append([float(family.loss(batch)) / count, float(family.model(**batch).loss)])
    np.testing.assert_allclose(losses, losses[0][0], rtol=1e-5)


def test_adapters_leave_experts_and_router_alone(save: Save) -> None:
    """They are no linear layers: all experts of a layer are one table. The second layer has none."""
    family = _families.load(str(save("qwen3_vl_moe")))
    attention = [f"self_attn.{name}_proj" for name in "qkvo"]
    dense = [f"mlp.{name}_proj" for name in ("gate", "up", "down")]
    expected = {f"0.{name}" for name in attention} | {f"1.{name}" for name in attention + dense}
    assert {name.partition("layers.")[2] for name in family.linear_layers("language")} == expected
    trained = {name for name in family.parts["language"] if "experts" in name or "mlp.gate.weight" in name}
    assert {name.partition("mlp.")[2] for name in trained} == {
        "experts.gate_up_proj",
        "experts.down_proj",
        "gate.weight",
    }


def test_glms_answers_are_taught_without_thoughts_and_end_as_its_texts(save: Save) -> None:
    """Its template knows an assistant's turn as a text alone: a list it would write as Python does, brackets too."""
    family = _families.load(str(save("glm4v")))
    batch = family.collate([Sample(np.zeros((56, 56, 3), dtype=np.uint8), "ship", True)], PROMPT)
    image = "<|begin_of_image|>" + 4 * "<|image|>" + "<|end_of_image|>"
    turns = f"[gMASK]<sop><|user|>\n{image}{PROMPT}<|assistant|>\nship<|endoftext|>"
    assert family.tokenizer.decode(batch["input_ids"][0]) == turns
    assert [family.tokenizer.decode([token]) for token in family.end_tokens] == ["<|endoftext|>"]


def test_models_without_a_chat_template(folder: Path, tmp_path: Path) -> None:
    (copied(folder, tmp_path) / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match=r"expected a chat template, found none\n.*instruction-tuned"):
        _families.load(str(tmp_path))


def test_a_missing_weight_is_not_drawn_at_random(folder: Path, tmp_path: Path) -> None:
    path = copied(folder, tmp_path) / "model.safetensors"
    weights = load_file(path)
    del weights["lm_head.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"expected all weights of a model of type qwen2_5_vl .* such as 'lm_head"):
        _families.load(str(tmp_path))


@pytest.mark.parametrize(
    "options, found",
    [
        ({"dtype": "int8"}, "expected a dtype among float32, bfloat16, float16, got 'int8'"),
        ({"attn_implementation": {"audio": "sdpa"}}, "expected attention for the parts vision, language, got audio"),
        ({"attn_implementation": "sdqa"}, "expected a model of type qwen2_5_vl .*sdqa"),
    ],
)
def test_options_that_there_are_not(options: dict[str, Any], found: str, folder: Path) -> None:
    with pytest.raises(ModelError, match=found):
        _families.load(str(folder), **options)


@pytest.mark.parametrize(
    "options, found",
    [
        ({"max_new_tokens": 0}, "expected max_new_tokens of 1 or more, got 0"),
        ({"num_beams": 0}, "expected num_beams of 1 or more, got 0"),
        ({"temperature": 0.0}, "expected a temperature above 0"),
        ({"top_p": 1.5}, "expected top_p above 0 and up to 1, got 1.5"),
    ],
)
def test_decoding_that_there_is_not(options: dict[str, Any], found: str) -> None:
    with pytest.raises(ModelError, match=found):
        Decoding(**{"max_new_tokens": 5, **options})


@pytest.mark.parametrize("written, count", [("", 0), (2 * "<|vision_start|><|image_pad|><|vision_end|>", 2)])
def test_a_template_without_one_place_for_the_image(written: str, count: int, folder: Path, tmp_path: Path) -> None:
    template = copied(folder, tmp_path) / "chat_template.jinja"
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    template.write_text(template.read_text().replace(image, written))
    found = f"expected a chat template that writes '<|image_pad|>' once for an image, got it {count} times"
    with pytest.raises(ModelError, match=re.escape(found)):
        _families.load(str(tmp_path)).check(codecs.get("qwen2.5-vl"), PROMPT, (56, 56))
