"""What a request is answered: JSON, GeoJSON or a picture."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from rbox_formats import RboxError
from rbox_formats.datasets import geojson
from rbox_formats.detection import Prediction
from rbox_formats.predictions import Header

from rbox_serve.errors import RequestError, ServeError


def wanted(found: Prediction, labels: Sequence[int] | None) -> Prediction:
    """Return the objects of the classes that a request asks for; None: all."""
    return found if labels is None else found.select(np.isin(found.labels, labels))


def as_json(found: Prediction, header: Header, model: str, seconds: float) -> dict[str, Any]:
    """Return the answer as plain values; the README says what each is.

    Args:
        found: The objects.
        header: The first line of a predictions file with them.
        model: The model's name.
        seconds: How long the request took.
    """
    return {
        "model": model,
        "image": {"id": found.image_id, "width": found.width, "height": found.height},
        "header": header.to_dict(),
        "record": found.to_dict(),
        "names": found.names,
        "text": found.text,
        "spans": None if found.spans is None else found.spans.tolist(),
        "map": map_place(found.path),
        "seconds": round(seconds, 6),
    }


def map_place(image: Path | None) -> dict[str, Any] | None:
    """Return where an image lies on the map; None where nothing says it, or what says it is broken."""
    try:
        placement = None if image is None else geojson.find_placement(image)
    except RboxError:
        return None
    return None if placement is None else {"transform": list(placement[:6]), "crs": placement.crs}


def as_geojson(found: Prediction, crs: str | None) -> dict[str, Any]:
    """Return a feature collection, in map coordinates where the image has some; without a model's texts.

    Raises:
        RequestError: If another system of coordinates is asked for, and the image has none.
    """
    try:
        return replace(found, metadata={"status": found.status}, spans=None).to_geojson(crs=crs)
    except (RboxError, ImportError) as error:
        raise RequestError(message_of(error), remedy="Leave `crs` out for the image's own coordinates.") from error


def as_png(found: Prediction) -> bytes:
    """Return the image with its boxes."""
    buffer = BytesIO()
    found.plot().save(buffer, format="PNG")
    return buffer.getvalue()


def dumped(values: Any) -> bytes:
    """Return JSON."""
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def message_of(error: BaseException) -> str:
    """Return what an error says, without what to do."""
    return str(error).partition("\n")[0]


def as_error(error: RboxError, hidden: Sequence[str] = ()) -> dict[str, Any]:
    """Return an error as plain values.

    Args:
        error: The error.
        hidden: Regular expressions of what clients need not know: the folders in which files lie.
    """
    message, _, remedy = str(error).partition("\n")
    for pattern in hidden:
        message = re.sub(pattern, "", message)
    return {"error": {"message": message, "remedy": remedy or None}}


def status_of(error: RboxError) -> tuple[int, Mapping[str, str]]:
    """Return the status and the headers by which HTTP says an error."""
    return (error.status, error.headers) if isinstance(error, ServeError) else (400, {})
