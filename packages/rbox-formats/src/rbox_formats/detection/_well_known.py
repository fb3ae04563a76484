"""Geometries as well-known binary (OGC 06-103r4, 8.2), little endian."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

_POLYGON, _MULTIPOLYGON = 3, 6


def encode(geometry: Mapping[str, Any], several: bool = False) -> bytes:
    """Return GeoJSON's Polygon or MultiPolygon; as a MultiPolygon in either case if `several`."""
    is_multi = geometry["type"] == "MultiPolygon"
    polygons = geometry["coordinates"] if is_multi else [geometry["coordinates"]]
    encoded = [
        struct.pack("<BII", 1, _POLYGON, len(rings))
        + b"".join(struct.pack("<I", len(ring)) + np.asarray(ring, dtype="<f8").tobytes() for ring in rings)
        for rings in polygons
    ]
    if not (several or is_multi):
        return encoded[0]
    return struct.pack("<BII", 1, _MULTIPOLYGON, len(encoded)) + b"".join(encoded)


def encode_rings(rings: np.ndarray) -> np.ndarray:
    """Return closed rings (N, K, 2) as polygons, (N, bytes of each) uint8."""
    count, corners = rings.shape[:2]
    head = struct.pack("<BIII", 1, _POLYGON, 1, corners)
    encoded = np.empty((count, len(head) + 16 * corners), dtype=np.uint8)
    encoded[:, : len(head)] = np.frombuffer(head, dtype=np.uint8)
    encoded[:, len(head) :] = np.ascontiguousarray(rings, dtype="<f8").view(np.uint8).reshape(count, -1)
    return encoded
