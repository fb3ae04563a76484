"""Writing, resuming and joining predictions files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from rbox_formats import files
from rbox_formats._records import ImageRecord
from rbox_formats.errors import FormatsError, PredictionsError
from rbox_formats.predictions._header import Header, first_line
from rbox_formats.predictions._reading import content_of, reaching
from rbox_formats.predictions._schema import NOT_AS_SAID, SCHEMA_REMEDY, SHOWN, decode_line, to_line, to_record


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
        first = first_line(header, self.path)
        with reaching(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        held = content_of(self.path, header)
        with reaching(self.path):
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
        name = repr(record.image_id)[:SHOWN]
        try:
            line = to_line(record)
            to_record(decode_line(line), self._classes)
        except FormatsError as error:
            raise PredictionsError(f"masks of {name}: {error}", path=self.path) from error
        except (TypeError, *NOT_AS_SAID) as error:  # JSON has neither NaN nor arrays, UTF-8 no half a character
            message = f"expected finite boxes and scores of {name}, and metadata for JSON, got: {error}"
            raise PredictionsError(message, path=self.path, remedy=SCHEMA_REMEDY) from error
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
    found = content_of(files.as_path(path, PredictionsError), header)
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
        if (content := content_of(source, header)) is not None:
            for image_id, span in content.spans.items():
                places.setdefault(image_id, (source, *span))
    names = dict.fromkeys([*(image_id for image_id in order if image_id in places), *places])
    with files.replacing(path) as temporary, ExitStack() as stack:
        opened = {source: stack.enter_context(source.open("rb")) for source, *_ in places.values()}
        whole = stack.enter_context(temporary.open("wb"))
        whole.write(first_line(header, path))
        for image_id in names:
            source, begin, end = places[image_id]
            opened[source].seek(begin)
            whole.write(opened[source].read(end - begin))
    for part in others:
        part.unlink(missing_ok=True)
