"""JSON lists of objects, each with a list of numbers and a label, as several models write them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property

from rbox_formats.codecs._syntax import Span, Syntax
from rbox_formats.codecs._template import READ_ANY, reading

#: What stands around and between the objects of a fenced list with an object a line, and such a list with none.
FENCE = ("```json\n[\n\t", "\n]\n```", ",\n\t")
FENCED_NONE = "```json\n[]\n```"


def spelled(name: str) -> str:
    """Return a class name as it stands inside a JSON string."""
    return json.dumps(name, ensure_ascii=False)[1:-1]


@dataclass(frozen=True)
class JsonSyntax(Syntax):
    r"""A list of objects; `json_syntax` makes one.

    An object is read whatever the order of its keys and whatever others it has, so long as it has the two; a fence of
    three backticks around the list may be there or not.
    """

    key: str = ""

    @cached_property
    def box_expression(self) -> str:
        """An object with both keys in it: looked up ahead, each at most once per object."""
        numbers = reading(self.box[self.box.index("[") :], self.number)
        label = r'[^{}]*?"label"\s*+:\s*+"(?P<name>(?:[^"\\{}\n]|\\[^\n{}])*+)"'
        return rf'\{{(?=[^{{}}]*?"{self.key}"\s*+:\s*+{numbers})(?={label})[^{{}}]*+\}}'

    @cached_property
    def junk(self) -> str:
        """Words outside of objects."""
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
        key: The name of the numbers.
        count: How many there are.
        before: What opens the list.
        after: What closes it.
        between: What stands between two objects.
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
