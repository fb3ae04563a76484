"""Logs of mmengine; `data/run.py` made one, of a run that was stopped in epoch 3 and resumed from epoch 2."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from rbox_baselines._tools._logs import Log, choose, read_log, timing
from rbox_baselines.errors import LogError

RUN = Path(__file__).parents[1] / "data" / "run"
FIRST, SECOND = (RUN / name / "vis_data" / "scalars.json" for name in ("20240101_000000", "20240102_000000"))


def write(path: Path, *lines: dict | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line) + "\n") for line in lines))
    return path


def train(step: int, epoch: int | None = 1, time: float = 0.5, **values: float) -> dict:
    return {"loss": 1.0, "time": time, "iter": step, "step": step, **({"epoch": epoch} if epoch else {}), **values}


def test_a_resumed_run_is_one() -> None:
    log = read_log(RUN)
    assert log.name == "run"
    assert list(log.train) == list(range(2, 25, 2))
    assert list(log.val) == [1, 2, 3, 4]
    assert [log.epochs[step] for step in (2, 12, 14, 24)] == [1, 2, 3, 4]
    # Both parts have logged step 14, with the same loss, and another time.
    both = [json.loads(path.read_text().splitlines()[at]) for path, at in ((FIRST, 8), (SECOND, 0))]
    assert [line["step"] for line in both] == [14, 14]
    assert both[0]["time"] != both[1]["time"] == log.train[14]["time"]
    assert log.series("rbox/map")[0] == [1, 2, 3, 4]
    assert log.series("rbox/map")[1][-1] == json.loads(SECOND.read_text().splitlines()[-1])["rbox/map"]


def test_what_was_thrown_away_is_not_there(tmp_path: Path) -> None:
    """Stopped at step 50, gone on with from step 20, and only at step 30 yet."""
    write(
        tmp_path / "20240101_000000/vis_data/scalars.json",
        train(10),
        train(20),
        {"rbox/map": 0.1, "step": 1},
        train(30, 2),
        train(40, 2),
        {"rbox/map": 0.9, "step": 2},
        train(50, 3),
    )
    write(tmp_path / "20240102_000000/vis_data/scalars.json", train(30, 2, loss=0.5))
    log = read_log(tmp_path)
    assert log.series("loss") == ([10, 20, 30], [1.0, 1.0, 0.5])
    assert log.series("rbox/map") == ([1], [0.1])
    # A test afterwards has no losses.
    write(tmp_path / "20240103_000000/vis_data/scalars.json", {"rbox/map": 0.7, "step": 0})
    assert read_log(tmp_path).val == log.val


@pytest.mark.parametrize(
    "place", ["", "20240101_000000", "20240101_000000/vis_data", "20240101_000000/vis_data/20240101_000000.json"]
)
def test_a_run_is_named_by_any_of_its_folders(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "20240101_000000" / "vis_data"
    folder.mkdir(parents=True)
    shutil.copy(FIRST, folder / "20240101_000000.json")  # the copy that is named by the time
    (folder / "config.json").write_text("no log")
    assert list(read_log(tmp_path / place).train) == list(range(2, 19, 2))


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "scalars.json", train(10), '{"loss": 0.5, "iter": 20, "st')
    assert list(read_log(path).train) == [10]


@pytest.mark.parametrize(
    "lines, message",
    [
        ([train(10), "torn\n", train(20)], r"scalars.json:2: expected a line of JSON, got 'torn'"),
        ([train(10), "[1]\n", train(20)], r"scalars.json:2: expected a line of JSON"),
        ([{"rbox/map": 0.7, "step": 0}], "expected the log of a training, found none\nIt is in <work dir>"),
        ([], "expected the log of a training, found none"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, lines: list, message: str) -> None:
    with pytest.raises(LogError, match=message):
        read_log(write(tmp_path / "scalars.json", *lines))


def test_a_folder_without_a_log(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="found none"):
        read_log(tmp_path)


def test_the_time_of_an_iteration(tmp_path: Path) -> None:
    """By hand: without the first line of each epoch the means are 0.3, 0.5 and (the only line) 0.4."""
    times = [(1, 9.0), (1, 0.2), (1, 0.4), (2, 8.0), (2, 0.5), (3, 0.4)]
    lines = [train(10 * (i + 1), epoch, time) for i, (epoch, time) in enumerate(times)]
    found = timing(read_log(write(tmp_path / "scalars.json", *lines)))
    assert found.mean == pytest.approx(0.4)
    assert found.spread == pytest.approx(math.sqrt((0.01 + 0.01 + 0) / 3))
    assert found.slowest == (2, pytest.approx(0.5))
    assert found.fastest == (1, pytest.approx(0.3))


def test_the_time_of_an_iteration_without_epochs(tmp_path: Path) -> None:
    lines = [train(10, None, 9.0), train(20, None, 0.2), train(30, None, 0.4)]
    log = read_log(write(tmp_path / "scalars.json", *lines))
    assert log.epochs == {}
    found = timing(log)
    assert found.mean == pytest.approx(0.3)
    assert math.isnan(found.spread)
    assert found.slowest == found.fastest == (None, pytest.approx(0.3))


def test_times_that_were_not_logged() -> None:
    found = timing(Log("run", {1: {"loss": 1.0}}, {}, {}))
    assert math.isnan(found.mean)
    assert found.slowest[0] is None


LOGS = [
    Log("one", {1: {"loss": 1, "loss_cls": 1, "lr": 0.1}}, {1: {"rbox/map": 0, "rbox/map_50": 0}}, {1: 1}),
    Log("two", {1: {"loss": 1, "loss_rpn": 1}}, {1: {"dota/mAP": 0}}, {1: 1}),
]


@pytest.mark.parametrize(
    "keys, names",
    [
        ([], ["loss", "rbox/map", "dota/mAP"]),
        (["mAP"], ["rbox/map", "dota/mAP"]),
        (["map_50", "loss"], ["loss", "rbox/map_50"]),
        (["rbox/map"], ["rbox/map"]),
        (["loss_*"], ["loss_cls", "loss_rpn"]),
        (["lr", "LOSS", "lr"], ["lr", "loss"]),
        (["rbox/*"], ["rbox/map", "rbox/map_50"]),
    ],
)
def test_what_keys_mean(keys: list[str], names: list[str]) -> None:
    assert choose(LOGS, keys) == names


def test_a_key_that_is_in_no_run() -> None:
    with pytest.raises(LogError, match=r"expected a key among loss, loss_cls, lr, rbox/map, .*, got 'time'"):
        choose(LOGS, ["loss", "time"])
    with pytest.raises(LogError, match="expected a loss or mAP in the logs, found neither\nThere are lr"):
        choose([Log("run", {1: {"lr": 1.0}}, {}, {})], [])
