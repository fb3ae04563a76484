"""JSON files from outside: values with their place in the file, so that an error can name it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbox_formats.errors import DatasetError, listed, quoted, said
from rbox_formats.parsing.lines import LARGEST, MOST_CORNERS, read_text

__all__ = ["Value", "dump", "holdable", "plain", "read", "require_few_corners"]

_KINDS: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}
_SHOWN = 60  # characters of a value in an error


@dataclass(frozen=True)
class Value:
    """A value in a JSON file.

    Attributes:
        value: As `json` gives it.
        path: The file.
        where: The way to it from the whole document, such as `annotations[3].bbox`; empty for the document.
    """

    value: Any
    path: Path
    where: str = ""

    def error(self, expected: str, remedy: str | None = None) -> DatasetError:
        """Return the error to raise where the value is not what was expected."""
        text = json.dumps(self.value)
        found = _KINDS[type(self.value)]
        if self.value is None or isinstance(self.value, bool):
            found = text
        elif len(text) <= _SHOWN:
            found += f" {text}"
        where = f"{self.where}: " if self.where else ""
        return DatasetError(f"{where}expected {expected}, got {found}", path=self.path, remedy=remedy)

    def _checked(self, kind: type) -> Any:
        if not isinstance(self.value, kind):
            raise self.error(_KINDS[kind])
        return self.value

    def has(self, key: str) -> bool:
        """Return whether an object has a value under a key; null counts as none."""
        return self._checked(dict).get(key) is not None

    def __getitem__(self, key: str) -> Value:
        """Return the value of an object under a key.

        Raises:
            DatasetError: If it is no object, or has no such key.
        """
        values = self._checked(dict)
        if key not in values:
            keys = listed(quoted(name) for name in values) or "none"
            where = self.where or "the document"
            raise DatasetError(f"{where}: expected a key {quoted(key)}, got {keys}", path=self.path)
        return Value(values[key], self.path, f"{self.where}.{key}" if self.where else key)

    def items(self) -> Iterator[Value]:
        """Return the elements of an array."""
        for index, value in enumerate(self._checked(list)):
            yield Value(value, self.path, f"{self.where}[{index}]")

    def text(self) -> str:
        """Return a string."""
        text: str = self._checked(str)
        try:
            text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, escaped: no file system and no file can hold it
            raise self.error("a string of whole characters") from None
        return text

    def integer(self) -> int:
        """Return a whole number of any size, such as an id, written with or without a decimal point."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.error("a number")
        if isinstance(self.value, float) and not self.value.is_integer():  # nor are nan and the infinite
            raise self.error("a whole number")
        return int(self.value)

    def side(self) -> int:
        """Return a side of an image in pixels: a whole number of at least 1."""
        number = self.number()
        if not number.is_integer() or number < 1:
            raise self.error("a whole number from 1 on")
        return int(number)

    def number(self) -> float:
        """Return a finite number that can be a place in an image."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.error("a number")
        if not abs(self.value) <= LARGEST:  # nor is nan
            raise self.error(f"a finite number up to {LARGEST:.0f}")
        return float(self.value)

    def numbers(self) -> list[float]:
        """Return an array of numbers."""
        values = self._checked(list)
        # All at once if all are numbers, since a `Value` for each element of a long array is slow.
        if all(type(value) in (int, float) and abs(value) <= LARGEST for value in values):
            return [float(value) for value in values]
        return [value.number() for value in self.items()]

    def flag(self) -> bool:
        """Return true or false, also when written as 1 or 0."""
        if not (isinstance(self.value, int) and self.value in (0, 1)):
            raise self.error("0, 1, true or false")
        return bool(self.value)


def read(path: Path) -> Value:
    """Read a whole JSON file.

    Raises:
        DatasetError: If the file cannot be read, is not UTF-8 or not JSON; the message has the line.
    """
    text = read_text(path)
    try:
        return Value(json.loads(text), path)
    except json.JSONDecodeError as error:
        raise DatasetError(
            f"expected JSON, got {error.msg[:1].lower()}{error.msg[1:]} at column {error.colno}",
            path=path,
            line=error.lineno,
            remedy="The file is broken or cut short: fetch or write it again.",
        ) from error
    except RecursionError as error:
        raise DatasetError("expected JSON, got too many nested brackets", path=path) from error
    except ValueError as error:  # Python's limit on the digits of a number
        raise DatasetError(f"expected JSON, got {said(error)}", path=path) from error


def require_few_corners(outline: Value, count: int) -> None:
    """Check that an outline, or several together, have no more corners than anyone draws.

    Raises:
        DatasetError: If there are more.
    """
    if count > MOST_CORNERS:
        message = f"{outline.where}: expected outlines of at most {MOST_CORNERS:,} corners, got {count:,}"
        raise DatasetError(message, path=outline.path)


def dump(value: Any) -> str:
    """Return a value as JSON in one line.

    Raises:
        DatasetError: If JSON cannot hold it.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()  # half a surrogate pair cannot be written in UTF-8
        return text
    except (TypeError, ValueError) as error:
        raise DatasetError(f"expected values that JSON can hold, got {said(error)}") from error


def holdable(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of an image's metadata that JSON can hold."""
    kept = {}
    for key, value in metadata.items():
        try:
            dump(value)
        except DatasetError:
            continue
        kept[str(key)] = value
    return kept


def plain(numbers: list[float]) -> list[float | int]:
    """Return numbers as JSON tools write them: whole ones without a point, which read back the same."""
    return [int(value) if value.is_integer() and math.copysign(1, value) > 0 else value for value in numbers]
