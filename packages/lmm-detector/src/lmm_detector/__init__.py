"""Fine-tune, run and score multimodal models that write rotated boxes as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rbox_formats import lazy

if TYPE_CHECKING:
    from rbox_formats.detection import Prediction, read_predictions, write_geojson
    from rbox_formats.images import find_images
    from rbox_metrics import evaluate_file

    from lmm_detector._convert import convert_checkpoint
    from lmm_detector._convert._merging import merge_adapters
    from lmm_detector._evaluation._evaluate import evaluate_checkpoints
    from lmm_detector._evaluation._pictures import visualize
    from lmm_detector._prediction._detector import Detector
    from lmm_detector._prediction._generation import Generation
    from lmm_detector._prediction._predict import predict
    from lmm_detector._publishing._push import push_to_hub
    from lmm_detector._training._config import TrainConfig
    from lmm_detector._training._train import train
else:
    # torch and transformers take seconds to import: each name brings its module when it is first used.
    __getattr__, __dir__ = lazy.attach(
        __name__,
        {
            "Detector": "lmm_detector._prediction._detector",
            "Generation": "lmm_detector._prediction._generation",
            "Prediction": "rbox_formats.detection",
            "TrainConfig": "lmm_detector._training._config",
            "convert_checkpoint": "lmm_detector._convert",
            "evaluate_file": "rbox_metrics",
            "evaluate_checkpoints": "lmm_detector._evaluation._evaluate",
            "find_images": "rbox_formats.images",
            "merge_adapters": "lmm_detector._convert._merging",
            "predict": "lmm_detector._prediction._predict",
            "push_to_hub": "lmm_detector._publishing._push",
            "read_predictions": "rbox_formats.detection",
            "train": "lmm_detector._training._train",
            "visualize": "lmm_detector._evaluation._pictures",
            "write_geojson": "rbox_formats.detection",
        },
        renamed={"convert": "convert_checkpoint", "merge": "merge_adapters", "evaluate": "evaluate_file"},
    )

__version__ = "0.1.0"

__all__ = [
    "Detector",
    "Generation",
    "Prediction",
    "TrainConfig",
    "convert_checkpoint",
    "evaluate_checkpoints",
    "evaluate_file",
    "find_images",
    "merge_adapters",
    "predict",
    "push_to_hub",
    "read_predictions",
    "train",
    "visualize",
    "write_geojson",
]
