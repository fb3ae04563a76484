"""GeoPackages, made by the standard."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def ring(points: Sequence[Any]) -> list[Any]:
    """Return corners that are clockwise on the screen as QGIS writes them: closed, counter-clockwise on the map."""
    return [points[0], *points[:0:-1], points[0]]


def geopackage(path: Path, *rows: tuple[bytes | None, str | None], system: int = 32631) -> Path:
    """Write one by OGC 12-128r19: the tables that the standard asks for, one of features, and a view without end."""
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as database:
        database.executescript(
            """
            CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY,
              organization TEXT NOT NULL, organization_coordsys_id INTEGER NOT NULL, definition TEXT, description TEXT);
            CREATE TABLE gpkg_contents (table_name TEXT PRIMARY KEY, data_type TEXT, identifier TEXT, srs_id INTEGER);
            CREATE TABLE gpkg_geometry_columns (table_name TEXT, column_name TEXT, geometry_type_name TEXT,
              srs_id INTEGER, z TINYINT, m TINYINT);
            CREATE TABLE "my labels" (fid INTEGER PRIMARY KEY, geom BLOB, class TEXT);
            CREATE VIEW endless AS
              WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS geom FROM n;
            INSERT INTO gpkg_spatial_ref_sys VALUES ('WGS 84 / UTM zone 31N', 32631, 'EPSG', 32631, '', '');
            INSERT INTO gpkg_geometry_columns VALUES ('endless', 'geom', 'POLYGON', 32631, 0, 0);
            """
        )
        database.execute("INSERT INTO gpkg_geometry_columns VALUES ('my labels', 'geom', 'POLYGON', ?, 0, 0)", [system])
        database.executemany('INSERT INTO "my labels" (geom, class) VALUES (?, ?)', rows)
    database.close()
    return path


def polygon(points: Sequence[Sequence[float]], order: str = "<", z: int = 0) -> bytes:
    """Return a polygon's blob, in either byte order, with or without a height."""
    closed = ring(list(points))
    numbers = [value for point in closed for value in (*point, *([7.0] * z))]
    mark = 1 if order == "<" else 0
    body = struct.pack(f"{order}BIII{len(numbers)}d", mark, 3 + 1000 * z, 1, len(closed), *numbers)
    return b"GP\x00" + bytes([mark]) + struct.pack(f"{order}i", 32631) + body
