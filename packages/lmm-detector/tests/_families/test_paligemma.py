"""PaliGemma's prefix form, against transformers' own processor, and what its attention lets through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lmm_detector import _families
from lmm_detector._families import Family, Sample
from rbox_formats import codecs

PROMPT = "detect ship"
ANSWER = "<loc0001><loc0023><loc0400><loc1023> ship"


@pytest.fixture(scope="module")
def family(save: Callable[..., Path]) -> Family:
    family = _families.load(str(save("paligemma")))
    family.model.eval()
    return family


@pytest.mark.filterwarnings("ignore:.*__array__ implementation:DeprecationWarning")  # its processor's, of torch tensors
def test_batches_are_those_of_transformers_processor(family: Family, images: list[np.ndarray]) -> None:
    ours = family.on_device(family.collate([Sample(image, ANSWER, True) for image in images], PROMPT))
    theirs = family.processor(
        images=images, text=[f"<image>{PROMPT}"] * 2, suffix=[ANSWER] * 2, padding=True, return_tensors="pt"
    )
    assert set(ours) == set(theirs)
    for name, values in theirs.items():
        torch.testing.assert_close(ours[name], values, atol=1e-6, rtol=0)


def test_a_prefix_is_image_start_prompt_and_a_line(family: Family, images: list[np.ndarray]) -> None:
    (ids,) = family.collate([Sample(images[0], "", complete=False)], PROMPT)["input_ids"]
    assert family.tokenizer.decode(ids) == 16 * "<image>" + f"<bos>{PROMPT}\n"


def test_it_has_the_codecs_tokens(family: Family) -> None:
    codec = codecs.get("paligemma")
    family.check(codec, PROMPT, (56, 56))
    assert family.add_tokens(codec.added_tokens) == []
    assert family.input_size((1000, 700)) == (56, 56)


def test_the_prompt_is_seen_whole_and_the_answer_in_order(family: Family, images: list[np.ndarray]) -> None:
    """The prompt's first output depends on its last token; the answer's first output not on its last token."""
    batch = family.on_device(family.collate([Sample(images[0], "ab", complete=False)], "xy"))
    batch.pop("labels")
    (prefix,) = np.nonzero(batch["token_type_ids"][0].numpy() == 0)
    (suffix,) = np.nonzero(batch["token_type_ids"][0].numpy() == 1)
    other = family.tokenizer.convert_tokens_to_ids("z")

    def outputs(changed: int | None) -> torch.Tensor:
        ids = batch["input_ids"].clone()
        if changed is not None:
            ids[0, changed] = other
        with torch.no_grad():
            return family.model(**{**batch, "input_ids": ids}).logits[0]

    plain, prompt, answer = (outputs(place) for place in (None, int(prefix[-2]), int(suffix[-1])))
    assert not torch.allclose(plain[prefix[0]], prompt[prefix[0]], atol=1e-5)
    torch.testing.assert_close(plain[: suffix[-1]], answer[: suffix[-1]])
