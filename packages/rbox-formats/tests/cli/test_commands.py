from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from rbox_formats import codecs, datasets, predictions
from rbox_formats.cli import parse_class_names, parse_options
from rbox_formats.cli.main import main


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


def test_texts_there_and_back(data: Path, tmp_path: Path) -> None:
    result = run("encode", "--data", data, "--out", tmp_path / "texts.jsonl", "--codec-option", "version=3")
    assert result.exit_code == 0, result.output
    assert "1 text is in" in result.output
    assert "1 label file has no image" in result.output
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


@pytest.mark.parametrize("codec", codecs.CODECS)
def test_every_codec_goes_there_and_back(codec: str, data: Path, tmp_path: Path) -> None:
    """Codecs that leave the class to the prompt get a line for each class, and one record for each image."""
    texts, out, names = tmp_path / "texts.jsonl", tmp_path / "p.jsonl", ",".join(datasets.dota.V1_0)
    seen = ("--codec", codec, "--input-size", "504x392")
    result = run("encode", "--data", data, "--out", texts, *seen)
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in texts.read_text().splitlines()]
    one_class = codecs.get(codec).one_class
    assert [line.get("class") for line in lines] == (["plane", "ship"] if one_class else [None])
    assert all("{classes}" not in line["prompt"] for line in lines)
    result = run("decode", texts, "--codec", codec, "--class-names", names, "--out", out)
    assert result.exit_code == 0, result.output
    assert "; 0 pieces of text gave none" in result.output
    (record,) = predictions.read(out)
    assert [datasets.dota.V1_0[label] for label in record.labels] == ["plane", "ship"]
    # A step of the coarsest, Kosmos-2's, is 6 px here, and it reads boxes back by the centres of their outer cells.
    np.testing.assert_allclose(
        record.boxes[:, :4], [[120, 110, 40, 40], [30, 25, 40, 10]], atol=13 if codec == "kosmos2" else 3
    )


def test_the_input_size_decides_what_pixels_mean(data: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    assert (
        run("encode", "--data", data, "--out", texts, "--codec", "qwen2.5-vl", "--input-size", "400x80").exit_code == 0
    )
    (line,) = map(json.loads, texts.read_text().splitlines())
    assert line["input_size"] == [400, 80]
    assert '{"bbox_2d": [200, 45, 280, 65], "label": "plane"}' in line["text"]  # twice the width, half the height
    result = run("encode", "--data", data, "--out", texts, "--codec", "qwen2.5-vl", "--input-size", "400")
    assert result.exit_code == 2
    assert "expected WIDTHxHEIGHT in pixels" in result.output


def test_texts_of_one_class_say_which(tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    line = {"image_id": "a", "width": 100, "height": 100, "text": "[0, 8, 49, 53]"}
    texts.write_text(json.dumps(line) + "\n")
    result = run("decode", texts, "--codec", "teochat", "--class-names", "ship,plane", "--out", tmp_path / "p.jsonl")
    assert result.exit_code == 1
    assert (
        "texts.jsonl:1: expected the class that was asked for ('class'), among ship, plane, got None" in result.output
    )
    texts.write_text(json.dumps(line) + "\n" + json.dumps({**line, "width": 99}) + "\n")
    result = run("decode", texts, "--codec", "teochat", "--class-names", "ship", "--out", tmp_path / "p.jsonl")
    assert result.exit_code == 1
    assert "texts.jsonl:2: expected the size of 'a' as before, (100, 100), got (99, 100)" in result.output
    texts.write_text(json.dumps(line) + "\n" + json.dumps({**line, "text": "[1, 2"}) + "\n")
    assert (
        run("decode", texts, "--codec", "teochat", "--class-names", "ship", "--out", tmp_path / "p.jsonl").exit_code
        == 0
    )
    (record,) = predictions.read(tmp_path / "p.jsonl")
    assert (len(record), record.metadata["status"]) == (1, "truncated")


def test_what_a_codec_leaves_out_is_said(data: Path, tmp_path: Path) -> None:
    lines = "".join(f"{10 * i} 20 {10 * i + 8} 20 {10 * i + 8} 30 {10 * i} 30 ship 0\n" for i in range(19))
    (data / "labelTxt" / "P1.txt").write_text(lines + lines)
    texts = tmp_path / "texts.jsonl"
    result = run("encode", "--data", data, "--codec", "skysensegpt", "--out", texts)
    assert "18 objects are in none of them: skysensegpt" in result.output
    assert json.loads(texts.read_text())["text"].startswith("There are 38 ships in the image:<rbox>(")


def test_texts_are_not_written_over_the_dataset(data: Path, tmp_path: Path) -> None:
    records = datasets.read("dota", data)
    path = datasets.write("coco", records, tmp_path / "coco", None, records.class_names)
    before = path.read_bytes()
    for source in (path, tmp_path / "coco"):
        result = run("encode", "--data", source, "--format", "coco", "--out", path)
        assert result.exit_code == 1
        assert "expected another file to write to" in result.output
    assert path.read_bytes() == before


def test_near_names_are_said(tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    text = "shipp" + "<loc_10><loc_20><loc_10><loc_40><loc_50><loc_40><loc_50><loc_20>"
    texts.write_text(json.dumps({"image_id": "a", "width": 50, "height": 50, "text": text}) + "\n")
    options = ("--class-names", "dota", "--near-match", 0.8, "--out", tmp_path / "p.jsonl")
    assert "Took 'shipp' for 'ship'." in run("decode", texts, *options).output
    (record,) = predictions.read(tmp_path / "p.jsonl")
    assert [datasets.dota.V1_0[label] for label in record.labels] == ["ship"]


def test_half_a_character_is_replaced(tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"image_id": "a", "width": 5, "height": 5, "text": "ship\\ud800"}\n', encoding="utf-8-sig")
    assert run("decode", texts, "--class-names", "ship", "--out", tmp_path / "p.jsonl").exit_code == 0
    (record,) = predictions.read(tmp_path / "p.jsonl")
    assert record.metadata["windows"][0]["text"] == "ship?"


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
    for bad in (
        {"text": None},
        {"image_id": 5},
        {"width": "x"},
        {"height": 0},
        {"width": 10.5},
        {"height": True},
        {"input_size": [5]},
    ):
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
    assert parse_class_names("dota-v1.5") == datasets.dota.V1_5
    for wrong in (str(tmp_path / "nofile"), "nofile.txt", "", " , "):
        with pytest.raises(click.BadParameter, match=r"expected (a file of )?class names"):
            parse_class_names(wrong)
    assert parse_class_names(str(tmp_path / "names.txt")) == parse_class_names("plane, ship") == ("plane", "ship")


def test_values_of_options_are_json_or_pythons_words_or_text() -> None:
    """As text, "False" would be true."""
    pairs = ["a=False", "b=false", "c=None", "d=null", "e=[1, 2.5]", "f=le90", "g=x=y", "h=True", 'i="True"']
    values = [False, False, None, None, [1, 2.5], "le90", "x=y", True, "True"]
    assert list(parse_options(pairs).values()) == values
    with pytest.raises(click.BadParameter, match="expected NAME=VALUE, got 'steps'"):
        parse_options(["steps"])
