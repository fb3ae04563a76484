"""The vision tower's warm-up: that it helps, goes on where it was stopped, and is not done twice."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lmm_detector import TrainConfig, train
from lmm_detector._training import _vision_warm_up
from lmm_detector._training._config import to_yaml
from lmm_detector._training._dense_head import DenseHead
from lmm_detector._training._mixing import EpochSampler, Place, epoch_order
from lmm_detector._training._vision_warm_up import FOLDER, LOG, factor
from lmm_detector.errors import ConfigError, RunError
from rbox_formats import ClassNames, codecs, synthetic
from rbox_testing.tiny_families import save_tiny
from safetensors.torch import load_file


@pytest.fixture
def config(run_config: TrainConfig) -> TrainConfig:
    return dataclasses.replace(run_config, vision_warm_up=5, save_every=2, steps=2)


@pytest.fixture
def random_config(config: TrainConfig, tmp_path: Path) -> TrainConfig:
    """Of a model that draws random numbers as it learns, as published ones do: dropped paths, dropout."""
    folder = shutil.copytree(config.model_name_or_path, tmp_path / "random")
    settings = json.loads((folder / "config.json").read_text())
    settings["vision_config"]["drop_path_rate"] = settings["text_config"]["dropout"] = 0.3
    (folder / "config.json").write_text(json.dumps(settings))
    return dataclasses.replace(config, model_name_or_path=str(folder))


def entries(out: str | Path, name: str = "losses.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(out) / name).read_text().splitlines()]


def seen(out: str | Path) -> list[tuple[int, float]]:
    return [(entry["step"], entry["loss"]) for entry in entries(out, LOG)]


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Ends a warm-up in the middle of a step, as Ctrl-C does."""
    original = DenseHead.loss

    def stop_at(call: int) -> None:
        calls = iter(range(1, 1000))

        def loss(self: DenseHead, *arguments: Any, **options: Any) -> Any:
            if next(calls) == call:
                monkeypatch.setattr(DenseHead, "loss", original)
                raise KeyboardInterrupt
            return original(self, *arguments, **options)

        monkeypatch.setattr(DenseHead, "loss", loss)

    return stop_at


def changed(config: TrainConfig) -> set[str]:
    """The parts of a model whose weights are not those that it began with."""
    before = load_file(Path(config.model_name_or_path) / "model.safetensors")
    after = load_file(Path(config.out) / FOLDER / "vision.safetensors")
    assert after.keys() <= before.keys()
    return {name.split(".")[1] for name in after if not torch.equal(before[name], after[name])}


def stopped_before_training(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("lmm_detector._training._train.FamilyTrainer.fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(config)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_vision_tower_and_projection_learn(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_before_training(config, monkeypatch)
    assert changed(config) == {"vision_tower", "multi_modal_projector"}
    log = entries(config.out, LOG)
    assert [entry["step"] for entry in log] == [1, 2, 3, 4, 5]
    for entry in log:
        assert entry["loss"] == pytest.approx(entry["there"] + entry["class"] + entry["box"])
        assert entry["windows_per_second"] > 0
    assert log[-1]["loss"] < log[0]["loss"]
    train(config)
    assert [set(entry) & {"there", "box"} for entry in entries(config.out)] == [set()] * 2
    assert not (Path(config.out) / FOLDER).exists()
    assert [entry["step"] for entry in entries(config.out, LOG)] == [1, 2, 3, 4, 5]


def test_a_frozen_projection_stays(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    config = dataclasses.replace(config, freeze_multimodal_projection=True)
    stopped_before_training(config, monkeypatch)
    assert changed(config) == {"vision_tower"}


@pytest.mark.slow
def test_one_that_was_stopped_goes_on_to_the_same(
    random_config: TrainConfig, stop_at: Callable[[int], None], tmp_path: Path
) -> None:
    """From its last state, with the same losses, also of training behind it."""
    config = dataclasses.replace(random_config, augmentation={"horizontal_flip": 0.5, "rotation": 0.5}, workers=1)
    whole = dataclasses.replace(config, out=str(tmp_path / "whole"))
    train(whole)
    stop_at(4)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    assert [step for step, _ in seen(config.out)] == [1, 2, 3]
    assert (Path(config.out) / FOLDER / "newest.pt").is_file()
    train(config)
    assert seen(config.out) == seen(whole.out)
    assert [entry["loss"] for entry in entries(config.out)] == [entry["loss"] for entry in entries(whole.out)]


@pytest.mark.slow
def test_one_that_was_killed_goes_on_to_the_same(
    config: TrainConfig, start: Callable[..., Any], tmp_path: Path
) -> None:
    """SIGKILL once there is a state, with states so often that it may fall into the writing of one."""
    config = dataclasses.replace(config, vision_warm_up=10, save_every=1)
    settings = tmp_path / "settings.yaml"
    settings.write_text(to_yaml(config), encoding="utf-8")
    process = start(["train", "--config", settings])
    deadline = time.monotonic() + 120
    while not (Path(config.out) / FOLDER / "newest.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output
    assert len(seen(config.out)) < 10
    whole = dataclasses.replace(config, out=str(tmp_path / "whole"))
    (tmp_path / "whole.yaml").write_text(to_yaml(whole), encoding="utf-8")
    for path in (settings, tmp_path / "whole.yaml"):  # with as many threads as the killed one: sums are theirs
        process = start(["train", "--config", path])
        output, _ = process.communicate()
        assert process.returncode == 0, output
    assert seen(config.out) == seen(whole.out)
    assert [entry["loss"] for entry in entries(config.out)] == [entry["loss"] for entry in entries(whole.out)]


@pytest.mark.slow
def test_it_is_not_done_twice(
    random_config: TrainConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = random_config
    whole = dataclasses.replace(config, out=str(tmp_path / "whole"))
    train(whole)
    stopped_before_training(config, monkeypatch)
    with monkeypatch.context() as patch, caplog.at_level("INFO", logger="lmm_detector"):
        patch.setattr(_vision_warm_up, "_learn", interrupted)
        train(config)
    assert "the vision tower is warm already" in caplog.text
    assert [entry["loss"] for entry in entries(config.out)] == [entry["loss"] for entry in entries(whole.out)]


@pytest.mark.slow
def test_other_settings_begin_anew(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_before_training(config, monkeypatch)
    first = seen(config.out)
    other = dataclasses.replace(config, seed=5)
    stopped_before_training(other, monkeypatch)
    assert seen(other.out) != first
    stopped_before_training(config, monkeypatch)
    assert seen(config.out) == first


@pytest.mark.slow
def test_a_run_that_goes_on_from_a_checkpoint_has_it_behind(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(config, steps=4)
    with monkeypatch.context() as patch:
        patch.setattr("lmm_detector._training._train._run_folder.finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    monkeypatch.setattr(_vision_warm_up, "warm_up", interrupted)
    train(config)


@pytest.mark.slow
@pytest.mark.variant
def test_rounds_and_processes_do_not_change_it(
    config: TrainConfig, start_two: Callable[..., Any], tmp_path: Path
) -> None:
    config = dataclasses.replace(config, batch_size=4, device_batch_size=4)
    train(config)
    expected = [loss for _, loss in seen(config.out)]
    rounds = dataclasses.replace(config, device_batch_size=1, out=str(tmp_path / "rounds"))
    train(rounds)
    both = dataclasses.replace(config, device_batch_size=2, out=str(tmp_path / "both"))
    settings = tmp_path / "settings.yaml"
    settings.write_text(to_yaml(both), encoding="utf-8")
    command = start_two(["train", "--config", settings])
    output, _ = command.communicate()
    assert command.returncode == 0, output
    for each in (rounds, both):
        assert [loss for _, loss in seen(each.out)] == pytest.approx(expected, rel=2e-3)
        assert seen(each.out)[0][1] == pytest.approx(expected[0], rel=1e-5)


@pytest.mark.parametrize("model_type", [pytest.param("paligemma", marks=pytest.mark.slow), "qwen2_5_vl"])
def test_other_models_with_a_grid(
    model_type: str, config: TrainConfig, class_names: ClassNames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = save_tiny(model_type, tmp_path / "start", class_names, codecs.get("florence2"))
    config = dataclasses.replace(config, model_name_or_path=str(start), vision_warm_up=12)
    stopped_before_training(config, monkeypatch)
    assert seen(config.out)[-1][1] < 0.9 * seen(config.out)[0][1]


@pytest.mark.slow
def test_beneath_adapters(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vision tower is a copy there, or learns through adapters itself; in half precision."""
    for vision in (False, True):
        out = f"{config.out}-{vision}"
        adapted = dataclasses.replace(
            config, language_model_lora=2, lora_vision=vision, precision="bfloat16", vision_warm_up=12, out=out
        )
        stopped_before_training(adapted, monkeypatch)
        names = load_file(Path(out) / FOLDER / "vision.safetensors").keys()
        assert any("lora" in name for name in names) is vision
        assert seen(out)[-1][1] < seen(out)[0][1]


def test_models_that_see_tiles_are_refused(config: TrainConfig, class_names: ClassNames, tmp_path: Path) -> None:
    start = save_tiny("internvl", tmp_path / "start", class_names, codecs.get("florence2"))
    config = dataclasses.replace(config, model_name_or_path=str(start))
    with pytest.raises(ConfigError) as caught:
        train(config)
    assert "a model of type 'internvl', which sees images in tiles" in str(caught.value)
    assert "florence2, paligemma, qwen2_vl, qwen2_5_vl, qwen3_vl, qwen3_vl_moe, glm4v, gemma3" in str(caught.value)
    assert not Path(config.out).exists()


@pytest.mark.slow
def test_a_state_of_other_settings_is_not_gone_on_from(
    config: TrainConfig, stop_at: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(4)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    assert (Path(config.out) / FOLDER / "newest.pt").is_file()
    other = dataclasses.replace(config, seed=5)
    stopped_before_training(other, monkeypatch)
    found = seen(other.out)
    fresh = dataclasses.replace(other, out=f"{other.out}-fresh")
    stopped_before_training(fresh, monkeypatch)
    assert found == seen(fresh.out)


def test_settings_that_do_not_fit(config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match="expected vision_warm_up or freeze_vision, got both"):
        dataclasses.replace(config, freeze_vision=True)
    for change in ({"deepspeed": "zero2"}, {"fsdp": "full"}):
        with pytest.raises(ConfigError, match="expected no vision_warm_up with DeepSpeed or FSDP"):
            dataclasses.replace(config, **change)


def test_a_loss_that_is_not_a_number_is_told(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    original = DenseHead.loss

    def loss(self: DenseHead, *arguments: Any, **options: Any) -> Any:
        return {name: value * float("nan") for name, value in original(self, *arguments, **options).items()}

    monkeypatch.setattr(DenseHead, "loss", loss)
    with pytest.raises(RunError, match="expected a finite loss of the vision tower's warm-up, got nan"):
        train(config)


@pytest.mark.slow
@pytest.mark.variant  # training from nothing: what a seed gives differs with the number of threads
def test_texts_are_learnt_faster_after_it(config: TrainConfig, tmp_path: Path) -> None:
    """Without it the model knows the eight texts by heart, and not yet which is whose: the loss stays where that leaves
    it, the logarithm of 8 shared by a text's tokens. With it, after as many steps, it tells images apart. A single seed
    may say otherwise; the mean of two does not.
    """
    synthetic.write_scenes(tmp_path / "eight", "train", range(8), synthetic.TINY)
    config = dataclasses.replace(
        config,
        data_path=[str(tmp_path / "eight")],
        batch_size=4,
        device_batch_size=4,
        learning_rate=2e-3,
        steps=160,
        save_every=160,
        log_every=40,
    )
    losses: dict[int, list[float]] = {0: [], 100: []}
    for seed in (0, 1):
        for steps, found in losses.items():
            out = tmp_path / f"{seed}-{steps}"
            train(dataclasses.replace(config, seed=seed, vision_warm_up=steps, out=str(out)))
            found.append(entries(out)[-1]["loss"])
    assert sum(losses[100]) < sum(losses[0]), losses


def test_windows_are_those_of_trainings_epochs() -> None:
    """Five windows, two to a step, three steps to an epoch; from the second step to the seventh."""
    sampler = EpochSampler([5], "single", seed=3, multiple=2)
    sampler.set_epoch(7)
    expected = []
    for epoch in range(3):
        order = epoch_order([5], "single", 3, epoch, 2).tolist()
        expected += [[Place(epoch, number) for number in order[at : at + 2]] for at in (0, 2, 4)]
    assert list(_vision_warm_up._places(sampler, 2, 1, 7)) == expected[1:7]
    assert sampler.epoch == 7


def test_learning_rates_worked_by_hand() -> None:
    """Of 60 steps: a rise over 3, and from the 40th on down to a tenth."""
    assert [factor(step, 60) for step in (0, 1, 2, 40)] == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert factor(50, 60) == pytest.approx(0.1 + 0.9 / 2)
    assert factor(59, 60) == pytest.approx(0.1 + 0.9 / 20)
    assert factor(0, 1) == pytest.approx(1)
