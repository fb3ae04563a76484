"""The options of a request: in its address, in a form, or in JSON."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rbox_formats import ClassNames
from rbox_formats.errors import quoted

from rbox_serve.errors import RequestError

#: The kinds of answers, and the content type of each.
CONTENT_TYPES = {
    "json": "application/json",
    "geojson": "application/geo+json",
    "png": "image/png",
    "events": "text/event-stream",
}

_SMALLEST_WINDOW = 16  # px
_YES, _NO = ("true", "1", "yes"), ("false", "0", "no")


@dataclass(frozen=True)
class Options:
    """What a request asks for.

    Attributes:
        format: One of `CONTENT_TYPES`.
        window: Side of the windows in pixels; 0: whole images. None: the detector's own choice.
        gap: Overlap of neighbouring windows in pixels. None: the detector's own choice.
        score_threshold: Drops boxes of a lower score. None: the detector's own choice.
        classes: The classes whose boxes are wanted. None: all.
        exact: Whether windows share their batches with no other request's.
        crs: The system of coordinates of GeoJSON, such as "EPSG:4326". None: the image's own.
    """

    format: str = "json"
    window: int | None = None
    gap: int | None = None
    score_threshold: float | None = None
    classes: tuple[str, ...] | None = None
    exact: bool = False
    crs: str | None = None

    @classmethod
    def of(cls, given: Iterable[tuple[str, Any]], accept: str = "") -> Options:
        """Read options.

        Args:
            given: Names with values: texts, or what JSON has.
            accept: The header Accept, which chooses the format where no option does.

        Raises:
            RequestError: If there is no such option, or a value is out of its range.
        """
        values: dict[str, Any] = {}
        classes: list[str] = []
        for name, value in given:
            if name == "class":
                classes += [str(each) for each in (value if isinstance(value, list) else [value])]
            elif name not in _READERS:
                close = difflib.get_close_matches(name, [*_READERS, "class"], n=1)
                hint = f"Did you mean {close[0]!r}? " if close else ""
                raise RequestError(
                    f"expected an option among {', '.join([*_READERS, 'class'])}, got {quoted(name)}",
                    remedy=f"{hint}Leave it out, or correct its name.",
                )
            elif value is not None and value != "":
                values[name] = _READERS[name](name, value)
        found = cls(**{"format": _accepted(accept), **values}, classes=tuple(classes) or None)
        if found.window and found.gap is not None and found.gap >= found.window:
            raise RequestError(f"expected a gap below the window of {found.window} px, got {found.gap}")
        if found.gap is not None and found.window is None:
            raise RequestError("expected a window with a gap, got none", remedy="Give both, or leave the gap out.")
        return found

    @property
    def generation(self) -> dict[str, Any]:
        """What a predictions file says of how its boxes came about; only what was asked for."""
        named = {"window": self.window, "gap": self.gap, "score_threshold": self.score_threshold}
        return {name: value for name, value in named.items() if value is not None}

    def least_windows(self, width: int, height: int) -> int:
        """Return how many windows there will be at least, where the request says their size; before they are made."""
        if not self.window:
            return 1
        stride = self.window - (self.gap or 0)
        return math.prod(max(math.ceil((side - self.window) / stride), 0) + 1 for side in (width, height))

    def labels(self, class_names: ClassNames) -> list[int] | None:
        """Return the labels of the classes that are wanted; None: all.

        Raises:
            RequestError: If the detector does not know one.
        """
        if self.classes is None:
            return None
        found = [class_names.find(name) for name in self.classes]
        if None in found:
            raise RequestError(
                f"expected classes among {', '.join(class_names)}, got {quoted(self.classes[found.index(None)])}",
                remedy="GET /v1/models lists the classes of each model.",
            )
        return [label for label in found if label is not None]


def _whole(name: str, value: Any) -> int:
    try:
        number = int(str(value))
    except ValueError as error:
        raise RequestError(f"expected {name} as a whole number of pixels, got {quoted(value)}") from error
    if number < 0 or (name == "window" and 0 < number < _SMALLEST_WINDOW):
        least = f"0 for whole images, or {_SMALLEST_WINDOW} px or more" if name == "window" else "0 px or more"
        raise RequestError(f"expected a {name} of {least}, got {number}")
    return number


def _share(name: str, value: Any) -> float:
    try:
        number = float(str(value))
    except ValueError as error:
        raise RequestError(f"expected {name} as a number, got {quoted(value)}") from error
    if not 0 <= number <= 1:
        raise RequestError(f"expected {name} from 0 to 1, got {number}")
    return number


def _flag(name: str, value: Any) -> bool:
    text = str(value).lower()
    if text not in (*_YES, *_NO):
        raise RequestError(f"expected {name} as true or false, got {quoted(value)}")
    return text in _YES


def _format(name: str, value: Any) -> str:
    if value not in CONTENT_TYPES:
        raise RequestError(f"expected a format among {', '.join(CONTENT_TYPES)}, got {quoted(value)}")
    return str(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise RequestError(f"expected {name} as a text, got {quoted(value)}")
    return value


_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "format": _format,
    "window": _whole,
    "gap": _whole,
    "score_threshold": _share,
    "exact": _flag,
    "crs": _text,
}


def _accepted(accept: str) -> str:
    """Return the format that a client would like best by its header Accept: JSON, where that says nothing of ours."""
    best, best_quality = "json", 0.0
    for part in accept.split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((_quality(each[2:]) for each in parameters if each.startswith("q=")), 1.0)
        for name, content_type in CONTENT_TYPES.items():
            if kind == content_type and quality > best_quality:
                best, best_quality = name, quality
    return best


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
