"""The simulation of processes that are taken away, beside the formula and what can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from rbox_testing.preemption import Run, expected_seconds, lives, simulate


@pytest.mark.parametrize(
    "length, rate, start, wait",
    [(10.0, 0.05, 0.0, 0.0), (10.0, 0.2, 0.0, 7.0), (3.0, 0.1, 5.0, 0.0), (20.0, 0.1, 4.0, 30.0)],
)
def test_the_mean_is_that_of_the_formula(length: float, rate: float, start: float, wait: float) -> None:
    shards, rng = [length] * 5, np.random.default_rng(0)
    runs = [simulate(shards, lives(rate, rng), start=start, wait=wait) for _ in range(2000)]
    seconds = np.array([run.seconds for run in runs])
    # The first process starts without one before it that died.
    first = expected_seconds(start, rate, wait=wait)
    expected = first + 5 * expected_seconds(length, rate, start=start, wait=wait)
    error = seconds.std() / np.sqrt(len(seconds))
    assert abs(seconds.mean() - expected) < 3 * error
    assert error < expected / 20
    # Every second is work that counts, work in vain, a start or a wait.
    spent = [run.seconds - 5 * length - run.lost - run.deaths * wait for run in runs]
    assert min(spent) > start - 1e-6


def test_without_deaths_it_is_the_sum() -> None:
    shards = [1.0, 2.5, 4.0]
    assert simulate(shards, lives(0, np.random.default_rng(0)), start=3) == Run(3 + 7.5, 0, 0.0)
    assert simulate(shards, lives(0, np.random.default_rng(0)), processes=2) == Run(5.0, 0, 0.0)
    assert expected_seconds(7.5, 0) == 7.5
    assert expected_seconds(7.5, 1e-9) == pytest.approx(7.5)


def test_by_hand() -> None:
    """The first process dies at 5, in its second shard; the second while it starts, at 5 + 2 + 1."""
    run = simulate([3.0, 3.0], [5.0, 1.0, 100.0], start=1.0, wait=2.0)
    assert run == Run(8 + 2 + 1 + 3, 2, 1.0)
    # Two at a time: the shard of the dead one is taken by the other, which had nothing to do any more.
    run = simulate([3.0, 1.0], [2.0, 100.0], processes=2, wait=50.0)
    assert run == Run(2 + 3, 1, 2.0)
