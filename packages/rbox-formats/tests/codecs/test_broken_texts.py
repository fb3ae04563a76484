"""Texts that are not as they should be: a table for each codec, and where a text that is cut counts as whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rbox_formats import ClassNames, codecs
from rbox_formats.codecs import Codec, DecodeWarning
from rbox_formats.errors import CodecError

Told = tuple[str, list[str], list[tuple[str, str]]]
Tell = Callable[[Codec, ClassNames, str], Told]


class Row(NamedTuple):
    """A text of the table, and what must come out."""

    codec: str
    text: str
    told: Told


def rows() -> Iterator[Row]:
    """Of the table; its head explains it."""
    codec, text, told = "", "", ("", [], [])
    for line in (Path(__file__).parent / "broken_texts.txt").read_text(encoding="utf-8").splitlines()[8:]:
        mark, _, rest = line.partition(" ")
        rest = rest.replace("\\n", "\n").replace("\\t", "\t")
        if mark == "#":
            codec = rest
        elif mark == "|":
            text = rest
        elif mark == "+":
            told[1].append(rest)
        elif mark == "-":
            piece, _, reason = rest.rpartition(" :: ")
            told[2].append((piece, reason))
        elif mark:
            told = (mark, [], [])
            yield Row(codec, text, told)


TABLE = list(rows())


def made(description: str) -> tuple[Codec, ClassNames]:
    """The codec that a line of the table describes, and its classes."""
    name, *options = description.split()
    codec = codecs.get(name, **dict(option.split("=") for option in options))
    return codec, ClassNames(["ship"] if codec.one_class else ["ship", "plane"])


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.codec} {row.text!r:.60}")
def test_broken_texts(row: Row, told: Tell) -> None:
    assert told(*made(row.codec), row.text) == row.told


def test_every_codec_is_in_the_table() -> None:
    counts = {name: sum(row.codec.split()[0] == name for row in TABLE) for name in codecs.CODECS}
    counts["florence2"] = 30  # in a file of its own
    assert min(counts.values()) >= 3
    assert len(TABLE) > 250


@pytest.mark.parametrize("row", [row for row in TABLE if row.told[2]][::7], ids=lambda row: f"{row.text!r:.60}")
def test_what_is_wrong_can_warn_or_raise(row: Row) -> None:
    """Both name the first piece, and where it is."""
    codec, names = made(row.codec)
    piece, reason = row.told[2][0]
    with pytest.warns(DecodeWarning) as warned:
        decoded = codec.decode(row.text, names, (1000, 1000))
    start, end, _ = decoded.rejected[0]
    where = f"{reason} at characters {start} to {end}: {piece[:60]!r}"
    assert where in str(warned[0].message)
    assert f"{codec.name}" in str(warned[0].message)
    assert len(warned) == 1
    with pytest.raises(CodecError) as raised:
        codec.decode(row.text, names, (1000, 1000), on_invalid="raise")
    assert where in str(raised.value)


NO_BOXES: list[tuple[str, str | None]] = [
    ("", "empty"),
    (" \n\t", "empty"),
    ("</s>", "empty"),
    ("<s><pad></s>", "empty"),
    ("</s><s></s>", "empty"),
    ("[]", "empty"),
    ("There are none.", "empty"),
    ("there are none", "empty"),
    ("</s>There are none.</s>", "empty"),
    ("I see a harbour.", "failed"),
    ("😀", "failed"),
    ("\ud83d", "failed"),
    (";", None),
    ("<", None),
    ("{", None),
]


def test_texts_without_boxes(codec: Codec, names: ClassNames, told: Tell) -> None:
    """None is called "failed" without a reason; a sign may begin something, or be nothing."""
    for text, status in NO_BOXES:
        found, boxes, rejected = told(codec, names, text)
        assert boxes == [], text
        assert found == status or (status is None and found in ("failed", "truncated")), text
        assert bool(rejected) or found != "failed", text
        assert not rejected or found != "empty", text


# Texts that are cut after any of their characters. ¦ stands where what is there counts as "boxes", ¶ where it counts as
# "empty"; everywhere else it is "truncated". No text is one that something is missing from, wherever it is cut.

OBJECT = "<|object_ref_start|>{}<|object_ref_end|>"
CUT: list[tuple[str, dict[str, Any], str]] = [
    (
        "florence2",
        {"version": 1},
        "¶ship<loc_1><loc_2><loc_1><loc_4><loc_3><loc_4><loc_3><loc_2>¦<loc_5><loc_6><loc_5><loc_8><loc_7><loc_8><loc_7>"
        "<loc_6>¦tug<loc_1><loc_2><loc_1><loc_4><loc_3><loc_4><loc_3><loc_2>¦",
    ),
    (
        "florence2",
        {"version": 2},
        "¶ship<loc_1><loc_2><loc_1><loc_4><loc_3><loc_4><loc_3><loc_2>¦<sep><loc_5><loc_6><loc_5><loc_8><loc_7><loc_8>"
        "<loc_7><loc_6>¦tug<loc_1><loc_2><loc_1><loc_4><loc_3><loc_4><loc_3><loc_2>¦",
    ),
    ("florence2", {"version": 3}, "¶There are none¶.¶"),
    (
        "allseeing",
        {"empty": True},
        "¶<ref>ship</ref><box>[[1, 2, 1, 4, 3, 4, 3, 2], [5, 6, 5, 8, 7, 8, 7, 6]]</box>¦<ref>tug</ref><box>"
        "[[1, 2, 1, 4, 3, 4, 3, 2]]</box>¦",
    ),
    ("allseeing", {"empty": True}, "¶There are none¶.¶"),
    (
        "rscovlm",
        {},
        '¶```json\n[\n\t{"quadrant bbox": [1, 2, 3, 2, 3, 4, 1, 4], "label": "ship"},\n\t'
        '{"quadrant bbox": [1, 2, 3, 2, 3, 4, 1, 4], "label": "tug"}\n]¦\n¦`¦`¦`¦',
    ),
    ("rscovlm", {}, "¶There are none¶.¶"),
    ("rscovlm", {"style": "plain"}, "¶1,2,3,2,3,4,1,4 ship¦\n¦1,2,3,2,3,4,1,4 tug¦"),
    ("rscovlm", {"style": "plain", "shape": "obb"}, "¶1,2,3,2,-3 ship¦\n¦1,2,3,2,-3 ship¦\n¦"),
    (
        "geochat",
        {},
        "¶<p>ship</p> {<28><32><32><48>|<90>}¦<delim>{<58><50><62><70>|<61>}¦ ¦<p>tug</p> {<38><70><42><82>|<90>}¦",
    ),
    ("earthdial", {}, "¶[[28, 32, 32, 48, 90]]¦[[58, 50, 62, 70, 61]]¦"),
    (
        "skysensegpt",
        {},
        "¶There are 2 ships in the image:<rbox>({<30.00><40.00><4.00><16.00>|<90>}, {<60.00><60.00><10.00><10.00>|<29>})"
        "</rbox>¦",
    ),
    ("skysensegpt", {}, "¶I'm sorry, I cannot answer as the given image does not contain any given objects.¶"),
    ("vrsbench", {"version": "hbb"}, "¶{<26><36><34><44>}¦{<54><50><65><69>}¦"),
    ("vrsbench", {"version": "obb_v1"}, "¶{<30><40><8><8>|<0>}¦{<60><60><10><10>|<-29>}¦"),
    ("falcon", {}, "¶<quad><1><2><1><4><3><4><3><2></quad>¦<quad><1><2><1><4><3><4><3><2></quad>¦"),
    ("plain", {}, "¶ship[300,200,80,40,0]¦[600,300,100,50,-29]¦;tug[400,380,60,40,0]¦"),
    ("plain", {}, "¶none¶"),
    (
        "qwen2-vl",
        {},
        f"¶{OBJECT.format('ship')}<|box_start|>(1,2),(3,4)<|box_end|>¦<|box_start|>(1,2),(3,4)<|box_end|>¦"
        f"{OBJECT.format('tug')}<|box_start|>(1,2),(3,4)<|box_end|>¦",
    ),
    (
        "qwen2.5-vl",
        {},
        '¶```json\n[\n\t{"bbox_2d": [1, 2, 3, 4], "label": "ship"},\n\t{"bbox_2d": [1, 2, 3, 4], "label": "tug"}\n]¦\n¦'
        "`¦`¦`¦",
    ),
    ("qwen2.5-vl", {}, "¶```json\n[]¶\n¶`¶`¶`¶"),
    # Objects without a list around them: each may be the last.
    ("qwen3-vl", {}, '¶{"bbox_2d": [1, 2, 3, 4], "label": "ship"}¦{"bbox_2d": [1, 2, 3, 4], "label": "tug"}¦'),
    (
        "internvl",
        {},
        "¶<ref>ship</ref><box>[[1, 2, 3, 4], [5, 6, 7, 8]]</box>¦<ref>tug</ref><box>[[1, 2, 3, 4]]</box>¦",
    ),
    (
        "paligemma",
        {},
        "¶<loc0001><loc0002><loc0003><loc0004> ship¦ ¦; <loc0001><loc0002><loc0003><loc0004> tug¦",
    ),
    (
        "kosmos2",
        {},
        "¶<phrase>ship</phrase><object><patch_index_0001><patch_index_0040></delimiter_of_multi_objects/>"
        "<patch_index_0002><patch_index_0050></object>¦<phrase>tug</phrase><object><patch_index_0001><patch_index_0040>"
        "</object>¦",
    ),
    ("cogvlm", {}, "¶ship [[260,360,340,440;544,508,656,692]]¦ ¦tug [[370,720,430,800]]¦"),
    ("gemini", {}, '¶[{"box_2d": [1, 2, 3, 4], "label": "ship"}, {"box_2d": [1, 2, 3, 4], "label": "tug"}]¦'),
    ("gemini", {}, "¶[]¶"),
    (
        "rex-omni",
        {},
        f"¶{OBJECT.format('ship')}<|box_start|><1><2><3><4>, <5><6><7><8><|box_end|>¦, "
        f"{OBJECT.format('tug')}<|box_start|><1><2><3><4><|box_end|>¦",
    ),
    ("rex-omni", {}, "¶None¶"),
    (
        "rex-omni",
        {},
        f"¶{OBJECT.format('ship')}<|box_start|>None<|box_end|>¶, {OBJECT.format('tug')}<|box_start|>None<|box_end|>¶",
    ),
    ("shikra", {}, "¶ship[0.260,0.360,0.340,0.440;0.544,0.508,0.656,0.692]¦ ¦tug[0.370,0.720,0.430,0.800]¦"),
    ("teochat", {}, "¶[26, 36, 34, 44]¦, [54, 51, 66, 69]¦"),
]


@pytest.mark.parametrize(
    "name, options, marked", CUT, ids=lambda value: value if str(value) in codecs.CODECS else f"{value!r:.40}"
)
def test_where_a_cut_text_is_whole(name: str, options: dict[str, Any], marked: str) -> None:
    codec = codecs.get(name, **options)
    names = ClassNames(["ship"] if codec.one_class else ["ship", "tug"])
    text, shown = "", ""
    for character in marked.replace("¦", "").replace("¶", ""):
        status = codec.decode(text, names, (1000, 500), on_invalid="ignore").status
        shown += {"boxes": "¦", "empty": "¶", "failed": "(failed)", "truncated": ""}[status] + character
        text += character
    decoded = codec.decode(text, names, (1000, 500), on_invalid="raise")
    assert shown + {"boxes": "¦", "empty": "¶"}[decoded.status] == marked


def test_every_codec_is_cut() -> None:
    assert {name for name, _, _ in CUT} == set(codecs.CODECS)


@pytest.mark.parametrize("end", ["</s>", "<|im_end|>"])
@pytest.mark.parametrize(
    "name, options, marked", CUT, ids=lambda value: value if str(value) in codecs.CODECS else f"{value!r:.40}"
)
def test_a_text_that_is_ended_is_not_cut(name: str, options: dict[str, Any], marked: str, end: str) -> None:
    """Wherever it is: a model that stops by itself has said what it had to say."""
    codec = codecs.get(name, **options)
    names = ClassNames(["ship"] if codec.one_class else ["ship", "tug"])
    text = marked.replace("¦", "").replace("¶", "")
    for at in range(0, len(text), 3):
        assert codec.decode(text[:at] + end, names, (1000, 500), on_invalid="ignore").status != "truncated"
