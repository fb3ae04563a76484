"""What a run does over parts: detects in the shards that are left, and joins all parts at the end."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

from rbox_formats import files
from rbox_formats._records import ImageRecord
from rbox_formats.detection import Scene, Steps
from rbox_formats.errors import ImageError
from rbox_formats.progress import progress_bar
from rbox_formats.sharding._parts import Merge, Parts
from rbox_formats.sharding._running import Found, detect_shards
from rbox_formats.sharding._shards import Shard

_logger = logging.getLogger("rbox_formats")


def share_of_environment() -> tuple[int, int] | None:
    """Return which of the processes that torchrun started this is, as a share; None where it started none.

    >>> share_of_environment()
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    return (int(os.environ["RANK"]), count) if count > 1 else None


class Outcome(NamedTuple):
    """What came of some shards.

    >>> Outcome.total([Outcome(Counter(boxes=2), {}), Outcome(Counter(boxes=1, empty=1), {})]).statuses["boxes"]
    3

    Attributes:
        statuses: How many images have each status; those that are divided among shards count with each part.
        broken: What is wrong with the images that are broken, by their ids.
    """

    statuses: Counter[str]
    broken: dict[str, str]

    @classmethod
    def total(cls, outcomes: Iterable[Outcome]) -> Outcome:
        """Return what came of them together.

        Args:
            outcomes: Of some shards each.
        """
        statuses: Counter[str] = Counter()
        broken: dict[str, str] = {}
        for outcome in outcomes:
            statuses += outcome.statuses
            broken |= outcome.broken
        return cls(statuses, broken)


def detect_parts(steps: Steps, plan: Sequence[Shard], parts: Parts, *, skip_broken: bool = False) -> Outcome:
    """Detect the objects of shards, and write the part of each.

    >>> detect_parts(detector.steps(), parts.left(plan), parts)  # doctest: +SKIP

    Args:
        steps: How the detector detects.
        plan: The shards.
        parts: Where the parts go.
        skip_broken: Leaves out images whose files turn out to be broken.

    Returns:
        What came of them.

    Raises:
        ImageError: If a file is broken, unless those are left out.
    """
    outcome = Outcome(Counter(), {})

    def on_broken(scene: Scene, error: ImageError) -> None:
        outcome.broken[scene.image_id] = str(error).splitlines()[0]

    with (
        progress_bar("predicting", sum(shard.windows for shard in plan)) as advance,
        closing(detect_shards(steps, plan, on_broken if skip_broken else None)) as done,
    ):
        for shard, found in done:
            parts.write(shard, records_of(steps, found, outcome.statuses, advance))
    return outcome


def complete(
    parts: Parts,
    plan: Sequence[Shard],
    run: Callable[[list[Shard]], Outcome],
    merge: Merge,
    *,
    share: tuple[int, int] | None = None,
    skip_broken: bool = False,
) -> tuple[Outcome, bool]:
    """Have the shards done that are left, and join all parts; of several processes that share them, the last one joins.

    >>> complete(parts, plan, lambda shards: detect_parts(steps, shards, parts), merge)  # doctest: +SKIP

    Args:
        parts: The parts.
        plan: All shards of the run.
        run: Does some of them.
        merge: As in `Parts.join`.
        share: As in `Parts.mine`.
        skip_broken: As in `Parts.left`.

    Returns:
        What came of the shards that this call has done, and whether all are joined: not where other shares are still to
        be done. The call that joins names all broken images.

    Raises:
        PredictionsError: As in `Parts.join`.
    """
    mine = parts.mine(plan, share, skip_broken=skip_broken)
    windows = sum(shard.windows for shard in mine)
    if share is None and len(mine) < len(plan):
        done = sum(shard.windows for shard in plan) - windows
        _logger.info("%s: %d of %d windows are done already", parts.out, done, done + windows)
    begin = time.monotonic()
    outcome = run(mine)
    seconds = time.monotonic() - begin
    if mine:
        _logger.info("%d windows took %.1f s: %.1f in a second", windows, seconds, windows / max(seconds, 1e-9))
    with files.locked(parts.folder, wait=True):
        parts.look()
        if left := parts.left(plan, skip_broken=skip_broken):
            _logger.info("Parts are in %s; %d of %d shards are left to others", parts.folder, len(left), len(plan))
            return outcome, False
        missing = parts.join(plan, merge, skip_broken=skip_broken)
    earlier = {name: f"{name}: broken, as an earlier run found" for name in missing}
    return outcome._replace(broken=earlier | outcome.broken), True


def records_of(
    steps: Steps, found: Iterable[Found], statuses: Counter[str], advance: Callable[[int], None] = lambda count: None
) -> Iterator[ImageRecord]:
    """Yield the records of a part file.

    >>> list(records_of(steps, detect_shard(steps, shard, windows), Counter()))  # doctest: +SKIP

    Args:
        steps: How the detector detects.
        found: What was detected in each piece of a shard.
        statuses: Counts the statuses.
        advance: Called with how many windows are done.
    """
    for piece, results in found:
        if piece.is_whole:
            records: list[ImageRecord] = [steps.join(piece.scene, results)]
        else:
            numbered = zip(piece.numbers, results, strict=True)
            records = [
                replace(steps.record(piece.scene, number, result), image_id=piece.scene.window_name(number))
                for number, result in numbered
            ]
        for record in records:
            statuses[str(record.metadata.get("status", "boxes"))] += 1
            yield record
        advance(len(piece.numbers))
