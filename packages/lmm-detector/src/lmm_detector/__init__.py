"""Fine-tune, run and score multimodal models that write rotated boxes as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbox_formats.images import find_images
    from rbox_formats.visualization import visualize
    from rbox_metrics import evaluate_file as evaluate

    from lmm_detector._convert import convert
    from lmm_detector._convert._merging import merge
    from lmm_detector._evaluation._evaluate import evaluate_checkpoints
    from lmm_detector._prediction._detector import Detector
    from lmm_detector._prediction._generation import Generation
    from lmm_detector._prediction._geojson import write_geojson
    from lmm_detector._prediction._predict import predict, read_predictions
    from lmm_detector._prediction._result import Prediction
    from lmm_detector._training._config import TrainConfig
    from lmm_detector._training._train import train

__version__ = "0.1.0"

__all__ = [
    "Detector",
    "Generation",
    "Prediction",
    "TrainConfig",
    "convert",
    "evaluate",
    "evaluate_checkpoints",
    "find_images",
    "merge",
    "predict",
    "read_predictions",
    "train",
    "visualize",
    "write_geojson",
]

# torch and transformers take seconds to import: each name brings its module when it is first used (PEP 562), so that
# `lmm-detector --help` and `import lmm_detector` answer at once.
_HOMES = {
    "Detector": ("lmm_detector._prediction._detector", "Detector"),
    "Generation": ("lmm_detector._prediction._generation", "Generation"),
    "Prediction": ("lmm_detector._prediction._result", "Prediction"),
    "TrainConfig": ("lmm_detector._training._config", "TrainConfig"),
    "convert": ("lmm_detector._convert", "convert"),
    "evaluate": ("rbox_metrics", "evaluate_file"),
    "evaluate_checkpoints": ("lmm_detector._evaluation._evaluate", "evaluate_checkpoints"),
    "find_images": ("rbox_formats.images", "find_images"),
    "merge": ("lmm_detector._convert._merging", "merge"),
    "predict": ("lmm_detector._prediction._predict", "predict"),
    "read_predictions": ("lmm_detector._prediction._predict", "read_predictions"),
    "train": ("lmm_detector._training._train", "train"),
    "visualize": ("rbox_formats.visualization", "visualize"),
    "write_geojson": ("lmm_detector._prediction._geojson", "write_geojson"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
