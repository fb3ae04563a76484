"""JSON lists of objects, each with a list of numbers and a label, as several models write them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property

from rbox_formats.codecs._syntax import Span, Syntax
from rbox_formats.codecs._template import READ_ANY, reading

#: The text around and between the objects of a fenced list with one object per line, and a fenced empty list.
FENCE = ("```json\n[\n\t", "\n]\n```", ",\n\t")
FENCED_NONE = "```json\n[]\n```"


def spelled(name: str) -> str:
    """Return a class name as written inside a JSON string."""
    return json.dumps(name, ensure_ascii=False)[1:-1]


@dataclass(frozen=True)
class JsonSyntax(Syntax):
    r"""A list of objects; `json_syntax` makes one.

    An object is read if it has the two keys, in any order and among others. A fence of three backticks around the list
    is optional.
    """

    key: str = ""

    @cached_property
    def box_expression(self) -> str:
        """An expression for an object with both keys, each found by a lookahead at most once per object."""
        numbers = reading(self.box[self.box.index("[") :], self.number)
        label = r'[^{}]*?"label"\s*+:\s*+"(?P<name>(?>(?:[^"\\{}\n]|\\[^\n{}])*))"'
        return rf'\{{(?=[^{{}}]*?"{self.key}"\s*+:\s*+{numbers})(?={label})[^{{}}]*+\}}'

    @cached_property
    def junk(self) -> str:
        """An expression for words outside of objects."""
        return r"<[^<>]*+>?|[^\s<{}\[\],`][^<{}\[\],`]*+|."

    def named(self, match: re.Match[str]) -> tuple[str, Span]:
        """Return the label with its JSON escapes resolved, and its place."""
        written, span = super().named(match)
        try:
            return json.loads(f'"{written}"'), span
        except ValueError:
            return written, span

    def coordinates(self, broken: str) -> str | None:
        """Return the list under the key, because a key or a label may hold digits too."""
        found = re.search(rf'"{self.key}"\s*+:\s*+\[([^\]]*+)', broken)
        return found[1] if found else None

    def bare(self, text: str) -> str:
        """Return the text without its code fence too, complete or cut short."""
        return super().bare(text).replace("```json", "").replace("`", "")

    def is_cut(self, rest: str, *, begun: bool, opening: str) -> bool:
        """Return whether the text stops in the middle; objects without a list around them need no closing bracket."""
        bare = self.bare(rest)
        if begun and (bare.lstrip(",").startswith("]") or (not bare and "[" not in self.bare(opening)[:1])):
            return False
        if not begun and "```json".startswith(super().bare(rest)):
            return True
        return super().is_cut(rest, begun=begun, opening=opening)


def json_syntax(key: str, count: int, before: str, after: str, between: str) -> JsonSyntax:
    """Return the syntax of a JSON list of objects.

    Args:
        key: The key of the list of numbers.
        count: The number of numbers in that list.
        before: The text that opens the list of objects.
        after: The text that closes the list of objects.
        between: The text between two objects.
    """
    return JsonSyntax(
        box=f'{{"{key}": [{", ".join(["%d"] * count)}]',
        broken=r"\{[^{}]*+\}?",
        names="after",
        before_name=', "label": "',
        after_name='"}',
        before_boxes=before,
        between_boxes=between,
        after_boxes=after,
        spell=spelled,
        stop="{}\n",
        number=READ_ANY,
        ignored=("```json", "```", "[", "]", ","),
        key=key,
    )
