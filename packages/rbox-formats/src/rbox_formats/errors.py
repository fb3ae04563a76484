"""What can go wrong, as classes: `RboxError` is the root of every error that the four packages raise on purpose."""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "BusyError",
    "ClassNameError",
    "CodecError",
    "DatasetError",
    "FormatsError",
    "ImageError",
    "PredictionsError",
    "RboxError",
]


class RboxError(ValueError):
    """Something that the user gave is not what was expected.

    Args:
        message: "expected <what>, got <what>".
        path: The file that it is about.
        line: The line in that file, from 1.
        remedy: What to do about it, as a sentence.
    """

    def __init__(
        self, message: str, *, path: str | Path | None = None, line: int | None = None, remedy: str | None = None
    ) -> None:
        where = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(f"{where}{message}" + (f"\n{remedy}" if remedy else ""))


class FormatsError(RboxError):
    """The root of what rbox_formats raises."""


class BusyError(FormatsError):
    """Another process writes to the same place."""


class DatasetError(FormatsError):
    """A dataset's folder or one of its annotations is not as its format says."""


class ImageError(FormatsError):
    """An image file is missing, not an image, or cut short."""


class ClassNameError(FormatsError):
    """A list of class names is ambiguous, or a name is not in it."""


class CodecError(FormatsError):
    """A text does not hold boxes as its codec writes them, or a codec's options are wrong."""


class PredictionsError(FormatsError):
    """A predictions file is torn, of another version, or belongs to another run."""
