"""Runs on a hub, over the hub's own client: pushed with a card, loaded by name, gone on with elsewhere."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from lmm_detector import Detector, TrainConfig, push_to_hub, train
from lmm_detector._training._config import to_yaml
from lmm_detector.cli.main import main
from lmm_detector.errors import ModelError, RunError
from rbox_testing.hub import Hub, running
from safetensors.torch import load_file

NAME = "someone/ships"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub on this machine, which the client takes for the real one."""
    from huggingface_hub import constants

    with running() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE
        path = template.partition("://")[2].partition("/")[2]
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{found.address}/{path}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", "hf_none")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield found


@pytest.fixture
def config(run_config: TrainConfig) -> TrainConfig:
    return dataclasses.replace(
        run_config, save_every=2, steps=4, language_model_max_length=96, eval_split="val", eval_every=2, eval_images=1
    )


@pytest.mark.slow
def test_a_run_is_pushed_loaded_by_name_and_gone_on_with(
    config: TrainConfig, hub: Hub, tmp_path: Path, scenes: Path
) -> None:
    folder = train(config)
    assert push_to_hub(config.out, NAME, checkpoint=True) == f"{hub.address}/{NAME}"
    assert hub.private == {NAME: True}
    assert not list(Path(config.out).glob(".*tmp*"))

    files = hub.files[NAME]
    assert files["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert {"README.md", "detector.json", "settings.yaml", "training.png", "losses.jsonl"} <= files.keys()
    assert not any(str(tmp_path).encode() in content or str(scenes).encode() in content for content in files.values())

    image = next((scenes / "val" / "images").iterdir())
    by_name = Detector.from_pretrained(NAME, device="cpu").predict(image)
    assert by_name.text == Detector.from_pretrained(folder, device="cpu").predict(image).text

    # On a machine with other folders, and longer.
    data = shutil.copytree(scenes, tmp_path / "elsewhere")
    there = dataclasses.replace(config, data_path=[str(data)], resume_from=NAME, out=str(tmp_path / "there"))
    with pytest.raises(RunError, match=r"which has learning_rate 0\.002, not 0\.5"):
        train(dataclasses.replace(there, learning_rate=0.5))
    shutil.rmtree(there.out)
    again = train(there)
    first, second = (load_file(each / "model.safetensors") for each in (folder, again))
    assert all((first[name] == second[name]).all() for name in first)


@pytest.mark.slow
@pytest.mark.variant
def test_a_run_of_another_folder_is_gone_on_with(config: TrainConfig, tmp_path: Path) -> None:
    folder = train(config)
    shutil.rmtree(Path(config.out) / "checkpoints" / "checkpoint-4")
    there = dataclasses.replace(config, resume_from=config.out, out=str(tmp_path / "there"))
    again = train(there)
    steps = [json.loads(line)["step"] for line in (tmp_path / "there" / "losses.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]
    first, second = (load_file(each / "model.safetensors") for each in (folder, again))
    assert all((first[name] == second[name]).all() for name in first)


@pytest.mark.slow
@pytest.mark.variant
def test_a_run_that_is_not_finished_is_pushed_with_its_checkpoint(
    config: TrainConfig, hub: Hub, tmp_path: Path
) -> None:
    train(config)
    shutil.rmtree(Path(config.out) / "model")
    with pytest.raises(ModelError, match="expected a finished run"):
        push_to_hub(config.out, NAME)
    push_to_hub(config.out, NAME, checkpoint=True)
    assert Detector.from_pretrained(NAME, device="cpu").class_names
    assert "optimizer.pt" not in hub.files[NAME]
    assert {name for name in hub.files[NAME] if name.endswith("optimizer.pt")} == {
        f"checkpoints/checkpoint-{step}/optimizer.pt"
        for step in (2, 4)  # the best, and the newest
    }


def test_what_cannot_be_gone_on_with(config: TrainConfig, tmp_path: Path) -> None:
    run = tmp_path / "stranger"
    (run / "checkpoints" / "checkpoint-2").mkdir(parents=True)
    config = dataclasses.replace(config, resume_from=str(run))
    with pytest.raises(RunError, match="expected a run with a checkpoint, found none"):
        train(config)
    (run / "settings.yaml").write_text(to_yaml(dataclasses.replace(config, out="somewhere", resume_from=None)))
    (run / "texts.jsonl").write_text("")
    for name, text in {"detector.json": "{}", "trainer_state.json": '{"epoch": {', "model.safetensors": ""}.items():
        (run / "checkpoints" / "checkpoint-2" / name).write_text(text)
    with pytest.raises(RunError, match="expected a checkpoint of `lmm-detector train`, got"):
        train(config)
    assert not (Path(config.out) / "checkpoints" / "checkpoint-2").exists()


def test_the_card_says_what_was_done(config: TrainConfig, class_names: list[str]) -> None:
    train(config)
    result = CliRunner().invoke(main, ["push", config.out, NAME, "--dry-run"], catch_exceptions=False)
    assert result.exit_code == 0
    card, _, listed = result.output.partition("\nFiles:\n")
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["library_name"] == "lmm-detector"
    assert "base_model" not in head  # a local one, which nobody else has
    texts = [json.loads(line) for line in (Path(config.out) / "texts.jsonl").read_text().splitlines()]
    assert f"{len(texts)} windows with {sum(each['objects'] for each in texts)} objects" in card
    assert all(name in card for name in class_names)
    best = max(
        map(json.loads, (Path(config.out) / "evaluations.jsonl").read_text().splitlines()),
        key=lambda entry: float(entry["eval_map_nc"]),
    )
    assert f"| mAP_nc | {best['eval_map_nc']:.4f} |" in card
    assert f"at step {best['step']}" in card
    settings = yaml.safe_load(card.split("```yaml\n")[1].split("```")[0])
    assert settings["learning_rate"] == 0.002
    assert settings["data_path"] == [Path(config.data_path[0]).name]
    assert {"README.md", "model.safetensors", "detector.json"} <= set(listed.split())


@pytest.mark.slow
def test_what_is_not_pushed(config: TrainConfig, tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(ModelError, match="expected a finished run, with a detector in model/, found none"):
        push_to_hub(tmp_path / "nothing", NAME)
    config = dataclasses.replace(config, eval_split=None, eval_every=None, eval_images=None, language_model_lora=2)
    train(config)
    with pytest.raises(
        ModelError, match=r"expected adapters on a model of the hub, got some on .*, which nobody else has"
    ):
        push_to_hub(config.out, NAME)
    for name in ("ships", "a/b/c", "../ships", "a/../../b", "/etc/passwd", "so meone/ships"):
        with pytest.raises(ModelError, match="expected a name on the hub such as owner/name"):
            push_to_hub(config.out, name)
    assert hub.asked == []


@pytest.mark.slow
def test_a_hub_that_refuses(config: TrainConfig, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    train(dataclasses.replace(config, eval_split=None, eval_every=None, eval_images=None))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="expected the hub to take 'someone/ships', got: ") as caught:
        push_to_hub(config.out, NAME)
    assert "hf auth login" in str(caught.value)


@pytest.mark.slow
def test_adapters_on_a_model_of_the_hub_are_pushed_without_paths(
    config: TrainConfig, hub: Hub, tiny_model: Path, tmp_path: Path, scenes: Path
) -> None:
    hub.files["someone/base"] = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    config = dataclasses.replace(config, model_name_or_path="someone/base", language_model_lora=2)
    folder = train(config)
    push_to_hub(config.out, NAME, checkpoint=True)
    places = [str(path).encode() for path in (tmp_path, scenes, Path.home(), tiny_model)]
    assert not [name for name, content in hub.files[NAME].items() if any(place in content for place in places)]
    assert yaml.safe_load(hub.files[NAME]["README.md"].decode().split("---\n")[1])["base_model"] == "someone/base"
    image = next((scenes / "val" / "images").iterdir())
    by_name = Detector.from_pretrained(NAME, device="cpu").predict(image)
    assert by_name.text == Detector.from_pretrained(folder, device="cpu").predict(image).text
