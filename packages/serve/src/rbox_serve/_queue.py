"""The queue of a model: windows of many requests, which are made into batches.

A window waits until a batch is full, or for a short time. After a batch the model waits as long, if no other is full:
clients that were answered then ask again, and would else find the next batch half full, and so on for ever. Requests
take turns, window by window, so that a scene of hundreds of windows does not hold up a small picture. Where a request
is alone, its batches are those of `Detector.predict`: windows are put into a batch that is not full only when no more
of them can come.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from rbox_formats.detection import Scene, SceneWindow, Steps

from rbox_serve.errors import ModelError, NotReadyError

_AHEAD = 2  # batches of a request's windows that are held in memory
_MEMORY = 0.9  # how much what a batch takes is thought to depend on earlier ones
# By default, a window waits for others as long as this share of what a batch takes, but at most these seconds.
_WAIT_SHARE, _LONGEST_BATCH_WAIT = 0.1, 0.05
_LONGEST_WAIT = 60.0  # that a client is asked for


class Observer(Protocol):
    """What gets the news of a request, in the model's thread."""

    def on_text(self, number: int, piece: str) -> None:
        """Take what was added to the text about a window."""
        ...

    def on_window(self, number: int) -> None:
        """Take note that a window is done."""
        ...


class _Waiting(NamedTuple):
    window: SceneWindow
    since: float


class Job:
    """The windows of a request on their way through the model.

    Attributes:
        steps: How they are detected on.
        scene: The image.
        exact: Whether they share batches with no other request's.
        observer: What gets the news of it, or None.
        future: The results of all windows, in the order of the scene's.
        waiting: By the number of attempts before, the windows that wait.
        running: By the same, how many are being detected on.
        is_read: Whether no more windows will be read.
    """

    def __init__(self, steps: Steps, scene: Scene, *, exact: bool = False, observer: Observer | None = None) -> None:
        self.steps, self.scene, self.exact, self.observer = steps, scene, exact, observer
        self.future: Future[list[Any]] = Future()
        self.waiting: list[deque[_Waiting]] = [deque() for _ in range(steps.attempts)]
        self.running = [0] * steps.attempts
        self.is_read = False
        self.found: dict[int, Any] = {}
        self.key = steps.key

    @property
    def first_attempt(self) -> int:
        """The attempt that windows begin with: the last one, if somebody listens."""
        return 0 if self.observer is None else self.steps.attempts - 1

    @property
    def left(self) -> int:
        """How many windows are not done."""
        return len(self.scene.windows) - len(self.found)

    def is_settled(self, attempt: int) -> bool:
        """Return whether no more windows will come to an attempt while the model does nothing."""
        return self.is_read and not any(self.waiting[:attempt]) and not any(self.running[:attempt])

    def group(self, attempt: int) -> Hashable | None:
        """Return what the windows of a batch have in common, of the first that waits for an attempt."""
        if not self.waiting[attempt]:
            return None
        group = self.steps.group(self.waiting[attempt][0].window)
        return self.key, group, attempt, id(self) if self.exact else None


@dataclass(frozen=True)
class Batch:
    """Windows that are detected on together.

    Attributes:
        attempt: How many attempts there were before.
        parts: The windows with their requests.
    """

    attempt: int
    parts: tuple[tuple[Job, SceneWindow], ...]

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def jobs(self) -> list[Job]:
        """The requests, each once."""
        return list(dict.fromkeys(job for job, _ in self.parts))

    def of(self, job: Job) -> Batch:
        """Return the part of one request."""
        return Batch(self.attempt, tuple(part for part in self.parts if part[0] is job))

    def detect(self) -> Sequence[Any]:
        """Return what each window shows; see `rbox_formats.detection.Steps.detect`."""

        def tell(place: int, piece: str) -> None:
            job, window = self.parts[place]
            if job.observer is not None:
                job.observer.on_text(window.number, piece)

        steps = self.parts[0][0].steps
        windows = [window for _, window in self.parts]
        listener = tell if any(job.observer is not None for job in self.jobs) else None
        found = steps.detect(windows, attempt=self.attempt, listener=listener)
        if len(found) != len(windows):
            raise ModelError(f"expected the results of {len(windows)} windows of the detector, got {len(found)}")
        return found


class WindowQueue:
    """The windows that wait for a model; safe to use from several threads.

    Args:
        batch_size: The most windows of a batch.
        wait: How long a window waits for others while the model does nothing, in seconds. None: a tenth of what a batch
            takes, at most 0.05 s.
        clock: Returns the time in seconds.
    """

    def __init__(self, batch_size: int, wait: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.batch_size, self.wait = batch_size, wait
        self._clock = clock
        self._lock = threading.Lock()
        self._work, self._room = threading.Condition(self._lock), threading.Condition(self._lock)
        self._jobs: list[Job] = []  # in the order of their turns
        self._is_closed = False
        self._seconds = self._batch_seconds = 0.0  # that a window, and a batch, takes
        self._idle_since = -math.inf

    def __len__(self) -> int:
        """Return how many windows are not done."""
        with self._lock:
            return sum(job.left for job in self._jobs)

    def expected_wait(self) -> float:
        """Return after how many seconds what waits now will be done, as far as can be said."""
        with self._lock:
            return min(sum(job.left for job in self._jobs) * self._seconds, _LONGEST_WAIT)

    # What readers do.

    def add(self, job: Job) -> None:
        """Let a request take turns.

        Raises:
            NotReadyError: If the queue is closed.
        """
        with self._lock:
            if self._is_closed:
                raise NotReadyError("the server is about to stop", remedy="Try again when it is back.", retry_after=5)
            self._jobs.append(job)

    def has_room(self, job: Job) -> bool:
        """Return whether there is room for all windows of a request at once."""
        return len(job.scene.windows) <= _AHEAD * self.batch_size

    def offer(self, job: Job, window: SceneWindow) -> bool:
        """Put a window into the queue, as soon as there is room for it.

        Returns:
            Whether the request has not ended.
        """
        attempt = job.first_attempt
        with self._lock:
            self._room.wait_for(lambda: job.future.done() or len(job.waiting[attempt]) < _AHEAD * self.batch_size)
            if job.future.done():
                return False
            job.waiting[attempt].append(_Waiting(window, self._clock()))
            self._work.notify()
            return True

    def finish_reading(self, job: Job) -> None:
        """Take note that all windows of a request were read."""
        with self._lock:
            job.is_read = True
            self._work.notify()

    def end(self, job: Job, error: BaseException | None = None) -> None:
        """Take a request out of the queue, done or not.

        Args:
            job: The request.
            error: Why. None: it is done, or nobody waits for it.
        """
        with self._lock:
            self._end(job, error)

    def _end(self, job: Job, error: BaseException | None) -> None:
        with suppress(ValueError):
            self._jobs.remove(job)
        for waiting in job.waiting:
            waiting.clear()
        if not job.future.done():
            if error is not None:
                job.future.set_exception(error)
            elif job.left:
                job.future.cancel()
            else:
                job.future.set_result([job.found[number] for number in range(len(job.scene.windows))])
        self._room.notify_all()
        self._work.notify()

    # What the model's thread does.

    def take(self) -> Batch | None:
        """Wait for a batch; None when the queue is closed and nothing is left."""
        with self._lock:
            while True:
                now = self._clock()
                batch, later = self._next(now)
                if batch is not None:
                    return batch
                if self._is_closed and not self._jobs:
                    return None
                self._work.wait(None if later is None else max(later - now, 0.0))

    def poll(self) -> tuple[Batch | None, float | None]:
        """Return a batch that is due; or the time at which one will be, if nothing happens before."""
        with self._lock:
            return self._next(self._clock())

    def _next(self, now: float) -> tuple[Batch | None, float | None]:
        """See `poll`."""
        counts: dict[Hashable, int] = {}
        turns = [(job, attempt, group) for job in self._jobs for attempt, group in self._groups(job)]
        for job, attempt, group in turns:
            counts[group] = counts.get(group, 0) + len(job.waiting[attempt])
        later: float | None = None
        is_any_full = any(count >= self.batch_size for count in counts.values())
        for job, attempt, group in turns:
            due = now if counts[group] >= self.batch_size else self._due(job, attempt)
            if due is not None and not (job.exact or is_any_full):
                due = max(due, self._idle_since + self._wait())
            if due is not None and due <= now:
                return self._fill(job, attempt, group), None
            if due is not None:
                later = due if later is None else min(later, due)
        return None, later

    @staticmethod
    def _groups(job: Job) -> list[tuple[int, Hashable]]:
        return [(attempt, group) for attempt in range(len(job.waiting)) if (group := job.group(attempt)) is not None]

    def _due(self, job: Job, attempt: int) -> float | None:
        """Return from when on the windows of a request need wait no longer for others; None: not before more come."""
        if not job.is_settled(attempt):
            return None
        return job.waiting[attempt][0].since + (0.0 if job.exact else self._wait())

    def _wait(self) -> float:
        return min(_WAIT_SHARE * self._batch_seconds, _LONGEST_BATCH_WAIT) if self.wait is None else self.wait

    def _fill(self, leader: Job, attempt: int, group: Hashable) -> Batch:
        """Take windows of a group out of the queue, one of each request after the other."""
        first = self._jobs.index(leader)
        turns = deque(self._jobs[first:] + self._jobs[:first])
        parts: list[tuple[Job, SceneWindow]] = []
        while turns and len(parts) < self.batch_size:
            job = turns.popleft()
            if attempt < len(job.waiting) and job.group(attempt) == group:
                parts.append((job, job.waiting[attempt].popleft().window))
                job.running[attempt] += 1
                turns.append(job)
        # The next turn is of the one after the leader.
        self._jobs = self._jobs[first + 1 :] + self._jobs[: first + 1]
        self._room.notify_all()
        return Batch(attempt, tuple(parts))

    def done(self, batch: Batch, found: Sequence[Any], seconds: float) -> None:
        """Take the results of a batch.

        Args:
            batch: The batch.
            found: What `Batch.detect` returned.
            seconds: How long it took.
        """
        with self._lock:
            self._idle_since = self._clock()
            self._seconds = _remembered(self._seconds, seconds / len(batch))
            self._batch_seconds = _remembered(self._batch_seconds, seconds)
            for (job, window), result in zip(batch.parts, found, strict=True):
                job.running[batch.attempt] -= 1
                if job.future.done():
                    continue
                if result is None:
                    job.waiting[batch.attempt + 1].append(_Waiting(window, self._clock()))
                    continue
                job.found[window.number] = result
                if job.observer is not None:
                    job.observer.on_window(window.number)
                if not job.left:
                    self._end(job, None)

    def close(self) -> None:
        """Take no more requests; those that are in the queue are finished."""
        with self._lock:
            self._is_closed = True
            self._work.notify_all()


def _remembered(before: float, now: float) -> float:
    """Return the mean of what was measured, the latest counting most."""
    return _MEMORY * before + (1 - _MEMORY) * now if before else now
