"""Batches by length, draws, memory: what changes answers, and what must not."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lmm_detector import Detector, Generation, find_images
from lmm_detector._families import Answer, Decoding
from lmm_detector.errors import ConfigError, ModelError
from PIL import Image
from rbox_formats import ClassNames
from rbox_testing.samples import sampled


@pytest.fixture
def paths(scenes: Path) -> list[Path]:
    return find_images(scenes / "val" / "images")


class Watched:
    """A family that notes the room and the number of each batch."""

    def __init__(self, family: Any) -> None:
        self.family, self.batches = family, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.family, name)

    def generate(self, crops: Sequence[Any], prompt: str, decoding: Decoding) -> list[Answer]:
        self.batches.append((decoding.max_new_tokens, len(crops)))
        return self.family.generate(crops, prompt, decoding)


@pytest.mark.parametrize(
    "settings, limit, rooms",
    [
        ({}, 4096, (128, 512, 4096)),
        ({}, 2048, (128, 512, 2048)),
        ({}, 2047, (128, 2047)),
        ({}, 511, (511,)),
        ({"first_tokens": 0}, 4096, (4096,)),
        ({"first_tokens": 10}, 160, (10, 40, 160)),
        ({"first_tokens": 10}, 100, (10, 100)),
        ({"batch_size": 1}, 4096, (4096,)),
        ({"num_beams": 3}, 4096, (4096,)),
        ({"constrained": True}, 4096, (4096,)),
        ({"temperature": 1.0}, 4096, (4096,)),
    ],
)
def test_rooms_of_answers(settings: dict[str, Any], limit: int, rooms: tuple[int, ...]) -> None:
    assert Generation(**settings).rooms(limit) == rooms


@pytest.mark.parametrize("batch_size", sampled([2, 3, 8], [3]))
def test_answers_by_length_are_the_same_answers(batch_size: int, detector: Detector, paths: list[Path]) -> None:
    """Short answers, long ones, and ones that the limit cuts; texts to the letter, scores within rounding."""
    watched = Watched(detector.family)
    plain = list(detector.predict(paths, Generation(first_tokens=0, max_new_tokens=60)))
    texts = [window["text"] for found in plain for window in found.metadata["windows"]]
    lengths = [len(ids) for ids in detector.family.tokenizer(texts, add_special_tokens=False).input_ids]
    short = sorted(lengths)[len(lengths) // 2]
    settings = {"batch_size": batch_size, "max_new_tokens": 4 * short}
    plain = list(detector.predict(paths, Generation(first_tokens=0, **settings)))
    ours = list(replace(detector, family=watched).predict(paths, Generation(first_tokens=short, **settings)))
    for found, expected in zip(ours, plain, strict=True):
        assert found.metadata == expected.metadata
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4)
    windows = sum(len(found.metadata["windows"]) for found in plain)
    attempts = [[count for room, count in watched.batches if room == each] for each in (short, 4 * short)]
    assert sum(attempts[0]) == windows
    assert 0 < sum(attempts[1]) < windows
    # Those that ran out of room wait until a batch is full.
    assert all(count == batch_size for count in attempts[1][:-1])


class Lengths:
    """Stands in for the model: each window's answer is as long as its first pixel says."""

    def answer_room(self, *_: object) -> int:
        return 1000

    def input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        return size

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [10] * len(texts)

    def __init__(self) -> None:
        self.batches: list[tuple[int, list[int]]] = []

    def generate(self, crops: Sequence[np.ndarray], _: str, decoding: Decoding) -> list[Answer]:
        lengths = [int(crop[0, 0, 0]) for crop in crops]
        self.batches.append((decoding.max_new_tokens, lengths))
        return [Answer("</s>", np.zeros(0, dtype=np.int64), length <= decoding.max_new_tokens) for length in lengths]


def test_long_answers_wait_for_each_other(detector: Detector) -> None:
    family = Lengths()
    lengths = [9, 99, 9, 200, 9, 9, 9, 30, 99, 9]
    pictures = [np.full((96, 96, 3), length, dtype=np.uint8) for length in lengths]
    generation = Generation(batch_size=2, first_tokens=10, scores="none", max_new_tokens=250)
    found = list(replace(detector, family=family).predict(pictures, generation))  # type: ignore[arg-type]
    assert [each.image_id for each in found] == [f"image-{number}" for number in range(10)]
    # Two blocks: of the eight windows that fill four batches, and of the rest.
    assert family.batches == [
        (10, [9, 99]),
        (10, [9, 200]),
        (40, [99, 200]),
        (250, [99, 200]),
        (10, [9, 9]),
        (10, [9, 30]),
        (40, [30]),
        (10, [99, 9]),
        (40, [99]),
        (250, [99]),
    ]


@pytest.mark.slow
def test_draws_are_the_seeds(detector: Detector, paths: list[Path]) -> None:
    """The same again for one seed, others for another; nothing is taken from the caller's own generator."""
    generation = Generation(temperature=1.5, top_p=0.9, seed=3, batch_size=3, max_new_tokens=30)

    def texts(generation: Generation) -> list[str]:
        return [found.text for found in detector.predict(paths, generation)]

    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first = texts(generation)
    torch.testing.assert_close(torch.rand(3), expected)
    assert first == texts(generation)
    assert first != texts(replace(generation, seed=4))
    assert first != texts(Generation(max_new_tokens=30))
    nearly_greedy = replace(generation, temperature=1e-4, top_p=1.0)
    assert texts(nearly_greedy) == texts(Generation(max_new_tokens=30))


@pytest.mark.parametrize(
    "settings, found",
    [
        ({"temperature": 0.0}, "expected a temperature above 0"),
        ({"temperature": float("nan")}, "expected a temperature above 0"),
        ({"top_p": 0.5}, "expected a temperature with top_p of 0.5, got none"),
        ({"temperature": 1.0, "top_p": 0.0}, "expected top_p above 0 and up to 1, got 0.0"),
        ({"temperature": 1.0, "num_beams": 3}, "expected one beam with a temperature, got 3"),
        ({"first_tokens": -1}, "expected first_tokens of 0 or more, got -1"),
        ({"max_repeats": 1}, "expected max_repeats of 2 or more, or 0 for none, got 1"),
        ({"seed": -1}, "expected seed of 0 or more, got -1"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], found: str) -> None:
    with pytest.raises((ModelError, ConfigError), match=found):
        Generation(**settings)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."),
        MemoryError(),
    ],
)
def test_too_little_memory_names_what_to_change(error: Exception, detector: Detector, paths: list[Path]) -> None:
    class Full(Watched):
        def generate(self, *_: object) -> list[Answer]:
            raise error

    full = replace(detector, family=Full(detector.family))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="expected enough memory for a batch of 5 windows, got: ") as caught:
        list(full.predict(paths, Generation(batch_size=5, num_beams=2, max_new_tokens=40)))
    for knob in ("--batch-size (5 now)", "--num-beams (2 now)", "--max-new-tokens (40 now)", "--dtype bfloat16"):
        assert knob in str(caught.value)


def test_other_errors_of_the_model_stay_what_they_are(detector: Detector, paths: list[Path]) -> None:
    class Broken(Watched):
        def generate(self, *_: object) -> list[Answer]:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(replace(detector, family=Broken(detector.family)).predict(paths))  # type: ignore[arg-type]


def test_a_large_scene_is_never_held_whole(detector: Detector, tmp_path: Path) -> None:
    """A GeoTIFF of 50 MB, 64 windows of which a fifth are answered again: a band of it and the windows that wait."""
    rasterio = pytest.importorskip("rasterio")
    side, path = 4096, tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8", "compress": "deflate"}
    with rasterio.open(path, "w", **profile, tiled=True, transform=rasterio.Affine(1, 0, 5, 0, -1, 9)) as file:
        for row in range(0, side, 512):
            band = np.full((3, 512, side), 5, dtype=np.uint8)
            band[:, :, row : row + 512] = 20  # a diagonal
            file.write(band, window=rasterio.windows.Window(0, row, side, 512))
    family = Lengths()
    large = replace(detector, family=family, spec=replace(detector.spec, window=512, gap=0))  # type: ignore[arg-type]
    generation = Generation(batch_size=4, first_tokens=10, scores="none")
    first = replace(large, family=Lengths())  # type: ignore[arg-type]
    first.predict(np.full((64, 64, 3), 5, np.uint8), generation)  # what a first call imports stays
    tracemalloc.start()
    found = large.predict(path, generation)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.metadata["windows"]) == 64
    # The image is divided among four shards, of which two windows each are answered again.
    assert [lengths for room, lengths in family.batches if room == 40] == [[20] * 2] * 4
    # The band is an eighth of the image, twelve windows take 0.8 MB each, and what is imported on the way a few MB.
    assert peak < side * side * 3 / 2
    picture = found.plot(max_side=512)
    assert picture.size == (512, 512)
    assert np.asarray(picture)[32::64, 32::64, 0].tolist() == (15 * np.eye(8, dtype=int) + 5).tolist()


def test_class_names_and_ids_of_images_in_memory(detector: Detector) -> None:
    found = detector.predict(Image.new("L", (50, 40), 7), Generation(max_new_tokens=5))
    assert (found.image_id, found.size, found.path) == ("image", (50, 40), None)
    assert isinstance(found.class_names, ClassNames)
    assert np.asarray(found.plot(show_labels=False, min_side=0)).shape == (40, 50, 3)


def test_answers_are_somewhat_longer_than_the_longest_that_was_taught(detector: Detector) -> None:
    """Half as long again and 64 tokens more, as far as the model goes; asked for by number, as asked."""
    picture = np.full((96, 96, 3), 9, dtype=np.uint8)
    rooms = {}
    for taught, asked in ((40, None), (900, None), (None, None), (40, 300)):
        family = Lengths()
        spec = replace(detector.spec, longest_answer=taught)
        known = replace(detector, family=family, spec=spec)  # type: ignore[arg-type]
        known.predict(picture, Generation(batch_size=1, max_new_tokens=asked, scores="none"))
        rooms[taught, asked] = family.batches[0][0]
    assert rooms == {(40, None): 124, (900, None): 1000, (None, None): 1000, (40, 300): 300}
