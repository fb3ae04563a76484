"""What the platform and its verifier check, on tasks of a tiny multimodal model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from lmm_detector._spec import DetectorSpec
from lmm_detector._ymir._package import PACKAGE
from rbox_formats import codecs, executor
from rbox_testing import ymir_tasks
from rbox_testing.ymir_tasks import Task

SMALL: dict[str, Any] = {
    "export_format": "ark:raw",
    "img_size": 64,
    "samples_per_gpu": 2,
    "workers_per_gpu": 0,
    "max_epochs": 2,
    "learning_rate": 1e-3,
}
FAST = "{eval_max_new_tokens: 20}"


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Task:
    """A training of two epochs."""
    values = {**SMALL, "model_name": str(tiny_model), "args_options": FAST}
    task = ymir_tasks.make(tmp_path_factory.mktemp("ymir"), "training", **values)
    assert executor.run(PACKAGE, task.env_file) == 0
    return task


@pytest.fixture(scope="module")
def stage(trained: Task) -> list[Path]:
    found = ymir_tasks.check_training(trained)
    name = list(found["model_stages"])[-1]
    return [trained.out / "models" / name / file for file in found["model_stages"][name]["files"]]


def run(task: Task, code: int = 0) -> None:
    assert executor.run(PACKAGE, task.env_file) == (1 if code else 0)
    assert task.monitor() == ("t1", 1.0, 4 if code else 2, code)


@pytest.mark.slow
def test_a_training(trained: Task) -> None:
    found = ymir_tasks.check_training(trained)
    assert trained.monitor() == ("t1", 1.0, 2, 0)
    # Four images of one window, two at a time: an epoch is two steps.
    assert set(found["model_stages"]) <= {"step_2", "step_4"}
    assert "step_4" in found["model_stages"]


def test_mining_and_inference(tiny_model: Path, tmp_path: Path) -> None:
    """With a model that has learnt nothing."""
    codec = codecs.get("florence2")
    folder = tmp_path / "detector"
    shutil.copytree(tiny_model, folder)
    DetectorSpec(ymir_tasks.NAMES, codec.to_dict(), codec.prompt, window=64, gap=16, longest_answer=8).save(folder)
    task = ymir_tasks.make(tmp_path, "mining", "infer", conf_threshold=0.0, mining_algorithm="margin")
    ymir_tasks.give_model(task, *folder.iterdir())
    run(task)
    ymir_tasks.check_infer(task)
    ymir_tasks.check_mining(task)


@pytest.mark.slow
def test_a_stage_suffices_for_mining_and_inference(stage: list[Path], tmp_path: Path) -> None:
    assert "detector.json" in [path.name for path in stage]
    assert not [path.name for path in stage if path.name.startswith(("optimizer", "trainer_state"))]
    task = ymir_tasks.make(tmp_path, "mining", "infer", conf_threshold=0.0, mining_algorithm="margin")
    ymir_tasks.give_model(task, *stage)
    run(task)
    ymir_tasks.check_infer(task)
    ymir_tasks.check_mining(task)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["random", "aldd", "diversity"])
def test_mining(algorithm: str, stage: list[Path], tmp_path: Path) -> None:
    task = ymir_tasks.make(tmp_path, "mining", mining_algorithm=algorithm, conf_threshold=0.0)
    ymir_tasks.give_model(task, *stage)
    run(task)
    assert len(ymir_tasks.check_mining(task)) == 2


@pytest.mark.slow
def test_a_training_from_a_stage_without_images_to_score_on(stage: list[Path], tmp_path: Path) -> None:
    values = {**SMALL, "max_epochs": 1, "model_name": "none/of-this-name"}
    task = ymir_tasks.make(tmp_path, "training", val=0, format="ymir-voc", **{**values, "export_format": "voc:raw"})
    ymir_tasks.give_model(task, *stage, key="pretrained_model_params")
    run(task)
    assert list(ymir_tasks.check_training(task)["model_stages"]) == ["step_2"]


WRONG: dict[str, tuple[tuple[str, ...], dict[str, Any], int]] = {
    "no mapping of settings": (("training",), {"args_options": "--amp"}, 300001),
    "a place elsewhere": (("training",), {"args_options": "{out: /tmp/elsewhere}"}, 300001),
    "an unknown setting": (("training",), {"args_options": "{fast: true}"}, 300001),
    "a value out of its range": (("training",), {"img_size": 4}, 300001),
    "no model": (("infer",), {}, 300004),
    "no GPU": (("infer",), {"gpu_id": "0"}, 300102),
}


@pytest.mark.parametrize("name", WRONG)
def test_codes(name: str, tiny_model: Path, tmp_path: Path) -> None:
    tasks, values, code = WRONG[name]
    run(ymir_tasks.make(tmp_path, *tasks, **{**SMALL, "model_name": str(tiny_model), **values}), code)


@pytest.mark.slow
def test_code_of_a_loss_that_is_no_number(tiny_model: Path, tmp_path: Path) -> None:
    values = {**SMALL, "model_name": str(tiny_model), "learning_rate": 1e30, "max_epochs": 8}
    run(ymir_tasks.make(tmp_path, "training", val=0, **values), 300201)


@pytest.mark.slow
def test_code_of_a_model_that_cannot_be_read(stage: list[Path], tmp_path: Path) -> None:
    task = ymir_tasks.make(tmp_path, "infer")
    ymir_tasks.give_model(task, *[path for path in stage if path.name != "detector.json"])
    run(task, 300004)
