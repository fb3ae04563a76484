"""Conventional oriented detectors (MMRotate's), trained, run and scored beside multimodal ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbox_metrics import evaluate_file as evaluate

    from rbox_baselines._configs._load import Data
    from rbox_baselines._configs._load import load as load_config
    from rbox_baselines._prediction._detector import Detector
    from rbox_baselines._prediction._predict import Views, predict
    from rbox_baselines._stack._mmcv import enable_mmcv_ops
    from rbox_baselines._tools._results import load_results
    from rbox_baselines._training._train import train

__version__ = "0.1.0"

__all__ = [
    "Data",
    "Detector",
    "Views",
    "enable_mmcv_ops",
    "evaluate",
    "load_config",
    "load_results",
    "predict",
    "train",
]

# torch and MMRotate take seconds to import: each name brings its module when it is first used (PEP 562), so that
# `rbox-baselines --help` and `import rbox_baselines` answer at once.
_HOMES = {
    "Data": ("rbox_baselines._configs._load", "Data"),
    "Detector": ("rbox_baselines._prediction._detector", "Detector"),
    "Views": ("rbox_baselines._prediction._predict", "Views"),
    "enable_mmcv_ops": ("rbox_baselines._stack._mmcv", "enable_mmcv_ops"),
    "evaluate": ("rbox_metrics", "evaluate_file"),
    "load_config": ("rbox_baselines._configs._load", "load"),
    "load_results": ("rbox_baselines._tools._results", "load_results"),
    "predict": ("rbox_baselines._prediction._predict", "predict"),
    "train": ("rbox_baselines._training._train", "train"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
