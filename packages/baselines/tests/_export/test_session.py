"""Files of exported detectors: what they say, what is refused, and how their boxes come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from rbox_baselines import Detector
from rbox_baselines._export import _files
from rbox_baselines._export._files import Description
from rbox_baselines.errors import ConfigError, ExportError
from rbox_formats import detection

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def detector(mmrotate: ModuleType, checkpoint: Path) -> Detector:
    return Detector.from_checkpoint(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def description(detector: Detector) -> Description:
    """What `export` writes of the small RetinaNet."""
    said: list[Description] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_files, "write", lambda model, description, side, path: said.append(description))
        detector.export("model.onnx")
    return said[0]


@pytest.fixture
def write(tmp_path: Path, description: Description) -> Callable[..., Path]:
    """Write an ONNX file whose detector always finds the same boxes, with some entries."""

    def write(entries: dict[str, str] | None = None, boxes: Any = (), scores: Any = (), outside: bool = False) -> Path:
        values = {
            "boxes": np.array(boxes, np.float32).reshape(-1, 5),
            "scores": np.array(scores, np.float32),
            "labels": np.zeros(len(scores), np.int64),
        }
        tensors = [onnx.numpy_helper.from_array(value, f"{name}_value") for name, value in values.items()]
        nodes = [onnx.helper.make_node("Identity", [f"{name}_value"], [name]) for name in values]
        kinds = {"boxes": onnx.TensorProto.FLOAT, "scores": onnx.TensorProto.FLOAT, "labels": onnx.TensorProto.INT64}
        image = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, None, None])
        outputs = [onnx.helper.make_tensor_value_info(name, kind, values[name].shape) for name, kind in kinds.items()]
        graph = onnx.helper.make_graph(nodes, "detector", [image], outputs, tensors)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
        for key, text in (description.to_texts() if entries is None else entries).items():
            model.metadata_props.add(key=key, value=text)
        if outside:
            secret = tmp_path / "secret"
            secret.write_bytes(b"\0" * 64)
            tensor = model.graph.initializer[0]
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="../secret")
        path = tmp_path / "folder" / "model.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(model.SerializeToString())
        return path

    return write


def test_a_file_says_what_it_is(description: Description, detector: Detector) -> None:
    assert description.class_names == tuple(detector.class_names)
    assert description.nms
    assert description.nms_iou_threshold == 0.1
    assert description.max_detections == 2000
    assert description.is_padded
    texts = description.to_texts()
    assert "radians, clockwise" in texts["boxes"]
    assert Description.of_texts(texts, Path("model.onnx")) == description


def test_boxes_come_back_in_pixels_of_the_image(write: Callable[..., Path], detector: Detector) -> None:
    """The small model sees 64 px; an image of 128 x 96 is halved before."""
    exported = Detector.from_onnx(write(boxes=[[32, 24, 20, 10, 0.5]], scores=[0.75]), device="cpu")
    found = exported.predict(np.zeros((96, 128, 3), np.uint8))
    np.testing.assert_allclose(found.boxes, [[64, 48, 40, 20, 0.5]], atol=1e-4)
    np.testing.assert_allclose(found.scores, [0.75])
    assert exported.input_side == detector.input_side
    assert exported.fingerprint.startswith("sha256:")
    assert "on cpu" in repr(exported)


def test_boxes_that_were_not_suppressed_are(write: Callable[..., Path], description: Description) -> None:
    boxes, scores = [[32, 24, 20, 10, 0.5], [33, 24, 20, 10, 0.5], [10, 10, 5, 4, 0]], [0.5, 0.75, 0.6]
    outside = replace(description, nms=False).to_texts()
    image = np.zeros((64, 64, 3), np.uint8)
    found = Detector.from_onnx(write(outside, boxes, scores), device="cpu").predict(image)
    np.testing.assert_allclose(found.scores, [0.75, 0.6])
    assert len(Detector.from_onnx(write(None, boxes, scores), device="cpu").predict(image)) == 3


def test_it_is_loaded_as_every_detector_is(write: Callable[..., Path]) -> None:
    path = write(boxes=[[32, 24, 20, 10, 0.5]], scores=[0.75])
    assert detection.command_of(path) == "rbox-baselines"
    assert len(detection.load_detector(path, device="cpu").predict(np.zeros((64, 64, 3), np.uint8))) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rbox_baselines": "9"}, "expected a file that `rbox-baselines export` wrote"),
        ({"class_names": '"plane"'}, "expected class_names in the file to be a list"),
        ({"class_names": "[1]"}, "expected class_names in the file to be names"),
        ({"max_detections": "many"}, "expected max_detections in the file to be a int"),
        ({"config": "\"model = dict(type='os.system')\""}, "'os.system'"),
        ({"config": '"import os"'}, "config"),
    ],
)
def test_another_description_is_refused(
    change: dict[str, str], said: str, write: Callable[..., Path], description: Description
) -> None:
    path = write({**description.to_texts(), **change})
    with pytest.raises(ExportError) as error:
        Detector.from_onnx(path, device="cpu")
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_of_another_tool_is_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="without its description"):
        Detector.from_onnx(write({"names": "{0: 'plane'}", "task": "obb"}), device="cpu")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ExportError, match="expected an ONNX file"):
        Detector.from_onnx(tmp_path / "text.onnx", device="cpu")
    with pytest.raises(ExportError, match="found none"):
        Detector.from_onnx(tmp_path / "missing.onnx", device="cpu")


def test_no_other_file_is_read(write: Callable[..., Path]) -> None:
    with pytest.raises(ExportError, match="got one that names other files"):
        Detector.from_onnx(write(boxes=[[1, 2, 3, 2, 0]], scores=[1], outside=True), device="cpu")


def test_a_device_that_is_not_there(write: Callable[..., Path]) -> None:
    for device in ("cuda:7", "tpu", "cuda:x"):
        with pytest.raises(ConfigError, match=device):
            Detector.from_onnx(write(), device=device)


def test_what_cannot_be_exported(write: Callable[..., Path], detector: Detector, tmp_path: Path) -> None:
    exported = Detector.from_onnx(write(), device="cpu")
    for use in (
        lambda: exported.export(tmp_path / "again.onnx"),
        lambda: exported.with_thresholds(score=0.5),
        lambda: exported.features([np.zeros((64, 64, 3), np.uint8)]),
    ):
        with pytest.raises(ExportError, match="expected a detector of a checkpoint, got an exported one"):
            use()
    with pytest.raises(ExportError, match=r"\.onnx or \.pt2"):
        detector.export(tmp_path / "model.engine")


def test_sides_that_the_network_cannot_take(write: Callable[..., Path], description: Description) -> None:
    exported = Detector.from_onnx(write(replace(description, is_padded=False).to_texts()), device="cpu")
    with pytest.raises(ConfigError, match="multiples of 32 px after resizing, got 64 x 48"):
        exported.predict(np.zeros((96, 128, 3), np.uint8))


def test_all_of_a_description_is_written(description: Description) -> None:
    assert set(asdict(description)) < set(description.to_texts())
