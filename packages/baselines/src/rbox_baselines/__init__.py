"""Conventional oriented detectors (MMRotate's), trained, run and scored beside multimodal ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rbox_formats import lazy

if TYPE_CHECKING:
    from rbox_formats.detection import Prediction, read_predictions, write_geojson
    from rbox_metrics import evaluate_file

    from rbox_baselines._configs._load import Data
    from rbox_baselines._configs._load import load as load_config
    from rbox_baselines._distillation._distill import distill
    from rbox_baselines._distillation._settings import CorruptionPlace, CorruptionSchedule, Distillation, FeatureLoss
    from rbox_baselines._prediction._detector import Detector
    from rbox_baselines._prediction._predict import predict
    from rbox_baselines._prediction._views import Views
    from rbox_baselines._scan import ScanBackend, selective_scan
    from rbox_baselines._stack._mmcv import enable_mmcv_ops
    from rbox_baselines._tools._convert import convert_checkpoint
    from rbox_baselines._tools._results import load_results
    from rbox_baselines._training._train import Launcher, train
else:
    # torch and MMRotate take seconds to import: each name brings its module when it is first used.
    __getattr__, __dir__ = lazy.attach(
        __name__,
        {
            "Data": "rbox_baselines._configs._load",
            "CorruptionPlace": "rbox_baselines._distillation._settings",
            "CorruptionSchedule": "rbox_baselines._distillation._settings",
            "Distillation": "rbox_baselines._distillation._settings",
            "FeatureLoss": "rbox_baselines._distillation._settings",
            "distill": "rbox_baselines._distillation._distill",
            "Detector": "rbox_baselines._prediction._detector",
            "Prediction": "rbox_formats.detection",
            "Launcher": "rbox_baselines._training._train",
            "Views": "rbox_baselines._prediction._views",
            "convert_checkpoint": "rbox_baselines._tools._convert",
            "enable_mmcv_ops": "rbox_baselines._stack._mmcv",
            "evaluate_file": "rbox_metrics",
            "load_config": "rbox_baselines._configs._load:load",
            "load_results": "rbox_baselines._tools._results",
            "predict": "rbox_baselines._prediction._predict",
            "read_predictions": "rbox_formats.detection",
            "ScanBackend": "rbox_baselines._scan",
            "selective_scan": "rbox_baselines._scan",
            "train": "rbox_baselines._training._train",
            "write_geojson": "rbox_formats.detection",
        },
        renamed={"evaluate": "evaluate_file"},
    )

__version__ = "0.1.0"

__all__ = [
    "CorruptionPlace",
    "CorruptionSchedule",
    "Data",
    "Detector",
    "Distillation",
    "FeatureLoss",
    "Launcher",
    "Prediction",
    "ScanBackend",
    "Views",
    "convert_checkpoint",
    "distill",
    "enable_mmcv_ops",
    "evaluate_file",
    "load_config",
    "load_results",
    "predict",
    "read_predictions",
    "selective_scan",
    "train",
    "write_geojson",
]
