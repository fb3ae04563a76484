"""Systems of coordinates: their names, and points from one to another."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rbox_formats.errors import DatasetError, quoted, said

_INSTALL = "To transform coordinates: pip install rbox-formats[geo]."


def known_crs(name: str) -> str:
    """Return the authority and code of a system of coordinates, such as "EPSG:32631".

    Args:
        name: Such a code, or another text that PROJ knows.

    Raises:
        DatasetError: If PROJ does not know it, it has no code, or rasterio is not installed.
    """
    try:
        from rasterio.crs import CRS
    except ImportError as error:
        raise DatasetError("expected rasterio for another system of coordinates", remedy=_INSTALL) from error
    try:
        found = CRS.from_user_input(name).to_authority()
    except Exception as error:  # PROJ's words come as classes that rasterio does not make public
        raise DatasetError(
            f"expected a system of coordinates, got {quoted(name)}: {said(error)}", remedy="Give its code: EPSG:4326."
        ) from error
    if found is None:
        raise DatasetError(
            f"expected a system of coordinates that has a code, got {quoted(name)}", remedy="Give its code: EPSG:4326."
        )
    return ":".join(found)


def transformed(points: np.ndarray, source: str, target: str, path: Path | None, remedy: str) -> np.ndarray:
    """Return points (N, 2) of one system in another; infinite where that cannot hold them.

    Args:
        points: x and y, longitude and latitude where a system has these.
        source: The system that they are in.
        target: The system wanted.
        path: The file that they are of, for errors.
        remedy: What to do where it is not possible.

    Raises:
        DatasetError: If PROJ cannot do it, or rasterio is not installed.
    """
    try:
        from rasterio.warp import transform
    except ImportError as error:
        message = f"expected coordinates in {target}, got some in {source}"
        raise DatasetError(message, path=path, remedy=f"{_INSTALL} {remedy}") from error
    try:
        x, y = transform(source, target, points[:, 0].tolist(), points[:, 1].tolist())
    except Exception as error:  # PROJ's words come as classes that rasterio does not make public
        message = f"expected coordinates in {source} that can be transformed to {target}, got: {said(error)}"
        raise DatasetError(message, path=path, remedy=remedy) from error
    return np.stack([np.array(x, dtype=np.float64), np.array(y, dtype=np.float64)], axis=-1)
