"""docs/tools.md: every command of it runs, on files as the tools write them, and keeps the box that is in them."""

from __future__ import annotations

import json
import math
import pickle
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rbox_baselines.cli.main import main as rbox_baselines
from rbox_formats import ImageRecord, datasets, predictions
from rbox_formats.cli.main import main as rbox_formats
from rbox_metrics.cli.main import main as rbox_metrics
from rbox_testing.geopackages import ring

PAGE = Path(__file__).parents[1] / "docs" / "tools.md"
COMMANDS = {"rbox-formats": rbox_formats, "rbox-metrics": rbox_metrics, "rbox-baselines": rbox_baselines}

# A ship on an image, clockwise by 0.3 radians on the screen, and its corners worked out by hand.
CX, CY, W, H, ANGLE = 50.0, 40.0, 30.0, 12.0, 0.3
COS, SIN = math.cos(ANGLE), math.sin(ANGLE)
CORNERS = [
    [CX + x * COS - y * SIN, CY + x * SIN + y * COS]
    for x, y in ((-W / 2, -H / 2), (W / 2, -H / 2), (W / 2, H / 2), (-W / 2, H / 2))
]
FLAT = [value for corner in CORNERS for value in corner]
SIZE = (100, 80)
DOTA_LINE = " ".join(map(str, FLAT)) + " ship 0\n"
SHIP = datasets.FORMATS["dota"].class_names.index("ship")


def picture(*parts: str) -> None:
    path = Path(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE).save(path)


def text(content: Any, *parts: str) -> None:
    path = Path(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def make_qgis() -> None:
    picture("qgis", "images", "P1.png")
    text("0.5\n0.0\n0.0\n-0.5\n500000.25\n5999999.75\n", "qgis", "images", "P1.pgw")
    points = ring([[500000 + x / 2, 6000000 - y / 2] for x, y in CORNERS])
    geometry = {"type": "Polygon", "coordinates": [points]}
    feature = {"type": "Feature", "properties": {"fid": 1, "class": "ship"}, "geometry": geometry}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}
    layer = {"type": "FeatureCollection", "name": "labels", "crs": crs, "features": [feature]}
    text(layer, "qgis", "labels.geojson")


def make_label_studio() -> None:
    picture("label-studio", "images", "P1.png")
    place = {"x": CORNERS[0][0], "y": CORNERS[0][1] / 0.8, "width": W, "height": H / 0.8}
    value = {**place, "rotation": math.degrees(ANGLE), "rectanglelabels": ["ship"]}
    named = {"id": "x1", "type": "rectanglelabels", "from_name": "label", "to_name": "image", "image_rotation": 0}
    result = {**named, "original_width": 100, "original_height": 80, "value": value}
    task = {"id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-P1.png"}, "annotations": [{"result": [result]}]}
    text([task], "label-studio", "project-1-at-2024-05-01.json")


def make_cvat() -> None:
    picture("cvat", "images", "P1.png")
    place = f'xtl="{CX - W / 2:.2f}" ytl="{CY - H / 2:.2f}" xbr="{CX + W / 2:.2f}" ybr="{CY + H / 2:.2f}"'
    box = f'<box label="ship" source="manual" occluded="0" {place} rotation="{math.degrees(ANGLE):.2f}" z_order="0">'
    image = f'<image id="0" name="P1.png" width="100" height="80">{box}</box></image>'
    text(f"<annotations><version>1.1</version><meta></meta>{image}</annotations>", "cvat", "annotations.xml")


def make_labelme() -> None:
    for tool, kind in (("x-anylabeling", {"shape_type": "rotation", "direction": ANGLE}), ("labelme", {})):
        picture(tool, "P1.png")
        shape = {"label": "ship", "points": CORNERS, "shape_type": "polygon", "flags": {}, **kind}
        sizes = {"imageHeight": 80, "imageWidth": 100, "imageData": None, "imagePath": "P1.png"}
        text({"version": "5.4.1", "flags": {}, "shapes": [shape], **sizes}, tool, "P1.json")


def make_rolabelimg() -> None:
    picture("rolabelimg", "P1.png")
    box = f"<cx>{CX}</cx><cy>{CY}</cy><w>{W}</w><h>{H}</h><angle>{ANGLE}</angle>"
    ship = f"<object><type>robndbox</type><name>ship</name><difficult>0</difficult><robndbox>{box}</robndbox></object>"
    size = "<size><width>100</width><height>80</height><depth>3</depth></size>"
    text(f"<annotation><filename>P1</filename>{size}{ship}</annotation>", "rolabelimg", "P1.xml")


def shares(end: str = "") -> str:
    numbers = [value / SIZE[i % 2] for i, value in enumerate(FLAT)]
    return f"0 {' '.join(f'{value:g}' for value in numbers)}{end}\n"


def make_roboflow() -> None:
    picture("roboflow-obb", "train", "images", "P1.jpg")
    text(shares(), "roboflow-obb", "train", "labels", "P1.txt")
    text("train: ../train/images\nnc: 1\nnames: ['ship']\n", "roboflow-obb", "data.yaml")
    picture("roboflow-coco", "train", "P1.jpg")
    ship = {"id": 0, "image_id": 0, "category_id": 1, "bbox": [30, 30, 40, 20], "area": 360, "segmentation": [FLAT]}
    coco = {
        "images": [{"id": 0, "file_name": "P1.jpg", "height": 80, "width": 100}],
        "annotations": [{**ship, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "ship", "supercategory": "none"}],
    }
    text(coco, "roboflow-coco", "train", "_annotations.coco.json")


def make_ultralytics() -> None:
    picture("ultralytics", "images", "val", "P1.jpg")
    text(shares(), "ultralytics", "labels", "val", "P1.txt")
    text("path: .\nval: images/val\nnames:\n  0: ship\n", "ultralytics", "data.yaml")
    text(shares(" 0.91"), "runs", "obb", "predict", "labels", "P1.txt")
    text("names:\n  0: ship\n", "runs", "obb", "predict", "data.yaml")


def make_detectron2() -> None:
    picture("detectron2", "images", "P1.png")
    box = [CX, CY, W, H, -math.degrees(ANGLE)]
    content = {
        "images": [{"id": 1, "file_name": "P1.png", "height": 80, "width": 100}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "area": W * H, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "ship"}],
    }
    text(content, "detectron2", "annotations.json")


def make_mmrotate() -> None:
    picture("mmrotate", "val", "images", "P1.png")
    text(DOTA_LINE, "mmrotate", "val", "annfiles", "P1.txt")
    found = {
        "bboxes": np.array([[CX, CY, W, H, ANGLE]], dtype=np.float32),
        "labels": np.array([SHIP]),
        "scores": np.array([0.9], dtype=np.float32),
    }
    results = [{"img_id": "P1", "ori_shape": (80, 100), "pred_instances": found}]
    Path("mmrotate", "results.pkl").write_bytes(pickle.dumps(results))
    text(f"P1 0.9 {' '.join(map(str, FLAT))}\n", "mmrotate", "submission", "Task1_ship.txt")


def make_dota() -> None:
    picture("dota", "train", "images", "P1.png")
    for version, folder in (("v1.0", "labelTxt"), ("v1.5", "DOTA-v1.5_train")):
        text(f"imagesource:GoogleEarth\ngsd:0.5\n{DOTA_LINE}", "dota", "train", f"labelTxt-{version}", folder, "P1.txt")
    text(f"P1 0.9 {' '.join(map(str, FLAT))}\n", "kit", "Task1_ship.txt")


def make_ymir() -> None:
    picture("ymir", "assets", "02", "P1.jpg")
    text("/in/assets/02/P1.jpg\t/in/annotations/02/P1.txt\n", "ymir", "train-index.tsv")
    # The last pixel counts: 30 px from 35 to 64, 12 px from 34 to 45.
    text(f"0, 35, 34, 64, 45, -1.0, {ANGLE}\n", "ymir", "annotations", "02", "P1.txt")
    text("class_names: [ship]\n", "ymir", "config.yaml")


def make_run() -> None:
    picture("data", "images", "P1.jpg")
    record = ImageRecord("P1", [[CX, CY, W, H, ANGLE]], [0], scores=[0.9], width=100, height=80)
    Path("run").mkdir()
    with predictions.Writer("run/predictions.jsonl", predictions.Header(["ship"], "none")) as writer:
        writer.write(record)


def commands() -> list[list[str]]:
    """The lines of the page's bash blocks, as words."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def option(words: list[str], name: str) -> str | None:
    return words[words.index(name) + 1] if name in words else None


@pytest.mark.filterwarnings("ignore")
def test_every_command_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    makers = (make_qgis, make_label_studio, make_cvat, make_labelme, make_rolabelimg, make_roboflow, make_ultralytics)
    for make in (*makers, make_detectron2, make_mmrotate, make_dota, make_ymir, make_run):
        make()
    assert len(commands()) > 25
    for words in commands():
        result = CliRunner().invoke(COMMANDS[words[0]], words[1:], catch_exceptions=False)
        assert result.exit_code == 0, (words, result.output)
        if (to := option(words, "--to")) is not None:
            names = datasets.FORMATS["dota-v1.5"].class_names if to.startswith("dota") else None
            found = datasets.read(to, str(option(words, "--out")), option(words, "--split"), names)
            (record,) = found
            assert record.image_id == "P1", words
            assert [found.class_names[label] for label in record.labels] == ["ship"], words
            np.testing.assert_allclose(record.boxes, [[CX, CY, W, H, ANGLE]], atol=0.01, err_msg=" ".join(words))
            if "--images" in words:
                assert record.size == SIZE
                assert record.file.is_file(), words
        elif (out := option(words, "--out")) is not None and out.endswith(".json"):
            assert json.loads(Path(out).read_text())["map"] == pytest.approx(1), words
    assert Path("task1.zip").is_file()


def test_every_tool_is_there() -> None:
    headings = " ".join(re.findall(r"^## (.*)$", PAGE.read_text(), re.MULTILINE))
    tools = ["QGIS", "Label Studio", "CVAT", "X-AnyLabeling", "labelme", "roLabelImg", "Roboflow", "Ultralytics"]
    for tool in (*tools, "detectron2", "MMRotate", "DOTA", "YMIR"):
        assert tool in headings
