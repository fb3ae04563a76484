"""Which checkpoints a run has: folders made by hand, with a byte or two for weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from lmm_detector._evaluation._checkpoints import Checkpoint, find_checkpoints, step_in
from lmm_detector._spec import DetectorSpec
from lmm_detector.errors import ModelError, RunError
from rbox_formats import ClassNames, codecs

SPEC = DetectorSpec(ClassNames(["ship"]), codecs.get("florence2").to_dict(), "find", 96, 0)


def detector(folder: Path, weights: bytes) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    SPEC.save(folder)
    return folder


def a_run(folder: Path, steps: dict[int, bytes], model: bytes | None) -> Path:
    for step, weights in steps.items():
        detector(folder / "checkpoints" / f"checkpoint-{step}", weights)
    (folder / "checkpoints" / "checkpoint-9000").mkdir(parents=True)  # cut short
    if model is not None:
        detector(folder / "model", model)
        (folder / "settings.yaml").write_text("")
    return folder


def found(*paths: Path, intermediate: bool = False) -> list[tuple[str, int | None]]:
    return [(each.name, each.step) for each in find_checkpoints(paths, intermediate=intermediate)]


def test_checkpoints_by_their_steps_and_the_final_model_once(tmp_path: Path) -> None:
    run = a_run(tmp_path / "dota", {100: b"c", 20: b"b", 3: b"a"}, model=b"c")
    expected = [("dota/checkpoint-3", 3), ("dota/checkpoint-20", 20), ("dota/model-100", 100)]
    assert found(run, intermediate=True) == expected
    assert found(run) == found(run / "model") == expected[-1:]
    assert found(run / "checkpoints" / "checkpoint-20") == expected[1:2]


def test_the_best_checkpoint_is_the_model(tmp_path: Path) -> None:
    """Not the last one: its step is that of the checkpoint with the same weights."""
    run = a_run(tmp_path / "dota", {3: b"a", 20: b"best", 100: b"c"}, model=b"best")
    assert found(run, intermediate=True) == [
        ("dota/checkpoint-3", 3),
        ("dota/checkpoint-100", 100),
        ("dota/model-20", 20),
    ]


def test_a_model_whose_checkpoint_is_gone(tmp_path: Path) -> None:
    run = a_run(tmp_path / "dota", {3: b"a"}, model=b"z")
    assert found(run)[0] == ("dota/model", None)
    (run / "losses.jsonl").write_text('{"loss": 2.0, "step": 10}\n{"loss": 1.0, "step": 40}\n')
    assert found(run, intermediate=True) == [("dota/checkpoint-3", 3), ("dota/model-40", 40)]
    (run / "losses.jsonl").write_text("no json\n")
    assert found(run)[0] == ("dota/model", None)


def test_a_run_that_has_not_ended(tmp_path: Path) -> None:
    run = a_run(tmp_path / "dota", {3: b"a", 20: b"b"}, model=None)
    assert found(run, intermediate=True) == [("dota/checkpoint-3", 3), ("dota/checkpoint-20", 20)]
    with pytest.raises(ModelError, match="expected a finished run, found checkpoints alone\n--intermediate"):
        find_checkpoints([run])


def test_several_runs_keep_their_order(tmp_path: Path) -> None:
    first = a_run(tmp_path / "b", {5: b"a"}, model=b"a")
    second = a_run(tmp_path / "a", {5: b"a"}, model=b"a")
    assert found(first, second) == [("b/model-5", 5), ("a/model-5", 5)]
    assert found(first, first / "model", first / ".." / "b") == [("b/model-5", 5)]


def test_a_detector_outside_of_a_run(tmp_path: Path) -> None:
    assert find_checkpoints([detector(tmp_path / "mine", b"a")]) == [Checkpoint("mine", tmp_path / "mine", None)]
    assert found(detector(tmp_path / "model", b"a")) == [("model", None)]


def test_two_of_one_name(tmp_path: Path) -> None:
    first = a_run(tmp_path / "x" / "dota", {5: b"a"}, model=b"a")
    second = a_run(tmp_path / "y" / "dota", {5: b"b"}, model=b"b")
    with pytest.raises(RunError, match=r"expected checkpoints of different names, got 'dota/model-5' twice: .*x.*y"):
        find_checkpoints([first, second])


@pytest.mark.parametrize("intermediate", [False, True])
def test_folders_without_a_detector(intermediate: bool, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            ModelError, match=r"expected a trained detector('s folder, found none|, found no detector\.json)"
        ):
            find_checkpoints([path], intermediate=intermediate)


def test_a_detector_has_no_intermediate_ones(tmp_path: Path) -> None:
    run = a_run(tmp_path / "dota", {5: b"a"}, model=b"a")
    with pytest.raises(ModelError, match="expected a run's folder for its checkpoints, got a detector's"):
        find_checkpoints([run / "model"], intermediate=True)


@pytest.mark.parametrize(
    "name, step",
    [("dota/checkpoint-500", 500), ("model-7", 7), ("dota/model", None), ("checkpoint-5b", None), ("a-5", None)],
)
def test_steps_in_names(name: str, step: int | None) -> None:
    assert step_in(name) == step
