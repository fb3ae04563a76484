"""Training runs of two epochs, and what is told before one begins."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from rbox_baselines import Data, Detector, Views, predict, train
from rbox_baselines._checkpoints import read_checkpoint
from rbox_baselines.errors import BaselinesError, CheckpointError, ConfigError, StackError
from rbox_formats import datasets, synthetic
from rbox_formats.errors import DatasetError, ImageError
from rbox_metrics import evaluate_file
from rbox_testing import small_retinanet

NAMES = synthetic.CLASS_NAMES
# Two epochs, and every step in the log.
SMALL: dict[str, Any] = {**small_retinanet.SMALL, "default_hooks.logger.interval": 1, "train_cfg.max_epochs": 2}


@pytest.fixture(autouse=True)
def _mmrotate(mmrotate: ModuleType) -> None:
    pass


def _is_replaced(key: str, options: dict[str, Any]) -> bool:
    """Whether an option sets all of what another is a part of."""
    return any(key.startswith(f"{name}.") for name in options)


def trained(scenes: Path, work_dir: Path, options: dict[str, Any] | None = None, **settings: Any) -> Path:
    return train(
        small_retinanet.ZOO_NAME,
        work_dir,
        data=Data(str(scenes)),
        class_names=NAMES,
        image_size=64,
        options={
            **{key: value for key, value in SMALL.items() if not _is_replaced(key, options or {})},
            **(options or {}),
        },
        **{"backbone": "none", **settings},
    )


def lines(work_dir: Path) -> list[dict[str, Any]]:
    """What all runs of a folder logged, in their order."""
    logs = sorted(work_dir.glob("*/vis_data/scalars.json"))
    return [json.loads(line) for log in logs for line in log.read_text().splitlines()]


@pytest.fixture(scope="module")
def run(mmrotate: ModuleType, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch, and then on to the second."""
    work_dir = tmp_path_factory.mktemp("run")
    trained(scenes, work_dir, {"train_cfg.max_epochs": 1})
    trained(scenes, work_dir, resume=True)
    return work_dir


def test_it_logs_steps_and_scores(run: Path) -> None:
    steps = [line["step"] for line in lines(run) if "loss" in line]
    assert steps == [1, 2, 3, 4, 5, 6]
    # The epoch that the second run begins with is scored again: a run may be stopped before it was.
    assert [line["step"] for line in lines(run) if "rbox/map" in line] == [1, 1, 2]


def test_a_resumed_run_has_all_of_its_state(run: Path) -> None:
    last = read_checkpoint(run / "epoch_2.pth")
    assert last["meta"]["iter"] == 6
    # 6 steps of momentum: only an optimiser that was read back has them all.
    states = last["optimizer"]["state"].values()
    assert all(torch.isfinite(state["momentum_buffer"]).all() for state in states)
    assert len(last["message_hub"]["log_scalars"]["train/loss"].data[0]) == 6


def test_a_resumed_run_comes_to_the_weights_of_one_that_was_not_stopped(
    run: Path, scenes: Path, tmp_path: Path
) -> None:
    """Though images are turned by chance."""
    whole = read_checkpoint(trained(scenes, tmp_path))["state_dict"]
    resumed = read_checkpoint(run / "epoch_2.pth")["state_dict"]
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.variant)])
def test_a_run_that_was_killed_before_it_was_scored(workers: int, scenes: Path, tmp_path: Path) -> None:
    """It comes to the same weights, and to the same best checkpoint; also where other processes load the images."""
    loading = {f"{part}_dataloader.num_workers": workers for part in ("train", "val")}
    loading |= {f"{part}_dataloader.persistent_workers": workers > 0 for part in ("train", "val")}
    trained(scenes, tmp_path / "whole", loading)
    # As if it had been killed before the first epoch was scored.
    trained(scenes, tmp_path / "resumed", {**loading, "train_cfg.max_epochs": 1, "train_cfg.val_begin": 2})
    trained(scenes, tmp_path / "resumed", loading, resume=True)
    names = [sorted(path.name for path in (tmp_path / run).glob("*.pth")) for run in ("whole", "resumed")]
    assert names[0] == names[1]
    for name in names[0]:
        ours, theirs = (read_checkpoint(tmp_path / run / name)["state_dict"] for run in ("whole", "resumed"))
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items()), name


def test_nothing_of_a_checkpoint_is_run_when_it_is_gone_on_with(run: Path, scenes: Path, tmp_path: Path) -> None:
    """mmengine runs the text of the config that its older versions wrote. A file of another name is not taken."""
    saved = read_checkpoint(run / "epoch_1.pth")
    mark = tmp_path / "mark"
    saved["meta"]["config"] = f"a = __import__('pathlib').Path({str(mark)!r}).write_text('run')"
    torch.save(saved, tmp_path / "epoch_1.pth")
    torch.save({"state_dict": saved["state_dict"]}, tmp_path / "epoch_1-4aa34597.pth")
    last = trained(scenes, tmp_path, resume=True)
    assert last == tmp_path / "epoch_2.pth"
    assert not mark.exists()


def files_of_the_log() -> list[logging.Handler]:
    from mmengine.logging import MMLogger

    return [each for each in MMLogger.get_current_instance().handlers if isinstance(each, logging.FileHandler)]


def test_a_run_takes_its_file_from_the_log(run: Path) -> None:
    """mmengine writes how weights are drawn to the files of the last log, which a server's `dictConfig` has closed."""
    assert not files_of_the_log()
    assert "Epoch(train)" in next(run.glob("*/*.log")).read_text()


def test_the_best_checkpoint_is_kept(run: Path) -> None:
    assert len(list(run.glob("best_rbox_map_epoch_*.pth"))) == 1


def test_what_it_wrote_detects(run: Path, scenes: Path) -> None:
    detector = Detector.from_checkpoint(run / "epoch_2.pth")
    assert detector.class_names == NAMES
    assert detector.input_side == 64


@pytest.mark.slow
@pytest.mark.parametrize("by_config", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_starts_from_a_checkpoint(by_config: bool, checkpoint: Path, scenes: Path, tmp_path: Path) -> None:
    options = {"optim_wrapper.optimizer.lr": 0.0, "train_cfg.max_epochs": 1, "model.backbone.norm_eval": True}
    if by_config:
        options |= {"load_from": str(checkpoint), "model.backbone.init_cfg": None}
        last = trained(scenes, tmp_path, options, backbone=None)
    else:
        last = trained(scenes, tmp_path, options, load_from=checkpoint)
    before, after = (read_checkpoint(path)["state_dict"] for path in (checkpoint, last))
    assert all(torch.equal(value, after[name]) for name, value in before.items() if name.endswith("weight"))


@pytest.mark.slow
def test_a_backbone_from_a_file(checkpoint: Path, scenes: Path, tmp_path: Path) -> None:
    weights = read_checkpoint(checkpoint)["state_dict"]
    name = "backbone."
    alone = {key.removeprefix(name): value for key, value in weights.items() if key.startswith(name)}
    torch.save(alone, tmp_path / "resnet.pth")
    options = {"optim_wrapper.optimizer.lr": 0.0, "train_cfg.max_epochs": 1, "model.backbone.norm_eval": True}
    last = trained(scenes, tmp_path / "run", options, backbone=tmp_path / "resnet.pth")
    found = read_checkpoint(last)["state_dict"]
    assert torch.equal(found["backbone.conv1.weight"], alone["conv1.weight"])
    assert not torch.equal(found["neck.lateral_convs.0.conv.weight"], weights["neck.lateral_convs.0.conv.weight"])


def test_weights_of_another_backbone_are_refused(scenes: Path, tmp_path: Path) -> None:
    torch.save({"stem.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: expected the weights of this backbone"):
        trained(scenes, tmp_path / "run", backbone=tmp_path / "other.pth")


@pytest.mark.slow
def test_a_site_that_is_not_reached_is_named(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from urllib import request
    from urllib.error import URLError

    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(request, "urlopen", refuse)
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    with pytest.raises(StackError, match=r"got no network\n--backbone"):
        trained(
            scenes,
            tmp_path / "run",
            {"model.backbone.base_channels": 64, "model.neck.in_channels": [64, 128, 256, 512]},
            backbone=None,
        )


def broken_image(scenes: Path, root: Path) -> Path:
    import shutil

    shutil.copytree(scenes, root)
    path = sorted((root / "val" / "images").iterdir())[0]
    path.write_bytes(path.read_bytes()[:-200])
    return root


def test_a_broken_image_is_named_before_the_first_step(scenes: Path, tmp_path: Path) -> None:
    root = broken_image(scenes, tmp_path / "data")
    with pytest.raises(ImageError, match="expected a whole image"):
        trained(root, tmp_path / "run")
    assert not list((tmp_path / "run").glob("*/vis_data"))


def test_a_misspelt_setting_of_a_part_is_named(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"model can be built, got TypeError: .*unexpected keyword argument 'chanels'"
    ):
        trained(scenes, tmp_path / "run", {"model.bbox_head.chanels": 3})
    assert next((tmp_path / "run").glob("*/*.log")).is_file()
    assert not files_of_the_log()


def test_a_checkpoint_of_other_classes_is_refused(checkpoint: Path, scenes: Path, tmp_path: Path) -> None:
    saved = read_checkpoint(checkpoint)
    saved["meta"]["dataset_meta"] = {"classes": ("tram", "bus")}
    torch.save(saved, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="tram, bus"):
        trained(scenes, tmp_path / "run", load_from=tmp_path / "other.pth")


@pytest.mark.parametrize(
    "settings, options, error, message",
    [
        ({"amp": True}, {}, StackError, "expected a GPU for half precision"),
        ({"backbone": "no.pth"}, {}, ConfigError, "no.pth: expected a file with the backbone's weights"),
        (
            {"backbone": None},
            {"model.backbone.init_cfg.checkpoint": "no.pth"},
            ConfigError,
            "no.pth: expected a file of weights",
        ),
        ({"launcher": "slurm"}, {}, StackError, "expected a GPU for the launcher slurm"),
        ({"load_from": "no.pth"}, {}, CheckpointError, "no.pth: expected a checkpoint file, got none"),
        ({}, {"model.bbox_head.type": "RotatedRetinaHaed"}, ConfigError, "(?s)RotatedRetinaHaed.*Rotated.*Head"),
        ({}, {"train_dataloader": None}, ConfigError, "expected a config with training data"),
        ({}, {"work_dir": "elsewhere"}, ConfigError, "(?s)options of the config other than 'work_dir'.*--out"),
        ({}, {"launcher": "pytorch"}, ConfigError, "(?s)options of the config other than 'launcher'.*--launcher"),
        (
            {},
            {"default_hooks.checkpoint.save_best": "dota/mAPP"},
            ConfigError,
            r"(?s)save_best of CheckpointHook among rbox/map, .*dota/mAP, dota/AP50, got 'dota/mAPP'.*dota/mAP",
        ),
        (
            {},
            {"custom_hooks": [{"type": "EarlyStoppingHook", "monitor": "bbox_mAP"}]},
            ConfigError,
            "expected monitor of EarlyStoppingHook among rbox/map",
        ),
    ],
)
def test_bad_input_is_named_before_anything_begins(
    settings: dict[str, Any],
    options: dict[str, Any],
    error: type[BaselinesError],
    message: str,
    scenes: Path,
    tmp_path: Path,
) -> None:
    if (settings.get("amp") or settings.get("launcher")) and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(error, match=message):
        trained(scenes, tmp_path / "run", options, **settings)


def test_data_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"expected the dataset that the config names, got .*txt(?s:.)*--data"):
        train(small_retinanet.ZOO_NAME, tmp_path / "run", backbone="none")


def test_images_without_any_object_are_named(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "images").symlink_to(scenes / "train" / "images")
    (tmp_path / "train" / "labelTxt").mkdir()
    for path in (scenes / "train" / "labelTxt").iterdir():
        (tmp_path / "train" / "labelTxt" / path.name).touch()
    with pytest.raises(DatasetError, match="expected images with objects in the split 'train', got none"):
        train(
            small_retinanet.ZOO_NAME,
            tmp_path / "run",
            data=Data(str(tmp_path), val_split=None),
            class_names=NAMES,
            backbone="none",
        )


def test_half_precision_of_a_config_gives_way_on_a_cpu(scenes: Path, tmp_path: Path) -> None:
    from rbox_baselines import load_config
    from rbox_baselines._training._train import _set_precision

    config = load_config("rotated-retinanet-rbox-le90_r50_fpn_amp-1x_dota")
    assert config.optim_wrapper.type == "AmpOptimWrapper"
    _set_precision(config, amp=False)
    assert config.optim_wrapper.type == ("AmpOptimWrapper" if torch.cuda.is_available() else "OptimWrapper")
    assert "loss_scale" not in config.optim_wrapper


@pytest.mark.slow
@pytest.mark.parametrize("batch_size, factor", [pytest.param(2, 1, marks=pytest.mark.slow), (3, 1.5)])
def test_the_learning_rate_follows_the_batch(batch_size: int, factor: float, scenes: Path, tmp_path: Path) -> None:
    options = {
        "train_dataloader.batch_size": batch_size,
        "train_cfg.max_epochs": 1,
        "val_cfg": None,
        "val_dataloader": None,
        "val_evaluator": None,
        "param_scheduler": [],
    }
    trained(scenes, tmp_path, options, auto_scale_lr=True)
    assert {line["lr"] for line in lines(tmp_path) if "lr" in line} == {0.0025 * factor}


@pytest.mark.slow
def test_tensorboards_files_are_written(scenes: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    trained(scenes, tmp_path, {"train_cfg.max_epochs": 1}, tensorboard=True)
    assert list(tmp_path.glob("*/vis_data/events.out.tfevents.*"))


def test_tensorboard_that_is_not_installed_is_named(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import util

    found = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "tensorboard" else found(name))
    with pytest.raises(StackError, match=r"rbox-baselines\[tensorboard\]"):
        trained(scenes, tmp_path, tensorboard=True)


@pytest.mark.slow
def test_two_processes_share_a_run(scenes: Path, tmp_path: Path) -> None:
    """Half the steps, each on both processes' images; the score is that of all validation images."""
    options = [part for name, value in SMALL.items() for part in ("--cfg-options", f"{name}={json.dumps(value)}")]
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29533"),
        *(
            "-m",
            "rbox_baselines",
            "train",
            small_retinanet.ZOO_NAME,
            "--data",
            scenes,
            "--class-names",
            ",".join(NAMES),
        ),
        *("--out", tmp_path, "--image-size", "64", "--backbone", "none", "--launcher", "pytorch", *options),
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [line["step"] for line in lines(tmp_path) if "loss" in line] == [1, 2, 3, 4]
    [_, epoch_2] = [line for line in lines(tmp_path) if "rbox/map" in line]

    detector = Detector.from_checkpoint(tmp_path / "epoch_2.pth")
    truth = datasets.read("dota", scenes, "val", NAMES)
    views = Views(score_threshold=0.0)
    found = predict(detector, [record.file for record in truth], tmp_path / "found.jsonl", views=views)
    assert epoch_2["rbox/map"] == pytest.approx(evaluate_file(truth, found).figures["map"], abs=1e-6)


def by_steps(count: int) -> dict[str, Any]:
    """What makes a run count steps; mmengine takes `_delete_` out of the dict that it is given."""
    return {
        "train_cfg": {"_delete_": True, "type": "IterBasedTrainLoop", "max_iters": count, "val_interval": 2},
        "default_hooks.checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": 4, "save_last": False},
        "param_scheduler": [],
    }


def checkpoints(work_dir: Path) -> set[str]:
    return {path.name for path in work_dir.glob("*.pth") if not path.name.startswith("best_")}


@pytest.mark.slow
def test_a_config_that_counts_steps_keeps_its_checkpoints_and_one_to_resume_from(scenes: Path, tmp_path: Path) -> None:
    """Its own at step 4; ours beside it, replaced at each evaluation, and no more of them than one."""
    seen: list[set[str]] = []
    from mmengine.hooks import Hook
    from mmrotate.registry import HOOKS

    @HOOKS.register_module(force=True)
    class LookingHook(Hook):
        def before_train_iter(self, *_: Any, **__: Any) -> None:
            seen.append(checkpoints(tmp_path))

    options = {**by_steps(5), "custom_hooks": [{"type": "LookingHook"}]}
    last = trained(scenes, tmp_path, options)
    assert seen == [set(), set(), {"last.pth"}, {"last.pth"}, {"iter_4.pth"}]
    assert last.name == "iter_4.pth"
    # A run of six steps that was stopped behind its fifth: it goes on from the fourth.
    assert trained(scenes, tmp_path, by_steps(6), resume=True).name == "last.pth"
    assert checkpoints(tmp_path) == {"iter_4.pth", "last.pth"}
    assert read_checkpoint(tmp_path / "last.pth")["meta"]["iter"] == 6
    assert [line["step"] for line in lines(tmp_path) if "loss" in line] == [1, 2, 3, 4, 5, 5, 6]


@pytest.mark.slow
def test_what_a_config_says_of_checkpoints_holds(scenes: Path, tmp_path: Path) -> None:
    """None for three epochs, the best by MMRotate's own name, and the run goes on from the second all the same."""
    options = {"default_hooks.checkpoint.interval": 3, "default_hooks.checkpoint.save_best": "dota/mAP"}
    options |= {"default_hooks.checkpoint.save_last": False, "randomness.seed": 7}
    assert trained(scenes, tmp_path, options).name == "last.pth"
    assert checkpoints(tmp_path) == {"last.pth"}
    scores = [line for line in lines(tmp_path) if "rbox/map" in line]
    assert [line["dota/mAP"] for line in scores] == [line["rbox/map"] for line in scores]
    assert [line["dota/AP50"] for line in scores] == [line["rbox/map_50"] for line in scores]
    (best,) = tmp_path.glob("best_dota_mAP_epoch_*.pth")
    assert read_checkpoint(best)["meta"]["seed"] == 7
    last = trained(scenes, tmp_path, {**options, "train_cfg.max_epochs": 3, "resume": True})
    assert last.name == "epoch_3.pth"
    assert checkpoints(tmp_path) == {"epoch_3.pth"}
    assert [line["step"] for line in lines(tmp_path) if "loss" in line] == [*range(1, 10)]


@pytest.mark.slow
def test_a_seed_that_is_given_goes_before_the_config_s(scenes: Path, tmp_path: Path) -> None:
    options = {"randomness.seed": 7, "train_cfg.max_epochs": 1}
    assert read_checkpoint(trained(scenes, tmp_path, options, seed=5))["meta"]["seed"] == 5
