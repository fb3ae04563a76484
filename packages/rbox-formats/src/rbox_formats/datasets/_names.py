"""Read class names from a file beside a dataset: a key of a YAML file, or a text file with one name per line.

Only the part of YAML that such files use is read: the key at the start of a line, then a list or a mapping from 0, 1, 2
..., in brackets or one entry a line, the names plain or in quotes. The rest of the file is passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from rbox_formats._records import ClassNames, _normalised
from rbox_formats.errors import ClassNameError, DatasetError, listed, quoted
from rbox_formats.parsing.lines import read_text, split_lines

# One entry: a number and a colon where it is a mapping's, and a name, plain or in quotes. No text can be matched in two
# ways, so the time is linear.
_QUOTED = r"""  "(?:[^"\\\n]|\\.)*"  |  '(?:[^'\n]|'')*'  """
_GAP = r"\s* (?:\#[^\n]*\n\s*)*"  # white space and comments
_IN_BRACKETS = r"[^\s,\[\]{}\#'\"][^\s,\[\]{}\#]* (?:[ ]+[^\s,\[\]{}\#]+)*"
_ON_A_LINE = r"[^\s'\"\[{&*!|>\#]\S* (?:[ ]+[^\s\#]\S*)*"
_BRACKETED = re.compile(rf"(?:(\d+)\s*:\s+)? ({_QUOTED}|{_IN_BRACKETS}) {_GAP} (?:,|(?=[\]}}])) {_GAP}", re.VERBOSE)
_ITEM = re.compile(rf"\s* (?:-\s+|(\d+)\s*:\s+) ({_QUOTED}|{_ON_A_LINE}) \s* (?:\#.*)?", re.VERBOSE)
_OPENING = re.compile(rf"\s*([\[{{]) {_GAP}", re.VERBOSE)
_REMEDY = "Write it as `{key}: [ship, plane]`, or give the names (--class-names, class_names=)."


def from_lines(path: Path) -> ClassNames:
    """Read class names from a text file, one a line.

    Raises:
        DatasetError: If there are no names, or two are the same.
    """
    names = [line.strip() for line in split_lines(read_text(path)) if line.strip()]
    if not names:
        raise DatasetError("expected class names, one a line, found none", path=path)
    return checked(names, path)


def from_yaml(path: Path, key: str) -> ClassNames | None:
    """Read the names under a key of a YAML file; return None where it has no such key.

    Raises:
        DatasetError: If the value of the key is not a list of names.
    """
    lines = split_lines(read_text(path))
    starts = [number for number, line in enumerate(lines) if re.match(rf"{key}\s*:(\s|$)", line)]
    if not starts:
        return None
    first = starts[0]
    rest = lines[first].partition(":")[2]
    if rest.strip() and not rest.strip().startswith("#"):
        entries = _in_brackets("\n".join([rest, *lines[first + 1 :]]))
    else:
        entries = _by_line(lines[first + 1 :])
    if not entries:
        raise DatasetError(
            f"expected a list of names under {quoted(key)}, got {quoted(rest.strip())}",
            path=path,
            line=first + 1,
            remedy=_REMEDY.format(key=key),
        )
    numbers = [number for number, _ in entries]
    if any(number is not None for number in numbers):
        if sorted(number or "0" for number in numbers) != sorted(str(i) for i in range(len(entries))):
            raise DatasetError(
                f"expected {quoted(key)} with the numbers 0 to {len(entries) - 1}, got {listed(numbers)}",
                path=path,
                line=first + 1,
            )
        entries = sorted(entries, key=lambda entry: int(entry[0] or 0))
    return checked([_scalar(text) for _, text in entries], path)


def to_yaml(class_names: ClassNames, key: str, *, numbered: bool = True) -> str:
    """Return names as a YAML mapping from their numbers, or as a list; JSON's strings are YAML's."""
    lines = [json.dumps(name, ensure_ascii=False) for name in class_names]
    return f"{key}:\n" + "".join(
        f"  {label}: {line}\n" if numbered else f"- {line}\n" for label, line in enumerate(lines)
    )


def used(names: Iterable[str]) -> ClassNames:
    """Return the names that a dataset's objects have, sorted; of names that lookup takes for equal, the first."""
    distinct: dict[str, str] = {}
    for name in sorted(names):
        if key := _normalised(name):
            distinct.setdefault(key, name)
    return ClassNames(distinct.values())


def checked(names: list[str], path: Path) -> ClassNames:
    """Check and return names as class names.

    Raises:
        DatasetError: If two are the same, or one is empty; with the file.
    """
    try:
        return ClassNames(names)
    except ClassNameError as error:
        raise DatasetError(str(error), path=path) from error


def _in_brackets(text: str) -> list[tuple[str | None, str]] | None:
    """Return the entries of `[...]` or `{...}`, over as many lines as they take; None for anything else."""
    opening = _OPENING.match(text)
    if opening is None:
        return None
    close = "]" if opening[1] == "[" else "}"
    entries: list[tuple[str | None, str]] = []
    position = opening.end()
    while text[position : position + 1] != close:
        found = _BRACKETED.match(text, position)
        if found is None:
            return None
        entries.append((found[1], found[2]))
        position = found.end()
    return entries


def _by_line(lines: list[str]) -> list[tuple[str | None, str]] | None:
    entries: list[tuple[str | None, str]] = []
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _ITEM.fullmatch(line)
        if found is None:
            if line[0] not in " \t-":  # the next key
                break
            return None
        entries.append((found[1], found[2]))
    return entries


def _scalar(text: str) -> str:
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except ValueError:
            return text[1:-1]
    return text[1:-1].replace("''", "'") if text.startswith("'") else text
