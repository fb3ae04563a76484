"""Make regular expressions from the template of a box, such as "[%d, %d, %d, %d]".

A template has a slot for each number, as in printf: `%d`, `%04d` (padded with zeros), `%.2f` (decimals). From it come
the expression that reads a box, the one for a grammar, and one for all its beginnings, which detects a text that was
cut short.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SLOT = re.compile(r"%(?:0([0-9])|\.([0-9]))?[df]")

# The longest run of digits that is read, since no coordinate is longer, and int() and float() stay fast.
READ_WHOLE = r"[0-9]{1,9}"
READ_ANY = r"-?[0-9]{1,9}(?:\.[0-9]{0,9})?"


def escape(literal: str) -> str:
    """Return a literal for a regular expression, escaping only what every engine escapes alike."""
    return re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", literal)


def literals(template: str) -> list[str]:
    """Return the K + 1 pieces of text around a template's K slots."""
    return _SLOT.split(template)[::3]


def slots(template: str) -> list[str]:
    """Return the K slots of a template."""
    return [match[0] for match in _SLOT.finditer(template)]


def reading(template: str, number: str) -> str:
    """Return an expression that finds a box, with a group for each number and any space between the pieces.

    Args:
        template: The template of the box.
        number: The expression for a number.
    """
    expression = rf"({number})".join(_spaced(piece) for piece in literals(template))
    return expression.removesuffix(_SPACE)


# Possessive, so that no space can be matched in two ways.
_SPACE = r"\s*+"


def _spaced(literal: str) -> str:
    """Allow any space around brackets and separators of numbers, but none inside a token such as <loc_12>."""
    expression = ""
    for character in literal:
        if character in ",;|)]}" and not expression.endswith(_SPACE):
            expression += _SPACE
        expression += "" if character.isspace() else escape(character)
        if (character in ",;|()[]{}>" or character.isspace()) and not expression.endswith(_SPACE):
            expression += _SPACE
    return expression


def strict(template: str, limits: Sequence[tuple[float, float]]) -> str:
    """Return an expression that matches exactly what the template writes for numbers within their limits."""
    pieces = [escape(piece) for piece in literals(template)]
    numbers = [number_within(slot, *limit) for slot, limit in zip(slots(template), limits, strict=True)]
    return pieces[0] + "".join(number + piece for number, piece in zip(numbers, pieces[1:], strict=True))


def number_within(slot: str, low: float, high: float) -> str:
    r"""Return an expression for the numbers from `low` to `high` as a slot writes them.

    >>> number_within("%d", 0, 999)
    '(?:[0-9]|[1-9][0-9]|[1-9][0-9]{2})'
    >>> number_within("%.2f", 0, 1)
    '(?:0\\.[0-9]{2}|1\\.0{2})'
    """
    match = _SLOT.fullmatch(slot)
    width, decimals = (int(match[1] or 0), int(match[2] or 0)) if match else (0, 0)

    def up_to(bound: int) -> list[str]:
        if not decimals:
            return _whole_below(bound + 1, width)
        fraction = f"\\.[0-9]{{{decimals}}}"
        below = [whole + fraction for whole in _whole_below(bound, width)] if bound else []
        return [*below, f"{bound}\\.0{{{decimals}}}"]

    choices = up_to(int(high))
    if low < 0:
        choices += [f"-{choice}" for choice in up_to(-int(low))]
    return f"(?:{'|'.join(choices)})"


def _whole_below(bound: int, width: int) -> list[str]:
    """Return expressions that together match 0 to `bound - 1`, with the leading zeros that `width` asks for."""
    if width and bound >= 10**width:
        return [_digits(width)]
    digits = str(bound).zfill(width)
    lengths = () if width else range(1, len(digits))
    choices = ["[0-9]" if length == 1 else f"[1-9]{_digits(length - 1)}" for length in lengths]
    for place, digit in enumerate(digits):
        # Equal up to this digit, less at it, anything after it.
        least = 1 if place == 0 and len(digits) > 1 and not width else 0
        most = int(digit) - 1
        if most >= least:
            here = f"[{least}-{most}]" if most > least else str(most)
            choices.append(digits[:place] + here + _digits(len(digits) - place - 1))
    return choices


def _digits(count: int) -> str:
    return "[0-9]" + (f"{{{count}}}" if count > 1 else "") if count else ""


class Pattern(str):
    """A regular expression in place of a literal."""


NUMBER = Pattern("[-0-9.]+")


def pieces(template: str) -> list[str]:
    """Return a template's literals with `NUMBER` in place of its slots."""
    first, *rest = literals(template)
    return [first, *(piece for literal in rest for piece in (NUMBER, literal))]


def beginnings(parts: Sequence[str]) -> str:
    """Return an expression for every beginning of a text without spaces, from the empty to the whole text.

    Args:
        parts: Literals and `Pattern`s, in order.
    """
    expression = ""
    for part in reversed(parts):
        if isinstance(part, Pattern):
            expression = f"(?:{part}{expression})?"
        else:
            for character in reversed("".join(part.split())):
                expression = f"(?:{escape(character)}{expression})?"
    return expression
