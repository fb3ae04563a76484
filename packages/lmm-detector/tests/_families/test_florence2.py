"""Florence-2's batches and answers, against transformers' model called by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lmm_detector import _families
from lmm_detector._decoding._constrained import compile_grammar
from lmm_detector._families import Decoding, Sample
from lmm_detector.errors import ModelError
from rbox_formats import ClassNames, codecs
from rbox_testing.tiny_florence2 import save_tiny_florence2
from safetensors.torch import load_file, save_file

CODEC = codecs.get("florence2")
QUAD = "".join(f"<loc_{i}>" for i in (1, 2, 3, 4, 5, 6, 7, 999))


@pytest.fixture(scope="module")
def family(tiny_model: Path) -> _families.Family:
    return _families.load(str(tiny_model))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def trained(tiny_model: Path, image: np.ndarray) -> _families.Family:
    """Trained until it tells two images apart: the answers of random weights are one token again and again."""
    family = _families.load(str(tiny_model))
    batch = family.collate([Sample(image, "ship" + QUAD, True), Sample(image // 8, "plane" + QUAD, True)], CODEC.prompt)
    optimizer = torch.optim.AdamW(family.model.parameters(), lr=5e-3)
    for _ in range(300):
        loss = family.model(**family.on_device(batch)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss < 0.05:
            break
    family.model.eval()
    return family


def test_it_has_half_a_million_parameters(family: _families.Family) -> None:
    assert 4e5 < sum(p.numel() for p in family.model.parameters()) < 6e5


def test_answers_are_one_token_a_coordinate_between_start_and_end(family: _families.Family, image: np.ndarray) -> None:
    tokenizer = family.processor.tokenizer
    batch = family.collate(
        [Sample(image, "ship" + QUAD, True), Sample(image, "ship" + QUAD + "<sep>" + QUAD, False)], "x"
    )
    first = [token for token in batch["labels"][0].tolist() if token != -100]
    assert tokenizer.convert_ids_to_tokens(first) == [
        "<s>", "ship", *(f"<loc_{i}>" for i in (1, 2, 3, 4, 5, 6, 7, 999)), "</s>"
    ]  # fmt: skip
    second = [token for token in batch["labels"][1].tolist() if token != -100]
    assert tokenizer.decode(second) == "<s>ship" + QUAD + "<sep>" + QUAD  # incomplete: no end is taught
    assert family.count_tokens(["ship" + QUAD, "ship" + QUAD + "<sep>" + QUAD]) == [11, 20]


def test_pixels_are_scaled_as_clip_does(family: _families.Family, image: np.ndarray) -> None:
    """At the model's own size nothing is resized: mean and deviation of CLIP, by hand."""
    batch = family.on_device(family.collate([Sample(image, "ship" + QUAD, True)], CODEC.prompt))
    mean, deviation = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    expected = ((image / 255 - mean) / deviation).transpose(2, 0, 1)
    np.testing.assert_allclose(batch["pixel_values"][0].numpy(), expected, atol=1e-5)


def test_the_prompt_stands_behind_the_image(family: _families.Family, image: np.ndarray) -> None:
    tokenizer = family.processor.tokenizer
    (ids,) = family.collate([Sample(image, "", True)], CODEC.prompt)["input_ids"]
    assert (ids[:10] == family.model.config.image_token_id).all()  # three by three, and their mean
    assert tokenizer.decode(ids[10:]) == f"<s>{CODEC.prompt}</s>"


def test_loss_is_cross_entropy_of_the_answer(family: _families.Family, image: np.ndarray) -> None:
    batch = family.collate([Sample(image, "ship" + QUAD, True), Sample(image, "plane" + QUAD, False)], CODEC.prompt)
    family.model.eval()
    with torch.no_grad():
        output = family.model(**family.on_device(batch))
    kept = batch["labels"] != -100
    log_probabilities = output.logits.log_softmax(-1)[kept]
    by_hand = -log_probabilities.gather(1, batch["labels"][kept][:, None]).mean()
    assert float(output.loss) == pytest.approx(float(by_hand), rel=1e-5)


def test_greedy_answers_are_those_of_a_loop_over_the_model(trained: _families.Family, image: np.ndarray) -> None:
    """No cache, no generate: the likeliest next token, one after the other."""
    batch = trained.collate([Sample(image, "", True)], CODEC.prompt)
    del batch["labels"], batch["decoder_input_ids"]
    tokens = torch.tensor([[trained.model.config.text_config.decoder_start_token_id]])
    with torch.no_grad():
        while tokens.shape[1] < 20 and (tokens.shape[1] == 1 or tokens[0, -1] != tokens[0, 0]):
            logits = trained.model(**trained.on_device(batch), decoder_input_ids=tokens).logits[0, -1]
            tokens = torch.cat([tokens, logits.argmax()[None, None]], dim=1)
    (answer,) = trained.generate([image], CODEC.prompt, Decoding(max_new_tokens=20))
    assert answer.text == trained.processor.tokenizer.decode(tokens[0, 1:])
    assert answer.text == "<s>ship" + QUAD + "</s>"
    assert answer.tokens.tolist() == tokens[0, 1:].tolist()
    assert answer.finished


def test_an_answer_that_runs_into_the_limit_is_not_finished(trained: _families.Family, image: np.ndarray) -> None:
    (answer,) = trained.generate([image], CODEC.prompt, Decoding(max_new_tokens=6))
    assert answer.text == "<s>ship<loc_1><loc_2><loc_3><loc_4>"
    assert not answer.finished


def test_a_checkpoints_own_generation_settings_do_not_hide_that_an_answer_is_cut(
    tiny_model: Path, image: np.ndarray, tmp_path: Path
) -> None:
    """BART's default closes every answer with </s>, and Florence-2's forbids a triple of tokens to come again."""
    for path in tiny_model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    settings = json.loads((tmp_path / "generation_config.json").read_text())
    settings |= {"forced_eos_token_id": 2, "no_repeat_ngram_size": 3, "num_beams": 3, "early_stopping": True}
    (tmp_path / "generation_config.json").write_text(json.dumps(settings))
    answers = [
        _families.load(str(folder)).generate([image], CODEC.prompt, Decoding(max_new_tokens=9))[0].text
        for folder in (tiny_model, tmp_path)
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("num_beams", [1, 3])
def test_batches_do_not_change_answers(num_beams: int, trained: _families.Family, image: np.ndarray) -> None:
    others = [image, image // 8, image // 2]
    decoding = Decoding(max_new_tokens=20, num_beams=num_beams)
    together = [answer.text for answer in trained.generate(others, CODEC.prompt, decoding)]
    alone = [trained.generate([other], CODEC.prompt, decoding)[0].text for other in others]
    assert together == alone
    assert together[:2] == ["<s>ship" + QUAD + "</s>", "<s>plane" + QUAD + "</s>"]


def test_a_tokenizer_without_the_codecs_tokens(tmp_path: Path, class_names: ClassNames) -> None:
    class Bare(type(CODEC)):  # type: ignore[misc]
        @property
        def added_tokens(self) -> tuple[str, ...]:
            return ("<loc_0>",)

    family = _families.load(str(save_tiny_florence2(tmp_path / "m", class_names, Bare())))
    with pytest.raises(ModelError, match=r"got one without '<loc_1>' and 999 more"):
        family.check(CODEC, CODEC.prompt)


def test_a_prompt_that_is_too_long(family: _families.Family) -> None:
    with pytest.raises(ModelError, match="expected at most 512 tokens of image and prompt, got"):
        family.check(CODEC, "word " * 600)


def test_a_missing_weight_is_not_drawn_at_random(tiny_model: Path, tmp_path: Path) -> None:
    for path in tiny_model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in weights if "encoder.layers.0" in name)
    del weights[gone]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"got none for 1 of them, such as '.*encoder\.layers\.0"):
        _families.load(str(tmp_path))


def test_microsofts_layout_is_told_from_transformers(tmp_path: Path) -> None:
    config = {"model_type": "florence2", "text_config": {"model_type": "florence2_language"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="expected a Florence-2 in transformers' layout"):
        _families.load(str(tmp_path))


def test_other_families_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"found no config\.json in it"):
        _families.load(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelError, match=r"expected a model of type florence2, .*qwen2_vl, .*got 'llama'"):
        _families.load(str(tmp_path))
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=rf"Did you mean {tmp_path}/run/model\?"):
        _families.load(str(tmp_path / "run"))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_as_many_starts_as_the_checkpoint_was_taught(
    count: int, tiny_model: Path, class_names: ClassNames, image: np.ndarray, tmp_path: Path
) -> None:
    """LMMRotate's answers begin with `<s>` as often as there are beams above two."""
    for path in tiny_model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"decoder_start_tokens": count}))
    family = _families.load(str(tmp_path))
    family.model.eval()
    text = "ship" + QUAD
    batch = family.collate([Sample(image, text, True), Sample(image, text, False)], CODEC.prompt)
    starts = count * "<s>"
    assert [family.tokenizer.decode(row[row != -100]) for row in batch["labels"]] == [
        f"{starts}{text}</s>",
        starts + text,
    ]
    assert family.count_tokens([text]) == [count + 9 + 1]

    for num_beams in (1, 3):
        (answer,) = family.generate([image], CODEC.prompt, Decoding(max_new_tokens=8, num_beams=num_beams))
        assert answer.tokens[:count].tolist() == count * [family.tokenizer.bos_token_id]
    (answer,) = family.generate([image], CODEC.prompt, Decoding(max_new_tokens=2))
    assert answer.text.startswith(min(count, 2) * "<s>")
    automaton = compile_grammar(CODEC, class_names, family.tokenizer, end=family.end_tokens[0])
    (answer,) = family.generate([image], CODEC.prompt, Decoding(max_new_tokens=40, automaton=automaton))
    assert answer.text.startswith(starts)
    assert CODEC.decode(answer.text, class_names, (96, 96)).rejected == ()
    assert CODEC.decode(f"{starts}{text}</s>", class_names, (96, 96)).labels.tolist() == [1]

    # The decoder's input is </s>, the starts, the answer: by hand, what predicts each token stands before it.
    (logs,) = family.log_probabilities([image], CODEC.prompt, [answer.tokens])
    inputs = family.on_device(family.collate([Sample(image, "", True)], CODEC.prompt))
    del inputs["labels"], inputs["decoder_input_ids"]
    decoder = torch.tensor([[family.tokenizer.eos_token_id, *answer.tokens[:-1].tolist()]])
    with torch.no_grad():
        expected = family.model(**inputs, decoder_input_ids=decoder).logits[0].log_softmax(-1)
    np.testing.assert_allclose(logs, expected[range(len(logs)), answer.tokens].numpy(), atol=2e-5)
