"""Windows into batches, and back into images."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rbox_formats.detection import Scene
from rbox_formats.errors import ImageError
from rbox_formats.sharding import ahead, detect_scenes, detect_shards, shard_size, shards
from rbox_testing.telling import Telling, scenes_of


@settings(max_examples=25)
@given(counts=st.lists(st.integers(1, 30), max_size=12), batch_size=st.integers(1, 5))
def test_every_window_is_detected_in_once_or_twice_in_full_batches(counts: list[int], batch_size: int) -> None:
    steps, scenes = Telling(batch_size), scenes_of(counts)
    found = list(detect_scenes(steps, scenes))
    assert [each.image_id for each in found] == [scene.image_id for scene in scenes]
    for each, scene in zip(found, scenes, strict=True):
        # A window's place, and which attempt found something: every third one took a second.
        assert [window["window"] for window in each.metadata["windows"]] == [list(w[:3]) for w in scene.windows]
        attempts = [window["text"] for window in each.metadata["windows"]]
        assert attempts == ["1" if number % 3 == 2 else "0" for number in range(len(scene.windows))]
    seen = Counter(name for batch in steps.batches for name in batch)
    expected = {s.window_name(n): 1 + (n % 3 == 2) for s in scenes for n in range(len(s.windows))}
    assert seen == expected
    assert all(len(batch) <= batch_size for batch in steps.batches)
    plan = shards(scenes, shard_size(scenes, batch_size))
    assert sum(len(batch) < batch_size for batch in steps.batches) <= 2 * len(plan)


def test_windows_of_different_sizes_share_no_batch() -> None:
    steps = Telling(4)
    scenes = scenes_of([3, 2, 1])
    small = [Telling().scene(np.zeros((5, 5, 3), np.uint8), f"S{number}") for number in range(3)]
    order = [scenes[0], small[0], small[1], scenes[1], scenes[2], small[2]]
    found = list(detect_scenes(steps, order))
    assert [each.image_id for each in found] == [scene.image_id for scene in order]
    sizes = [{name.startswith("S") for name in batch} for batch in steps.batches]
    assert all(len(kinds) == 1 for kinds in sizes)


def test_shards_without_a_wanted_image_are_passed_over() -> None:
    scenes = scenes_of([1] * 40)
    steps = Telling(2)
    (found,) = detect_scenes(steps, scenes, wanted={"P9"})
    whole = list(detect_scenes(Telling(2), scenes))
    assert found.to_dict() == whole[9].to_dict()  # the same batch, to the last bit
    assert {name for batch in steps.batches for name in batch} == {f"P{n}__8__0___0" for n in range(8, 16)}


def test_one_broken_image_takes_nothing_with_it(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path in paths:
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 100, 3), dtype=np.uint8)).save(path)
    steps = Telling(4)
    scenes = [steps.scene(path) for path in paths]
    data = paths[1].read_bytes()
    paths[1].write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))  # its header is whole
    broken: list[tuple[Scene, ImageError]] = []
    found = list(detect_scenes(steps, scenes, on_broken=lambda *told: broken.append(told)))
    assert [each.image_id for each in found] == ["a", "c"]
    assert {scene.image_id for scene, _ in broken} == {"b"}
    with pytest.raises(ImageError, match=r"b\.png"):
        list(detect_scenes(steps, scenes))


def test_shards_come_one_after_the_other() -> None:
    plan = shards(scenes_of([2, 3, 20, 1]), 4)
    shown = [(shard, [piece for piece, _ in found]) for shard, found in detect_shards(Telling(), plan)]
    assert shown == [(shard, list(shard.pieces)) for shard in plan]


def test_items_are_read_ahead_and_no_more_than_asked_for() -> None:
    """By one thread, in order, at most three before they are asked for; an error comes in its place."""
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10):
            if number == 7:
                raise ValueError("the seventh")
            read.append(number)
            yield number

    found = ahead(items(), 3)
    assert read == []
    for number in range(7):
        assert next(found) == number
        assert len(read) - number <= 4
    with pytest.raises(ValueError, match="the seventh"):
        next(found)


def test_reading_ends_where_nobody_asks_any_more() -> None:
    others = set(threading.enumerate())
    read: list[int] = []
    found = ahead((read.append(number) or number for number in range(100)), 2)
    assert next(found) == 0
    found.close()
    before = len(read)
    assert before <= 4
    assert not any(thread.is_alive() for thread in set(threading.enumerate()) - others)
    assert len(read) == before
