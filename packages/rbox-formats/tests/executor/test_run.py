"""Tasks with a detector that needs no model: what is asked of a package, and what the platform gets to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rbox_formats import ClassNames, datasets, executor, ymir
from rbox_formats.detection import Prediction
from rbox_formats.executor import Package, TrainJob
from rbox_testing import ymir_tasks
from rbox_testing.ymir_tasks import NAMES, Task

pytest.importorskip("yaml")


@dataclass(frozen=True)
class Parameters:
    export_format: str = ymir.parameter("ark:raw", "The export.")
    angle_unit: str = ymir.parameter("radians", "The unit.")
    max_keep_checkpoints: int = ymir.parameter(1, "Stages.")
    fails: str = ymir.parameter("", "How it fails.")


class OneBox:
    """A detector that finds a turned ship of 40 x 10 px wherever it looks."""

    class_names = ClassNames(NAMES)

    def __init__(self, score: float) -> None:
        self.score = score

    def detect(self, crops: Sequence[Any]) -> Any:
        return [self._found("crop") for _ in crops]

    def _found(self, name: str) -> Prediction:
        return Prediction(name, np.array([[30.0, 30, 40, 10, 0.5]]), [0], scores=[self.score], class_names=NAMES)

    def predict(self, images: Any, **options: Any) -> Any:
        assert options["score_threshold"] <= self.score
        return (self._found(Path(path).stem) for path in images)

    __call__ = predict


def load(models: Sequence[Path], *, device: str, score: float, iou: float) -> OneBox:
    assert device == "cpu"
    assert iou == 0.65
    return OneBox(float(models[0].read_text()))


def mine(detector: Any, paths: Sequence[Path], algorithm: str, **options: Any) -> list[float]:
    options["progress"](0.5)
    return [float(place) for place, _ in enumerate(paths)]


def train(job: TrainJob) -> None:
    if job.parameters.fails == "memory":
        raise MemoryError
    records = list(datasets.read(job.data_format, job.env_file, "train", job.config.class_names))
    for number in range(2):
        folder = job.result.folder(f"epoch_{number}")
        folder.mkdir(parents=True)
        (folder / "a.pth").write_text("0.75")
        job.result.add(ymir.Stage(folder.name, ("a.pth",), 1675840000, len(records) / 10))
        job.progress((number + 1) / 2)
        if job.parameters.fails == "in the middle":
            raise ymir.TaskError("nan", "expected a finite loss, got nan")
    (job.env.output.tensorboard_dir / "events").write_text("1")


PACKAGE = Package("one-box", Parameters, train=train, load=load, mine=mine)


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    path = tmp_path / "a.pth"
    path.write_text("0.75")
    return path


def run(task: Task, code: int = 0) -> None:
    assert executor.run(PACKAGE, task.env_file) == (1 if code else 0)
    assert task.monitor() == ("t1", 1.0, 4 if code else 2, code)


@pytest.mark.parametrize("format", ["ymir", "ymir-voc", "ymir-coco"])
def test_a_training(format: str, tmp_path: Path) -> None:
    export = {"ymir": "det-ark:raw", "ymir-voc": "", "ymir-coco": "coco:raw"}[format]
    task = ymir_tasks.make(tmp_path / "task", "training", format=format, export_format=export)
    run(task)
    assert ymir_tasks.check_training(task)["best_stage_name"] == "epoch_1"


def test_a_training_that_fails_keeps_its_stages(tmp_path: Path) -> None:
    task = ymir_tasks.make(tmp_path / "task", "training", fails="in the middle")
    (task.out / "tensorboard").mkdir()
    (task.out / "tensorboard" / "events").write_text("1")
    run(task, 300201)
    assert list(ymir_tasks.check_training(task)["model_stages"]) == ["epoch_0"]
    run(ymir_tasks.make(tmp_path / "other", "training", fails="memory"), 300103)


def test_mining_and_inference(stage: Path, tmp_path: Path) -> None:
    task = ymir_tasks.make(tmp_path / "task", "mining", "infer", val=3)
    ymir_tasks.give_model(task, stage)
    run(task)
    assert [score for _, score in ymir_tasks.check_mining(task)] == [2.0, 1.0, 0.0]
    for entry in ymir_tasks.check_infer(task).values():
        (found,) = entry["boxes"]
        assert found["box"] == {"x": 10, "y": 25, "w": 40, "h": 10, "rotate_angle": 0.5}
        assert (found["class_name"], found["score"]) == (NAMES[0], 0.75)


def test_no_candidates(stage: Path, tmp_path: Path) -> None:
    task = ymir_tasks.make(tmp_path / "task", "mining", "infer", val=0)
    ymir_tasks.give_model(task, stage)
    run(task)
    assert json.loads((task.out / "infer-result.json").read_text()) == {"detection": {}}
    assert (task.out / "result.tsv").read_text() == ""


def test_only_the_output_folder_is_written_to(stage: Path, tmp_path: Path) -> None:
    task = ymir_tasks.make(tmp_path / "task", "mining", "infer")
    ymir_tasks.give_model(task, stage)
    before = sorted(path for path in tmp_path.rglob("*") if not path.is_relative_to(task.out))
    run(task)
    assert sorted(path for path in tmp_path.rglob("*") if not path.is_relative_to(task.out)) == before


def test_an_env_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = tmp_path / "env.yaml"
    env.write_text("- nothing")
    out = tmp_path / "out"
    out.mkdir()
    assert executor.run(PACKAGE, env) == 1
    assert list(out.iterdir()) == []
    # Where the platform's own place for it is there, it gets the error.
    monkeypatch.setattr(ymir, "Env", lambda: ymir.read_env(elsewhere))
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text(f"output: {{root_dir: {out}}}")
    assert executor.run(PACKAGE, env) == 1
    assert (out / "monitor.txt").read_text().split("\t")[2:5] == ["1.00", "4", "300001"]
