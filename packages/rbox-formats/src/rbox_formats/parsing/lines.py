"""Parse text formats: lines, numbers and class names in a line, and errors that name the line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from rbox_formats._records import ClassNames
from rbox_formats.errors import DatasetError, listed, quoted

__all__ = [
    "CORRECT_OR_NAME",
    "CORRECT_OR_REMOVE",
    "LARGEST",
    "MOST_CORNERS",
    "NO_COMMAS",
    "LineError",
    "find_class",
    "not_utf8",
    "one_field",
    "parse_index",
    "parse_lines",
    "parse_numbers",
    "plain_digits",
    "read_text",
    "shortest",
    "split_lines",
]

T = TypeVar("T")

# No image is as large. Larger coordinates are broken numbers, whose squares would leave the range of floats.
LARGEST = 1e9

# An outline drawn by hand or around a mask has hundreds of corners; the smallest rectangle around a million takes many
# seconds.
MOST_CORNERS = 20_000

NO_COMMAS = "Fields are separated by spaces, not by commas."
CORRECT_OR_REMOVE = "Correct the line, or remove it."
CORRECT_OR_NAME = "Correct the line, or name the dataset's classes (--class-names, class_names=)."


class LineError(ValueError):
    """A line is wrong; the file and the number of the line are added later."""

    def __init__(self, message: str, remedy: str = CORRECT_OR_REMOVE) -> None:
        super().__init__(message)
        self.remedy = remedy


def read_text(path: Path) -> str:
    """Read a UTF-8 text file, without its byte order mark.

    Raises:
        DatasetError: If the file cannot be read, or is not UTF-8.
    """
    try:
        with path.open("rb", buffering=0) as file:
            content = file.read()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(content, error, path) from error
    except OSError as error:
        raise DatasetError(f"expected a file that can be read, got: {error.strerror}", path=path) from error


def not_utf8(content: bytes, error: UnicodeDecodeError, path: Path) -> DatasetError:
    """Return the error to raise for a text in another encoding, with the one that it is likely to be in."""
    likely = None
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        likely = "UTF-16"
    else:
        try:
            content.decode("gb18030")
            likely = "GB18030"
        except UnicodeDecodeError:
            pass
    reason = f"byte 0x{content[error.start]:02x} at {error.start}"
    remedy = None
    if likely is not None:
        name = "GBK" if likely == "GB18030" else likely
        remedy = f"It may be {name}: store it as UTF-8 (iconv -f {likely} -t UTF-8 {quoted(path.name, marks=False)})."
    return DatasetError(f"expected UTF-8 text, got {reason}", path=path, remedy=remedy)


def split_lines(text: str) -> list[str]:
    """Split a text at LF, CRLF and CR: lines are numbered as in editors."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def parse_lines(lines: Iterable[str], parse: Callable[[str], T], path: Path) -> list[T]:
    """Return the result of `parse` for each line that is not blank.

    Raises:
        DatasetError: If `parse` raises a `LineError`; with file and line.
    """
    parsed = []
    for number, line in enumerate(lines, start=1):
        if line and not line.isspace():
            try:
                parsed.append(parse(line))
            except LineError as error:
                raise DatasetError(str(error), path=path, line=number, remedy=error.remedy) from error
    return parsed


def plain_digits(text: str) -> bool:
    """Return whether a text has no characters that only Python reads as part of a number, such as in 1_0."""
    return text.isascii() and "_" not in text


def parse_numbers(fields: list[str], what: str, remedy: str = CORRECT_OR_REMOVE) -> list[float]:
    """Parse fields as finite numbers.

    Raises:
        LineError: If one is not a number, or not finite, or too large to be a place in an image.
    """
    numbers: list[float] = []
    plain = plain_digits("".join(fields))
    for field in fields:
        try:
            if not plain and not plain_digits(field):
                raise ValueError
            numbers.append(float(field))
        except ValueError:
            if "," in field:
                remedy = f"{NO_COMMAS} {remedy}"
            raise LineError(f"expected {what}, got {quoted(field)} as number {len(numbers) + 1}", remedy) from None
    if not max(map(abs, numbers), default=0) <= LARGEST or not all(map(math.isfinite, numbers)):
        wrong = next(i for i, number in enumerate(numbers) if not abs(number) <= LARGEST)  # nor is nan
        what = f"coordinates up to {LARGEST:.0f}" if math.isfinite(numbers[wrong]) else "finite coordinates"
        place = sum(len(field) + 1 for field in fields[:wrong])
        raise LineError(f"expected {what}, got {quoted(' '.join(fields), place, marks=False)}")
    return numbers


def parse_index(field: str, what: str) -> int:
    """Parse a field as a whole number of at least zero.

    Raises:
        LineError: If the field is something else.
    """
    if not (field.isascii() and field.isdigit() and len(field) < 10):
        raise LineError(f"expected {what} as a whole number from 0, got {quoted(field)}")
    return int(field)


def find_class(name: str, class_names: ClassNames) -> int:
    """Return the label of a class.

    Raises:
        LineError: If it is not among the class names.
    """
    label = class_names.find(name)
    if label is None:
        raise LineError(f"expected a class among {listed(class_names)}, got {quoted(name)}", CORRECT_OR_NAME)
    return label


def shortest(value: float) -> str:
    """Return the shortest text that reads back as the same number; whole numbers without a point, as in DOTA."""
    return repr(value).removesuffix(".0")


def one_field(name: str) -> str:
    """Return a class name without white space, which separates fields: it becomes '-', which lookup treats the same."""
    return "-".join(name.split())
