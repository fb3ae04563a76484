"""What a line of a predictions file holds: its types for msgspec, and records from them and back."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType

from rbox_formats._records import ImageRecord
from rbox_formats.errors import FormatsError, PredictionsError
from rbox_formats.masks import Mask, PolygonMask, RunMask
from rbox_formats.parsing.lines import LARGEST

SCHEMA_REMEDY = "docs/predictions.schema.json says what a line holds; NaN and Infinity are no JSON."
SHOWN = 80
"""The characters of a line, a name or a reason in an error."""

# The types of the schema. JSON's whole numbers may have a point: 640.0 is one, and what is none is found afterwards.
_Number = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
_Side = Annotated[float, Meta(ge=0, le=LARGEST)]
_Point = tuple[_Number, _Number]
_Whole = Annotated[int, Meta(ge=-int(LARGEST), le=int(LARGEST))] | _Number
_Count = Annotated[int, Meta(ge=0, le=int(LARGEST))] | _Side
_Pixels = Annotated[int, Meta(ge=1, le=int(LARGEST))] | Annotated[float, Meta(ge=1, le=LARGEST)]
_Status = Literal["boxes", "empty", "truncated", "repeated", "failed"]
STATUSES: tuple[str, ...] = get_args(_Status)
# A name with at least one character that lookup does not ignore.
_Name = Annotated[str, Meta(pattern=r"[^\s_-]")]


class FirstLine(Struct, forbid_unknown_fields=True):
    """The header."""

    schema_version: int | float
    class_names: list[_Name]
    fingerprint: str
    codec: dict[str, Any] | None
    generation: dict[str, Any]
    dataset: dict[str, Any]


class _Version(Struct):
    """The part of a header that is read first, since another version may have other keys."""

    schema_version: int | float


class _Window(Struct, forbid_unknown_fields=True):
    """A window's answer."""

    window: tuple[_Whole, _Whole, _Pixels]
    text: str
    status: _Status
    rejected: list[tuple[_Count, _Count, str]]
    asked: str | UnsetType = msgspec.field(name="class", default=UNSET)


class _RunLengths(Struct, forbid_unknown_fields=True):
    """A mask as COCO's compressed run lengths."""

    size: tuple[_Count, _Count]
    counts: str


_Mask = list[Annotated[list[_Number], Meta(min_length=6)]] | _RunLengths


class _Line(Struct, forbid_unknown_fields=True):
    """An image."""

    image_id: str
    width: _Pixels | None
    height: _Pixels | None
    boxes: list[tuple[_Number, _Number, _Side, _Side, _Number]]
    quads: list[tuple[_Point, _Point, _Point, _Point]] | None
    labels: list[_Count]
    scores: list[_Number] | None
    status: _Status | UnsetType = UNSET
    windows: list[_Window] | UnsetType = UNSET
    masks: list[_Mask] | UnsetType = UNSET


decode_line = msgspec.json.Decoder(_Line).decode
decode_windows = msgspec.json.Decoder(list[_Window]).decode
decode_mask = msgspec.json.Decoder(_Mask).decode
decode_header = msgspec.json.Decoder(FirstLine).decode
decode_version = msgspec.json.Decoder(_Version).decode

# The errors of a decoder for a line of other types, or one that is not JSON.
NOT_AS_SAID = (ValueError, OverflowError, RecursionError, msgspec.MsgspecError)


def refusal(expected: str, line: str | bytes, error: Exception, path: Path, number: int) -> PredictionsError:
    """Return the error for a line of a file that is not as expected; its text holds the line's beginning."""
    start = line[:SHOWN] if isinstance(line, str) else line[:SHOWN].decode("utf-8", errors="replace")
    reason = str(error)
    # The place of the fault stands at the end.
    reason = reason if len(reason) <= 2 * SHOWN else f"{reason[:SHOWN]} ... {reason[-SHOWN:]}"
    message = f"expected {expected}, got {start!r} ({reason})"
    return PredictionsError(message, path=path, line=number, remedy=SCHEMA_REMEDY)


def to_record(values: _Line, classes: int) -> ImageRecord:
    """Return the record of a line, after checks that types cannot express: whole numbers, labels, lengths."""
    count = len(values.boxes)
    for name in ("quads", "labels", "scores", "masks"):
        column = getattr(values, name)
        if column is not None and column is not UNSET and len(column) != count:
            raise ValueError(f"expected as many {name} as boxes, {count}, got {len(column)} - at `$.{name}`")
    if max(values.labels, default=-1) >= classes:
        place = next(place for place, label in enumerate(values.labels) if label >= classes)
        raise ValueError(f"a label outside 0..{classes - 1} - at `$.labels[{place}]`")
    labels = np.array(values.labels)
    if labels.dtype.kind != "i":
        labels = np.array([_whole(label, f"labels[{place}]") for place, label in enumerate(values.labels)], np.int64)
    metadata: dict[str, Any] = {}
    if values.status is not UNSET:
        metadata["status"] = values.status
    if values.windows is not UNSET:
        metadata["windows"] = to_windows(values.windows)
    width = None if values.width is None else _whole(values.width, "width")
    height = None if values.height is None else _whole(values.height, "height")
    masks = None
    if values.masks is not UNSET:
        masks = [to_mask(mask, width, height, f"masks[{place}]") for place, mask in enumerate(values.masks)]
    return ImageRecord(
        image_id=values.image_id,
        width=width,
        height=height,
        boxes=np.fromiter(chain.from_iterable(values.boxes), np.float64, 5 * count).reshape(-1, 5),
        quads=None if values.quads is None else np.array(values.quads, dtype=np.float64).reshape(-1, 4, 2),
        labels=labels,
        scores=None if values.scores is None else np.array(values.scores, dtype=np.float64),
        metadata=metadata,
        masks=masks,
    )


def to_mask(values: Any, width: int | None, height: int | None, where: str) -> Mask:
    """Return a mask as `decode_mask` gives it; `where` names it in an error.

    Raises:
        ValueError: If it is none.
    """
    try:
        if isinstance(values, _RunLengths):
            size = [_whole(side, f"{where}.size[{place}]") for place, side in enumerate(values.size)]
            return RunMask.of_coco({"size": size, "counts": values.counts}, width, height)
        for place, outline in enumerate(values):
            if len(outline) % 2:
                raise ValueError(f"expected x and y of each corner - at `$.{where}[{place}]`")
        return PolygonMask(tuple(np.array(outline, dtype=np.float64).reshape(-1, 2) for outline in values))
    except FormatsError as error:
        raise ValueError(f"{error} - at `$.{where}`") from error


def to_windows(windows: list[_Window]) -> list[dict[str, Any]]:
    """Return windows' answers as a record's metadata holds them.

    Raises:
        ValueError: If a number is not whole.
    """
    return [_window(window, f"windows[{place}]") for place, window in enumerate(windows)]


def _window(window: _Window, where: str) -> dict[str, Any]:
    found = {
        "window": [_whole(value, f"{where}.window[{place}]") for place, value in enumerate(window.window)],
        "text": window.text,
        "status": window.status,
        "rejected": [
            [_whole(first, f"{where}.rejected[{k}][0]"), _whole(past, f"{where}.rejected[{k}][1]"), reason]
            for k, (first, past, reason) in enumerate(window.rejected)
        ],
    }
    return found if window.asked is UNSET else {**found, "class": window.asked}


def _whole(value: float, where: str) -> int:
    if value != int(value):
        raise ValueError(f"expected a whole number, got {value} - at `$.{where}`")
    return int(value)


def to_dict(record: ImageRecord) -> dict[str, Any]:
    """Return what stands in an image's line, as plain values for JSON.

    >>> to_dict(ImageRecord("a", [[20, 20, 40, 10, 0]], [0], scores=[0.5]))["scores"]
    [0.5]

    Args:
        record: The predictions on an image.

    Raises:
        FormatsError: If it has masks as run lengths that reach beyond the image.
    """
    return {
        "image_id": record.image_id,
        "width": record.width,
        "height": record.height,
        "boxes": record.boxes.tolist(),
        "quads": None if record.quads is None else record.quads.tolist(),
        "labels": record.labels.tolist(),
        "scores": None if record.scores is None else record.scores.tolist(),
        **{key: record.metadata[key] for key in ("status", "windows") if key in record.metadata},
        **({} if record.masks is None else {"masks": record.masks.to_coco(record.width, record.height)}),
    }


def to_line(record: ImageRecord) -> bytes:
    """Return an image's line, with its end.

    Raises:
        TypeError, ValueError: If JSON cannot hold it; it has neither NaN nor arrays.
    """
    return json.dumps(to_dict(record), ensure_ascii=False, allow_nan=False).encode() + b"\n"
