"""Clusters that are not where they are said to be."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from rbox_formats.errors import RboxError
from rbox_formats.sharding import Parts, RayCluster, detect_parts_on_ray, shards
from rbox_testing.telling import HEADER, Telling, scenes_of

pytest.importorskip("ray")


@pytest.mark.slow
@pytest.mark.timeout(60)  # Ray itself would try again for minutes
@pytest.mark.parametrize("scheme", [pytest.param("", marks=pytest.mark.variant), "ray://"])
def test_an_address_where_nothing_answers_is_said_at_once(scheme: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{scheme}127.0.0.1:{server.getsockname()[1]}"
    parts = Parts(tmp_path / "found.jsonl", HEADER)
    with pytest.raises(RboxError, match=f"expected a Ray cluster at {address}, got.*refused"):
        detect_parts_on_ray(Telling, shards(scenes_of([2]), 6), parts, RayCluster(address))
    with pytest.raises(RboxError, match=r"at 127\.0\.0\.1:port, got"):
        detect_parts_on_ray(Telling, shards(scenes_of([2]), 6), parts, RayCluster("127.0.0.1:port"))
