"""How much work a call is, in numbers that no clock and no other process changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def calls(function: Callable[[], Any]) -> int:
    """Return the number of functions, Python's and C's, that are called while one runs.

    It runs twice and the second time counts: the first compiles patterns and imports modules, thousands of calls.
    """
    function()
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count
