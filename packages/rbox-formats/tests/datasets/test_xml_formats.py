"""What every dataset format of one XML file per image must do; each format's own elements are in its own test file."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, RboxError, canonical_le90, datasets, rbox_to_hbox, rbox_to_quad
from rbox_formats.errors import DatasetError
from rbox_testing.samples import sampled


@dataclass(frozen=True)
class Case:
    """Where a format has its files, and what it holds."""

    annotations: str = "Annotations"
    images: str = "JPEGImages"
    lists: str | None = "ImageSets/Main"
    suffix: str = ".jpg"
    number: str = "cx"  # the element of a number
    name: str = "name"  # the element of the class
    file_name: str = "filename"
    object: str = "object"
    box: str = "robndbox"  # the element that the numbers are in
    quads: bool = False
    difficult: bool = True
    upright: bool = False
    metadata: dict[str, str] = field(default_factory=lambda: {"folder": "a & b", "size/depth": "3", "segmented": "0"})


CASES = {
    "dior-r": Case("Annotations/Oriented Bounding Boxes", "JPEGImages-trainval", number="x_left_top", quads=True),
    "fair1m": Case(
        "labelXml",
        "images",
        None,
        ".tif",
        quads=True,
        difficult=False,
        metadata={"source/origin": "GF2/GF3", "research/version": "1.0", "size/depth": "3"},
    ),
    "hrsc2016-l3": Case(
        "FullDataSet/Annotations",
        "FullDataSet/AllImages",
        "ImageSets",
        ".bmp",
        number="mbox_cx",
        name="Class_ID",
        file_name="Img_FileName",
        object="HRSC_Object",
        box="HRSC_Object",
        metadata={"Place_ID": "100000001", "Img_FileFmt": "bmp", "Img_Location": "69.04,33.07", "Annotated": "1"},
    ),
    "rolabelimg": Case(".", ".", None),
    "rsdd": Case(
        lists="ImageSets", metadata={"polarization": "HH", "resolution": "3", "size/depth": "3", "segmented": "0"}
    ),
    "ssdd": Case(number="rotated_bbox_cx", box="rotated_bndbox", quads=True),
    "voc": Case(number="xmin", box="bndbox", upright=True),
}
FORMATS = list(CASES)


def names_of(name: str) -> ClassNames:
    return datasets.FORMATS[name].class_names or ClassNames(["small vehicle", "plane", "a & b"])


def record(name: str, image_id: str = "P1", count: int = 3, seed: int = 0, **fields: Any) -> ImageRecord:
    rng = np.random.default_rng(seed)
    boxes = np.concatenate(
        [rng.uniform(0, 900, (count, 2)), rng.uniform(1, 90, (count, 2)), rng.uniform(-4, 4, (count, 1))], axis=1
    )
    if CASES[name].upright:
        boxes[:, 4] = 0
    boxes = canonical_le90(boxes)
    quads = rbox_to_quad(boxes) + rng.uniform(-0.5, 0.5, (count, 4, 2)) if CASES[name].quads else None
    if quads is not None and name != "ssdd":
        boxes = ImageRecord.from_quads("", quads, np.zeros(count, dtype=np.int64)).boxes
    return ImageRecord(
        image_id=image_id,
        boxes=boxes,
        quads=quads,
        labels=rng.integers(0, len(names_of(name)), count),
        difficult=rng.random(count) < 0.5,
        metadata={**CASES[name].metadata, "unknown": "left out", "nested": {"left": "out"}},
        **{"width": 1000, "height": 700, **fields},
    )


def write(name: str, root: Path, *records: ImageRecord, split: str | None = None) -> Path:
    return datasets.write(name, iter(records), root, split, names_of(name))


def read(name: str, root: Path, split: str | None = None) -> list[ImageRecord]:
    return list(datasets.read(name, root, split, names_of(name)))


def same(a: ImageRecord, b: ImageRecord, name: str) -> None:
    assert a.image_id == b.image_id
    np.testing.assert_allclose(a.boxes[:, :4], b.boxes[:, :4], rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.sin(a.boxes[:, 4] - b.boxes[:, 4]), 0, atol=1e-9)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.difficult, b.difficult if CASES[name].difficult else np.zeros(len(b), dtype=bool))
    if b.quads is None:
        assert a.quads is None
    else:
        np.testing.assert_array_equal(a.quads, b.quads)


@pytest.mark.parametrize("split", [None, "train"])
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_reads_back_the_same(name: str, split: str | None, tmp_path: Path) -> None:
    records = [record(name, f"P{i}", count=i, seed=i) for i in range(4)]
    write(name, tmp_path, *records, split=split)
    again = read(name, tmp_path, split)
    for a, b in zip(again, records, strict=True):
        same(a, b, name)
        assert (a.path, a.width, a.height, a.scores) == (None, 1000, 700, None)
        assert a.metadata == CASES[name].metadata


coordinates = st.floats(-1e6, 1e6, allow_nan=False)
boxes = st.lists(
    st.tuples(coordinates, coordinates, st.floats(0, 1e6), st.floats(0, 1e6), st.floats(-10, 10), st.booleans()),
    max_size=4,
)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=12)
@given(rows=boxes, corners=st.lists(coordinates, min_size=32, max_size=32), label=st.integers(0, 2))
def test_any_boxes_come_back(name: str, rows: list[Any], corners: list[float], label: int) -> None:
    label = min(label, len(names_of(name)) - 1)
    given = canonical_le90(np.array([row[:5] for row in rows], dtype=np.float64).reshape(-1, 5))
    quads = np.array(corners).reshape(4, 4, 2)[: len(rows)]
    one = ImageRecord("P1", given, np.full(len(rows), label), quads if CASES[name].quads else None)
    with TemporaryDirectory() as folder:
        write(name, Path(folder), one)
        (again,) = read(name, Path(folder))
    np.testing.assert_array_equal(again.labels, one.labels)
    if CASES[name].quads:
        np.testing.assert_array_equal(again.quads, quads)
    if CASES[name].upright:
        np.testing.assert_allclose(rbox_to_hbox(again.boxes), rbox_to_hbox(given), rtol=1e-12, atol=1e-9)
    elif not CASES[name].quads or name == "ssdd":
        # A square whose sides differ by a hair may be turned by a quarter: corners say more than angles.
        turns = [np.roll(rbox_to_quad(again.boxes), k, axis=1) for k in range(4)]
        distance = np.min([np.abs(turn - rbox_to_quad(given)).max(axis=(1, 2)) for turn in turns], axis=0)
        assert (distance <= 1e-9 * (1 + given[:, 2:4].max(axis=1))).all()


@pytest.mark.parametrize("name", FORMATS)
def test_splits_are_lists_or_folders(name: str, tmp_path: Path) -> None:
    write(name, tmp_path, record(name, "P2"), record(name, "P1"), split="train")
    write(name, tmp_path, record(name, "P3"), split="val")
    assert sorted(one.image_id for one in read(name, tmp_path, "train")) == ["P1", "P2"]
    assert [one.image_id for one in read(name, tmp_path, "val")] == ["P3"]
    if CASES[name].lists:
        assert [one.image_id for one in read(name, tmp_path, "train")] == ["P2", "P1"]
        assert len(read(name, tmp_path)) == 3
        with pytest.raises(
            DatasetError, match=r"expected a list .*/test\.txt or a folder test, found neither\n.*train, val"
        ):
            read(name, tmp_path, "test")
        write(name, tmp_path / "test", record(name, "P9"))
        assert [one.image_id for one in read(name, tmp_path, "test")] == ["P9"]
    else:
        with pytest.raises(DatasetError, match="test"):
            read(name, tmp_path, "test")
    with pytest.raises(DatasetError, match="expected a plain file name"):
        read(name, tmp_path, "../train")


@pytest.mark.parametrize("name", [name for name in FORMATS if CASES[name].lists])
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("P1\n\nP7\n", r"3: expected an annotation file .*P7\.xml, found none"),
        ("P1\nP1\n", r"2: expected each image once, got 'P1' as in line 1"),
        ("P1\n../../P1\n", r"2: expected a plain file name inside .*, got '\.\.'"),
        ("\n", r" expected names of images, one a line, found none"),
        (b"\xff\xfe\x00", r" expected UTF-8 text, got .*"),
    ],
)
def test_lists_that_are_wrong(name: str, lines: str | bytes, message: str, tmp_path: Path) -> None:
    write(name, tmp_path, record(name, "P1"), split="train")
    path = tmp_path / str(CASES[name].lists) / "train.txt"
    path.write_bytes(lines.encode() if isinstance(lines, str) else lines)
    with pytest.raises(DatasetError, match=rf"train\.txt:{message}"):
        read(name, tmp_path, "train")


@pytest.mark.parametrize("name", FORMATS)
def test_images_and_their_sizes(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    write(name, tmp_path, record(name, "P1"), record(name, "P2"))
    folder = tmp_path / case.images
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48)).save(folder / f"P1{case.suffix}")
    first, second = read(name, tmp_path)
    assert (first.path, first.size) == (folder / f"P1{case.suffix}", (64, 48))  # the file knows better
    assert (second.path, second.size) == (None, (1000, 700))
    # An annotation of another name finds its image by the name in it.
    annotations = tmp_path / case.annotations
    (annotations / "P1.xml").rename(annotations / "other.xml")
    assert [one.path for one in read(name, tmp_path)] == [None, folder / f"P1{case.suffix}"]
    images = datasets.FORMATS[name].images
    assert images is not None
    assert images(tmp_path, None) == folder


@pytest.mark.parametrize("name", FORMATS)
def test_sizes_that_nobody_knows(name: str, tmp_path: Path) -> None:
    write(name, tmp_path, record(name, "P1", width=None, height=None))
    (one,) = read(name, tmp_path)
    assert (one.width, one.height) == (None, None)


def annotation(name: str, root: Path) -> tuple[Path, str]:
    write(name, root, record(name, "P1"))
    path = root / CASES[name].annotations / "P1.xml"
    return path, path.read_text(encoding="utf-8")


def line_of(text: str, tag: str) -> int:
    return next(i for i, line in enumerate(text.split("\n"), start=1) if f"<{tag}>" in line)


# What to put for an element, and the error: `number`, `name` and `file` stand for the format's own elements.
BAD_VALUES = [
    ("number", "wide", "expected a number in <{number}>, got 'wide'"),
    ("number", "nan", "expected a number in <{number}>, got 'nan'"),
    ("number", "1_0", "expected a number in <{number}>, got '1_0'"),
    ("number", "inf", "expected a number from -1e+09 to 1e+09 in <{number}>, got 'inf'"),
    ("number", "-1e10", "expected a number from -1e+09 to 1e+09 in <{number}>, got '-1e10'"),
    ("number", "", "expected text in <{number}>, found none"),
    ("number", None, "expected <{number}> in <{box}>, found none"),
    ("name", "tram", "expected a class among {classes}, got 'tram'"),
    ("name", " ", "expected text in <{name}>, found none"),
    ("name", None, "expected <{name}> in <{object}>, found none"),
    ("file_name", "../P1.jpg", "expected a plain file name in <{file_name}>, got '../P1.jpg'"),
    ("file_name", "C:\\P1.jpg", "expected a plain file name in <{file_name}>, got 'C:\\\\P1.jpg'"),
    ("difficult", "no", "expected 0 or 1 in <difficult>, got 'no'"),
    ("difficult", "", "expected 0 or 1 in <difficult>, got ''"),
]
# FAIR1M has its numbers in pairs and no difficulty: its own tests have those errors.
NOT_FAIR1M = ("number", "difficult")


@pytest.mark.parametrize(
    ("name", "part", "value", "message"),
    [(name, *bad) for name in FORMATS for bad in BAD_VALUES if name != "fair1m" or bad[0] not in NOT_FAIR1M],
)
def test_bad_values_are_named_by_file_and_line(
    name: str, part: str, value: str | None, message: str, tmp_path: Path
) -> None:
    case = CASES[name]
    path, good = annotation(name, tmp_path)
    tag = {"number": case.number, "name": case.name, "file_name": case.file_name, "difficult": "difficult"}[part]
    element = "" if value is None else f"<{tag}>{value}</{tag}>"
    bad, count = re.subn(rf"<{tag}>.*?</{tag}>", lambda match: element, good, count=1)
    assert count == 1
    path.write_text(bad, encoding="utf-8")
    with pytest.raises(DatasetError) as error:
        read(name, tmp_path)
    paths = {"number": case.number, "name": case.name, "file_name": case.file_name, "object": case.object}
    if name == "fair1m":
        paths |= {"name": "possibleresult/name", "file_name": "source/filename"}
    expected = message.format(**paths, box=case.box, classes=", ".join(names_of(name)))
    # What is missing is missed in the element around it.
    around = case.box if part == "number" else case.object
    line = line_of(bad, around) if value is None else line_of(bad.replace(element, f"<{tag}>", 1), tag)
    assert str(error.value).split("\n")[0] == f"{path}:{line}: {expected}"


@pytest.mark.parametrize("name", FORMATS)
def test_other_files_than_the_formats_own(name: str, tmp_path: Path) -> None:
    path, good = annotation(name, tmp_path)
    path.write_text("<other>\n</other>")
    with pytest.raises(DatasetError, match=r"P1\.xml:1: expected <\w+> as the root element, got <other>\n.*another"):
        read(name, tmp_path)
    path.write_text('<!DOCTYPE a [<!ENTITY x "y">]>\n' + good.split("\n", 1)[1])
    with pytest.raises(DatasetError, match=r"P1\.xml:1: expected XML without a document type"):
        read(name, tmp_path)
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DatasetError, match=r"P1\.xml:1: expected well-formed XML"):
        read(name, tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_files_are_read_when_they_are_asked_for(name: str, tmp_path: Path) -> None:
    write(name, tmp_path, record(name, "P1"), record(name, "P2"))
    (tmp_path / CASES[name].annotations / "P2.xml").write_text("no XML")
    stream = iter(datasets.read(name, tmp_path, None, names_of(name)))
    assert next(stream).image_id == "P1"
    with pytest.raises(DatasetError, match=r"P2\.xml:1: expected well-formed XML"):
        next(stream)


@pytest.mark.parametrize("name", FORMATS)
def test_writing_goes_record_by_record_and_lists_only_whole_splits(name: str, tmp_path: Path) -> None:
    written = []

    def records() -> Iterator[ImageRecord]:
        for i in range(3):
            written.append(sorted(path.name for path in tmp_path.rglob("P*.xml")))
            yield record(name, f"P{i}")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        datasets.write(name, records(), tmp_path, "train", names_of(name))
    assert written == [[], ["P0.xml"], ["P0.xml", "P1.xml"]]
    assert not list(tmp_path.rglob("*.txt"))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("image_id", ["../P1", "a/../../b", "a//b", "", "a\\b"])
def test_file_names_stay_in_the_folder(name: str, image_id: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    bad = record(name, image_id) if image_id else record(name, "/")
    with pytest.raises(DatasetError, match="expected a plain file name"):
        write(name, root, bad, split="train")
    with pytest.raises(DatasetError, match="expected a plain file name"):
        write(name, root, record(name), split="../train")
    assert not list(tmp_path.rglob("*.xml"))


def test_fair1m_refuses_images_in_folders(tmp_path: Path) -> None:
    """Its server takes one folder of files."""
    with pytest.raises(DatasetError, match="expected a plain file name"):
        write("fair1m", tmp_path, record("fair1m", "a/b"))


@pytest.mark.parametrize("name", [name for name in FORMATS if CASES[name].lists])
def test_names_that_a_list_cannot_hold(name: str, tmp_path: Path) -> None:
    for image_id in ("P1\nP2", " P1"):
        with pytest.raises(DatasetError, match="expected an image name that fits a line of a list"):
            write(name, tmp_path, record(name, image_id), split="train")


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A file with some of its bytes changed, doubled, moved or cut away, or numbers replaced by odd ones."""
    odd = (
        b"nan",
        b"-inf",
        b"1e400",
        b"1e308",
        b"-1",
        b"0",
        b"9" * 5000,
        b"",
        b"0x10",
        "\u0663".encode(),
        b"<a>",
        b"1e-320",
    )
    for _ in range(rng.randint(1, 3)):
        i, j = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        match rng.randrange(6):
            case 0:
                data = data[:i] + bytes([rng.randrange(256)]) + data[i + 1 :]
            case 1:
                data = data[:i] + data[j:]
            case 2:
                data = data[:j] + data[i:]
            case 3:
                data = data[:i] + rng.choice(odd) + data[i:]
            case 4:
                found = list(re.finditer(rb">[^<>\s][^<>]*<", data))
                if found:
                    span = rng.choice(found)
                    data = data[: span.start() + 1] + rng.choice(odd) + data[span.end() - 1 :]
            case _:
                data = data.replace(
                    b"UTF-8", rng.choice([b"UTF-16", b"latin-1", b"gb2312", b"utf-7", b"x", b"cp037", b"rot13"])
                )
        data = data or b"<"
    return data


def fuzz(name: str, root: Path, count: int) -> int:
    """Reads mutated files; how many were refused. Warnings are errors here, so that overflows show."""
    path, _ = annotation(name, root)
    good, rng, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(count):
        path.write_bytes(mutated(good, rng))
        try:
            (one,) = read(name, root)
        except RboxError as error:
            refused += str(path) in str(error)  # an error that does not name the file is none that we mean
        else:
            assert np.isfinite(one.boxes).all()
    return refused


@pytest.mark.parametrize("name", FORMATS)
def test_mutated_files_raise_nothing_else(name: str, tmp_path: Path) -> None:
    assert 10 < fuzz(name, tmp_path, 60) < 60


@pytest.mark.slow
@pytest.mark.parametrize("name", sampled(FORMATS, FORMATS[:1]))
def test_many_mutated_files_raise_nothing_else(name: str, tmp_path: Path) -> None:
    fuzz(name, tmp_path, 20_000)


def test_angles_are_written_in_the_range_of_the_format(tmp_path: Path) -> None:
    ranges = {"rolabelimg": ("angle", 0, math.pi), "rsdd": ("angle", -math.pi / 2, math.pi / 2)}
    ranges |= {"hrsc2016": ("mbox_ang", -math.pi / 2, math.pi / 2), "ssdd": ("rotated_bbox_theta", 0, 90)}
    angles = [-math.pi / 2, -math.pi / 4, -1e-17, 0.0, 1e-17, 1.5]
    boxes = np.array([[50, 40, 20, 10, angle] for angle in angles])
    ship = ImageRecord("P1", boxes, np.zeros(len(boxes), dtype=np.int64))
    for name, (tag, low, high) in ranges.items():
        path = datasets.write(name, [ship], tmp_path / name, None, ClassNames(["ship"])) / "P1.xml"
        written = [float(value) for value in re.findall(rf"<{tag}>(.*)</{tag}>", path.read_text())]
        assert len(written) == len(angles)
        assert all(low <= angle <= high and (name == "ssdd" or angle < high) for angle in written), (name, written)


def test_loose_files_and_the_wrong_level_are_told(tmp_path: Path) -> None:
    (tmp_path / "00001.xml").write_text("<annotation/>")
    loose = r"expected a folder 'Annotations/Oriented Bounding Boxes'.*\n.*loose files beside it are not read"
    with pytest.raises(DatasetError, match=loose):
        datasets.read("dior-r", tmp_path)
    folder = tmp_path / "Annotations" / "Oriented Bounding Boxes"
    folder.mkdir(parents=True)
    with pytest.raises(DatasetError, match=rf"\nGive the dataset's folder, which this one is in: {tmp_path}\.$"):
        datasets.read("dior-r", folder)


@pytest.mark.parametrize("format", [name for name, entry in datasets.FORMATS.items() if entry.read])
def test_a_folder_that_is_not_there_has_a_remedy(tmp_path: Path, format: str) -> None:
    with pytest.raises(DatasetError, match=r"^\S+nowhere: expected a dataset folder.*, found none\nGive "):
        datasets.read(format, tmp_path / "nowhere")


@pytest.mark.parametrize("split", [None, "train"])
@pytest.mark.parametrize("name", ["voc", "hrsc2016", "rsdd", "dior-r", "ssdd"])
def test_images_of_one_name_in_several_folders(name: str, split: str | None, tmp_path: Path) -> None:
    """As annotation tools number frames: city/0001.jpg and harbour/0001.jpg are two images."""
    place = datasets.FORMATS[name].images
    assert place is not None
    names = datasets.FORMATS[name].class_names or ClassNames(["ship"])
    label = names.find("ship")
    assert label is not None
    records = []
    for number, folder in enumerate(("city", "harbour")):
        image = place(tmp_path, split) / folder / "0001.png"
        image.parent.mkdir(parents=True)
        Image.new("RGB", (64, 48 + number)).save(image)
        boxes = np.array([[30.0 + number, 20.0, 24.0, 8.0, 0.0]])
        records.append(
            ImageRecord(f"{folder}/0001", boxes, np.array([label]), path=image, width=64, height=48 + number)
        )
    datasets.write(name, records, tmp_path, split, names)
    found = datasets.read(name, tmp_path, split, names)
    assert [record.image_id for record in found] == ["city/0001", "harbour/0001"]
    for record, expected in zip(found, records, strict=True):
        assert record.path == expected.path
        np.testing.assert_allclose(rbox_to_hbox(record.boxes), rbox_to_hbox(expected.boxes), atol=1.01)
    assert not found.unmatched.labels
    assert not found.unmatched.images
