"""How a format joins boxes and names: a table of literals, from which writer, reader and grammar are made.

names before boxes     before_name ship after_name before_boxes BOX between_boxes BOX after_boxes between_groups ...
names after boxes      before_boxes BOX before_name ship after_name between_boxes ... after_boxes
names in the prompt    before_boxes BOX between_boxes BOX after_boxes
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from rbox_formats.codecs._numbers import any_numbers, whole_numbers
from rbox_formats.codecs._template import (
    READ_WHOLE,
    Pattern,
    beginnings,
    escape,
    literals,
    pieces,
    reading,
    strict,
)
from rbox_formats.typing import NumbersN, NumberSpansN

Span: TypeAlias = tuple[int, int]
Unit: TypeAlias = Literal["box", "name", "broken", "none", "junk"]

#: The tokens that end an answer, and those around it, in the tokenizers of the models that write these formats.
END = (
    "</s>",
    "<|im_end|>",
    "<|endoftext|>",
    "<eos>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<|end|>",
    "<|user|>",  # GLM's answers end where the next turn begins, or with their own tag
    "</answer>",
)
IGNORED = ("<s>", "<pad>", "<bos>")


# Each of those tokens has one of these strings, which are searched first, since they are rarer than "<".
_END_MARKS = ("/", "|", "eos", "end_of")
_LEADING = re.compile("(?>(?:" + "|".join([r"\s++", *map(re.escape, (*END, *IGNORED))]) + ")*)")


def start_of(text: str) -> int:
    """Return where a text begins: after its opening tokens. Florence-2's answers start with `</s>`."""
    match = _LEADING.match(text)
    return match.end() if match else 0


def end_of(text: str, start: int = 0) -> int:
    """Return where the first token that ends a text stands, from `start` on, or the text's length if there is none."""
    if not any(mark in text for mark in _END_MARKS):
        return len(text)
    return min((at for token in END if (at := text.find(token, start)) >= 0), default=len(text))


def may_be_token(text: str) -> bool:
    """Return whether more characters could complete a token that begins or ends a text."""
    return any(token.startswith(text) for token in (*END, *IGNORED))


def as_given(name: str) -> str:
    """Return a class name unchanged."""
    return name


@dataclass(frozen=True)
class Syntax:
    """The literals of a format.

    Attributes:
        box: The template of a box; see `_template`.
        broken: An expression for text that begins like a box, tried where `box` does not match.
        names: Where the class name is: before the boxes, after them, or in the prompt.
        spell: The function that spells a class name.
        stop: Characters that end a name, and so cannot be in one.
        number: The expression for a number in reading.
        token: The numbers of characters before and after a number that belong to its token, and so to its span.
        boundary: An expression for what must follow a box whose template has no end of its own.
        ignored: More pieces of text that carry no content.
        none: The word in place of the boxes of a class that has none; it is read, but never written.
    """

    box: str
    broken: str
    names: Literal["before", "after", "prompt"] = "before"
    before_name: str = ""
    after_name: str = ""
    before_boxes: str = ""
    between_boxes: str = ""
    after_boxes: str = ""
    between_groups: str = ""
    spell: Callable[[str], str] = as_given
    stop: str = "<"
    number: str = READ_WHOLE
    token: tuple[int, int] = (0, 0)
    boundary: str = ""
    ignored: tuple[str, ...] = ()
    none: str = ""

    #: The length of a name up to which it is read, in characters.
    longest_name: ClassVar[float] = float("inf")

    @cached_property
    def count(self) -> int:
        """K, the number of numbers in a box."""
        return len(literals(self.box)) - 1

    # Writing.

    def write(self, boxes: Sequence[tuple[float, ...]], names: Sequence[str]) -> str:
        """Return the text of boxes and their names as spelled, in their order; at least one."""
        written = [self.box % numbers for numbers in boxes]
        if self.names == "after":
            items = [box + self.before_name + name + self.after_name for box, name in zip(written, names, strict=True)]
            return self.before_boxes + self.between_boxes.join(items) + self.after_boxes
        if self.names == "prompt":
            return self.before_boxes + self.between_boxes.join(written) + self.after_boxes
        groups: list[tuple[str, list[str]]] = []
        for box, name in zip(written, names, strict=True):
            if not groups or groups[-1][0] != name:
                groups.append((name, []))
            groups[-1][1].append(box)
        return self.between_groups.join(
            self.before_name
            + name
            + self.after_name
            + self.before_boxes
            + self.between_boxes.join(group)
            + self.after_boxes
            for name, group in groups
        )

    # The grammar.

    def grammar(self, names: Sequence[str], limits: Sequence[tuple[float, float]]) -> str:
        """Return an expression for the texts of one box or more, given the names as spelled.

        It contains the expression of a box only twice, since engines make states for each copy.
        """
        box = strict(self.box, limits)
        name = f"(?:{'|'.join(escape(name) for name in names)})"
        before, between, after = map(escape, (self.before_boxes, self.between_boxes, self.after_boxes))
        if self.names == "after":
            box += escape(self.before_name) + name + escape(self.after_name)
        several = f"{box}(?:{between}{box})*" if between else f"(?:{box})+"
        if self.names != "before":
            return before + several + after
        head = escape(self.before_name) + name + escape(self.after_name) + before
        if not self.between_groups:
            return f"(?:{head}{several}{after})+"
        return f"{head}{box}(?:(?:{between}|{after}{escape(self.between_groups)}{head}){box})*{after}"

    # Reading.

    @cached_property
    def units(self) -> re.Pattern[str]:
        """An expression for one unit of a text; each character belongs to exactly one unit.

        A box has its numbers as groups 1 to K; a name is the group `name`, inside the box if the box contains it.
        """
        between = rf"(?:\s*+{escape(self.between_boxes)})?" if self.between_boxes.strip() else ""
        kinds = [self.box_expression + between, f"(?P<broken>{self.broken})", rf"\s++|{'|'.join(self._skipped)}"]
        if self.none:
            kinds.append(f"(?P<none>{escape(self.none)})")
        if self.names == "before":
            kinds.append(self.name_expression)
        return re.compile("|".join([*kinds, f"(?P<junk>{self.junk})"]), re.DOTALL)

    @cached_property
    def kinds(self) -> dict[int | None, Unit]:
        """The kind of a match of `units`, by its `lastindex`; pieces without content have no kind."""
        index = self.units.groupindex
        kinds: dict[int | None, Unit] = {self.count: "box", index["broken"]: "broken", index["junk"]: "junk"}
        if self.names != "prompt":
            kinds[index["name"]] = "name" if self.names == "before" else "box"
        if self.none:
            kinds[index["none"]] = "none"
        return kinds

    @property
    def box_may_grow(self) -> bool:
        """Whether the name of a box at the end of the text so far may still get more letters."""
        return self.names == "after" and self.name_may_grow

    @property
    def name_may_grow(self) -> bool:
        """Whether a name ends only where something else begins."""
        return (self.names == "after" and not self.after_name) or (self.names == "before" and not self.before_name)

    @cached_property
    def box_expression(self) -> str:
        """An expression for a box, with its name if that comes after it."""
        box = reading(self.box, self.number) + self.boundary
        return rf"{box}\s*+{self._spaced(self.before_name)}{self.name_expression}" if self.names == "after" else box

    @cached_property
    def _box_alone(self) -> re.Pattern[str]:
        return re.compile(self.box_expression, re.DOTALL)

    def end_of_box(self, match: re.Match[str]) -> int:
        """Return where the box of a match ends, without the separator after it."""
        box = self._box_alone.match(match.string, match.start())
        return box.end() if box else match.end()

    @cached_property
    def _has_whole_numbers_only(self) -> bool:
        return self.number == READ_WHOLE and not any(map(str.isdigit, "".join(literals(self.box))))

    def numbers(self, boxes: Sequence[re.Match[str]], text: str) -> tuple[NumbersN, NumberSpansN]:
        """Return the numbers of matches in a text: values (N, K), and places (N, K, 2), as tokens."""
        whole = self._has_whole_numbers_only
        numbers, spans = whole_numbers(boxes, self.count, text) if whole else any_numbers(boxes, self.count)
        before, behind = self.token
        return numbers, spans + np.array([-before, behind])

    def coordinates(self, broken: str) -> str | None:
        """Return the part of a broken box that holds its numbers, or None where it has no such part."""
        return broken

    def named(self, match: re.Match[str]) -> tuple[str, Span]:
        """Return the name in a match, without the spaces around it, and its place."""
        name, start = match["name"], match.start("name")
        words = name.strip()
        start += len(name) - len(name.lstrip())
        return words, (start, start + len(words))

    @cached_property
    def name_expression(self) -> str:
        """An expression for a name, with the literals around it unless those are only spaces."""
        stop = re.escape(self.stop)
        if self.name_may_grow:
            return rf"(?P<name>[^{stop}\s][^{stop}]*+)"
        around = f"(?P<name>[^{stop}]*+)(?:{escape(self.after_name)})?"
        return self._spaced(self.before_name) + around if self.names == "before" else around

    @cached_property
    def junk(self) -> str:
        """An expression for anything else: a tag, complete or cut short, or words up to what may begin a unit."""
        return rf"<[^<>]*+>?|[^\s<\[{{(][^<\[{{({re.escape(self.stop)}]*+|."

    @cached_property
    def _skipped(self) -> list[str]:
        """Tags and punctuation that have no content of their own, the longest first."""
        around = (self.before_boxes, self.between_boxes, self.after_boxes, self.between_groups, self.after_name)
        found = {piece for literal in around for piece in re.findall(r"<[^<>]*>|[^\w\s<]", literal)}
        by_length = sorted({*found, *self.ignored, *IGNORED}, key=lambda piece: (-len(piece), piece))
        return [escape(piece) for piece in by_length]

    @staticmethod
    def _spaced(literal: str) -> str:
        return "".join(rf"{escape(word)}\s*+" for word in literal.split())

    # Detecting a text that was cut short.

    def bare(self, text: str) -> str:
        """Return a text without spaces and without the tokens that carry no box."""
        text = "".join(text.split())
        for token in IGNORED:
            text = text.replace(token, "")
        return text

    def is_cut(self, rest: str, *, begun: bool, opening: str) -> bool:
        """Return whether a text stops in the middle.

        Args:
            rest: The text after its last box, or all of it if there is no box.
            begun: Whether there is a box.
            opening: The first characters of the text.
        """
        bare = self.bare(rest)
        if begun and bare == self.bare(self.after_boxes):
            return False
        return bool((self._goes_on if begun else self._begins).fullmatch(bare))

    @cached_property
    def _goes_on(self) -> re.Pattern[str]:
        between, after, group = map(self.bare, (self.between_boxes, self.after_boxes, self.between_groups))
        separators = "|".join(escape(piece) for piece in {between, *self.ignored} if piece)
        more = f"(?:{separators})*" if separators else ""
        choices = [more + beginnings(self._item), more + beginnings([between]), beginnings([after])]
        choices += [f"{escape(after)}(?:{escape(group)})?{beginnings(parts)}" for parts in self._groups]
        return re.compile("|".join(choices))

    @cached_property
    def _begins(self) -> re.Pattern[str]:
        starts = self._groups or [[self.bare(self.before_boxes), *self._item]]
        return re.compile("|".join(map(beginnings, starts)))

    @cached_property
    def _item(self) -> list[str]:
        return [*pieces(self.box), *self._name] if self.names == "after" else pieces(self.box)

    @cached_property
    def _name(self) -> list[str]:
        return [self.before_name, Pattern(f"[^{re.escape(self.stop)}]+"), self.after_name]

    @cached_property
    def _groups(self) -> list[list[str]]:
        """The ways in which a group of boxes may begin, in formats with the name before the boxes."""
        head = [*self._name, self.before_boxes]
        bodies = [pieces(self.box), *([[self.none]] if self.none else [])]
        return [[*head, *body] for body in bodies] if self.names == "before" else []
