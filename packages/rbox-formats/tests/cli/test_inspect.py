from __future__ import annotations

import json
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from rbox_formats.cli.main import main
from rbox_formats.draw import class_colour
from rbox_testing.places import SHARED

EXAMPLE = SHARED / "data/dota-example"
GROUND = (40, 60, 80)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "labelTxt").mkdir(parents=True)
    (root / "images").mkdir()
    (root / "labelTxt" / "P1.txt").write_text("10 20 50 20 50 30 10 30 ship 1\n100 90 140 90 140 130 100 130 plane 0\n")
    (root / "labelTxt" / "P2.txt").write_text("1 1 9 1 9 3 1 3 ship 0\n")
    Image.new("RGB", (200, 160), GROUND).save(root / "images" / "P1.png")
    return root


def add_odd(data: Path, name: str = "P3") -> None:
    """An image with a bow tie, and a repeated object beside the image."""
    lines = ["10 10 30 30 30 10 10 30 plane 0", *["300 10 340 10 340 20 300 20 ship 0"] * 2]
    (data / "labelTxt" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    Image.new("RGB", (200, 160), GROUND).save(data / "images" / f"{name}.png")


def test_counts_and_sizes_are_shown(data: Path) -> None:
    result = run("--data", data)
    assert result.exit_code == 0, result.output
    counts, sizes = (
        [word for word in line.split() if word[0].isdigit()] for line in result.output.splitlines() if "ship" in line
    )
    # Objects, difficult, images, small, medium, large; long sides; short side.
    assert counts == ["2", "1", "2", "2", "0", "0"]
    assert sizes == ["8.0", "24.0", "40.0", "6.0"]
    assert "3 objects on 2 images, 1 of them without their file." in result.output
    assert "Nothing is suspicious." in result.output
    assert "Images of unknown size, where nothing is known to lie outside: 1." in result.output
    assert re.search(r"^   0  \S+ +3$", result.output, re.MULTILINE)
    assert not list(data.parent.glob("*.json"))


def test_suspicious_objects_are_listed(data: Path) -> None:
    add_odd(data)
    result = run("--data", data)
    assert result.exit_code == 0, result.output
    file = data / "labelTxt" / "P3.txt"
    for line in (
        "Suspicious, outside: 2",
        f"  {file}: object 1, ship at (320, 15): lies in x 300 to 340, y 10 to 20 of an image of 200x160",
        "Suspicious, self-crossing: 1",
        f"  {file}: object 0, plane at (20, 20): two of its sides cross: its corners are out of order",
        "Suspicious, duplicate: 1",
        f"  {file}: object 2, ship at (320, 15): the same as object 1",
    ):
        assert line in result.output.splitlines()
    short = run("--data", data, "--show", 1).output.splitlines()
    assert "  and 1 more" in short
    assert len([line for line in short if "object 1, ship" in line]) == 1


def test_the_report_has_all_of_it(data: Path, tmp_path: Path) -> None:
    for i in range(3, 8):
        add_odd(data, f"P{i}")
    result = run("--data", data, "--show", 0, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "inspection.json").read_text())
    assert (report["data"], report["format"], report["split"]) == (str(data), "dota", None)
    assert report["kinds"]["outside"] == 10
    assert [each["object_index"] for each in report["suspicious"] if each["image_id"] == "P5"] == [1, 2, 0, 2]
    assert report["broken"] == []
    assert (tmp_path / "out" / "summary.png").is_file()


def test_broken_files_do_not_end_it(data: Path, tmp_path: Path) -> None:
    (data / "labelTxt" / "P0.txt").write_text("1 1 9 1 9 3 1 3 tram 0\n")
    (data / "labelTxt" / "P4.txt").write_bytes(b"\xff\xfe")
    result = run("--data", data, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "3 objects on 2 images, 1 of them without their file, 2 files that cannot be read." in result.output
    assert "Files that cannot be read: 2" in result.output
    assert "P0.txt:1: expected a class among" in result.output
    assert "P4.txt: expected UTF-8 text" in result.output
    report = json.loads((tmp_path / "out" / "inspection.json").read_text())
    assert [Path(each["file"]).name for each in report["broken"]] == ["P0.txt", "P4.txt"]
    assert "and 1 more" in run("--data", data, "--show", 1).output


def test_images_that_cannot_be_drawn_are_broken_too(data: Path, tmp_path: Path) -> None:
    path = data / "images" / "P1.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (160, 200, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:20_000])
    assert run("--data", data).exit_code == 0
    result = run("--data", data, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert f"{path}: expected a whole image" in result.output
    report = json.loads((tmp_path / "out" / "inspection.json").read_text())
    assert [each["file"] for each in report["broken"]] == [str(path)]
    assert report["objects"] == 3


def test_a_dataset_without_anything_readable(tmp_path: Path) -> None:
    (tmp_path / "labelTxt").mkdir()
    (tmp_path / "labelTxt" / "P1.txt").write_text("nonsense\n")
    result = run("--data", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "P1.txt:1: expected" in result.output
    assert "suspicious" not in result.output
    assert "class" not in result.output.partition("P1.txt")[0]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["inspection.json"]
    assert len(json.loads((tmp_path / "out" / "inspection.json").read_text())["broken"]) == 1
    assert run("--data", tmp_path / "nowhere").exit_code == 1


@pytest.mark.parametrize("out", ["file", "file/out", pytest.param("/proc/out", marks=pytest.mark.slow)])
def test_a_report_that_cannot_be_written_is_said_before_the_work(data: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("text")
    result = run("--data", data, "--out", tmp_path / out)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {tmp_path / out}: expected a folder ")
    assert "Choose another --out." in result.output


def test_pictures_show_boxes_and_marks(data: Path, tmp_path: Path) -> None:
    add_odd(data)
    assert run("--data", data, "--out", tmp_path / "out").exit_code == 0
    folder = tmp_path / "out" / "pictures"
    assert sorted(path.name for path in folder.iterdir()) == ["P1.png", "P3.png"]
    plain, marked = (np.asarray(Image.open(folder / name)) for name in ("P1.png", "P3.png"))
    for label in (0, 6):
        assert np.all(plain == class_colour(label), axis=2).sum() > 50
    assert marked.shape[0] > plain.shape[0]  # the list of what is odd


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 100])
def test_suspicious_images_are_drawn_first(data: Path, tmp_path: Path, limit: int) -> None:
    for name in ("P3", "P4"):
        add_odd(data, name)
    for name in ("P5", "P6"):
        (data / "labelTxt" / f"{name}.txt").write_text("")
        Image.new("RGB", (64, 64), GROUND).save(data / "images" / f"{name}.png")
    assert run("--data", data, "--out", tmp_path / "out", "--limit", limit).exit_code == 0
    drawn = {path.stem for path in (tmp_path / "out" / "pictures").glob("*.png")}
    assert len(drawn) == min(limit, 5)
    assert len(drawn & {"P3", "P4"}) == min(limit, 2)


def test_large_images_are_drawn_smaller(data: Path, tmp_path: Path) -> None:
    assert run("--data", data, "--out", tmp_path / "out", "--max-side", 100).exit_code == 0
    with Image.open(tmp_path / "out" / "pictures" / "P1.png") as picture:
        assert picture.height < 200


def test_images_are_never_drawn_over(data: Path) -> None:
    (data / "pictures").mkdir()
    (data / "images").rename(data / "elsewhere")
    (data / "images").symlink_to(data / "pictures")
    (data / "elsewhere" / "P1.png").rename(data / "pictures" / "P1.png")
    before = (data / "pictures" / "P1.png").read_bytes()
    result = run("--data", data, "--out", data)
    assert result.exit_code == 1
    assert "this one is read" in result.output
    assert (data / "pictures" / "P1.png").read_bytes() == before


@pytest.mark.slow
@pytest.mark.skipif(not EXAMPLE.exists(), reason="needs the example images of DOTA")
def test_the_example_images_of_dota(tmp_path: Path) -> None:
    result = run("--data", EXAMPLE, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "682 objects on 5 images, 3 of them without their file." in result.output
    ship = next(line for line in result.output.splitlines() if " ship " in line)
    assert [word for word in ship.split() if word.isdigit()] == ["531", "6", "1", "507", "24", "0"]
    assert "Nothing is suspicious." in result.output
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["P0706.png", "P1888.png"]


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    """Six images, four of them to be turned; the annotations state a size, the third that of the pixels as stored."""
    root = tmp_path / "coco"
    (root / "images").mkdir(parents=True)
    images = []
    for number, (orientation, stated) in enumerate([(1, (60, 40)), (6, (40, 60)), (8, (60, 40)), (3, (60, 40))]):
        exif = Image.Exif()
        exif[0x112] = orientation
        Image.new("RGB", (60, 40), GROUND).save(root / "images" / f"{number}.jpg", exif=exif)
        images.append({"id": number, "file_name": f"{number}.jpg", "width": stated[0], "height": stated[1]})
    square = Image.Exif()
    square[0x112] = 6
    Image.new("RGB", (50, 50), GROUND).save(root / "images" / "4.png", exif=square)
    images += [{"id": 4, "file_name": "4.png", "width": 50, "height": 50}, {"id": 5, "file_name": "5.png"}]
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 8, 4]}
    document = {"images": images, "annotations": [box], "categories": [{"id": 1, "name": "ship"}]}
    (root / "annotations.json").write_text(json.dumps(document))
    return root


def test_turned_images_and_annotations_on_their_side_are_listed(turned: Path, tmp_path: Path) -> None:
    result = run("--data", turned, "--format", "coco", "--out", tmp_path / "out", "--show", 3)
    assert result.exit_code == 0, result.output
    images = turned / "images"
    assert (
        "Images that are turned as their files note (boxes are of the turned image): 4\n"
        f"  {images / '1.jpg'}: orientation 6\n"
        f"  {images / '2.jpg'}: orientation 8\n"
        f"  {images / '3.jpg'}: orientation 3\n"
        "  and 1 more\n"
        "Annotations whose own size is that of the image on its side, as if it had not been turned: 1\n"
        f"  {turned / 'annotations.json'}: 2 as 60x40, the image is 40x60\n"
    ) in result.output
    report = json.loads((tmp_path / "out/inspection.json").read_text())
    assert [each["orientation"] for each in report["turned"]] == [6, 8, 3, 6]
    assert [(each["image_id"], each["stated"], each["size"]) for each in report["on_its_side"]] == [
        ("2", [60, 40], [40, 60])
    ]


def test_nothing_is_said_of_images_that_are_upright(data: Path) -> None:
    assert "turned" not in run("--data", data).output


@pytest.mark.parametrize("format", ["labelme", "voc", "coco", "hrsc2016"])
def test_formats_that_state_a_size_have_it_compared(format: str, tmp_path: Path) -> None:
    """Written where the image was not turned, as a tool does that reads pixels alone; then the file's note counts."""
    from rbox_formats import ClassNames, ImageRecord, datasets

    record = ImageRecord("P1", [[20, 15, 8, 4, 0]], [0], path=Path("P1.jpg"), width=60, height=40)
    datasets.write(format, [record], tmp_path, None, ClassNames(["ship"]))
    folder = datasets.FORMATS[format].images(tmp_path, None)  # type: ignore[misc]
    folder.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x112] = 8
    Image.new("RGB", (60, 40), GROUND).save(folder / "P1.jpg", exif=exif)
    result = run("--data", tmp_path, "--format", format)
    assert "as 60x40, the image is 40x60" in result.output, result.output


def test_an_image_that_says_it_is_huge_is_not_decoded(data: Path, tmp_path: Path) -> None:
    """50,000 x 50,000 in a hundred bytes: counted by its header, listed where it was to be drawn."""
    add_huge(data)
    result = run("--data", data)
    assert result.exit_code == 0, result.output
    assert "Images: 200x160 to 50000x50000 px." in result.output
    result = run("--data", data, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "P2.png: expected an image of at most 268,435,456 pixels" in result.stderr
    assert "RBOX_MAX_PIXELS" in result.stderr


def add_huge(data: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    parts = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)), chunk(b"IDAT", zlib.compress(b""))
    (data / "images" / "P2.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b""))


def test_truth_beside_predictions_of_a_huge_image_is_refused(data: Path, tmp_path: Path) -> None:
    from rbox_formats import datasets, predictions
    from rbox_formats.errors import ImageError
    from rbox_formats.visualization import visualize

    add_huge(data)
    truth = datasets.read("dota", data)
    with predictions.Writer(tmp_path / "a.jsonl", predictions.Header(truth.class_names, "x")) as writer:
        for record in truth:
            writer.write(record)
    with pytest.raises(ImageError, match="at most 268,435,456 pixels"):
        visualize(truth, tmp_path / "a.jsonl", tmp_path / "out")


def test_an_angle_that_is_not_read_is_named(tmp_path: Path) -> None:
    annotations = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 8], "attributes": {"heading": i, "rotation": 3}}
        for i in range(3)
    ]
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 90, "height": 90}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "ship"}],
    }
    data = tmp_path / "annotations.json"
    data.write_text(json.dumps(document))
    result = run("--data", data, "--format", "coco", "--out", tmp_path / "out")
    assert "Not read, attribute 'heading' that looks like an angle: 2." in result.output
    report = json.loads((tmp_path / "out" / "inspection.json").read_text())
    assert report["passed_over"] == {"attribute 'heading' that looks like an angle": 2}
    assert sum(report["angles"]) == report["angles"][19] == 3  # 3 degrees: around 5
    arguments = ["convert", "--data", data, "--format", "coco", "--to", "coco", "--out", tmp_path / "new"]
    result = CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)
    assert "Not read, attribute 'heading' that looks like an angle: 2." in result.output


def test_what_does_not_match_is_in_the_report(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """P2 has no image; P9 has no label file, and counts as an image without objects unless it is left out."""
    Image.new("RGB", (200, 160), GROUND).save(data / "images" / "P9.png")
    for options, count in (((), 3), (("--only-labelled",), 2)):
        result = run("--data", data, "--out", tmp_path / "out", *options)
        assert result.exit_code == 0, result.output
        report = json.loads((tmp_path / "out" / "inspection.json").read_text())
        assert report["images"] == count
        assert report["unlabelled"] == [str(data / "images" / "P9.png")]
        assert report["without_image"] == [str(data / "labelTxt" / "P2.txt")]
    assert "1 of 2 images have no annotation file and count as images without objects: P9.png" in caplog.messages
    assert "1 of 2 annotation files have no image: P2.txt" in caplog.messages
