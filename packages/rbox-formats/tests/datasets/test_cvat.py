from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets, rbox_to_quad
from rbox_formats.errors import DatasetError

# As cvat/apps/dataset_manager/formats/cvat.py (`dump_as_cvat_annotation`) writes a task and a project.
LABELS = """<labels>
 <label><name>plane</name><color>#fa3253</color><type>any</type><attributes></attributes></label>
 <label><name>cloudy</name><type>tag</type><attributes></attributes></label>
 <label><name>ship</name><type>any</type><attributes></attributes></label>
</labels>"""
BOX = 'source="manual" occluded="0" xtl="20.00" ytl="30.00" xbr="60.00" ybr="40.00" rotation="30.00" z_order="0"'
IMAGE = '<image id="0" name="P1.png" width="100" height="80">'


def export(
    root: Path, *images: str, meta: str = f"<task><id>1</id>{LABELS}</task>", name: str = "annotations.xml"
) -> Path:
    root.mkdir(exist_ok=True, parents=True)
    body = "\n".join(images)
    text = (
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n<meta>{meta}</meta>\n{body}\n'
    )
    (root / name).write_text(f"{text}</annotations>\n", encoding="utf-8")
    return root


def image(*shapes: str, start: str = IMAGE) -> str:
    return "\n".join([start, *shapes, "</image>"])


def test_an_export(tmp_path: Path) -> None:
    export(
        tmp_path,
        image(f'<box label="ship" {BOX}>\n</box>', '<tag label="cloudy" source="manual">\n</tag>'),
        image(start='<image id="1" name="cam1/P2.jpg" width="10" height="20">'),
    )
    (tmp_path / "images" / "cam1").mkdir(parents=True)
    Image.new("L", (100, 80)).save(tmp_path / "images" / "P1.png")
    Image.new("L", (10, 20)).save(tmp_path / "images" / "cam1" / "P2.jpg")
    dataset = datasets.read("cvat", tmp_path)
    assert dataset.class_names == ("plane", "ship")
    first, second = dataset
    assert (first.image_id, first.file, first.size) == ("P1", tmp_path / "images" / "P1.png", (100, 80))
    assert (second.image_id, second.file, len(second)) == ("P2", tmp_path / "images" / "cam1" / "P2.jpg", 0)
    assert first.labels.tolist() == [1]
    assert (first.metadata, second.metadata) == ({"tags": ["cloudy"]}, {"name": "cam1/P2.jpg"})
    np.testing.assert_allclose(first.boxes, [[40, 35, 40, 10, math.pi / 6]], atol=1e-9)
    # By hand: the upper left corner is (-20, -5) from the centre, turned by 30 degrees clockwise with y down.
    corner = [40 - 20 * math.sqrt(3) / 2 + 5 / 2, 35 - 20 / 2 - 5 * math.sqrt(3) / 2]
    np.testing.assert_allclose(first.corners[0, 0], corner, atol=1e-9)


def test_equal_names_in_folders(tmp_path: Path) -> None:
    """A task of a share has the images' paths as names; the file of another folder is never taken."""
    starts = [f'<image id="0" name="{cam}/P1.png" width="10" height="{20 + i}">' for i, cam in enumerate("ab")]
    export(tmp_path, *(image(f'<box label="ship" {BOX}></box>' * i, start=start) for i, start in enumerate(starts)))
    (tmp_path / "images" / "b").mkdir(parents=True)
    Image.new("L", (10, 21)).save(tmp_path / "images" / "b" / "P1.png")
    Image.new("L", (7, 7)).save(tmp_path / "images" / "P1.png")
    first, second = datasets.read("cvat", tmp_path)
    assert (first.image_id, first.path, first.size, len(first)) == ("a/P1", None, (10, 20), 0)
    assert (second.image_id, second.file.parent.name, second.size, len(second)) == ("b/P1", "b", (10, 21), 1)


def test_other_shapes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    common = 'source="manual" occluded="0" z_order="0"'
    export(
        tmp_path,
        image(
            f'<polygon label="ship" {common} points="10.00,20.00;30.00,20.00;30.00,40.00;10.00,40.00"></polygon>',
            f'<polygon label="ship" {common} points="10.00,20.00;30.00,20.00;30.00,40.00;10.00,40.00;10.00,25.00"/>',
            f'<ellipse label="plane" {common} cx="50" cy="40" rx="20" ry="10" rotation="90"></ellipse>',
            f'<mask label="plane" {common} rle="3, 4, 5" left="5" top="6" width="7" height="8"></mask>',
            f'<points label="ship" {common} points="1.00,2.00"></points>',
            f'<polyline label="ship" {common} points="1.00,2.00;3.00,4.00"></polyline>',
            f'<points label="other" {common} points="1.00,2.00"></points>',
        ),
    )
    with caplog.at_level(logging.WARNING):
        (record,) = datasets.read("cvat", tmp_path)
    assert caplog.messages == [
        "annotations.xml: left out what is no box, polygon, ellipse or mask: 2 of <points>, 1 of <polyline>"
    ]
    assert record.corners[0].tolist() == [[10, 20], [30, 20], [30, 40], [10, 40]]
    np.testing.assert_allclose(record.boxes[1], [20, 30, 20, 20, 0], atol=1e-9)
    np.testing.assert_allclose(record.boxes[2], [50, 40, 40, 20, -math.pi / 2], atol=1e-9)
    assert record.corners[3].tolist() == [[5, 6], [12, 6], [12, 14], [5, 14]]


def test_splits(tmp_path: Path) -> None:
    """A project's images have subsets, and lie in folders of their names."""
    starts = [
        f'<image id="{i}" name="P{i}.png" subset="{s}" task_id="1" width="9" height="8">'
        for i, s in enumerate(["Train", "Test"])
    ]
    project = f"<project><id>1</id>{LABELS}<subsets>Train\nTest</subsets></project>"
    export(tmp_path, *(image(start=start) for start in starts), meta=project)
    (tmp_path / "images" / "Train").mkdir(parents=True)
    Image.new("L", (9, 8)).save(tmp_path / "images" / "Train" / "P0.png")
    (record,) = datasets.read("cvat", tmp_path, "train")
    assert (record.image_id, record.file) == ("P0", tmp_path / "images" / "Train" / "P0.png")
    assert [one.image_id for one in datasets.read("cvat", tmp_path)] == ["P0", "P1"]
    with pytest.raises(
        DatasetError, match=r"annotations\.xml: expected images of the subset 'val', found none\nIt has"
    ):
        datasets.read("cvat", tmp_path, "val")
    export(tmp_path / "val", image(), name="other.xml")
    assert [one.image_id for one in datasets.read("cvat", tmp_path, "val")] == ["P1"]


def test_where_the_file_is(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected a file annotations\.xml, found none\nGive the file itself"):
        datasets.read("cvat", tmp_path)
    export(tmp_path / "train", image())
    with pytest.raises(DatasetError, match=r"found none\nIt has the splits train: choose one"):
        datasets.read("cvat", tmp_path)
    assert len(datasets.read("cvat", tmp_path / "train" / "annotations.xml")) == 1
    (tmp_path / "task.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(DatasetError, match=r"got a zip\nUnpack it first"):
        datasets.read("cvat", tmp_path / "task.zip")


BAD = [
    (
        '<track id="0" label="ship"></track>',
        5,
        r"expected images with their shapes, got a track.*\nChoose \"CVAT for im",
    ),
    ("", 2, r"expected <image> in <annotations>, found none\nChoose"),
    (image(start='<image id="0">'), 5, r"expected an attribute 'name' of <image>, found none"),
    (image() + image(), 6, r"expected a name that no other image has, up to its suffix, got 'P1\.png'"),
    (image(f"<box {BOX}></box>"), 6, r"expected an attribute 'label' of <box>, found none"),
    (image(f'<box label="tram" {BOX}></box>'), 6, r"expected a class among ship, got 'tram'"),
    (image('<box label="ship" xtl="1" ytl="2" xbr="3"></box>'), 6, r"expected an attribute 'ybr' of <box>, found none"),
    (image('<box label="ship" xtl="1" ytl="2" xbr="3" ybr="wide"/>'), 6, r"expected a number in <box ybr>, got 'wide'"),
    (
        image('<box label="ship" xtl="5" ytl="2" xbr="3" ybr="9"/>'),
        6,
        r"expected <box> with sides of 0 or more, got negative ones",
    ),
    (image('<polygon label="ship" points="1,2;3,4"/>'), 6, r"expected 3 to 20,000 points of a polygon, got 2"),
    (image('<polygon label="ship" points="1,2;3,4;5"/>'), 6, r"expected x,y in <polygon points>, got '5'"),
    (image('<polygon label="ship" points="1,2;3,4;5,nan"/>'), 6, r"expected a number in <polygon points>, got 'nan'"),
    (image(start='<image id="0" name="P1.png" width="9.5">'), 5, r"expected whole pixels in <image width>, got '9\.5'"),
    (
        image(f'<box label="ship" {BOX}><attribute name="difficult">hard</attribute></box>'),
        6,
        r"expected true or false",
    ),
]


@pytest.mark.parametrize(("body", "line", "message"), BAD)
def test_bad_exports(body: str, line: int, message: str, tmp_path: Path) -> None:
    export(tmp_path, body, meta="")
    with pytest.raises(DatasetError, match=rf"annotations\.xml:{line}: {message}"):
        list(datasets.read("cvat", tmp_path, class_names=["ship"]))


@pytest.mark.parametrize("name", ["../P1.png", "/P1.png", "C:\\P1.png", "a/../../P1.png"])
def test_images_outside_are_never_opened(name: str, tmp_path: Path) -> None:
    Image.new("L", (9, 8)).save(tmp_path / "P1.png")
    export(tmp_path / "set", image(start=f'<image id="0" name="{name}" width="9" height="8">'))
    (record,) = datasets.read("cvat", tmp_path / "set")
    assert (record.image_id, record.path, record.size) == ("P1", None, (9, 8))


def test_what_is_written_is_what_the_tool_reads(tmp_path: Path) -> None:
    """Attribute by attribute as `load_anno` asks for them: label, xtl, ytl, xbr, ybr, rotation; points as x,y;x,y."""
    import xml.etree.ElementTree as ElementTree

    boxes = np.array([[40.0, 35, 40, 10, math.pi / 6], [20, 20, 10, 5, -math.pi / 2]])
    quads = np.concatenate([rbox_to_quad(boxes), [[[1, 2], [30, 4], [28, 20], [0, 18.5]]]])
    record = ImageRecord.from_quads(
        "P1",
        quads,
        np.array([0, 1, 0]),
        scores=np.array([0.9, 0.5, 0.25]),
        difficult=np.array([False, True, False]),
        width=100,
        height=80,
        metadata={"tags": ["cloudy"], "name": "cam1/P1.jpg"},
    )
    path = datasets.write("cvat", [record], tmp_path, "train", ClassNames(["a & b", "ship"]))
    assert path == tmp_path / "train" / "annotations.xml"
    root = ElementTree.fromstring(path.read_bytes())
    (element,) = root.findall("image")
    assert element.attrib == {"id": "0", "name": "cam1/P1.jpg", "width": "100", "height": "80"}
    assert [label.text for label in root.findall("meta/task/labels/label/name")] == ["a & b", "ship"]
    first, second, third, tag = element
    assert [child.tag for child in element] == ["box", "box", "polygon", "tag"]
    numbers = [float(first.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr", "rotation")]
    np.testing.assert_allclose(numbers, [20, 30, 60, 40, 30], atol=1e-9)
    assert float(second.attrib["rotation"]) == pytest.approx(270)
    assert (first.attrib["label"], second.attrib["label"]) == ("a & b", "ship")
    assert third.attrib["points"] == "1,2;30,4;28,20;0,18.5"
    assert tag.attrib["label"] == "cloudy"
    assert [(each.attrib["name"], each.text) for each in second] == [("difficult", "true"), ("score", "0.5")]
    (again,) = datasets.read("cvat", tmp_path, "train")
    assert again.scores is not None
    assert again.scores.tolist() == [0.9, 0.5, 0.25]
    assert again.difficult.tolist() == [False, True, False]
    assert again.metadata == record.metadata
    np.testing.assert_allclose(again.corners, quads, atol=1e-9)
