"""What the OpenAPI document shows of bodies and answers."""

from __future__ import annotations

from typing import Any

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_TEXT = "ship<loc_304><loc_231><loc_269><loc_312><loc_560><loc_435><loc_594><loc_353>"
_ANSWER = {
    "model": "demo",
    "image": {"id": "harbour", "width": 96, "height": 96},
    "header": {
        "schema_version": 1,
        "class_names": ["plane", "ship"],
        "fingerprint": "sha256:387a17",
        "codec": {"name": "florence2"},
        "generation": {},
        "dataset": {},
    },
    "record": {
        "image_id": "harbour",
        "width": 96,
        "height": 96,
        "boxes": [[41.5, 31.98, 30.33, 8.52, 0.4]],
        "quads": [[[29.23, 22.22], [25.87, 30.0], [53.81, 41.81], [57.07, 33.94]]],
        "labels": [1],
        "scores": [0.93],
        "status": "boxes",
        "windows": [{"window": [0, 0, 96], "text": _TEXT, "status": "boxes", "rejected": []}],
    },
    "names": ["ship"],
    "text": _TEXT,
    "spans": [[0, 4, 76]],
    "map": {"transform": [0.5, 0, 500000, 0, -0.5, 6000000], "crs": "EPSG:32631"},
    "seconds": 0.12,
}
_FEATURES = {
    "type": "FeatureCollection",
    "image_id": "harbour",
    "width": 96,
    "height": 96,
    "features": [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[29, 22], [57, 34], [54, 42], [26, 30], [29, 22]]]},
            "properties": {"class": "ship", "difficult": False, "angle": 22.98, "score": 0.93},
        }
    ],
}
_EVENTS = (
    'event: start\ndata: {"model":"demo","image":{"id":"harbour","width":96,"height":96},"windows":[[0,0,96]]}\n\n'
    'event: text\ndata: {"window":0,"text":"ship"}\n\n'
)
_ERROR = {
    "error": {
        "message": "expected a window of 0 for whole images, or 16 px or more, got 3",
        "remedy": "Leave it out for the windows that the detector was taught.",
    }
}

_REASONS = {
    400: "The request is not as it should be, or the image is broken",
    401: "The key is missing",
    403: "The path is outside of the folders that the server may read",
    404: "There is no such model, or no such file",
    413: "The image has too many bytes, pixels or windows",
    429: "Too many requests are waiting: see Retry-After",
    500: "The model failed",
    503: "The model is being loaded: see Retry-After",
    504: "The answer took too long",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of errors, by their status; of all where none is named."""
    content = {"application/json": {"example": _ERROR}}
    return {status: {"description": _REASONS[status], "content": content} for status in statuses or _REASONS}


DETECT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The boxes",
        "content": {
            "application/json": {"example": _ANSWER},
            "application/geo+json": {"example": _FEATURES},
            "image/png": _BINARY,
            "text/event-stream": {"example": _EVENTS},
        },
    },
    **errors(),
}

_OPTIONS: list[tuple[str, dict[str, Any], str]] = [
    (
        "format",
        {"type": "string", "enum": ["json", "geojson", "png", "events"]},
        "The answer. Default: as `Accept` says",
    ),
    ("window", {"type": "integer", "minimum": 0}, "Side of the windows in pixels; 0: whole images"),
    ("gap", {"type": "integer", "minimum": 0}, "Overlap of neighbouring windows in pixels"),
    ("score_threshold", {"type": "number", "minimum": 0, "maximum": 1}, "Drops boxes of a lower score"),
    ("class", {"type": "array", "items": {"type": "string"}}, "The classes that are wanted"),
    ("exact", {"type": "boolean"}, "Whether windows share their batches with no other request's"),
    ("crs", {"type": "string"}, "The system of coordinates of GeoJSON, such as EPSG:4326"),
]

DETECT: dict[str, Any] = {
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": description}
        for name, schema, description in _OPTIONS
    ],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {"type": "string", "format": "binary"},
                        **{name: schema for name, schema, _ in _OPTIONS},
                    },
                }
            },
            "image/*": _BINARY,
            "application/json": {
                "schema": {"type": "object", "required": ["path"], "properties": {"path": {"type": "string"}}},
                "example": {"path": "P0706.png", "window": 1024, "gap": 200},
            },
        },
    },
}

TORCHSERVE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"data": {"type": "string", "format": "binary"}}}
            },
            "image/*": _BINARY,
        },
    },
}
TORCHSERVE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The boxes",
        "content": {
            "application/json": {
                "example": [{"class_name": "ship", "bbox": [41.5, 32.0, 30.25, 8.5, 0.401], "score": 0.93}]
            }
        },
    },
    **errors(),
}

PICTURES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "format": "binary"}},
                }
            },
            "image/*": _BINARY,
            "application/json": {
                "schema": {"type": "object", "required": ["path"], "properties": {"path": {"type": "string"}}},
                "example": {"path": "P0706.tif"},
            },
        },
    },
}
PICTURES_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture",
        "headers": {
            f"X-Image-{side}": {"description": f"{side} of the image in pixels", "schema": {"type": "integer"}}
            for side in ("Width", "Height")
        }
        | {"X-Image-Map": {"description": "`map` of the answer of detect, as JSON", "schema": {"type": "string"}}},
        "content": {"image/png": _BINARY, "image/jpeg": _BINARY},
    },
    **errors(400, 401, 403, 404, 413, 429, 504),
}
