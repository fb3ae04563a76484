"""Read GeoPackages: the polygons in their tables, and their other columns.

It is a SQLite database. `gpkg_geometry_columns` names the tables of features, `gpkg_spatial_ref_sys` their systems, and
a geometry is a blob: "GP", a version, flags, the number of the system, an envelope whose length the flags say, and then
well-known binary. A database may hold statements of its own (views, virtual tables): only plain tables are read, and a
query that takes too long is ended.

Source: OGC 12-128r19, GeoPackage Encoding Standard 1.4, clauses 2.1.2 to 2.1.5; OGC 06-103r4, 8.2 (well-known binary).
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from rbox_formats.errors import DatasetError, quoted, said
from rbox_formats.parsing.lines import MOST_CORNERS

_ENVELOPES = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}  # bytes, by three bits of the flags
_POLYGON, _MULTIPOLYGON = 3, 6
_HAS_Z, _HAS_M, _HAS_SRID = 0x80000000, 0x40000000, 0x20000000  # PostGIS' marks of further dimensions
_STEPS, _MOST_STEPS = 1_000_000, 5_000  # SQLite instructions between two checks of the time, and the number of checks
_HEADER = b"SQLite format 3\0"


class Row(NamedTuple):
    """A feature.

    Attributes:
        outlines: The exterior rings of its polygons, each as x1, y1, x2, y2, ...; None for a geometry of another kind.
        properties: The other columns by their names.
        crs: The coordinate reference system, such as "EPSG:32631", or None if the file has none.
        where: The table and the row, for errors.
    """

    outlines: list[list[float]] | None
    properties: dict[str, Any]
    crs: str | None
    where: str


def read(path: Path) -> list[Row]:
    """Return the features of all tables.

    Raises:
        DatasetError: If the file is not a GeoPackage, or a geometry is broken.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_HEADER)) != _HEADER:
                raise DatasetError("expected a GeoPackage, got a file that is no SQLite database", path=path)
        address = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
        with closing(sqlite3.connect(address, uri=True)) as database:
            looks = iter(range(_MOST_STEPS))
            database.set_progress_handler(lambda: next(looks, None) is None, _STEPS)
            database.execute("PRAGMA trusted_schema = OFF")
            database.text_factory = lambda content: content.decode(errors="replace")
            return list(_rows(database, path))
    except sqlite3.Error as error:
        raise DatasetError(f"expected a GeoPackage, got: {said(error)}", path=path) from error
    except OSError as error:
        raise DatasetError(f"expected a file that can be read, got: {error.strerror}", path=path) from error
    except (OverflowError, MemoryError, ValueError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"expected a GeoPackage, got: {said(error)}", path=path) from error


def _rows(database: sqlite3.Connection, path: Path) -> Iterator[Row]:
    systems = {
        number: f"{organization}:{code}"
        for number, organization, code in database.execute(
            "SELECT srs_id, organization, organization_coordsys_id FROM gpkg_spatial_ref_sys"
        )
        if isinstance(organization, str) and isinstance(code, int) and code > 0
    }
    plain = {
        name
        for name, statement in database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        if isinstance(statement, str) and not statement.lstrip().upper().startswith("CREATE VIRTUAL")
    }
    columns = database.execute("SELECT table_name, column_name, srs_id FROM gpkg_geometry_columns").fetchall()
    for table, column, system in columns:
        if table not in plain:
            continue
        cursor = database.execute(f"SELECT * FROM {_identifier(table)}")
        names = [str(description[0]) for description in cursor.description]
        if column not in names:
            raise DatasetError(f"expected a column {quoted(column)} in {quoted(table)}, found none", path=path)
        for number, values in enumerate(cursor, start=1):
            properties = dict(zip(names, values, strict=True))
            where = f"row {number} of {quoted(table)}"
            outlines = _outlines(properties.pop(column), where, path)
            yield Row(outlines, properties, systems.get(system), where)


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _outlines(blob: Any, where: str, path: Path) -> list[list[float]] | None:
    if blob is None:
        return None
    try:
        if not isinstance(blob, bytes) or blob[:2] != b"GP":
            raise ValueError("no geometry of a GeoPackage")
        flags = blob[3]
        start = 8 + _ENVELOPES[flags >> 1 & 7]
        outlines: list[list[float]] = []
        if not flags & 0x10:  # else it is empty
            _geometry(blob, start, outlines)
        return outlines or None
    except (ValueError, KeyError, IndexError, struct.error) as error:
        raise DatasetError(f"{where}: expected a whole geometry, got: {said(error)}", path=path) from error


def _geometry(blob: bytes, start: int, outlines: list[list[float]], *, within: bool = False) -> int:
    """Append the exterior rings of a polygon or multipolygon, and return the position after it."""
    order = {0: ">", 1: "<"}[blob[start]]
    (kind,) = struct.unpack_from(f"{order}I", blob, start + 1)
    start += 5 + (4 if kind & _HAS_SRID else 0)
    thousands, plain = divmod(kind & 0x0FFFFFFF, 1000)
    dimensions = {0: 2, 1: 3, 2: 3, 3: 4}[thousands] + bool(kind & _HAS_Z) + bool(kind & _HAS_M)
    if plain not in (_POLYGON, _MULTIPOLYGON) or (within and plain == _MULTIPOLYGON):
        return start
    (count,) = struct.unpack_from(f"{order}I", blob, start)
    start += 4
    if plain == _MULTIPOLYGON:
        for _ in range(min(count, len(blob))):
            start = _geometry(blob, start, outlines, within=True)
        return start
    for ring in range(min(count, len(blob))):
        (points,) = struct.unpack_from(f"{order}I", blob, start)
        start += 4
        if points > MOST_CORNERS:
            raise ValueError(f"an outline of {points:,} corners, more than {MOST_CORNERS:,}")
        values = struct.unpack_from(f"{order}{points * dimensions}d", blob, start)
        start += 8 * points * dimensions
        if ring == 0 and points:
            outlines.append([value for i in range(points) for value in values[i * dimensions : i * dimensions + 2]])
    return start
