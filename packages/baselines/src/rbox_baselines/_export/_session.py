"""A detector in ONNX, which stands for the module that it was exported from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from rbox_formats.errors import quoted, said

from rbox_baselines._export._files import Description, require
from rbox_baselines._export._program import STRIDE
from rbox_baselines._ops._suppression import staying
from rbox_baselines.errors import ConfigError, ExportError


class Session:
    """Runs an exported detector with onnxruntime, an image at a time.

    Attributes:
        description: What the file says of itself.
    """

    def __init__(self, path: Path, device: str | None) -> None:
        """Open a file; nothing outside of it is read.

        Args:
            path: The file.
            device: "cpu", "cuda" or "cuda:N". None: the GPU, where onnxruntime has one.

        Raises:
            ExportError: If it is no file that `rbox-baselines export` wrote.
            ConfigError: If the device is not there.
        """
        require("onnx", "onnxruntime")
        import onnxruntime

        self.device, providers = _providers(device, onnxruntime.get_available_providers())
        self.description = Description.of_texts(_checked(path), path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors, without its notes on how it rewrites graphs
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=providers)
        except Exception as error:  # its classes are many
            raise ExportError(f"expected an ONNX file that can be run, got: {said(error)}", path=path) from error

    def test_step(self, batch: dict[str, Any]) -> list[Any]:
        """Detect the objects on images as mmdet's test pipeline prepares them.

        Args:
            batch: `inputs`, each (3, height, width) uint8, BGR; `data_samples`, which know how they were scaled.

        Returns:
            For each `pred_instances` with bboxes, scores and labels, in pixels of the image before it was scaled.
        """
        pairs = zip(batch["inputs"], batch["data_samples"], strict=True)
        return [SimpleNamespace(pred_instances=self._found(pixels.numpy(), sample)) for pixels, sample in pairs]

    def _found(self, pixels: np.ndarray, sample: Any) -> Any:
        import torch
        from mmrotate.structures.bbox import RotatedBoxes

        sides = pixels.shape[1:]
        if not self.description.is_padded and any(side % STRIDE for side in sides):
            raise ConfigError(f"expected sides in multiples of {STRIDE} px after resizing, got {sides[1]} x {sides[0]}")
        image = np.ascontiguousarray(pixels[None, ::-1], dtype=np.float32)
        boxes, scores, labels = (torch.from_numpy(each) for each in self._session.run(None, {"image": image}))
        factor = [1 / each for each in sample.scale_factor]
        if boxes.shape[1] == 5:
            turned = RotatedBoxes(boxes)
            turned.rescale_(factor)
            boxes = turned.tensor
        else:
            boxes = boxes * boxes.new_tensor(factor * 4)
        if not self.description.nms:
            kept = staying(_shapes(boxes), scores, self.description.nms_iou_threshold, labels)
            kept = kept[: self.description.max_detections]
            boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
        return SimpleNamespace(bboxes=boxes, scores=scores, labels=labels)


def _shapes(boxes: Any) -> Any:
    return boxes if boxes.shape[1] == 5 else boxes.unflatten(1, (4, 2))


def _providers(device: str | None, available: list[str]) -> tuple[str, list[Any]]:
    """Return the device, and onnxruntime's name for it.

    Raises:
        ConfigError: If it is not there.
    """
    cuda = "CUDAExecutionProvider"
    kind, _, number = (device or ("cuda" if cuda in available else "cpu")).partition(":")
    if kind == "cpu":
        return "cpu", ["CPUExecutionProvider"]
    if kind != "cuda" or not (number or "0").isdigit() or cuda not in available:
        raise ConfigError(
            f"expected a device that onnxruntime has here ({', '.join(available)}), got {quoted(device)}",
            remedy="pip install onnxruntime-gpu for a GPU of NVIDIA.",
        )
    return f"{kind}:{number or 0}", [(cuda, {"device_id": int(number or 0)})]


def _checked(path: Path) -> dict[str, str]:
    """Return the entries of an ONNX file which holds all its weights itself.

    Raises:
        ExportError: If it cannot be read, or names other files.
    """
    import onnx
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    try:
        model = onnx.load(path, load_external_data=False)
    except FileNotFoundError as error:
        raise ExportError("expected an ONNX file, found none", path=path) from error
    except Exception as error:  # protobuf's and onnx's own
        raise ExportError(f"expected an ONNX file, got {said(error)}", path=path) from error
    if any(uses_external_data(tensor) for tensor in _get_all_tensors(model)):
        raise ExportError("expected a file that holds its weights, got one that names other files", path=path)
    return {entry.key: entry.value for entry in model.metadata_props}
