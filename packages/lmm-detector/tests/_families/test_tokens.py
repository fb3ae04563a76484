"""New tokens: their rows against means taken by hand, and what saving, training and the other rows make of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lmm_detector import _families
from lmm_detector._decoding._constrained import compile_grammar
from lmm_detector._families import Decoding, Family, Sample
from lmm_detector.errors import ModelError
from rbox_formats import ClassNames, codecs

CODEC = codecs.get("florence2")
COORDINATES = [f"<loc_{place}>" for place in range(1000)]
PROMPT = "Find all ships."

Save = Callable[..., Path]


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def family(request: pytest.FixtureRequest, save: Save) -> Family:
    family = _families.load(str(save("qwen2_vl", tied=request.param)))
    family.model.eval()
    return family


def tables(family: Family) -> list[np.ndarray]:
    """Of the input and the output, each (rows, width), copied."""
    found = (family.model.get_input_embeddings(), family.model.get_output_embeddings())
    return [module.weight.detach().numpy().astype(np.float64) for module in found]


def test_coordinates_begin_as_smoothed_means_of_their_digits(family: Family) -> None:
    before = tables(family)
    assert np.array_equal(*before) == family.model.config.tie_word_embeddings
    pieces = [family.tokenizer(str(place)).input_ids for place in range(1000)]
    ids = family.add_tokens(COORDINATES)
    assert ids == family.tokenizer.convert_tokens_to_ids(COORDINATES)
    for old, new in zip(before, tables(family), strict=True):
        np.testing.assert_array_equal(new[: len(family.tokenizer) - 1000], old[: len(family.tokenizer) - 1000])
        means = np.array([old[row].mean(axis=0) for row in pieces])
        for place in (0, 3, 500, 999):
            weights = [np.exp(-(((other - place) / 10) ** 2) / 2) for other in range(1000)]  # a hundredth of the axis
            by_hand = np.average(means, axis=0, weights=weights)
            np.testing.assert_allclose(new[ids[place]], by_hand, atol=1e-6)


def test_neighbours_are_alike_and_no_two_the_same(family: Family) -> None:
    rows = tables(family)[0] if not (ids := family.add_tokens(COORDINATES)) else tables(family)[0][ids]
    apart = np.linalg.norm(rows[:, None] - rows, axis=-1)
    steps = np.abs(np.subtract.outer(np.arange(1000), np.arange(1000)))
    assert apart[steps == 1].mean() < apart[steps == 100].mean() / 5
    assert apart[steps > 0].min() > 0


def test_the_mean_is_lmmrotates(family: Family) -> None:
    count = len(family.tokenizer)
    before = tables(family)
    ids = family.add_tokens(CODEC.added_tokens, "mean")
    assert len(ids) == 1001
    for old, new in zip(before, tables(family), strict=True):
        np.testing.assert_allclose(new[ids], np.tile(old[:count].mean(axis=0), (1001, 1)), atol=1e-6)


def test_tokens_without_a_number_begin_as_what_has_written_them(family: Family) -> None:
    before = tables(family)[0]
    written = {token: family.tokenizer(token).input_ids for token in ("<sep>", "</quad>")}
    ids = family.add_tokens([*written, "<sep>"])
    for number, pieces in zip(ids, written.values(), strict=True):
        np.testing.assert_allclose(tables(family)[0][number], before[pieces].mean(axis=0), atol=1e-6)


def test_what_is_there_stays(family: Family) -> None:
    first = family.add_tokens(["<loc_0>", "<loc_1>"])
    before = tables(family)[0][first]
    assert family.add_tokens(["<loc_0>", "<loc_1>"]) == []
    (third,) = family.add_tokens(["<loc_1>", "<loc_2>"])
    assert third not in first
    np.testing.assert_array_equal(tables(family)[0][first], before)
    with pytest.raises(ModelError, match="expected an initialisation among"):
        family.add_tokens(["<loc_3>"], "zero")  # type: ignore[arg-type]


def test_spare_rows_are_taken_first(save: Save) -> None:
    """Qwen's tables have rows that no token has."""
    family = _families.load(str(save("qwen2_vl")))
    family.model.resize_token_embeddings(len(family.tokenizer) + 100, mean_resizing=False)
    rows = len(tables(family)[0])
    family.add_tokens(COORDINATES[:100])
    assert len(tables(family)[0]) == rows
    family.add_tokens(COORDINATES[:101])
    assert len(tables(family)[0]) > rows


def test_they_are_one_token_each_in_every_family_and_survive_saving(
    folder: Path, images: list[np.ndarray], tmp_path: Path, class_names: ClassNames
) -> None:
    family = _families.load(str(folder))
    family.add_tokens([*CODEC.added_tokens, "<new_7>"])
    family.model.eval()
    family.check(CODEC, PROMPT, (56, 56))
    quad = "".join(COORDINATES[100:108])
    text = f"ship{quad}<sep>{quad}<new_7>"
    (ids,) = family.tokenizer([text], add_special_tokens=False).input_ids
    assert family.tokenizer.convert_ids_to_tokens(ids[-18:]) == [
        *COORDINATES[100:108],
        "<sep>",
        *COORDINATES[100:108],
        "<new_7>",
    ]
    assert family.read(ids)[0] == text
    assert sum(map(len, family.parts.values())) == len(list(family.model.parameters()))
    batch = family.collate([Sample(images[0], text, True)], PROMPT)
    with torch.no_grad():
        loss = float(family.model(**family.on_device(batch)).loss)
    family.save(tmp_path)
    again = _families.load(str(tmp_path))
    again.model.eval()
    again.check(CODEC, PROMPT, (56, 56))
    with torch.no_grad():
        assert (
            float(again.model(**again.on_device(again.collate([Sample(images[0], text, True)], PROMPT))).loss) == loss
        )
    for ours, theirs in zip(tables(family), tables(again), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("num_beams", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_random_weights_write_the_codecs_texts_where_nothing_else_is_allowed(
    folder: Path, num_beams: int, images: list[np.ndarray], class_names: ClassNames
) -> None:
    family = _families.load(str(folder))
    family.add_tokens(CODEC.added_tokens)
    family.model.eval()
    automaton = compile_grammar(CODEC, class_names, family.tokenizer, end=family.end_tokens[0], at_least_one=True)
    decoding = Decoding(max_new_tokens=30, num_beams=num_beams, automaton=automaton)
    answers = family.generate(images, PROMPT, decoding)
    for answer in answers:
        decoded = CODEC.decode(answer.text, class_names, (56, 56), on_invalid="raise")
        assert answer.finished
        assert decoded.status == "boxes"
    # The probabilities for scores know nothing of the constraint: with it, closing brackets would be certain.
    for found in family.log_probabilities(images, PROMPT, [answer.tokens for answer in answers]):
        assert (found < -0.1).all()


@pytest.mark.filterwarnings(
    "ignore:.*is_gradient_checkpointing:FutureWarning"
)  # peft 0.21 asks transformers 5.23 in vain
def test_only_new_rows_train_beside_adapters(save: Save, images: list[np.ndarray]) -> None:
    peft: Any = pytest.importorskip("peft")
    family = _families.load(str(save("internvl", tied=False)))
    ids = family.add_tokens(COORDINATES[:10])
    config = peft.LoraConfig(
        r=2,
        target_modules=family.linear_layers("language"),
        trainable_token_indices={"embed_tokens": ids, "lm_head": ids},
    )
    adapted = type(family)(peft.get_peft_model(family.model, config), family.processor)
    before = adapted.log_probabilities(images[:1], PROMPT, [ids])[0]
    batch = adapted.collate([Sample(images[0], "".join(COORDINATES[:10]), True)], PROMPT)
    optimizer = torch.optim.AdamW([p for p in adapted.model.parameters() if p.requires_grad], lr=1e-2)
    frozen = {name: p.detach().clone() for name, p in adapted.base.named_parameters() if not p.requires_grad}
    for _ in range(5):
        adapted.model(**adapted.on_device(batch)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    after = dict(adapted.base.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in frozen.items())
    assert adapted.log_probabilities(images[:1], PROMPT, [ids])[0].mean() > before.mean() + 0.1
