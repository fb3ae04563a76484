"""Serve the demonstration: the small Florence-2 that comes with lmm-detector, and a small Rotated RetinaNet beside it.

    hatch run serve-demo

The RetinaNet is that of `hatch run demo-baseline`. If there is none yet, it is trained first, in some minutes. Options
are those of `rbox-serve run`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUN = ROOT / "runs" / "demo-baseline"
DONE = RUN / "sheet.png"  # the last thing that the other demonstration writes


def main() -> int:
    """Train what is missing, and serve."""
    if not DONE.exists():
        subprocess.run([sys.executable, ROOT / "tools" / "demo_baseline.py", "--out", RUN], check=True)
    checkpoint = max((RUN / "training").glob("epoch_*.pth"), key=lambda path: path.stat().st_mtime)
    from rbox_serve.cli.main import main as rbox_serve

    result: int = rbox_serve(["run", "--demo", "--model", f"retinanet={checkpoint}", *sys.argv[1:]])
    return result


if __name__ == "__main__":
    sys.exit(main())
