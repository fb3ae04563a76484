"""The errors of rbox_formats; `RboxError` is the root of every error that the five packages raise on purpose."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = [
    "BusyError",
    "ClassNameError",
    "CodecError",
    "DatasetError",
    "FormatsError",
    "ImageError",
    "ManifestError",
    "ModelFileError",
    "PredictionsError",
    "RboxError",
    "counted",
    "differing",
    "listed",
    "quoted",
    "said",
]

# The most characters of a text from outside that a message repeats, of a list of names (FAIR1M's classes fill it), and
# of another library's words.
_QUOTED, _LISTED, _SAID = 80, 430, 300
_LONGEST_PATH = 400


class RboxError(ValueError):
    """An input of the user is wrong.

    >>> from rbox_formats import RboxError
    >>> print(RboxError("expected a number, got 'x'", path="P0001.txt", line=3, remedy="Correct the line."))
    P0001.txt:3: expected a number, got 'x'
    Correct the line.

    Args:
        message: What is wrong, often as "expected <what>, got <what>".
        path: The file with the fault.
        line: The line in that file, from 1.
        remedy: What to do about it, as a sentence.
    """

    def __init__(
        self, message: str, *, path: str | Path | None = None, line: int | None = None, remedy: str | None = None
    ) -> None:
        file = "" if path is None else str(path)
        if len(file) > _LONGEST_PATH:  # no real path, but one that another file names
            file = quoted(file, len(file), marks=False)
        where = "" if path is None else f"{file}: " if line is None else f"{file}:{line}: "
        super().__init__(f"{where}{message}" + (f"\n{remedy}" if remedy else ""))


class FormatsError(RboxError):
    """The root of the errors of rbox_formats."""


class BusyError(FormatsError):
    """Another process writes to the same place."""


class DatasetError(FormatsError):
    """A dataset's folder or one of its annotations breaks the rules of its format."""


class ImageError(FormatsError):
    """An image file is missing, not an image, or cut short."""


class ModelFileError(FormatsError):
    """A path is not a detector that any installed package knows."""


class ClassNameError(FormatsError):
    """A list of class names is ambiguous, or a name is not in it."""


class CodecError(FormatsError):
    """A text does not hold boxes as its codec writes them, or a codec's options are wrong."""


class PredictionsError(FormatsError):
    """A predictions file is torn, of another version, or belongs to another run."""


class ManifestError(FormatsError):
    """A manifest of shards, or a collection that one is made of, does not hold what it should."""


def quoted(value: Any, place: int = 0, *, marks: bool = True) -> str:
    """Return what a file or a caller gave, as a message repeats it: at most 80 characters, dots where there are more.

    >>> quoted("ship"), quoted("a" * 50 + "!" + "b" * 50, 50)[:12], quoted([1, 2])
    ("'ship'", "...'aaaaaaaa", '[1, 2]')

    Args:
        value: A text, or anything else, which is shown by its repr.
        place: The index of the character that matters: the part around it is shown.
        marks: Whether a text is put in quotation marks, with unprintable characters escaped.
    """
    marks = marks and isinstance(value, str)
    text = value if isinstance(value, str) else repr(value)
    first = max(0, min(place - _QUOTED // 2, len(text) - _QUOTED))
    piece = text[first : first + _QUOTED]
    shown = repr(piece) if marks else piece
    while len(shown) > _QUOTED + 2:  # a character that cannot be printed takes up to ten
        piece = piece[: len(piece) - max(1, (len(shown) - _QUOTED - 2) // 10)]
        shown = repr(piece)
    return ("..." if first else "") + shown + ("..." if first + len(piece) < len(text) else "")


def differing(name: str, old: Any, new: Any) -> str:
    """Return how two values of a setting differ, as a message says it: from the first difference on.

    >>> differing("codec", "florence2", "plain")
    "codec 'florence2', not 'plain'"
    """
    before, now = repr(old), repr(new)
    place = next((i for i, (a, b) in enumerate(zip(before, now, strict=False)) if a != b), min(len(before), len(now)))
    return f"{name} {quoted(before, place, marks=False)}, not {quoted(now, place, marks=False)}"


def said(error: BaseException) -> str:
    r"""Return the message of another library's error, on one line and shortened.

    >>> said(OSError("first line\nsecond line"))
    'first line second line'
    """
    return " ".join(str(error).split())[:_SAID] or type(error).__name__


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number with what is counted, in the singular or the plural.

    >>> counted(1, "picture is", "pictures are"), counted(1200, "image")
    ('1 picture is', '1,200 images')

    Args:
        count: The number.
        one: What is written after 1.
        many: What is written after another number. None: `one` with an "s".
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def listed(names: Iterable[Any]) -> str:
    """Return names with commas between, shortened to 430 characters and the number of further names.

    >>> listed(["plane", "ship"])
    'plane, ship'
    """
    names = list(names)
    shown: list[str] = []
    room = _LISTED
    for name in names:
        text = quoted(str(name), marks=False)
        if (room := room - len(text) - 2) < 0:
            return ", ".join([*shown, f"and {len(names) - len(shown)} more"])
        shown.append(text)
    return ", ".join(shown)
