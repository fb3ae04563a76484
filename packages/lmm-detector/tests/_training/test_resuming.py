"""That a stopped run goes on with what it has learnt, with every family, whatever names its weights have in files."""

from __future__ import annotations

import dataclasses
import json
import pickle
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from lmm_detector import Detector, TrainConfig, merge_adapters, train
from lmm_detector._families import FAMILIES
from lmm_detector._prediction._generation import Generation
from lmm_detector._training._run_folder import check_ends, written
from lmm_detector._training._trainer import FamilyTrainer
from lmm_detector.errors import ModelError, RunError
from rbox_formats import ClassNames, codecs
from rbox_testing.layouts import Layout, every, rewrite
from rbox_testing.samples import sampled
from rbox_testing.tiny_families import save_tiny
from safetensors.torch import load_file, save_file

# One whose names and settings on the hub are the oldest, and one in both layouts; florence2 is in test_train.py.
BY_DEFAULT: list[tuple[str, Layout]] = [("qwen2_5_vl", "hub")]


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "losses.jsonl").read_text().splitlines()]


def stopped(run: Path, out: Path) -> Path:
    """A copy of a run that was stopped behind its first checkpoint."""
    shutil.copytree(run, out)
    shutil.rmtree(out / "model")
    last = max((out / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    shutil.rmtree(last)
    return out


@pytest.mark.parametrize("adapters", [pytest.param(None, marks=pytest.mark.slow), 2], ids=["whole", "adapters"])
@pytest.mark.parametrize("each", every(FAMILIES, BY_DEFAULT))
def test_a_stopped_run_comes_to_the_same_detector(
    each: tuple[str, Layout],
    adapters: int | None,
    run_config: TrainConfig,
    tmp_path: Path,
    class_names: ClassNames,
    scenes: Path,
) -> None:
    """With what the hub has, and the newest names; adapters merged detect what they did beside their base."""
    model_type, layout = each
    start = rewrite(save_tiny(model_type, tmp_path / "start", class_names, codecs.get("florence2")), layout)
    config = dataclasses.replace(
        run_config,
        model_name_or_path=str(start),
        language_model_lora=adapters,
        learning_rate=1e-2,
        steps=4,
        save_every=2,
        out=str(tmp_path / "whole"),
    )
    whole = train(config)
    cut = stopped(tmp_path / "whole", tmp_path / "cut")
    again = train(dataclasses.replace(config, out=str(cut)))
    assert losses(cut) == losses(tmp_path / "whole")
    name = "adapter_model.safetensors" if adapters else "model.safetensors"
    first, second, begun = load_file(whole / name), load_file(again / name), load_file(start / "model.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert adapters or any(not torch.equal(first[key], begun[key]) for key in begun.keys() & first.keys())

    paths = sorted((scenes / "train" / "images").iterdir())
    folders = [whole, merge_adapters(again, tmp_path / "merged") if adapters else again]
    generation = Generation(max_new_tokens=20, max_repeats=0)
    ours, theirs = ([*Detector.from_pretrained(each, device="cpu").predict(paths, generation)] for each in folders)
    assert [each.text for each in ours] == [each.text for each in theirs]
    assert any(each.text for each in ours)


@pytest.mark.parametrize("adapters", sampled([None, 2], [2]), ids=["whole", "adapters"])
def test_a_checkpoint_with_other_weights_is_not_gone_on_with(
    adapters: int | None, run_config: TrainConfig, tmp_path: Path
) -> None:
    config = dataclasses.replace(
        run_config, language_model_lora=adapters, steps=2, save_every=1, out=str(tmp_path / "whole")
    )
    train(config)
    cut = stopped(tmp_path / "whole", tmp_path / "cut")
    [path] = (cut / "checkpoints").glob(f"*/{'adapter_' if adapters else ''}model.safetensors")
    weights = load_file(path)
    name = next(name for name in weights if "weight" in name)
    save_file({f"{key}x" if key == name else key: value for key, value in weights.items()}, path, {"format": "pt"})
    with pytest.raises((RunError, ModelError), match="expected"):
        train(dataclasses.replace(config, out=str(cut)))


class Planted:
    """What makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


BROKEN = "expected a checkpoint of `lmm-detector train`, got"
# Which file of a checkpoint is damaged, how, and what is said of it.
DAMAGED = [
    ("optimizer.pt", "pickle", BROKEN),
    ("optimizer.pt", "gone", "expected the state of the optimiser in optimizer.pt or optimizer.bin, found none"),
    ("scheduler.pt", "pickle", BROKEN),
    ("scheduler.pt", "gone", "expected the state of the schedule in scheduler.pt, found none"),
    ("rng_state.pth", "pickle", BROKEN),
    ("trainer_state.json", "half", BROKEN),
    ("trainer_state.json", "5", BROKEN),
    ("adapter_model.safetensors", "half", BROKEN),
]


@pytest.mark.parametrize("name, damage, message", sampled(DAMAGED, DAMAGED[:1]))
def test_a_damaged_checkpoint_is_an_error_that_names_it(
    name: str, damage: str, message: str, run_config: TrainConfig, tmp_path: Path
) -> None:
    """Nothing in it is run, and no run goes on with an optimiser of its own that begins anew."""
    adapters = 2 if name.startswith("adapter") else None
    config = dataclasses.replace(
        run_config, language_model_lora=adapters, steps=2, save_every=1, out=str(tmp_path / "whole")
    )
    train(config)
    cut = stopped(tmp_path / "whole", tmp_path / "cut")
    [path] = (cut / "checkpoints").glob(f"*/{name}")
    if damage == "pickle":
        path.write_bytes(pickle.dumps(Planted(tmp_path / "planted"), protocol=2))
    elif damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "gone":
        path.unlink()
    else:
        path.write_text(damage)
    with pytest.raises(RunError, match=f"checkpoint-1: {message}") as caught:
        train(dataclasses.replace(config, out=str(cut)))
    assert "Remove this folder" in str(caught.value)
    assert not (tmp_path / "planted").exists()
    shutil.rmtree(path.parent)  # as it says
    assert losses(train(dataclasses.replace(config, out=str(cut))).parent) == losses(tmp_path / "whole")


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """The system writes no byte behind so many of a file, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Which file, and after how many bytes.
FAILING = [("model.safetensors", 1), ("optimizer.pt", 1), ("optimizer.pt", 2**20)]


@pytest.mark.slow
@pytest.mark.parametrize("failing, short", sampled(FAILING, FAILING[1:2]))
def test_a_checkpoint_that_cannot_be_written(
    failing: str, short: int, run_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """safetensors and PyTorch each say it in their way; the run comes to what it would have come to."""
    config = dataclasses.replace(run_config, steps=2, save_every=1, out=str(tmp_path / "whole"))
    train(config)
    size = (tmp_path / "whole" / "checkpoints" / "checkpoint-2" / failing).stat().st_size

    cut = dataclasses.replace(config, out=str(tmp_path / "cut"))
    save = FamilyTrainer._save_checkpoint

    def second_fails(self: FamilyTrainer, *arguments: Any) -> None:
        with files_up_to(size - short) if self.state.global_step == 2 else nullcontext():
            save(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(FamilyTrainer, "_save_checkpoint", second_fails)
        found = r"cut/checkpoints/checkpoint-2: expected a disk to write on, got .* GiB are free\)\n.*The same command"
        with pytest.raises(RunError, match=found):
            train(cut)
    ours, theirs = (load_file(train(each) / "model.safetensors") for each in (cut, config))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_what_another_process_still_writes_is_not_cut(tmp_path: Path) -> None:
    """The processes of a run write a checkpoint together, and look at it when all have done so."""
    (tmp_path / "optimizer.pt").write_bytes(b"PK")
    with written(tmp_path):
        pass
    with pytest.raises(RunError, match=r"got OSError: the end of optimizer\.pt is missing"), written(tmp_path):
        check_ends(tmp_path)


def test_errors_that_are_no_disks_stay_as_they_are(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match="a: expected a disk to write on, got OSError: No space left"),
        written(tmp_path / "a"),
    ):
        raise OSError("No space left on device")
    for error in (RuntimeError("CUDA error"), RunError("expected a finite loss")):
        with pytest.raises(type(error)) as caught, written(tmp_path / "a"):
            raise error
        assert caught.value is error
