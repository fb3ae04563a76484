from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rbox_formats import ClassNames
from rbox_formats.errors import DatasetError
from rbox_formats.parsing import xml_elements

BOMB = """<?xml version="1.0"?>
<!-- <!DOCTYPE in a comment is none -->
<!DOCTYPE a [
  <!ENTITY x "xxxxxxxxxx">
  <!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;&x;&x;">
]>
<a>&y;</a>
"""
DOCUMENT_TYPE = "expected XML without a document type, got <!DOCTYPE"

BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "1: expected well-formed XML, got: no element found"),
    "text": (b"\nnot XML", "2: expected well-formed XML, got: syntax error"),
    "mismatched tag": (b"<a>\n<b>\n</a>", "3: expected well-formed XML, got: mismatched tag"),
    "cut short": (b"<a>\n<b>1</b>\n<b>", "3: expected well-formed XML, got: no element found"),
    "two roots": (b"<a/>\n<a/>", "2: expected well-formed XML, got: junk after document element"),
    "unknown entity": (b"<a>\n&x;</a>", "2: expected well-formed XML, got: undefined entity"),
    "zero byte": (b"<a>\n\0</a>", "2: expected well-formed XML, got: not well-formed (invalid token)"),
    "latin-1": (b"<a>\n\xe9</a>", "2: expected well-formed XML, got: not well-formed (invalid token)"),
    "an image": (b"\xff\xd8\xff\xe0\x00\x10JFIF", "1: expected well-formed XML, got: not well-formed (invalid token)"),
    "entity bomb": (BOMB.encode(), f"3: {DOCUMENT_TYPE}"),
    "entity bomb in UTF-16": (BOMB.replace("?>", ' encoding="UTF-16"?>').encode("utf-16"), f"3: {DOCUMENT_TYPE}"),
    "external entity": (
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>\n<a>&x;</a>',
        f"1: {DOCUMENT_TYPE}",
    ),
    "external document type": (b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">\n<a/>', f"1: {DOCUMENT_TYPE}"),
    "unknown encoding": (
        b'<?xml version="1.0" encoding="no-such-encoding"?>\n<a/>',
        " expected XML in UTF-8, got: unknown encoding: no-such-encoding",
    ),
    "encoding of several bytes": (
        b'<?xml version="1.0" encoding="gb2312"?>\n<a>\xb4\xac</a>',
        " expected XML in UTF-8, got: multi-byte encodings are not supported",
    ),
}


def read(tmp_path: Path, content: bytes | str, convert: Any = lambda root: root) -> Any:
    path = tmp_path / "a.xml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return xml_elements.read(path, convert)


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_plain_xml_is_refused_with_its_line(name: str, tmp_path: Path) -> None:
    content, message = BROKEN[name]
    with pytest.raises(DatasetError) as error:
        read(tmp_path, content)
    assert str(error.value).split("\n")[0] == f"{tmp_path / 'a.xml'}:{message}"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere\.xml: expected an annotation file, found none"):
        xml_elements.read(tmp_path / "nowhere.xml", lambda root: root)
    (tmp_path / "folder.xml").mkdir()
    with pytest.raises(DatasetError, match=r"folder\.xml: expected a readable file, got: Is a directory"):
        xml_elements.read(tmp_path / "folder.xml", lambda root: root)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_encodings_that_a_file_declares(encoding: str, tmp_path: Path) -> None:
    declared = encoding.removesuffix("-sig")
    text = f'<?xml version="1.0" encoding="{declared}"?>\n<a><name>\u00e9</name></a>'
    assert read(tmp_path, text.encode(encoding), lambda root: xml_elements.text(root, "name")) == "\u00e9"


def test_deep_nesting_is_no_recursion(tmp_path: Path) -> None:
    depth = 100_000
    root = read(tmp_path, "<a>" * depth + "</a>" * depth)
    assert sum(1 for _ in root.iter()) == depth


DOCUMENT = """<a>
  <box>
    <cx>{}</cx>
  </box>
  <name>ship</name>
</a>
"""
NUMBERS = {
    "abc": "3: expected a number in <box/cx>, got 'abc'",
    "nan": "3: expected a number in <box/cx>, got 'nan'",
    "\uff11\uff10": "3: expected a number in <box/cx>, got '\uff11\uff10'",
    "1_000": "3: expected a number in <box/cx>, got '1_000'",
    "1,5": "3: expected a number in <box/cx>, got '1,5'",
    "inf": "3: expected a number from -1e+09 to 1e+09 in <box/cx>, got 'inf'",
    "-1e300": "3: expected a number from -1e+09 to 1e+09 in <box/cx>, got '-1e300'",
    " ": "3: expected text in <box/cx>, found none",
    "<x>1</x>": "3: expected text in <box/cx>, found none",
}


@pytest.mark.parametrize("value", NUMBERS)
def test_numbers_that_are_none(value: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as error:
        read(tmp_path, DOCUMENT.format(value), lambda root: xml_elements.number(root, "box/cx"))
    assert str(error.value) == f"{tmp_path / 'a.xml'}:{NUMBERS[value]}"


@pytest.mark.parametrize(("value", "number"), [(" 1.5\n", 1.5), ("-3e2", -300), ("1<!-- ten -->0", 10)])
def test_numbers(value: str, number: float, tmp_path: Path) -> None:
    assert read(tmp_path, DOCUMENT.format(value), lambda root: xml_elements.number(root, "box/cx")) == number


def element(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


GETTERS: dict[str, tuple[Any, str, str]] = {
    "missing": (lambda e: xml_elements.number(e, "b/c"), "<a><b/></a>", "expected <b/c> in <a>, found none"),
    "negative": (
        lambda e: xml_elements.number(e, "b", 0),
        "<a><b>-1</b></a>",
        "expected a number from 0 to 1e+09 in <b>, got '-1'",
    ),
    "flag": (lambda e: xml_elements.flag(e, "b"), "<a><b>2</b></a>", "expected 0 or 1 in <b>, got '2'"),
    "empty flag": (lambda e: xml_elements.flag(e, "b"), "<a><b/></a>", "expected 0 or 1 in <b>, got ''"),
    "half a pixel": (
        lambda e: xml_elements.pixels(e, "b"),
        "<a><b>1.5</b></a>",
        "expected whole pixels in <b>, got '1.5'",
    ),
    "path": (
        lambda e: xml_elements.file_name(e, "b"),
        "<a><b>../c.jpg</b></a>",
        "expected a plain file name in <b>, got '../c.jpg'",
    ),
    "backslash": (
        lambda e: xml_elements.file_name(e, "b"),
        r"<a><b>c\d</b></a>",
        r"expected a plain file name in <b>, got 'c\\d'",
    ),
    "dots": (
        lambda e: xml_elements.file_name(e, "b"),
        "<a><b>..</b></a>",
        "expected a plain file name in <b>, got '..'",
    ),
    "class": (
        lambda e: xml_elements.label(e, "b", ClassNames(["ship", "tank"])),
        "<a><b>tram</b></a>",
        "expected a class among ship, tank, got 'tram'",
    ),
    "root": (
        lambda e: xml_elements.expect_root(e, "annotation"),
        "<a/>",
        "expected <annotation> as the root element, got <a>",
    ),
}


@pytest.mark.parametrize("name", GETTERS)
def test_getters_say_what_was_expected(name: str) -> None:
    get, document, message = GETTERS[name]
    with pytest.raises(xml_elements.ElementError) as error:
        get(element(document))
    assert str(error.value) == message


def test_what_may_be_left_out() -> None:
    root = element("<a><w/><h>0</h><d>3</d></a>")
    assert [xml_elements.pixels(root, tag) for tag in ("v", "w", "h", "d")] == [None, None, None, 3]
    assert (
        xml_elements.flag(root, "difficult"),
        xml_elements.file_name(root, "w"),
        xml_elements.file_name(root, "v"),
    ) == (False, None, None)
    assert xml_elements.fields(root, ["v", "w", "h", "d"]) == {"h": "0", "d": "3"}


def test_written_text_is_escaped_and_indented(tmp_path: Path) -> None:
    name = "<a> & 'b' \"c\" ]]> é 船 😀"
    path = tmp_path / "a.xml"
    xml_elements.write(path, ("annotation", [("name", name), ("size", [("width", "3")])]), {"verified": name})
    root = ElementTree.parse(path).getroot()
    assert (root.findtext("name"), root.attrib["verified"], root.findtext("size/width")) == (name, name, "3")
    assert "\n  <size>\n    <width>3</width>\n  </size>\n</annotation>\n" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\udc80", "\uffff"])
def test_text_that_xml_cannot_hold(character: str, tmp_path: Path) -> None:
    for node, attributes in ((("a", f"b{character}"), {}), (("a", "b"), {"c": character})):
        with pytest.raises(DatasetError, match=re.escape(f"expected text that XML can hold, got {character!r}")):
            xml_elements.write(tmp_path / "a.xml", node, attributes)
    assert not list(tmp_path.iterdir())


def test_nodes_of_neighbours_share_their_element() -> None:
    assert xml_elements.nested([("a", "1"), ("b/c", "2"), ("b/d", "3"), ("e", "4"), ("b/f", "5")]) == [
        ("a", "1"),
        ("b", [("c", "2"), ("d", "3")]),
        ("e", "4"),
        ("b", [("f", "5")]),
    ]
