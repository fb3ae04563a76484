"""Checks the shape annotations of rbox_formats and rbox_metrics on every call that a test makes."""

from __future__ import annotations

import os

os.environ["RBOX_CHECK_SHAPES"] = "1"

from hypothesis import settings
from jaxtyping import install_import_hook

# An example's time depends on what else the machine does; tests that are about time measure it themselves.
settings.register_profile("workspace", deadline=None)
settings.load_profile("workspace")

# An int is a float here, as in Python's type hints (PEP 484).
install_import_hook(
    ["rbox_formats", "rbox_metrics"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)
