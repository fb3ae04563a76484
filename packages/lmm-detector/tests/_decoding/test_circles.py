"""Answers that repeat themselves: found where they do, at once for a batch, and nowhere else."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lmm_detector import Detector
from lmm_detector._decoding._circles import Circle
from lmm_detector._families import Decoding, Family
from lmm_detector._prediction._generation import Generation
from rbox_formats import predictions

CIRCLE = Circle(repeats=4, box_tokens=9)


def by_hand(circle: Circle, tokens: list[int]) -> bool:
    """Every period one after the other."""
    for period in range(1, len(tokens) // circle.repeats + 1):
        length = circle.repeats * max(period, circle.box_tokens)
        tail = tokens[-length:]
        if len(tokens) >= length and all(a == b for a, b in zip(tail, tail[period:], strict=False)):
            return True
    return False


@given(
    before=st.lists(st.integers(0, 2), max_size=60),
    unit=st.lists(st.integers(0, 2), min_size=1, max_size=14),
    times=st.integers(0, 9),
    circle=st.builds(Circle, st.integers(2, 5), st.integers(1, 12)),
)
def test_it_is_found_as_by_hand(before: list[int], unit: list[int], times: int, circle: Circle) -> None:
    tokens = before + unit * times
    assert circle.runs(np.array(tokens, dtype=np.int64)) == by_hand(circle, tokens)


def test_different_boxes_are_no_circle() -> None:
    """A car park: boxes one beside the other, of which one number changes; and a box of nothing but zeros."""
    row = [[7, 100 + 5 * place, 40, 8, 4, 1, 1, 1, 1] for place in range(50)]
    assert CIRCLE.stops_at(np.array(list(itertools.chain(*row)))) is None
    zeros = [[7, 1, 2, 3, 4, 5, 6, 7, 8], [7] + [0] * 8, [7, 8, 7, 6, 5, 4, 3, 2, 1]]
    assert CIRCLE.stops_at(np.array(list(itertools.chain(*zeros, *zeros)))) is None


@pytest.mark.parametrize("unit", [[0], [7, 1, 2, 3, 4, 5, 6, 7, 8], list(range(20))])
def test_it_stops_soon_after_the_last_repetition(unit: list[int]) -> None:
    before = list(range(100, 130))
    found = CIRCLE.stops_at(np.array(before + unit * 60))
    needed = len(before) + CIRCLE.repeats * max(9, len(unit))
    assert found is not None
    assert needed <= found < needed + 16
    assert CIRCLE.stops_at(np.array(before + unit * 60)[: found - 1]) is None


def test_a_batch_is_looked_at_every_sixteen_tokens() -> None:
    stop = CIRCLE.criterion(prompt_length=5)
    prompts = torch.zeros(2, 5, dtype=torch.int64)  # which repeats itself, and is none of the answer
    answers = torch.stack([torch.arange(64), torch.arange(64) % 9])
    found = {size: stop(torch.cat([prompts, answers[:, :size]], dim=1), None).tolist() for size in range(1, 65)}
    assert {size for size, each in found.items() if each != [False, False]} == {48, 64}
    assert found[48] == found[64] == [False, True]


@pytest.fixture
def looping(detector: Detector) -> Detector:
    """A detector whose model writes one box for ever, the same for every image."""
    written = detector.family.tokenizer("ship" + "".join(f"<loc_{n}>" for n in range(8)), add_special_tokens=False)
    ids = torch.tensor(written.input_ids)

    class Looping(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.inner = model

        def __getattr__(self, name: str) -> Any:
            return super().__getattr__(name) if name == "inner" else getattr(self.inner, name)

        def generate(self, **options: Any) -> Any:
            step = itertools.count()

            def only(_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
                place = next(step) - 1
                if place < 0:
                    return scores
                forced = torch.full_like(scores, -torch.inf)
                forced[:, ids[place % len(ids)]] = 0.0
                return forced

            processors = [*options.pop("logits_processor", []), only]
            return self.inner.generate(**options, logits_processor=processors)

    family: Family = replace(detector.family, model=Looping(detector.family.model))
    return replace(detector, family=family)


@pytest.mark.parametrize("num_beams", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_generation_stops_there_and_says_so(num_beams: int, looping: Detector, scenes: Path) -> None:
    paths = sorted((scenes / "train" / "images").iterdir())[:2]
    for found in looping.predict(paths, Generation(batch_size=2, num_beams=num_beams, scores="none")):
        (window,) = found.metadata["windows"]
        assert found.status == window["status"] == "repeated"
        assert len(found) == 1
        assert window["text"].count("ship") < 8
    (whole, _) = looping.predict(paths, Generation(max_repeats=0, max_new_tokens=200, scores="none"))
    assert whole.status == "truncated"
    assert whole.metadata["windows"][0]["text"].count("ship") > 15
    assert len(whole) == 1


@pytest.mark.slow
def test_what_is_stopped_is_not_written_again_with_more_room(looping: Detector, scenes: Path, tmp_path: Path) -> None:
    paths = sorted((scenes / "train" / "images").iterdir())[:2]
    texts = {
        room: [each.text for each in looping.predict(paths, Generation(batch_size=2, first_tokens=room))]
        for room in (0, 64, 200)
    }
    assert texts[0] == texts[64] == texts[200]
    decoding = Decoding(max_new_tokens=300, circle=Circle(4, 12))
    (answer,) = looping.family.generate([np.zeros((96, 96, 3), dtype=np.uint8)], "ship", decoding)
    assert answer.repeated
    assert not answer.finished


def test_the_file_and_its_schema_know_it(looping: Detector, scenes: Path, tmp_path: Path, caplog: Any) -> None:
    from lmm_detector import predict

    paths = sorted((scenes / "train" / "images").iterdir())[:2]
    predict(looping, paths, tmp_path / "found.jsonl")
    assert {record.metadata["status"] for record in predictions.read(tmp_path / "found.jsonl")} == {"repeated"}
    assert "2 of 2 images have an answer that was stopped because it repeated the same boxes" in caplog.text
