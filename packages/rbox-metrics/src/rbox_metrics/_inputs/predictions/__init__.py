"""Reads detections from files of many kinds into one kind of dataset."""

from rbox_metrics._inputs.predictions._read import KINDS, kind_of, paths_of, read_predictions
from rbox_metrics._inputs.predictions._source import ANGLES, Predictions

__all__ = ["ANGLES", "KINDS", "Predictions", "kind_of", "paths_of", "read_predictions"]
