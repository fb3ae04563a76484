"""Several processes that share the images of one run, as torchrun starts them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lmm_detector import Detector, Generation, find_images, predict
from lmm_detector._runtime._ranks import gathered, on_main, place
from rbox_formats import files, predictions
from rbox_formats.errors import PredictionsError

# One window at a time: a block has four, which is one image.
GENERATION = Generation(max_new_tokens=30, batch_size=1)


def arguments(detector: Detector, source: Path, out: Path) -> list[object]:
    model = detector.family.model.name_or_path
    return [
        *("predict", "--model", model, "--device", "cpu", "--out", out),
        *("--batch-size", 1, "--max-new-tokens", 30, source),
    ]


@pytest.fixture(scope="module")
def source(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine images of four windows."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(3):
        for path in (scenes / "val" / "images").iterdir():
            (folder / f"{path.stem}_{number}.png").write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def alone(detector: Detector, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process predicts."""
    out = tmp_path_factory.mktemp("alone") / "one.jsonl"
    return predict(detector, find_images(source), out, generation=GENERATION, dataset={"images": [str(source)]})


@pytest.mark.slow
def test_two_processes_predict_what_one_does(
    start_two: Callable[..., Any], detector: Detector, source: Path, alone: Path, tmp_path: Path
) -> None:
    """The same images in the same order."""
    both = tmp_path / "two.jsonl"
    process = start_two(arguments(detector, source, both))
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert output.count("The predictions are in") == 1
    assert same(both, alone)
    assert list(tmp_path.glob("two.jsonl*")) == [both]


@pytest.mark.slow
def test_one_process_goes_on_for_two_that_were_killed(
    start_two: Callable[..., Any], detector: Detector, source: Path, alone: Path, tmp_path: Path
) -> None:
    both = tmp_path / "two.jsonl"
    process = start_two(arguments(detector, source, both))
    folder = both.with_name("two.jsonl.parts")
    while process.poll() is None and len(files.visible(folder)) < 2:
        time.sleep(0.001)
    process.kill()
    output, _ = process.communicate()
    assert not both.exists(), output
    assert 2 <= len(files.visible(folder)) < 9

    description = {"images": [str(source)]}
    predict(detector, find_images(source), both, generation=GENERATION, dataset=description)
    assert same(both, alone)
    assert list(tmp_path.glob("two.jsonl*")) == [both]


def same(one: Path, other: Path) -> bool:
    """Whether two files hold the same: texts and boxes exactly, scores within rounding (threads may differ)."""
    ours, theirs = predictions.read(one), predictions.read(other)
    assert ours.header == theirs.header
    for found, expected in zip(ours, theirs, strict=True):
        assert found.image_id == expected.image_id
        assert found.metadata == expected.metadata
        assert found.boxes.tolist() == expected.boxes.tolist()
        assert found.scores.tolist() == pytest.approx(expected.scores.tolist(), rel=1e-4)
    return True


def test_parts_of_another_run_are_refused(detector: Detector, source: Path, tmp_path: Path) -> None:
    paths = find_images(source)[:1]
    part = tmp_path / "p.jsonl.parts" / "0.jsonl"
    predict(detector, paths, part, generation=Generation(max_new_tokens=9))
    with pytest.raises(PredictionsError, match=r"0\.jsonl: expected predictions of the same run"):
        predict(detector, paths, tmp_path / "p.jsonl", generation=GENERATION)
    assert not (tmp_path / "p.jsonl").exists()
    assert len(predictions.read(part)) == 1


def test_a_process_of_its_own_asks_nobody() -> None:
    assert place() == (0, 1)
    assert gathered("x") == ["x"]
    assert on_main(lambda: 5) == 5
