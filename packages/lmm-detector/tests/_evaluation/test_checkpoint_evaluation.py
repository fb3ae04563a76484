"""Many checkpoints on one dataset: what is predicted, kept and scored.

The detectors are random, and find nothing; where figures matter, the truth takes the place of what they wrote.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from lmm_detector import Detector, evaluate_checkpoints
from lmm_detector._evaluation._evaluate import annotated, clipped, score_detector, score_files
from lmm_detector._prediction._generation import Generation
from lmm_detector._spec import DetectorSpec
from lmm_detector.cli.evaluate import evaluate as evaluate_command
from lmm_detector.cli.main import main
from lmm_detector.errors import ConfigError
from rbox_formats import ClassNames, Dataset, ImageRecord, codecs, datasets, predictions
from rbox_formats.errors import PredictionsError, RboxError
from rbox_testing.tiny_florence2 import save_tiny_florence2

SHORT = Generation(max_new_tokens=4, scores="none", first_tokens=0)


def save_detector(folder: Path, names: ClassNames, seed: int) -> Path:
    codec = codecs.get("florence2")
    save_tiny_florence2(folder, names, codec, seed=seed)
    DetectorSpec(names, codec.to_dict(), codec.prompt, 96, 0).save(folder)
    return folder


@pytest.fixture(scope="module")
def kept_run(tmp_path_factory: pytest.TempPathFactory, class_names: ClassNames) -> Path:
    """Checkpoints of 2 and of 10 steps, of which the latter is the model."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    for step in (2, 10):
        save_detector(run / "checkpoints" / f"checkpoint-{step}", class_names, seed=step)
    shutil.copytree(run / "checkpoints" / "checkpoint-10", run / "model")
    return run


@pytest.fixture
def run_folder(kept_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept_run, tmp_path / "tiny"))


def write_truth(path: Path, scenes: Path, count: int | None = None) -> None:
    """Puts the annotations in the place of what was predicted."""
    found = predictions.read(path)
    truth = {record.image_id: record for record in datasets.read("dota", scenes, "train", found.class_names)}
    path.unlink()
    with predictions.Writer(path, found.header) as writer:
        for record in list(found)[:count]:
            known = truth[record.image_id]
            writer.write(
                ImageRecord(
                    record.image_id,
                    known.boxes,
                    known.labels,
                    width=record.width,
                    height=record.height,
                    metadata=record.metadata,
                )
            )


def test_predicted_once_then_scored(run_folder: Path, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments: dict[str, Any] = {"split": "train", "intermediate": True, "generation": SHORT}
    first = evaluate_checkpoints([run_folder], scenes, out, score=False, **arguments)
    assert [(each.name, each.step, each.report) for each in first] == [
        ("tiny/checkpoint-2", 2, None),
        ("tiny/model-10", 10, None),
    ]
    assert not list(out.glob("**/report.json"))
    path = out / "tiny" / "model-10" / "predictions.jsonl"
    write_truth(path, scenes)
    before = path.read_bytes()
    second = evaluate_checkpoints([run_folder], scenes, out, pictures=tmp_path / "pictures", **arguments)
    assert path.read_bytes() == before
    assert [each.figures["f1_micro"] for each in second] == [0.0, 1.0]
    assert json.loads((path.parent / "report.json").read_text())["map_nc"] == 1.0
    assert len(list((tmp_path / "pictures" / "tiny" / "model-10").glob("*.png"))) == 5  # four scenes, and the sheet

    evaluate_checkpoints([run_folder], scenes, out, score=False, pictures=True, **arguments)
    assert len(list((path.parent / "pictures").glob("*.png"))) == 5

    # The same without a model: from the files alone.
    truth = annotated(scenes, "dota", "train", second[0].report.class_names if second[0].report else None)
    again = score_files([path, out / "tiny" / "checkpoint-2" / "predictions.jsonl"], truth)
    assert [(each.name, each.step) for each in again] == [("tiny/checkpoint-2", 2), ("tiny/model-10", 10)]
    assert [each.figures for each in again] == [each.figures for each in second]


@pytest.mark.slow
def test_a_larger_clip_adds_images(run_folder: Path, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for count, kept in ((2, 2), (3, 3), (1, 3)):
        [scored] = evaluate_checkpoints(
            [run_folder], scenes, out, split="train", clip_num=count, shuffle_seed=5, generation=SHORT
        )
        assert scored.report is not None
        assert scored.report.images == count
        held = [record.image_id for record in predictions.read(scored.predictions)]
        order = [record.image_id for record in datasets.read("dota", scenes, "train")]
        random.Random(5).shuffle(order)
        assert held == order[:kept]
        if count == 2:
            write_truth(scored.predictions, scenes)  # which stay, when a third comes
    assert scored.figures["recall_micro"] == 1.0


def test_clips_are_lmmrotates() -> None:
    """Python's generator, seeded, shuffles the numbers of all images (checked in a plain loop)."""
    numbers = list(range(50))
    random.Random(42).shuffle(numbers)
    images = [f"P{number}" for number in range(50)]
    bare = [ImageRecord(image, np.zeros((0, 5)), np.zeros(0, np.int64)) for image in images]

    def names(*arguments: Any) -> list[str]:
        return [record.image_id for record in clipped(Dataset(ClassNames(["ship"]), bare), *arguments)]

    assert names(20) == [f"P{number}" for number in numbers[:20]]
    assert names(20, 1) != names(20)
    assert names(None) == images
    assert sorted(names(500)) == sorted(images)


@pytest.mark.slow
def test_images_without_a_file_count_unless_they_are_left_out(run_folder: Path, scenes: Path, tmp_path: Path) -> None:
    """Of four, one has no file: what is on it is missed, also where the model did not look at it."""
    data = Path(shutil.copytree(scenes, tmp_path / "data"))
    gone = sorted((data / "train" / "images").iterdir())[0]
    gone.unlink()
    arguments: dict[str, Any] = {"split": "train", "generation": SHORT}
    out = tmp_path / "out"
    [scored] = evaluate_checkpoints([run_folder], data, out, score=False, **arguments)
    assert gone.stem not in {record.image_id for record in predictions.read(scored.predictions)}
    write_truth(scored.predictions, scenes)
    truth = list(datasets.read("dota", scenes, "train"))
    there = sum(len(record) for record in truth if record.image_id != gone.stem)
    for only_with_images, recall, left_out in ((False, there / sum(map(len, truth)), 0), (True, 1.0, 1)):
        [scored] = evaluate_checkpoints([run_folder], data, out, only_with_images=only_with_images, **arguments)
        assert scored.figures["recall_micro"] == pytest.approx(recall)
        report = json.loads((scored.predictions.parent / "report.json").read_text())
        assert (report["only_with_images"], report["images_left_out"]) == (only_with_images, left_out)


def test_a_checkpoint_that_changed_is_refused(
    run_folder: Path, scenes: Path, class_names: ClassNames, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    evaluate_checkpoints([run_folder / "model"], scenes, out, split="train", generation=SHORT, score=False)
    before = (out / "tiny" / "model-10" / "predictions.jsonl").read_bytes()
    for folder in (run_folder / "model", run_folder / "checkpoints" / "checkpoint-10"):
        shutil.rmtree(folder)
        save_detector(folder, class_names, seed=99)
    with pytest.raises(PredictionsError, match="expected predictions of the same run, got a file with fingerprint"):
        evaluate_checkpoints([run_folder / "model"], scenes, out, split="train", generation=SHORT)
    assert (out / "tiny" / "model-10" / "predictions.jsonl").read_bytes() == before


def test_what_is_wrong_is_said_before_a_model_is_loaded(
    run_folder: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(Detector, "from_pretrained", fail)
    (tmp_path / "file").touch()
    for changed, error, message in (
        ({"out": tmp_path / "file"}, RboxError, "expected a folder that can be written to"),
        ({"out": tmp_path / "file" / "below"}, RboxError, "expected a folder that can be written to"),
        ({"clip_num": 0}, ConfigError, "expected clip_num of 1 or more, got 0"),
        ({"iou_thresholds": (1.5,)}, RboxError, r"expected .*1\.5"),
        ({"class_names": ("plane", "ship")}, RboxError, "expected a class among"),
        ({"split": "test"}, RboxError, "expected a dataset folder, found none"),
    ):
        arguments: dict[str, Any] = {"out": tmp_path / "out", "split": "train", "generation": SHORT, **changed}
        with pytest.raises(error, match=message):
            evaluate_checkpoints([run_folder], scenes, **arguments)
        assert not (tmp_path / "out").exists()


def test_scores_of_a_detector_in_mid_training(kept_run: Path, scenes: Path, tmp_path: Path) -> None:
    detector = Detector.from_pretrained(kept_run / "model", device="cpu")
    records = list(annotated(scenes, "dota", "train", detector.class_names))
    figures = score_detector(detector, records, tmp_path, SHORT)
    names = {"map", "map_nc", "f1_micro", "f1_macro", "precision_micro", "recall_micro"}
    assert set(figures) == names
    assert set(figures.values()) == {0.0}
    write_truth(tmp_path / "predictions.jsonl", scenes, count=2)
    found = score_detector(detector, records, tmp_path, SHORT)
    assert found["precision_micro"] == 1.0
    assert found["recall_micro"] == sum(map(len, records[:2])) / sum(map(len, records))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)], catch_exceptions=False)


def test_by_command(run_folder: Path, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    common = ("--data", scenes, "--split", "train")
    model = ("--model", run_folder, "--intermediate", "--max-new-tokens", 4, "--scores", "none")
    result = run(*common, *model, "--out", out, "--no-score", "--sample", 3)
    assert result.exit_code == 0, result.output
    assert "The predictions of 2 checkpoints are in" in result.output
    assert not (out / "checkpoints.md").exists()
    write_truth(out / "tiny" / "model-10" / "predictions.jsonl", scenes)
    result = run(*common, *model, "--out", out, "--sample", 3, "--iou", 0.5)
    assert result.exit_code == 0, result.output
    assert "tiny/model-10" in result.output
    assert "100.00" in result.output
    files = sorted(out.glob("**/predictions.jsonl"))
    again = run(*common, *(word for path in files for word in ("--predictions", path)), "--sample", 3)
    assert again.exit_code == 0, again.output
    assert "tiny/checkpoint-2" in again.output
    assert "100.00" in again.output
    drawn = run(*common, "--predictions", files[0], "--sample", 2, "--pictures", tmp_path / "pictures")
    assert drawn.exit_code == 0, drawn.output
    assert len(list((tmp_path / "pictures").glob("**/*.png"))) == 3  # two scenes, and the sheet
    # As it was until now, without a folder: below --out.
    old = run(*common, "--predictions", files[0], "--sample", 2, "--out", out / "drawn", "--pictures")
    assert old.exit_code == 0, old.output
    assert "Warning: --pictures without a folder is now --pictures FOLDER" in old.output
    assert len(list((out / "drawn" / "pictures").glob("**/*.png"))) == 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "Give either --model, or --predictions."),
        (("--model", "m", "--predictions", "p"), "Give either --model, or --predictions."),
        (("--predictions", "p", "--intermediate"), "--intermediate and --no-score go with --model."),
        (("--model", "m"), "Give one --out, a folder; got 0."),
        (("--model", "m", "--out", "a", "--out", "b"), "Give one --out, a folder; got 2."),
        (("--model", "m", "--out", "report.json"), "expected a folder, got the file report.json"),
        (("--model", "m", "--out", "o", "--sample", "0"), "0 is not in the range x>=1"),
    ],
)
def test_bad_usage(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    result = run("--data", tmp_path, *arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_every_setting_of_generation_is_an_option() -> None:
    from dataclasses import fields

    names = {parameter.name for parameter in evaluate_command.params}
    assert {field.name for field in fields(Generation)} | {"device", "dtype"} <= names


@pytest.mark.slow
@pytest.mark.variant
def test_two_processes_share_the_images(run_folder: Path, scenes: Path, tmp_path: Path) -> None:
    """And leave the files that one leaves."""
    arguments = ["evaluate", "--model", run_folder, "--data", scenes, "--split", "train", "--scores", "none"]
    arguments += ["--max-new-tokens", 4, "--device", "cpu", "--out"]
    assert run(*arguments[1:], tmp_path / "one").exit_code == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "lmm_detector", *map(str, arguments), str(tmp_path / "two")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("The table is in") == 1
    one, two = (
        {path.relative_to(tmp_path / name): path for path in (tmp_path / name).glob("**/*") if path.is_file()}
        for name in ("one", "two")
    )
    assert set(one) == set(two)
    for name in (Path("tiny/model-10/predictions.jsonl"), Path("checkpoints.csv")):
        assert one[name].read_text() == two[name].read_text()
