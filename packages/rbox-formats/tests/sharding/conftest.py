"""What one process writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rbox_formats.sharding import Merge, Parts, Shard
from rbox_testing.telling import HEADER, compute, together


@pytest.fixture
def at_once(tmp_path: Path) -> Callable[[Sequence[Shard]], bytes]:
    """What one process writes that is never stopped."""

    def run(plan: Sequence[Shard], merge: Merge = together) -> bytes:
        parts = Parts(tmp_path / "at-once.jsonl", HEADER)
        compute(plan, parts)
        parts.join(plan, merge)
        return parts.out.read_bytes()

    return run
