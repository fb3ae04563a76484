"""The part of a Parquet file's footer that says how much its row groups unpack to.

pyarrow has these numbers too, but a footer with damaged statistics ends the whole process there (pyarrow 26:
`pyarrow.parquet.RowGroupMetaData.column` lets a C++ exception out). So what is asked of a file that is not yet trusted
is read here.

Source: apache/parquet-format, parquet.thrift; Thrift's compact protocol (thrift-compact-protocol.md).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from rbox_formats.errors import PredictionsError

_LARGEST = 2**24
"""The limit on a footer's size in bytes: ours has 40 kB for 10 million objects."""

# Of the compact protocol's types: how many bytes those of a fixed size have.
_FIXED = {3: 1, 7: 8, 13: 16}
_BOOLS, _VARINTS, _TEXT, _LISTS, _MAP, _STRUCT = (1, 2), (4, 5, 6), 8, (9, 10), 11, 12


class RowGroup(NamedTuple):
    """What a footer says of a row group.

    Attributes:
        rows: The number of rows.
        values: The number of values of the column that has most.
        unpacked: The size in bytes when read.
        packed: The size in bytes on disk.
    """

    rows: int
    values: int
    unpacked: int
    packed: int


def read_row_groups(path: Path) -> list[RowGroup]:
    """Return what a file's footer says of its row groups.

    Raises:
        PredictionsError: If it is no footer, or one of more than 16 MiB.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 8, 0))
        length = int.from_bytes(file.read(4), "little")
        if file.read(4) != b"PAR1" or length > min(_LARGEST, size - 12):
            raise PredictionsError(f"expected a whole Parquet file with a footer up to {_LARGEST} bytes", path=path)
        file.seek(size - 8 - length)
        content = file.read(length)
    try:
        return [_row_group(group) for group in _Reader(content).struct()[4]]
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise PredictionsError("expected a whole Parquet file, got one with a broken footer", path=path) from error


def _row_group(group: dict[int, Any]) -> RowGroup:
    columns = [column[3] for column in group[1]]
    numbers = [(column[5], column[6], column[7]) for column in columns]
    if group[3] < 0 or any(number < 0 for each in numbers for number in each):
        raise ValueError("a negative number")
    return RowGroup(
        rows=group[3],
        values=max((values for values, _, _ in numbers), default=0),
        # Lengths that repeat take no room on disk, and 8 bytes of each value once they are read.
        unpacked=sum(max(unpacked, 8 * values) for values, unpacked, _ in numbers),
        packed=sum(packed for _, _, packed in numbers),
    )


class _Reader:
    """Values of the compact protocol, from the start of a buffer on."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def byte(self) -> int:
        """Return the next byte."""
        self.place += 1
        return self.content[self.place - 1]

    def varint(self) -> int:
        """Return a whole number without a sign, seven bits a byte."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("a number of more than 64 bits")

    def struct(self) -> dict[int, Any]:
        """Return the fields of a struct by their numbers."""
        fields: dict[int, Any] = {}
        number = 0
        while head := self.byte():
            number = number + (head >> 4) if head >> 4 else _signed(self.varint())
            kind = head & 15
            fields[number] = kind == 1 if kind in _BOOLS else self.value(kind)
        return fields

    def value(self, kind: int) -> Any:
        """Return a value of a type; one of fixed size or of text is passed over."""
        if kind in _VARINTS:
            return _signed(self.varint())
        if kind == _STRUCT:
            return self.struct()
        if kind in _LISTS:
            head = self.byte()
            count = head >> 4 if head >> 4 < 15 else self.varint()
            if count > len(self.content) - self.place:
                raise ValueError("a list that is longer than the footer")
            return [self.value(head & 15) for _ in range(count)]
        if kind == _MAP:
            count = self.varint()
            kinds = self.byte() if count else 0
            for _ in range(min(count, len(self.content))):
                self.value(kinds >> 4)
                self.value(kinds & 15)
            return None
        length = self.varint() if kind == _TEXT else 1 if kind in _BOOLS else _FIXED[kind]
        self.place += length
        return None


def _signed(value: int) -> int:
    return (value >> 1) ^ -(value & 1)
