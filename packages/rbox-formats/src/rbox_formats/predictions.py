"""`predictions.jsonl`: what every detector writes and every metric reads.

The first line is the header: schema version, class names, the fingerprint of the checkpoint, codec and its options,
generation settings, dataset. Each further line is an image: its id and size, boxes, quads or null, labels, scores or
null; from a detector that writes text also a status, and for each window its raw text, what decoding rejected and why.
Coordinates are the original image's, after windows are merged. Lines are appended as they are produced; a killed run's
last line may be torn, and is redone. docs/predictions.schema.json is its JSON Schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np

from rbox_formats import files
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.errors import PredictionsError, RboxError, differing, quoted, said

__all__ = ["SCHEMA_VERSION", "Header", "PredictionFile", "Writer", "held", "join", "read"]

SCHEMA_VERSION = 1
# What a line says of an image beside its boxes; in a record they are in `metadata`.
_EXTRAS = ("status", "windows")

_Point = tuple[float, float]

_SCHEMA_REMEDY = "docs/predictions.schema.json says what a line holds; NaN and Infinity are no JSON."


@dataclass(frozen=True)
class Header:
    """What a predictions file says of itself. Two runs whose headers differ never share a file.

    Attributes:
        class_names: What the labels index; a list of names becomes `ClassNames`.
        fingerprint: Names the checkpoint's contents, such as a hash of its weights.
        codec: The codec's name and options, or None for detectors without text.
        generation: The settings that the texts, or boxes, were made with.
        dataset: What was predicted on.
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
        """As the file's first line."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self), "class_names": list(self.class_names)}

    @classmethod
    def from_line(cls, line: str, path: Path) -> Header:
        """Reads the first line of a file; `path` is for the error's text."""
        try:
            values = json.loads(line)
            version = values.pop("schema_version")
            if version != SCHEMA_VERSION:
                raise PredictionsError(
                    f"expected schema version {SCHEMA_VERSION}, got {quoted(version)}", path=path, line=1
                )
            return cls(**{**values, "class_names": ClassNames(values["class_names"])})
        except (ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
            if isinstance(error, RboxError):
                raise
            raise PredictionsError("expected the header of a predictions file", path=path, line=1) from error


@dataclass(frozen=True, kw_only=True)
class PredictionFile(Dataset):
    """A predictions file as a dataset of records; `status` and `windows` are in their `metadata`."""

    header: Header


def read(path: str | Path) -> PredictionFile:
    """Reads a predictions file.

    Raises:
        PredictionsError: If there is no such file, it is of another version, an image comes twice, a line does not
            hold what the schema says (with its number), or the last one is torn, as a killed run leaves it.
    """
    path = Path(path)
    header, records, torn = _parse(path)
    if torn:
        remedy = "The run that wrote it was stopped: give its command again, it goes on from here."
        raise PredictionsError("expected whole lines, got a torn last one", path=path, remedy=remedy)
    return PredictionFile(header.class_names, list(records.values()), header=header)


def _parse(path: Path) -> tuple[Header, dict[str, ImageRecord], int]:
    """Header, records by image id, and how many bytes of a torn last line stand at the end."""
    try:
        whole, newline, torn = path.read_bytes().rpartition(b"\n")
    except FileNotFoundError as error:
        raise PredictionsError("expected a predictions file, found none", path=path) from error
    first, *rest = (whole + newline).split(b"\n")[:-1] or [b""]
    header = Header.from_line(first.decode("utf-8", errors="replace"), path)
    records: dict[str, ImageRecord] = {}
    for number, line in enumerate(rest, start=2):
        record = _from_line(line, path, number, len(header.class_names))
        if record.image_id in records:
            raise PredictionsError(
                f"expected each image once, got {quoted(record.image_id)} again", path=path, line=number
            )
        records[record.image_id] = record
    return header, records, len(torn)


class _Line(msgspec.Struct):
    """What is read of an image's line."""

    image_id: str
    width: int | None
    height: int | None
    boxes: list[tuple[float, float, float, float, float]]
    quads: list[tuple[_Point, _Point, _Point, _Point]] | None
    labels: list[int]
    scores: list[float] | None
    status: str | msgspec.UnsetType = msgspec.UNSET
    windows: list[Any] | msgspec.UnsetType = msgspec.UNSET


_decode = msgspec.json.Decoder(_Line, strict=False).decode  # not strict: 640.0 is a whole number


def _from_line(line: bytes, path: Path, number: int, classes: int) -> ImageRecord:
    try:
        values = _decode(line)
        if not all(0 <= label < classes for label in values.labels):
            raise ValueError(f"a label outside 0..{classes - 1}")
        return ImageRecord(
            image_id=values.image_id,
            width=values.width,
            height=values.height,
            boxes=np.array(values.boxes, dtype=np.float64).reshape(-1, 5),
            quads=None if values.quads is None else np.array(values.quads, dtype=np.float64).reshape(-1, 4, 2),
            labels=np.array(values.labels, dtype=np.int64),
            scores=None if values.scores is None else np.array(values.scores, dtype=np.float64),
            metadata={key: value for key in _EXTRAS if (value := getattr(values, key)) is not msgspec.UNSET},
        )
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        start = line[:80].decode("utf-8", errors="replace")
        message = f"expected an image's predictions, got {quoted(start)} ({said(error)})"
        raise PredictionsError(message, path=path, line=number, remedy=_SCHEMA_REMEDY) from error


def _to_line(record: ImageRecord) -> str:
    values = {
        "image_id": record.image_id,
        "width": record.width,
        "height": record.height,
        "boxes": record.boxes.tolist(),
        "quads": None if record.quads is None else record.quads.tolist(),
        "labels": record.labels.tolist(),
        "scores": None if record.scores is None else record.scores.tolist(),
        **{key: record.metadata[key] for key in _EXTRAS if key in record.metadata},
    }
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


class Writer:
    """Appends images to a predictions file, which it begins or goes on with.

    >>> with Writer(path, header) as writer:  # doctest: +SKIP
    ...     for image in images:
    ...         if image not in writer.done:
    ...             writer.write(predict(image))

    Attributes:
        done: The ids of the images that the file holds.

    Args:
        path: The file. One that a killed run left is gone on with; its torn last line, if any, is cut off.
        header: What the run says of itself.

    Raises:
        PredictionsError: If the file exists with another header: it names what differs.
    """

    def __init__(self, path: str | Path, header: Header) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.done: set[str] = set()
        held = _held(self.path, header)
        if held is not None:
            self.done, torn = held
            if torn:
                with self.path.open("r+b") as file:
                    file.truncate(self.path.stat().st_size - torn)
            self._file = self.path.open("a", encoding="utf-8", newline="\n")
        else:
            self._file = self.path.open("w", encoding="utf-8", newline="\n")
            self._append(_first_line(header))

    def write(self, record: ImageRecord) -> None:
        """Appends one image; it is in the file when this returns.

        Raises:
            PredictionsError: If the file already holds the image, or a number of it is not finite.
        """
        if record.image_id in self.done:
            raise PredictionsError(f"expected each image once, got {quoted(record.image_id)} again", path=self.path)
        try:
            line = _to_line(record)
        except (TypeError, ValueError) as error:  # JSON has neither NaN nor arrays
            message = f"expected finite boxes and scores of {quoted(record.image_id)}, and metadata for JSON, got: "
            raise PredictionsError(f"{message}{said(error)}", path=self.path) from error
        self._append(line + "\n")
        self.done.add(record.image_id)

    def _append(self, line: str) -> None:
        self._file.write(line)
        self._file.flush()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def held(path: str | Path, header: Header) -> set[str]:
    """The ids of the images that a file of a run holds so far; none where it is not there, or just begun.

    Raises:
        PredictionsError: If the file exists with another header: it names what differs.
    """
    found = _held(Path(path), header)
    return set() if found is None else found[0]


def join(path: str | Path, parts: Sequence[str | Path], header: Header, order: Iterable[str]) -> None:
    """Puts the images of several files of one run, written by processes of their own, into one file.

    The file is replaced as a whole, and the parts are removed after that: what is stopped in between can be done again.

    Args:
        path: The file; images that it holds already stay in it.
        parts: The others. An image that is in two of them is taken once.
        header: What the run says of itself.
        order: The ids in the order of the file; images that it does not name stand behind them.

    Raises:
        PredictionsError: If a file is of another run.
    """
    path = Path(path)
    others = [Path(part) for part in parts]
    places: dict[str, tuple[Path, int, int]] = {}
    for source in [path, *others]:
        if held(source, header):
            for image_id, begin, end in _lines(source):
                places.setdefault(image_id, (source, begin, end))
    names = dict.fromkeys([*(image_id for image_id in order if image_id in places), *places])
    with files.replacing(path) as temporary, ExitStack() as stack:
        opened = {source: stack.enter_context(source.open("rb")) for source, *_ in places.values()}
        whole = stack.enter_context(temporary.open("wb"))
        whole.write(_first_line(header).encode())
        for image_id in names:
            source, begin, end = places[image_id]
            opened[source].seek(begin)
            whole.write(opened[source].read(end - begin))
    for part in others:
        part.unlink(missing_ok=True)


def _lines(path: Path) -> Iterator[tuple[str, int, int]]:
    """The id of each image of a file, and where its line begins and ends; a torn last line is passed over."""
    with path.open("rb") as file:
        begin = len(file.readline())
        for line in file:
            if line.endswith(b"\n"):
                yield _decode(line).image_id, begin, begin + len(line)
            begin += len(line)


def _first_line(header: Header) -> str:
    return json.dumps(header.to_dict(), ensure_ascii=False) + "\n"


def _held(path: Path, header: Header) -> tuple[set[str], int] | None:
    """The images that a file holds, and the bytes of a torn last line; None where it is yet to begin."""
    before = path.read_bytes() if path.exists() else b""
    if _first_line(header).encode().startswith(before):
        return None
    found, records, torn = _parse(path)
    _require_same(found, header, path)
    return set(records), torn


def _require_same(found: Header, wanted: Header, path: Path) -> None:
    # Through JSON, so that tuples and lists, which a file cannot tell apart, do not count as different.
    old, new = found.to_dict(), json.loads(json.dumps(wanted.to_dict()))
    different = [differing(key, old[key], new[key]) for key in new if old[key] != new[key]]
    if different:
        remedy = "Choose another file (--out), or remove this one."
        raise PredictionsError(
            f"expected predictions of the same run, got a file with {'; '.join(different)}", path=path, remedy=remedy
        )
