"""Predictions as Parquet: a row for each image, a list for each number of its objects.

| column | type | holds |
|---|---|---|
| `image_id` | text | the image's id |
| `width`, `height` | whole number or null | its size in pixels |
| `cx`, `cy`, `w`, `h`, `angle` | list of numbers | the boxes, `le90`, in pixels and radians |
| `label` | list of whole numbers | indices into the header's class names |
| `score` | list of numbers, or null | the scores |
| `quad` | list of lists of 8 numbers, or null | the corners, x and y in turn |
| `status` | text or null | how the answer ended |
| `windows` | text or null | the windows' answers, as the JSON of a line of predictions.jsonl |
| `masks` | list of texts, or null | a mask for each object, as the JSON of a line |

The lists of an image are equally long, so that `pandas.DataFrame.explode` and DuckDB's UNNEST make a row for each
object of them, and an image without objects has a row. The metadata of the schema hold the header, the JSON of the
first line of predictions.jsonl, under the key "rbox_predictions". What can be null may also be missing; other columns
are not read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rbox_formats import files
from rbox_formats._records import ImageRecord
from rbox_formats.errors import PredictionsError, RboxError, quoted, said
from rbox_formats.parsing.lines import LARGEST
from rbox_formats.predictions._footer import RowGroup, read_row_groups
from rbox_formats.predictions._header import Header, first_line
from rbox_formats.predictions._schema import (
    NOT_AS_SAID,
    STATUSES,
    decode_mask,
    decode_windows,
    to_dict,
    to_mask,
    to_windows,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

SUFFIX = ".parquet"
_KEY = b"rbox_predictions"
_BOX = ("cx", "cy", "w", "h", "angle")

_OBJECTS = 2**18
"""Objects in a row group that is written: 20 MB of numbers."""

_IMAGES = 2**15
"""The most images in a row group that is written."""

_AT_ONCE = 2**16
"""Objects that are decoded at once, about."""

LARGEST_GROUP = 2**29
"""The unpacked size in bytes, of a file or a row group, up to which the ratio to the size on disk is not checked."""

MOST_RATIO = 100
"""The limit on the ratio of the unpacked size to that on disk; of numbers drawn at random it is 2."""

_REMEDY = "The page on file formats says which columns predictions in Parquet have; `rbox-formats convert` writes them."


def is_parquet(path: Path) -> bool:
    """Return whether a path is named as a Parquet file, or is one by its first bytes."""
    if path.suffix.lower() == SUFFIX:
        return True
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def require_pyarrow() -> Any:
    """Return pyarrow, with its module for Parquet.

    Raises:
        PredictionsError: If it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise PredictionsError(
            "expected pyarrow, which reads and writes Parquet, found none",
            remedy="Install it: pip install rbox-formats[parquet]. Or use predictions.jsonl.",
        ) from error
    return pyarrow


def read_header(path: Path) -> Header:
    """Return the header of a Parquet file, after a check of its columns."""
    with _opened(path) as file:
        return _header_of(file, path)


def read_records(path: Path) -> Iterator[ImageRecord]:
    """Yield the records of a Parquet file, some row groups' part at a time."""
    with _opened(path) as file:
        header = _header_of(file, path)
        groups = read_row_groups(path)
        _require_reasonable(groups, path)
        if not groups:  # up to pyarrow 18 to ask for batches is an error then
            return
        names = [name for name in file.schema_arrow.names if name in _TYPES]
        row = 1
        for batch in _reading(path, lambda: file.iter_batches(_rows(groups), columns=names, use_threads=False)):
            yield from _records(batch, len(header.class_names), path, row)
            row += batch.num_rows


def write_records(path: Path, header: Header, records: Iterable[ImageRecord]) -> None:
    """Write a Parquet file, whole or not at all; each record is checked as `Writer.write` does."""
    arrow = require_pyarrow()
    schema = _schema(arrow).with_metadata({_KEY: first_line(header, path).rstrip(b"\n")})
    # Labels and statuses repeat; measured numbers do not, and a dictionary of them is built in vain.
    options = {"compression": "zstd", "use_dictionary": ["label.list.element", "status"], "write_page_checksum": True}
    with files.replacing(path) as temporary, arrow.parquet.ParquetWriter(temporary, schema, **options) as writer:
        seen: set[str] = set()
        for group in _grouped(records):
            for record in group:
                if record.image_id in seen:
                    raise PredictionsError(f"expected each image once, got {quoted(record.image_id)} again", path=path)
                seen.add(record.image_id)
            batch = _batch(arrow, schema, group, path)
            for _ in _records(batch, len(header.class_names), path, len(seen) - len(group) + 1):
                pass  # what is written can be read back
            writer.write_batch(batch, row_group_size=max(len(group), 1))


def _opened(path: Path) -> ParquetFile:
    arrow = require_pyarrow()
    if not path.exists():
        raise PredictionsError("expected a predictions file, found none", path=path)
    try:
        # A buffer for each column, instead of a whole column of a row group; each page's checksum is compared.
        return arrow.parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False, page_checksum_verification=True)
    except Exception as error:  # pyarrow's words come as several classes
        raise _unreadable(path, error) from error


def _reading(path: Path, batches: Callable[[], Iterator[pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
    """Yield batches, and turn what pyarrow says of them into errors of ours."""
    try:
        iterator = batches()
    except Exception as error:
        raise _unreadable(path, error) from error
    while True:
        try:
            batch = next(iterator, None)
        except Exception as error:
            raise _unreadable(path, error) from error
        if batch is None:
            return
        yield batch


def _unreadable(path: Path, error: Exception) -> PredictionsError:
    return PredictionsError(f"expected a whole Parquet file, got: {said(error)}", path=path)


def _header_of(file: ParquetFile, path: Path) -> Header:
    try:
        schema = file.schema_arrow
    except Exception as error:  # the schema that Arrow has put beside Parquet's own is broken
        raise _unreadable(path, error) from error
    metadata = schema.metadata or {}
    if _KEY not in metadata:
        message = f"expected a predictions file's header in the metadata {quoted(_KEY.decode())}, found none"
        raise PredictionsError(message, path=path, remedy=_REMEDY)
    for name, (expected, fits, required) in _TYPES.items():
        places = schema.get_all_field_indices(name)
        if len(places) > 1 or (required and not places):
            message = f"expected one column {quoted(name)}, found {len(places) or 'none'}"
            raise PredictionsError(message, path=path, remedy=_REMEDY)
        if places and not fits(schema.field(places[0]).type):
            found = quoted(str(schema.field(places[0]).type))
            message = f"expected {expected} in the column {quoted(name)}, got {found}"
            raise PredictionsError(message, path=path, remedy=_REMEDY)
    return Header.from_line(metadata[_KEY], path)


def _require_reasonable(groups: list[RowGroup], path: Path) -> None:
    """Refuse a file that would unpack to far more than there is of it on disk, as a whole or in one row group.

    Raises:
        PredictionsError: Where it does.
    """
    size = path.stat().st_size
    parts = [(f"row group {number}", group.unpacked, group.packed) for number, group in enumerate(groups, start=1)]
    for what, unpacked, packed in [*parts, ("all row groups", sum(group.unpacked for group in groups), size)]:
        packed = max(min(packed, size), 1)
        if unpacked > max(LARGEST_GROUP, MOST_RATIO * packed):
            message = f"expected at most {MOST_RATIO} times the size on disk when unpacked"
            raise PredictionsError(f"{message}, got {unpacked:,} bytes of {packed:,} in {what}", path=path)


def _rows(groups: list[RowGroup]) -> int:
    """Return how many rows to decode at once: many where they are short."""
    most = min((_AT_ONCE * group.rows // max(group.values, 1) for group in groups), default=1)
    return min(max(most, 1), 2**13)


class _Column(NamedTuple):
    """The lists of a column, one after the other, and how long that of each row is; -1 where it is null."""

    values: np.ndarray
    lengths: np.ndarray


def _records(batch: pa.RecordBatch, classes: int, path: Path, first: int) -> Iterator[ImageRecord]:
    """Yield the records of some rows, after the checks that a line of predictions.jsonl passes.

    Args:
        batch: The rows.
        classes: How many classes there are.
        path: The file, for errors.
        first: The number of the first row, for errors.

    Raises:
        PredictionsError: If something breaks the schema, with its row.
    """
    columns = {name: batch.column(place) for place, name in enumerate(batch.schema.names)}

    def refuse(row: int, message: str) -> PredictionsError:
        return PredictionsError(f"row {first + row}: {message}", path=path, remedy=_REMEDY)

    ids = columns["image_id"].cast("string").to_pylist()
    if None in ids:
        raise refuse(ids.index(None), "expected an image_id, got null")
    lists = {name: _lists(columns, name, len(ids), refuse) for name in (*_BOX, "label", "score", "quad", "masks")}
    counts = lists["cx"].lengths
    for name, (_, lengths) in lists.items():
        wrong = (lengths != counts) & ((lengths >= 0) | (name in (*_BOX, "label")))
        if wrong.any():
            row = int(wrong.argmax())
            many = "null" if lengths[row] < 0 else lengths[row]
            raise refuse(row, f"expected as many values of {name} as of cx, {max(counts[row], 0)}, got {many}")
    of_object = np.repeat(np.arange(len(ids)), counts)
    boxes = np.stack([lists[name].values for name in _BOX], axis=-1)
    _require(np.abs(boxes).max(axis=1, initial=0) <= LARGEST, of_object, f"finite numbers up to {LARGEST:.0f}", refuse)
    _require(boxes[:, 2:4].min(axis=1, initial=0) >= 0, of_object, "sides of zero or more", refuse)
    labels = lists["label"].values
    _require((labels >= 0) & (labels < classes), of_object, f"labels in 0..{classes - 1}", refuse)
    scores, quads, masks = (lists[name] for name in ("score", "quad", "masks"))
    for name, column, each in (("scores", scores, 1), ("quads", quads, 8)):
        rows = np.repeat(np.arange(len(ids)), np.maximum(column.lengths, 0))
        large = np.abs(column.values.reshape(-1, each)).max(axis=1, initial=0)
        _require(large <= LARGEST, rows, f"{name} up to {LARGEST:.0f}", refuse)
    sizes = [_sizes(columns.get(name), name, len(ids), refuse) for name in ("width", "height")]
    texts = [_texts(columns.get(name), len(ids)) for name in ("status", "windows")]
    starts = {name: _starts(lists[name].lengths) for name in ("cx", "score", "quad", "masks")}

    def own(name: str, row: int) -> slice:
        return slice(starts[name][row], starts[name][row + 1])

    for row, image_id in enumerate(ids):
        width, height, status, windows = sizes[0][row], sizes[1][row], texts[0][row], texts[1][row]
        metadata: dict[str, Any] = {}
        drawn = None
        if status is not None:
            if status not in STATUSES:
                raise refuse(row, f"expected a status among {', '.join(STATUSES)}, got {quoted(status)}")
            metadata["status"] = status
        try:
            if windows is not None:
                metadata["windows"] = to_windows(decode_windows(windows))
            if masks.lengths[row] >= 0:
                encoded = masks.values[own("masks", row)]
                drawn = [
                    to_mask(decode_mask(text), width, height, f"masks[{place}]") for place, text in enumerate(encoded)
                ]
        except NOT_AS_SAID as error:
            raise refuse(row, f"expected windows and masks as in a line of predictions.jsonl, got: {error}") from error
        yield ImageRecord(
            image_id,
            boxes[own("cx", row)],
            labels[own("cx", row)],
            quads.values[own("quad", row)] if quads.lengths[row] >= 0 else None,
            scores=scores.values[own("score", row)] if scores.lengths[row] >= 0 else None,
            width=width,
            height=height,
            metadata=metadata,
            masks=drawn,
        )


def _require(holds: np.ndarray, rows: np.ndarray, expected: str, refuse: Callable[[int, str], Exception]) -> None:
    if not holds.all():
        raise refuse(int(rows[int((~holds).argmax())]), f"expected {expected}, got others")


def _starts(lengths: np.ndarray) -> list[int]:
    return [0, *np.cumsum(np.maximum(lengths, 0)).tolist()]


def _lists(columns: Mapping[str, Any], name: str, rows: int, refuse: Callable[[int, str], Exception]) -> _Column:
    """Return a column's lists; each null where the file has no such column."""
    if name not in columns:
        empty = np.zeros((0, 4, 2) if name == "quad" else 0, dtype=object if name == "masks" else np.float64)
        return _Column(empty, np.full(rows, -1))
    column = columns[name]
    lengths = column.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    values = column.flatten()
    of_value = np.repeat(np.arange(rows), np.maximum(lengths, 0))
    if values.null_count:
        raise refuse(int(of_value[values.is_null().to_numpy(zero_copy_only=False).argmax()]), f"a null in {name}")
    if name == "masks":
        return _Column(np.array([*values.to_pylist(), None], dtype=object)[:-1], lengths)
    if name == "quad":
        eight = values.value_lengths().to_numpy(zero_copy_only=False) == 8
        _require(eight, of_value, "eight numbers of each quad", refuse)
        corners = values.flatten()
        if corners.null_count:
            nulls = corners.is_null().to_numpy(zero_copy_only=False)
            raise refuse(int(of_value[nulls.argmax() // 8]), "a null in quad")
        return _Column(corners.to_numpy(zero_copy_only=False).astype(np.float64).reshape(-1, 4, 2), lengths)
    kind = np.int64 if name == "label" else np.float64
    return _Column(values.to_numpy(zero_copy_only=False).astype(kind), lengths)


def _sizes(column: Any, name: str, rows: int, refuse: Callable[[int, str], Exception]) -> list[int | None]:
    found = [None] * rows if column is None else column.to_pylist()
    for row, value in enumerate(found):
        if value is not None and not 1 <= value <= LARGEST:
            raise refuse(row, f"expected a {name} of 1 pixel or more, got {value}")
    return found


def _texts(column: Any, rows: int) -> list[str | None]:
    return [None] * rows if column is None else column.cast("string").to_pylist()


def _grouped(records: Iterable[ImageRecord]) -> Iterator[list[ImageRecord]]:
    """Yield records in groups of about `_OBJECTS` objects."""
    group: list[ImageRecord] = []
    objects = 0
    for record in records:
        group.append(record)
        objects += len(record)
        if objects >= _OBJECTS or len(group) == _IMAGES:
            yield group
            group, objects = [], 0
    if group:
        yield group


def _schema(arrow: Any) -> pa.Schema:
    number, numbers = arrow.float64(), arrow.list_(arrow.float64())
    types = {
        "image_id": arrow.string(),
        "width": arrow.int64(),
        "height": arrow.int64(),
        **dict.fromkeys(_BOX, numbers),
        "label": arrow.list_(arrow.int32()),
        "score": numbers,
        "quad": arrow.list_(arrow.list_(number)),
        "status": arrow.string(),
        "windows": arrow.string(),
        "masks": arrow.list_(arrow.string()),
    }
    required = (name for name, (_, _, needed) in _TYPES.items() if needed)
    return arrow.schema([arrow.field(name, types[name], name not in set(required)) for name in _TYPES])


def _batch(arrow: Any, schema: pa.Schema, records: list[ImageRecord], path: Path) -> pa.RecordBatch:
    """Return records as rows."""

    def flat(parts: list[np.ndarray], shape: tuple[int, ...] = ()) -> np.ndarray:
        return np.concatenate([np.zeros((0, *shape)), *parts])

    def lists(lengths: list[int | None], values: Any) -> Any:
        starts = np.concatenate([[0], np.cumsum([length or 0 for length in lengths])]).astype(np.int32)
        missing = np.array([length is None for length in lengths], dtype=bool)
        return arrow.ListArray.from_arrays(arrow.array(starts), values, mask=arrow.array(missing))

    def optional(name: str) -> list[int | None]:
        return [None if getattr(record, name) is None else len(record) for record in records]

    counts: list[int | None] = [len(record) for record in records]
    boxes = flat([record.boxes for record in records], (5,))
    quads = flat([record.quads.reshape(-1, 8) for record in records if record.quads is not None], (8,))
    scores = flat([record.scores for record in records if record.scores is not None])
    labels = flat([record.labels for record in records])
    corners = lists([8] * len(quads), arrow.array(quads.ravel()))
    texts = [_texts_of(record, path) for record in records]
    given = {
        "image_id": arrow.array([record.image_id for record in records], arrow.string()),
        "width": arrow.array([record.width for record in records], arrow.int64()),
        "height": arrow.array([record.height for record in records], arrow.int64()),
        **{name: lists(counts, arrow.array(np.ascontiguousarray(boxes[:, place]))) for place, name in enumerate(_BOX)},
        "label": lists(counts, arrow.array(np.clip(labels, -1, 2**31 - 1).astype(np.int32))),
        "score": lists(optional("scores"), arrow.array(scores)),
        "quad": lists(optional("quads"), corners),
        "status": arrow.array([status for status, _, _ in texts], arrow.string()),
        "windows": arrow.array([windows for _, windows, _ in texts], arrow.string()),
        "masks": lists(
            optional("masks"), arrow.array([text for _, _, masks in texts for text in masks], arrow.string())
        ),
    }
    return arrow.RecordBatch.from_arrays([given[name] for name in schema.names], schema=schema)


def _texts_of(record: ImageRecord, path: Path) -> tuple[Any, str | None, list[str]]:
    """Return a record's status, its windows as JSON, and its masks as JSON.

    Raises:
        PredictionsError: If JSON cannot hold them.
    """
    name = quoted(record.image_id)

    def encoded(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    try:
        status, windows = record.metadata.get("status"), record.metadata.get("windows")
        if status is not None and status not in STATUSES:
            raise ValueError(f"the status {quoted(status)}")
        record.image_id.encode()
        masks = [] if record.masks is None else to_dict(record)["masks"]
        return status, None if windows is None else encoded(windows), [encoded(mask) for mask in masks]
    except RboxError as error:
        raise PredictionsError(f"masks of {name}: {error}", path=path) from error
    except (TypeError, AttributeError, *NOT_AS_SAID) as error:
        raise PredictionsError(f"expected a name and metadata of {name} for JSON, got: {error}", path=path) from error


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_whole(kind: Any) -> bool:
    from pyarrow import types

    return types.is_integer(kind)


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return types.is_floating(kind) and kind.bit_width > 16


def _is_list(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def fits(kind: Any) -> bool:
        from pyarrow import types

        return (types.is_list(kind) or types.is_large_list(kind)) and of(kind.value_type)

    return fits


# What an error says of a column, whether its type fits, and whether the column must be there.
_TYPES: dict[str, tuple[str, Callable[[Any], bool], bool]] = {
    "image_id": ("texts", _is_text, True),
    "width": ("whole numbers", _is_whole, False),
    "height": ("whole numbers", _is_whole, False),
    **{name: ("lists of numbers", _is_list(_is_number), True) for name in _BOX},
    "label": ("lists of whole numbers", _is_list(_is_whole), True),
    "score": ("lists of numbers", _is_list(_is_number), False),
    "quad": ("lists of lists of numbers", _is_list(_is_list(_is_number)), False),
    "status": ("texts", _is_text, False),
    "windows": ("texts", _is_text, False),
    "masks": ("lists of texts", _is_list(_is_text), False),
}
