"""Reading a predictions file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rbox_formats import files
from rbox_formats._records import Dataset, ImageRecord
from rbox_formats.errors import PredictionsError, quoted
from rbox_formats.predictions._header import Header, first_line, require_same
from rbox_formats.predictions._schema import NOT_AS_SAID, decode_line, refusal, to_record


@dataclass(frozen=True, kw_only=True, repr=False)
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
    content = parse(path)
    if content.torn:
        remedy = "The run that wrote it was stopped: give its command again to resume it."
        raise PredictionsError("expected whole lines, got a torn last one", path=path, remedy=remedy)
    return PredictionFile(content.header.class_names, list(content.records.values()), header=content.header)


class Content(NamedTuple):
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


def parse(path: Path) -> Content:
    """Return what a file holds, a torn last line aside.

    Raises:
        PredictionsError: If there is no such file, or a whole line breaks the schema.
    """
    try:
        with reaching(path):
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
    return Content(header, records, spans, len(torn))


@contextmanager
def reaching(path: Path) -> Iterator[None]:
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
        return to_record(decode_line(line), classes)
    except NOT_AS_SAID as error:
        raise refusal("an image's predictions", line, error, path, number) from error


def content_of(path: Path, header: Header) -> Content | None:
    """Return what a file of the run holds; None where it is yet to begin."""
    first = first_line(header, path)
    with reaching(path):
        # Where it begins as the first line does and ends in it, or is not there.
        if not path.exists() or (path.stat().st_size <= len(first) and first.startswith(path.read_bytes())):
            return None
    content = parse(path)
    require_same(content.header, Header.from_line(first, path), path)
    return content
