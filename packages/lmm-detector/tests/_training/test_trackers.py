"""Pictures of evaluations in trackers: TensorBoard's own files read back, stand-ins for wandb and mlflow."""

from __future__ import annotations

import dataclasses
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lmm_detector import TrainConfig, train
from lmm_detector._training._trackers import Trackers
from PIL import Image


@pytest.fixture
def config(run_config: TrainConfig) -> TrainConfig:
    """Two evaluations."""
    short = dataclasses.replace(run_config, language_model_max_length=40, steps=4)
    return dataclasses.replace(short, eval_split="val", eval_every=2, eval_images=1)


def pixels(path: Path | io.BytesIO) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def sheets(config: TrainConfig) -> dict[int, Path]:
    return {step: Path(config.out) / "evaluations" / f"step-{step}" / "pictures" / "sheet.png" for step in (2, 4)}


@pytest.mark.slow
def test_tensorboard_has_the_sheets(config: TrainConfig) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(dataclasses.replace(config, report_to=None))
    board = accumulator.EventAccumulator(str(Path(config.out) / "tensorboard"), size_guidance={"images": 0})
    board.Reload()
    found = {each.step: pixels(io.BytesIO(each.encoded_image_string)) for each in board.Images("evaluation")}
    assert found.keys() == sheets(config).keys()
    for step, path in sheets(config).items():
        np.testing.assert_array_equal(found[step], pixels(path))
    assert found[2].std() > 1


# With the signatures that wandb 0.19 and mlflow 3.1 document, and what transformers calls of them; `calls` is recorded.
STAND_INS = {
    "wandb": """
calls = []
reachable = True

class _Run:
    summary = {}
    def _label(self, code): pass

class Config(dict):
    def update(self, d, allow_val_change=None): super().update(d)

run, config = None, Config()

def init(project=None, name=None, **options):
    global run
    run = _Run()

def define_metric(name, step_metric=None, step_sync=None): pass

def termwarn(text, repeat=True): pass

class Image:
    def __init__(self, data_or_path, mode=None, caption=None, grouping=None, classes=None, boxes=None, masks=None,
                 file_type=None, normalize=True):
        from PIL import Image as Pillow
        with Pillow.open(data_or_path) as picture:
            self.image = picture.convert("RGB")

def log(data, step=None, commit=None):
    if "evaluation" in data:
        if not reachable:
            raise ConnectionError("no route to host")
        calls.append((data["train/global_step"], data["evaluation"].image))
""",
    "wandb/sdk/lib/config_util": "class ConfigError(Exception): pass",
    "mlflow": """
from types import SimpleNamespace
calls = []
reachable = True
__version__ = "3.1.0"
utils = SimpleNamespace(validation=SimpleNamespace(MAX_PARAM_VAL_LENGTH=6000, MAX_PARAMS_TAGS_PER_BATCH=100))
_run = None

def is_tracking_uri_set(): return True
def get_tracking_uri(): return "file:runs"
def active_run(): return _run
def start_run(run_id=None, experiment_id=None, run_name=None, nested=False):
    global _run
    _run = SimpleNamespace(info=SimpleNamespace(run_id="1"))
def end_run(status="FINISHED"):
    global _run
    _run = None
def log_params(params, synchronous=None, run_id=None): pass
def log_metrics(metrics, step=None, synchronous=None, run_id=None, timestamp=None): pass

def log_image(image, artifact_file=None, key=None, step=None, timestamp=None, synchronous=False):
    assert _run is not None and artifact_file is None and key == "evaluation"
    if not reachable:
        raise ConnectionError("no route to host")
    calls.append((step, image))
""",
}


@pytest.fixture(params=["wandb", pytest.param("mlflow", marks=pytest.mark.slow)])
def tracker(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in, as a package that is installed."""
    name = request.param
    for module, code in STAND_INS.items():
        if module.split("/")[0] != name:
            continue
        folder = tmp_path / "installed" / module
        folder.mkdir(parents=True, exist_ok=True)
        for parent in [folder, *folder.parents][: len(module.split("/"))]:
            (parent / "__init__.py").touch()
        (folder / "__init__.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path / "installed")
    for loaded in [each for each in sys.modules if each.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, loaded)
    import importlib

    yield importlib.import_module(name)
    for loaded in [each for each in sys.modules if each.split(".")[0] == name]:
        del sys.modules[loaded]


@pytest.mark.slow
def test_a_tracker_gets_the_sheets(tracker: Any, config: TrainConfig) -> None:
    train(dataclasses.replace(config, report_to=tracker.__name__))
    assert [step for step, _ in tracker.calls] == [2, 4]
    for step, picture in tracker.calls:
        np.testing.assert_array_equal(np.asarray(picture), pixels(sheets(config)[step]))


@pytest.mark.slow
def test_a_tracker_that_is_not_on_gets_none(tracker: Any, config: TrainConfig) -> None:
    train(dataclasses.replace(config, steps=2))
    assert tracker.calls == []


def test_one_that_cannot_be_reached_ends_no_training(
    tracker: Any, config: TrainConfig, caplog: pytest.LogCaptureFixture
) -> None:
    tracker.reachable = False
    folder = train(dataclasses.replace(config, steps=2, report_to=tracker.__name__))
    assert (folder / "detector.json").is_file()
    assert tracker.calls == []
    told = [record.message for record in caplog.records if "pictures of evaluations do not reach" in record.message]
    assert len(told) == 1
    assert told[0].endswith("training continues: ConnectionError: no route to host")


def test_other_callbacks_are_not_asked(tmp_path: Path) -> None:
    Trackers().show(tmp_path / "none.png", 1, [object()])
