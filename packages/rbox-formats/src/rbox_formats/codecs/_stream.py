"""Decode boxes while a text arrives, piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rbox_formats._geometry import quad_to_rbox
from rbox_formats.codecs._decoded import Decoded
from rbox_formats.codecs._parser import Found, Parser
from rbox_formats.typing import BoxesOrQuadsN, NumbersN

# After this many characters without a box, the next attempt waits until there are an eighth more of them, so that the
# time stays linear in the length of any text.
_PATIENCE = 256


class StreamedBox(NamedTuple):
    """One box, as soon as its text is complete.

    >>> from rbox_formats import codecs
    >>> [found] = codecs.get("plain").stream(["ship"], image_size=(100, 80)).feed("ship[500,400,300,100,0];")
    >>> found.box.tolist(), found.label
    ([50.0, 40.0, 30.0, 10.0, 0.0], 0)

    Attributes:
        box: (5,) `le90`, pixels of the image.
        quad: (4, 2) as written, or None for formats that write boxes.
        label: An index into the class names.
        label_span: Start and end (exclusive) of its label in the whole text.
        number_spans: (K, 2), start and end (exclusive) of each coordinate in the whole text.
    """

    box: np.ndarray
    quad: np.ndarray | None
    label: int
    label_span: tuple[int, int]
    number_spans: np.ndarray


class StreamDecoder:
    """A decoder that takes a text as it arrives and returns each box once, when it is complete; see `Codec.stream`.

    >>> from rbox_formats import ClassNames, codecs
    >>> decoder = codecs.get("florence2").stream(ClassNames(["ship"]), image_size=(1000, 1000))
    >>> for chunk in ("sh", "ip<loc_10><loc_20><loc_10><loc_40>", "<loc_50><loc_40><loc_50><loc_20>", "<sep><loc_7>"):
    ...     for found in decoder.feed(chunk):
    ...         print(found.label, found.box.round(1).tolist())
    0 [30.5, 30.5, 40.0, 20.0, 0.0]
    >>> decoder.close().status
    'truncated'
    """

    def __init__(
        self,
        parser: Parser,
        to_shapes: Callable[[NumbersN], BoxesOrQuadsN],
        finish: Callable[[Found, Parser, str], Decoded],
    ) -> None:
        """Make a decoder.

        Args:
            parser: The parser of the text.
            to_shapes: Converts numbers (N, K) to boxes or quads of the image.
            finish: Makes the result from what was found in the whole text.
        """
        self._parser, self._to_shapes, self._finish = parser, to_shapes, finish
        self._chunks: list[str] = []
        self._pending: list[str] = []
        self._pending_length = 0
        self._read = 0
        self._next_attempt = 0
        self._found: list[Found] = []
        self._closed = False

    def feed(self, chunk: str) -> list[StreamedBox]:
        """Take the next piece of the text, of any length, and return the boxes that it completes."""
        if self._parser.ended or self._closed:
            return []
        self._chunks.append(chunk)
        self._pending.append(chunk)
        self._pending_length += len(chunk)
        return self._scan(final=False) if self._pending_length >= self._next_attempt else []

    def close(self) -> Decoded:
        """Return the result of the whole text, as `Codec.decode` does (without warnings), with all boxes."""
        if not (self._parser.ended or self._closed):
            self._scan(final=True)
        self._closed = True
        columns = zip(*self._found, strict=True)
        found = Found(*(np.concatenate(column) for column in columns))
        return self._finish(found, self._parser, "".join(self._chunks))

    def _scan(self, *, final: bool) -> list[StreamedBox]:
        text = "".join(self._pending)
        found, length = self._parser.scan(text, self._read, final=final)
        self._read += length
        self._pending, self._pending_length = [text[length:]], len(text) - length
        self._next_attempt = self._pending_length * 9 // 8 if self._pending_length > _PATIENCE else 0
        if len(found.labels) or not self._found:
            self._found.append(found)
        if not len(found.labels):
            return []
        shapes = self._to_shapes(found.numbers)
        quads = shapes if shapes.ndim == 3 else None
        boxes = shapes if quads is None else quad_to_rbox(quads)
        return [
            StreamedBox(boxes[i], None if quads is None else quads[i], int(label), tuple(span), spans)
            for i, (label, span, spans) in enumerate(
                zip(found.labels, found.label_spans.tolist(), found.number_spans, strict=True)
            )
        ]
