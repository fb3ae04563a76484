"""What a program and a notebook get of a prediction."""

from __future__ import annotations

import json
import sys
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rbox_formats import Prediction, draw, images, predictions, rbox_to_quad
from rbox_formats.errors import FormatsError, ImageError
from rbox_testing.small_prediction import NAMES, made


def test_what_it_says_of_itself(file: Path) -> None:
    found = made(file)
    assert repr(found) == "<Prediction of 'a': 2 ship, 1 plane>"
    assert (found.names, found.text, found.status) == (["ship", "plane", "ship"], "ship<loc_1>\nplane", "boxes")
    assert repr(made(file, metadata={"status": "truncated"})) == "<Prediction of 'a': 2 ship, 1 plane; truncated>"
    plain = made(None, metadata={})
    assert (plain.text, plain.status, plain[[]].status) == (None, "boxes", "empty")
    assert repr(plain[[]]) == "<Prediction of 'a': no objects>"


def test_spans_are_chosen_with_their_boxes(file: Path) -> None:
    spans = np.array([[0, 4, 9], [1, 0, 5], [0, 9, 12]])
    found = made(file, spans=spans)
    np.testing.assert_array_equal(found[[2, 0]].spans, spans[[2, 0]])
    np.testing.assert_array_equal(found[found.scores > 2].spans, np.zeros((0, 3)))
    assert found[1:].select([True, False]).spans.tolist() == [[1, 0, 5]]
    assert made(file)[[0]].spans is None
    with pytest.raises(FormatsError, match=r"expected spans of shape \(3, 3\) on 'a', got \(2, 3\)"):
        made(file, spans=spans[:2])


def test_it_is_indexed_as_a_list_and_as_an_array(file: Path) -> None:
    found = made(file)
    assert len(found) == 3
    for number, each in enumerate(found):
        assert each.name == found.names[number] == NAMES[each.label]
        assert each.score == found.scores[number]
        np.testing.assert_array_equal(each.box, found.boxes[number])
        np.testing.assert_array_equal(each.corners, rbox_to_quad(found.boxes[number][None])[0])
    assert found[-1].score == found[np.int64(2)].score == 0.6
    assert made(file, scores=None)[0].score is None
    for which in (found.scores > 0.5, [True, False, True], [0, 2], slice(0, 3, 2), np.array([0, 2])):
        sure = found[which]
        assert isinstance(sure, Prediction)
        assert (sure.names, sure.image_id, sure.path) == (["ship", "ship"], "a", file)
        np.testing.assert_array_equal(sure.boxes, found.boxes[[0, 2]])
    with pytest.raises(IndexError):
        found[3]
    for wrong in ([0.5], [True], "a", np.zeros((1, 1), int)):
        with pytest.raises(FormatsError, match="expected a number, a slice, a mask of 3"):
            found[wrong]


def test_labels_have_names() -> None:
    with pytest.raises(FormatsError, match="expected labels from 0 below 2 on 'a', got 0 to 2"):
        made(None, labels=[0, 1, 2])


def test_its_picture_is_the_images_with_the_boxes_drawn(file: Path) -> None:
    """As large as a screen can show: 640 px on the longer side."""
    found = made(file)
    expected = draw.draw_with_legend(images.load(file), found, NAMES, scale=16)
    assert expected.width == 640
    np.testing.assert_array_equal(np.asarray(found.plot()), np.asarray(expected))
    shown = Image.open(BytesIO(found._repr_png_()))
    np.testing.assert_array_equal(np.asarray(shown), np.asarray(expected))
    assert found.plot(max_side=20, legend=False).size == (20, 15)
    assert found.plot(min_side=0, legend=False).size == (40, 30)
    with pytest.raises(ImageError, match="expected an image for 'a', found none"):
        made(None).plot()
    assert made(None)._repr_png_() is None  # a notebook shows the text


def test_pixels_in_memory_are_drawn_as_the_file_s(file: Path) -> None:
    of_memory = made(None, pixels=images.load(file))
    np.testing.assert_array_equal(np.asarray(of_memory.plot()), np.asarray(made(file).plot()))


@pytest.mark.parametrize("name, kind", [("x.png", "PNG"), ("x.jpg", "JPEG"), ("x.TIF", "TIFF")])
def test_its_picture_is_written_in_the_format_of_the_name(name: str, kind: str, file: Path, tmp_path: Path) -> None:
    path = made(file).save(tmp_path / "deep" / name)
    with Image.open(path) as image:
        assert image.format == kind
        assert image.size == made(file).plot().size


def test_pictures_that_cannot_be_written(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="expected a picture's suffix"):
        made(file).save(tmp_path / "x.txt")
    with pytest.raises(FormatsError, match="expected another file to write to"):
        made(file).save(file)


def test_show_opens_the_picture(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(Image.Image, "show", lambda self, title=None: shown.append((self.size, title)))
    made(file).show(legend=False)
    assert shown == [((640, 480), "a")]


def test_as_a_dict_it_is_the_line_of_the_file(file: Path, tmp_path: Path) -> None:
    found = made(file, metadata={"status": "boxes"})
    with predictions.Writer(tmp_path / "p.jsonl", predictions.Header(NAMES, "x")) as writer:
        writer.write(found)
    assert found.to_dict() == json.loads((tmp_path / "p.jsonl").read_text().splitlines()[1])


def test_as_a_table(file: Path) -> None:
    pytest.importorskip("pandas")
    table = made(file).to_pandas()
    assert table["name"].tolist() == ["ship", "plane", "ship"]
    assert table["image_id"].tolist() == ["a"] * 3
    np.testing.assert_array_equal(table[["cx", "cy", "w", "h", "angle"]], made(file).boxes)
    assert made(file, scores=None).to_pandas()["score"].isna().all()
    assert len(made(file)[[]].to_pandas()) == 0


def test_for_supervision(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its class takes these names; rotated annotators read the corners from `data["xyxyxyxy"]`."""
    module = ModuleType("supervision")
    module.Detections = dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "supervision", module)
    found = made(file).to_supervision()
    assert set(found) == {"xyxy", "class_id", "confidence", "data"}
    corners = found["data"]["xyxyxyxy"]
    np.testing.assert_allclose(corners, rbox_to_quad(made(file).boxes))
    np.testing.assert_allclose(found["xyxy"], np.concatenate([corners.min(1), corners.max(1)], axis=1))
    quads = rbox_to_quad(made(file).boxes) + 0.25
    moved = made(file, quads=quads).to_supervision()["xyxy"]
    np.testing.assert_allclose(moved, np.concatenate([quads.min(1), quads.max(1)], axis=1))
    assert found["data"]["class_name"].tolist() == ["ship", "plane", "ship"]


def test_for_supervision_itself(file: Path) -> None:
    supervision = pytest.importorskip("supervision")
    found = made(file).to_supervision()
    assert isinstance(found, supervision.Detections)
    assert len(found[found.confidence > 0.5]) == 2
