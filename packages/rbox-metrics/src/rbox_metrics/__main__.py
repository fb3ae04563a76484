"""`python -m rbox_metrics`."""

from __future__ import annotations

from rbox_metrics.cli.main import main

if __name__ == "__main__":
    main(prog_name="rbox-metrics")
