"""How images are divided among batches and processes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rbox_formats.detection import Scene

# A block has so many batches, fewer where a run would otherwise have less than so many blocks for its processes.
_MOST_BATCHES, _LEAST_BATCHES, _BLOCKS = 16, 4, 32


def blocks(scenes: Sequence[Scene], batch_size: int) -> list[list[Scene]]:
    """Neighbouring scenes, whose windows are put into batches together and with no others.

    So a batch, whose company a window's answer depends on in its last bits, is the same whatever was detected before,
    and whichever process detects it: what is gone on with, or divided, are blocks. They depend on the scenes and the
    batch size alone.
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
    """Which of `count` processes does each piece of work: the largest first, each by the one that has least so far."""
    totals = [0] * count
    ranks = [0] * len(loads)
    for place in sorted(range(len(loads)), key=lambda place: -loads[place]):
        ranks[place] = totals.index(min(totals))
        totals[ranks[place]] += loads[place]
    return ranks
