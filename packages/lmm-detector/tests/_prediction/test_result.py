"""What a notebook gets: names, texts, pictures, and files for a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lmm_detector import Detector, Generation, find_images, predict, read_predictions
from PIL import Image
from rbox_formats import images
from rbox_formats.errors import ImageError


def test_one_image_gives_one_result(detector: Detector, scenes: Path) -> None:
    path = find_images(scenes / "train" / "images")[0]
    for image in (path, str(path), images.load(path), Image.open(path)):
        found = detector.predict(image, Generation(max_new_tokens=60))
        (listed,) = detector.predict([image], Generation(max_new_tokens=60))
        np.testing.assert_array_equal(found.boxes, listed.boxes)
        assert found.text == listed.text == found.metadata["windows"][0]["text"]
        assert found.status == found.metadata["status"]
        assert found.names == [detector.class_names[label] for label in found.labels]
        assert found.plot(min_side=0, legend=False).size == found.size
    assert len(found) > 0


def test_what_is_no_image(detector: Detector) -> None:
    with pytest.raises(ImageError, match="expected an image, or a list of images, got int"):
        detector.predict(5)


def test_a_file_read_back_is_what_was_predicted(detector: Detector, scenes: Path, tmp_path: Path) -> None:
    paths = find_images(scenes / "val" / "images")
    generation = Generation(max_new_tokens=40)
    out = predict(detector, paths, tmp_path / "p.jsonl", generation=generation)
    for read, found in zip(read_predictions(out, paths), detector.predict(paths, generation), strict=True):
        assert read.metadata == found.metadata
        assert read.path == found.path
        np.testing.assert_array_equal(read.boxes, found.boxes)
        assert np.asarray(read.plot()).tolist() == np.asarray(found.plot()).tolist()
    assert [read.image_id for read in read_predictions(out, paths[1:])] == [path.stem for path in paths[1:]]
    assert [read.path for read in read_predictions(out)] == [None] * 3
