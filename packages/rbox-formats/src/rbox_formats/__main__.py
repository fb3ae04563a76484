"""`python -m rbox_formats`."""

from __future__ import annotations

from rbox_formats.cli.main import main

if __name__ == "__main__":
    main(prog_name="rbox-formats")
