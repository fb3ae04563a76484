"""How images are divided among batches and processes, and read while others are computed."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from rbox_formats.detection._scenes import Scene

T = TypeVar("T")
_END: Any = object()

# A block is filled up to 16 batches. Where a run would then have less than 32 blocks, too few to keep its processes
# busy, blocks are smaller, but not below 4 batches.
_MOST_BATCHES, _LEAST_BATCHES, _BLOCKS = 16, 4, 32


def blocks(scenes: Sequence[Scene], batch_size: int) -> list[list[Scene]]:
    """Divide scenes into blocks of neighbours, whose windows are put into batches together and with no others.

    >>> from rbox_formats.tiling import Window
    >>> scenes = [Scene(name, None, None, (8, 8), (Window(0, 0, 8),) * 4) for name in "abc"]
    >>> [[scene.image_id for scene in block] for block in blocks(scenes, batch_size=2)]
    [['a', 'b'], ['c']]

    What is found in a window depends, in its last bits, on the others of its batch. So that batches are the same
    whatever was detected before, and whichever process detects it, a run resumes and divides whole blocks. They depend
    on the scenes and the batch size alone.

    Args:
        scenes: All images of the run, in order.
        batch_size: How many windows a batch has.
    """
    batches = math.ceil(sum(len(scene.windows) for scene in scenes) / batch_size)
    least = batch_size * min(max(batches // _BLOCKS, _LEAST_BATCHES), _MOST_BATCHES)
    found: list[list[Scene]] = []
    room = 0
    for scene in scenes:
        if room <= 0:
            found.append([])
            room = least
        found[-1].append(scene)
        room -= len(scene.windows)
    return found


def shared(loads: Sequence[int], count: int) -> list[int]:
    """Return which of `count` processes does each piece of work: the largest first, by the one that has least so far.

    >>> shared([5, 1, 2, 3], count=2)
    [0, 0, 1, 1]

    Args:
        loads: How large each piece is.
        count: How many processes there are.
    """
    totals = [0] * count
    ranks = [0] * len(loads)
    for place in sorted(range(len(loads)), key=lambda place: -loads[place]):
        ranks[place] = totals.index(min(totals))
        totals[ranks[place]] += loads[place]
    return ranks


def ahead(items: Iterable[T], count: int) -> Iterator[T]:
    """Yield items that a thread of its own reads, some of them before they are asked for.

    >>> list(ahead(range(3), count=2))
    [0, 1, 2]

    Args:
        items: What to read; an error comes in its place.
        count: How many items are held at most.
    """
    reading = iter(items)
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, reading, _END) for _ in range(max(count, 1)))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(pool.submit(next, reading, _END))
            yield item
