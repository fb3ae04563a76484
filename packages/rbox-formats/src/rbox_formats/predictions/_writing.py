"""Writing and resuming predictions files."""

from __future__ import annotations

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
