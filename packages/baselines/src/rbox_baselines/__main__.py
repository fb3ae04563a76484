"""`python -m rbox_baselines`, which torchrun starts."""

from __future__ import annotations

from rbox_baselines.cli.main import main

if __name__ == "__main__":
    main(prog_name="rbox-baselines")
