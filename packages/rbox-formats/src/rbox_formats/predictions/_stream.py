"""Reading the predictions of a run, of one file or of many, image by image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from rbox_formats import files
from rbox_formats._records import Dataset, ImageRecord
from rbox_formats.errors import PredictionsError, quoted
from rbox_formats.predictions import _parquet
from rbox_formats.predictions._header import Header, require_same
from rbox_formats.predictions._reading import header_of, lines_of, reaching
from rbox_formats.predictions._writing import Writer

SUFFIXES = (".jsonl", _parquet.SUFFIX)
"""How a file of predictions ends."""

Paths: TypeAlias = str | Path | Iterable[str | Path]


@dataclass(frozen=True, kw_only=True, repr=False)
class PredictionFile(Dataset):
    """Predictions as a dataset of records; `status` and `windows` are in their `metadata`."""

    header: Header


@dataclass(frozen=True)
class Stream:
    """The predictions of a run: a header, and records that are read one at a time, in each loop over it again.

    >>> for record in stream("parts"):  # doctest: +SKIP
    ...     print(record.image_id, len(record))

    Attributes:
        header: The header of all files.
        files: The files, in the order in which they are read.
    """

    header: Header
    files: tuple[Path, ...]

    def __iter__(self) -> Iterator[ImageRecord]:
        seen: set[str] = set()
        for path in self.files:
            for line, record in _records(path):
                if record.image_id in seen:
                    message = f"expected each image once, got {quoted(record.image_id)} again"
                    remedy = None if len(self.files) == 1 else "It is in two of the files, or twice in this one."
                    raise PredictionsError(message, path=path, line=line, remedy=remedy)
                seen.add(record.image_id)
                yield record


def read(path: Paths) -> PredictionFile:
    """Read the predictions of a run: a file, a folder of part files, or several of these.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import predictions
    >>> with TemporaryDirectory() as folder:
    ...     with predictions.Writer(Path(folder) / "val.jsonl", predictions.Header(["ship"], "my-detector-v1")):
    ...         pass
    ...     found = predictions.read(Path(folder) / "val.jsonl")
    >>> found.header.fingerprint, len(found)
    ('my-detector-v1', 0)

    Args:
        path: As in `stream`.

    Raises:
        PredictionsError: If there is no such file, it is of another version, an image occurs twice, a line breaks the
            schema (with its number), the last line is torn, as a killed run leaves it, or the files are of different
            runs.
    """
    found = stream(path)
    return PredictionFile(found.header.class_names, list(found), header=found.header)


def stream(path: Paths) -> Stream:
    """Open the predictions of a run, whose records are then read one at a time.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import ImageRecord, predictions
    >>> header = predictions.Header(["ship"], "my-detector-v1")
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("a", "b"):
    ...         record = ImageRecord(name, boxes=[[50, 40, 30, 10, 0]], labels=[0])
    ...         predictions.write(Path(folder) / f"part-{name}.jsonl", header, [record])
    ...     found = predictions.stream(folder)
    ...     print(found.header.class_names, [record.image_id for record in found])
    ('ship',) ['a', 'b']

    Args:
        path: A file, predictions.jsonl or Parquet; a folder, for the files in it that end in .jsonl or .parquet; or a
            list of files and folders.

    Raises:
        PredictionsError: If there is no such file, or the files are not of one run; while iterating, as in `read`.
    """
    found = parts(path)
    if not found:
        ends = " or ".join(SUFFIXES)
        where = path if isinstance(path, str | Path) else None
        raise PredictionsError(f"expected a folder of files that end in {ends}, found none in it", path=where)
    header, *others = (_header_of(part) for part in found)
    for part, other in zip(found[1:], others, strict=True):
        require_same(other, header, part, f"The files of one run have one header; that of {found[0].name} is another.")
    return Stream(header, tuple(found))


def parts(path: Paths) -> list[Path]:
    """Return the files of a run's predictions: a folder's, in the order of their names.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import predictions
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("b.jsonl", "a.parquet", "notes.txt"):
    ...         (Path(folder) / name).touch()
    ...     print([part.name for part in predictions.parts(folder)])
    ['a.parquet', 'b.jsonl']

    Args:
        path: As in `stream`.
    """
    named = [path] if isinstance(path, str | Path) or not isinstance(path, Iterable) else path
    found: list[Path] = []
    for each in (files.as_path(one, PredictionsError) for one in named):
        inside = [file for file in files.visible(each) if file.suffix.lower() in SUFFIXES] if each.is_dir() else [each]
        found += inside
    return found


def write(path: str | Path, header: Header, records: Iterable[ImageRecord]) -> None:
    """Write predictions into a new file, whole or not at all: Parquet if it ends in .parquet, else predictions.jsonl.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import ImageRecord, predictions
    >>> record = ImageRecord("harbour", boxes=[[50, 40, 30, 10, 0]], labels=[0], scores=[0.9])
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "val.parquet"
    ...     predictions.write(path, predictions.Header(["ship"], "my-detector-v1"), [record])
    ...     print(predictions.read(path)[0].scores.tolist())
    [0.9]

    Args:
        path: The file; one that is there is replaced.
        header: The header of the run.
        records: The images; they are read one at a time.

    Raises:
        PredictionsError: As `Writer` and its `write` do, or pyarrow (the extra "parquet") is missing for Parquet.
    """
    path = files.as_path(path, PredictionsError)
    if path.suffix.lower() == _parquet.SUFFIX:
        _parquet.write_records(path, header, records)
        return
    with files.replacing(path) as temporary, Writer(temporary, header) as writer:
        for record in records:
            writer.write(record)


def _is_parquet(path: Path) -> bool:
    with reaching(path):
        return path.exists() and _parquet.is_parquet(path)


def _header_of(path: Path) -> Header:
    if _is_parquet(path):
        return _parquet.read_header(path)
    return header_of(path)


def _records(path: Path) -> Iterator[tuple[int | None, ImageRecord]]:
    """Yield a file's records, each with the number of its line where the file has lines."""
    return ((None, record) for record in _parquet.read_records(path)) if _is_parquet(path) else lines_of(path)
