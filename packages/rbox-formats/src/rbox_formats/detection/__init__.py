"""What a detector is and what it gives: one protocol for all packages, found by a path alone."""

from rbox_formats.detection._loading import ENTRY_POINTS, DetectorLoader, command_of, load_detector
from rbox_formats.detection._maps import check_geojson, write_geojson
from rbox_formats.detection._prediction import DetectedObject, Prediction, read_predictions
from rbox_formats.detection._protocol import Detector, PredictOptions, StepwiseDetector
from rbox_formats.detection._scenes import ImageLike, Scene, scenes_of
from rbox_formats.detection._steps import Listener, SceneWindow, Steps

__all__ = [
    "ENTRY_POINTS",
    "DetectedObject",
    "Detector",
    "DetectorLoader",
    "ImageLike",
    "Listener",
    "PredictOptions",
    "Prediction",
    "Scene",
    "SceneWindow",
    "Steps",
    "StepwiseDetector",
    "check_geojson",
    "command_of",
    "load_detector",
    "read_predictions",
    "scenes_of",
    "write_geojson",
]
