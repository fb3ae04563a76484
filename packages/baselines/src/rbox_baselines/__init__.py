"""Conventional oriented detectors (MMRotate's), trained, run and scored beside multimodal ones."""

__version__ = "0.1.0"

__all__: list[str] = []
