"""`python -m rbox_serve`."""

from __future__ import annotations

from rbox_serve.cli.main import main

if __name__ == "__main__":
    main(prog_name="rbox-serve")
