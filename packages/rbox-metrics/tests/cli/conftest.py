"""A small dataset, detections on it, and the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rbox_formats import ClassNames, ImageRecord
from rbox_formats.predictions import Header, Writer
from rbox_metrics.cli.main import main

NAMES = ClassNames(["ship", "plane"])


@pytest.fixture
def run() -> Callable[..., tuple[int, str]]:
    """The command with its arguments: exit code and output."""

    def run(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
        return result.exit_code, result.output

    return run


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """One plane and one difficult ship on each of two images, in a split."""
    folder = tmp_path / "data" / "val" / "labelTxt"
    folder.mkdir(parents=True)
    lines = "0 0 10 0 10 4 0 4 plane 0\n50 0 60 0 60 4 50 4 ship 1\n"
    for image_id in ("p", "q"):
        (folder / f"{image_id}.txt").write_text(lines, encoding="utf-8")
    return tmp_path / "data"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a predictions file of one image: name, boxes, labels, scores, image id."""

    def write(name: str, boxes: list, labels: list, scores: list | None, image_id: str = "q") -> Path:
        path = tmp_path / name
        with Writer(path, Header(NAMES, fingerprint="none")) as writer:
            array = np.array(boxes, dtype=float).reshape(-1, 5)
            column = None if scores is None else np.array(scores)
            writer.write(ImageRecord(image_id, array, np.array(labels, int), scores=column, width=100, height=100))
        return path

    return write


@pytest.fixture
def predictions(write: Callable[..., Path]) -> Path:
    """Of the planes one is found, of the ships one; the classes are in another order than the dataset's own."""
    return write("predictions.jsonl", [[5.0, 2, 10, 4, 0], [55.0, 2, 10, 4, 0]], [1, 0], [0.9, 0.8])
