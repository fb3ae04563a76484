"""Detections in files of many kinds, as one kind of dataset."""

from rbox_metrics._inputs.predictions._read import KINDS, kind_of, read_predictions
from rbox_metrics._inputs.predictions._source import Predictions

__all__ = ["KINDS", "Predictions", "kind_of", "read_predictions"]
