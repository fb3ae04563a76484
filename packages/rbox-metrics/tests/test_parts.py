"""Work shared among threads: all of it, once, and with the same result as on one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rbox_formats
import rbox_metrics
from hypothesis import given
from hypothesis import strategies as st
from rbox_formats import ImageRecord
from rbox_metrics import _jit, box_iou_rotated, evaluate, quad_iou
from rbox_metrics._jit import in_parts
from rbox_metrics._overlaps import _kernels
from rbox_metrics._plain import plain


@pytest.fixture
def four_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four threads whatever the machine, and parts of a single step."""
    monkeypatch.setattr(_jit, "_threads", lambda: 4)
    monkeypatch.setattr(_jit, "_WORTH_THREADS", 4)


@given(steps=st.lists(st.integers(0, 5), min_size=1, max_size=40), parts=st.integers(1, 20), even=st.booleans())
def test_parts_follow_each_other_without_gaps(steps: list[int], parts: int, even: bool) -> None:
    bounds = None if even else np.concatenate([[3], 3 + np.cumsum(steps)])
    cut = _jit._cut(len(steps), parts, bounds)[::-1]
    assert [begin for begin, _ in cut] == [0, *(end for _, end in cut[:-1])]
    assert cut[-1][1] == len(steps)
    assert all(begin < end for begin, end in cut)
    assert len(cut) <= max(parts, 1)


def test_every_number_is_worked_off_once(four_threads: None) -> None:
    seen = np.zeros(1000, dtype=np.int64)

    def kernel(begin: int, end: int, seen: np.ndarray) -> None:
        seen[begin:end] += 1

    in_parts(kernel, 1000, 1000, seen)
    np.testing.assert_array_equal(seen, 1)
    in_parts(kernel, 0, 0, seen)
    np.testing.assert_array_equal(seen, 1)


def test_little_work_stays_on_one_thread() -> None:
    calls = []
    in_parts(lambda begin, end: calls.append((begin, end, threading.current_thread())), 5, 5)
    assert calls == [(0, 5, threading.current_thread())]


def test_an_error_in_a_part_is_raised(four_threads: None) -> None:
    def kernel(begin: int, end: int) -> None:
        if begin <= 3 < end:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_parts(kernel, 100, 100)


def test_threads_that_have_other_work_are_not_waited_for(four_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import ThreadPoolExecutor

    go_on = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(go_on.wait, 60)
        monkeypatch.setattr(_jit, "_pool", lambda: pool)
        seen = np.zeros(100, dtype=np.int64)
        in_parts(lambda begin, end: seen[begin:end].__iadd__(1), 100, 100)
        assert not go_on.is_set()
        go_on.set()
    np.testing.assert_array_equal(seen, 1)


@pytest.mark.parametrize("protocol", ["voc07", "dota", "coco"])
def test_threads_change_nothing(
    protocol: str,
    crowded_scene: Callable[..., tuple[list[ImageRecord], list[ImageRecord]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truths, predictions = crowded_scene(1, 60)

    def report(threads: int) -> str:
        monkeypatch.setattr(_jit, "_threads", lambda: threads)
        monkeypatch.setattr(_jit, "_WORTH_THREADS", 4)
        found = evaluate(truths, predictions, ["a", "b", "c"], protocol=protocol, full=True)  # type: ignore[arg-type]
        return json.dumps(plain(found.to_dict()))

    assert report(1) == report(4)


def test_dense_overlaps_are_those_of_the_pairs(four_threads: None) -> None:
    """Also of more pairs than are worked off in one go, and in parts that begin anywhere."""
    rng = np.random.default_rng(0)
    boxes = [
        np.column_stack([rng.uniform(0, 60, (n, 2)), rng.uniform(1, 30, (n, 2)), rng.uniform(-2, 2, n)])
        for n in (150, 333)
    ]
    first, second = (index.ravel() for index in np.indices((150, 333)))
    pairs = boxes[0][first], boxes[1][second]
    dense = box_iou_rotated(*boxes)
    np.testing.assert_array_equal(dense.ravel(), box_iou_rotated(*pairs, aligned=True))
    quads, quad_pairs = ([rbox_formats.rbox_to_quad(part) for part in parts] for parts in (boxes, pairs))
    np.testing.assert_array_equal(quad_iou(*quads).ravel(), quad_iou(*quad_pairs, aligned=True))


def test_arrays_of_any_layout_are_compiled_for_once() -> None:
    boxes = np.array([[50.0, 40, 20, 10, 0.3], [52, 41, 20, 12, 0.1]])
    locked = boxes.copy()
    locked.flags.writeable = False
    strided = np.zeros((4, 5))[::2]
    strided[:] = boxes
    expected = box_iou_rotated(boxes, boxes)
    for other in (locked, np.asfortranarray(boxes), strided):
        np.testing.assert_array_equal(box_iou_rotated(other, other), expected)
        result = np.empty((2, 8))
        in_parts(_kernels._shapes, 2, 2, other, result)
        np.testing.assert_array_equal(result, _kernels.shapes(boxes))
    assert len(_kernels._shapes.signatures) == 1
    assert len(_kernels._overlaps_dense.signatures) == 1


FORKED = """
import os, signal, threading, time
import numpy as np
from rbox_formats import rbox_to_quad
from rbox_metrics import _jit, box_iou_rotated, quad_iou

_jit._threads = lambda: 2
boxes = np.random.default_rng(0).uniform(1, 30, (300, 5))
boxes[:, 4] = 0.3
expected = box_iou_rotated(boxes, boxes)

def forked(work):
    child = os.fork()
    if child == 0:
        signal.alarm(120)
        os._exit(0 if work() else 1)
    assert os.waitpid(child, 0)[1] == 0

# While another thread compiles, which for a part of the time holds numba's lock. A module that a thread imports has a
# lock of Python's own, which no child can open: it is imported before.
import rbox_metrics._overlaps._quad_kernels
quads = rbox_to_quad(boxes)
compiling = threading.Thread(target=quad_iou, args=(quads, quads))
compiling.start()
for _ in range(4):
    time.sleep(0.05)
    forked(lambda: np.allclose(quad_iou(quads[:3], quads[:3]), expected[:3, :3], atol=1e-6))
compiling.join()
for count in (3, 300):
    forked(lambda: np.array_equal(box_iou_rotated(boxes[:count], boxes[:count]), expected[:count, :count]))
"""

LOADED = """
import multiprocessing
import numpy as np
from rbox_metrics import _jit, box_iou_rotated, nms_rotated

def boxes(seed):
    found = np.random.default_rng(seed).uniform(1, 30, (300, 5))
    found[:, 4] = 0.3
    return found

def total(seed):
    _jit._threads = lambda: 2
    kept = nms_rotated(boxes(seed), np.linspace(0, 1, 300), 0.5)
    return float(box_iou_rotated(boxes(seed)[kept], boxes(seed)).sum())

class Scenes:
    def __len__(self):
        return 8

    def __getitem__(self, number):
        return total(number)

if __name__ == "__main__":
    from torch.utils.data import DataLoader

    expected = [total(seed) for seed in range(8)]
    for method in ("fork", "forkserver", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(total, range(8)) == expected, method
        found = DataLoader(Scenes(), batch_size=None, num_workers=2, multiprocessing_context=method)
        assert [float(each) for each in found] == expected, method
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.slow
@pytest.mark.parametrize("code", [FORKED, pytest.param(LOADED, marks=pytest.mark.variant)], ids=["forked", "loaded"])
def test_forked_and_other_processes_overlap_boxes(code: str, tmp_path: Path) -> None:
    """Once a first call has come back: while threads are at work, and while one compiles, but not while one imports."""
    paths = [str(Path(module.__file__).parents[1]) for module in (rbox_formats, rbox_metrics)]
    environment = {name: value for name, value in os.environ.items() if name != "RBOX_CHECK_SHAPES"}
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    if code == FORKED:
        environment["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    script = tmp_path / "script.py"
    script.write_text(code)
    command = [sys.executable, "-W", "ignore", str(script)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr
