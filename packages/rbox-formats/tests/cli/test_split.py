from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from rbox_formats import datasets, images
from rbox_formats.cli.main import main


def run(*arguments: object) -> Result:
    command = ["split", *(str(argument) for argument in arguments)]
    return CliRunner().invoke(main, command, catch_exceptions=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    base = tmp_path / "data" / "train"
    (base / "labelTxt").mkdir(parents=True)
    (base / "images").mkdir()
    (base / "labelTxt" / "P1.txt").write_text("gsd:0.5\n10 20 50 20 50 30 10 30 ship 1\n")
    (base / "labelTxt" / "P2.txt").write_text("95 1 115 1 115 5 95 5 ship 0\n")
    (base / "labelTxt" / "P3.txt").write_text("1 1 9 1 9 3 1 3 ship 0\n")
    pixels = np.random.default_rng(0).integers(0, 255, (100, 150, 3), dtype=np.uint8)
    for name in ("P1", "P2"):
        Image.fromarray(pixels).save(base / "images" / f"{name}.png")
    return tmp_path / "data"


def test_a_split_dataset(data: Path, tmp_path: Path) -> None:
    """P2's ship has a quarter of its 20 px in the left window of 100 px, and all of it in the one that begins at 50."""
    command = ("--data", data, "--split", "train", "--out", tmp_path / "out", "--window", 100, "--gap", 20)
    result = run(*command, "--workers", 2)
    assert result.exit_code == 0, result.output
    assert "4 windows of 2 images are in" in result.output
    assert "1 annotations have no image." in result.output
    labels = {path.name: path.read_text() for path in (tmp_path / "out" / "train" / "labelTxt").iterdir()}
    assert labels == {
        "P1__100__0___0.txt": "10 20 50 20 50 30 10 30 ship 1\n",
        "P1__100__50___0.txt": "",
        "P2__100__0___0.txt": "",
        "P2__100__50___0.txt": "45 1 65 1 65 5 45 5 ship 0\n",
    }
    assert {path.stem for path in (tmp_path / "out" / "train" / "images").iterdir()} == {name[:-4] for name in labels}
    again = run(*command, "--workers", 1)
    assert again.exit_code == 0, again.output
    other = run(*command, "--iof", 0.5)
    assert other.exit_code == 1
    assert "iof_threshold 0.7, not 0.5" in other.output
    assert f"Choose another --out, or remove {tmp_path / 'out'}." in other.output


@pytest.mark.parametrize(
    "out, message",
    [
        ("data", "holds nothing of the old one"),
        ("data/train", "holds nothing of the old one"),
        ("data/train/labelTxt", "holds nothing of the old one"),
        ("data/train/windows", "outside of the old one"),
        ("data/train/images/windows", "outside of the old one"),
        (".", "holds nothing of the old one"),
        ("file", "expected a folder to write to, got a file"),
        pytest.param("/proc/out", "expected a folder that can be written to", marks=pytest.mark.slow),
    ],
)
def test_where_windows_are_not_written(data: Path, tmp_path: Path, out: str, message: str) -> None:
    (tmp_path / "file").write_text("text")
    before = sorted(tmp_path.rglob("*"))
    result = run("--data", data, "--split", "train", "--out", tmp_path / out, "--window", 100, "--workers", 1)
    assert result.exit_code == 1
    assert f"Error: {tmp_path / out}: expected" in result.output
    assert message in result.output
    assert "Choose another --out." in result.output
    assert sorted(tmp_path.rglob("*")) == before


def test_every_option_reaches_the_split(data: Path, tmp_path: Path) -> None:
    result = run(
        *("--data", data, "--split", "train", "--out", tmp_path / "out", "--class-names", "plane,ship"),
        *("--window", 50, "--gap", 10, "--scale", 0.5, "--scale", 1, "--iof", 0.2, "--border", "clip"),
        *("--below", "difficult", "--min-image-share", 0.1, "--no-padding", "--no-resize", "--skip-empty"),
        *("--image-format", "jpg", "--quality", 80, "--workers", 1),
    )
    assert result.exit_code == 0, result.output
    settings = json.loads((tmp_path / "out" / ".split" / "train" / "settings.json").read_text())
    assert settings == {
        "format": "dota",
        "class_names": ["plane", "ship"],
        "size": 50,
        "gap": 10,
        "scales": [0.5, 1.0],
        "iof_threshold": 0.2,
        "border": "clip",
        "below": "difficult",
        "min_image_share": 0.1,
        "padding": False,
        "resize": False,
        "keep_empty": False,
        "image_format": "jpg",
        "quality": 80,
    }
    records = {record.image_id: record for record in datasets.read("dota", tmp_path / "out", "train")}
    left = records["P2__100__0___0"]  # a quarter of the ship, 5 px, is in it
    np.testing.assert_allclose(left.boxes[:, :2], [[97.5, 3.0]])
    assert left.difficult.tolist() == [False]
    assert images.read_size(left.file) == (100, 100)
    assert "P1__50__100___0" not in records


def test_objects_in_no_window_are_counted(data: Path, tmp_path: Path) -> None:
    result = run("--data", data, "--split", "train", "--out", tmp_path / "out", "--window", 30, "--workers", 1)
    assert result.exit_code == 0, result.output
    assert (
        "1 of 2 objects lie in no window: none holds 70% or more of it (--iof 0.7)." in result.output
    )  # P1's ship, 40 px


def test_bad_images_and_settings(data: Path, tmp_path: Path) -> None:
    path = data / "train" / "images" / "P2.png"
    path.write_bytes(path.read_bytes()[:-5000])
    result = run("--data", data, "--split", "train", "--out", tmp_path / "out", "--workers", 1)
    assert result.exit_code == 1
    assert f"{path}: expected a whole image" in result.output
    assert "the 1 others are done and kept" in result.output
    result = run("--data", data, "--split", "train", "--out", tmp_path / "other", "--gap", 1024)
    assert result.exit_code == 1
    assert "expected a gap between windows from 0 to 1023, got 1024" in result.output
    assert run("--data", data, "--out", tmp_path / "other", "--border", "cut").exit_code == 2
    assert run("--data", data, "--split", "train", "--out", data, "--workers", 1).exit_code == 1
    assert not (tmp_path / "other").exists()
