"""That a step's loss is one mean over all of its tokens, with every family, however the step is divided."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lmm_detector import TrainConfig, _families, train
from lmm_detector._families import FAMILIES, Preparation, Sample
from lmm_detector._training._config import to_yaml
from rbox_formats import ClassNames, codecs, images
from rbox_testing.layouts import Layout, every, rewrite
from rbox_testing.tiny_families import save_tiny
from safetensors.torch import load_file

# One whose class in transformers does not take the step's number of tokens, and one that does.
BY_DEFAULT: list[tuple[str, Layout]] = [("qwen2_5_vl", "hub")]
EACH = every(FAMILIES, BY_DEFAULT)
# Who computes the loss matters to no family in another way than to the others.
ALIKE = [
    pytest.param(*each.values, marks=[*each.marks, pytest.mark.variant], id=each.id)
    if each.values[0] not in BY_DEFAULT
    else each
    for each in EACH
]


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "losses.jsonl").read_text().splitlines()]


def by_hand(config: TrainConfig, scenes: Path) -> float:
    """Window by window, each with the model's own loss, weighted by the tokens that it teaches."""
    codec = codecs.get("florence2")
    family, _ = _families.prepare(Preparation(config.model_name_or_path, tokens=tuple(codec.added_tokens)))
    family.model.eval()
    prompt = codec.question(ClassNames(config.class_names or []))
    total = count = 0.0
    for line in (Path(config.out) / "texts.jsonl").read_text().splitlines():
        text = json.loads(line)
        pixels = images.load(scenes / "train" / "images" / f"{text['image_id']}.png")
        batch = family.collate([Sample(pixels, text["text"], complete=True)], prompt)
        tokens = int((batch["labels"] != -100).sum())
        with torch.no_grad():
            total += float(family.model(**family.on_device(batch)).loss) * tokens
        count += tokens
    return total / count


@pytest.fixture(params=EACH)
def config(
    request: pytest.FixtureRequest, run_config: TrainConfig, tmp_path: Path, class_names: ClassNames
) -> TrainConfig:
    """One step over all four windows, whose texts are of different lengths."""
    model_type, layout = request.param
    start = rewrite(save_tiny(model_type, tmp_path / "start", class_names, codecs.get("florence2")), layout)
    return replace(
        run_config, model_name_or_path=str(start), steps=1, batch_size=4, warmup=0.0, out=str(tmp_path / "four")
    )


@pytest.mark.slow
@pytest.mark.parametrize("config", ALIKE, indirect=True)
def test_rounds_do_not_change_it(config: TrainConfig, scenes: Path, tmp_path: Path) -> None:
    found = {}
    for at_once in (4, 1, 2):
        out = tmp_path / f"at-once-{at_once}"
        folder = train(replace(config, out=str(out), device_batch_size=at_once))
        found[at_once] = load_file(folder / "model.safetensors")
        assert losses(out) == [pytest.approx(by_hand(replace(config, out=str(out)), scenes), rel=1e-4)]
    lengths = {len(json.loads(line)["text"]) for line in (out / "texts.jsonl").read_text().splitlines()}
    assert len(lengths) > 1
    start = load_file(Path(config.model_name_or_path) / "model.safetensors")
    # AdamW's first step is the learning rate in the direction of each gradient's sign: where that is all but zero, it
    # may turn.
    for name in found[4]:
        if name in start and found[4][name].shape == start[name].shape:
            moved = [weights[name] - start[name] for weights in found.values()]
            same = sum(float(torch.isclose(moved[0], other, atol=2e-4).float().mean()) for other in moved[1:]) / 2
            assert same > 0.97, name


@pytest.mark.slow
@pytest.mark.parametrize("config", ALIKE, indirect=True)
def test_processes_do_not_change_it(
    config: TrainConfig, scenes: Path, start_two: Callable[..., Any], tmp_path: Path
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(to_yaml(replace(config, device_batch_size=1)), encoding="utf-8")
    both = start_two(["train", "--config", settings])
    output, _ = both.communicate()
    assert both.returncode == 0, output
    assert losses(Path(config.out)) == [pytest.approx(by_hand(config, scenes), rel=1e-4)]
