"""`predictions.jsonl`: what every detector writes and every metric reads.

The first line is the header: schema version, class names, the fingerprint of the checkpoint, codec and its options,
generation settings, dataset. Each further line is an image: its id and size, boxes, quads or null, labels, scores or
null; from a detector that writes text also a status, and for each window its raw text, what decoding rejected and why.
Coordinates are those of the original image, after windows are merged. Lines are appended one by one; the last line of a
killed run may be torn, and is written again. docs/predictions.schema.json is its JSON Schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType

from rbox_formats import files
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.errors import PredictionsError, RboxError, differing, quoted
from rbox_formats.parsing.lines import LARGEST

__all__ = ["SCHEMA_VERSION", "Header", "PredictionFile", "Writer", "held", "join", "read"]

SCHEMA_VERSION = 1
_SCHEMA_REMEDY = "docs/predictions.schema.json says what a line holds; NaN and Infinity are no JSON."
_SHOWN = 80  # characters of a line, a name or a reason in an error

# The types of the schema. JSON's whole numbers may have a point: 640.0 is one, and what is none is found afterwards.
_Number = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
_Side = Annotated[float, Meta(ge=0, le=LARGEST)]
_Point = tuple[_Number, _Number]
_Whole = Annotated[int, Meta(ge=-int(LARGEST), le=int(LARGEST))] | _Number
_Count = Annotated[int, Meta(ge=0, le=int(LARGEST))] | _Side
_Pixels = Annotated[int, Meta(ge=1, le=int(LARGEST))] | Annotated[float, Meta(ge=1, le=LARGEST)]
_Status = Literal["boxes", "empty", "truncated", "repeated", "failed"]
# A name with at least one character that lookup does not ignore.
_Name = Annotated[str, Meta(pattern=r"[^\s_-]")]


class _FirstLine(Struct, forbid_unknown_fields=True):
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


_decode = msgspec.json.Decoder(_Line).decode
_decode_header = msgspec.json.Decoder(_FirstLine).decode
_decode_version = msgspec.json.Decoder(_Version).decode

# The errors of a decoder for a line of other types, or one that is not JSON.
_NOT_AS_SAID = (ValueError, OverflowError, RecursionError, msgspec.MsgspecError)


@dataclass(frozen=True)
class Header:
    """The first line of a predictions file. Two runs whose headers differ never share a file.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import ImageRecord, predictions
    >>> header = predictions.Header(["plane", "ship"], fingerprint="my-detector-v1")
    >>> record = ImageRecord("harbour", boxes=[[50, 40, 30, 10, 0]], labels=[1], scores=[0.9])
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "val.jsonl"
    ...     with predictions.Writer(path, header) as writer:
    ...         writer.write(record)
    ...     print(sorted(predictions.held(path, header)))
    ...     found = predictions.read(path)
    ['harbour']
    >>> found.header.class_names, found[0].scores.tolist()
    (('plane', 'ship'), [0.9])

    Attributes:
        class_names: The class names that labels index; a list of names becomes `ClassNames`.
        fingerprint: A name for the checkpoint's contents, such as a hash of its weights.
        codec: The codec's name and options, or None for detectors without text.
        generation: The settings of the prediction.
        dataset: The dataset of the prediction.
    """

    class_names: ClassNames
    fingerprint: str
    codec: Mapping[str, Any] | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.class_names, ClassNames):
            object.__setattr__(self, "class_names", ClassNames(self.class_names))

    def to_dict(self) -> dict[str, Any]:
        """Return the header as the file's first line holds it."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self), "class_names": list(self.class_names)}

    @classmethod
    def from_line(cls, line: str | bytes, path: Path) -> Header:
        """Read the first line of a file; `path` is for the error's text.

        Raises:
            PredictionsError: If the line breaks the schema, or is of another version.
        """
        try:
            version = _decode_version(line).schema_version
            if version == SCHEMA_VERSION:
                return cls._of(_decode_header(line))
        except _NOT_AS_SAID as error:
            raise _refusal("the header of a predictions file", line, error, path, 1) from error
        raise PredictionsError(f"expected schema version {SCHEMA_VERSION}, got {quoted(version)}", path=path, line=1)

    @classmethod
    def _of(cls, values: _FirstLine) -> Header:
        if values.codec is not None and not isinstance(values.codec.get("name"), str):
            raise ValueError("expected a text - at `$.codec.name`")
        try:
            names = ClassNames(values.class_names)
        except RboxError as error:
            raise ValueError(f"{error} - at `$.class_names`") from error
        return cls(names, values.fingerprint, values.codec, values.generation, values.dataset)


@dataclass(frozen=True, kw_only=True)
class PredictionFile(Dataset):
    """A predictions file as a dataset of records; `status` and `windows` are in their `metadata`."""

    header: Header


def read(path: str | Path) -> PredictionFile:
    """Read a predictions file.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import predictions
    >>> with TemporaryDirectory() as folder:
    ...     with predictions.Writer(Path(folder) / "val.jsonl", predictions.Header(["ship"], "my-detector-v1")):
    ...         pass
    ...     found = predictions.read(Path(folder) / "val.jsonl")
    >>> found.header.fingerprint, len(found)
    ('my-detector-v1', 0)

    Raises:
        PredictionsError: If there is no such file, it is of another version, an image occurs twice, a line breaks the
            schema (with its number), or the last line is torn, as a killed run leaves it.
    """
    path = files.as_path(path, PredictionsError)
    content = _parse(path)
    if content.torn:
        remedy = "The run that wrote it was stopped: give its command again to resume it."
        raise PredictionsError("expected whole lines, got a torn last one", path=path, remedy=remedy)
    return PredictionFile(content.header.class_names, list(content.records.values()), header=content.header)


class _Content(NamedTuple):
    """The content of a file.

    Attributes:
        header: The first line.
        records: The images by their ids.
        spans: The start and end of the line of each image, in bytes.
        torn: The number of bytes of a torn last line.
    """

    header: Header
    records: dict[str, ImageRecord]
    spans: dict[str, tuple[int, int]]
    torn: int


def _parse(path: Path) -> _Content:
    try:
        with _reaching(path):
            whole, newline, torn = path.read_bytes().rpartition(b"\n")
    except FileNotFoundError as error:
        raise PredictionsError("expected a predictions file, found none", path=path) from error
    first, *rest = (whole + newline).split(b"\n")[:-1] or [b""]
    header = Header.from_line(first, path)
    records: dict[str, ImageRecord] = {}
    spans: dict[str, tuple[int, int]] = {}
    begin = len(first) + 1
    for number, line in enumerate(rest, start=2):
        record = _from_line(line, path, number, len(header.class_names))
        if record.image_id in records:
            message = f"expected each image once, got {quoted(record.image_id)} again"
            raise PredictionsError(message, path=path, line=number)
        records[record.image_id] = record
        spans[record.image_id] = begin, begin + len(line) + 1
        begin += len(line) + 1
    return _Content(header, records, spans, len(torn))


@contextmanager
def _reaching(path: Path) -> Iterator[None]:
    """Report what the system says of a path that cannot be read or written; a missing file is left to the caller."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # a path with a null character is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise PredictionsError(f"expected a predictions file, got: {reason}", path=path) from error


def _from_line(line: bytes, path: Path, number: int, classes: int) -> ImageRecord:
    try:
        return _record(_decode(line), classes)
    except _NOT_AS_SAID as error:
        raise _refusal("an image's predictions", line, error, path, number) from error


def _refusal(expected: str, line: str | bytes, error: Exception, path: Path, number: int) -> PredictionsError:
    start = line[:_SHOWN] if isinstance(line, str) else line[:_SHOWN].decode("utf-8", errors="replace")
    reason = str(error)
    # The place of the fault stands at the end.
    reason = reason if len(reason) <= 2 * _SHOWN else f"{reason[:_SHOWN]} ... {reason[-_SHOWN:]}"
    message = f"expected {expected}, got {start!r} ({reason})"
    return PredictionsError(message, path=path, line=number, remedy=_SCHEMA_REMEDY)


def _record(values: _Line, classes: int) -> ImageRecord:
    """Return the record of a line, after checks that types cannot express: whole numbers, labels, lengths."""
    count = len(values.boxes)
    for name in ("quads", "labels", "scores"):
        column = getattr(values, name)
        if column is not None and len(column) != count:
            raise ValueError(f"expected as many {name} as boxes, {count}, got {len(column)} - at `$.{name}`")
    if not all(label < classes for label in values.labels):
        place = next(place for place, label in enumerate(values.labels) if label >= classes)
        raise ValueError(f"a label outside 0..{classes - 1} - at `$.labels[{place}]`")
    labels = np.array(values.labels)
    if labels.dtype.kind != "i":
        labels = np.array([_whole(label, f"labels[{place}]") for place, label in enumerate(values.labels)], np.int64)
    metadata: dict[str, Any] = {}
    if values.status is not UNSET:
        metadata["status"] = values.status
    if values.windows is not UNSET:
        metadata["windows"] = [_window(window, f"windows[{place}]") for place, window in enumerate(values.windows)]
    return ImageRecord(
        image_id=values.image_id,
        width=None if values.width is None else _whole(values.width, "width"),
        height=None if values.height is None else _whole(values.height, "height"),
        boxes=np.array(values.boxes, dtype=np.float64).reshape(-1, 5),
        quads=None if values.quads is None else np.array(values.quads, dtype=np.float64).reshape(-1, 4, 2),
        labels=labels,
        scores=None if values.scores is None else np.array(values.scores, dtype=np.float64),
        metadata=metadata,
    )


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


def _to_line(record: ImageRecord) -> str:
    values = {
        "image_id": record.image_id,
        "width": record.width,
        "height": record.height,
        "boxes": record.boxes.tolist(),
        "quads": None if record.quads is None else record.quads.tolist(),
        "labels": record.labels.tolist(),
        "scores": None if record.scores is None else record.scores.tolist(),
        **{key: record.metadata[key] for key in ("status", "windows") if key in record.metadata},
    }
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


class Writer:
    """A writer that appends images to a predictions file; it begins the file or resumes it.

    >>> with Writer(path, header) as writer:  # doctest: +SKIP
    ...     for image in images:
    ...         if image not in writer.done:
    ...             writer.write(predict(image))

    Attributes:
        done: The ids of the images that the file holds.

    Args:
        path: The file. The file of a killed run is resumed; its torn last line, if any, is cut off.
        header: The header of the run.

    Raises:
        PredictionsError: If the file exists with another header (the message names what differs) or with lines that
            break the schema, or the header could not be read back.
    """

    def __init__(self, path: str | Path, header: Header) -> None:
        self.path = files.as_path(path, PredictionsError)
        self.done: set[str] = set()
        first = _first_line(header, self.path)
        with _reaching(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        held = _held(self.path, header)
        with _reaching(self.path):
            if held is not None:
                self.done = set(held.records)
                if held.torn:
                    with self.path.open("r+b") as file:
                        file.truncate(self.path.stat().st_size - held.torn)
            self._file = self.path.open("wb" if held is None else "ab")
        self._classes = len(header.class_names)
        if held is None:
            self._append(first)

    def write(self, record: ImageRecord) -> None:
        """Append one image; it is in the file when this returns.

        Raises:
            PredictionsError: If the file already holds the image, or the line could not be read back, for example
                because a number is not finite or a label is out of range.
        """
        name = repr(record.image_id)[:_SHOWN]
        try:
            line = _to_line(record).encode() + b"\n"
            _record(_decode(line), self._classes)
        except (TypeError, *_NOT_AS_SAID) as error:  # JSON has neither NaN nor arrays, UTF-8 no half a character
            message = f"expected finite boxes and scores of {name}, and metadata for JSON, got: {error}"
            raise PredictionsError(message, path=self.path, remedy=_SCHEMA_REMEDY) from error
        if record.image_id in self.done:
            raise PredictionsError(f"expected each image once, got {name} again", path=self.path)
        self._append(line)
        self.done.add(record.image_id)

    def _append(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def held(path: str | Path, header: Header) -> set[str]:
    """Return the ids of the images that a run's file holds so far; empty where the file is missing or just begun.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import predictions
    >>> with TemporaryDirectory() as folder:
    ...     print(predictions.held(Path(folder) / "val.jsonl", predictions.Header(["ship"], "my-detector-v1")))
    set()

    Raises:
        PredictionsError: If the file exists with another header (the message names what differs), or with lines that
            break the schema.
    """
    found = _held(files.as_path(path, PredictionsError), header)
    return set() if found is None else set(found.records)


def join(path: str | Path, parts: Sequence[str | Path], header: Header, order: Iterable[str]) -> None:
    """Join the files that several processes of one run wrote into one file.

    The file is replaced as a whole, and then the parts are removed, so that a stopped call can be repeated.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import ImageRecord, predictions
    >>> header = predictions.Header(["ship"], "my-detector-v1")
    >>> with TemporaryDirectory() as folder:
    ...     whole, *parts = (Path(folder) / name for name in ("val.jsonl", "part0.jsonl", "part1.jsonl"))
    ...     for part, image_id in zip(parts, ("P0001", "P0002")):
    ...         with predictions.Writer(part, header) as writer:
    ...             writer.write(ImageRecord(image_id, boxes=[], labels=[]))
    ...     predictions.join(whole, parts, header, order=["P0002", "P0001"])
    ...     print([record.image_id for record in predictions.read(whole)])
    ['P0002', 'P0001']

    Args:
        path: The joined file; images that it already holds stay in it.
        parts: The files to join. An image that is in several of them is taken once.
        header: The header of the run.
        order: The ids in the order of the file; images that are not among them come last.

    Raises:
        PredictionsError: If a file belongs to another run, or a line breaks the schema. All files are then unchanged.
    """
    path = files.as_path(path, PredictionsError)
    others = [files.as_path(part, PredictionsError) for part in parts]
    places: dict[str, tuple[Path, int, int]] = {}
    for source in [path, *others]:
        if (content := _held(source, header)) is not None:
            for image_id, span in content.spans.items():
                places.setdefault(image_id, (source, *span))
    names = dict.fromkeys([*(image_id for image_id in order if image_id in places), *places])
    with files.replacing(path) as temporary, ExitStack() as stack:
        opened = {source: stack.enter_context(source.open("rb")) for source, *_ in places.values()}
        whole = stack.enter_context(temporary.open("wb"))
        whole.write(_first_line(header, path))
        for image_id in names:
            source, begin, end = places[image_id]
            opened[source].seek(begin)
            whole.write(opened[source].read(end - begin))
    for part in others:
        part.unlink(missing_ok=True)


def _first_line(header: Header, path: Path) -> bytes:
    """Return the header's line, after checking that it can be read back."""
    try:
        line = json.dumps(header.to_dict(), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise PredictionsError(f"expected a header that JSON can hold, got: {error}", path=path) from error
    Header.from_line(line, path)
    return line + b"\n"


def _held(path: Path, header: Header) -> _Content | None:
    """Return what a file of the run holds; None where it is yet to begin."""
    first = _first_line(header, path)
    with _reaching(path):
        # Where it begins as the first line does and ends in it, or is not there.
        if not path.exists() or (path.stat().st_size <= len(first) and first.startswith(path.read_bytes())):
            return None
    content = _parse(path)
    _require_same(content.header, Header.from_line(first, path), path)
    return content


def _require_same(found: Header, wanted: Header, path: Path) -> None:
    """Check that two headers are equal, both as read from a line: a file cannot tell tuples from lists."""
    old, new = found.to_dict(), wanted.to_dict()
    different = [differing(key, old[key], new[key]) for key in new if old[key] != new[key]]
    if different:
        remedy = "Choose another file (--out), or remove this one."
        raise PredictionsError(
            f"expected predictions of the same run, got a file with {'; '.join(different)}", path=path, remedy=remedy
        )
