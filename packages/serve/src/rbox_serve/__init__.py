"""Detectors of rotated boxes over HTTP, of any package that follows `rbox_formats.detection.Detector`."""

__version__ = "0.1.0"
