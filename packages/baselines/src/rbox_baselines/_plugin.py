"""What `rbox_formats.detection.load_detector` finds this package's detectors by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rbox_baselines._prediction._detector import Detector

COMMAND = "rbox-baselines"


def is_detector(path: str | Path) -> bool:
    """Tell whether a path is a checkpoint of mmengine or MMRotate, or an ONNX file, by its suffix."""
    path = Path(path)
    return path.suffix.lower() in (".pth", ".onnx") and path.is_file()


def load_detector(path: str | Path, *, device: str | None = None) -> Detector:
    """Load it by the config that it carries.

    Args:
        path: The file.
        device: The device to detect on, such as "cpu" or "cuda:0". None: the GPU, where there is one.
    """
    from rbox_baselines._prediction._detector import Detector

    if Path(path).suffix.lower() == ".onnx":
        return Detector.from_onnx(path, device=device)
    return Detector.from_checkpoint(path, device=device)
