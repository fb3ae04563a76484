"""Shards on a cluster, by Ray Data: tasks read windows, actors hold the detector and write the parts."""

from __future__ import annotations

import json
import logging
import os
import pickle
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from rbox_formats.detection import Scene, Steps
from rbox_formats.errors import ImageError, RboxError, said
from rbox_formats.progress import progress_bar
from rbox_formats.sharding._parts import Parts
from rbox_formats.sharding._predicting import Outcome, records_of
from rbox_formats.sharding._running import Read, detect_shard, read_windows
from rbox_formats.sharding._shards import Shard

_INSTALL = "Install it: pip install 'rbox-formats[ray]'."
_ANSWER_SECONDS = 10.0
_AGAIN = "What is done stays: give the same command again."


@dataclass(frozen=True)
class RayCluster:
    """Where a run on Ray takes place, and how wide it is.

    >>> RayCluster(actors=2).address is None
    True

    Attributes:
        address: Of the cluster, such as "auto" or "ray://head:10001". None: a local Ray on this machine's cores, which
            ends with the run.
        actors: How many processes hold the detector.
        gpus: How many GPUs each of them has; with 0.5 two share one.
        retries: How often a shard is computed again where the actor that had it died; then it is given up.
    """

    address: str | None = None
    actors: int = 1
    gpus: float = 0.0
    retries: int = 5


def detect_parts_on_ray(
    make_steps: Callable[[], Steps],
    plan: Sequence[Shard],
    parts: Parts,
    cluster: RayCluster,
    *,
    skip_broken: bool = False,
) -> Outcome:
    """Detect the objects of shards on the machines of a Ray cluster, and write the part of each.

    Tasks on CPUs read the windows of a shard, actors detect in them and write the part. So what is done stays,
    whatever dies: a new actor computes the shard of a dead one again, and a run whose driver was killed is resumed with
    the shards that have no part. Where the actors are slower than the readers, Ray holds these back. The images and the
    folder of the predictions file must have the same paths on all machines.

    >>> detect_parts_on_ray(make_steps, parts.left(plan), parts, RayCluster(actors=2))  # doctest: +SKIP

    Args:
        make_steps: Loads the detector, in each actor; Ray pickles it, by name where it is a function of a module.
        plan: The shards.
        parts: Where the parts go.
        cluster: Where, and how wide.
        skip_broken: Leaves out images whose files turn out to be broken.

    Returns:
        What came of the shards.

    Raises:
        ImageError: If a file is broken, unless those are left out; the other shards of the run are done first.
        RboxError: If Ray is not installed, its cluster cannot be reached, or shards failed; the others are done first.
    """
    outcome, errors = Outcome(Counter(), {}), list[str]()
    if not plan:
        return outcome
    plan = [_absolute(shard) for shard in plan]
    with _connected(cluster) as ray, progress_bar("predicting", sum(shard.windows for shard in plan)) as advance:
        # Small rows: the plan is in Ray's store. Readers that want as much as an actor would be put into it.
        data = ray.data.range(len(plan), override_num_blocks=len(plan))
        told = data.map_batches(_read, batch_size=1, num_cpus=0.5, fn_kwargs={"plan": ray.put(plan)}).map_batches(
            _Detecting,
            fn_constructor_args=(make_steps, Parts(parts.out.absolute(), parts.header), cluster.retries),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=cluster.actors),
            num_cpus=1,
            num_gpus=cluster.gpus or None,
        )
        try:
            for row in told.iter_rows():
                advance(row["windows"])
                outcome.statuses.update(json.loads(row["statuses"]))
                outcome.broken.update(json.loads(row["broken"]))
                errors += [row["error"]] if row["error"] else []
        except ray.exceptions.RayError as error:
            raise RboxError(f"expected Ray to detect in all shards, got: {said(error)}", remedy=_AGAIN) from error
    if errors:
        raise RboxError(f"expected all shards to be done, {len(errors)} failed, the first with: {errors[0]}")
    if outcome.broken and not skip_broken:
        raise ImageError("\n".join(outcome.broken.values()))
    return outcome


def _absolute(shard: Shard) -> Shard:
    """Return the shard with paths that mean the same in another folder."""
    pieces = (
        replace(piece, scene=replace(piece.scene, path=piece.scene.path and piece.scene.path.absolute()))
        for piece in shard.pieces
    )
    return Shard(tuple(pieces))


def _read(batch: dict[str, Any], plan: Any) -> dict[str, Any]:
    """Read the windows of a shard; pickled with the shard, so that both hold the same pieces when they arrive."""
    import ray

    shard = ray.get(plan)[int(batch["id"][0])]
    try:
        windows: list[Read] | RboxError = list(read_windows(shard))
    except RboxError as error:  # a machine that cannot be reached; the other shards are done all the same
        windows = error
    # Ray would pickle it too, but only after it has tried to make columns of the pixels.
    return {"work": [pickle.dumps((shard, windows), protocol=5)]}


class _Detecting:
    """An actor: it holds the detector, and writes the parts of the shards that it gets.

    Args:
        make_steps: Loads the detector.
        parts: Where the parts go.
        retries: As in `RayCluster`.
    """

    def __init__(self, make_steps: Callable[[], Steps], parts: Parts, retries: int) -> None:
        self._steps, self._parts, self._retries = make_steps(), parts, retries

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        shard, windows = pickle.loads(batch["work"][0])  # noqa: S301  # what `_read` of this run pickled
        statuses: Counter[str] = Counter()
        broken: dict[str, str] = {}

        def on_broken(scene: Scene, error: ImageError) -> None:
            broken[scene.image_id] = str(error).splitlines()[0]

        error = ""
        if isinstance(windows, RboxError):
            error = said(windows)
        elif self._parts.begin(shard) > self._retries:
            self._parts.give_up(shard)
            error = f"the process died each of {self._retries + 1} times at {shard.pieces[0].scene.image_id}"
        else:
            try:
                found = detect_shard(self._steps, shard, windows, on_broken)
                self._parts.write(shard, records_of(self._steps, found, statuses))
            except Exception as raised:  # of any class: it is the detector's; the other shards are done all the same
                error = said(raised)
        told = {"windows": shard.windows, "statuses": json.dumps(statuses), "broken": json.dumps(broken)}
        return {name: [value] for name, value in {**told, "error": error}.items()}


@contextmanager
def _connected(cluster: RayCluster) -> Iterator[Any]:
    """Yield Ray, connected; a connection that the caller has made is used, and stays.

    Raises:
        RboxError: If it is not installed, or cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters of the rest is raised
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise RboxError(f"expected Ray, got: {said(error)}", remedy=_INSTALL) from error
    is_ours = not ray.is_initialized()
    if is_ours:
        # One core more than the actors have, for the readers.
        local: dict[str, Any] = {"num_cpus": max(os.cpu_count() or 1, cluster.actors + 1), "include_dashboard": False}
        where = {"address": cluster.address} if cluster.address else {"address": "local", **local}
        try:
            _require_answer(cluster.address or "")
            ray.init(**where, logging_level=logging.ERROR, log_to_driver=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise RboxError(
                f"expected a Ray cluster at {cluster.address or 'this machine'}, got: {said(error)}",
                remedy="Start one (ray start --head), or leave out --ray-address for a local one.",
            ) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield ray
    finally:
        if is_ours:
            ray.shutdown()


def _require_answer(address: str) -> None:
    """Make sure that something answers at an address: Ray itself tries again for minutes.

    Raises:
        OSError: If nothing does.
        ValueError: If its port is none.
    """
    where = urlsplit(address if "://" in address else f"//{address}")
    if where.hostname is not None and where.port is not None:  # not "auto"
        socket.create_connection((where.hostname, where.port), _ANSWER_SECONDS).close()
