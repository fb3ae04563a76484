"""What `rbox_formats.detection.load_detector` finds this package's detectors by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lmm_detector._model_files import shipped
from lmm_detector._spec import FILE_NAME

if TYPE_CHECKING:
    from lmm_detector._prediction._detector import Detector

COMMAND = "lmm-detector"


def is_detector(path: str | Path) -> bool:
    """Tell whether a path is a trained detector's folder, or the name of one that comes with the package."""
    return (Path(shipped(path)) / FILE_NAME).is_file()


def load_detector(path: str | Path, *, device: str | None = None) -> Detector:
    """Load it in float32.

    Args:
        path: The folder, or the name.
        device: Such as "cpu" or "cuda:0". None: the best that there is.
    """
    from lmm_detector._prediction._detector import Detector

    return Detector.from_pretrained(path, device=device)
