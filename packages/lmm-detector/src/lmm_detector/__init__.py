"""Fine-tune, run and score multimodal models that write rotated boxes as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbox_metrics import evaluate_file as evaluate

    from lmm_detector._config import TrainConfig
    from lmm_detector._convert import convert
    from lmm_detector._detector import Detector
    from lmm_detector._prediction import predict
    from lmm_detector._training import train
    from lmm_detector._visualization import visualize

__version__ = "0.1.0"

__all__ = ["Detector", "TrainConfig", "convert", "evaluate", "predict", "train", "visualize"]

# torch and transformers take seconds to import: each name brings its module when it is first used (PEP 562), so that
# `lmm-detector --help` and `import lmm_detector` answer at once.
_HOMES = {
    "Detector": ("lmm_detector._detector", "Detector"),
    "TrainConfig": ("lmm_detector._config", "TrainConfig"),
    "convert": ("lmm_detector._convert", "convert"),
    "evaluate": ("rbox_metrics", "evaluate_file"),
    "predict": ("lmm_detector._prediction", "predict"),
    "train": ("lmm_detector._training", "train"),
    "visualize": ("lmm_detector._visualization", "visualize"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
