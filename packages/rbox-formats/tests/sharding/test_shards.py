"""How images are divided into units of work."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rbox_formats import tiling
from rbox_formats.detection import Scene
from rbox_formats.errors import FormatsError
from rbox_formats.sharding import shard_size, shards, shared


def scenes(counts: list[int]) -> list[Scene]:
    windows = [tuple(tiling.Window(10 * n, 0, 10) for n in range(count)) for count in counts]
    return [Scene(str(number), None, None, (10, 10), each) for number, each in enumerate(windows)]


@given(counts=st.lists(st.integers(1, 100), max_size=60), size=st.integers(1, 40))
def test_every_window_is_in_one_shard_in_order_and_shards_cost_about_the_same(counts: list[int], size: int) -> None:
    given_scenes = scenes(counts)
    found = shards(given_scenes, size)
    windows = [(piece.scene, number) for shard in found for piece in shard.pieces for number in piece.numbers]
    assert windows == [(scene, number) for scene in given_scenes for number in range(len(scene.windows))]
    for shard in found:
        assert shard.windows == sum(len(piece.numbers) for piece in shard.pieces)
        assert shard.windows < 3 * size
        if not all(piece.is_whole for piece in shard.pieces):
            assert len(shard.pieces) == 1
            assert shard.windows <= size
    # A shard is less than full at a run's end, and before and at the end of a divided image.
    full = sum(shard.windows >= size for shard in found)
    assert len(found) - full <= 2 * sum(count > 2 * size for count in counts) + 1


@given(counts=st.lists(st.integers(1, 40), max_size=60), batch_size=st.integers(1, 9))
def test_few_batches_are_not_full(counts: list[int], batch_size: int) -> None:
    made = scenes(counts)
    batches = sum(-(-shard.windows // batch_size) for shard in shards(made, shard_size(made, batch_size)))
    assert batches <= -(-sum(counts) // batch_size) * 1.25 + 1 + sum(count > 8 * batch_size for count in counts)


def test_shards_grow_with_the_run() -> None:
    sizes = {count: shards(made := scenes([1] * count), shard_size(made, 8))[0].windows for count in (1, 100, 2000)}
    assert sizes == {1: 1, 100: 32, 2000: 56}
    assert shard_size(scenes([1] * 100_000), 8) == 128


def test_fingerprints_are_of_the_content() -> None:
    counts = [1, 2, 30, 3]
    found = shards(scenes(counts), 4)
    assert [shard.fingerprint for shard in found] == [shard.fingerprint for shard in shards(scenes(counts), 4)]
    assert len({shard.fingerprint for shard in found}) == len(found)
    (one,) = shards([Scene("0", None, None, (10, 10), (tiling.Window(0, 0, 10),))], 4)
    for other in (
        Scene("1", None, None, (10, 10), (tiling.Window(0, 0, 10),)),
        Scene("0", None, None, (10, 11), (tiling.Window(0, 0, 10),)),
        Scene("0", None, None, (10, 10), (tiling.Window(0, 0, 9),)),
        Scene("0", None, None, (10, 10), (tiling.Window(0, 0, 10, 0.5),)),
    ):
        assert shards([other], 4)[0].fingerprint != one.fingerprint


def test_names_that_cannot_be_told_apart() -> None:
    """An image that bears the name of a window of another one, which is divided."""
    large = Scene("P", None, None, (90, 10), tuple(tiling.Window(10 * n, 0, 10) for n in range(9)))
    window = Scene("P__10__30___0", None, None, (10, 10), (tiling.Window(0, 0, 10),))
    assert len(shards([large, window], 9)) == 2
    with pytest.raises(FormatsError, match="two of 'P__10__30___0'"):
        shards([large, window], 3)
    with pytest.raises(FormatsError, match="one window or more, got 0"):
        shards([], 0)


@given(loads=st.lists(st.integers(1, 1000), max_size=40), count=st.integers(1, 8))
def test_shares_differ_by_no_more_than_a_piece(loads: list[int], count: int) -> None:
    ranks = shared(loads, count)
    totals = [sum(load for load, rank in zip(loads, ranks, strict=True) if rank == each) for each in range(count)]
    assert sum(totals) == sum(loads)
    assert max(totals) - min(totals) <= max(loads, default=0)
