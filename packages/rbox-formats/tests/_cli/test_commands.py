from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from rbox_formats import datasets, predictions
from rbox_formats._cli import main
from rbox_formats.cli import parse_class_names


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "labelTxt").mkdir(parents=True)
    (root / "images").mkdir()
    (root / "labelTxt" / "P1.txt").write_text("10 20 50 20 50 30 10 30 ship 1\n100 90 140 90 140 130 100 130 plane 0\n")
    (root / "labelTxt" / "P2.txt").write_text("1 1 9 1 9 3 1 3 ship 0\n")
    Image.new("RGB", (200, 160), (40, 60, 80)).save(root / "images" / "P1.png")
    return root


def test_inspect_counts_and_draws(data: Path, tmp_path: Path) -> None:
    result = run("inspect", "--data", data, "--out", tmp_path / "pictures")
    assert result.exit_code == 0, result.output
    ship = next(line for line in result.output.splitlines() if "ship" in line)
    assert [word for word in ship.split() if word[0].isdigit()] == ["2", "1", "8.0", "24.0", "40.0"]
    assert "3 objects on 2 images, 1 of them without their file." in result.output
    picture = np.asarray(Image.open(tmp_path / "pictures" / "P1.png").convert("RGB"))
    assert (picture != (40, 60, 80)).any()


def test_texts_there_and_back(data: Path, tmp_path: Path) -> None:
    result = run("encode", "--data", data, "--out", tmp_path / "texts.jsonl", "--codec-option", "version=3")
    assert result.exit_code == 0, result.output
    assert "1 texts are in" in result.output
    assert "1 label files have no image" in result.output
    (line,) = map(json.loads, (tmp_path / "texts.jsonl").read_text().splitlines())
    assert line["text"].startswith("plane<loc_500><loc_562><loc_500><loc_812><loc_700><loc_812><loc_700><loc_562>ship")
    names = ",".join(datasets.dota.V1_0)
    out = tmp_path / "p.jsonl"
    result = run("decode", tmp_path / "texts.jsonl", "--class-names", names, "--out", out)
    assert result.exit_code == 0, result.output
    (record,) = predictions.read(out)
    assert [datasets.dota.V1_0[label] for label in record.labels] == ["plane", "ship"]
    np.testing.assert_allclose(record.boxes[:, :4], [[120, 110, 40, 40], [30, 25, 40, 10]], atol=0.2)
    assert run("decode", tmp_path / "texts.jsonl", "--class-names", names, "--out", out).exit_code == 0  # all are there


def test_bad_texts_are_named(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text(
        '{"image_id": "a", "width": 5, "height": 5, "text": "ship"}\n{"image_id": 1}\n'
    )
    result = run("decode", tmp_path / "texts.jsonl", "--class-names", "ship", "--out", tmp_path / "p.jsonl")
    assert result.exit_code == 1
    assert "texts.jsonl:2: expected a JSON object with image_id, width, height and text" in result.output
    assert run("decode", "nowhere", "--class-names", "ship", "--out", tmp_path / "q.jsonl").exit_code == 1
    assert run("decode", "nowhere", "--out", tmp_path / "q.jsonl").exit_code == 2


def test_changed_texts_are_not_taken_for_the_old_ones(tmp_path: Path) -> None:
    line = {"image_id": "a", "width": 50, "height": 50, "text": "ship"}
    texts, out = tmp_path / "texts.jsonl", tmp_path / "p.jsonl"
    texts.write_text(json.dumps(line) + "\n")
    assert run("decode", texts, "--class-names", "ship", "--out", out).exit_code == 0
    texts.write_text(json.dumps(line | {"text": "plane"}) + "\n")
    result = run("decode", texts, "--class-names", "ship", "--out", out)
    assert result.exit_code == 1
    assert "fingerprint" in result.output
    for bad in ({"text": None}, {"image_id": 5}, {"width": "x"}, {"height": 0}):
        texts.write_text(json.dumps(line | bad) + "\n")
        result = run("decode", texts, "--class-names", "ship", "--out", tmp_path / "q.jsonl")
        assert result.exit_code == 1, bad
        assert "texts.jsonl:1: expected a JSON object" in result.output
    assert not (tmp_path / "q.jsonl").exists()


def test_class_names_of_a_file_or_a_list(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("plane\nship\n\n")
    assert len(parse_class_names(",".join(f"class {i}" for i in range(200)))) == 200
    (tmp_path / "bom.txt").write_text("plane\nship\n", encoding="utf-8-sig")
    assert parse_class_names(str(tmp_path / "bom.txt")) == ("plane", "ship")
    assert parse_class_names(str(tmp_path / "names.txt")) == parse_class_names("plane, ship") == ("plane", "ship")
