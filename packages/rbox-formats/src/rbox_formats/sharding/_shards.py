"""The units of work of a prediction: shards of about as many windows each, of whole images or of parts of one."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from rbox_formats.detection import Scene
from rbox_formats.errors import FormatsError

# A shard is filled up to 16 batches. Where a run would then have less than 32 shards, too few to keep its processes
# busy, shards are smaller, but not below 4 batches.
_MOST_BATCHES, _LEAST_BATCHES, _SHARDS = 16, 4, 32

# An image of more than this many times a shard's windows is divided among shards.
_LARGE = 2


@dataclass(frozen=True, eq=False)
class Piece:
    """An image of a shard, or a part of one.

    >>> from rbox_formats.tiling import Window
    >>> scene = Scene("P0001", None, None, (30, 10), (Window(0, 0, 10), Window(10, 0, 10), Window(20, 0, 10)))
    >>> Piece(scene, range(0, 2)).names
    ['P0001__10__0___0', 'P0001__10__10___0']
    >>> Piece(scene, range(0, 3)).names
    ['P0001']

    Attributes:
        scene: The image.
        numbers: Which of its windows, as indices into `scene.windows`.
    """

    scene: Scene
    numbers: range

    @property
    def is_whole(self) -> bool:
        """Whether it has all windows of the image."""
        return len(self.numbers) == len(self.scene.windows)

    @property
    def names(self) -> list[str]:
        """The ids of its lines in a part file: the image's, or those of its windows where it is not whole."""
        return [self.scene.image_id] if self.is_whole else [self.scene.window_name(number) for number in self.numbers]


@dataclass(frozen=True, eq=False)
class Shard:
    """Windows that are put into batches together, and with no others.

    What is found in a window depends, in its last bits, on the others of its batch. Since a shard is detected as a
    whole, it has one result, whichever process computes it, wherever, and however often.

    >>> from rbox_formats.tiling import Window
    >>> scene = Scene("P0001", None, None, (8, 8), (Window(0, 0, 8),))
    >>> shard = Shard((Piece(scene, range(1)),))
    >>> shard.windows, len(shard.fingerprint)
    (1, 32)

    Attributes:
        pieces: The images, or parts of them, in order.
    """

    pieces: tuple[Piece, ...]

    @property
    def windows(self) -> int:
        """How many windows it has."""
        return sum(len(piece.numbers) for piece in self.pieces)

    @cached_property
    def fingerprint(self) -> str:
        """A name for its content: the ids and sizes of its images and the places of its windows, hashed."""
        content = [
            [piece.scene.image_id, *piece.scene.size, [list(piece.scene.windows[number]) for number in piece.numbers]]
            for piece in self.pieces
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def shard_size(scenes: Sequence[Scene], batch_size: int) -> int:
    """Return how many windows the shards of a run should have, so that batches are full and processes busy.

    >>> from rbox_formats.tiling import Window
    >>> scenes = [Scene(str(n), None, None, (8, 8), (Window(0, 0, 8),)) for n in range(2000)]
    >>> shard_size(scenes, batch_size=8), shard_size(scenes[:9], batch_size=8)
    (56, 32)

    Args:
        scenes: All images of the run.
        batch_size: How many windows a batch has.
    """
    batches = math.ceil(sum(len(scene.windows) for scene in scenes) / batch_size)
    return batch_size * min(max(batches // _SHARDS, _LEAST_BATCHES), _MOST_BATCHES)


def shards(scenes: Sequence[Scene], size: int) -> list[Shard]:
    """Divide images into shards of neighbours; images of very many windows are divided themselves.

    >>> from rbox_formats.tiling import Window
    >>> scenes = [Scene(name, None, None, (8, 8), (Window(0, 0, 8),) * 4) for name in "abc"]
    >>> [[piece.scene.image_id for piece in shard.pieces] for shard in shards(scenes, size=8)]
    [['a', 'b'], ['c']]

    Args:
        scenes: All images of the run, in order, of different ids.
        size: How many windows a shard has; a little more where its last image has more.

    Raises:
        FormatsError: If the size is below 1, or an image has the name of a window of another.
    """
    if size < 1:
        raise FormatsError(f"expected shards of one window or more, got {size}")
    found: list[list[Piece]] = []
    room = 0
    for scene in scenes:
        count = len(scene.windows)
        if count > _LARGE * size:
            found += [[Piece(scene, range(first, min(first + size, count)))] for first in range(0, count, size)]
            room = 0
            continue
        if room <= 0:
            found.append([])
            room = size
        found[-1].append(Piece(scene, range(count)))
        room -= count
    made = [Shard(tuple(pieces)) for pieces in found]
    _require_different_names(made)
    return made


def _require_different_names(made: Collection[Shard]) -> None:
    seen: set[str] = set()
    for shard in made:
        for piece in shard.pieces:
            for name in piece.names:
                if name in seen:
                    raise FormatsError(f"expected images and windows of different names, got two of {name!r}")
                seen.add(name)


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
