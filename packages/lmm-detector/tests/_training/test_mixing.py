"""The order of an epoch over several datasets."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmm_detector._training._mixing import MODES, EpochSampler, Place, epoch_order, grouped
from lmm_detector.errors import ConfigError

sizes_of_sets = st.lists(st.integers(1, 40), min_size=1, max_size=4)


@given(sizes_of_sets, st.sampled_from(sorted(MODES)), st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_has_as_many_windows_as_there_are(sizes: list[int], mode: str, seed: int, epoch: int) -> None:
    order = epoch_order(sizes, mode, seed, epoch)
    assert len(order) == sum(sizes)
    assert order.min() >= 0
    assert order.max() < sum(sizes)
    np.testing.assert_array_equal(order, epoch_order(sizes, mode, seed, epoch))


@given(sizes_of_sets, st.sampled_from(["single", "concat"]))
def test_each_once(sizes: list[int], mode: str) -> None:
    orders = [epoch_order(sizes, mode, 0, epoch) for epoch in range(3)]
    for order in orders:
        assert sorted(order) == list(range(sum(sizes)))
    if sum(sizes) > 12:
        assert len({tuple(order) for order in orders}) == 3
        assert tuple(epoch_order(sizes, mode, 1, 0)) not in {tuple(order) for order in orders}


@given(sizes_of_sets, st.integers(0, 3))
def test_balanced_draws_equally(sizes: list[int], epoch: int) -> None:
    """The shares differ by one at most, and no window comes twice more often than another of its dataset."""
    set_of = np.repeat(np.arange(len(sizes)), sizes)
    order = epoch_order(sizes, "balanced", 0, epoch)
    shares = np.bincount(set_of[order], minlength=len(sizes))
    assert shares.max() - shares.min() <= 1
    counts = np.bincount(order, minlength=sum(sizes))
    for number in range(len(sizes)):
        of_set = counts[set_of == number]
        assert of_set.max() - of_set.min() <= 1


def test_what_is_left_over_goes_round() -> None:
    sizes = [1, 4, 3, 3]
    set_of = np.repeat(np.arange(4), sizes)
    total = sum(np.bincount(set_of[epoch_order(sizes, "balanced", 0, epoch)], minlength=4) for epoch in range(4))
    assert total.tolist() == [11, 11, 11, 11]


def test_lmmrotates_pool() -> None:
    """Sizes 10, 5, 6, 2: ratios 1, 2, round(1.67) = 2 and 5; the pool has 10 + 10 + 12 + 10, of which 23 are drawn."""
    sizes = [10, 5, 6, 2]
    pool = [*range(10), *[*range(10, 15)] * 2, *[*range(15, 21)] * 2, *[*range(21, 23)] * 5]
    for epoch in range(3):
        expected = random.Random(epoch).sample(pool, 23)
        assert Counter(epoch_order(sizes, "balanced concat", 7, epoch).tolist()) == Counter(expected)
    # A ratio of 1.67 is rounded to 2, one of 1.25 to 1.
    assert sorted(epoch_order([5, 4], "balanced concat", 0, 0)) == list(range(9))


def test_the_sampler_says_the_epoch_too() -> None:
    sampler = EpochSampler([3, 2], "concat", 4)
    first = list(sampler)
    sampler.set_epoch(1)
    assert len(sampler) == 5
    assert first == [Place(0, index) for index in epoch_order([3, 2], "concat", 4, 0).tolist()]
    assert list(sampler) == [Place(1, index) for index in epoch_order([3, 2], "concat", 4, 1).tolist()]


def test_all_steps_are_of_one_size() -> None:
    sampler = EpochSampler([3, 2], "concat", 4, multiple=4)
    places = list(sampler)
    assert len(sampler) == len(places) == 8
    assert [place.number for place in places[:5]] == epoch_order([3, 2], "concat", 4, 0).tolist()
    assert places[5:] == places[:3]
    assert len(list(EpochSampler([2], "single", 0, multiple=5))) == 5


def test_single_is_one_dataset() -> None:
    with pytest.raises(ConfigError, match="expected one dataset with dataset_mode 'single', got 2"):
        EpochSampler([3, 2], "single", 0)


@given(st.lists(st.integers(1, 400), min_size=24, max_size=24), st.integers(1, 3), st.integers(0, 5))
def test_grouped_steps_have_texts_of_like_lengths(lengths: list[int], steps: int, epoch: int) -> None:
    order, of = epoch_order([24], "concat", 0, epoch), np.array(lengths)
    found = grouped(order, of, 8, steps, 0, epoch)
    for start in range(0, 24, 8 * steps):
        before, after = order[start : start + 8 * steps], found[start : start + 8 * steps]
        assert sorted(before) == sorted(after)
        # The least padding that there is: the longest together, then the longest of the others.
        rows = sorted(of[after].reshape(-1, 8).tolist(), reverse=True)
        assert list(itertools.chain(*rows)) == sorted(of[before].tolist(), reverse=True)
    if steps == 1:
        assert [set(row) for row in found.reshape(-1, 8)] == [set(row) for row in order.reshape(-1, 8)]


def test_steps_of_like_lengths_come_in_any_order() -> None:
    of = np.arange(80)
    firsts = [of[grouped(epoch_order([80], "concat", 0, epoch), of, 8, 10, 0, epoch)][0] for epoch in range(8)]
    assert len(set(firsts)) > 2


def test_a_sampler_groups_where_it_has_lengths() -> None:
    lengths = [5, 1, 9, 3, 7, 2]
    order = [place.number for place in EpochSampler([6], "concat", 0, 6, lengths)]
    assert [lengths[number] for number in order] == [9, 7, 5, 3, 2, 1]
