"""The selective scan, the recurrence of Mamba: one function, and what computes it on each device."""

from rbox_baselines._scan._scan import BACKENDS, ScanBackend, selective_scan

__all__ = ["BACKENDS", "ScanBackend", "selective_scan"]
