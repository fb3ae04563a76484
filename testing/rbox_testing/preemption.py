"""Processes that are taken away while they work through shards: what that costs by a formula, and in a simulation."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np


def expected_seconds(length: float, rate: float, *, start: float = 0.0, wait: float = 0.0) -> float:
    """Return how long a shard takes on average, with all tries.

    A process lives for an exponential time. The shard that it had is begun again from its beginning by the next
    process, which comes after `wait`, and may die while it starts as well. The number of tries is geometric, which
    gives (exp(rate length) - 1) exp(rate start) (1 / rate + wait). Without `wait` it is what J. T. Daly gives for one
    segment of a run: "A higher order estimate of the optimum checkpoint interval for restart dumps", 2006.

    Args:
        length: Seconds that the shard takes if nothing happens.
        rate: Deaths of a process in a second.
        start: Seconds that a process needs until it can work.
        wait: Seconds until there is another process.
    """
    return length if rate == 0 else math.expm1(rate * length) * math.exp(rate * start) * (1 / rate + wait)


def lives(rate: float, rng: np.random.Generator) -> Iterator[float]:
    """Yield how long one process after the other lives, in seconds."""
    return repeat(math.inf) if rate == 0 else (float(rng.exponential(1 / rate)) for _ in repeat(None))


class Run(NamedTuple):
    """What became of a simulated run.

    Attributes:
        seconds: From its begin to its end.
        deaths: How many processes died on the way.
        lost: Seconds of work on shards that were begun in vain.
    """

    seconds: float
    deaths: int
    lost: float


def simulate(
    shards: Sequence[float], lifetimes: Iterable[float], *, processes: int = 1, start: float = 0.0, wait: float = 0.0
) -> Run:
    """Simulate a run event by event: processes take shards from one queue, die, and are replaced.

    Args:
        shards: Seconds that each takes.
        lifetimes: How long each process lives, in the order of their begins.
        processes: How many work at a time.
        start: Seconds that a process needs until it can work.
        wait: Seconds until a dead process is replaced.
    """
    queue, living = deque(shards), iter(lifetimes)
    # What happens when, the number for equal times, and what a process has in hand then: the time of its death, and the
    # shard that it is at. None for the first: it is a new one. A shard is given back at a death.
    events: list[tuple[float, int, float | None, float | None]] = [
        (0.0, number, None, None) for number in range(processes)
    ]
    idle: list[float] = []  # deaths of processes that have nothing to do
    number, open_, deaths, lost, now = processes, len(queue), 0, 0.0, 0.0
    while open_:
        now, _, death, shard = heapq.heappop(events)
        number += 1
        if death is None:
            death = now + next(living)
            heapq.heappush(events, (min(now + start, death), number, death, None))
            continue
        if now >= death:
            deaths += 1
            heapq.heappush(events, (now + wait, number, None, None))
            if shard is not None:
                queue.append(shard)
                if idle:
                    number += 1
                    heapq.heappush(events, (now, number, idle.pop(), None))
            continue
        if shard is not None:
            open_ -= 1
        if not queue:
            idle.append(death)
            continue
        shard = queue.popleft()
        if now + shard > death:
            lost += death - now
        heapq.heappush(events, (min(now + shard, death), number, death, shard))
    return Run(now, deaths, lost)
