"""How windows of many requests become batches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbox_formats.detection import SceneWindow
from rbox_serve._queue import Batch, Job, WindowQueue
from rbox_serve.errors import NotReadyError

WAIT = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def job(name: str, count: int, *, side: int = 8, key: object = None, attempts: int = 2, **more: Any) -> Job:
    steps = SimpleNamespace(attempts=attempts, key=key, group=lambda window: window.pixels.shape)
    scene = SimpleNamespace(image_id=name, windows=[None] * count, side=side)
    return Job(steps, scene, **more)  # type: ignore[arg-type]


def window(job: Job, number: int) -> SceneWindow:
    side = job.scene.side  # type: ignore[attr-defined]
    return SceneWindow(job.scene, number, np.zeros((side, side, 3), np.uint8))


def put(queue: WindowQueue, job: Job, count: int | None = None, *, whole: bool = True) -> Job:
    queue.add(job)
    for number in range(len(job.scene.windows) if count is None else count):
        assert queue.offer(job, window(job, number))
    if whole:
        queue.finish_reading(job)
    return job


def names(batch: Batch | None) -> list[str]:
    assert batch is not None
    return [f"{job.scene.image_id}{window.number}" for job, window in batch.parts]


def finish(queue: WindowQueue, batch: Batch | None, result: Callable[[str], Any] = lambda name: name) -> None:
    assert batch is not None
    queue.done(batch, [result(name) for name in names(batch)], 0.1)


def test_a_full_batch_is_taken_at_once_and_the_rest_when_it_has_waited() -> None:
    clock = Clock()
    queue = WindowQueue(4, WAIT, clock)
    a = put(queue, job("a", 5))
    batch = queue.take()
    assert names(batch) == ["a0", "a1", "a2", "a3"]
    finish(queue, batch)
    assert queue.poll() == (None, WAIT)
    clock.now = WAIT
    finish(queue, queue.take())
    assert a.future.result() == ["a0", "a1", "a2", "a3", "a4"]
    assert len(queue) == 0


def test_clients_that_were_answered_and_ask_again_share_the_next_batch() -> None:
    """Two halves of a batch that take turns become one."""
    clock = Clock()
    queue = WindowQueue(4, WAIT, clock)
    put(queue, job("a", 2))
    clock.now = 2 * WAIT
    first = queue.take()
    put(queue, job("b", 2))
    clock.now = 20 * WAIT
    finish(queue, first)
    assert queue.poll() == (None, 21 * WAIT)
    put(queue, job("a", 2))
    assert names(queue.take()) == ["b0", "a0", "b1", "a1"]


def test_nobody_waits_for_clients_while_there_is_a_full_batch() -> None:
    clock = Clock()
    queue = WindowQueue(4, WAIT, clock)
    put(queue, job("a", 8), 8)
    first = queue.take()
    put(queue, job("b", 1, side=5))
    clock.now = 2 * WAIT
    finish(queue, first)
    put(queue, job("c", 8), 8)
    assert [names(queue.take()) for _ in range(2)] == [["a4", "c0", "a5", "c1"], ["b0"]]


def test_requests_take_turns_window_by_window() -> None:
    queue = WindowQueue(4, WAIT)
    put(queue, job("a", 8), 8)
    put(queue, job("b", 1))
    put(queue, job("c", 2))
    assert names(queue.take()) == ["a0", "b0", "c0", "a1"]
    assert sorted(names(queue.take())) == ["a2", "a3", "a4", "c1"]


def test_a_small_picture_of_another_size_waits_for_one_batch_of_a_large_scene() -> None:
    clock = Clock()
    queue = WindowQueue(4, 0.0, clock)
    put(queue, job("a", 8), 8)
    put(queue, job("b", 1, side=5))
    assert [names(queue.take()) for _ in range(3)] == [["a0", "a1", "a2", "a3"], ["b0"], ["a4", "a5", "a6", "a7"]]


@pytest.mark.parametrize("more", [{"side": 5}, {"key": "other"}, {"exact": True}])
def test_what_differs_shares_no_batch(more: dict[str, Any]) -> None:
    queue = WindowQueue(4, 0.0)
    put(queue, job("a", 2))
    put(queue, job("b", 2, **more))
    assert [names(queue.take()) for _ in range(2)] == [["a0", "a1"], ["b0", "b1"]]


def test_a_batch_is_not_taken_in_part_while_the_scene_is_being_read() -> None:
    clock = Clock()
    queue = WindowQueue(4, WAIT, clock)
    a = put(queue, job("a", 6), 3, whole=False)
    clock.now = 5 * WAIT
    assert queue.poll() == (None, None)
    for number in range(3, 6):
        queue.offer(a, window(a, number))
    queue.finish_reading(a)
    assert names(queue.take()) == ["a0", "a1", "a2", "a3"]


def test_windows_are_tried_again_together_when_no_more_can_come() -> None:
    """As `predict` of a multimodal detector does with answers that run out of room."""
    clock = Clock()
    queue = WindowQueue(2, WAIT, clock)
    a = put(queue, job("a", 4, exact=True))
    again = {"a0", "a3"}
    order = []
    while not a.future.done():
        batch = queue.take()
        order.append((batch.attempt, names(batch)))  # type: ignore[union-attr]
        finish(queue, batch, lambda name, first=not order[-1][0]: None if first and name in again else name)  # type: ignore[misc]
    assert order == [(0, ["a0", "a1"]), (0, ["a2", "a3"]), (1, ["a0", "a3"])]
    assert a.future.result() == ["a0", "a1", "a2", "a3"]


def test_who_listens_has_one_attempt() -> None:
    queue = WindowQueue(4, 0.0)
    put(queue, job("a", 1, observer=SimpleNamespace(on_text=None, on_window=lambda number: None)))
    assert queue.take().attempt == 1  # type: ignore[union-attr]


def test_a_request_that_ends_leaves_the_queue() -> None:
    queue = WindowQueue(4, 0.0)
    a, b = put(queue, job("a", 3)), put(queue, job("b", 2))
    queue.end(a)
    batch = queue.take()
    assert names(batch) == ["b0", "b1"]
    assert not queue.offer(a, window(a, 0))
    with pytest.raises(CancelledError):
        a.future.result()
    finish(queue, batch)
    assert b.future.result() == ["b0", "b1"]
    queue.end(b)  # a second end changes nothing
    assert b.future.result() == ["b0", "b1"]


def test_results_of_a_request_that_ended_meanwhile_are_dropped() -> None:
    queue = WindowQueue(4, 0.0)
    a, b = put(queue, job("a", 1)), put(queue, job("b", 1))
    batch = queue.take()
    queue.end(a, ValueError("gone"))
    finish(queue, batch)
    assert b.future.result() == ["b0"]
    with pytest.raises(ValueError, match="gone"):
        a.future.result()


def test_a_reader_waits_for_room() -> None:
    queue = WindowQueue(2, 0.0)
    a = job("a", 9)
    queue.add(a)
    done = threading.Event()

    def read() -> None:
        for number in range(9):
            queue.offer(a, window(a, number))
        queue.finish_reading(a)
        done.set()

    threading.Thread(target=read, daemon=True).start()
    taken = 0
    while taken < 9:
        batch = queue.take()
        assert len(a.waiting[0]) <= 4
        taken += len(batch)  # type: ignore[arg-type]
        finish(queue, batch)
    assert done.wait(10)
    assert len(a.future.result()) == 9


def test_a_closed_queue_finishes_what_is_in_it() -> None:
    queue = WindowQueue(4, 0.0)
    a = put(queue, job("a", 1))
    queue.close()
    with pytest.raises(NotReadyError, match="about to stop"):
        queue.add(job("b", 1))
    finish(queue, queue.take())
    assert a.future.result() == ["a0"]
    assert queue.take() is None


def test_the_wait_that_is_expected_is_that_of_the_windows_before() -> None:
    queue = WindowQueue(2, 0.0)
    a = put(queue, job("a", 4), 4)
    assert queue.expected_wait() == 0.0
    queue.done(queue.take(), ["a0", "a1"], 3.0)  # type: ignore[arg-type]
    assert queue.expected_wait() == pytest.approx(2 * 1.5)
    queue.end(a)
    assert queue.expected_wait() == 0.0


def test_windows_wait_a_tenth_of_what_a_batch_takes_unless_told_otherwise() -> None:
    clock = Clock()
    queue = WindowQueue(2, None, clock)
    for seconds, expected in ((0.3, 0.03), (0.3, 0.03), (9.0, 0.05)):
        put(queue, job("a", 2))
        queue.done(queue.take(), ["a0", "a1"], seconds)  # type: ignore[arg-type]
        one = put(queue, job("b", 1))
        batch, later = queue.poll()
        assert batch is None
        assert later == pytest.approx(expected)
        queue.end(one)


@settings(deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.sampled_from([4, 5]), st.booleans()), min_size=1, max_size=6),
    batch_size=st.integers(1, 5),
    again=st.sets(st.integers(0, 60)),
    ended=st.sets(st.integers(0, 5)),
)
def test_nothing_is_lost_and_nothing_done_twice(
    sizes: list[tuple[int, int, bool]], batch_size: int, again: set[int], ended: set[int]
) -> None:
    clock = Clock()
    queue = WindowQueue(batch_size, 1.0, clock)
    jobs = [job(f"j{i}-", count, side=side, exact=exact) for i, (count, side, exact) in enumerate(sizes)]
    unread = dict.fromkeys(jobs, 0)
    for each in jobs:
        queue.add(each)
    seen: list[tuple[int, str]] = []
    while unread or len(queue):
        for each in list(unread):  # as far as there is room
            while len(each.waiting[0]) < 2 * batch_size and unread[each] < len(each.scene.windows):
                queue.offer(each, window(each, unread[each]))
                unread[each] += 1
            if unread[each] == len(each.scene.windows):
                queue.finish_reading(each)
                del unread[each]
        clock.now += 1.0
        batch, _ = queue.poll()
        if batch is None:
            continue
        assert 1 <= len(batch) <= batch_size
        assert len({(each.scene.side, each.exact and each) for each, _ in batch.parts}) == 1  # type: ignore[attr-defined]
        results = [
            None if batch.attempt == 0 and 10 * jobs.index(each) + part.number in again else part.number
            for each, part in batch.parts
        ]
        seen += [(batch.attempt, name) for name in names(batch)]
        if len(seen) > 3:
            for place in ended & set(range(len(jobs))):
                queue.end(jobs[place])
                unread.pop(jobs[place], None)
        queue.done(batch, results, 0.1)
    assert len(seen) == len(set(seen))
    for place, each in enumerate(jobs):
        if place not in ended or not each.future.cancelled():
            assert each.future.result(0) == list(range(len(each.scene.windows)))
