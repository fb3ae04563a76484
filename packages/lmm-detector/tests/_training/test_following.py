"""What a run shows of itself as it goes: logs, speed, scores, and what broke it."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lmm_detector import TrainConfig, _families, train
from lmm_detector._families import Sample
from lmm_detector._families.florence2 import Florence2
from lmm_detector._training._following import Pace, draw
from lmm_detector._training._mixing import Place
from lmm_detector._training._samples import WindowTexts
from lmm_detector._training._trainer import FamilyTrainer
from lmm_detector.errors import RunError
from PIL import Image
from rbox_formats import ClassNames, codecs, datasets, images, tiling


def entries(out: str | Path, name: str = "losses") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(out) / f"{name}.jsonl").read_text().splitlines()]


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Ends a run in the middle of a step, as Ctrl-C does."""
    original = FamilyTrainer.training_step

    def stop_at(step: int) -> None:
        def training_step(self: FamilyTrainer, *arguments: Any) -> torch.Tensor:
            if self.state.global_step == step - 1:
                monkeypatch.setattr(FamilyTrainer, "training_step", original)
                raise KeyboardInterrupt
            return original(self, *arguments)

        monkeypatch.setattr(FamilyTrainer, "training_step", training_step)

    return stop_at


@pytest.mark.slow
def test_losses_are_there_while_the_run_goes_on(
    run_config: TrainConfig, stop_at: Callable[[int], None], tmp_path: Path
) -> None:
    config = dataclasses.replace(run_config, save_every=2, steps=5)
    stop_at(4)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    before = entries(config.out)
    assert [entry["step"] for entry in before] == [1, 2, 3]
    train(config)  # from step 2
    assert [entry["step"] for entry in entries(config.out)] == [1, 2, 3, 4, 5]
    assert entries(config.out)[:2] == before[:2]
    whole = dataclasses.replace(config, out=str(tmp_path / "whole"))
    train(whole)
    for name in ("loss", "grad_norm", "learning_rate"):
        assert [entry[name] for entry in entries(config.out)] == [entry[name] for entry in entries(whole.out)]
    with Image.open(Path(config.out) / "training.png") as picture:
        assert min(picture.size) > 300


@pytest.mark.slow
def test_speed_is_counted_in_windows_and_taught_tokens(run_config: TrainConfig, class_names: ClassNames) -> None:
    config = dataclasses.replace(run_config, batch_size=4, device_batch_size=2, steps=2)
    train(config)
    texts = [json.loads(line)["text"] for line in (Path(config.out) / "texts.jsonl").read_text().splitlines()]
    tokens = sum(_families.load(config.model_name_or_path).count_tokens(texts))
    for entry in entries(config.out):
        # The same seconds below both.
        assert entry["tokens_per_second"] / entry["windows_per_second"] == pytest.approx(tokens / 4, rel=1e-2)
        assert 0 <= entry["loading_share"] < 1


def test_figures_of_a_pace() -> None:
    found = Pace(windows=12, tokens=600, loading=1.0, computing=3.0).figures()
    assert found == {"windows_per_second": 3.0, "tokens_per_second": 150.0, "loading_share": 0.25}
    assert Pace().figures() == {}


def test_a_loss_that_is_not_a_number_is_told_with_its_windows(
    run_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seventh window that is asked for gives one, in the second step: the run ends there and names it."""
    config = dataclasses.replace(run_config, batch_size=4, device_batch_size=1, log_every=2)
    original, calls = Florence2.loss, itertools.count(1)
    asked: list[int] = []

    def loss(self: Florence2, batch: Any, model: Any = None, soft: Any = None) -> torch.Tensor:
        return original(self, batch, model, soft) * (float("nan") if next(calls) == 7 else 1)

    monkeypatch.setattr(Florence2, "loss", loss)
    original_item = WindowTexts.__getitem__

    def item(self: WindowTexts, place: Place) -> Sample:
        asked.append(place.number)
        return original_item(self, place)

    monkeypatch.setattr(WindowTexts, "__getitem__", item)
    with pytest.raises(RunError) as caught:
        train(config)
    culprit = json.loads((Path(config.out) / "texts.jsonl").read_text().splitlines()[asked[6]])
    assert f"got nan at step 2, first with the windows {culprit['image_id']} at 0,0\n" in str(caught.value)


@pytest.mark.slow
def test_a_loss_that_explodes_stops_the_run(run_config: TrainConfig) -> None:
    config = dataclasses.replace(run_config, learning_rate=30.0, warmup=0.0, schedule="constant", steps=20)
    with pytest.raises(
        RunError, match=r"expected a loss that comes down, got .* at step \d+, after 7\..* at the start"
    ):
        train(config)


def test_the_loss_on_held_out_windows_is_that_of_a_loop_by_hand(
    run_config: TrainConfig, scenes: Path, class_names: ClassNames
) -> None:
    config = dataclasses.replace(
        run_config, eval_split="val", eval_metric="loss", eval_every=1, steps=3, eval_batch_size=5
    )
    train(config)
    found = entries(config.out, "evaluations")
    assert [set(entry) for entry in found] == [{"step", "epoch", "eval_loss"}] * 3
    assert not (Path(config.out) / "evaluations").exists()

    family = _families.load(str(Path(config.out) / "checkpoints" / "checkpoint-3"))
    codec = codecs.get("florence2")
    total = count = 0.0
    for record in datasets.read("dota", scenes, "val", class_names):
        for window in tiling.windows(*record.size, 96, 0):
            part = tiling.clip_to_window(record, window)
            if len(part) == 0:
                continue  # the codec has no answer for it
            text = codec.encode(part.shapes, part.labels, class_names, part.size, (96, 96))
            pixels = images.load(record.file)[window.y : window.y + 96, window.x : window.x + 96]
            batch = family.collate([Sample(pixels, text, True)], codec.question(class_names))
            with torch.no_grad():
                tokens = int((batch["labels"] != -100).sum())
                total += float(family.model(**family.on_device(batch)).loss) * tokens
            count += tokens
    assert found[-1]["eval_loss"] == pytest.approx(total / count, rel=1e-4)


@pytest.mark.slow
def test_the_lowest_loss_is_the_best(run_config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {1: 3.0, 2: 1.0, 3: 2.0, 4: 2.0, 5: 0.5}
    monkeypatch.setattr(
        "lmm_detector._training._train.evaluator", lambda *_: lambda step: {"loss": values[step], "map": 0.0}
    )
    config = dataclasses.replace(run_config, eval_split="val", eval_metric="loss", eval_every=1, patience=2)
    train(config)
    assert [entry["step"] for entry in entries(config.out, "evaluations")] == [1, 2, 3, 4]
    best = Path(config.out) / "checkpoints" / "checkpoint-2" / "model.safetensors"
    assert (Path(config.out) / "model" / "model.safetensors").read_bytes() == best.read_bytes()


@pytest.mark.slow
def test_an_evaluation_leaves_a_sheet_of_pictures(run_config: TrainConfig) -> None:
    config = dataclasses.replace(run_config, language_model_max_length=40, eval_split="val", eval_every=3, steps=3)
    train(config)
    with Image.open(Path(config.out) / "evaluations" / "step-3" / "pictures" / "sheet.png") as sheet:
        assert min(sheet.size) > 300
    (entry,) = entries(config.out, "evaluations")
    assert {"eval_loss", "eval_map_nc", "eval_f1_micro"} <= set(entry)


@pytest.mark.slow
def test_tensorboard_has_the_same(run_config: TrainConfig) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = dataclasses.replace(run_config, report_to=None, eval_split="val", eval_metric="loss", eval_every=2)
    train(config)
    board = accumulator.EventAccumulator(str(Path(config.out) / "tensorboard"))
    board.Reload()
    for name, key, log in (("train/loss", "loss", "losses"), ("eval/loss", "eval_loss", "evaluations")):
        expected = [(entry["step"], pytest.approx(entry[key], rel=1e-6)) for entry in entries(config.out, log)]
        assert [(each.step, each.value) for each in board.Scalars(name)] == expected


def test_a_picture_of_nothing_is_not_drawn(tmp_path: Path) -> None:
    draw([{"step": 1, "train_runtime": 1.0}], tmp_path)
    assert not list(tmp_path.iterdir())


class Card:
    """A GPU in words: the steps on it take 3 GiB of 4."""

    numbers: tuple[int, ...] = ()

    def begin(self) -> None:
        pass

    def peak(self) -> int:
        return 3 * 2**30

    def whole(self) -> int:
        return 4 * 2**30


@pytest.mark.slow
def test_memory_is_measured_on_the_longest_windows_and_changes_nothing(
    run_config: TrainConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """With adapters, whose dropout draws random numbers."""
    config = dataclasses.replace(run_config, language_model_lora=2, steps=3)
    train(config)
    seen: list[int] = []
    original = Florence2.loss

    def loss(self: Florence2, batch: Any, model: Any = None, soft: Any = None) -> torch.Tensor:
        seen.append(int((batch["labels"] != -100).sum()))
        return original(self, batch, model, soft)

    monkeypatch.setattr(Florence2, "loss", loss)
    monkeypatch.setattr(FamilyTrainer, "_is_measurable", lambda self: True)
    monkeypatch.setattr("lmm_detector._training._trainer.Device", Card)
    with caplog.at_level("INFO", logger="lmm_detector"):
        train(dataclasses.replace(config, out=str(tmp_path / "measured")))
    assert "memory: 3.0 of 4.0 GiB for a step" in caplog.text
    assert "on the 3 windows with the longest texts" in caplog.text
    texts = [json.loads(line)["text"] for line in (Path(config.out) / "texts.jsonl").read_text().splitlines()]
    family = _families.load(config.model_name_or_path)
    assert seen[0] == sum(sorted(family.count_tokens(texts))[-3:])
    assert [entry["loss"] for entry in entries(config.out)] == [
        entry["loss"] for entry in entries(tmp_path / "measured")
    ]


def test_too_little_memory_is_told_before_training(
    run_config: TrainConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(FamilyTrainer, "_is_measurable", lambda self: True)
    monkeypatch.setattr("lmm_detector._training._trainer.Device", Card)
    monkeypatch.setattr(Card, "whole", lambda self: 3 * 2**30 + 10)
    train(dataclasses.replace(run_config, steps=1))
    assert "a step is likely to need more memory than there is: 3.0 of 3.0 GiB" in caplog.text
