"""Reading a predictions file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rbox_formats._records import ImageRecord
from rbox_formats.errors import PredictionsError, quoted
from rbox_formats.predictions._header import Header, first_line, require_same
from rbox_formats.predictions._schema import NOT_AS_SAID, decode_line, refusal, to_record


def header_of(path: Path) -> Header:
    """Return the header of a file of lines.

    Raises:
        PredictionsError: If there is no such file, or its first line is none.
    """
    with _opened(path) as file:
        return Header.from_line(next(_lines(file, path), b""), path)


def lines_of(path: Path) -> Iterator[tuple[int, ImageRecord]]:
    """Yield the images of a file of lines, each with the number of its line; the file is read line by line.

    Raises:
        PredictionsError: If there is no such file, a line breaks the schema, or the last one is torn.
    """
    with _opened(path) as file:
        numbered = enumerate(_lines(file, path), start=1)
        _, first = next(numbered, (1, b""))
        classes = len(Header.from_line(first, path).class_names)
        for number, line in numbered:
            yield number, _from_line(line, path, number, classes)


def _opened(path: Path) -> BinaryIO:
    try:
        with reaching(path):
            return path.open("rb", buffering=2**20)
    except FileNotFoundError as error:
        raise _missing(path) from error


def _lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield the lines of a file without their ends."""
    while True:
        with reaching(path):
            line = file.readline()
        if not line:
            return
        if not line.endswith(b"\n"):
            remedy = "The run that wrote it was stopped: give its command again to resume it."
            raise PredictionsError("expected whole lines, got a torn last one", path=path, remedy=remedy)
        yield line[:-1]


def _missing(path: Path) -> PredictionsError:
    return PredictionsError("expected a predictions file, found none", path=path)


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
        raise _missing(path) from error
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
