"""Evaluation in mid-training: figures as afterwards, the best checkpoint kept, an end where nothing gets better."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lmm_detector import Detector, TrainConfig, _families, predict, train
from lmm_detector._prediction._detector import Generation
from lmm_detector._training._run_folder import has_settled
from lmm_detector._training._validation import held_out
from lmm_detector.errors import ConfigError
from rbox_formats import datasets
from rbox_formats.errors import DatasetError
from rbox_metrics import evaluate_file
from rbox_testing.samples import sampled
from safetensors.torch import load_file


@pytest.fixture
def evaluated(run_config: TrainConfig) -> TrainConfig:
    # Answers of a model that has learnt nothing run into the limit.
    short = dataclasses.replace(run_config, language_model_max_length=40)
    return dataclasses.replace(short, eval_split="train", eval_every=3, save_every=2, batch_size=4, steps=6)


def entries(out: str | Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(out) / f"{name}.jsonl").read_text().splitlines()]


def test_figures_are_those_of_the_checkpoints_and_change_nothing_in_training(
    evaluated: TrainConfig, run_config: TrainConfig, scenes: Path, class_names: Any, tmp_path: Path
) -> None:
    train(evaluated)
    found = entries(evaluated.out, "evaluations")
    assert [entry["step"] for entry in found] == [3, 6]
    truth = datasets.read("dota", scenes, "train", class_names)
    last = Detector.from_pretrained(Path(evaluated.out) / "checkpoints" / "checkpoint-6", device="cpu")
    path = predict(last, [record.file for record in truth], tmp_path / "p.jsonl", generation=Generation(scores="none"))
    figures = evaluate_file(truth, path).figures
    for name in ("map_nc", "f1_micro", "f1_macro"):
        assert found[-1][f"eval_{name}"] == pytest.approx(float(figures[name]))
    plain = dataclasses.replace(evaluated, eval_split=None, eval_every=None, out=str(tmp_path / "plain"))
    train(plain)
    last_losses = [entries(out, "losses")[-1]["loss"] for out in (evaluated.out, plain.out)]
    assert last_losses[0] == last_losses[1]


def figures_of(values: dict[int, float]) -> Any:
    """Figures by step, in place of what a few steps of a tiny model come to: nothing."""

    def evaluator(*_: object) -> Any:
        return lambda step: {"map_nc": values[step], "map": 0.0}

    return evaluator


def test_the_best_checkpoint_becomes_the_detector(evaluated: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {1: 0.1, 2: 0.5, 3: 0.2, 4: 0.3, 5: 0.4, 6: 0.5}
    monkeypatch.setattr("lmm_detector._training._train.evaluator", figures_of(values))
    config = dataclasses.replace(evaluated, eval_every=1)  # of which the newest two stay
    folder = train(config)
    checkpoints = Path(config.out) / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["checkpoint-2", "checkpoint-5", "checkpoint-6"]
    ours, best = (load_file(path / "model.safetensors") for path in (folder, checkpoints / "checkpoint-2"))
    assert all((ours[name] == best[name]).all() for name in best)


@pytest.mark.slow
def test_training_ends_when_nothing_gets_better_also_where_it_was_killed(
    evaluated: TrainConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = {1: 0.1, 2: 0.5, 3: 0.2, 4: 0.3, 5: 0.9, 6: 0.9}
    monkeypatch.setattr("lmm_detector._training._train.evaluator", figures_of(values))
    config = dataclasses.replace(evaluated, eval_every=1, patience=2)
    train(config)
    assert [entry["step"] for entry in entries(config.out, "evaluations")] == [1, 2, 3, 4]
    shutil.rmtree(Path(config.out) / "model")  # as if it had been killed at the end
    train(config)
    assert [entry["step"] for entry in entries(config.out, "evaluations")] == [1, 2, 3, 4]
    shutil.rmtree(Path(config.out) / "model")
    shutil.rmtree(Path(config.out) / "checkpoints" / "checkpoint-4")
    train(config)
    assert [entry["step"] for entry in entries(config.out, "evaluations")] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "values, patience, expected",
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.5], 1, True),
        ([0.5, 0.6], 1, False),
        ([0.5, 0.4, 0.6], 2, False),
        ([0.5, 0.4, 0.5], 2, True),
        ([0.5, 0.4, 0.3], None, False),
    ],
)
def test_when_evaluations_have_settled(values: list[float], patience: int | None, expected: bool) -> None:
    assert has_settled(list(enumerate(values)), patience) is expected


@pytest.mark.slow
def test_the_last_step_is_evaluated_too(evaluated: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmm_detector._training._train.evaluator", figures_of({4: 0.1, 6: 0.5}))
    config = dataclasses.replace(evaluated, eval_every=4)
    train(config)
    assert [entry["step"] for entry in entries(config.out, "evaluations")] == [4, 6]


@pytest.mark.slow
def test_where_the_best_checkpoint_is_gone_the_last_becomes_the_detector(
    evaluated: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmm_detector._training._train.evaluator", figures_of(dict.fromkeys(range(1, 7), math.nan)))
    folder = train(dataclasses.replace(evaluated, eval_every=1))
    ours, last = (
        load_file(path / "model.safetensors") for path in (folder, folder.parent / "checkpoints/checkpoint-6")
    )
    assert all((ours[name] == last[name]).all() for name in last)


def test_only_difficult_objects_are_nothing_to_evaluate_on(
    evaluated: TrainConfig, scenes: Path, tmp_path: Path
) -> None:
    shutil.copytree(scenes, tmp_path / "hard")
    for path in (tmp_path / "hard" / "train" / "labelTxt").iterdir():
        path.write_text("".join(f"{line[:-1]}1\n" for line in path.read_text().splitlines()))
    config = dataclasses.replace(evaluated, eval_data_path=str(tmp_path / "hard"))
    with pytest.raises(DatasetError, match="expected objects that are not difficult on the images to evaluate on"):
        train(config)


@pytest.mark.slow
@pytest.mark.parametrize("adapters", sampled([None, 2], [2]))
def test_it_computes_in_the_precision_of_training(adapters: int | None, evaluated: TrainConfig) -> None:
    """Also where the trainer's own autocast does not reach: the image encoder, and models with adapters."""
    found = set()
    plain = torch.nn.functional.linear

    def linear(*arguments: Any) -> Any:
        output = plain(*arguments)
        if not torch.is_grad_enabled():
            found.add(output.dtype)
        return output

    config = dataclasses.replace(evaluated, precision="bfloat16", language_model_lora=adapters, steps=1, eval_images=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.nn.functional.linear", linear)
        train(config)
    assert found == {torch.bfloat16}


@pytest.mark.slow
def test_images_that_are_drawn(evaluated: TrainConfig, scenes: Path) -> None:
    config = dataclasses.replace(evaluated, eval_split="val", eval_images=2, steps=2)
    train(config)
    lines = (Path(config.out) / "evaluations" / "step-2" / "predictions.jsonl").read_text().splitlines()
    names = [json.loads(line)["image_id"] for line in lines[1:]]
    assert len(names) == 2
    assert set(names) < {path.stem for path in (scenes / "val" / "images").iterdir()}


@pytest.mark.slow
def test_images_without_a_file_are_evaluated_on_as_by_the_command(
    evaluated: TrainConfig, scenes: Path, class_names: Any, tmp_path: Path
) -> None:
    shutil.copytree(scenes, tmp_path / "data")
    gone = sorted((tmp_path / "data" / "val" / "images").iterdir())[0]
    gone.unlink()
    config = dataclasses.replace(evaluated, eval_data_path=str(tmp_path / "data"), eval_split="val")
    every = [record.image_id for record in datasets.read("dota", scenes, "val", class_names)]
    assert [record.image_id for record in held_out(config, class_names)] == every
    train(dataclasses.replace(config, steps=2))
    folder = Path(config.out) / "evaluations" / "step-2"
    names = [json.loads(line)["image_id"] for line in (folder / "predictions.jsonl").read_text().splitlines()[1:]]
    assert names == [name for name in every if name != gone.stem]
    config = dataclasses.replace(config, eval_only_with_images=True)
    assert [record.image_id for record in held_out(config, class_names)] == [
        name for name in every if name != gone.stem
    ]
    shutil.rmtree(gone.parent)
    gone.parent.mkdir()
    with pytest.raises(DatasetError, match="annotations has an image file"):
        held_out(config, class_names)


def test_settings_that_do_not_fit(evaluated: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected an eval_split to evaluate on, got eval_every alone"):
        dataclasses.replace(evaluated, eval_split=None)
    for change in ({"deepspeed": "zero3"}, {"fsdp": "full"}):
        with pytest.raises(ConfigError, match="no device can write with them"):
            dataclasses.replace(evaluated, **change)
    with pytest.raises(ConfigError, match="expected eval_metric to be 'map_nc'"):
        dataclasses.replace(evaluated, eval_metric="accuracy")
    with pytest.raises(DatasetError, match="expected"):
        train(dataclasses.replace(evaluated, eval_split="nowhere"))
    assert not Path(evaluated.out).exists()


@pytest.mark.slow
def test_a_detector_knows_the_longest_text_that_it_was_taught(
    run_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluations in mid-training have room for half as much again, or for what they are told."""
    rooms = []
    florence2 = _families.FAMILIES["florence2"]
    generate = florence2.generate

    def watched(self: Any, crops: Any, prompt: str, decoding: _families.Decoding) -> Any:
        rooms.append(decoding.max_new_tokens)
        return generate(self, crops, prompt, decoding)

    monkeypatch.setattr(florence2, "generate", watched)
    config = dataclasses.replace(
        run_config, steps=1, save_every=1, eval_split="train", eval_images=1, eval_batch_size=1
    )
    folder = train(config)
    texts = [json.loads(line)["text"] for line in (Path(config.out) / "texts.jsonl").read_text().splitlines()]
    longest = max(_families.load(str(folder)).count_tokens(texts))
    assert json.loads((folder / "detector.json").read_text())["longest_answer"] == longest
    assert set(rooms) == {math.ceil(1.5 * longest) + 64}
    rooms.clear()
    train(dataclasses.replace(config, out=str(tmp_path / "told"), eval_max_new_tokens=7))
    assert set(rooms) == {7}
