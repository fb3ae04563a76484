"""How images are divided among batches and processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rbox_formats import tiling
from rbox_formats.detection import Scene, ahead, blocks, shared


def scenes(counts: list[int]) -> list[Scene]:
    windows = [tuple(tiling.Window(10 * n, 0, 10) for n in range(count)) for count in counts]
    return [Scene(str(number), None, None, (10, 10), each) for number, each in enumerate(windows)]


@given(counts=st.lists(st.integers(1, 40), max_size=60), batch_size=st.integers(1, 9))
def test_blocks_hold_every_scene_in_order_and_waste_little(counts: list[int], batch_size: int) -> None:
    given_scenes = scenes(counts)
    found = blocks(given_scenes, batch_size)
    assert [scene for block in found for scene in block] == given_scenes
    for block in found[:-1]:
        windows = sum(len(scene.windows) for scene in block)
        assert windows >= 4 * batch_size
        assert windows - len(block[-1].windows) < 16 * batch_size
    # A block's last batch alone is not full.
    batches = sum(-(-sum(len(scene.windows) for scene in block) // batch_size) for block in found)
    assert batches <= -(-sum(counts) // batch_size) * 1.25 + 1


def test_blocks_grow_with_the_run() -> None:
    sizes = {count: len(blocks(scenes([1] * count), 8)[0]) for count in (1, 100, 2000, 100_000)}
    assert sizes == {1: 1, 100: 32, 2000: 56, 100_000: 128}


@given(loads=st.lists(st.integers(1, 1000), max_size=40), count=st.integers(1, 8))
def test_shares_differ_by_no_more_than_a_piece(loads: list[int], count: int) -> None:
    ranks = shared(loads, count)
    totals = [sum(load for load, rank in zip(loads, ranks, strict=True) if rank == each) for each in range(count)]
    assert sum(totals) == sum(loads)
    assert max(totals) - min(totals) <= max(loads, default=0)


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
    read: list[int] = []
    found = ahead((read.append(number) or number for number in range(100)), 2)
    assert next(found) == 0
    found.close()
    before = len(read)
    assert before <= 4
    threads = [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]
    assert not any(thread.is_alive() for thread in threads)
    assert len(read) == before
