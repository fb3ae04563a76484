"""The addresses that clients of TorchServe call, with the answers of MMRotate's handler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rbox_formats.detection import Prediction

from rbox_serve._detecting import Detecting
from rbox_serve._options import Options

#: The fields of a form that the handler takes an image from.
FIELDS = ("data", "body")

# What MMRotate's handler leaves out.
_THRESHOLD = 0.5
_TYPES: Mapping[int, str] = {
    404: "ModelNotFoundException",
    413: "RequestEntityTooLargeException",
    429: "ServiceUnavailableException",
    503: "ServiceUnavailableException",
}


async def predictions(detecting: Detecting) -> list[dict[str, Any]]:
    """Detect as MMRotate's handler answers: (cx, cy, w, h, angle) by class, in pixels and radians.

    Options in the address are those of `/v1/models/{name}/detect`.

    Raises:
        RboxError: If the request cannot be answered.
    """
    async with detecting.image(FIELDS) as upload:
        query = dict(detecting.request.query_params.multi_items())
        options = Options.of({"score_threshold": _THRESHOLD, **query}.items())
        return await detecting.detected(upload.path, options, as_list)


def as_list(found: Prediction) -> list[dict[str, Any]]:
    """Return boxes by their classes, and in each by falling score."""
    scores = np.ones(len(found)) if found.scores is None else found.scores
    order = np.lexsort((-scores, found.labels))
    return [
        {"class_name": found.names[place], "bbox": found.boxes[place].tolist(), "score": float(scores[place])}
        for place in order
    ]


def as_error(status: int, own: dict[str, Any]) -> dict[str, Any]:
    """Return an error as both kinds of clients read it.

    Args:
        status: Of HTTP.
        own: The error as other addresses answer it.
    """
    name = _TYPES.get(status, "BadRequestException" if status < 500 else "InternalServerException")
    return {"code": status, "type": name, "message": own["error"]["message"], **own}
