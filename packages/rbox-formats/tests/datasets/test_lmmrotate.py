from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, codecs, datasets
from rbox_formats.datasets import lmmrotate
from rbox_formats.errors import DatasetError, FormatsError

SHIP = "ship<loc_135><loc_796><loc_130><loc_790><loc_200><loc_700><loc_210><loc_710>"


def make(root: Path, *entries: Any) -> Path:
    path = root / "train.json"
    path.write_text(json.dumps(list(entries)))
    return path


def entry(response: Any = SHIP, **other: Any) -> dict[str, Any]:
    return {"id": 0, "file_name": "P1.png", "width": 1024, "height": 1024, "response": response, **other}


def test_a_response(tmp_path: Path) -> None:
    dataset = datasets.read("lmmrotate", make(tmp_path, entry(), entry("There are none.", file_name="P2.png")))
    assert dataset.class_names == ("ship",)
    record, none = dataset
    # 138.752 and 796.16... as in LMMRotate's own docstring: (135 + 0.5) * 1.024 and so on.
    np.testing.assert_allclose(record.quads[0, 0], [138.752, 815.616])
    assert (record.image_id, record.size, record.metadata) == ("P1", (1024, 1024), {"id": 0})
    assert (len(none), none.quads.shape) == (0, (0, 4, 2))


def test_names_that_responses_use(tmp_path: Path) -> None:
    quad = SHIP.removeprefix("ship")
    text = f"small vehicle{quad}<sep>{quad}ship{quad}"
    dataset = datasets.read("lmmrotate", make(tmp_path, entry(text), entry("There are none.", file_name="P2.png")))
    assert dataset.class_names == ("ship", "small vehicle")
    assert dataset[0].labels.tolist() == [1, 1, 0]
    given = datasets.read("lmmrotate", tmp_path, "train", ["Small-Vehicle", "ship"])
    assert given[0].labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize("folder", ["images/train", "train/images", "train", "images", "."])
def test_the_size_is_the_images(folder: str, tmp_path: Path) -> None:
    make(tmp_path, {"file_name": "P1.png", "response": SHIP})
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    Image.new("L", (2000, 1000)).save(tmp_path / folder / "P1.png")
    (record,) = datasets.read("lmmrotate", tmp_path, "train")
    np.testing.assert_allclose(record.quads[0, 0], [271, 796.5])
    assert record.size == (2000, 1000)


BAD_ENTRIES: list[tuple[Any, str]] = [
    (3, r"\[1\]: expected an object, got a number 3"),
    ({"response": SHIP}, r"\[1\]: expected a key 'file_name', got 'response'"),
    ({"file_name": "b", "width": 5, "height": 5}, r"\[1\]: expected a key 'response'"),
    ({"file_name": "b", "response": SHIP}, r"\[1\]: expected an image file, or a width and a height"),
    (entry(file_name="P1.jpg"), r"\[1\]\.file_name: expected a file name that no other image has"),
    (entry(file_name="b/.."), r"\[1\]\.file_name: expected the name of a file inside"),
    (entry(file_name="b", width=0), r"\[1\]\.width: expected a whole number from 1 on, got a number 0"),
    (entry(file_name="b", width="5"), r'\[1\]\.width: expected a number, got a string "5"'),
    (entry(3, file_name="b"), r"\[1\]\.response: expected a string, got a number 3"),
    (
        entry(SHIP[:-9], file_name="b"),
        r"\[1\]\.response: expected boxes in the format 'florence2', got .*\nCorrect the",
    ),
    (entry(SHIP.replace("ship", "tram"), file_name="b"), r"\[1\]\.response: expected boxes .* unknown class 'tram'"),
    (entry(SHIP.replace("135", "1350"), file_name="b"), r"\[1\]\.response: expected boxes"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_ENTRIES)
def test_bad_entries(bad: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"train\.json: (?s:.)*" + message):
        list(datasets.read("lmmrotate", make(tmp_path, entry(), bad), None, ["ship"]))


def test_no_array(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text('{"a":\n 1')
    with pytest.raises(DatasetError, match=r"train\.json:2: expected JSON"):
        datasets.read("lmmrotate", tmp_path)
    (tmp_path / "train.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"train\.json: expected an array, got an object"):
        datasets.read("lmmrotate", tmp_path)


def test_what_is_written(tmp_path: Path) -> None:
    names = ClassNames(["Ship"])
    quads = np.array([[[10.0, 20], [30, 20], [30, 40], [10, 40]]])
    full = ImageRecord.from_quads("P1", quads, np.array([0]), width=1000, height=1000, metadata={"id": 4, "width": 3})
    none = ImageRecord("P2", np.zeros((0, 5)), np.zeros(0, dtype=np.int64), width=10, height=10)
    text = "ship<loc_10><loc_20><loc_10><loc_40><loc_30><loc_40><loc_30><loc_20>"
    first = {"file_name": "P1.png", "width": 1000, "height": 1000, "response": text, "id": 4}
    path = datasets.write("lmmrotate", [none, full], tmp_path, "train", names)
    assert path == tmp_path / "train.json"
    assert json.loads(path.read_text()) == [first]
    path = datasets.write("lmmrotate-v3", [none, full], tmp_path / "out.json", None, names)
    assert json.loads(path.read_text())[0]["response"] == "There are none."
    (again,) = datasets.read("lmmrotate", tmp_path, "train", names)
    np.testing.assert_allclose(np.sort(again.quads, axis=1), np.sort(quads + 0.5, axis=1))
    unknown = ImageRecord.from_quads("P1", quads, np.array([0]))
    with pytest.raises(FormatsError, match="expected an image for 'P1', whose size matters here"):
        datasets.write("lmmrotate", [unknown], tmp_path, "train", names)


def test_another_codec(tmp_path: Path) -> None:
    codec = codecs.get("allseeing")
    names = ClassNames(["ship"])
    quads = np.array([[[10.0, 20], [30, 20], [30, 40], [10, 40]]])
    record = ImageRecord.from_quads("P1", quads, np.array([0]), width=1000, height=1000)
    path = lmmrotate.write([record], tmp_path, None, names, codec=codec)
    (again,) = lmmrotate.read(path, None, names, codec=codec)
    np.testing.assert_allclose(again.boxes[:, :2], [[20.5, 30.5]])
    with pytest.raises(DatasetError, match="expected class names, since texts of 'allseeing' do not contain them"):
        lmmrotate.read(path, None, None, codec=codec)


def test_names_with_windows_separators(tmp_path: Path) -> None:
    path = make(tmp_path, entry(file_name="train\\P1.png"), entry(file_name="P2.png"))
    assert [record.image_id for record in datasets.read("lmmrotate", path)] == ["P1", "P2"]
    again = make(tmp_path, entry(file_name="train\\P1.png"), entry(file_name="P1.png"))
    with pytest.raises(DatasetError, match=r"\[1\]\.file_name: expected a file name that no other image has"):
        datasets.read("lmmrotate", again)
