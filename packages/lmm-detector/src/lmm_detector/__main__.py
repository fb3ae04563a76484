"""`python -m lmm_detector`, which is how `torchrun` and `accelerate launch` start it."""

from __future__ import annotations

from lmm_detector.cli.main import main

main()
