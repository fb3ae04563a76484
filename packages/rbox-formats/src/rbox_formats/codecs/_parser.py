"""Read a text, whole or as it arrives: one pass over its units, which remembers the name that boxes belong to."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from rbox_formats._records import ClassNames
from rbox_formats.codecs._coordinates import Limits
from rbox_formats.codecs._decoded import Rejected
from rbox_formats.codecs._syntax import Span, Syntax, end_of, may_be_token, start_of
from rbox_formats.errors import quoted
from rbox_formats.typing import LabelsN, NumbersN, NumberSpansN, SpansN

# How many characters at a text's beginning show whether a list was opened.
_OPENING = 32

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]*)?")


class Found(NamedTuple):
    """Boxes as read, in the order of the text.

    Attributes:
        numbers: (N, K), as written.
        labels: (N,), indices into the class names.
        label_spans: (N, 2), start and end of each label in the whole text.
        number_spans: (N, K, 2), start and end of each number in the whole text.
    """

    numbers: NumbersN
    labels: LabelsN
    label_spans: SpansN
    number_spans: NumberSpansN


class _Name(NamedTuple):
    """A name as a text has it, and its place in the whole text."""

    written: str = ""
    span: Span = (0, 0)


class _Owner(NamedTuple):
    """A name and its label, which hold for the boxes of one scan from index `start` on."""

    start: int
    label: int | None
    name: _Name


class Parser:
    """The state between two pieces of one text.

    Attributes:
        rejected: The pieces that gave no box, in the order in which they were found.
        near_matches: Names that were read as the most similar class: (as written, class name).
        ended: Whether a token that ends the text was read.
        says_none: Whether the word for a class without boxes was read.
        is_cut: Whether the text stops in the middle; known at its end.
    """

    def __init__(
        self, syntax: Syntax, limits: tuple[Limits, ...], class_names: ClassNames, near_match: float | None
    ) -> None:
        self._syntax = syntax
        self._low, self._high = np.array(limits, dtype=np.float64).T
        if len(limits) == 5:
            self._low[4], self._high[4] = -np.inf, np.inf  # an angle out of its range still describes a box
        self._class_names = class_names
        self._near_match = near_match
        self._labels: dict[str, int | None] = {}  # of the names seen so far
        self._near: set[str] = set()  # those of them that are not a class name
        # The name that the next boxes belong to, and whether it had any.
        self._name, self._name_is_used = _Name(), True
        self._label: int | None = 0 if syntax.names == "prompt" else None
        self._started = False  # whether anything except opening tokens was read
        self._begun, self._opening = False, ""
        self.rejected: list[Rejected] = []
        self.near_matches: dict[str, str] = {}
        self.ended = False
        self.says_none = False
        self.is_cut = False

    def scan(self, text: str, offset: int = 0, *, final: bool) -> tuple[Found, int]:
        """Read on from where the last call stopped.

        Args:
            text: The part of the text that has arrived and was not read yet.
            offset: The index of its first character in the whole text.
            final: Whether the text is complete. If not, reading stops after the last complete box. This is safe: no
                beginning of a box contains a complete box, so later text cannot change what was read up to there.

        Returns:
            The boxes, and the number of characters that were read.
        """
        start = 0 if self._started else start_of(text)
        if not self._started and not final and may_be_token(text[start:]):
            return self._found([], [_Owner(0, self._label, self._name)], text, offset), start
        self._started = True
        if (end := end_of(text, start)) < len(text):
            text, self.ended, final = text[:end], True, True
        syntax, kinds = self._syntax, self._syntax.kinds
        matches = list(syntax.units.finditer(text, start))
        if not final:
            until = len(text) - syntax.box_may_grow
            while matches and (kinds.get(matches[-1].lastindex) != "box" or matches[-1].end() > until):
                matches.pop()
            if not matches:
                return self._found([], [_Owner(0, self._label, self._name)], text, offset), start
        has_own_name = syntax.names == "after"
        boxes: list[re.Match[str]] = []
        owners = [_Owner(0, self._label, self._name)]
        last: re.Match[str] | None = None  # box, or the word for none
        broken: tuple[int, ...] = ()  # where the last broken box after it begins and ends
        open_name = False  # whether the text ends in a name that could continue
        for match in matches:
            kind = kinds.get(match.lastindex)
            if kind == "box":
                last = match
                if has_own_name:
                    self._enter_name(match, offset)
                    owners.append(_Owner(len(boxes), self._label, self._name))
                    open_name = syntax.name_may_grow and match.end() == len(text) and self._label is None
                if self._label is None:
                    self._reject(match, offset, self._why_unnamed())
                else:
                    boxes.append(match)
                self._name_is_used = True
                broken = ()
            elif kind == "name":
                self._leave_name()
                self._enter_name(match, offset)
                owners.append(_Owner(len(boxes), self._label, self._name))
                open_name = syntax.name_may_grow and match.end() == len(text)
            elif kind == "broken":
                self._reject(match, offset, self._why_broken(match[0]))
                self._name_is_used = True
                broken = match.span() if self._name.written or syntax.names != "before" else ()
            elif kind == "none":
                self.says_none = self._name_is_used = True
                last, broken = match, ()
            elif kind == "junk":
                self._reject(match, offset, _why_junk(match[0]))
        self._begun |= last is not None
        # A box's match may include the separator after it, which shows whether a text was cut.
        rest = syntax.end_of_box(last) if last else start
        self._opening = (self._opening + text[start : None if final else rest]).lstrip()[:_OPENING]
        if final:
            self._leave_name()
            self.is_cut = not self.ended and self._is_cut(text, rest, broken, open_name=open_name)
        return self._found(boxes, owners, text, offset), rest

    def _is_cut(self, text: str, rest: int, broken: tuple[int, ...], *, open_name: bool) -> bool:
        """Return whether the text after the last box, or from the last broken one on, begins another box."""
        if open_name:
            return self._begins_a_class(self._name.written)
        starts = [(rest, self._begun), *((place, True) for place in broken)]
        return any(self._syntax.is_cut(text[at:], begun=begun, opening=self._opening) for at, begun in starts)

    def _found(self, boxes: list[re.Match[str]], owners: list[_Owner], text: str, offset: int) -> Found:
        numbers, number_spans = self._syntax.numbers(boxes, text)
        counts = np.diff([*(owner.start for owner in owners), len(boxes)])
        # A name that is not a class has no boxes here, whatever its label is.
        labels = np.array([-1 if owner.label is None else owner.label for owner in owners], dtype=np.int64)
        spans = np.array([owner.name.span for owner in owners], dtype=np.int64)
        found = Found(
            numbers=numbers,
            labels=np.repeat(labels, counts),
            label_spans=np.repeat(spans, counts, axis=0),
            number_spans=number_spans + offset,
        )
        inside = (numbers >= self._low) & (numbers <= self._high)
        kept = inside.all(axis=1)
        if not kept.all():
            for row in np.flatnonzero(~kept):
                column = int(np.argmin(inside[row]))
                bounds = f"{self._low[column]:g} to {self._high[column]:g}"
                reason = f"the number {numbers[row, column]:.12g}, which is not in {bounds}"
                self._reject(boxes[row], offset, reason)
            found = Found(*(column[kept] for column in found))
        if self._near:
            self._note_near(owners, counts, kept)
        return found

    def _note_near(self, owners: list[_Owner], counts: np.ndarray, kept: np.ndarray) -> None:
        """Note the names that were read as the class nearest to them, if a box came of it."""
        for owner, start, count in zip(owners, np.cumsum(counts) - counts, counts, strict=True):
            if owner.label is not None and owner.name.written in self._near and kept[start : start + count].any():
                self.near_matches[owner.name.written] = self._class_names[owner.label]

    def _enter_name(self, match: re.Match[str], offset: int) -> None:
        written, (start, stop) = self._syntax.named(match)
        self._name, self._name_is_used = _Name(written, (start + offset, stop + offset)), not written
        if written not in self._labels:
            label = self._class_names.find(written)
            if label is None and self._near_match is not None:
                label = _nearest(written, self._class_names, self._near_match)
                self._near.update(() if label is None else (written,))
            self._labels[written] = label
        self._label = self._labels[written]

    def _leave_name(self) -> None:
        if not self._name_is_used:
            self.rejected.append(Rejected(*self._name.span, "a name without coordinates"))
        self._name_is_used = True

    def _begins_a_class(self, text: str) -> bool:
        spelled = (self._syntax.spell(name).casefold() for name in self._class_names)
        return any(name.startswith(text.casefold()) for name in spelled)

    def _reject(self, match: re.Match[str], offset: int, reason: str) -> None:
        self.rejected.append(Rejected(offset + match.start(), offset + self._syntax.end_of_box(match), reason))

    def _why_unnamed(self) -> str:
        return (
            f"an unknown class {quoted(self._name.written)}"
            if self._name.written
            else "coordinates without a class name"
        )

    def _why_broken(self, text: str) -> str:
        if self._label is None and self._syntax.names == "before":
            return self._why_unnamed()
        coordinates, wanted = self._syntax.coordinates(text), self._syntax.count
        if coordinates is None:
            return "no coordinates where the format has them"
        found = len(_NUMBER.findall(coordinates))
        return (
            f"{found} coordinates where a box has {wanted}" if found != wanted else "a box not written as it should be"
        )


def _why_junk(text: str) -> str:
    if not text.startswith("<"):
        return "not a box"
    return "an unknown tag" if text.endswith(">") else "a tag cut short"


def _nearest(written: str, class_names: ClassNames, similarity: float) -> int | None:
    """Return the label most like the written name, if it is similar enough (Levenshtein, normalised to 0..1)."""
    from rapidfuzz import process
    from rapidfuzz.distance import Levenshtein

    def plain(text: str) -> str:
        return text.replace("-", " ").replace("_", " ").casefold().strip()

    # Not by rapidfuzz's own cut-off, which by rounding can exceed a similarity that is reached exactly.
    best = process.extractOne(written, class_names, processor=plain, scorer=Levenshtein.normalized_similarity)
    return None if best is None or best[1] < similarity - 1e-9 else int(best[2])
