"""Detection shard by shard: windows into batches, batches through a detector, what it finds into images."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import groupby, islice, takewhile
from typing import Any, NamedTuple, TypeAlias, TypeVar

from rbox_formats.detection import Prediction, Scene, SceneWindow, Steps
from rbox_formats.errors import ImageError
from rbox_formats.sharding._remote import near
from rbox_formats.sharding._shards import Piece, Shard, shard_size, shards

T = TypeVar("T")
_END: Any = object()

#: Called with an image whose file turns out to be broken while it is read.
OnBroken: TypeAlias = Callable[[Scene, ImageError], None]

#: An image, or a part of one, and what was detected in its windows, in their order.
Found: TypeAlias = tuple[Piece, list[Any]]


def ahead(items: Iterable[T], count: int) -> Generator[T, None, None]:
    """Yield items that a thread of its own reads, some of them before they are asked for.

    >>> list(ahead(range(3), count=2))
    [0, 1, 2]

    Args:
        items: What to read; an error comes in its place.
        count: How many items are held at most.
    """
    reading = iter(items)
    with ExitStack() as stack:
        if isinstance(reading, Generator):
            stack.callback(reading.close)  # it may hold a copy of an image
        pool = stack.enter_context(ThreadPoolExecutor(1))
        stack.callback(pool.shutdown, cancel_futures=True)
        waiting = deque(pool.submit(next, reading, _END) for _ in range(max(count, 1)))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(pool.submit(next, reading, _END))
            yield item


class Read(NamedTuple):
    """A window that was read, or what is wrong with an image that cannot be.

    >>> import numpy as np
    >>> from rbox_formats.tiling import Window
    >>> scene = Scene("P0001", None, np.zeros((8, 8, 3), np.uint8), (8, 8), (Window(0, 0, 8),))
    >>> next(read_windows(Shard((Piece(scene, range(1)),)))).window.pixels.shape
    (8, 8, 3)

    Attributes:
        piece: The image, or the part of it.
        window: The window; None where the file is broken.
        error: What is wrong with the file; None where nothing is.
    """

    piece: Piece
    window: SceneWindow | None
    error: ImageError | None = None


def read_windows(shard: Shard) -> Iterator[Read]:
    """Yield the windows of a shard, each read when it is asked for; a broken image ends with what is wrong with it.

    An image on another machine is copied to this one while its windows are read.

    >>> list(read_windows(shard))  # doctest: +SKIP

    Args:
        shard: Which windows.
    """
    return (read for _, read in _read([shard]))


def _read(plan: Iterable[Shard]) -> Iterator[tuple[int, Read]]:
    """Yield the windows of shards, each with the number of its shard.

    Neighbouring parts of one image are read together, so that a large one is copied once and not for each shard.
    """
    pieces = ((place, piece) for place, shard in enumerate(plan) for piece in shard.pieces)
    for scene, group in groupby(pieces, key=lambda each: each[1].scene):
        same = list(group)
        done = 0
        try:
            with near(scene) as crops:
                for place, piece in same:
                    try:
                        for number, pixels in crops(piece.numbers):
                            yield place, Read(piece, SceneWindow(scene, number, pixels))
                    except ImageError as error:
                        yield place, Read(piece, None, error)
                    done += 1
        except ImageError as error:
            for place, piece in same[done:]:
                yield place, Read(piece, None, error)


def detect_shard(
    steps: Steps, shard: Shard, windows: Iterable[Read], on_broken: OnBroken | None = None
) -> Iterator[Found]:
    """Detect the objects in the windows of a shard, in batches.

    >>> list(detect_shard(steps, shard, read_windows(shard)))  # doctest: +SKIP

    Args:
        steps: How the detector detects.
        shard: The shard.
        windows: Its windows, as `read_windows` yields them.
        on_broken: Called for each file that turns out to be broken; its image is then left out. None: that is an error.

    Yields:
        The pieces of the shard in order, each as soon as it and those before it are done.

    Raises:
        ImageError: If a file is broken.
    """
    yield from _Run(steps, shard, on_broken).found(windows)


def detect_shards(
    steps: Steps, plan: Sequence[Shard], on_broken: OnBroken | None = None
) -> Generator[tuple[Shard, Iterator[Found]], None, None]:
    """Detect the objects of shards, while the next windows are read.

    >>> for shard, found in detect_shards(steps, plan):  # doctest: +SKIP
    ...     for piece, results in found: ...

    Args:
        steps: How the detector detects.
        plan: The shards.
        on_broken: As in `detect_shard`.

    Yields:
        Each shard, and an iterator over its pieces; the next shard begins when that has come to its end.

    Raises:
        ImageError: As in `detect_shard`.
    """
    with closing(ahead(_read(plan), 2 * steps.batch_size)) as items:
        for place, group in groupby(items, key=lambda item: item[0]):
            yield plan[place], detect_shard(steps, plan[place], (each for _, each in group), on_broken)


def detect_scenes(
    steps: Steps, scenes: Sequence[Scene], *, wanted: Collection[str] | None = None, on_broken: OnBroken | None = None
) -> Iterator[Prediction]:
    """Detect the objects on images, in batches that run across images.

    >>> list(detect_scenes(detector.steps(), scenes))  # doctest: +SKIP

    Args:
        steps: How the detector detects.
        scenes: All images of the run, of different ids.
        wanted: The ids of those whose predictions are asked for; None: all. Shards without one are passed over.
        on_broken: As in `detect_shard`.

    Yields:
        The predictions in the order of the images, each as soon as it and those before it are done.

    Raises:
        ImageError: As in `detect_shard`.
    """
    plan = [
        shard
        for shard in shards(scenes, shard_size(scenes, steps.batch_size))
        if wanted is None or any(piece.scene.image_id in wanted for piece in shard.pieces)
    ]
    parts: dict[Scene, list[Any]] = {}  # of images that are divided among shards
    for _, pieces in detect_shards(steps, plan, on_broken):
        for piece, found in pieces:
            scene = piece.scene
            if not piece.is_whole:
                found = [*parts.pop(scene, []), *found]
                if len(found) < len(scene.windows):
                    parts[scene] = found
                    continue
            if wanted is None or scene.image_id in wanted:
                yield steps.join(scene, found)


@dataclass(eq=False)
class _Run:
    """The windows of a shard on their way through a detector.

    Attributes:
        steps: How it detects.
        shard: The shard.
        on_broken: As in `detect_shard`.
        queues: Windows that wait for each attempt; never more than two batches of each.
        results: By piece and window.
        broken: Pieces of images whose files are.
    """

    steps: Steps
    shard: Shard
    on_broken: OnBroken | None
    queues: list[list[tuple[Piece, SceneWindow]]] = field(init=False)
    results: dict[Piece, dict[int, Any]] = field(init=False)
    broken: set[Piece] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.queues = [[] for _ in range(self.steps.attempts)]
        self.results = {piece: {} for piece in self.shard.pieces}

    def found(self, windows: Iterable[Read]) -> Iterator[Found]:
        """Yield the pieces, in order."""
        waiting = deque(self.shard.pieces)
        for _ in self._work(windows):
            while waiting and (waiting[0] in self.broken or len(self.results[waiting[0]]) == len(waiting[0].numbers)):
                piece = waiting.popleft()
                results = self.results.pop(piece)
                if piece not in self.broken:
                    yield piece, [results[number] for number in piece.numbers]

    def _work(self, windows: Iterable[Read]) -> Iterator[None]:
        """Do all the work, and pause after each batch."""
        for piece, window, error in windows:
            if error is not None:
                self._drop(piece, error)
            elif window is not None:
                self.queues[0].append((piece, window))
                yield from self._detect(full=True)
        yield from self._detect(full=False)
        yield  # for the last pieces, where they are broken

    def _drop(self, piece: Piece, error: ImageError) -> None:
        if self.on_broken is None:
            raise error
        self.broken.add(piece)
        self.queues = [[each for each in queue if each[0] is not piece] for queue in self.queues]
        self.on_broken(piece.scene, error)

    def _detect(self, *, full: bool) -> Iterator[None]:
        """Detect in the windows that wait: full batches only, or all."""
        for attempt in range(len(self.queues)):
            while batch := self._batch(self.queues[attempt], full=full):
                del self.queues[attempt][: len(batch)]
                self._attempt(attempt, batch)
                yield

    def _batch(self, queue: list[tuple[Piece, SceneWindow]], *, full: bool) -> list[tuple[Piece, SceneWindow]]:
        """Return the next batch, of windows that may be in one; empty where it would not be full and has to be."""
        size, group = self.steps.batch_size, self.steps.group
        alike = takewhile(lambda each: group(each[1]) == group(queue[0][1]), queue)
        batch = list(islice(alike, size))
        return batch if not full or len(batch) == size or len(batch) < len(queue) else []

    def _attempt(self, attempt: int, batch: Sequence[tuple[Piece, SceneWindow]]) -> None:
        """Detect in a batch; windows that are to be tried again wait for the next attempt."""
        found = self.steps.detect([window for _, window in batch], attempt=attempt)
        for (piece, window), result in zip(batch, found, strict=True):
            if result is None:
                self.queues[attempt + 1].append((piece, window))
            else:
                self.results[piece][window.number] = result
