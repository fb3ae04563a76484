from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets, splitting
from rbox_formats.cli.main import main
from rbox_formats.datasets import _names
from rbox_formats.errors import DatasetError, FormatsError
from rbox_testing.samples import sampled

# The example line of docs.ultralytics.com/datasets/obb.
PUBLISHED = "0 0.780811 0.743961 0.782371 0.74686 0.777691 0.752174 0.776131 0.749758"


def make(root: Path, *lines: str, yaml: str | None = "names: [plane, ship]\n", labels: str = "labels/train") -> Path:
    (root / labels).mkdir(parents=True)
    (root / labels.replace("labels", "images")).mkdir(parents=True)
    (root / labels / "P1.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    Image.new("L", (200, 100)).save(root / labels.replace("labels", "images") / "P1.png")
    if yaml is not None:
        (root / "data.yaml").write_text(yaml, encoding="utf-8")
    return root


@pytest.mark.parametrize("labels", ["labels/train", "train/labels"])
def test_the_published_line(labels: str, tmp_path: Path) -> None:
    (record,) = datasets.read("yolo-obb", make(tmp_path, PUBLISHED, labels=labels), "train")
    expected = [[156.1622, 74.3961], [156.4742, 74.686], [155.5382, 75.2174], [155.2262, 74.9758]]
    np.testing.assert_allclose(record.quads[0], expected, atol=1e-9)
    assert (record.image_id, record.size, record.labels.tolist()) == ("P1", (200, 100), [0])


def test_upright_boxes_and_outlines(tmp_path: Path) -> None:
    square = "1 0.1 0.2 0.2 0.2 0.3 0.2 0.3 0.6 0.1 0.6"  # five corners, one of them within a side
    (record,) = datasets.read("yolo-obb", make(tmp_path, "1 0.5 0.5 0.2 0.4", square), "train")
    np.testing.assert_allclose(record.quads[0], [[80, 30], [120, 30], [120, 70], [80, 70]])
    corners = sorted(record.quads[1].round(9).tolist())
    np.testing.assert_allclose(corners, [[20, 20], [20, 60], [60, 20], [60, 60]], atol=1e-9)


def test_images_without_labels_and_labels_without_images(tmp_path: Path) -> None:
    make(tmp_path, PUBLISHED)
    Image.new("L", (10, 10)).save(tmp_path / "images" / "train" / "P2.png")
    assert [len(record) for record in datasets.read("yolo-obb", tmp_path, "train")] == [1, 0]
    (tmp_path / "labels" / "train" / "P3.txt").write_text("")
    with pytest.raises(
        DatasetError, match=r"P3\.txt: expected an image 'P3' in .*, found none\nCoordinates are relative"
    ):
        datasets.read("yolo-obb", tmp_path, "train")


BAD_LINES = {
    "0 0.1 0.2 0.3": "expected a class and 8 coordinates, got 4 fields",
    "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7": "expected a class and 8 coordinates, got 8 fields",
    "ship 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8": "expected the class as a whole number from 0, got 'ship'",
    "-1 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8": "expected the class as a whole number from 0, got '-1'",
    "2 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8": "expected a class from 0 to 1, got 2",
    "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 x": "expected 8 coordinates, got 'x' as number 8",
    "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0_1": "expected 8 coordinates, got '0_1' as number 8",
    "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 \uff11": "expected 8 coordinates, got '\uff11' as number 8",
    "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 nan": "expected finite coordinates",
    "0 100 200 300 400 500 600 700 800": "expected coordinates divided by the image's size, got 100 200",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_lines(line: str, tmp_path: Path) -> None:
    make(tmp_path, PUBLISHED, line)
    with pytest.raises(DatasetError, match=rf"P1\.txt:2: {BAD_LINES[line]}"):
        list(datasets.read("yolo-obb", tmp_path, "train"))


NAMES = {
    "names: [plane, ship]": ["plane", "ship"],
    "names: ['small vehicle', \"it's\"]  # two": ["small vehicle", "it's"],
    "names: [plane,\n  ship, # the second\n]\nnc: 2": ["plane", "ship"],
    "nc: 2\nnames:\n  0: plane\n  1: small vehicle  # cars\n\ntrain: images": ["plane", "small vehicle"],
    "names:\n- plane\n- 'ship''s'\n": ["plane", "ship's"],
    "names:\n  1: ship\n  0: plane": ["plane", "ship"],
    "names: {0: plane, 1: ship}": ["plane", "ship"],
    'names:\n  0: "a\\u00e9: b"\n': ["aé: b"],
    "names:\r\n  - plane\r\n": ["plane"],
}


@pytest.mark.parametrize("text", NAMES)
def test_names_in_yaml(text: str, tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_bytes(text.encode())
    assert _names.from_yaml(path, "names") == tuple(NAMES[text])


BAD_YAML = {
    "nc: 2": r"expected data\.yaml or classes\.txt with the classes' names, found none\nWrite classes\.txt",
    "names: 3": r"data\.yaml:1: expected a list of names under 'names', got '3'",
    "a: 1\nnames: [plane, [ship]]": r"data\.yaml:2: expected a list of names",
    "names: [plane": r"data\.yaml:1: expected a list of names",
    "names:\n  0: plane\n  2: ship": r"data\.yaml:1: expected 'names' with the numbers 0 to 1, got 0, 2",
    "names:\n  nested:\n    - a": r"data\.yaml:1: expected a list of names",
    "names: []": r"data\.yaml:1: expected a list of names",
    "names: [ship, Ship]": r"data\.yaml: expected distinct class names, got 'ship' and 'Ship'",
}


@pytest.mark.parametrize("text", BAD_YAML)
def test_bad_names(text: str, tmp_path: Path) -> None:
    make(tmp_path, yaml=text)
    with pytest.raises(DatasetError, match=BAD_YAML[text]):
        datasets.read("yolo-obb", tmp_path, "train")


def test_classes_txt_and_given_names(tmp_path: Path) -> None:
    make(tmp_path, PUBLISHED, yaml=None)
    assert [record.labels.tolist() for record in datasets.read("yolo-obb", tmp_path, "train", ["a", "b"])] == [[0]]
    (tmp_path / "classes.txt").write_text("ship\nplane\n\n")
    assert datasets.read("yolo-obb", tmp_path, "train").class_names == ("ship", "plane")
    (record,) = datasets.read("yolo-obb", tmp_path, "train", ["plane", "ship"])
    assert record.labels.tolist() == [1]  # by its name
    with pytest.raises(DatasetError, match=r"P1\.txt:1: expected a class among plane, got 'ship'"):
        list(datasets.read("yolo-obb", tmp_path, "train", ["plane"]))


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected a dataset folder, found none"):
        datasets.read("yolo-obb", tmp_path / "nowhere")
    make(tmp_path)
    with pytest.raises(DatasetError, match="expected a folder images/val, found none\nIt has the splits train"):
        datasets.read("yolo-obb", tmp_path, "val")
    with pytest.raises(DatasetError, match="expected images, found none"):
        datasets.read("yolo-obb", tmp_path)
    (tmp_path / "labels" / "train" / "P1.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DatasetError, match=r"P1\.txt: expected UTF-8 text"):
        list(datasets.read("yolo-obb", tmp_path, "train"))


def test_data_yaml_gets_a_line_for_each_split_and_keeps_its_own(tmp_path: Path) -> None:
    names = ClassNames(["plane", "it's: #1"])
    (tmp_path / "data.yaml").write_text("path: .  # mine")
    for split in ("train", "val", "train"):
        datasets.write("yolo-obb", [], tmp_path, split, names)
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load((tmp_path / "data.yaml").read_text()) == {
        "path": ".",
        "train": "images/train",
        "val": "images/val",
        "names": {0: "plane", 1: "it's: #1"},
    }
    with pytest.raises(DatasetError, match=r"data\.yaml: expected the names ship, got plane, it's"):
        datasets.write("yolo-obb", [], tmp_path, "test", ClassNames(["ship"]))


def test_what_cannot_be_written(tmp_path: Path) -> None:
    names = ClassNames(["plane"])
    far = ImageRecord("P1", np.array([[5000.0, 0, 10, 10, 0]]), np.zeros(1, dtype=np.int64), width=100, height=100)
    with pytest.raises(DatasetError, match="expected objects on or near the image 'P1', got one far outside"):
        datasets.write("yolo-obb", [far], tmp_path, None, names)
    unknown = ImageRecord("P1", np.ones((1, 5)), np.zeros(1, dtype=np.int64))
    with pytest.raises(FormatsError, match="expected an image for 'P1', whose size matters"):
        datasets.write("yolo-obb", [unknown], tmp_path, None, names)


def test_outlines_are_turned_to_pixels_before_their_least_rectangle(tmp_path: Path) -> None:
    # A square of 40 px that stands on its tip, one side with a corner amid: in shares of 200 by 100 px it is a rhombus.
    corners = [(100, 22), (110, 32), (128, 50), (100, 78), (72, 50)]
    line = " ".join(["1", *(f"{x / 200} {y / 100}" for x, y in corners)])
    (record,) = datasets.read("yolo-obb", make(tmp_path, line), "train")
    expected = sorted([[100.0, 22.0], [128, 50], [100, 78], [72, 50]])
    np.testing.assert_allclose(sorted(record.quads[0].round(9).tolist()), expected, atol=1e-9)


def test_a_closed_outline_keeps_its_four_corners(tmp_path: Path) -> None:
    skewed = "0.1 0.2 0.5 0.3 0.4 0.8 0.05 0.6"
    (record,) = datasets.read("yolo-obb", make(tmp_path, f"1 {skewed} 0.1 0.2"), "train")
    np.testing.assert_allclose(record.quads[0], [[20, 20], [100, 30], [80, 80], [10, 60]])


@pytest.mark.parametrize(
    "suffix, orientation",
    sampled(
        itertools.product(["jpg", "png", "webp", "tif"], range(1, 9)),
        [("jpg", 1), ("jpg", 3), ("jpg", 6), ("png", 5), ("webp", 7), ("tif", 8)],
    ),
)
def test_shares_are_of_the_turned_image(suffix: str, orientation: int, tmp_path: Path) -> None:
    """As Ultralytics' `convert_dota_to_yolo_obb` writes them: by the shape of what OpenCV reads, six digits each.

    Where the box is comes from the pixels: it is painted on what OpenCV shows.
    """
    cv2 = pytest.importorskip("cv2")
    stored = np.zeros((100, 200, 3), dtype=np.uint8)
    stored[20:40, 50:90] = 255  # 40 x 20 as stored
    for folder in ("images", "labels"):
        (tmp_path / "a" / folder).mkdir(parents=True)
    path = tmp_path / "a" / "images" / f"P1.{suffix}"
    exif = Image.Exif()
    exif[0x112] = orientation
    noted: dict[str, Any] = {"exif": exif, "quality": 100, "lossless": True}
    Image.fromarray(stored).save(path, **({"tiffinfo": {0x112: orientation}} if suffix == "tif" else noted))
    shown = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    height, width = shown.shape[:2]
    y, x = np.nonzero(shown[..., 0] > 128)
    corners = [[x.min(), y.min()], [x.max() + 1, y.min()], [x.max() + 1, y.max() + 1], [x.min(), y.max() + 1]]
    shares = [f"{share / (height if i % 2 else width):.6g}" for i, share in enumerate(np.ravel(corners).tolist())]
    (tmp_path / "a" / "labels" / "P1.txt").write_text(f"0 {' '.join(shares)}\n")
    (tmp_path / "a" / "classes.txt").write_text("ship\n")

    (record,) = datasets.read("yolo-obb", tmp_path / "a")
    assert record.size == (width, height) == ((100, 200) if orientation > 4 else (200, 100))
    assert record.quads is not None
    np.testing.assert_allclose(record.quads[0], corners, atol=1e-3)
    assert sorted(record.boxes[0, 2:4].tolist()) == pytest.approx([20, 40], abs=1e-3)

    out = tmp_path / "b"
    source = f"--data {tmp_path / 'a'} --format yolo-obb --class-names ship"
    arguments = f"convert {source} --to dota --out {out} --images copy".split()
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert "Read back, it is the same." in result.output, result.output
    (copied,) = datasets.read("dota", out, class_names=["ship"])
    assert copied.size == record.size
    np.testing.assert_allclose(copied.corners[0], corners, atol=1e-2)

    splitting.split(datasets.read("yolo-obb", tmp_path / "a"), tmp_path / "c", splitting.SplitSettings(size=512))
    (window,) = datasets.read("dota", tmp_path / "c", class_names=["ship"])
    with Image.open(window.file) as image:
        assert image.getexif().get(0x112, 1) == 1
        pixels = np.asarray(image)[:height, :width, 0]
    (x0, y0), (x1, y1) = (np.rint(edge(window.corners[0], axis=0)).astype(int) for edge in (np.min, np.max))
    assert pixels[y0:y1, x0:x1].min() > 100
    assert (pixels > 128).sum() == pytest.approx(800, abs=8 if suffix == "jpg" else 0)


@pytest.mark.parametrize(
    "label, message",
    [
        (
            "labelTxt/train/P1.txt",
            r"labels/train: expected label files .* found no such folder beside(.|\n)*labels/train",
        ),
        ("labels/train/more/P1.txt", r"P1.txt: expected an image 'more/P1' in .*, found none"),
        ("labels/train/P1.json", r"labels/train: expected label files .* found only P1.json"),
        ("labels/train/P1.png.txt", r"expected an image 'P1.png' in .*, found none\nName the label file .*: P1.txt."),
    ],
)
def test_labels_that_are_not_found_are_an_error(label: str, message: str, tmp_path: Path) -> None:
    """And not a dataset of empty images."""
    make(tmp_path, PUBLISHED)
    (tmp_path / "labels" / "train" / "P1.txt").unlink()
    (tmp_path / "labels" / "train").rmdir()
    (tmp_path / "labels").rmdir()
    (tmp_path / label).parent.mkdir(parents=True)
    (tmp_path / label).write_text(PUBLISHED)
    with pytest.raises(DatasetError, match=message):
        datasets.read("yolo-obb", tmp_path, "train")


def test_labels_in_capitals_are_labels(tmp_path: Path) -> None:
    file = make(tmp_path, PUBLISHED) / "labels" / "train" / "P1.txt"
    file.rename(file.with_suffix(".TXT"))
    assert [len(record) for record in datasets.read("yolo-obb", tmp_path, "train")] == [1]
    file.write_text("")
    with pytest.raises(DatasetError, match=r"P1.TXT: expected one label file of 'P1', got P1.txt as well"):
        datasets.read("yolo-obb", tmp_path, "train")


def test_images_that_no_label_file_claims_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, PUBLISHED)
    for name in "abcde":
        Image.new("L", (10, 10)).save(tmp_path / "images" / "train" / f"{name}.png")
    dataset = datasets.read("yolo-obb", tmp_path, "train")
    said = "5 of 6 images have no annotation file and count as images without objects: a.png, b.png, c.png, and 2 more"
    assert caplog.messages == [said]
    assert [record.image_id for record in dataset.labelled()] == ["P1"]


def test_confidences_are_scores(tmp_path: Path) -> None:
    """What `predict save_txt save_conf` writes, as a dataset; written for training, without them."""
    Image.new("L", (200, 100)).save(make_folder(tmp_path / "images") / "P1.png")
    (make_folder(tmp_path / "labels") / "P1.txt").write_text(
        "0 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3 0.91\n1 0.5 0.5 0.7 0.5 0.7 0.7 0.5 0.7 0.8\n"
    )
    (tmp_path / "data.yaml").write_text("names: [ship, plane]\n")
    dataset = datasets.read("yolo-obb", tmp_path)
    (record,) = dataset
    assert record.scores is not None
    assert record.scores.tolist() == [0.91, 0.8]
    np.testing.assert_allclose(record.corners[0], [[20, 10], [60, 10], [60, 30], [20, 30]])
    datasets.write("yolo-obb", dataset, tmp_path / "out", None, dataset.class_names)
    assert [len(line.split()) for line in (tmp_path / "out" / "labels" / "P1.txt").read_text().splitlines()] == [9, 9]
    (tmp_path / "labels" / "P1.txt").write_text("0 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3 5\n")
    with pytest.raises(
        DatasetError, match=r"P1\.txt:1: expected a confidence from 0 to 1 after 8 coordinates, got '5'"
    ):
        list(datasets.read("yolo-obb", tmp_path))
    (tmp_path / "labels" / "P1.txt").write_text("0 0.1 0.1 0.3 0.1 30\n")
    with pytest.raises(DatasetError, match=r"got 6 fields\nA line reads: .*\nSix fields are yolov5_obb's"):
        list(datasets.read("yolo-obb", tmp_path))


def make_folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.parametrize(
    ("labels", "images", "split"),
    [
        ("labelTxt", "images", None),
        ("labels/train", "images", None),
        ("mine/train", "images/train", "train"),
        ("train/mine", "train/images", "train"),
    ],
)
def test_label_folders_of_other_names(labels: str, images: str, split: str | None, tmp_path: Path) -> None:
    for folder in (labels, images):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "data.yaml").write_text("names: [ship]")
    Image.new("L", (100, 50)).save(tmp_path / images / "P1.png")
    (tmp_path / labels / "P1.txt").write_text("0 0.1 0.2 0.3 0.2 0.3 0.4 0.1 0.4\n")
    with pytest.raises(DatasetError, match=r"expected label files|expected an image 'train/P1'"):
        datasets.read("yolo-obb", tmp_path, split)
    name = "mine" if "mine" in labels else labels
    (record,) = datasets.read("yolo-obb", tmp_path, split, labels=name)
    np.testing.assert_allclose(record.corners, [[[10, 10], [30, 10], [30, 20], [10, 20]]], atol=1e-9)
