"""Paths as nobody means them: every public function that takes one answers with an error of ours."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import lmm_detector
import numpy as np
import pytest
import rbox_baselines
import rbox_metrics
from PIL import Image
from rbox_formats import (
    ClassNames,
    Dataset,
    ImageRecord,
    RboxError,
    datasets,
    detection,
    draw,
    images,
    predictions,
    sharding,
    splitting,
    ymir,
)
from rbox_formats import files as f
from rbox_formats.datasets import FORMATS
from rbox_formats.synthetic import write_scenes
from rbox_formats.visualization import draw_predictions
from rbox_testing.telling import join_all

DETECTORS = ("lmm_detector", "rbox_baselines")
NAMES = ClassNames(["ship"])
RECORD = ImageRecord(
    "a", np.array([[9.0, 9, 5, 5, 0.1]]), np.zeros(1, np.int64), width=32, height=32, scores=np.ones(1)
)
TRUTH = Dataset(NAMES, [RECORD])
PREDICTION = detection.Prediction.of(RECORD, NAMES, pixels=np.zeros((32, 32, 3), np.uint8))
HEADER = predictions.Header(NAMES, "sha256:0", None, {}, {})


def write_dataset(name: str, path: Any) -> None:
    names = FORMATS[name].class_names or NAMES
    datasets.write(name, [RECORD], path, None, names)


def rows(path: Any) -> None:
    with images.open_rows(path):
        pass


def nonzero(path: Any) -> None:
    with images.open_nonzero(path):
        pass


def replace(path: Any) -> None:
    with f.replacing(path) as temporary:
        temporary.write_text("x")


def write_predictions(path: Any) -> None:
    with predictions.Writer(path, HEADER) as writer:
        writer.write(RECORD)


def split(path: Any) -> None:
    """With an image: without one there is nothing to split, wherever to."""
    with TemporaryDirectory() as folder:
        image = Path(folder) / "a.png"
        Image.new("RGB", RECORD.size).save(image)
        splitting.split(Dataset(NAMES, [dataclasses.replace(RECORD, path=image)]), path)


# The path is looked at before the model is.
EXPORTED = rbox_baselines.Detector(SimpleNamespace(data_preprocessor=None), None, NAMES, "", "cpu")


def evaluate(module: Any) -> Callable[[Any], Any]:
    return lambda path: module.evaluate_file(TRUTH, path)


READ: dict[str, Callable[[Any], Any]] = {
    "rbox_formats.datasets.read": lambda path: [list(datasets.read(name, path)) for name in READABLE],
    "rbox_formats.predictions.read": predictions.read,
    "rbox_formats.predictions.stream": predictions.stream,
    "rbox_formats.images.check": images.check,
    "rbox_formats.images.find_images": images.find_images,
    "rbox_formats.images.load": images.load,
    "rbox_formats.images.open_nonzero": nonzero,
    "rbox_formats.images.open_rows": rows,
    "rbox_formats.images.read_map_place": images.read_map_place,
    "rbox_formats.images.read_orientation": images.read_orientation,
    "rbox_formats.images.read_size": images.read_size,
    "rbox_formats.detection.read_predictions": lambda path: list(detection.read_predictions(path)),
    "rbox_formats.detection.scenes_of": lambda path: detection.scenes_of(path, lambda *_: []),
    "rbox_formats.sharding.make_manifest": lambda path: sharding.make_manifest([path]),
    "rbox_formats.sharding.read_manifest": sharding.read_manifest,
    "rbox_formats.sharding.read_stac": sharding.read_stac,
    "rbox_formats.sharding.find_scenes": sharding.find_scenes,
    "rbox_formats.ymir.read_env": ymir.read_env,
    "rbox_formats.load_detector": detection.load_detector,
    "rbox_formats.draw.fitted": lambda path: draw.fitted(path, [], 64),
    "rbox_metrics.read_predictions": rbox_metrics.read_predictions,
    "rbox_metrics.read_class_mapping": rbox_metrics.read_class_mapping,
    "rbox_metrics.evaluate_file": evaluate(rbox_metrics),
    "lmm_detector.Detector.from_pretrained": lambda path: lmm_detector.Detector.from_pretrained(path),
    "lmm_detector.push_to_hub": lambda path: lmm_detector.push_to_hub(path, "owner/name"),
    "lmm_detector.find_images": lambda path: lmm_detector.find_images(path),
    "rbox_baselines.Detector.from_checkpoint": rbox_baselines.Detector.from_checkpoint,
    "rbox_baselines.Detector.from_onnx": lambda path: rbox_baselines.Detector.from_onnx(path, device="cpu"),
    "rbox_baselines.convert_checkpoint": lambda path: rbox_baselines.convert_checkpoint(
        path, "sam-seg-base", "out.pth"
    ),
    "rbox_baselines.load_results": rbox_baselines.load_results,
    "rbox_baselines.evaluate_file": evaluate(rbox_baselines),
}
READABLE = [name for name, entry in FORMATS.items() if entry.read]
WRITTEN: dict[str, Callable[[Any], Any]] = {
    "rbox_formats.datasets.write": lambda path: [
        datasets.write(name, [RECORD], path, None, NAMES) for name in READABLE
    ],
    "rbox_formats.predictions.Writer": write_predictions,
    "rbox_formats.sharding.Parts": lambda path: join_all(sharding.Parts(path, HEADER)),
    "rbox_formats.sharding.write_manifest": lambda path: sharding.write_manifest(path, sharding.make_manifest([])),
    "rbox_formats.predictions.write": lambda path: predictions.write(path, HEADER, [RECORD]),
    "rbox_formats.files.replacing": replace,
    "rbox_formats.files.write_text": lambda path: f.write_text(path, "x"),
    "rbox_formats.files.require_writable": lambda path: f.require_writable(path),
    "rbox_formats.files.require_writable_file": lambda path: f.require_writable_file(path),
    "rbox_formats.files.not_an_input": f.not_an_input,
    "rbox_formats.draw.save": lambda path: draw.save(Image.new("RGB", (3, 3)), path),
    "rbox_formats.Prediction.save": lambda path: PREDICTION.save(path),
    "rbox_formats.detection.write_geojson": lambda path: detection.write_geojson(PREDICTION, path),
    "rbox_formats.visualization.draw_predictions": lambda path: draw_predictions([PREDICTION], path),
    "rbox_formats.splitting.split": split,
    "rbox_formats.synthetic.write_scenes": lambda path: write_scenes(path, "train", range(1)),
    "rbox_baselines.Detector.export": lambda path: EXPORTED.export(path),
    "rbox_metrics.Report.save": lambda path: rbox_metrics.evaluate(TRUTH, TRUTH, NAMES).save(path),
    "rbox_metrics.write_dota_submission": lambda path: rbox_metrics.write_dota_submission(path, [RECORD], NAMES),
    "rbox_metrics.write_fair1m_submission": lambda path: rbox_metrics.write_fair1m_submission(path, [RECORD], NAMES),
}
BAD: dict[str, Callable[[Path], Any]] = {
    "a long name": lambda folder: folder / ("n" * 300),
    "a long name, short in letters": lambda folder: folder / ("\u8239" * 90),
    "a long path": lambda folder: folder / "/".join(["n" * 200] * 30),
    "a null character": lambda folder: folder / "a\0b",
    "half a surrogate pair": lambda folder: folder / "\ud800",
    "below a file": lambda folder: folder / "file.txt" / "x" / "y",
    "no path": lambda folder: 5,
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "file.txt").write_text("x")
    yield tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("name", [*READ, *WRITTEN])
def test_an_impossible_path_is_named(name: str, folder: Path) -> None:
    # Which compares, and asks for nothing else.
    passed_over = {"below a file"} if name == "rbox_formats.files.not_an_input" else set()
    said: dict[str, str] = {}
    for how in BAD.keys() - passed_over:
        try:
            (READ | WRITTEN)[name](BAD[how](folder))
        except RboxError as error:
            said[how] = str(error)
    assert said.keys() == BAD.keys() - passed_over
    assert all("expected" in message for message in said.values()), said


@pytest.mark.parametrize("name", sorted(WRITTEN.keys() - {"rbox_formats.files.not_an_input"}))  # which only compares
def test_a_folder_that_may_not_be_written_to_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As user root may write anywhere, the system's answer is made here."""
    import tempfile

    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(RboxError, match="expected"):
        WRITTEN[name](tmp_path / "new" / "out")


# What is handed others' paths or reads nothing of them; what needs a model runs the checks of those above.
OTHERS = {
    # What several packages offer is tested under one name.
    *(f"{package}.Prediction{save}" for package in (*DETECTORS, "rbox_formats.detection") for save in ("", ".save")),
    *(f"{package}.{name}" for package in DETECTORS for name in ("read_predictions", "write_geojson")),
    *("rbox_formats.Prediction", "rbox_formats.detection.load_detector"),
    *(f"rbox_formats.detection.DetectorLoader.{name}" for name in ("is_detector", "load_detector")),  # a protocol
    *("rbox_formats.sharding.Manifest", "rbox_formats.detection.Scene", "rbox_formats.detection.check_geojson"),
    *("rbox_formats.detection.command_of", "rbox_formats.images.find_broken"),
    *("rbox_formats.ImageRecord", "rbox_formats.RboxError", "rbox_formats.datasets.with_images"),
    *("rbox_formats.predictions.Header.from_line", "rbox_formats.images.by_id"),
    *("rbox_formats.predictions.Stream", "rbox_formats.predictions.parts"),
    *("rbox_formats.images.find", "rbox_formats.splitting.split_image", "rbox_formats.visualization.visualize"),
    *("rbox_formats.files.locked", "rbox_formats.files.safe_name", "rbox_formats.files.temporary_folder"),
    *("rbox_formats.files.visible", "rbox_formats.files.reaching", "rbox_formats.files.safe_path"),
    "rbox_formats.datasets.guess",  # what is no dataset looks like none
    *(f"rbox_formats.ymir.{name}" for name in ("Input", "Output", "TaskConfig", "below", "write_infer_result")),
    *("rbox_metrics.plots.draw", "rbox_metrics.plots.worst_images"),
    *("lmm_detector.Detector.windows", "lmm_detector.convert_checkpoint", "lmm_detector.evaluate_file"),
    *(
        "lmm_detector.evaluate_checkpoints",
        "lmm_detector.merge_adapters",
        "lmm_detector.predict",
    ),
    "lmm_detector.visualize",
    "rbox_serve.Settings",
    *("rbox_baselines.distill", "rbox_baselines.load_config", "rbox_baselines.predict", "rbox_baselines.train"),
}


def test_every_public_function_that_takes_a_path_is_known() -> None:
    found = set()
    for module in (
        *(
            "rbox_formats",
            "rbox_formats.datasets",
            "rbox_formats.detection",
            "rbox_formats.predictions",
            "rbox_formats.sharding",
            "rbox_formats.images",
            "rbox_formats.ymir",
        ),
        *("rbox_formats.splitting", "rbox_formats.visualization", "rbox_formats.files", "rbox_formats.draw"),
        *("rbox_formats.synthetic", "rbox_metrics", "rbox_metrics.plots", "lmm_detector", "rbox_baselines"),
        "rbox_serve",
    ):
        for name in importlib.import_module(module).__all__:
            thing = getattr(importlib.import_module(module), name)
            members = vars(thing).items() if inspect.isclass(thing) else [("__init__", thing)]
            for member, function in members:
                function = getattr(function, "__func__", function)
                public = member == "__init__" or not member.startswith("_")
                if inspect.isfunction(function) and public and "Path" in str(inspect.signature(function).parameters):
                    found.add(f"{module}.{name}" if member == "__init__" else f"{module}.{name}.{member}")
    found.add("rbox_formats.detection.scenes_of")  # which takes images in any form, paths among them
    assert found == READ.keys() | WRITTEN.keys() | OTHERS
