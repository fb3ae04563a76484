from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets, quad_to_rbox
from rbox_formats.cli.main import main
from rbox_formats.datasets import _ahead, dota
from rbox_formats.errors import DatasetError, ImageError
from rbox_testing.places import SHARED

REAL = SHARED / "data" / "dota-example"
OBJECT = "10 20 30 20 30 40 10 40"


def make(root: Path, *lines: str, image: bool = True, name: str = "P1") -> Path:
    (root / "labelTxt").mkdir(parents=True, exist_ok=True)
    (root / "images").mkdir(exist_ok=True)
    (root / "labelTxt" / f"{name}.txt").write_bytes("\r\n".join([*lines, ""]).encode())
    if image:
        Image.new("RGB", (64, 48)).save(root / "images" / f"{name}.png")
    return root


def test_a_file_with_headers_quads_and_difficult_objects(tmp_path: Path) -> None:
    make(tmp_path, "imagesource:GoogleEarth", "gsd:0.25", f"{OBJECT} ship 1", "", "1.5 2 8 2 8 4 1.5 4 Small_Vehicle")
    (record,) = datasets.read("dota", tmp_path)
    assert (record.image_id, record.size, record.file) == ("P1", (64, 48), tmp_path / "images" / "P1.png")
    assert record.metadata == {"imagesource": "GoogleEarth", "gsd": "0.25"}
    assert [dota.V1_0[label] for label in record.labels] == ["ship", "small-vehicle"]
    assert record.difficult.tolist() == [True, False]
    np.testing.assert_array_equal(record.quads[1], [[1.5, 2], [8, 2], [8, 4], [1.5, 4]])
    np.testing.assert_allclose(record.boxes, quad_to_rbox(record.quads))


def test_a_byte_order_mark_and_tabs(tmp_path: Path) -> None:
    make(tmp_path)
    text = "gsd:0.5\n" + f"{OBJECT} ship 0".replace(" ", "\t") + " \n"
    (tmp_path / "labelTxt" / "P1.txt").write_text(text, encoding="utf-8-sig")
    (record,) = datasets.read("dota", tmp_path)
    assert (record.metadata, len(record)) == ({"gsd": "0.5"}, 1)


def test_two_images_of_one_name(tmp_path: Path) -> None:
    make(tmp_path, f"{OBJECT} ship 0")
    Image.new("RGB", (64, 48)).save(tmp_path / "images" / "P1.tif")
    with pytest.raises(DatasetError, match=r"P1\.png: expected one image of the name 'P1', got P1\.tif as well"):
        datasets.read("dota", tmp_path)


def test_a_label_file_may_stand_without_its_image(tmp_path: Path) -> None:
    (record,) = datasets.read("dota", make(tmp_path, f"{OBJECT} ship 0", image=False))
    assert (record.path, record.width, record.height) == (None, None, None)


def test_a_file_without_objects(tmp_path: Path) -> None:
    (record,) = datasets.read("dota", make(tmp_path, "imagesource:x"))
    assert record.boxes.shape == (0, 5)
    assert record.quads.shape == (0, 4, 2)


def test_splits(tmp_path: Path) -> None:
    make(tmp_path / "val", f"{OBJECT} ship 0")
    assert len(datasets.read("dota", tmp_path, "val")) == 1
    with pytest.raises(DatasetError, match="It has the splits val: choose one"):
        datasets.read("dota", tmp_path)
    with pytest.raises(DatasetError, match=r"train: expected a dataset folder, found none\n.* choose another split"):
        datasets.read("dota", tmp_path, "train")
    with pytest.raises(DatasetError, match=r"val has no folder of that name.*leave --split out"):
        datasets.read("dota", tmp_path / "val", "train")


BAD_LINES = {
    "10 20 30 20 30 40 10 ship 0": r"expected 8 coordinates, got 'ship' as number 8",
    "10 20 30 20 30 40 10 ship": r"expected 8 coordinates, a class and perhaps a difficulty, got 8 fields",
    "10 20 30 20 30 40 10 40 ship 0 0": r"got 11 fields",
    "10 20 30 20 30 40 10 nan ship 0": r"expected finite coordinates, got 10 20 30 20 30 40 10 nan",
    "10 20 30 20 30 40 10 inf ship 0": r"expected finite coordinates",
    "10 20 30 20 30 40 10 4_0 ship 0": r"expected 8 coordinates, got '4_0' as number 8",
    "10 20 30 20 30 40 \uff11\uff10 40 ship 0": r"expected 8 coordinates, got '\uff11\uff10' as number 7",
    f"{OBJECT} tram 0": r"expected a class among plane, .*, got 'tram'\n.*--class-names",
    f"{OBJECT} ship 3": r"expected a difficulty among 0, 1, 2, got '3'",
    f"{OBJECT} ship  0 0": r"got 11 fields",
    "10 20 30 20 30 40 10 1e10 ship 0": r"expected coordinates up to 1000000000, got 10 20",
    "10 20 30 20 30\t40 10 x ship 0": r"expected 8 coordinates, got 'x' as number 8",
    "gsd": r"got 1 fields",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_lines_are_named_by_file_and_line(line: str, tmp_path: Path) -> None:
    make(tmp_path, "imagesource:x", f"{OBJECT} ship 0", line)
    with pytest.raises(DatasetError, match=r"P1\.txt:3: " + "(?s:.*)" + BAD_LINES[line]):
        list(datasets.read("dota", tmp_path))


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere: expected a dataset folder, found none"):
        datasets.read("dota", tmp_path / "nowhere")
    with pytest.raises(
        DatasetError, match=r"expected a folder 'labelTxt'.*\nGive the folder that has a folder 'labelTxt'"
    ):
        datasets.read("dota", tmp_path)
    (tmp_path / ".hidden" / "labelTxt").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"expected a folder 'labelTxt'.*\nGive the folder that has"):
        datasets.read("dota", tmp_path)
    (tmp_path / "labelTxt").mkdir()
    with pytest.raises(DatasetError, match=rf"\nGive the dataset's folder, which this one is in: {tmp_path}\.$"):
        datasets.read("dota", tmp_path / "labelTxt")
    with pytest.raises(DatasetError, match=r"expected annotation files \(\*\.txt\), found none"):
        datasets.read("dota", tmp_path)
    with pytest.raises(DatasetError, match=r"expected a dataset format among .*dota, .*got 'vog'"):
        datasets.read("vog", tmp_path)


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "labelTxt" / "P1.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match=r"P1\.txt: expected UTF-8 text"):
        list(datasets.read("dota", tmp_path))


def test_an_image_that_is_none(tmp_path: Path) -> None:
    make(tmp_path, f"{OBJECT} ship 0")
    (tmp_path / "images" / "P1.png").write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"P1\.png: expected a whole image"):
        list(datasets.read("dota", tmp_path))


def test_class_names_can_be_given(tmp_path: Path) -> None:
    make(tmp_path, f"{OBJECT} tram 0")
    (record,) = datasets.read("dota", tmp_path, class_names=["bus", "tram"])
    assert record.labels.tolist() == [1]


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    quads = np.concatenate([rng.uniform(0, 1000, (5, 4, 2)), rng.integers(0, 1000, (5, 4, 2))])
    record = ImageRecord.from_quads(
        "P1", quads, labels=rng.integers(0, 15, 10), difficult=rng.random(10) < 0.5, metadata={"gsd": "0.1", "other": 1}
    )
    datasets.write("dota", [record], tmp_path, "train", dota.V1_0)
    (again,) = datasets.read("dota", tmp_path, "train")
    np.testing.assert_array_equal(again.quads, quads)
    np.testing.assert_array_equal(again.labels, record.labels)
    np.testing.assert_array_equal(again.difficult, record.difficult)
    assert again.metadata == {"gsd": "0.1"}


def test_names_with_spaces_and_hidden_files(tmp_path: Path) -> None:
    names = ClassNames(["small vehicle"])
    record = ImageRecord("P1", boxes=np.array([[5.0, 5, 4, 2, 0]]), labels=np.zeros(1, dtype=np.int64))
    folder = datasets.write("dota", [record], tmp_path, None, names)
    (folder / ".P1.txt.x1.txt").write_text("half a li")
    (again,) = datasets.read("dota", tmp_path, class_names=names)
    assert again.labels.tolist() == [0]


def test_file_names_stay_in_the_folder(tmp_path: Path) -> None:
    record = ImageRecord("../P1", boxes=np.zeros((0, 5)), labels=np.zeros(0, dtype=np.int64))
    with pytest.raises(DatasetError, match=r"expected a plain file name inside .*, got '\.\.'"):
        datasets.write("dota", [record], tmp_path, None, dota.V1_0)
    assert not list(tmp_path.parent.glob("P1.txt"))


@pytest.mark.skipif(not REAL.is_dir(), reason="real DOTA files are not here")
def test_real_files_come_back_byte_for_byte(tmp_path: Path) -> None:
    dataset = datasets.read("dota", REAL)
    records = {record.image_id: record for record in dataset}
    assert {name: len(record) for name, record in records.items()} == {
        "P0706": 536, "P0770": 22, "P1088": 34, "P1888": 64, "P2598": 26
    }  # fmt: skip
    assert sum(int(record.difficult.sum()) for record in records.values()) == 6
    datasets.write("dota", dataset, tmp_path, None, dataset.class_names)
    for path in (REAL / "labelTxt").glob("*.txt"):
        ours = (tmp_path / "labelTxt" / path.name).read_text(encoding="utf-8").split("\n")
        theirs = path.read_text(encoding="utf-8").replace("\r", "").split("\n")
        assert [line for line in ours if line] == [line for line in theirs if line.strip()]


# Each as a whole file: what the fast way takes, and what it leaves to the slow one.
FILES = {
    "none": "",
    "blank": "\n\n",
    "clean": f"{OBJECT} ship 0\n{OBJECT} plane 1\n",
    "crlf": f"{OBJECT} ship 0\r\n{OBJECT} plane 1\r\n",
    "cr": f"{OBJECT} ship 0\r{OBJECT} plane 1",
    "headers": f"imagesource:x y\ngsd:0.5\n{OBJECT} ship 0",
    "headers alone": "imagesource:x\ngsd:0.5",
    "header behind": f"{OBJECT} ship 0\ngsd:0.5\n",
    "no difficulty": f"{OBJECT} ship\n{OBJECT} plane\n",
    "one without": f"{OBJECT} ship\n{OBJECT} plane 1\n",
    "other spelling": f"{OBJECT} Small_Vehicle 0\n{OBJECT} SHIP 2\n",
    "tabs": f"{OBJECT} ship 0\n{OBJECT} plane 1\n".replace(" ", "\t"),
    "two spaces": f"{OBJECT}  ship 0\n {OBJECT} plane 1 \n",
    "blank between": f"{OBJECT} ship 0\n\n{OBJECT} plane 1\n",
    "floats": "10.5 2e1 -3 20 .5 40 10. +40 ship 0\n",
    "two lines in one": f"{OBJECT} ship 0 {OBJECT} plane 1\n",
    "one line in two": "10 20 30 20 30\n40 10 40 ship 0\n",
    "shifted": f"{OBJECT} ship\n0 {OBJECT} plane 1 ship 0\n",
    "form feed": f"{OBJECT} ship 0\x0c\n{OBJECT} plane 1\n",
    "odd line end": f"{OBJECT} ship 0\u2028{OBJECT} plane 1\n",
    "nan": "10 20 30 20 30 40 10 nan ship 0\n",
    "inf": "10 20 30 20 30 40 10 -inf ship 0\n",
    "far": "10 20 30 20 30 40 10 -2e9 ship 0\n",
    "tram": f"{OBJECT} tram 0\n",
    "split name": f"{OBJECT} small vehicle 0\n",
    "tab in name": f"{OBJECT} small\tvehicle 0\n",
    "flag": f"{OBJECT} ship 0x\n",
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_the_fast_way_takes_nothing_that_the_slow_one_would_not(text: str, tmp_path: Path) -> None:
    path = tmp_path / "P1.txt"
    path.write_bytes(text.encode())
    both_ways(text, path)


@given(
    st.lists(st.sampled_from([*" \n\r\t", "10 20 30 20 30 40 10 40 ship 0\n", "1", "ship", ":", "gsd:1\n", "-.5e3 "]))
)
def test_both_ways_agree_on_any_text(pieces: list[str]) -> None:
    both_ways("".join(pieces), Path("P1.txt"))


def both_ways(text: str, path: Path) -> None:
    fast = dota._parse_at_once(text, dota.V1_0, dota._DIFFICULT)
    try:
        slow = dota._parse_by_line(text, dota.V1_0, dota._DIFFICULT, path)
    except DatasetError:
        assert fast is None
        return
    if fast is not None:
        assert fast.quads.tobytes() == slow.quads.tobytes()
        assert (fast.quads.shape, fast.quads.dtype) == (slow.quads.shape, slow.quads.dtype)
        np.testing.assert_array_equal(fast.labels, slow.labels, strict=True)
        np.testing.assert_array_equal(fast.difficult, slow.difficult, strict=True)
        assert fast.metadata == slow.metadata


@pytest.mark.parametrize("name", ["none", "clean", "crlf", "headers", "other spelling", "floats"])
def test_common_files_go_the_fast_way(name: str) -> None:
    assert dota._parse_at_once(FILES[name], dota.V1_0, dota._DIFFICULT) is not None


def test_images_read_ahead_are_as_those_read_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(2 * _ahead.AHEAD + 3):
        quads = rng.uniform(0, 500, (i % 5, 8))
        make(tmp_path, *(" ".join(map(str, quad)) + " ship 0" for quad in quads), name=f"P{i:02}")
    dataset = pickle.loads(pickle.dumps(datasets.read("dota", tmp_path)))  # noqa: S301  # as workers get it
    ahead = list(dataset)
    assert len(ahead) == len(dataset) == 2 * _ahead.AHEAD + 3
    for i, record in enumerate(ahead):
        alone = dataset[i]
        assert (record.image_id, record.size, len(record)) == (alone.image_id, alone.size, i % 5)
        np.testing.assert_array_equal(record.quads, alone.quads)
        np.testing.assert_allclose(record.boxes, alone.boxes, rtol=1e-12, atol=1e-12)
        assert record.boxes.base is None


def test_an_error_comes_after_the_images_before_it(tmp_path: Path) -> None:
    for i in range(_ahead.AHEAD + 4):
        make(tmp_path, f"{OBJECT} {'tram' if i == _ahead.AHEAD + 2 else 'ship'} 0", name=f"P{i:02}")
    records = iter(datasets.read("dota", tmp_path))
    assert [next(records).image_id for _ in range(_ahead.AHEAD + 2)][-1] == "P17"
    with pytest.raises(DatasetError, match=r"P18\.txt:1: expected a class among .*, got 'tram'"):
        next(records)


def test_arrays_may_be_changed(tmp_path: Path) -> None:
    (record,) = datasets.read("dota", make(tmp_path, f"{OBJECT} ship 0"))
    for column in (record.quads, record.labels, record.difficult):
        column[0] = 1


def test_a_header_of_several_lines_stays_one(tmp_path: Path) -> None:
    record = ImageRecord("P1", np.zeros((0, 5)), np.zeros(0, dtype=np.int64), metadata={"gsd": "0.1\n0 0 0"})
    datasets.write("dota", [record], tmp_path, None, dota.V1_0)
    (again,) = datasets.read("dota", tmp_path)
    assert again.metadata == {"gsd": "0.1 0 0 0"}


def test_a_label_file_that_is_a_folder(tmp_path: Path) -> None:
    (make(tmp_path) / "labelTxt" / "P2.txt").mkdir()
    with pytest.raises(DatasetError, match=r"P2\.txt: expected a file that can be read, got: Is a directory"):
        list(datasets.read("dota", tmp_path))


def test_names_may_have_what_numbers_may_not(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "labelTxt" / "P1.txt").write_text(f"{OBJECT} gr\xfcn_1 0\n", encoding="utf-8")
    text = (tmp_path / "labelTxt" / "P1.txt").read_text(encoding="utf-8")
    names = ClassNames(["gr\xfcn_1"])
    assert dota._parse_at_once(text, names, dota._DIFFICULT) is not None
    (record,) = datasets.read("dota", tmp_path, class_names=names)
    assert record.quads[0].ravel().tolist() == [float(value) for value in OBJECT.split()]


def test_an_image_without_a_label_file_has_no_objects(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "c", "e"):
        make(tmp_path, f"{OBJECT} ship 0", name=name, image=False)
    for name in ("a", "b", "d"):
        Image.new("RGB", (30, 20)).save(tmp_path / "images" / f"{name}.png")
    dataset = datasets.read("dota", tmp_path)
    found = [(record.image_id, len(record), record.path is None, record.width) for record in dataset]
    assert [each[:3] for each in found] == [
        ("a", 1, False), ("b", 0, False), ("c", 1, True), ("d", 0, False), ("e", 1, True),
    ]  # fmt: skip
    assert found[1][3] == 30
    assert dataset[1].image_id == "b"
    assert caplog.messages == [
        "2 of 3 images have no annotation file and count as images without objects: b.png, d.png",
        "2 of 3 annotation files have no image: c.txt, e.txt",
    ]
    assert [record.image_id for record in dataset.labelled()] == ["a", "c", "e"]


def test_labels_alone_are_not_said_to_be_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, f"{OBJECT} ship 0")
    for path in (tmp_path / "images").glob("*"):
        path.unlink()
    assert len(datasets.read("dota", tmp_path)) == 1
    assert not caplog.messages


def test_images_of_a_kind_that_is_not_read_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, f"{OBJECT} ship 0")
    (tmp_path / "labelTxt" / "P2.txt").write_text(f"{OBJECT} ship 0\n")
    Image.new("P", (64, 48)).save(tmp_path / "images" / "P2.gif")
    datasets.read("dota", tmp_path)
    assert "1 of 2 annotation files have no image: P2.txt" in caplog.messages
    assert "1 images are of a kind that is not read, store them as PNG: P2.gif" in caplog.messages


@pytest.fixture
def downloaded(tmp_path: Path) -> Path:
    """As the zips of v1.0 and v1.5 unpack side by side."""
    base = tmp_path / "train"
    for folder, name in (
        ("labelTxt-v1.0/labelTxt", "ship"), ("labelTxt-v1.5/DOTA-v1.5_train", "container-crane"),
        ("labelTxt-v1.5/DOTA-v1.5_train_hbb", "none"), ("labelTxt-v1.0/trainset_reclabelTxt", "none"),
        ("images/part1/images", ""), ("images/part2/images", ""),
    ):  # fmt: skip
        (base / folder).mkdir(parents=True)
        if name:
            (base / folder / "P0000.txt").write_text(f"{OBJECT} {name} 0\n")
    Image.new("RGB", (64, 48)).save(base / "images" / "part1" / "images" / "P0000.png")
    Image.new("RGB", (32, 24)).save(base / "images" / "part2" / "images" / "P0001.png")
    return tmp_path


@pytest.mark.parametrize("format, name", [("dota", "ship"), ("dota-v1.5", "container-crane")])
def test_downloads_are_read_as_they_unpack(format: str, name: str, downloaded: Path) -> None:
    for root, split in ((downloaded, "train"), (downloaded / "train", None)):
        dataset = datasets.read(format, root, split)
        first, second = dataset
        assert dataset.class_names[first.labels[0]] == name
        assert (first.size, second.image_id, len(second)) == ((64, 48), "P0001", 0)


def test_a_named_folder_is_that_of_the_zip_within_it(downloaded: Path) -> None:
    """`--labels labelTxt-v1.5`, as the folder of the download is called."""
    first, second = datasets.read("dota-v1.5", downloaded, "train", labels="labelTxt-v1.5")
    assert (first.image_id, len(first), first.size) == ("P0000", 1, (64, 48))
    assert (second.image_id, len(second)) == ("P0001", 0)
    (downloaded / "train" / "labelTxt-v1.5" / "DOTA-v1.5_val").mkdir()
    (downloaded / "train" / "labelTxt-v1.5" / "DOTA-v1.5_val" / "P2.txt").touch()
    with pytest.raises(DatasetError, match=r"DOTA-v1.5_val\nName one \(--labels labelTxt-v1.5/DOTA-v1.5_train\)"):
        datasets.read("dota-v1.5", downloaded, "train", labels="labelTxt-v1.5")


@pytest.mark.parametrize("pictures", ["images", "images/images"])
@pytest.mark.parametrize("labels", ["labelTxt", "labelTxt/labelTxt"])
def test_zips_in_folders_of_their_names(labels: str, pictures: str, tmp_path: Path) -> None:
    for folder in (labels, pictures):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / labels / "P1.txt").write_text(f"{OBJECT} ship 0\n")
    Image.new("RGB", (64, 48)).save(tmp_path / pictures / "P1.png")
    (record,) = datasets.read("dota", tmp_path)
    assert (record.image_id, len(record), record.size) == ("P1", 1, (64, 48))


def test_another_versions_labels_name_the_format(downloaded: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"expected one folder of DOTA-v2.0's labels(.|\n)*--format dota or --format dota-v1.5"
    ):
        datasets.read("dota-v2.0", downloaded, "train")


def test_equal_names_in_folders_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    """In YOLO's and COCO's layout too, and those of annotation tools, there and back."""
    for number, cam in enumerate(("cam1", "cam2"), start=1):
        for folder in ("labelTxt", "images"):
            (tmp_path / "dota" / folder / cam).mkdir(parents=True)
        (tmp_path / "dota" / "labelTxt" / cam / "1.txt").write_text(f"{OBJECT} ship 0\n" * number)
        Image.new("RGB", (64, 48 + number)).save(tmp_path / "dota" / "images" / cam / "1.png")
    read = datasets.read("dota", tmp_path / "dota")
    expected = [("cam1/1", 1, (64, 49)), ("cam2/1", 2, (64, 50))]
    assert [(record.image_id, len(record), record.size) for record in read] == expected
    for format in ("yolo-obb", "coco", "dota", "cvat", "label-studio", "predictions", "labelme", "rolabelimg"):
        root = tmp_path / f"new-{format}"
        arguments = ["convert", "--data", tmp_path / "dota", "--to", format, "--out", root, "--images", "copy"]
        result = CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert (root / ("" if format in ("labelme", "rolabelimg") else "images") / "cam2" / "1.png").is_file()
        names = None if format == "coco" else dota.V1_0
        back = datasets.read(format, root, None, names)
        assert [(record.image_id, len(record), record.size) for record in back] == expected
        assert all(record.path is not None for record in back)


@pytest.mark.parametrize(
    "line, said",
    [
        ("10,20,30,20,30,40,10,40,ship,0", "got 1 fields\nFields are separated by spaces, not by commas."),
        ("10, 20, 30, 20, 30, 40, 10, 40, ship, 0", "got '10,' as number 1\nFields are separated by spaces"),
        ("10 20 30 40 ship", "got 5 fields\nThese may be upright boxes, x_min y_min x_max y_max class."),
        ("29 31 2.3 1 1 0 20 30 38 28 30 20 32 42", "got 14 fields\nIt may be a line of VEDAI: --format vedai"),
        ("0 0.5 0.5 0.4 0.1 30", "got 6 fields\nIt may be a line of yolov5_obb: --format yolov5-obb"),
        ("0 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3", "got '0.3'\nA line reads.*--format yolo-obb"),
    ],
)
def test_bad_lines_name_the_likely_cause(line: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=said):
        list(datasets.read("dota", make(tmp_path, line)))


@pytest.mark.parametrize("encoding, name", [("gbk", "GBK"), ("utf-16", "UTF-16")])
def test_other_encodings_are_named(encoding: str, name: str, tmp_path: Path) -> None:
    file = make(tmp_path, "") / "labelTxt" / "P1.txt"
    file.write_bytes(f"imagesource:谷歌地球\n{OBJECT} ship 0\n".encode(encoding))
    with pytest.raises(
        DatasetError, match=rf"P1.txt: expected UTF-8 text, got byte 0x.*\nIt may be {name}: store it as UTF-8"
    ):
        list(datasets.read("dota", tmp_path))


LINE = "10 20 50 20 50 30 10 30 ship 0\n"


def other_folders(root: Path) -> Path:
    """As DOTA's download lies: labels of two versions, images in a folder of another name."""
    for folder, count in (("labelTxt-v1.0/labelTxt", 1), ("labelTxt-v1.5/DOTA-v1.5_train", 2)):
        (root / folder).mkdir(parents=True)
        (root / folder / "P1.txt").write_text(LINE * count)
    (root / "pictures").mkdir()
    Image.new("L", (64, 48)).save(root / "pictures" / "P1.webp")
    return root


@pytest.mark.parametrize(("labels", "count"), [("labelTxt-v1.0/labelTxt", 1), ("labelTxt-v1.5/DOTA-v1.5_train", 2)])
def test_folders_of_other_names(labels: str, count: int, tmp_path: Path) -> None:
    root = other_folders(tmp_path / "in")
    (record,) = datasets.read("dota", root, labels=labels, image_folder=root / "pictures")
    assert (len(record), record.file, record.size) == (count, root / "pictures" / "P1.webp", (64, 48))
    out = tmp_path / "out"
    words = ["convert", "--data", str(root), "--labels", labels, "--image-folder", str(root / "pictures")]
    result = CliRunner().invoke(
        main, [*words, "--to", "dota", "--out", str(out), "--images", "copy"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    assert f"{count} object{'s' * (count > 1)} on 1 image " in result.output
    assert (out / "images" / "P1.webp").is_file()


def test_an_image_folder_with_folders(tmp_path: Path) -> None:
    """Images are found there by their paths, and by names that no other image has."""
    (tmp_path / "labelTxt" / "cam1").mkdir(parents=True)
    for name in ("cam1/1", "2"):
        (tmp_path / "labelTxt" / f"{name}.txt").write_text(LINE)
    for number, name in enumerate(("cam1/1", "cam2/1", "cam2/2")):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (60 + number, 48)).save(tmp_path / "pictures" / f"{name}.png")
    read = datasets.read("dota", tmp_path, image_folder=tmp_path / "pictures")
    assert [(record.image_id, record.width) for record in read] == [("2", 62), ("cam1/1", 60)]


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    root = other_folders(tmp_path)
    with pytest.raises(DatasetError, match="expected a folder 'labels' in it, found none"):
        datasets.read("dota", root, labels="labels")
    with pytest.raises(DatasetError, match="expected a plain file name inside"):
        datasets.read("dota", root, labels="../labels")
    with pytest.raises(
        DatasetError, match=r"expected a format whose label folder can have another name, among dota, .*coco"
    ):
        datasets.read("coco", root, labels="labels")
    with pytest.raises(DatasetError, match="expected a folder with images, found none"):
        datasets.read("dota", root, labels="labelTxt-v1.0/labelTxt", image_folder=root / "images")
    (root / "pictures" / "P1.webp").unlink()
    (record,) = datasets.read("dota", root, labels="labelTxt-v1.0/labelTxt", image_folder=root / "pictures")
    assert record.path is None
