"""The command line: what good input gives, and what bad input is told. No traceback, nothing half written."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from lmm_detector import Detector
from lmm_detector.cli._common import set_up_output
from lmm_detector.cli.main import main
from PIL import Image
from rbox_formats import predictions

OBJECT = "1 2 30 2 30 20 1 20"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def test_help_names_every_command_and_setting() -> None:
    assert {"train", "predict", "evaluate", "visualize", "demo"} <= set(run("--help").output.split())
    words = run("train", "--help").output.split()
    assert {"--model", "--learning-rate", "--codec-option", "--class-names", "--save-every"} <= set(words)


def test_the_four_commands_one_after_the_other(tiny_model: Path, scenes: Path, tmp_path: Path) -> None:
    names = "plane,ship,small-vehicle,storage-tank"
    out = tmp_path / "run"
    result = run(
        *("train", "--data", scenes, "--split", "train", "--model", tiny_model, "--out", out, "--class-names", names),
        *("--window", 96, "--gap", 0, "--steps", 2, "--codec-option", "version=3", "--cpu"),
    )
    assert result.exit_code == 0, result.output
    assert f"Next: lmm-detector predict --model {out / 'model'}" in result.output
    truth = ("--data", scenes, "--split", "val")
    predicted = ("--predictions", out / "p.jsonl")
    result = run("predict", "--model", out / "model", *truth, "--out", out / "p.jsonl", "--max-new-tokens", 20)
    assert result.exit_code == 0, result.output
    result = run("evaluate", *truth, *predicted, "--out", out / "report.json", "--iou", 0.5, "--iou", 0.75)
    assert result.exit_code == 0, result.output
    assert "storage-tank" in result.output
    before = (out / "p.jsonl").read_bytes(), [path.read_bytes() for path in scenes.glob("val/images/*")]
    assert run("evaluate", *truth, *predicted, "--out", out / "p.jsonl").exit_code == 1
    assert run("visualize", *truth, *predicted, "--out", scenes / "val" / "images").exit_code == 1
    assert before == ((out / "p.jsonl").read_bytes(), [path.read_bytes() for path in scenes.glob("val/images/*")])
    result = run("visualize", *truth, *predicted, "--out", out / "pictures", "--limit", 2)
    assert result.exit_code == 0, result.output
    assert len(list((out / "pictures").iterdir())) == 3


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "labelTxt").mkdir(parents=True)
    (root / "images").mkdir()
    (root / "labelTxt" / "P1.txt").write_text(f"{OBJECT} ship 0\n")
    Image.new("RGB", (64, 64), (1, 2, 3)).save(root / "images" / "P1.png")
    return root


BAD_LABELS = {
    "1 2 3 4 5 6 7 ship 0": "P1.txt:1: expected 8 coordinates, got 'ship' as number 8\nA line reads: x1 y1",
    f"{OBJECT} tram 0": "got 'tram'\nCorrect the line, or name the dataset's classes (--class-names",
    "1 2 3 4 5 6 7 nan ship 0": "P1.txt:1: expected finite coordinates, got 1 2 3 4 5 6 7 nan\nCorrect the line",
    "": "expected objects whose text has at most 512 tokens, got none in 1 image",
}


@pytest.mark.parametrize("line", BAD_LABELS)
def test_bad_labels(line: str, data: Path, tiny_model: Path, tmp_path: Path) -> None:
    (data / "labelTxt" / "P1.txt").write_text(line + "\n")
    assert_refused(data, tiny_model, tmp_path, BAD_LABELS[line])


def test_a_truncated_image(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    path = data / "images" / "P1.png"
    path.write_bytes(path.read_bytes()[:-20])
    assert_refused(data, tiny_model, tmp_path, "P1.png: expected a whole image, got: ")


def test_a_missing_folder_and_an_empty_dataset(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere", tiny_model, tmp_path, "nowhere: expected a dataset folder, found none\nGive")
    (data / "labelTxt" / "P1.txt").unlink()
    assert_refused(
        data, tiny_model, tmp_path, "labelTxt: expected annotation files (*.txt), found none\nEach image has one"
    )


def test_a_missing_model(data: Path, tmp_path: Path) -> None:
    assert_refused(data, tmp_path / "no" / "model", tmp_path, "expected a local folder, or a name on the hub")


def assert_refused(data: Path, model: Path, folder: Path, found: str) -> None:
    out = folder / "out"
    result = run("train", "--data", data, "--model", model, "--out", out, "--window", 64, "--steps", 1)
    assert result.exit_code == 1
    assert found in result.output
    assert "Traceback" not in result.output
    assert not out.exists()


def test_a_folder_that_cannot_be_written(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("train", "--data", data, "--model", tiny_model, "--out", tmp_path / "file" / "x", "--window", 64)
    assert result.exit_code == 1
    assert f"file/x: expected a folder that can be written to, got: a file at {tmp_path / 'file'}" in result.output


@pytest.mark.parametrize(
    "arguments, code, found",
    [
        (["train"], 1, "expected a value for 'data_path', got none\nGive --data."),
        (["train", "--steps", "many"], 2, "'many' is not a valid integer"),
        (["train", "--codec-option", "version"], 2, "expected NAME=VALUE, got 'version'"),
        (["predict", "--model", "m", "--out", "p.jsonl"], 2, "Give one of --data, --shards, and images."),
        (["predict", "--model", "m", "--out", "p.jsonl", "a.png"], 1, "m: expected a trained detector"),
        (
            ["predict", "--model", "owner/name", "--out", "p.jsonl", "a.png"],
            1,
            "owner/name: expected a trained detector",
        ),
        (["predict", "--model", "m", "--out", "p", "a.png", "--temperature", "0"], 1, "expected a temperature above 0"),
        (
            ["predict", "--model", "m", "--out", "p", "a.png", "--top-p", "0.5"],
            1,
            "with top_p of 0.5, got none\nTokens",
        ),
        (
            ["predict", "--model", "m", "--out", "p", "a.png", "--temperature", "1", "--num-beams", "3"],
            1,
            "expected one beam with a temperature, got 3",
        ),
        (
            ["evaluate", "--data", "d", "--predictions", "p.jsonl"],
            1,
            "p.jsonl: expected a predictions file, found none",
        ),
        (["visualize", "--data", "d", "--predictions", "p.jsonl", "--out", "x"], 1, "expected a predictions file"),
    ],
)
def test_bad_usage(
    arguments: list[str], code: int, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == code
    assert found in result.output
    assert not list(tmp_path.iterdir())


def test_predict_takes_patterns_lists_and_leaves_out_what_is_broken(
    detector: Detector, scenes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "scenes"
    folder.mkdir()
    for path in (scenes / "train" / "images").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    names = sorted(path.stem for path in folder.iterdir())
    (folder / "broken.png").write_bytes((folder / f"{names[0]}.png").read_bytes()[:-30])
    (tmp_path / "list.txt").write_text(f"scenes/{names[1]}.png\n")
    given = ("predict", "--model", detector.family.model.name_or_path, "--device", "cpu", "--max-new-tokens", 30)
    given = (*given, tmp_path / "list.txt", folder / "*.png", "--geojson", tmp_path / "found.geojson")
    drawn = ("--temperature", 1, "--top-p", 0.9, "--seed", 5, "--dtype", "bfloat16", "--batch-size", 2)
    result = run(*given, *drawn, "--out", tmp_path / "p.jsonl")
    assert result.exit_code == 1
    assert "broken.png: expected a whole image" in result.output
    assert "leave them out: --skip-broken" in result.output
    assert {path.name for path in tmp_path.iterdir()} == {"scenes", "list.txt"}

    result = run(*given, *drawn, "--out", tmp_path / "p.jsonl", "--skip-broken")
    assert result.exit_code == 0, result.output
    assert "1 broken images were left out:" in caplog.text
    found = predictions.read(tmp_path / "p.jsonl")
    assert [record.image_id for record in found] == [names[1], names[0], *names[2:]]
    settings = {"temperature": 1.0, "top_p": 0.9, "seed": 5, "dtype": "torch.bfloat16"}
    assert settings.items() <= found.header.generation.items()
    features = json.loads((tmp_path / "found.geojson").read_text())["features"]
    assert [feature["properties"]["image_id"] for feature in features] == [
        record.image_id for record in found for _ in record.boxes
    ]
    again = run(*given, *drawn, "--out", tmp_path / "q.jsonl", "--skip-broken")
    assert again.exit_code == 0
    assert (tmp_path / "q.jsonl").read_bytes() == (tmp_path / "p.jsonl").read_bytes()


def test_predict_finds_out_before_the_model_is_loaded(detector: Detector, data: Path, tmp_path: Path) -> None:
    """What cannot be written for a map, and a checkpoint of another kind."""
    image = data / "images" / "P1.png"
    given = ("--out", tmp_path / "p.jsonl", "--geojson", tmp_path / "m.geojson", image)
    (data / "images" / "P1.pgw").write_text("1\n0\n0\n")
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "detector.json").write_text((Path(detector.family.model.name_or_path) / "detector.json").read_text())
    (folder / "config.json").write_text('{"model_type": "llama"}')
    result = run("predict", "--model", folder, *given)
    assert result.exit_code == 1
    assert "P1.pgw: expected six lines with a number each, got 3 lines" in result.output
    (data / "images" / "P1.pgw").unlink()
    result = run("predict", "--model", folder, *given)
    assert result.exit_code == 1
    assert "expected a model of type florence2" in result.output
    assert "got 'llama'" in result.output
    settings = json.loads((folder / "detector.json").read_text())
    (folder / "detector.json").write_text(json.dumps({**settings, "codec": {"name": "nonsense"}}))
    result = run("predict", "--model", folder, *given)
    assert result.exit_code == 1
    assert "nonsense" in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "p.jsonl").exists()


@pytest.mark.parametrize(
    "name, text, is_shown",
    [
        ("transformers.trainer", "There were missing keys in the checkpoint model loaded: ['lm_head.weight'].", True),
        ("transformers.trainer_utils", "There were unexpected keys.", True),
        ("transformers.trainer_utils", "mtime may not be reliable on this filesystem", False),
    ],
)
def test_warnings_of_libraries_are_shown_but_for_known_noise(name: str, text: str, is_shown: bool) -> None:
    set_up_output()
    logger = logging.getLogger(name)
    assert logger.isEnabledFor(logging.WARNING)
    record = logger.makeRecord(name, logging.WARNING, __file__, 1, text, (), None)
    handlers = logging.getLogger("transformers").handlers
    assert handlers
    assert all(bool(handler.filter(record)) == is_shown for handler in handlers)
