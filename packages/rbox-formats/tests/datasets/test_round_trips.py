"""What a text or JSON format writes reads back the same, for any records."""

from __future__ import annotations

import string
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, canonical_le90, codecs, datasets, rbox_to_quad
from rbox_formats.errors import DatasetError
from rbox_testing.places import SHARED
from rbox_testing.samples import sampled

REAL = SHARED / "data" / "dota-example"
NAMES = ClassNames(["ship", "small-vehicle", "Storage_Tank"])
SIZE = (64, 48)

numbers = st.floats(-60, 150, allow_subnormal=False) | st.integers(-60, 150).map(float)
ids = st.text(string.ascii_letters + string.digits + "_-. é", min_size=1, max_size=8).filter(
    lambda name: name == name.strip(" .") and "." not in name
)


@st.composite
def records(draw: st.DrawFn, image_id: str, quads: bool) -> ImageRecord:
    n = draw(st.integers(0, 4))
    labels = np.array(draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)), dtype=np.int64)
    difficult = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=bool)
    fields: dict[str, Any] = {"labels": labels, "difficult": difficult, "width": SIZE[0], "height": SIZE[1]}
    if quads:
        corners = draw(st.lists(numbers, min_size=8 * n, max_size=8 * n))
        return ImageRecord.from_quads(image_id, np.array(corners, dtype=np.float64).reshape(-1, 4, 2), **fields)
    sides = st.floats(1, 60)
    box = st.tuples(st.floats(0, 64), st.floats(0, 48), sides, sides, st.floats(-10, 10))
    boxes = np.array(draw(st.lists(box, min_size=n, max_size=n)), dtype=np.float64).reshape(-1, 5)
    return ImageRecord(image_id, boxes=canonical_le90(boxes), **fields)


@st.composite
def sets(draw: st.DrawFn, quads: bool = True) -> list[ImageRecord]:
    names = draw(st.lists(ids, min_size=1, max_size=3, unique_by=str.casefold))
    return [draw(records(name, quads)) for name in sorted(names)]


class Kept(NamedTuple):
    """What a format holds: how far a corner may be off (0: not a bit), and whether objects stay difficult."""

    corner: float
    difficult: bool


HELD = {
    "dota": Kept(0, True),
    "rsar": Kept(0, True),
    "coco": Kept(0, True),
    "coco-rotated": Kept(0, True),
    "ymir-coco": Kept(0, False),
    "cvat": Kept(1e-12, True),
    "labelme": Kept(0, True),
    "label-studio": Kept(1e-12, True),
    "predictions": Kept(0, False),
    "ucas-aod": Kept(0, False),
    "yolo-obb": Kept(1e-12, False),
}


def through(name: str, written: list[ImageRecord], folder: str, split: str | None) -> list[ImageRecord]:
    place = datasets.FORMATS[name].images
    assert place is not None
    images = place(Path(folder), split)
    images.mkdir(parents=True, exist_ok=True)
    for record in written:
        Image.new("L", SIZE).save(images / f"{record.image_id}.png")
    datasets.write(name, iter(written), Path(folder), split, NAMES)
    again = {record.image_id: record for record in datasets.read(name, folder, split, NAMES)}
    assert len(again) == len(written)
    for record in again.values():
        assert record.file == images / f"{record.image_id}.png"
        assert record.size == SIZE
    return [again[record.image_id] for record in written]


@pytest.mark.parametrize("split", sampled([None, "train"], ["train"]))
@pytest.mark.parametrize("name", HELD)
@given(written=sets())
@settings(max_examples=6)
def test_quads_labels_and_flags_come_back(name: str, split: str | None, written: list[ImageRecord]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for before, after in zip(written, through(name, written, folder, split), strict=True):
            assert after.quads is not None
            assert before.quads is not None
            if HELD[name].corner:
                np.testing.assert_allclose(after.quads, before.quads, rtol=0, atol=HELD[name].corner * max(SIZE))
            else:
                assert after.quads.tobytes() == before.quads.tobytes()
            np.testing.assert_array_equal(after.labels, before.labels)
            np.testing.assert_array_equal(after.difficult, before.difficult & HELD[name].difficult)


@pytest.mark.parametrize("name", HELD)
@given(written=sets(quads=False))
@settings(max_examples=5)
def test_boxes_come_back(name: str, written: list[ImageRecord]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for before, after in zip(written, through(name, written, folder, None), strict=True):
            assert farthest_corner(before, after) < 1e-9
            assert (after.quads is None) == (name == "predictions" or (name == "coco-rotated" and len(before) > 0))


@pytest.mark.parametrize("name", ["ymir", "ymir-pi", "ymir-voc", "ymir-voc-pi"])
@given(written=sets(quads=False))
@settings(max_examples=8)
def test_ymir_comes_back_to_whole_pixels(name: str, written: list[ImageRecord]) -> None:
    # The angle has 4 decimals in XML, in units of pi: half of the last one turns a corner.
    turned = {"ymir-voc": 0.5e-4, "ymir-voc-pi": 0.5e-4 * np.pi}.get(name, 0) * 2**0.5 * 30.5
    with tempfile.TemporaryDirectory() as folder:
        for before, after in zip(written, through(name, written, folder, "val"), strict=True):
            # Half a pixel in each of cx, cy, and in each of w, h, of which a corner moves by half.
            assert farthest_corner(before, after) <= 0.5 * 2**0.5 + 0.25 * 2**0.5 + turned + 1e-9
            np.testing.assert_array_equal(after.labels, before.labels)


@pytest.mark.parametrize("name", ["lmmrotate", "lmmrotate-v3"])
@given(written=sets())
@settings(max_examples=6)
def test_lmmrotate_holds_what_its_codec_holds(name: str, written: list[ImageRecord]) -> None:
    codec = codecs.get("florence2", version=3)
    kept = [record for record in written if len(record) or name == "lmmrotate-v3"]
    with tempfile.TemporaryDirectory() as folder:
        datasets.write(name, written, folder, "train", NAMES)
        again = list(datasets.read(name, folder, "train", NAMES))
        assert [record.image_id for record in again] == [record.image_id for record in kept]
        for before, after in zip(kept, again, strict=True):
            assert before.quads is not None
            found = codec.decode(codec.encode(before.quads, before.labels, NAMES, SIZE), NAMES, SIZE)
            assert after.quads is not None
            np.testing.assert_array_equal(after.quads, found.quads)
            np.testing.assert_array_equal(after.labels, found.labels)
            assert (after.path, after.size) == (None, SIZE)


def farthest_corner(before: ImageRecord, after: ImageRecord) -> float:
    """How far the corners of two lists of boxes are apart at most, whichever of a box's corners comes first."""
    one, other = rbox_to_quad(before.boxes), rbox_to_quad(after.boxes)
    turned = [np.linalg.norm(one - np.roll(other, shift, axis=1), axis=-1).max(axis=1) for shift in range(4)]
    return float(np.min(turned, axis=0).max(initial=0))


# Formats whose images may be in folders within.
NESTED = (
    "dota",
    "rsar",
    "srsdd",
    "yolo-obb",
    "coco",
    "coco-rotated",
    "cvat",
    "label-studio",
    "predictions",
    "labelme",
    "rolabelimg",
)


@pytest.mark.parametrize("name", [*HELD, "ymir", "lmmrotate-v3", "geojson"])
def test_records_go_by_one_at_a_time(name: str, tmp_path: Path) -> None:
    alive = 0

    class Counted(ImageRecord):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def stream() -> Any:
        nonlocal alive
        for i in range(50):
            alive += 1
            record = Counted(f"P{i}", np.zeros((1, 5)), np.zeros(1, dtype=np.int64), width=10, height=10)
            assert alive <= 3
            yield record

    datasets.write(name, stream(), tmp_path, "train", NAMES)


@pytest.mark.parametrize("name", ["coco", "cvat", "label-studio", "lmmrotate", "predictions", "ymir", "ucas-aod"])
def test_a_write_that_fails_leaves_the_old_file(name: str, tmp_path: Path) -> None:
    record = ImageRecord("P1", np.array([[5.0, 5, 4, 2, 0]]), np.zeros(1, dtype=np.int64), width=10, height=10)
    datasets.write(name, [record], tmp_path, "train", NAMES)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def stops() -> Any:
        yield record
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        datasets.write(name, stops(), tmp_path, "train", NAMES)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", [*HELD, "ymir", "lmmrotate", "geojson"])
@pytest.mark.parametrize("image_id", ["../P1", "a/b"])
def test_names_stay_in_the_folder(name: str, image_id: str, tmp_path: Path) -> None:
    record = ImageRecord(image_id, np.ones((1, 5)), np.zeros(1, dtype=np.int64), width=10, height=10)
    if image_id == "a/b" and name in NESTED:
        datasets.write(name, [record], tmp_path / "in", None, NAMES)
    else:
        with pytest.raises(DatasetError, match="expected a"):
            datasets.write(name, [record], tmp_path / "in", None, NAMES)
    with pytest.raises(DatasetError, match="expected a plain file name"):
        datasets.write(name, [], tmp_path / "in", "../up", NAMES)
    assert [path.name for path in tmp_path.iterdir() if path.name != "in"] == []


@pytest.mark.skipif(not REAL.is_dir(), reason="real DOTA files are not here")
@pytest.mark.parametrize("name", ["rsar", "coco", "coco-rotated", "labelme", "ucas-aod"])
def test_real_annotations_come_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    dataset = datasets.read("dota", REAL)
    datasets.write(name, dataset, tmp_path, "train", dataset.class_names)
    again = {record.image_id: record for record in datasets.read(name, tmp_path, "train", dataset.class_names)}
    assert sum(map(len, again.values())) == 682
    for record in dataset:
        found = again[record.image_id]
        assert record.quads is not None
        assert found.quads is not None
        assert found.quads.tobytes() == record.quads.tobytes()
        np.testing.assert_array_equal(found.labels, record.labels)
        if name.startswith(("coco", "labelme")):
            assert {key: found.metadata[key] for key in record.metadata} == record.metadata
