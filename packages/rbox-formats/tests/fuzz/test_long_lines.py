"""Every reader meets lines of megabytes: what it says of them is short, and comes soon."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from rbox_formats import ClassNames, RboxError, codecs, datasets, images, predictions
from rbox_formats.datasets import geojson
from rbox_formats.errors import listed, quoted, said
from rbox_testing.fuzz_targets import write_dataset
from rbox_testing.samples import sampled

READ = [name for name, entry in datasets.FORMATS.items() if entry.read]
# One that is read by lines, by JSON, and by XML.
SOME = ["dota", "coco", "voc"]
LONGEST_MESSAGE = 640  # FAIR1M's classes, a quotation and what to do; and the file's path
LONG, VERY_LONG = 5_000, 10_000_000
FILLINGS = (b"a", b"1", b"7 ", b"7,", "\u00e9".encode(), b"\\u0007", b"\x07")


def message_of(root: Path, name: str) -> str:
    """What is said of a dataset, without paths; nothing where it reads."""
    try:
        for record in datasets.read(name, root):
            len(record)
    except RboxError as error:
        return str(error).replace(str(root), "")
    return ""


def lengthened(content: bytes, filling: bytes, length: int, places: int) -> Iterator[bytes]:
    """The file with one of its words at a time made longer, and with a long line of nothing else."""
    words = [match.start() for match in re.finditer(rb"[\w.+-]+", content)]
    for place in words[:: max(1, len(words) // places)]:
        yield content[:place] + filling * (length // len(filling)) + content[place:]
    yield content + filling * (length // len(filling))
    yield filling * (length // len(filling)) + b"\n" + content


def said_of(name: str, root: Path, fillings: Sequence[bytes], length: int, places: int) -> int:
    """Lengthens each file of a dataset in turn; all that is said of it is short. How often something is."""
    count = 0
    for path in write_dataset(name, root):
        whole = path.read_bytes()
        for filling in fillings:
            for content in lengthened(whole, filling, length, places):
                path.write_bytes(content)
                message = message_of(root, name)
                count += bool(message)
                assert len(message) <= LONGEST_MESSAGE, (path.name, filling, len(message), message[:2000])
        path.write_bytes(whole)
    return count


@pytest.mark.parametrize("name", sampled(READ, SOME))
def test_what_is_said_of_a_long_word_is_short(name: str, tmp_path: Path) -> None:
    assert said_of(name, tmp_path, FILLINGS, LONG, 3) > 10


@pytest.mark.parametrize("name", sampled(READ, ["dota", "coco"]))
def test_what_is_said_of_a_line_of_ten_megabytes_is_short(name: str, tmp_path: Path) -> None:
    for path in write_dataset(name, tmp_path)[:2]:
        whole = path.read_bytes()
        content, *_ = lengthened(whole, b"a", VERY_LONG, 1)
        path.write_bytes(content)
        message = message_of(tmp_path, name)
        assert len(message) <= LONGEST_MESSAGE, (path.name, len(message), message[:2000])
        path.write_bytes(whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", sampled(READ, ["geojson"]))
def test_what_is_said_of_any_line_of_ten_megabytes_is_short(name: str, tmp_path: Path) -> None:
    said_of(name, tmp_path, FILLINGS, VERY_LONG, 2)


def test_outlines_of_very_many_corners_are_refused_by_their_number(tmp_path: Path) -> None:
    """Ten megabytes in one line took twenty seconds: the least rectangle around half a million corners."""
    for name, expected in (
        ("yolo-obb", r"txt:1: expected an outline of at most 20,000 corners, got 1,250,000\nA line reads"),
        ("coco", r"annotations\[0\].segmentation: expected outlines of at most 20,000 corners, got 30,000"),
        ("labelme", r"shapes\[0\].points: expected outlines of at most 20,000 corners, got 30,000"),
    ):
        root = tmp_path / name
        path = next(path for path in write_dataset(name, root) if path.suffix in (".json", ".txt"))
        text = path.read_text()
        if name == "yolo-obb":
            text = "0" + " 0.25 0.5" * 1_250_000 + "\n"
        elif name == "coco":
            text = re.sub(r'"segmentation": \[\[[^]]*\]', '"segmentation": [[' + ", ".join(["7"] * 60_000) + "]", text)
        else:
            text = re.sub(
                r'"points": \[(\[[^]]*\](, )?)*\]', '"points": [' + ", ".join(["[7, 8]"] * 30_000) + "]", text
            )
        path.write_text(text)
        assert re.search(expected, message_of(root, name)), message_of(root, name)


def test_an_outline_of_as_many_corners_as_there_may_be_is_read(tmp_path: Path) -> None:
    path = next(path for path in write_dataset("yolo-obb", tmp_path) if path.suffix == ".txt")
    corners = " ".join(f"{0.25 + 0.5 * (i % 2)} {i / 40_000}" for i in range(20_000))
    path.write_text(f"0 {corners}\n")
    record = next(record for record in datasets.read("yolo-obb", tmp_path) if record.image_id == path.stem)
    assert record.boxes[0, 2:4].tolist() == pytest.approx([50, 40], abs=0.01)


def test_other_files_with_long_lines(tmp_path: Path) -> None:
    long = "x" * 1_000_000
    path = tmp_path / "a.txt"
    for content in (long, f"1\n0\n0\n{long}\n5\n6", "1e5" + "0" * 1_000_000):
        path.write_text(content)
        for read in (images.find_images, geojson.world_file, predictions.read):
            with pytest.raises((RboxError, OSError)) as error:
                read(path)
            assert len(str(error.value)) < LONGEST_MESSAGE + len(str(path)), read
    header = predictions.Header(ClassNames(["ship"]), "x").to_dict()
    for line in (
        {"image_id": long},
        {"image_id": "a", long: 1},
        {"image_id": "a", "width": long, "height": 5, "boxes": [], "labels": [], "scores": None},
    ):
        path.write_text(json.dumps(header) + "\n" + json.dumps(line) + "\n")
        with pytest.raises(RboxError) as refused:
            predictions.read(path)
        assert len(str(refused.value)) < LONGEST_MESSAGE + len(str(path))


@pytest.mark.parametrize("name", sampled(codecs.CODECS, ["florence2", "gemini"]))
def test_what_a_codec_says_of_a_long_text_is_short(name: str) -> None:
    codec = codecs.get(name)
    for text in ("x" * 200_000, "<" * 100_000, "[1, 2, 3" + "4" * 100_000, "{" * 10_000):
        decoded = codec.decode(text, ["ship"], (100, 100), on_invalid="ignore")
        assert all(len(each.reason) < LONGEST_MESSAGE for each in decoded.rejected)
        if decoded.rejected:
            with pytest.raises(RboxError) as refused:
                codec.decode(text, ["ship"], (100, 100), on_invalid="raise")
            assert len(str(refused.value)) < LONGEST_MESSAGE


def test_what_is_quoted() -> None:
    assert quoted("ship") == "'ship'"
    assert quoted("it's") == '"it\'s"'
    assert quoted("a" * 80) == repr("a" * 80)
    assert quoted("a" * 81) == repr("a" * 80) + "..."
    assert quoted("a" * 100 + "!" + "b" * 100, 100) == f"...'{'a' * 40}!{'b' * 39}'..."
    assert quoted("a" * 200, 199) == f"...'{'a' * 80}'"
    assert quoted([1] * 100) == "[" + "1, " * 26 + "1..."
    assert quoted("\x00" * 10) == repr("\x00" * 10)
    for text in ("\x00" * 100, "\U000e0001" * 100, "\ud800" * 100, "a" + "\U000e0001" * 79):
        assert len(quoted(text)) <= 85
        assert quoted(text).startswith("'")
    assert listed(["a", "b"]) == "a, b"
    assert listed([]) == ""
    many = listed(f"class {i}" for i in range(100_000))
    assert re.fullmatch(r"(class \d+, )+and 999\d\d more", many)
    assert len(many) < 460
    assert said(ValueError("a\n  b")) == "a b"
    assert said(KeyError()) == "KeyError"
    assert len(said(ValueError("x" * 10_000_000))) == 300
