"""What every family must do, against its model called by hand, one token after the other."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lmm_detector import Detector, _families
from lmm_detector._families import Decoding, Family, Sample
from lmm_detector._spec import DetectorSpec
from lmm_detector.errors import ModelError
from rbox_formats import ClassNames, codecs

PROMPT = "Find all ships."
TEXTS = ("ship 12,34 é", "plane 5 漢字")


def logits_by_hand(family: Family, image: np.ndarray, tokens: list[int]) -> torch.Tensor:
    """(V,) of what follows these tokens of an answer: the whole model, no cache, no padding."""
    batch = family.collate([Sample(image, "", complete=False)], PROMPT)
    batch.pop("labels")
    written = torch.tensor([tokens], dtype=torch.int64)
    if family.name == "florence2":
        start = torch.tensor([[family.model.config.text_config.decoder_start_token_id]])
        batch["decoder_input_ids"] = torch.cat([start, written], dim=1)
    else:
        more = {"attention_mask": 1, "mm_token_type_ids": 0, "token_type_ids": int(family.name == "paligemma")}
        for name in more.keys() & batch.keys():
            batch[name] = torch.cat([batch[name], torch.full_like(written, more[name])], dim=1)
        batch["input_ids"] = torch.cat([batch["input_ids"], written], dim=1)
    with torch.no_grad():
        return family.model(**family.on_device(batch)).logits[0, -1]


def test_a_parameter_of_no_part_is_an_error(trained: Family) -> None:
    with pytest.raises(ModelError, match=r"expected a name within .*, got 'audio_tower.weight'"):
        trained.part_of("audio_tower.weight")


def test_training_lowers_the_loss(trained: Family, losses: list[float]) -> None:
    assert losses[0] > 3
    assert losses[-1] < 0.1


def test_it_writes_what_it_learnt(trained: Family, images: list[np.ndarray]) -> None:
    answers = trained.generate(images, PROMPT, Decoding(max_new_tokens=40))
    end = trained.tokenizer.decode([trained.end_tokens[0]])
    start = "<s>" if trained.name == "florence2" else ""
    assert [answer.text for answer in answers] == [start + text + end for text in TEXTS]
    assert all(answer.finished for answer in answers)
    cut = trained.generate(images, PROMPT, Decoding(max_new_tokens=3))
    assert [answer.tokens.tolist() for answer in cut] == [answer.tokens[:3].tolist() for answer in answers]
    assert not any(answer.finished for answer in cut)


def test_greedy_answers_are_those_of_a_loop_over_the_model(trained: Family, images: list[np.ndarray]) -> None:
    (answer,) = trained.generate(images[1:], PROMPT, Decoding(max_new_tokens=40))
    tokens: list[int] = []
    while len(tokens) < 40 and (not tokens or tokens[-1] not in trained.end_tokens):
        tokens.append(int(logits_by_hand(trained, images[1], tokens).argmax()))
    assert answer.tokens.tolist() == tokens


def test_log_probabilities_are_those_of_single_passes(drawn: Family, images: list[np.ndarray]) -> None:
    """Tokens that the model itself would hardly write, of unequal numbers."""
    rng = np.random.default_rng(1)
    ids = drawn.tokenizer.convert_tokens_to_ids(["a", "b", "c", "d"])
    answers = [rng.choice(ids, size=size) for size in (6, 3)]
    found = drawn.log_probabilities(images, PROMPT, answers)
    for image, answer, ours in zip(images, answers, found, strict=True):
        by_hand = [
            float(logits_by_hand(drawn, image, answer[:place].tolist()).log_softmax(-1)[token])
            for place, token in enumerate(answer)
        ]
        np.testing.assert_allclose(ours, by_hand, atol=2e-5)


def test_a_few_logits_at_a_time_give_the_same(
    drawn: Family, images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [drawn.tokenizer.convert_tokens_to_ids(["a", "b", "c", "d", "e"][:size]) for size in (5, 1)]
    whole = drawn.log_probabilities(images, PROMPT, answers)
    monkeypatch.setattr("lmm_detector._families._likelihood._LOGITS_AT_A_TIME", 1)
    for ours, theirs in zip(drawn.log_probabilities(images, PROMPT, answers), whole, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_loss_is_the_mean_of_the_answers_log_probabilities(drawn: Family, images: list[np.ndarray]) -> None:
    samples = [
        Sample(image, text, complete) for image, text, complete in zip(images, TEXTS, (True, False), strict=True)
    ]
    batch = drawn.collate(samples, PROMPT)
    answers = [row[row != -100].tolist() for row in batch["labels"]]
    with torch.no_grad():
        loss = float(drawn.loss(drawn.on_device(batch)))
        theirs = float(drawn.model(**drawn.on_device(batch)).loss)  # the model's own, of these windows alone
    found = np.concatenate(drawn.log_probabilities(images, PROMPT, answers))
    assert loss == pytest.approx(-found.sum(), rel=1e-5)
    assert loss / len(found) == pytest.approx(theirs, rel=1e-5)


def test_the_gradient_is_that_of_the_models_own_loss(
    folder: Path, images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All logits at once, and a row at a time."""
    family = _families.load(str(folder))
    samples = [Sample(image, text, True) for image, text in zip(images, TEXTS, strict=True)]
    batch = family.on_device(family.collate(samples, PROMPT))
    count = int((batch["labels"] != -100).sum())

    def gradients(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        family.model.zero_grad()
        loss.backward()
        return {name: p.grad.clone() for name, p in family.model.named_parameters() if p.grad is not None}

    family.model.eval()
    theirs = gradients(family.model(**batch).loss)
    for at_a_time in (2**25, 1):
        monkeypatch.setattr("lmm_detector._families._loss._LOGITS_AT_A_TIME", at_a_time)
        ours = gradients(family.loss(batch) / count)
        assert ours.keys() == theirs.keys()
        for name, gradient in theirs.items():
            torch.testing.assert_close(ours[name], gradient, atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("num_beams", [1, 2])
def test_batches_do_not_change_answers(num_beams: int, trained: Family, images: list[np.ndarray]) -> None:
    """Of two sizes: where an image takes more tokens, the others are padded on the left."""
    three = [*images, images[0] // 3]
    decoding = Decoding(max_new_tokens=24, num_beams=num_beams)
    together = trained.generate(three, PROMPT, decoding)
    alone = [trained.generate([image], PROMPT, decoding)[0] for image in three]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert len({answer.text for answer in together}) > 1
    tokens = [answer.tokens for answer in together]
    singly = [trained.log_probabilities([i], PROMPT, [t])[0] for i, t in zip(three, tokens, strict=True)]
    for ours, theirs in zip(trained.log_probabilities(three, PROMPT, tokens), singly, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_labels_are_the_answer_and_nothing_else(drawn: Family, images: list[np.ndarray]) -> None:
    tokenizer = drawn.tokenizer
    samples = [Sample(images[0], TEXTS[0], True), Sample(images[1], TEXTS[1], False)]
    batch = drawn.collate(samples, PROMPT)
    end, start = tokenizer.decode([drawn.end_tokens[0]]), "<s>" if drawn.name == "florence2" else ""
    found = [tokenizer.decode(row[row != -100]) for row in batch["labels"]]
    assert found == [start + TEXTS[0] + end, start + TEXTS[1]]
    assert drawn.count_tokens(TEXTS) == [
        int((batch["labels"][0] != -100).sum()),
        int((batch["labels"][1] != -100).sum()) + 1,
    ]
    if drawn.name == "florence2":
        return
    for ids, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
        (taught,) = np.nonzero(labels.numpy() != -100)
        assert (np.diff(taught) == 1).all()
        assert (ids[taught] == labels[taught]).all()
        assert taught[-1] == mask.sum() - 1  # behind it is only padding
        assert PROMPT in tokenizer.decode(ids[: taught[0]])


def test_saved_and_loaded_it_is_the_same(trained: Family, images: list[np.ndarray], tmp_path: Path) -> None:
    trained.save(tmp_path)
    again = _families.load(str(tmp_path))
    again.model.eval()
    assert type(again) is type(trained)
    decoding = Decoding(max_new_tokens=24)
    ours, theirs = (family.generate(images, PROMPT, decoding) for family in (trained, again))
    assert [answer.text for answer in ours] == [answer.text for answer in theirs]
    tokens = [answer.tokens for answer in ours]
    for before, after in zip(
        *(family.log_probabilities(images, PROMPT, tokens) for family in (trained, again)), strict=True
    ):
        np.testing.assert_array_equal(before, after)


def test_each_parameter_belongs_to_one_part(drawn: Family) -> None:
    parts = drawn.parts
    ids = [id(parameter) for part in parts.values() for parameter in part.values()]
    assert sorted(ids) == sorted(id(parameter) for parameter in drawn.model.parameters())
    assert all("visual" in name or "vision" in name for name in parts["vision"])
    texts = ("language_model", "text_model", "lm_head.weight")
    assert all(any(word in name for word in texts) for name in parts["language"])
    between = ("merger", "projector", "newline", "connector", "downsample")
    assert all(any(word in name for word in between) for name in parts["projection"])
    assert all(parts.values())


def test_linear_layers_are_named_by_part(drawn: Family) -> None:
    modules = dict(drawn.model.named_modules())
    named = [name for part in _families.PARTS for name in drawn.linear_layers(part)]
    everywhere = [name for name, module in modules.items() if isinstance(module, torch.nn.Linear)]
    assert sorted(named) == sorted(set(everywhere) - {"lm_head"})
    assert any("k_proj" in name for name in drawn.linear_layers("language"))


# peft 0.21 asks transformers 5.23 in the old way.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_adapters_do_not_get_in_the_way(folder: Path, images: list[np.ndarray]) -> None:
    peft = pytest.importorskip("peft")
    family = _families.load(str(folder))
    family.model.eval()
    before = family.generate(images, PROMPT, Decoding(max_new_tokens=6))
    tokens = [answer.tokens for answer in before]
    plain = family.log_probabilities(images, PROMPT, tokens)
    layers = family.linear_layers("language")
    config = peft.LoraConfig(r=2, target_modules=layers)
    adapted = type(family)(peft.get_peft_model(family.model, config), family.processor)
    adapted.model.eval()
    assert [answer.text for answer in adapted.generate(images, PROMPT, Decoding(max_new_tokens=6))] == [
        answer.text for answer in before
    ]
    trainable = {name for name, p in adapted.parts["language"].items() if p.requires_grad}
    assert len(trainable) == 2 * len(layers)
    assert not any(p.requires_grad for part in ("vision", "projection") for p in adapted.parts[part].values())
    with torch.no_grad():
        for name in trainable:
            adapted.parts["language"][name].add_(0.1)
    found = adapted.log_probabilities(images, PROMPT, tokens)
    assert max(np.abs(ours - theirs).max() for ours, theirs in zip(found, plain, strict=True)) > 1e-3


def test_spans_are_those_of_decoding_ever_more_tokens(trained: Family, images: list[np.ndarray]) -> None:
    """Characters of three bytes are split between tokens, so that decoding is U+FFFD in between."""
    (answer,) = trained.generate(images[1:], PROMPT, Decoding(max_new_tokens=40))
    tokens = answer.tokens.tolist()
    ends = [len(trained.tokenizer.decode(tokens[: count + 1]).rstrip("\ufffd")) for count in range(len(tokens))]
    ends = np.maximum.accumulate(ends).tolist()  # Gemma's decoder takes back a whole run of bytes
    spans = trained.token_spans(tokens)
    assert spans[:, 1].tolist() == ends
    assert spans[:, 0].tolist() == [0, *ends[:-1]]
    assert len(set(ends)) < len(tokens)
    unknown = trained.token_spans([tokens[0], 10**6, tokens[1]])
    assert unknown.tolist() == [spans[0].tolist(), [ends[0], ends[0]], spans[1].tolist()]


def test_the_prompts_length(drawn: Family, images: list[np.ndarray]) -> None:
    for image in images:
        batch = drawn.collate([Sample(image, "", complete=False)], PROMPT)
        size = image.shape[1], image.shape[0]
        assert drawn.prompt_tokens(PROMPT, size) == batch["input_ids"].shape[1]
        room = drawn.answer_room(PROMPT, size)
        assert room == drawn.positions - (0 if drawn.name == "florence2" else drawn.prompt_tokens(PROMPT, size))
        with pytest.raises(ModelError, match=f"expected .*at most {drawn.positions} tokens"):
            drawn.generate([image], PROMPT, Decoding(max_new_tokens=room + 1))
    drawn.generate(images[:1], PROMPT, Decoding(max_new_tokens=2, min_new_tokens=2))


def test_precision_and_attention_of_each_part(folder: Path, images: list[np.ndarray]) -> None:
    # Gemma 2, PaliGemma's language model, has no sdpa in transformers.
    wanted = {"vision": "eager", "language": "sdpa"}
    if _families.load(str(folder)).name == "paligemma":
        wanted = {"vision": "sdpa", "language": "eager"}
    family = _families.load(str(folder), dtype="bfloat16", attn_implementation=wanted)
    family.model.eval()
    config: Any = family.model.config
    assert config.vision_config._attn_implementation == wanted["vision"]
    assert config.text_config._attn_implementation == wanted["language"]
    assert {str(p.dtype) for p in family.model.parameters()} == {"torch.bfloat16"}
    answers = family.generate(images, PROMPT, Decoding(max_new_tokens=4))
    for found in family.log_probabilities(images, PROMPT, [answer.tokens for answer in answers]):
        assert found.dtype == np.float64
        assert (found < 0).all()
        assert np.isfinite(found).all()


def test_sampling_follows_the_seed(drawn: Family, images: list[np.ndarray]) -> None:
    decoding = Decoding(max_new_tokens=8, min_new_tokens=8, temperature=3.0)
    texts = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        texts.append([answer.tokens.tolist() for answer in drawn.generate(images, PROMPT, decoding)])
    assert texts[0] == texts[1] != texts[2]


def test_answers_of_both_forms_of_the_least_length(drawn: Family, images: list[np.ndarray]) -> None:
    answers = drawn.generate(images, PROMPT, Decoding(max_new_tokens=9, min_new_tokens=9, num_beams=3))
    assert [len(answer.tokens) for answer in answers] == [9, 9]


def test_no_answers_and_empty_ones(drawn: Family, images: list[np.ndarray]) -> None:
    first, second = drawn.log_probabilities(images, PROMPT, [[], drawn.tokenizer.convert_tokens_to_ids(["a"])])
    assert first.shape == (0,)
    assert second.shape == (1,)
    assert math.isfinite(second[0])


# As the makers' processors and model cards have them.
PLACEHOLDERS: dict[str, tuple[str, ...]] = {
    "florence2": ("<image>",),
    "paligemma": ("<image>",),
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"), ("<|image_pad|>", "<|video_pad|>")),
    "glm4v": ("<|image|>", "<|video|>"),
    "internvl": ("<IMG_CONTEXT>", "<video>"),
    "idefics3": ("<image>",),
    "smolvlm": ("<image>",),
    "gemma3": ("<start_of_image>", "<image_soft_token>"),
    "llava_onevision": ("<image>", "<video>"),
}


def test_words_that_mean_something_else_to_the_model(drawn: Family, model_type: str, tmp_path: Path) -> None:
    """In prompt or names of classes they are refused, in training and where a detector is loaded."""
    codec = codecs.get("qwen2.5-vl")
    drawn.check(codec, PROMPT, (56, 56), ["ship"])
    end = drawn.tokenizer.decode([drawn.end_tokens[0]])
    for token in PLACEHOLDERS[model_type]:
        with pytest.raises(ModelError, match=rf"expected a prompt without '{re.escape(token)}'.*\nLeave it out"):
            drawn.check(codec, f"Find {token} ships.", (56, 56))
    for token in (*PLACEHOLDERS[model_type], end):
        with pytest.raises(ModelError, match=rf"expected class names without '{re.escape(token)}'.*\nGive the class"):
            drawn.check(codec, PROMPT, (56, 56), ["ship", f"a {token}"])
    drawn.save(tmp_path)
    DetectorSpec(ClassNames(["ship"]), codec.to_dict(), f"Find {token}, {PLACEHOLDERS[model_type][0]}.", 56, 0).save(
        tmp_path
    )
    with pytest.raises(ModelError, match="expected a prompt without"):
        Detector.from_pretrained(tmp_path, device="cpu")
