"""Training runs: that they learn, and that a killed one goes on as if nothing had been."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lmm_detector import Detector, TrainConfig, _families, train
from lmm_detector._families import Sample
from lmm_detector._prediction._detector import Generation
from lmm_detector._training._config import to_yaml
from lmm_detector._training._preparation import prepared
from lmm_detector.errors import ConfigError, ModelError, RunError
from rbox_formats import ClassNames, codecs, images, synthetic
from rbox_formats.errors import CodecError, DatasetError
from rbox_testing.layouts import rewrite
from rbox_testing.samples import sampled
from rbox_testing.tiny_families import save_tiny
from rbox_testing.tiny_florence2 import save_tiny_florence2
from safetensors.torch import load_file


@pytest.fixture
def config(run_config: TrainConfig) -> TrainConfig:
    return dataclasses.replace(run_config, steps=12, save_every=4)


def losses(out: str | Path) -> list[tuple[int, float]]:
    lines = (Path(out) / "losses.jsonl").read_text().splitlines()
    return [(entry["step"], entry["loss"]) for entry in map(json.loads, lines)]


def test_a_run_learns_and_leaves_a_detector(config: TrainConfig, tiny_model: Path) -> None:
    folder = train(config)
    steps, values = zip(*losses(config.out), strict=True)
    assert steps == tuple(range(1, 13))
    assert values[-1] < 0.9 * values[0]
    assert values[0] == pytest.approx(math.log(1340), rel=0.05)  # untrained: the vocabulary's entropy
    detector = Detector.from_pretrained(folder, device="cpu")
    assert detector.class_names == tuple(config.class_names or ())
    assert (detector.spec.window, detector.spec.gap) == (96, 0)
    before, after = (load_file(path / "model.safetensors") for path in (tiny_model, folder))
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert any("vision" in name for name in changed)
    assert any("decoder" in name for name in changed)


def test_a_finished_run_is_not_run_again(config: TrainConfig) -> None:
    config = dataclasses.replace(config, steps=1)
    folder = train(config)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert train(dataclasses.replace(config, workers=1)) == folder
    assert (folder / "model.safetensors").stat().st_mode & 0o044
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


# A model in the layout of the hub's, and the rank of adapters; None: the tiny Florence-2, and whole weights.
KILLED = [(None, None), ("qwen2_5_vl", None), ("qwen2_5_vl", 2)]


@pytest.mark.slow
@pytest.mark.parametrize("model_type, rank", sampled(KILLED, KILLED[:1]))
def test_a_killed_run_goes_on_to_the_same_losses_and_weights(
    model_type: str | None,
    rank: int | None,
    start: Callable[..., Any],
    config: TrainConfig,
    tmp_path: Path,
    class_names: ClassNames,
) -> None:
    """SIGKILL at three instants, one in the middle of a write; exactly the same numbers at the end.

    The steps are no multiple of an epoch's, the checkpoints fall into the middle of epochs and between logged losses.
    """
    # The same words for both folders: they are part of the settings.
    config = dataclasses.replace(config, out="run", steps=11, save_every=3, log_every=2, schedule="constant")
    if model_type is not None:
        base = rewrite(save_tiny(model_type, tmp_path / "base", class_names, codecs.get("florence2")), "hub")
        config = dataclasses.replace(config, model_name_or_path=str(base), language_model_lora=rank, learning_rate=1e-2)
    weights = "adapter_model.safetensors" if rank else "model.safetensors"
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "given.yaml").write_text(to_yaml(config))
    _run(start, tmp_path / "whole")

    out = tmp_path / "killed" / "run"
    instants = [
        out / "checkpoints" / "checkpoint-3" / "detector.json",
        out / "checkpoints" / "checkpoint-6" / weights,
        out / ".model" / ("adapter_config.json" if rank else "config.json"),
    ]
    killed = []
    for instant in instants:
        killed.append(_killed_at(instant, start, tmp_path / "killed"))
        shutil.rmtree(out / "model", ignore_errors=True)  # where the signal came too late
    assert all(killed[:2])  # behind the last checkpoint there are only milliseconds to come
    _run(start, tmp_path / "killed")

    assert losses(out) == losses(tmp_path / "whole" / "run")
    ours, theirs = (load_file(tmp_path / name / "run" / "model" / weights) for name in ("killed", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def _run(start: Callable[..., Any], folder: Path) -> None:
    process = start(["train", "--config", "given.yaml"], cwd=folder)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


def _killed_at(instant: Path, start: Callable[..., Any], folder: Path) -> bool:
    """Whether the run was killed once a file was there, rather than ended before the signal came."""
    process = start(["train", "--config", "given.yaml"], cwd=folder)
    deadline = time.monotonic() + 120
    while not instant.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    output, _ = process.communicate()
    assert process.returncode in (-signal.SIGKILL, 0), output
    return bool(process.returncode == -signal.SIGKILL)


def learning_rates(out: str) -> list[float]:
    lines = (Path(out) / "losses.jsonl").read_text().splitlines()
    return [entry["learning_rate"] for entry in map(json.loads, lines)]


@pytest.mark.slow
@pytest.mark.parametrize("schedule", sampled(["constant", "linear", "cosine"], ["cosine"]))
def test_learning_rates_follow_the_schedule(schedule: str, config: TrainConfig) -> None:
    """Worked by hand: a rise over the first quarter of 8 steps, then the schedule; the rate of a step is set before."""
    train(dataclasses.replace(config, schedule=schedule, warmup=0.25, steps=8))
    shapes = {
        "constant": lambda t: 1.0,
        "linear": lambda t: 1 - t,
        "cosine": lambda t: (1 + math.cos(math.pi * t)) / 2,
    }
    expected = [
        config.learning_rate * (step / 2 if step < 2 else shapes[schedule]((step - 2) / 6)) for step in range(8)
    ]
    assert learning_rates(config.out) == pytest.approx(expected, abs=1e-9)


def losses_of(config: TrainConfig, out: Path, **changes: Any) -> list[float]:
    config = dataclasses.replace(config, out=str(out), **changes)
    train(config)
    return [loss for _, loss in losses(config.out)]


@pytest.mark.slow
def test_what_changes_losses_and_what_does_not(config: TrainConfig, tmp_path: Path) -> None:
    config = dataclasses.replace(config, steps=3, batch_size=2, device_batch_size=2)
    first = losses_of(config, tmp_path / "1")
    assert losses_of(config, tmp_path / "2") == first
    assert losses_of(config, tmp_path / "3", workers=2) == first
    halves = losses_of(config, tmp_path / "4", device_batch_size=1)
    assert halves == pytest.approx(first, rel=1e-5)
    changes = [
        {"seed": 1},
        {"prompt": "ship"},
        {"precision": "bfloat16"},
        {"weight_decay": 10.0},
        {"learning_rate": 1e-4},
    ]
    others = [losses_of(config, tmp_path / f"c{i}", **change) for i, change in enumerate(changes)]
    assert all(other != first for other in others)


@pytest.mark.slow
def test_epochs_are_passes_over_all_windows(config: TrainConfig) -> None:
    """Four windows in threes are two steps an epoch, the second one short."""
    train(dataclasses.replace(config, steps=None, epochs=3))
    assert [step for step, _ in losses(config.out)] == list(range(1, 7))


def test_paths_and_class_names_of_any_kind(config: TrainConfig, scenes: Path) -> None:
    config = dataclasses.replace(config, data_path=scenes, steps=1, class_names=tuple(config.class_names or ()))  # type: ignore[arg-type]
    assert train(config) == train(config)


def test_another_runs_folder_is_refused(config: TrainConfig, scenes: Path) -> None:
    config = dataclasses.replace(config, steps=1)
    train(config)
    with pytest.raises(RunError, match=r"settings\.yaml: .*learning_rate 0\.002, not 0\.01"):
        train(dataclasses.replace(config, learning_rate=0.01))


def test_a_dataset_that_has_changed_is_noticed(config: TrainConfig, scenes: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "train"
    for path in (scenes / "train").glob("*/*"):
        (copy / path.parent.name).mkdir(parents=True, exist_ok=True)
        (copy / path.parent.name / path.name).write_bytes(path.read_bytes())
    config = dataclasses.replace(config, data_path=[str(tmp_path / "copy")], steps=1)
    (train(config) / "detector.json").unlink()  # as if it had been killed just before
    label = next((copy / "labelTxt").glob("*.txt"))
    label.write_text("1 1 30 1 30 30 1 30 ship 0\n")
    with pytest.raises(RunError, match="the dataset has changed"):
        train(config)


@pytest.mark.parametrize(
    "change, error",
    [
        ({"data_path": ["nowhere"]}, DatasetError),
        ({"split": ["test"]}, DatasetError),
        ({"format": ["voc"]}, DatasetError),
        ({"model_name_or_path": "nowhere"}, ModelError),
        ({"class_names": ["ship"]}, DatasetError),
        ({"gap": 96}, ValueError),
        ({"report_to": "nobody"}, ConfigError),
        ({"codec_options": {"bins": 3}}, CodecError),
        ({"precision": "float16"}, ConfigError),
        ({"prompt": "Find <image>."}, ModelError),
        ({"class_names": [*synthetic.CLASS_NAMES, "a <image>"]}, ModelError),
    ],
)
def test_nothing_is_written_before_everything_is_checked(
    change: dict[str, Any], error: type[Exception], config: TrainConfig
) -> None:
    with pytest.raises(error, match="expected"):
        train(dataclasses.replace(config, **change))
    assert not Path(config.out).exists()


@pytest.mark.slow
def test_half_precisions_that_the_cpu_has(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training and evaluation compute in the same; float16 is a GPU's."""
    with pytest.raises(ConfigError, match="expected a GPU for precision float16, got none\nOn the CPU take --prec"):
        train(dataclasses.replace(config, precision="float16"))
    linear, seen = torch.nn.functional.linear, set()

    def spied(*arguments: Any) -> torch.Tensor:
        found = linear(*arguments)
        seen.add((torch.is_grad_enabled(), found.dtype))
        return found

    monkeypatch.setattr("torch.nn.functional.linear", spied)
    evaluated: dict[str, Any] = {"eval_split": "val", "eval_metric": "loss"}
    train(dataclasses.replace(config, precision="bfloat16", steps=1, **evaluated))
    assert seen == {(True, torch.bfloat16), (False, torch.bfloat16)}


def test_a_loss_that_is_not_a_number_stops_the_run(config: TrainConfig) -> None:
    config = dataclasses.replace(config, steps=3)
    with pytest.raises(
        RunError, match=r"expected a finite loss, got nan at step \d+, first with .*\nLower the learning rate"
    ):
        train(dataclasses.replace(config, learning_rate=1e30, warmup=0.0, schedule="constant"))
    assert not (Path(config.out) / "model").exists()
    assert train(config).name == "model"  # nothing was begun that would bind to the first settings


@pytest.mark.parametrize(
    "name, value",
    [
        ("schedule", "sideways"),
        ("learning_rate", -1.0),
        ("workers", -1),
        ("epochs", 0.0),
        ("warmup", 5.0),
        ("seed", -1),
    ],
)
def test_settings_out_of_range(name: str, value: Any, config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match=f"expected .*{name}.*, got '?{value}"):
        dataclasses.replace(config, **{name: value})


@pytest.mark.slow
def test_several_datasets_are_mixed_and_a_killed_run_finds_its_place(
    config: TrainConfig, scenes: Path, tmp_path: Path
) -> None:
    """Two steps are left of a run that was cut in mid-epoch: with augmentation they come to the same losses."""
    mixed = dataclasses.replace(
        config,
        data_path=[str(scenes), str(scenes)],
        split=["train", "val"],
        dataset_mode="balanced",
        object_order="random",
        augmentation={"horizontal_flip": 0.5, "quarter_turns": 0.5},
        steps=8,
        save_every=3,
    )
    train(mixed)
    cut = dataclasses.replace(mixed, out=str(tmp_path / "cut"))
    shutil.copytree(mixed.out, cut.out)
    shutil.rmtree(Path(cut.out) / "model")
    shutil.rmtree(Path(cut.out) / "checkpoints" / "checkpoint-8")
    train(cut)
    assert losses(cut.out) == losses(mixed.out)
    first, second = (load_file(Path(out) / "model" / "model.safetensors") for out in (mixed.out, cut.out))
    assert all(torch.equal(first[name], second[name]) for name in first)
    plain = dataclasses.replace(mixed, augmentation={}, out=str(tmp_path / "plain"))
    train(plain)
    assert losses(plain.out) != losses(mixed.out)


@pytest.mark.slow
def test_two_processes_train_as_one_does_and_go_on_in_any_number(
    start_two: Callable[..., Any], config: TrainConfig, tmp_path: Path
) -> None:
    """The same losses within 1e-5, also where a run is cut in mid-epoch and goes on by one process, or by two."""

    def run_by_two(config: TrainConfig) -> None:
        path = tmp_path / "two.yaml"
        path.write_text(to_yaml(config), encoding="utf-8")
        process = start_two(["train", "--config", path])
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output

    config = dataclasses.replace(
        config, batch_size=2, steps=6, save_every=3, warmup=0.0, augmentation={"horizontal_flip": 0.5}
    )
    alone = losses_of(config, tmp_path / "alone")
    both = dataclasses.replace(config, out=str(tmp_path / "both"))
    run_by_two(both)
    assert [loss for _, loss in losses(both.out)] == pytest.approx(alone, rel=1e-5)

    for name, go_on in (("one", train), ("two", run_by_two)):
        cut = dataclasses.replace(config, out=str(tmp_path / name))
        shutil.copytree(both.out, cut.out)
        shutil.rmtree(Path(cut.out) / "model")
        shutil.rmtree(Path(cut.out) / "checkpoints" / "checkpoint-6")
        go_on(cut)
        assert [loss for _, loss in losses(cut.out)] == pytest.approx(alone, rel=1e-5)


def test_a_batch_that_processes_cannot_share(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="expected batch_size to be greater than or equal to 1, got 0"):
        dataclasses.replace(config, batch_size=0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="expected a batch_size that 2 processes can share, got 3"):
        train(config)


@pytest.mark.slow
def test_settings_are_compared_as_a_file_has_them(config: TrainConfig) -> None:
    config = dataclasses.replace(
        config, steps=1, augmentation={"scaling": 1.0, "scale_range": (0.9, 1.0)}, eval_split="train", eval_images=1
    )
    config = dataclasses.replace(config, eval_data_path=Path(config.data_path[0]), language_model_max_length=96)  # type: ignore[arg-type]
    assert train(config) == train(config)


def test_the_loss_is_the_mean_over_the_tokens_of_a_step(config: TrainConfig, tiny_model: Path, scenes: Path) -> None:
    """However many devices or rounds share it: as PyTorch computes it from the model's logits."""
    config = dataclasses.replace(config, steps=1, batch_size=4, device_batch_size=1, warmup=0.0)
    family = _families.load(str(tiny_model))
    train(config)
    texts = [json.loads(line) for line in (Path(config.out) / "texts.jsonl").read_text().splitlines()]
    samples = [
        Sample(images.load(scenes / "train" / "images" / f"{text['image_id']}.png"), text["text"], complete=True)
        for text in texts
    ]
    batch = family.collate(samples, codecs.get("florence2").question(config.class_names))
    with torch.no_grad():
        logits = family.model.eval()(**family.on_device(batch)).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten())
    ((_, loss),) = losses(config.out)
    assert loss == pytest.approx(expected.item(), rel=2e-4)  # logged with four decimals


def test_a_step_is_that_of_a_loop_by_hand(config: TrainConfig, tiny_model: Path, scenes: Path) -> None:
    """Learning rates by part, and a gradient cut so short that AdamW's epsilon shows."""
    rates = {"vision": 1e-4, "language": 1e-3, "projection": 5e-4}
    config = dataclasses.replace(
        config,
        steps=1,
        batch_size=4,
        device_batch_size=2,
        warmup=0.0,
        schedule="constant",
        max_grad_norm=1e-6,
        weight_decay=0.1,
        learning_rate=rates["language"],
        learning_rate_vision=rates["vision"],
        learning_rate_multimodal_projection=rates["projection"],
    )
    family = _families.load(str(tiny_model))
    folder = train(config)
    texts = [json.loads(line) for line in (Path(config.out) / "texts.jsonl").read_text().splitlines()]
    samples = [
        Sample(images.load(scenes / "train" / "images" / f"{text['image_id']}.png"), text["text"], complete=True)
        for text in texts
    ]
    batch = family.on_device(family.collate(samples, codecs.get("florence2").question(config.class_names)))
    family.model.train()(**batch).loss.backward()
    torch.nn.utils.clip_grad_norm_(family.model.parameters(), config.max_grad_norm)
    for part, parameters in family.parts.items():
        for name, parameter in parameters.items():
            is_decayed = parameter.ndim > 1 and "norm" not in name
            torch.optim.AdamW([parameter], lr=rates[part], weight_decay=0.1 * is_decayed).step()
    learnt = _families.load(str(folder)).parts
    for part, parameters in family.parts.items():
        for name, parameter in parameters.items():
            torch.testing.assert_close(learnt[part][name], parameter, rtol=1e-5, atol=rates[part] / 50, msg=name)


@pytest.mark.parametrize("part", sampled(["vision", "language", "projection"], ["vision"]))
def test_a_frozen_part_stays_as_it_is(part: str, config: TrainConfig, tiny_model: Path) -> None:
    name = "freeze_multimodal_projection" if part == "projection" else f"freeze_{part}"
    folder = train(dataclasses.replace(config, steps=1, warmup=0.0, **{name: True}))
    before, after = (_families.load(str(path)).parts for path in (tiny_model, folder))
    for each, parameters in before.items():
        same = [torch.equal(parameter, after[each][key]) for key, parameter in parameters.items()]
        assert all(same) if each == part else not all(same)


@pytest.mark.parametrize(
    "codec, change, is_warned",
    [
        ("florence2", {"freeze_language": True}, True),
        ("plain", {"freeze_language": True}, False),
        ("florence2", {"language_model_lora": 2}, False),
        ("florence2", {}, False),
    ],
)
def test_new_tokens_of_a_frozen_language_model_stay_as_they_begin(
    codec: str,
    change: dict[str, Any],
    is_warned: bool,
    config: TrainConfig,
    tmp_path: Path,
    class_names: ClassNames,
    caplog: pytest.LogCaptureFixture,
) -> None:
    start = save_tiny("qwen2_5_vl", tmp_path / "start", class_names, codecs.get("florence2"))
    config = dataclasses.replace(config, model_name_or_path=str(start), response_format=codec, **change)
    family = prepared(config, codecs.get(codec))
    said = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert [text for text in said if "--language-model-lora" in text] == said
    rows = family.base.get_input_embeddings()
    assert bool(said) == is_warned
    if is_warned:
        assert said[0].startswith("the rows of these 1001 tokens stay as they begin")
        assert not any(parameter.requires_grad for parameter in rows.parameters())
    elif codec == "florence2":
        assert any(parameter.requires_grad for parameter in rows.parameters())


def test_something_must_be_trained(config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match="expected a part of the model that is trained, got all of them frozen"):
        dataclasses.replace(config, freeze_vision=True, freeze_language=True, freeze_multimodal_projection=True)


def test_tokens_that_a_model_lacks_are_added_and_travel_with_it(
    config: TrainConfig, tmp_path: Path, class_names: Any, scenes: Path
) -> None:
    bare = save_tiny_florence2(tmp_path / "bare", class_names, codecs.get("plain"))
    with pytest.raises(ModelError, match="got one without '<loc_0>' and 1000 more"):
        _families.load(str(bare)).check(codecs.get("florence2"), "ship")
    folder = train(dataclasses.replace(config, model_name_or_path=str(bare), steps=2))
    detector = Detector.from_pretrained(folder, device="cpu")
    before, after = (len(_families.load(str(path)).tokenizer) for path in (bare, folder))
    assert after - before == 1001
    path = next((scenes / "train" / "images").iterdir())
    (record,) = detector.predict([path], Generation(max_new_tokens=30, constrained=True))
    assert "<loc_" in record.metadata["windows"][0]["text"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "model_type, response_format",
    sampled(
        [("qwen2_5_vl", "qwen2.5-vl"), ("llava_onevision", "florence2"), ("paligemma", "plain")],
        [("llava_onevision", "florence2")],
    ),
)
def test_other_families_train_and_detect(
    model_type: str, response_format: str, config: TrainConfig, tmp_path: Path, class_names: Any, scenes: Path
) -> None:
    """Formats in pixels of what the model sees, as coordinate tokens that it lacks, and in plain digits."""
    start = save_tiny(model_type, tmp_path / "start", class_names, codecs.get("plain"))
    config = dataclasses.replace(
        config, model_name_or_path=str(start), response_format=response_format, steps=4, save_every=2, warmup=0.0
    )
    detector = Detector.from_pretrained(train(config), device="cpu")
    assert losses(config.out)[-1][1] < losses(config.out)[0][1]
    path = next((scenes / "train" / "images").iterdir())
    (record,) = detector.predict([path], Generation(max_new_tokens=80, constrained=True))
    (window,) = record.metadata["windows"]
    assert window["status"] in ("boxes", "empty", "repeated")
    if window["status"] != "repeated":  # as after so few steps it may be, in some versions of PyTorch
        assert all("repeats" in reason for *_, reason in window["rejected"])
    if len(record):
        assert ((record.scores >= 0) & (record.scores <= 1)).all()


@pytest.mark.slow
@pytest.mark.parametrize("published", sampled(["bfloat16", "float16"], ["bfloat16"]))
def test_the_detector_has_the_precision_of_its_base(
    published: str, config: TrainConfig, tiny_model: Path, tmp_path: Path
) -> None:
    _families.load(str(tiny_model), dtype=published).save(tmp_path / "start")
    config = dataclasses.replace(config, model_name_or_path=str(tmp_path / "start"), steps=2)
    folder = train(config)
    assert json.loads((folder / "config.json").read_text())["dtype"] == published
    last = load_file(Path(config.out) / "checkpoints" / "checkpoint-2" / "model.safetensors")
    found = load_file(folder / "model.safetensors")
    assert {value.dtype for value in last.values()} == {torch.float32}
    for name, value in last.items():
        assert torch.equal(found[name], value.to(getattr(torch, published)))
    assert (
        Detector.from_pretrained(folder, device="cpu").spec
        == Detector.from_pretrained(Path(config.out) / "checkpoints" / "checkpoint-2", device="cpu").spec
    )
