"""What the platform and its verifier check, on tasks run by the command's own function."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from rbox_baselines import Detector
from rbox_baselines._checkpoints import read_checkpoint
from rbox_baselines._ymir._package import PACKAGE
from rbox_formats import executor, rbox_to_quad, ymir
from rbox_testing import ymir_tasks
from rbox_testing.samples import sampled
from rbox_testing.ymir_tasks import NAMES, Task

from .conftest import SMALL


def run(task: Task, code: int = 0) -> None:
    """Run a task, and check how it ends."""
    assert executor.run(PACKAGE, task.env_file) == (1 if code else 0)
    assert task.monitor() == ("t1", 1.0, 4 if code else 2, code)


@pytest.mark.slow
def test_a_training(trained: Task) -> None:
    found = ymir_tasks.check_training(trained)
    assert trained.monitor() == ("t1", 1.0, 2, 0)
    assert set(found["model_stages"]) <= {"epoch_1", "epoch_2"}
    assert found["evaluate_config"] == {"iou_thr": 0.5}
    assert all(0 <= stage["f1_micro"] <= 1 for stage in found["model_stages"].values())
    folders = {path.name for path in (trained.out / "models").iterdir() if path.is_dir()}
    assert folders == set(found["model_stages"])


@pytest.mark.slow
def test_a_stage_suffices_for_inference(trained: Task, tmp_path: Path) -> None:
    found = ymir_tasks.check_training(trained)
    name = list(found["model_stages"])[-1]
    stage = [trained.out / "models" / name / file for file in found["model_stages"][name]["files"]]
    assert [path.name for path in stage] == ["epoch_2.pth", "config.py"]
    assert set(read_checkpoint(stage[0])) == {"meta", "state_dict"}
    assert "model" in stage[1].read_text()
    task = ymir_tasks.make(tmp_path, "infer", conf_threshold=0.0)
    ymir_tasks.give_model(task, *stage)
    run(task)
    found = ymir_tasks.check_infer(task)
    assert sum(len(entry["boxes"]) for entry in found.values()) > 0


@pytest.mark.slow
def test_angles_may_be_left_out(stage: list[Path], tmp_path: Path) -> None:
    boxes = {}
    for rotated in (True, False):
        task = ymir_tasks.make(tmp_path / str(rotated), "infer", conf_threshold=0.0, rotate_angle=rotated)
        ymir_tasks.give_model(task, *stage)
        run(task)
        boxes[rotated] = ymir_tasks.check_infer(task, rotated=rotated)
    for name, entry in boxes[True].items():
        for turned, upright in zip(entry["boxes"], boxes[False][name]["boxes"], strict=True):
            x, y, w, h = (turned["box"][key] for key in "xywh")
            corners = rbox_to_quad(np.array([[x + w / 2, y + h / 2, w, h, turned["box"]["rotate_angle"]]]))[0]
            around = upright["box"]
            low, high = corners.min(axis=0), corners.max(axis=0)
            assert np.abs(low - [around["x"], around["y"]]).max() <= 2
            assert np.abs(high - low - [around["w"], around["h"]]).max() <= 3


def test_mining_and_inference_in_one_task(stage: list[Path], tmp_path: Path) -> None:
    task = ymir_tasks.make(tmp_path, "mining", "infer", mining_algorithm="entropy", conf_threshold=0.0)
    ymir_tasks.give_model(task, *stage)
    run(task)
    ranking = dict(ymir_tasks.check_mining(task))
    found = ymir_tasks.check_infer(task)
    for path, score in ranking.items():
        scores = np.array([each["score"] for each in found[Path(path).name]["boxes"]])
        assert score == pytest.approx(-(scores * np.log2(scores)).sum(), abs=1e-6)


@pytest.mark.parametrize(
    "algorithm", ["cald", "diversity", *(pytest.param(name, marks=pytest.mark.slow) for name in ("random", "margin"))]
)
def test_mining(algorithm: str, stage: list[Path], tmp_path: Path) -> None:
    task = ymir_tasks.make(tmp_path, "mining", mining_algorithm=algorithm, val=3, conf_threshold=0.0)
    ymir_tasks.give_model(task, *stage)
    run(task)
    assert len(ymir_tasks.check_mining(task)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("val, format", sampled([(0, "ymir-voc"), (2, "ymir-coco")], [(0, "ymir-voc")]))
def test_other_exports_and_no_images_to_score_on(val: int, format: str, mmrotate: Any, tmp_path: Path) -> None:
    names = {"ymir-voc": "voc:raw", "ymir-coco": "coco:raw"}
    values = {**SMALL, "max_epochs": 1, "export_format": names[format]}
    task = ymir_tasks.make(tmp_path, "training", val=val, format=format, **values)
    run(task)
    found = ymir_tasks.check_training(task)
    assert list(found["model_stages"]) == ["epoch_1"]


@pytest.mark.slow
@pytest.mark.variant
def test_a_stage_to_start_from_with_other_classes(stage: list[Path], mmrotate: Any, tmp_path: Path) -> None:
    values = {**SMALL, "max_epochs": 1, "args_options": ""}
    task = ymir_tasks.make(tmp_path, "training", train=2, val=0, **values)
    config = yaml.safe_load((tmp_path / "in" / "config.yaml").read_text())
    config["class_names"] = [*NAMES, "tram"]
    (tmp_path / "in" / "config.yaml").write_text(yaml.safe_dump(config))
    ymir_tasks.give_model(task, *stage, key="pretrained_model_params")
    run(task)
    found = ymir_tasks.check_training(task)
    new = read_checkpoint(task.out / "models" / "epoch_1" / "epoch_1.pth")
    old = read_checkpoint(stage[0])
    assert new["meta"]["dataset_meta"]["classes"] == (*NAMES, "tram")
    name = "backbone.conv1.weight"
    # One epoch of a warm-up moves weights little: they began with the stage's, not at random.
    assert torch.allclose(new["state_dict"][name], old["state_dict"][name], atol=0.02)
    assert found["best_stage_name"] == "epoch_1"


WRONG: dict[str, tuple[tuple[str, ...], dict[str, Any], int]] = {
    "an unknown model": (("training",), {"model_name": "yolov8_n"}, 300001),
    "a name of many models": (("training",), {"model_name": "rotated_retinanet"}, 300001),
    "a value of another kind": (("training",), {"max_epochs": "many"}, 300001),
    "an unknown option": (("training",), {"args_options": "--fast"}, 300001),
    "an unknown export": (("training",), {"export_format": "lmdb:raw"}, 300001),
    "segmentation": (("training",), {"object_type": 3}, 300005),
    "no GPU": (("training",), {"gpu_id": "0"}, 300102),
    "no model": (("infer",), {}, 300004),
    "a model that is not there": (("infer",), {"model_params_path": ["/in/models/best/none.pth"]}, 300004),
    "an unknown algorithm": (("mining",), {"mining_algorithm": "entropie"}, 300001),
}


@pytest.mark.parametrize("name", WRONG)
def test_codes(name: str, stage: list[Path], tmp_path: Path) -> None:
    tasks, values, code = WRONG[name]
    task = ymir_tasks.make(tmp_path, *tasks, **{**SMALL, **values})
    if name == "an unknown algorithm":
        ymir_tasks.give_model(task, *stage)
    run(task, code)


@pytest.mark.slow
def test_code_of_a_broken_dataset(mmrotate: Any, tmp_path: Path) -> None:
    task = ymir_tasks.make(tmp_path, "training", **SMALL)
    next((tmp_path / "in" / "annotations" / "train").iterdir()).write_text("0, 1, 2")
    run(task, 300002)
    (tmp_path / "in" / "train-index.tsv").write_text("")
    run(task, 300002)


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [("training",), ("infer",)])
def test_code_of_a_broken_image(tasks: tuple[str, ...], stage: list[Path], mmrotate: Any, tmp_path: Path) -> None:
    task = ymir_tasks.make(tmp_path, *tasks, **SMALL)
    ymir_tasks.give_model(
        task, *stage, key="pretrained_model_params" if tasks[0] == "training" else "model_params_path"
    )
    path = next((tmp_path / "in" / "assets" / ("train" if tasks[0] == "training" else "val")).iterdir())
    path.write_bytes(path.read_bytes()[:200])
    run(task, 300003)


@pytest.mark.slow
def test_codes_of_models(stage: list[Path], mmrotate: Any, tmp_path: Path) -> None:
    task = ymir_tasks.make(tmp_path / "a", "infer")
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"PK\3\4")
    ymir_tasks.give_model(task, broken)
    run(task, 300004)
    # Weights of another model to start from.
    task = ymir_tasks.make(tmp_path / "b", "training", **{**SMALL, "cfg_options": ""})
    ymir_tasks.give_model(task, *stage, key="pretrained_model_params")
    run(task, 300004)


@pytest.mark.slow
def test_code_of_a_loss_that_is_no_number(mmrotate: Any, tmp_path: Path) -> None:
    task = ymir_tasks.make(tmp_path, "training", **{**SMALL, "learning_rate": 1e12})
    run(task, 300201)


@pytest.mark.slow
def test_code_of_a_network_that_is_not_there(mmrotate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from urllib import request
    from urllib.error import URLError

    def refuse(*arguments: Any, **settings: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr(request, "urlopen", refuse)
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    task = ymir_tasks.make(
        tmp_path, "training", **{**SMALL, "args_options": "", "cfg_options": "model.backbone.depth=50"}
    )
    run(task, 300301)


def test_thresholds_reach_one_stage_and_two(mmrotate: Any, stage: list[Path]) -> None:
    from mmdet.registry import MODELS
    from rbox_baselines._configs._load import load_model
    from rbox_baselines._configs._weights import without_pretrained
    from rbox_formats import ClassNames

    one = Detector.from_checkpoint(stage[0], device="cpu").with_thresholds(score=0.3, iou=0.7)
    assert (one.model.bbox_head.test_cfg.score_thr, one.model.bbox_head.test_cfg.nms.iou_threshold) == (0.3, 0.7)
    assert one.nms_threshold == 0.7
    config = without_pretrained(load_model("oriented-rcnn-le90_r50_fpn_1x_dota"))
    two = Detector(MODELS.build(config.model), config, ClassNames(["a"]), "sha256:0", "cpu")
    proposals = dict(two.model.rpn_head.test_cfg)
    two.with_thresholds(score=0.3, iou=0.7)
    assert two.model.roi_head.test_cfg.score_thr == 0.3
    assert two.model.roi_head.test_cfg.nms.iou_threshold == 0.7
    assert dict(two.model.rpn_head.test_cfg) == proposals
    assert two.nms_threshold == 0.7


def test_what_the_model_sees_as_numbers(stage: list[Path]) -> None:
    detector = Detector.from_checkpoint(stage[0], device="cpu")
    images = [np.full((64, 64, 3), value, dtype=np.uint8) for value in (0, 200, 0)]
    found = detector.features(images)
    assert found.shape == (3, 5 * 16)
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3
    assert detector.features([]).shape[0] == 0


def test_no_task_is_a_success(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = ymir_tasks.make(tmp_path)
    run(task)
    assert "asks for no task" in caplog.text


def test_an_env_file_that_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert executor.run(PACKAGE, tmp_path / "env.yaml") == 1
    assert "error 300001: " in caplog.text


@pytest.mark.slow
def test_the_monitor_is_valid_at_every_instant(mmrotate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = ymir_tasks.make(tmp_path, "training", **{**SMALL, "max_epochs": 1})
    seen: list[float] = []
    write = ymir.Monitor._write

    def noted(monitor: ymir.Monitor, *arguments: Any) -> None:
        write(monitor, *arguments)
        seen.append(task.monitor()[1])

    monkeypatch.setattr(ymir.Monitor, "_write", noted)
    run(task)
    assert seen == sorted(seen)
    assert len(seen) >= 4
    assert math.isclose(seen[-1], 1)
