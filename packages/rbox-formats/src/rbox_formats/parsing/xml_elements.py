"""XML annotation files: reading values with errors that name the line, and writing.

A file is parsed by the standard library's expat, which fetches nothing. Only entities can make a small document large
or name other files. They can only be declared in a document type, and a file that has one is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from rbox_formats import files
from rbox_formats._records import ClassNames
from rbox_formats.errors import DatasetError, listed, quoted, said
from rbox_formats.parsing.lines import CORRECT_OR_NAME, LARGEST, plain_digits

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element as Element  # the others import it from here
else:  # the parser is imported when a file is read, so that importing the package stays quick
    Element: TypeAlias = Any

__all__ = [
    "DECLARATION",
    "Element",
    "ElementError",
    "Node",
    "child",
    "expect_root",
    "fields",
    "file_name",
    "flag",
    "label",
    "nested",
    "number",
    "pixels",
    "read",
    "start_tag",
    "text",
    "text_of",
    "to_number",
    "unknown_class",
    "write",
]

Result = TypeVar("Result")

# An element to write: its tag, and its text or the elements in it.
Node: TypeAlias = "tuple[str, str | Sequence[Node]]"

# How a file begins.
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'

# The ampersand first, since the other replacements contain it. A reader takes a bare "\r" for a "\n".
_ENTITIES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("\r", "&#13;"))


class ElementError(ValueError):
    """An element is wrong; the file and the line are added later.

    Args:
        message: What is wrong, often as "expected <what>, got <what>".
        element: The element with the fault.
        remedy: What to do about it, as a sentence.
    """

    def __init__(self, message: str, element: Element, remedy: str | None = None) -> None:
        super().__init__(message)
        self.element = element
        self.remedy = remedy


def read(path: Path, convert: Callable[[Element], Result]) -> Result:
    """Return what `convert` makes of a file's root element.

    Raises:
        DatasetError: If there is no such file, it is not XML, has a document type, or `convert` raises `ElementError`;
            the message has the line.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DatasetError("expected an annotation file, found none", path=path) from error
    except OSError as error:
        raise DatasetError(f"expected a readable file, got: {error.strerror}", path=path) from error
    root = _parse(data, path)
    try:
        return convert(root)
    except ElementError as error:
        # Lines are counted only for an error, since a parser that notes each line is several times slower.
        position = next(i for i, element in enumerate(root.iter()) if element is error.element)
        line = _element_lines(data)[position]
        raise DatasetError(str(error), path=path, line=line, remedy=error.remedy) from error


def _parse(data: bytes, path: Path) -> Element:
    from xml.etree import ElementTree
    from xml.parsers import expat

    try:
        if line := _document_type_line(data):
            raise DatasetError(
                "expected XML without a document type, got <!DOCTYPE",
                path=path,
                line=line,
                remedy="Take the declaration out: annotations need none, and what it declares can fill the memory.",
            )
        parser = ElementTree.XMLParser()
        parser.feed(data)
        return parser.close()
    except DatasetError:
        raise
    except ElementTree.ParseError as error:
        raise DatasetError(
            f"expected well-formed XML, got: {expat.ErrorString(error.code)}",
            path=path,
            line=error.position[0],
            remedy="Correct the file, or fetch it again.",
        ) from error
    except (ValueError, LookupError) as error:  # a declared encoding that is unknown, or not one of bytes
        raise DatasetError(f"expected XML in UTF-8, got: {said(error)}", path=path) from error


class _StopError(Exception):
    """Ends a parser's work."""


def _document_type_line(data: bytes) -> int:
    """Return the line of the document type, 0 where there is none.

    It can only be before the root element, so that little is read here. The parser of the whole file only makes a tree,
    since one that also reports document types is half as fast.
    """
    from xml.parsers import expat

    parser = expat.ParserCreate()
    line = 0

    def document_type(*declaration: Any) -> None:
        nonlocal line
        line = parser.CurrentLineNumber
        raise _StopError

    def root_element(tag: str, attributes: dict[str, str]) -> None:
        raise _StopError

    parser.StartDoctypeDeclHandler = document_type
    parser.StartElementHandler = root_element
    with suppress(_StopError, expat.ExpatError):  # the reader of the whole file reports what is wrong with it
        parser.Parse(data, True)
    return line


def _element_lines(data: bytes) -> list[int]:
    """Return the line that each element begins in, in document order."""
    from xml.parsers import expat

    lines: list[int] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, attributes: lines.append(parser.CurrentLineNumber)
    parser.Parse(data, True)
    return lines


def expect_root(root: Element, tag: str) -> None:
    """Check the name of the root element.

    Raises:
        ElementError: If it has another name.
    """
    if root.tag != tag:
        found = f"got <{quoted(root.tag, marks=False)}>"
        raise ElementError(f"expected <{tag}> as the root element, {found}", root, "Is this another dataset's format?")


def child(element: Element, path: str) -> Element:
    """Return the first element at a path of tags.

    Raises:
        ElementError: If there is none.
    """
    found = element.find(path)
    if found is None:
        raise ElementError(f"expected <{path}> in <{quoted(element.tag, marks=False)}>, found none", element)
    return found


def text_of(element: Element) -> str:
    """Return an element's text without the space around it."""
    return (element.text or "").strip()


def text(element: Element, path: str) -> str:
    """Return the text at a path of tags.

    Raises:
        ElementError: If there is no such element, or nothing in it.
    """
    found = child(element, path)
    if not (value := text_of(found)):
        raise ElementError(f"expected text in <{path}>, found none", found)
    return value


def number(element: Element, path: str, at_least: float = -LARGEST) -> float:
    """Return the number at a path of tags.

    Raises:
        ElementError: If there is none, or it is not finite, too small, or too large for a coordinate.
    """
    found = child(element, path)
    if not (value := text_of(found)):
        raise ElementError(f"expected text in <{path}>, found none", found)
    return to_number(value, found, path, at_least)


def to_number(value: str, element: Element, what: str, at_least: float = -LARGEST) -> float:
    """Parse a text as a number; see `number`."""
    try:
        result = float(value)
    except ValueError:
        result = math.nan
    if math.isnan(result) or not plain_digits(value):  # Python reads 1_000 as a number; no annotation means it
        raise ElementError(f"expected a number in <{what}>, got {quoted(value)}", element)
    if not at_least <= result <= LARGEST:
        raise ElementError(
            f"expected a number from {at_least:g} to {LARGEST:g} in <{what}>, got {quoted(value)}", element
        )
    return result


def flag(element: Element, path: str) -> bool:
    """Return whether the text at a path of tags is 1 rather than 0; False where there is no such element.

    Raises:
        ElementError: If it is something else.
    """
    found = element.find(path)
    if found is None:
        return False
    if (value := text_of(found)) not in ("0", "1"):
        raise ElementError(f"expected 0 or 1 in <{path}>, got {quoted(value)}", found)
    return value == "1"


def pixels(element: Element, path: str) -> int | None:
    """Return a side of the image; None where the element is missing, empty or 0, which tools write for unknown.

    Raises:
        ElementError: If it is not a whole number.
    """
    found = element.find(path)
    if found is None or not text_of(found):
        return None
    value = number(element, path, at_least=0)
    if value != int(value):
        raise ElementError(f"expected whole pixels in <{path}>, got {quoted(text_of(found))}", found)
    return int(value) or None


def file_name(element: Element, path: str) -> str | None:
    """Return the name of an image file; None where the element is missing or empty.

    Raises:
        ElementError: If it is a path, or no name.
    """
    found = element.find(path)
    if found is None or not (name := text_of(found)):
        return None
    try:
        return files.safe_name(name, Path("the images' folder"))
    except DatasetError:
        raise ElementError(
            f"expected a plain file name in <{path}>, got {quoted(name)}",
            found,
            "Correct it, or leave the element out.",
        ) from None


def label(element: Element, path: str, class_names: ClassNames) -> int:
    """Return the label of the class named at a path of tags.

    Raises:
        ElementError: If there is no name, or not among the classes.
    """
    name = text(element, path)
    found = class_names.find(name)
    if found is None:
        raise unknown_class(name, child(element, path), class_names)
    return found


def unknown_class(name: str, element: Element, class_names: ClassNames) -> ElementError:
    """Return the error to raise for a class that is not among those of the dataset."""
    return ElementError(f"expected a class among {listed(class_names)}, got {quoted(name)}", element, CORRECT_OR_NAME)


def fields(root: Element, paths: Sequence[str]) -> dict[str, str]:
    """Return the texts at some paths of tags, without those that are missing or empty."""
    texts = {path: text_of(found) for path in paths if (found := root.find(path)) is not None}
    return {path: value for path, value in texts.items() if value}


def nested(values: Sequence[tuple[str, str]]) -> list[Node]:
    """Return texts by their paths of tags, at most two deep, as nodes: neighbours under one tag share it."""
    nodes: list[tuple[str, Any]] = []
    for path, value in values:
        tag, _, inner = path.partition("/")
        if not inner:
            nodes.append((tag, value))
        elif nodes and nodes[-1][0] == tag:
            nodes[-1][1].append((inner, value))
        else:
            nodes.append((tag, [(inner, value)]))
    return nodes


def write(path: Path, root: Node, attributes: dict[str, str] | None = None) -> None:
    """Write a whole XML file or none, in UTF-8, indented, with what needs it escaped.

    Args:
        path: The file.
        root: The root element.
        attributes: The attributes of the root element.

    Raises:
        DatasetError: If a text has characters that XML cannot hold, such as control characters.
    """
    tag, content = root
    lines = [DECLARATION, start_tag(tag, attributes or {}, path), *_lines(content, "  ", path), f"</{tag}>", ""]
    files.write_text(path, "\n".join(lines))


def start_tag(tag: str, attributes: Mapping[str, str], path: Path, content: str | None = "") -> str:
    """Return the start tag of an element with attributes, or the whole element if it has a text or (None) is empty.

    Raises:
        DatasetError: If a value has characters that XML cannot hold; it names `path`, the file to be written.
    """
    start = tag + "".join(f' {key}="{_escaped(value, path)}"' for key, value in attributes.items())
    if content is None:
        return f"<{start}/>"
    return f"<{start}>{_escaped(content, path)}</{tag}>" if content else f"<{start}>"


def _lines(nodes: str | Sequence[Node], indent: str, path: Path) -> Iterator[str]:
    if isinstance(nodes, str):
        yield _escaped(nodes, path)
        return
    for tag, content in nodes:
        if isinstance(content, str):
            yield f"{indent}<{tag}>{_escaped(content, path)}</{tag}>"
        else:
            yield f"{indent}<{tag}>"
            yield from _lines(content, f"{indent}  ", path)
            yield f"{indent}</{tag}>"


@cache
def _unwritable() -> re.Pattern[str]:
    """Return a pattern for what XML 1.0 cannot hold, not even escaped (section 2.2, Char); compiled when needed."""
    return re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _escaped(text: str, path: Path) -> str:
    if not text.isprintable() and (found := _unwritable().search(text)):
        place = f"{quoted(found[0])} in {quoted(text, found.start())}"
        raise DatasetError(f"expected text that XML can hold, got {place}", path=path)
    for character, entity in _ENTITIES:
        text = text.replace(character, entity)
    return text
