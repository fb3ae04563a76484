"""Where things lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The workspace."""

SHARED = ROOT.parent / "shared"
"""Real images and labels, which stand beside the workspace on some machines: tests that use them skip without."""
