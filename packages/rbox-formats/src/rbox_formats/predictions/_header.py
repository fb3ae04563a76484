"""The header of a predictions file, its first line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rbox_formats._records import ClassNames
from rbox_formats.errors import PredictionsError, RboxError, differing, quoted
from rbox_formats.predictions._schema import NOT_AS_SAID, FirstLine, decode_header, decode_version, refusal

SCHEMA_VERSION = 1


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
    ...     found = predictions.read(path)
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
            version = decode_version(line).schema_version
            if version == SCHEMA_VERSION:
                return cls._of(decode_header(line))
        except NOT_AS_SAID as error:
            raise refusal("the header of a predictions file", line, error, path, 1) from error
        raise PredictionsError(f"expected schema version {SCHEMA_VERSION}, got {quoted(version)}", path=path, line=1)

    @classmethod
    def _of(cls, values: FirstLine) -> Header:
        if values.codec is not None and not isinstance(values.codec.get("name"), str):
            raise ValueError("expected a text - at `$.codec.name`")
        try:
            names = ClassNames(values.class_names)
        except RboxError as error:
            raise ValueError(f"{error} - at `$.class_names`") from error
        return cls(names, values.fingerprint, values.codec, values.generation, values.dataset)


def first_line(header: Header, path: Path) -> bytes:
    """Return the header's line, after checking that it can be read back."""
    try:
        line = json.dumps(header.to_dict(), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise PredictionsError(f"expected a header that JSON can hold, got: {error}", path=path) from error
    Header.from_line(line, path)
    return line + b"\n"


def require_same(
    found: Header, wanted: Header, path: Path, remedy: str = "Choose another file (--out), or remove this one."
) -> None:
    """Check that two headers are equal, both as read from a line: a file cannot tell tuples from lists."""
    old, new = found.to_dict(), wanted.to_dict()
    different = [differing(key, old[key], new[key]) for key in new if old[key] != new[key]]
    if different:
        raise PredictionsError(
            f"expected predictions of the same run, got a file with {'; '.join(different)}", path=path, remedy=remedy
        )
