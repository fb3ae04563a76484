"""The result of decoding a text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

from rbox_formats._geometry import quad_to_rbox
from rbox_formats.typing import BoxesN, BoxesOrQuadsN, LabelsN, NumberSpansN, QuadsN, SpansN

Status: TypeAlias = Literal["boxes", "empty", "truncated", "repeated", "failed"]
OnInvalid: TypeAlias = Literal["warn", "ignore", "raise"]


def joined_status(statuses: Iterable[str]) -> Status:
    """Return one status for an image whose answer is several texts: the first in the order below.

    >>> joined_status(["boxes", "empty", "truncated"])
    'truncated'
    >>> joined_status(["boxes", "empty"])
    'boxes'
    """
    found = set(statuses)
    order: tuple[Status, ...] = ("truncated", "repeated", "failed", "boxes")
    return next((status for status in order if status in found), "empty")


class DecodeWarning(UserWarning):
    """Warn that part of a text did not hold boxes and was left out."""


class Rejected(NamedTuple):
    """A piece of a text that gave no box.

    >>> from rbox_formats import codecs
    >>> decoded = codecs.get("plain").decode("tram[1,2,3,4,5]", ["ship"], image_size=(100, 80), on_invalid="ignore")
    >>> decoded.rejected[0].start, decoded.rejected[0].end
    (4, 15)

    Attributes:
        start: The index of its first character.
        end: The index after its last character.
        reason: Why it gave no box.
    """

    start: int
    end: int
    reason: str


@dataclass(frozen=True, eq=False)
class Decoded:
    """The boxes that a text holds, and what else was found in it.

    >>> from rbox_formats import codecs
    >>> text = "ship[500,400,300,100,0][20"
    >>> decoded = codecs.get("plain").decode(text, ["ship"], image_size=(100, 80), on_invalid="ignore")
    >>> decoded.status, decoded.labels.tolist(), [text[piece.start : piece.end] for piece in decoded.rejected]
    ('truncated', [0], ['[20'])

    Attributes:
        shapes: Quads (N, 4, 2) float64 as written, or boxes (N, 5) for formats that write boxes; in image pixels.
        labels: (N,) int64.
        status: "boxes": the text is complete and has at least one box. "empty": the text says that there are no boxes.
            "truncated": the text stops in the middle; the complete boxes before that are kept. "failed": the text has
            content, but no box. "repeated" is set by a detector that stopped a repeating answer, never by `decode`.
        rejected: The pieces that were left out, in the order of the text.
        near_matches: (name as written, class name) for each name that is not a class but similar enough to one.
        label_spans: (N, 2) int64: start and end (exclusive) of each box's label in the text; both 0 in formats whose
            class is in the prompt.
        number_spans: (N, K, 2) int64: start and end (exclusive) of each coordinate of each box; of its whole token in
            formats that write coordinates as tokens.
    """

    shapes: BoxesOrQuadsN
    labels: LabelsN
    status: Status
    rejected: tuple[Rejected, ...]
    near_matches: tuple[tuple[str, str], ...]
    label_spans: SpansN
    number_spans: NumberSpansN

    @cached_property
    def boxes(self) -> BoxesN:
        """(N, 5) float64, `le90`, pixels of the image: for quads, their minimum-area rectangles."""
        return self.shapes if self.shapes.ndim == 2 else quad_to_rbox(self.shapes)

    @property
    def quads(self) -> QuadsN | None:
        """(N, 4, 2) float64 as written, or None for formats that write boxes."""
        return self.shapes if self.shapes.ndim == 3 else None
