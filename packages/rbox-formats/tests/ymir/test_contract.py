"""What the platform asks for and reads, by the rules of its own parsers, restated here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from rbox_formats import ClassNames, ImageRecord, ymir
from rbox_formats.errors import DatasetError, ImageError, RboxError

yaml = pytest.importorskip("yaml")

NAMES = ClassNames(["plane", "ship"])


@pytest.fixture
def env(tmp_path: Path) -> ymir.Env:
    return make(tmp_path)


def make(root: Path, **more: Any) -> ymir.Env:
    path = root / "in" / "env.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    (root / "out" / "models").mkdir(parents=True, exist_ok=True)
    values = {"task_id": "t1", "protocol_version": "1.1.0", "run_infer": True, **more}
    values["input"] = {"root_dir": str(root / "in"), **more.get("input", {})}
    values["output"] = {"root_dir": str(root / "out"), **more.get("output", {})}
    path.write_text(yaml.safe_dump(values))
    return ymir.read_env(path)


def test_paths_are_below_their_roots(tmp_path: Path) -> None:
    places = {"assets_dir": "pictures", "models_dir": f"{tmp_path}/in/m", "val_index_file": ""}
    env = make(tmp_path, input=places, output={"monitor_file": "logs/monitor.txt"})
    assert env.input.assets_dir == tmp_path / "in" / "pictures"
    assert env.input.models_dir == tmp_path / "in" / "m"
    assert env.input.annotations_dir == tmp_path / "in" / "annotations"
    assert env.input.val_index_file is None
    assert env.output.monitor_file == tmp_path / "out" / "logs" / "monitor.txt"
    assert env.output.infer_result_file == tmp_path / "out" / "infer-result.json"


@pytest.mark.parametrize(
    "more",
    [
        {"input": {"assets_dir": "../elsewhere"}},
        {"input": {"training_index_file": "/etc/passwd"}},
        {"output": {"monitor_file": "/tmp/monitor.txt"}},
        {"output": {"models_dir": "models/../../x"}},
        {"output": {"root_dir": "out"}},
        {"input": {"assets_dir": 5}},
        {"run_mining": "maybe"},
        {"input": {"root_dir": "/in/../etc"}},
    ],
)
def test_what_env_yaml_may_not_say(more: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ymir.TaskError, match=r"env\.yaml: ") as caught:
        make(tmp_path, **more)
    assert caught.value.code == 300001


@pytest.mark.parametrize("text", ["- 1\n", "a: [", "!!python/object/apply:os.getcwd []", "\x00", "a: &a [*a, *a]\n- b"])
def test_what_is_no_yaml_of_values(text: str, tmp_path: Path) -> None:
    (tmp_path / "env.yaml").write_text(text)
    with pytest.raises(ymir.TaskError) as caught:
        ymir.read_env(tmp_path / "env.yaml")
    assert caught.value.code == 300001


def test_the_defaults_are_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "env.yaml").write_text("task_id: t7\nrun_training: true\n")
    monkeypatch.setenv("DEFAULT_ENV_FILE_PATH", str(tmp_path / "env.yaml"))
    env = ymir.read_env()
    assert env == ymir.Env(task_id="t7", run_training=True)
    assert env.is_old  # the protocol is named since YMIR 1.3
    assert not ymir.Env(protocol_version="1.1.0").is_old
    assert str(env.input.candidate_index_file) == "/in/candidate-index.tsv"
    assert str(env.output.training_result_file) == "/out/models/result.yaml"


def configured(root: Path, **values: Any) -> ymir.TaskConfig:
    (root / "in" / "config.yaml").write_text(yaml.safe_dump({"class_names": ["plane", "ship"], **values}))
    return ymir.read_config(ymir.read_env(root / "in" / "env.yaml"))


def test_what_the_platform_sets(env: ymir.Env, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tmp_path / "in" / "models"
    config = configured(tmp_path, gpu_id="0,1", model_params_path=[f"{models}/best/a.pth", "best/config.py"])
    assert config.class_names == NAMES
    assert config.gpus == (0, 1)
    assert config.models == (models / "best" / "a.pth", models / "best" / "config.py")
    assert configured(tmp_path, gpu_id="").gpus == ()
    other = tmp_path / "other.yaml"
    other.write_text("class_names: [tram]")
    monkeypatch.setenv("DEFAULT_CONFIG_FILE_PATH", str(other))
    assert ymir.read_config(env).class_names == ("tram",)


@pytest.mark.parametrize(
    "values, code",
    [
        ({"class_names": []}, 300001),
        ({"class_names": "ship"}, 300001),
        ({"class_names": ["ship", "Ship"]}, 300001),
        ({"gpu_id": "all"}, 300001),
        ({"object_type": 3}, 300005),
        ({"model_params_path": ["/etc/passwd"]}, 300004),
        ({"model_params_path": ["../../x.pth"]}, 300004),
        ({"model_params_path": 3}, 300001),
    ],
)
def test_what_config_yaml_may_not_say(values: dict[str, Any], code: int, env: ymir.Env, tmp_path: Path) -> None:
    with pytest.raises(ymir.TaskError, match=r"config\.yaml: ") as caught:
        configured(tmp_path, **values)
    assert caught.value.code == code


@dataclass(frozen=True)
class Parameters:
    size: int = ymir.parameter(512, "The side. " * 20, ge=32)
    rate: float | None = ymir.parameter(None, "The rate.", shown=False)
    amp: bool = ymir.parameter(False, "Half precision.")
    mode: Literal["a", "b"] = ymir.parameter("a", "The mode.")
    words: str = ymir.parameter("", "More words.")


def test_parameters(env: ymir.Env, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = configured(tmp_path, size="64", rate="1e-3", amp="True", mode="", words=7, szie=3, shm_size="128G")
    assert ymir.fill(Parameters, config) == Parameters(64, 1e-3, True, "a", "7")
    assert [record.getMessage() for record in caplog.records] == [
        "the parameter szie is not known, and changes nothing"
    ]
    for wrong in (
        {"size": 31},
        {"size": 64.5},
        {"amp": 2},
        {"mode": "c"},
        {"rate": "x"},
        {"rate": "nan"},
        {"size": [1]},
    ):
        with pytest.raises(ymir.TaskError, match=f"for {next(iter(wrong))}, got") as caught:
            ymir.fill(Parameters, configured(tmp_path, **wrong))
        assert caught.value.code == 300001


def test_a_template_is_read_back_as_the_defaults(env: ymir.Env, tmp_path: Path) -> None:
    values = yaml.safe_load(ymir.template(Parameters))
    assert values == {"size": 512, "amp": False, "mode": "a", "words": ""}
    assert ymir.fill(Parameters, configured(tmp_path, **values)) == Parameters()
    assert max(map(len, ymir.template(Parameters).splitlines())) <= 102


def percent_log(path: Path) -> tuple[str, float, float, int, int]:
    """By the rules of the platform's percent_log_util: the first line, at least four fields between tabs."""
    fields = path.read_text().splitlines()[0].split("\t")
    assert 5 <= len(fields) <= 6
    return fields[0], float(fields[1]), float(fields[2]), int(fields[3]), int(fields[4])


def test_the_monitor_never_goes_back(env: ymir.Env) -> None:
    clock = iter(np.arange(1e9, 1e9 + 1000, 0.7))
    monitor = ymir.Monitor(env, lambda: float(next(clock)))
    seen = []
    monitor.start()
    first = monitor.part(0, 2)
    for share in (0.0, 0.2, 0.1, 1.0):
        first(share)
        seen.append(percent_log(env.output.monitor_file))
    second = monitor.part(1, 2)
    for share in (0.0, 0.5, 1.0):
        second(share)
        seen.append(percent_log(env.output.monitor_file))
    monitor.done()
    seen.append(percent_log(env.output.monitor_file))
    shares = [each[2] for each in seen]
    assert shares == sorted(shares)
    assert shares[3] == 0.5
    assert (seen[-1][0], seen[-1][2:]) == ("t1", (1.0, 2, 0))
    monitor.fail(300002, "line\twith\ttabs\nand lines" * 100)
    assert percent_log(env.output.monitor_file)[2:] == (1.0, 4, 300002)
    assert [path.name for path in env.output.monitor_file.parent.iterdir() if path.name.startswith(".")] == []


def test_the_shares_of_a_task(env: ymir.Env, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, share in (("PREPROCESS_WEIGHT", "0.2"), ("TASK_WEIGHT", "0.6"), ("POSTPROCESS_WEIGHT", "0.2")):
        monkeypatch.setenv(name, share)
    monitor = ymir.Monitor(env)
    monitor.prepared()
    assert percent_log(env.output.monitor_file)[2] == 0.2
    monitor.task(1.0)
    assert percent_log(env.output.monitor_file)[2] == 0.8
    monkeypatch.setenv("TASK_WEIGHT", "0.7")
    with pytest.raises(ymir.TaskError, match="that add up to 1"):
        ymir.Monitor(env)


def stage(env: ymir.Env, epoch: int, value: float, name: str | None = None) -> ymir.Stage:
    name = name or f"epoch_{epoch}"
    folder = env.output.models_dir / name
    folder.mkdir(exist_ok=True)
    (folder / "a.pth").write_bytes(b"1")
    return ymir.Stage(name, ("a.pth",), 1675840000 + epoch, value, {"mAR": 0.5, "tp": 3, "fp": float("nan")})


def test_stages(env: ymir.Env) -> None:
    result = ymir.TrainingResult(env, keep=2, evaluate={"iou_thr": 0.5})
    dropped = []
    for epoch, value in enumerate([0.9, 0.2, 0.9, 0.1, 0.3], start=1):
        dropped += [each.name for each in result.add(stage(env, epoch, value))]
    found = yaml.safe_load(env.output.training_result_file.read_text())
    assert found["best_stage_name"] == "epoch_3"  # of equal ones the later
    assert found["mAP"] == 0.9
    assert list(found["model_stages"]) == ["epoch_1", "epoch_3", "epoch_4", "epoch_5"]
    assert found["model_stages"]["epoch_5"] == {
        "stage_name": "epoch_5", "files": ["a.pth"], "timestamp": 1675840005, "mAP": 0.3, "mAR": 0.5, "tp": 3,
    }  # fmt: skip
    assert found["evaluate_config"] == {"iou_thr": 0.5}
    assert dropped == ["epoch_2"]
    assert [each.name for each in ymir.TrainingResult(env).stages] == list(found["model_stages"])


def test_the_platform_takes_eleven_stages(env: ymir.Env) -> None:
    result = ymir.TrainingResult(env, keep=-1)
    for epoch in range(1, 15):
        result.add(stage(env, epoch, 0.9 if epoch == 2 else epoch / 100))
    names = list(yaml.safe_load(env.output.training_result_file.read_text())["model_stages"])
    assert names == ["epoch_2", *(f"epoch_{epoch}" for epoch in range(5, 15))]


def test_what_is_no_stage(env: ymir.Env, tmp_path: Path) -> None:
    result = ymir.TrainingResult(env)
    (tmp_path / "out" / "models" / "linked").mkdir()
    (tmp_path / "out" / "models" / "linked" / "a.pth").symlink_to("/etc/passwd")
    for wrong in (
        ymir.Stage("linked", ("a.pth",), 1, 0.5),
        ymir.Stage("epoch_1", ("none.pth",), 1, 0.5),
        ymir.Stage("epoch_1", (), 1, 0.5),
        ymir.Stage("best-1", ("a.pth",), 1, 0.5),
    ):
        with pytest.raises(ymir.TaskError):
            result.add(wrong)
    with pytest.raises(RboxError, match="expected a plain file name"):
        result.add(ymir.Stage("epoch_1", ("../a.pth",), 1, 0.5))
    with pytest.raises(ymir.TaskError, match=r"from 0 to 1, got 1\.5"):
        result.add(stage(env, 1, 1.5))
    assert ymir.stage_name("class") == "stage_class"


def test_boxes(env: ymir.Env) -> None:
    boxes = np.array([[120.2, 104.9, 40.3, 9.8, 0.5]])
    record = ImageRecord("a", boxes, np.array([1]), scores=np.array([0.25]))
    ymir.write_infer_result(env, [(Path("/in/assets/02/a.png"), record), (Path("b.png"), record.select([]))], NAMES)
    found = json.loads(env.output.infer_result_file.read_text())["detection"]
    box = {"x": 100, "y": 100, "w": 40, "h": 10, "rotate_angle": 0.5}
    assert found == {"a.png": {"boxes": [{"class_name": "ship", "score": 0.25, "box": box}]}, "b.png": {"boxes": []}}
    # The message of the platform's protobuf: whole numbers, and one more key.
    assert {key: type(value) for key, value in found["a.png"]["boxes"][0]["box"].items()} == {
        **dict.fromkeys(("x", "y", "w", "h"), int), "rotate_angle": float,
    }  # fmt: skip


def test_without_angles_boxes_are_around_the_turned_ones(env: ymir.Env) -> None:
    record = ImageRecord("a", np.array([[100, 100, 40, 10, np.pi / 2]]), np.array([0]))
    ymir.write_infer_result(env, [(Path("a.png"), record)], NAMES, rotated=False)
    (found,) = json.loads(env.output.infer_result_file.read_text())["detection"]["a.png"]["boxes"]
    assert found == {"class_name": "plane", "score": 1.0, "box": {"x": 95, "y": 80, "w": 10, "h": 40}}


def test_old_platforms_have_other_keys(tmp_path: Path) -> None:
    env = make(tmp_path, protocol_version="0.0.1")
    ymir.write_infer_result(env, [(Path("a.png"), ImageRecord("a", np.zeros((0, 5)), np.zeros(0, int)))], NAMES)
    assert json.loads(env.output.infer_result_file.read_text()) == {"detection": {"a.png": {"annotations": []}}}
    ymir.TrainingResult(env).add(stage(env, 1, 0.5))
    found = yaml.safe_load(env.output.training_result_file.read_text())
    assert (found["model"], found["map"]) == (["epoch_1/a.pth"], 0.5)


def test_a_ranking_is_sorted(env: ymir.Env) -> None:
    ymir.write_mining_result(env, {"/in/assets/a.png": 0.25, "/in/assets/b.png": 3.0, "/in/assets/c.png": 0.25})
    lines = [line.split("\t") for line in env.output.mining_result_file.read_text().splitlines()]
    assert lines == [["/in/assets/b.png", "3.0"], ["/in/assets/a.png", "0.25"], ["/in/assets/c.png", "0.25"]]
    with pytest.raises(ymir.TaskError) as caught:
        ymir.write_mining_result(env, {"a": float("nan")})
    assert caught.value.code == 300201


def test_candidates(env: ymir.Env, tmp_path: Path) -> None:
    assets = tmp_path / "in" / "assets"
    (assets / "x y").mkdir(parents=True)
    for name in ("a.png", "x y/b.png", "x y/a.jpg"):
        (assets / name).write_bytes(b"")
    index = tmp_path / "in" / "candidate-index.tsv"
    index.write_text(f"{assets}/a.png\n/in/assets/x y/b.png\n")
    assert ymir.read_candidates(env) == {
        f"{assets}/a.png": assets / "a.png",
        "/in/assets/x y/b.png": assets / "x y/b.png",
    }
    for text, code in (
        (f"{assets}/none.png", 300003),
        ("/etc/passwd", 300002),
        (f"{assets}/a.png\n{assets}/x y/a.jpg", 300002),
    ):
        index.write_text(text)
        with pytest.raises(RboxError, match=r"candidate-index\.tsv:[12]: ") as caught:
            ymir.read_candidates(env)
        assert ymir.code_of(caught.value) == code
    index.unlink()
    with pytest.raises(ymir.TaskError, match="expected a list of candidates, found none"):
        ymir.read_candidates(env)


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error, code",
    [
        (ymir.TaskError("nan", "x"), 300201),
        (DatasetError("x"), 300002),
        (ImageError("x"), 300003),
        (RboxError("x"), 300001),
        (OutOfMemoryError("x"), 300103),
        (caused(RboxError("x"), OutOfMemoryError("x")), 300103),
        (RuntimeError("CUDA error: no kernel image is available for execution on the device"), 300101),
        (RuntimeError("Found no NVIDIA driver on your system."), 300102),
        (caused(DatasetError("x"), ConnectionError("x")), 300301),
        (KeyError("x"), 160004),
    ],
)
def test_codes(error: Exception, code: int) -> None:
    assert ymir.code_of(error) == code
