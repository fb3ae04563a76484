"""Shards on a local Ray of two actors: whatever dies, the result has the bytes of one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rbox_formats import files
from rbox_formats.errors import ImageError, RboxError
from rbox_formats.sharding import Parts, RayCluster, Shard, detect_parts_on_ray, shards
from rbox_testing.telling import HEADER, Failing, Telling, compute, scenes_of, together

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray's own use of its settings
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # the logs of its processes
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

COUNTS = [2, 30, 1, 1, 5, 9, 1]
TWO = RayCluster(actors=2, retries=1)


@pytest.fixture(scope="module", autouse=True)
def _local_ray() -> Iterator[None]:
    """One Ray for all tests: its start takes longest."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def plan() -> list[Shard]:
    return shards(scenes_of(COUNTS), 6)


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path / "found.jsonl", HEADER)


AtOnce = Callable[[Sequence[Shard]], bytes]


def test_two_actors_write_what_one_process_does(parts: Parts, at_once: AtOnce) -> None:
    outcome = detect_parts_on_ray(Telling, plan(), parts, TWO)
    parts.join(plan(), together)
    assert parts.out.read_bytes() == at_once(plan())
    assert outcome.statuses == {"boxes": 36}  # six images, and the windows of the one that is divided
    assert detect_parts_on_ray(Telling, [], parts, TWO).statuses == {}


def test_an_actor_that_is_killed_takes_nothing_with_it(parts: Parts, at_once: AtOnce, tmp_path: Path) -> None:
    flag = tmp_path / "killed"
    dying = partial(Failing, victim="P1__8__60___0", flag=flag)
    detect_parts_on_ray(dying, plan(), parts, TWO)
    assert flag.exists()
    parts.join(plan(), together)
    assert parts.out.read_bytes() == at_once(plan())


def test_a_shard_that_kills_every_actor_is_given_up_and_the_others_are_done(parts: Parts, at_once: AtOnce) -> None:
    with pytest.raises(RboxError, match="1 failed, the first with: the process died each of 2 times at P1"):
        detect_parts_on_ray(partial(Failing, victim="P1__8__60___0"), plan(), parts, TWO)
    parts.look()
    (left,) = parts.left(plan())
    assert "P1__8__60___0" in left.pieces[0].names
    compute([left], parts)  # as a run without the fault does
    parts.join(plan(), together)
    assert parts.out.read_bytes() == at_once(plan())
    assert not parts.folder.exists()


@pytest.mark.variant
def test_an_error_of_the_detector_is_told_when_the_others_are_done(parts: Parts) -> None:
    with pytest.raises(RboxError, match="1 failed, the first with: no luck with P0__8__6___0"):
        detect_parts_on_ray(partial(Failing, victim="P0__8__6___0", dies=False), plan(), parts, TWO)
    parts.look()
    assert parts.left(plan()) == [plan()[0]] or len(parts.left(plan())) == 1


@pytest.mark.variant
def test_a_broken_image_is_told_when_the_others_are_done(parts: Parts, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path in paths:
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 50, 3), dtype=np.uint8)).save(path)
    made = shards([Telling().scene(path) for path in paths], 4)
    data = paths[1].read_bytes()
    paths[1].write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    with pytest.raises(ImageError, match=r"b\.png"):
        detect_parts_on_ray(Telling, made, parts, TWO)
    assert list(detect_parts_on_ray(Telling, made, parts, TWO, skip_broken=True).broken) == ["b"]
    assert parts.join(made, together, skip_broken=True) == ["b"]


DRIVER = """
from functools import partial
from pathlib import Path
from rbox_formats.sharding import Parts, RayCluster, detect_parts_on_ray, shards
from rbox_testing.telling import HEADER, Failing, scenes_of
plan = shards(scenes_of([5] * 40), 6)
detect_parts_on_ray(partial(Failing, pause=0.2), plan, Parts("found.jsonl", HEADER), RayCluster(actors=2))
"""


@pytest.mark.variant
def test_a_killed_driver_is_resumed(parts: Parts, at_once: AtOnce, tmp_path: Path) -> None:
    made = shards(scenes_of([5] * 40), 6)
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], cwd=tmp_path, start_new_session=True)
    while len(files.visible(parts.folder)) < 3:
        assert driver.poll() is None
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    parts.look()
    left = parts.left(made)
    assert 0 < len(left) < len(made)
    detect_parts_on_ray(Telling, left, parts, TWO)
    parts.join(made, together)
    assert parts.out.read_bytes() == at_once(made)
