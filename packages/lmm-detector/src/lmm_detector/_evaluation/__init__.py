"""Detectors scored: one, or the checkpoints of a run side by side."""
