from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from lmm_detector._training._augmentation import Augmentation
from lmm_detector._training._mixing import Place
from lmm_detector._training._samples import (
    TextWriter,
    WindowText,
    WindowTexts,
    check_images,
    window_texts,
)
from PIL import Image
from rbox_formats import ClassNames, Dataset, ImageRecord, codecs, datasets, rbox_to_quad
from rbox_formats.datasets import with_images
from rbox_formats.errors import DatasetError, ImageError

NAMES = ClassNames(["plane", "ship"])
CODEC = codecs.get("florence2")


def count_tokens(texts: list[str]) -> list[int]:
    """As if every tag were a token and every name one more, with start and end."""
    return [text.count("<") + sum(text.count(name) for name in NAMES) + 2 for text in texts]


def grid(path: Path, n: int, size: int = 200) -> ImageRecord:
    """An image with n small ships in reading order, a plane between them, and its file."""
    Image.new("RGB", (size, size), (10, 20, 30)).save(path)
    centres = np.stack(np.meshgrid(np.arange(10, size, 20), np.arange(10, size, 20)), axis=-1).reshape(-1, 2)[:n]
    boxes = np.concatenate([centres, np.tile([8.0, 4.0, 0.0], (n, 1))], axis=1)
    labels = np.ones(n, dtype=np.int64)
    labels[n // 2] = 0
    return ImageRecord("P1", boxes, labels, quads=rbox_to_quad(boxes), path=path, width=size, height=size)


def texts(
    record: ImageRecord, *, window: int = 200, gap: int = 0, max_tokens: int = 10**6, codec: codecs.Codec = CODEC
) -> list[WindowText]:
    return window_texts([record], TextWriter(NAMES, codec, max_tokens, count_tokens), window=window, gap=gap)


def test_the_text_is_the_codecs_own_of_the_annotated_quads(tmp_path: Path) -> None:
    record = grid(tmp_path / "a.png", 7)
    (item,) = texts(record)
    assert item.text == CODEC.encode(record.quads, record.labels, NAMES, (200, 200))
    assert (item.objects, item.left_out) == (7, 0)


def test_windows_hold_what_lies_in_them_in_their_own_coordinates(tmp_path: Path) -> None:
    items = texts(grid(tmp_path / "a.png", 100), window=100)
    assert [item.window[:3] for item in items] == [(0, 0, 100), (100, 0, 100), (0, 100, 100), (100, 100, 100)]
    assert [item.objects for item in items] == [25, 25, 25, 25]
    found = CODEC.decode(items[3].text, NAMES, (100, 100))
    np.testing.assert_allclose(sorted(found.boxes[:, 0]), sorted([10, 30, 50, 70, 90] * 5), atol=0.1)


@pytest.mark.parametrize("limit", [12, 13, 20, 21, 60, 200, 10**6])
def test_a_text_loses_whole_objects_and_no_more_than_it_must(limit: int, tmp_path: Path) -> None:
    record = grid(tmp_path / "a.png", 20)
    (item,) = texts(record, max_tokens=limit)
    found = CODEC.decode(item.text, NAMES, (200, 200), on_invalid="raise")
    assert len(found.boxes) == item.objects
    assert item.objects + item.left_out == 20
    assert count_tokens([item.text])[0] <= limit
    if item.left_out:
        order = CODEC.order(record.quads, record.labels, NAMES, (200, 200))[: item.objects + 1]
        one_more = CODEC.encode(record.quads[order], record.labels[order], NAMES, (200, 200))
        assert one_more.startswith(item.text)
        assert count_tokens([one_more])[0] > limit


def test_a_window_of_which_not_one_object_fits_is_left_out(tmp_path: Path) -> None:
    """Also where the codec could say that there are none, which would be untrue."""
    for version in (2, 3):
        with pytest.raises(DatasetError, match="expected objects whose text has at most 9 tokens"):
            texts(grid(tmp_path / "a.png", 5), max_tokens=9, codec=codecs.get("florence2", version=version))


def test_windows_without_objects_are_left_out_where_the_codec_has_no_answer(tmp_path: Path) -> None:
    record = grid(tmp_path / "a.png", 3)  # all in the first row
    assert len(texts(record, window=100)) == 1
    answers = [item.text for item in texts(record, window=100, codec=codecs.get("florence2", version=3))]
    assert answers[1:] == ["There are none."] * 3
    with pytest.raises(DatasetError, match=r"expected objects whose text .* got none in 1 image"):
        texts(record.select(np.zeros(3, dtype=bool)))


def test_samples_are_the_windows_pixels(tmp_path: Path) -> None:
    record = grid(tmp_path / "a.png", 100)
    writer = TextWriter(NAMES, CODEC, 100, count_tokens)
    samples = WindowTexts(window_texts([record], writer, window=150, gap=0), writer)
    sample = samples[Place(3, 1)]
    assert sample.image.shape == (150, 150, 3)
    assert (sample.image == (10, 20, 30)).all()
    assert not sample.complete
    line = json.loads(samples.to_jsonl().splitlines()[1])
    assert line["window"] == [50, 0, 150]
    assert line["text"] == sample.text


def drawn(path: Path) -> ImageRecord:
    """An image with filled objects of its own colour each, and its file."""
    boxes = np.array([[60.0, 50, 40, 20, 0.4], [130, 140, 30, 30, 0.0], [150, 40, 60, 16, -1.0]])
    canvas = np.full((200, 200, 3), 20, dtype=np.uint8)
    for shade, quad in zip((90, 160, 230), rbox_to_quad(boxes), strict=True):
        cv2.fillPoly(canvas, [np.round(quad * 16 - 8).astype(np.int32)], (shade,) * 3, cv2.LINE_8, 4)
    Image.fromarray(canvas).save(path)
    return ImageRecord("P1", boxes, np.array([0, 1, 1]), path=path, width=200, height=200)


def test_a_changed_image_comes_with_the_text_of_its_changed_objects(tmp_path: Path) -> None:
    """What the text says is where the object of that colour lies now; each epoch says something else."""
    writer = TextWriter(NAMES, CODEC, 10**6, count_tokens)
    items = window_texts([drawn(tmp_path / "a.png")], writer, window=200, gap=0)
    changes = Augmentation(horizontal_flip=0.4, vertical_flip=0.4, quarter_turns=0.5)
    samples = WindowTexts(items, writer, changes, seed=1)
    seen = set()
    for epoch in range(6):
        sample = samples[Place(epoch, 0)]
        again = samples[Place(epoch, 0)]
        assert sample.text == again.text
        np.testing.assert_array_equal(sample.image, again.image)
        seen.add(sample.text)
        found = CODEC.decode(sample.text, NAMES, (200, 200))
        shades = [int(sample.image[int(y), int(x), 0]) for x, y in found.boxes[:, :2]]
        assert sorted(shades) == [90, 160, 230]
        assert {shade for shade, label in zip(shades, found.labels, strict=True) if label == 0} == {90}
    assert len(seen) > 2


def test_random_orders_hold_the_same_objects(tmp_path: Path) -> None:
    writer = TextWriter(NAMES, CODEC, 10**6, count_tokens, order="random")
    items = window_texts([grid(tmp_path / "a.png", 9)], writer, window=200, gap=0)
    samples = WindowTexts(items, writer)
    texts = [samples[Place(epoch, 0)].text for epoch in range(4)]
    assert len(set(texts)) == 4
    assert texts[0] == WindowTexts(items, writer)[Place(0, 0)].text
    found = [CODEC.decode(text, NAMES, (200, 200), on_invalid="raise") for text in texts]
    for one in found:
        np.testing.assert_array_equal(np.sort(one.boxes[:, 0]), np.sort(found[0].boxes[:, 0]))


def test_an_image_that_augmentation_empties_is_shown_unchanged(tmp_path: Path) -> None:
    """Unless the codec can say that nothing is there."""
    record = grid(tmp_path / "a.png", 1)
    crop = Augmentation(cropping=1.0, crop_range=(0.1, 0.1))
    for version in (2, 3):
        writer = TextWriter(NAMES, codecs.get("florence2", version=version), 10**6, count_tokens)
        samples = WindowTexts(window_texts([record], writer, window=200, gap=0), writer, crop)
        empty = [sample for epoch in range(30) if "plane" not in (sample := samples[Place(epoch, 0)]).text]
        unchanged = [sample for epoch in range(30) if len((sample := samples[Place(epoch, 0)]).image) == 200]
        assert (len(empty) > 0, len(unchanged) > 0) == (version == 3, version == 2)


def test_only_records_with_whole_images_are_trained_on(tmp_path: Path) -> None:
    (tmp_path / "labelTxt").mkdir()
    (tmp_path / "images").mkdir()
    for name in ("P1", "P2"):
        (tmp_path / "labelTxt" / f"{name}.txt").write_text("1 1 5 1 5 5 1 5 ship 0\n")
    dataset = datasets.read("dota", tmp_path)
    with pytest.raises(DatasetError, match="none of the 2 annotations has an image file"):
        with_images(dataset)
    pixels = np.random.default_rng(0).integers(0, 255, (99, 99, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "images" / "P2.png")
    records = with_images(datasets.read("dota", tmp_path))
    assert [record.image_id for record in records] == ["P2"]
    path = tmp_path / "images" / "P2.png"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ImageError, match=r"P2\.png: expected a whole image"):
        check_images([path])


def test_a_dataset_is_read_once(tmp_path: Path) -> None:
    record = grid(tmp_path / "a.png", 1)
    assert len(with_images(Dataset(NAMES, [record], lambda r: r))) == 1
