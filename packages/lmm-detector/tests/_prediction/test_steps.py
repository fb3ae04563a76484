"""Detection step by step gives what `predict` gives, and texts are heard while they are written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lmm_detector import Detector, Generation, find_images
from lmm_detector._decoding._vocabulary import Vocabulary
from lmm_detector._prediction._hearing import Hearing
from rbox_formats import images
from rbox_formats.detection import SceneWindow, StepwiseDetector


@pytest.fixture
def pixels(scenes: Path) -> np.ndarray:
    """The middle of four scenes, as one image of nine windows of 48 px."""
    parts = [images.load(path) for path in find_images(scenes / "train" / "images")[:4]]
    whole = np.concatenate([np.concatenate(parts[:2], axis=1), np.concatenate(parts[2:], axis=1)])
    return np.ascontiguousarray(whole[40:152, 40:152])


@pytest.mark.parametrize("first_tokens", [pytest.param(0, marks=pytest.mark.slow), 4])
def test_steps_in_the_order_of_predict_give_its_prediction(
    detector: Detector, pixels: np.ndarray, first_tokens: int
) -> None:
    generation = Generation(max_new_tokens=64, first_tokens=first_tokens, batch_size=3)
    options: dict[str, Any] = {"window": 48, "gap": 16, "score_threshold": 0.001}
    expected = detector.predict(pixels, generation, **options)
    steps = detector.steps(generation, **options)
    assert isinstance(detector, StepwiseDetector)
    assert (steps.batch_size, steps.attempts) == (3, 1 if first_tokens == 0 else 3)
    scene = steps.scene(pixels)
    waiting: list[list[SceneWindow]] = [
        [SceneWindow(scene, *crop) for crop in scene.crops()],
        *([] for _ in range(steps.attempts)),
    ]
    assert len(waiting[0]) > 3
    found: dict[int, Any] = {}
    for attempt in range(steps.attempts):
        for first in range(0, len(waiting[attempt]), 3):
            batch = waiting[attempt][first : first + 3]
            for window, result in zip(batch, steps.detect(batch, attempt=attempt), strict=True):
                if result is None:
                    waiting[attempt + 1].append(window)
                else:
                    found[window.number] = result
    if first_tokens:
        assert waiting[1]
    joined = steps.join(scene, [found[number] for number in range(len(found))])
    assert joined.to_dict() == expected.to_dict()
    np.testing.assert_array_equal(joined.spans, expected.spans)


def test_keys_are_equal_where_windows_may_share_a_batch(detector: Detector) -> None:
    assert detector.steps(window=48).key == detector.steps(window=48, gap=3, score_threshold=0.5).key
    assert detector.steps(Generation(max_new_tokens=9)).key != detector.steps().key
    assert hash(detector.steps().key) == hash(detector.steps(score_threshold=0.1).key)


def test_texts_are_heard_in_full_and_their_boxes_read(detector: Detector, pixels: np.ndarray) -> None:
    steps = detector.steps(Generation(max_new_tokens=60, max_repeats=2), window=48, gap=16)
    scene = steps.scene(pixels)
    windows = [SceneWindow(scene, *crop) for crop in scene.crops()][:4]
    texts = [""] * 4
    decoders = [steps.stream(scene, window.number) for window in windows]
    boxes: list[list[Any]] = [[] for _ in windows]

    def listen(place: int, piece: str) -> None:
        texts[place] += piece
        boxes[place] += decoders[place].feed(piece)

    found = steps.detect(windows, attempt=steps.attempts - 1, listener=listen)
    assert steps.detect(windows, attempt=steps.attempts - 1)[0].about == found[0].about  # listening changes nothing
    for text, streamed, result in zip(texts, boxes, found, strict=True):
        assert text == result.about["text"]
        unique = {each.box.tobytes() for each in streamed}
        assert unique == {box.tobytes() for box in result.found.boxes}
    assert sum(map(len, boxes)) > 0


def test_spans_are_the_characters_of_the_numbers(detector: Detector, pixels: np.ndarray) -> None:
    found = detector.predict(pixels, Generation(max_new_tokens=60), window=48, gap=16)
    assert found.spans is not None
    assert len(found) > 0
    for window, start, stop in found.spans:
        text = found.metadata["windows"][window]["text"][start:stop]
        assert text.startswith("<loc_")
        assert text.endswith(">")
        assert text.count("<loc_") == 8


def family(*spellings: bytes, end: int, pad: int, strips_space: bool = False) -> Any:
    vocabulary = Vocabulary(spellings, frozenset(), end, strips_space)
    return SimpleNamespace(end_tokens=(end,), tokenizer=SimpleNamespace(pad_token_id=pad), read=vocabulary.read)


def heard(family: Any, steps: list[list[int]]) -> list[list[str]]:
    found: list[list[str]] = [[] for _ in steps[0]]
    hearing = Hearing(family, len(steps[0]), lambda number, piece: found[number].append(piece))
    for tokens in steps:
        hearing(np.array(tokens))
    return found


def test_a_character_of_several_tokens_is_heard_when_it_is_whole() -> None:
    euro = "€".encode()
    spelled = family(b"a", euro[:1], euro[1:2], euro[2:], b"</s>", b"<pad>", end=4, pad=5)
    assert heard(spelled, [[0], [1], [2], [3], [0], [4], [5]]) == [["a", "€", "a", "</s>"]]
    assert heard(spelled, [[1], [4]]) == [["\N{REPLACEMENT CHARACTER}</s>"]]  # what tokenizers decode


def test_texts_end_one_by_one() -> None:
    spelled = family(b"a", b"b", b"</s>", b"<pad>", end=2, pad=3)
    assert heard(spelled, [[0, 1], [2, 1], [3, 2], [3, 3]]) == [["a", "</s>"], ["b", "b", "</s>"]]
    # One that was stopped is followed by padding, and another one that is padded with its end.
    assert heard(spelled, [[0], [3], [3]]) == [["a"]]
    assert heard(family(b"a", b"</s>", end=1, pad=1), [[0], [1], [1]]) == [["a", "</s>"]]


def test_a_space_is_dropped_at_the_beginning_alone() -> None:
    spelled = family(b" a", b" b", b"</s>", end=2, pad=2, strips_space=True)
    assert heard(spelled, [[0], [0], [1], [2]]) == [["a", " a", " b", "</s>"]]
