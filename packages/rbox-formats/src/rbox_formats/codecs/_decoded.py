"""What decoding a text gives."""

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
    """Return the status of an image whose answer is several texts: the most serious of theirs."""
    found = set(statuses)
    order: tuple[Status, ...] = ("truncated", "repeated", "failed", "boxes")
    return next((status for status in order if status in found), "empty")


class DecodeWarning(UserWarning):
    """Part of a text did not hold boxes and was left out."""


class Rejected(NamedTuple):
    """A piece of a text that gave no box.

    Attributes:
        start: Its first character.
        end: One past its last.
        reason: Why.
    """

    start: int
    end: int
    reason: str


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a text says.

    Attributes:
        shapes: Quads (N, 4, 2) float64 as written, or boxes (N, 5) for formats that write those; pixels of the image.
        labels: (N,) int64.
        status: "boxes": at least one, and the text came to its end. "empty": it says that there are none.
            "truncated": it stops in the middle; the complete boxes before are here. "failed": it says something, but
            no box. ("repeated" is what a detector says of an answer that it stopped: no text alone tells that.)
        rejected: The pieces left out, in the order of the text.
        near_matches: (as written, as taken) for each name that is not a class, but near enough to one.
        label_spans: (N, 2) int64, first character and one past the last of each box's label; both 0 in formats that
            leave the class to the prompt.
        number_spans: (N, K, 2) int64, the same of each of its coordinates, as a token where the format has tokens.
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
        """(N, 5) float64, `le90`, pixels of the image: of quads, their minimum-area rectangles."""
        return self.shapes if self.shapes.ndim == 2 else quad_to_rbox(self.shapes)

    @property
    def quads(self) -> QuadsN | None:
        """(N, 4, 2) float64 as written, or None for formats that write boxes."""
        return self.shapes if self.shapes.ndim == 3 else None
