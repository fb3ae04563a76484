"""Targets that are spread over a coordinate's neighbours, against loops in NumPy."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from lmm_detector import TrainConfig, _families, train
from lmm_detector._families import Axis, Sample, SoftTargets
from lmm_detector._families._loss import cross_entropy
from lmm_detector.errors import ConfigError, ModelError
from rbox_formats import ClassNames, codecs, images

NUMBERS = [7, 3, 5, 2, 9]  # not in the order of their ids
ANGLES = [11, 10, 8, 4]


def by_hand(logits: np.ndarray, targets: list[int], deviation: float, angle_deviation: float = 1.0) -> float:
    total = 0.0
    for row, target in zip(logits.astype(np.float64), targets, strict=True):
        probabilities = np.exp(row) / np.exp(row).sum()
        shares = {target: 1.0}
        for tokens, spread, is_circle in ((NUMBERS, deviation, False), (ANGLES, angle_deviation, True)):
            if target not in tokens:
                continue
            heights = {}
            for place, token in enumerate(tokens):
                away = abs(place - tokens.index(target))
                away = min(away, len(tokens) - away) if is_circle else away
                heights[token] = math.exp(-(away**2) / (2 * spread**2))
            shares = {token: height / sum(heights.values()) for token, height in heights.items()}
        total -= sum(share * math.log(probabilities[token]) for token, share in shares.items())
    return total


@pytest.mark.parametrize("at_a_time", [2**25, 1])
@pytest.mark.parametrize("deviation", [0.4, 1.0, 3.0])
def test_it_is_a_loop_in_numpy(deviation: float, at_a_time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a vocabulary with four rows more than there are tokens; both ends of an axis among the targets."""
    monkeypatch.setattr("lmm_detector._families._loss._LOGITS_AT_A_TIME", at_a_time)
    logits = np.random.default_rng(0).normal(scale=3, size=(9, 16)).astype(np.float32)
    targets = [7, 9, 5, 0, 1, 11, 4, 6, 3]
    soft = SoftTargets([Axis(NUMBERS, deviation), Axis(ANGLES, 1.0, is_circle=True)])
    found = cross_entropy(torch.from_numpy(logits), torch.tensor(targets), soft)
    assert float(found) == pytest.approx(by_hand(logits, targets, deviation), rel=1e-5)


def test_gradients_are_those_of_single_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of a cross entropy is the probabilities less the target's distribution."""
    logits = torch.randn(4, 12, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets = torch.tensor([7, 0, 9, 5])
    axis = Axis(NUMBERS, 1.0)
    cross_entropy(logits, targets, SoftTargets([axis])).backward()
    wanted = torch.zeros(4, 12)
    wanted[1, 0] = 1
    for row, value in ((0, 0), (2, 4), (3, 2)):
        wanted[row, NUMBERS] = axis.shares(torch.tensor([value]))[0]
    torch.testing.assert_close(logits.grad, logits.softmax(1).detach() - wanted)


def test_without_a_spread_it_is_the_plain_loss() -> None:
    logits = torch.randn(6, 16, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([7, 9, 5, 0, 1, 11])
    plain = cross_entropy(logits, targets)
    for deviation in (1e-3, 1e-30):
        soft = SoftTargets([Axis(NUMBERS, deviation), Axis(ANGLES, deviation, is_circle=True)])
        torch.testing.assert_close(cross_entropy(logits, targets, soft), plain)
    assert float(cross_entropy(logits[:0], targets[:0], soft)) == 0


def test_shares_of_a_coordinate() -> None:
    """Worked by hand: heights 1, 1/e^0.5, 1/e^2 at no, one and two values away."""
    one, two = math.exp(-0.5), math.exp(-2)
    shares = Axis([0, 1, 2], 1.0).shares(torch.tensor([0, 1]))
    expected = [[1 / (1 + one + two), one / (1 + one + two), two / (1 + one + two)]]
    expected += [[one / (1 + 2 * one), 1 / (1 + 2 * one), one / (1 + 2 * one)]]
    torch.testing.assert_close(shares, torch.tensor(expected))


@pytest.fixture
def config(run_config: TrainConfig) -> TrainConfig:
    return dataclasses.replace(run_config, soft_targets=4.0, steps=1, batch_size=4, warmup=0.0)


def losses(out: str | Path, name: str = "losses", key: str = "loss") -> list[float]:
    return [json.loads(line)[key] for line in (Path(out) / f"{name}.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_steps_loss_is_the_mean_over_its_tokens_however_it_is_divided(
    config: TrainConfig, scenes: Path, class_names: ClassNames, tmp_path: Path
) -> None:
    """By a loop over windows and tokens; held-out windows are measured without the spread."""
    family = _families.load(config.model_name_or_path)
    family.model.eval()
    codec = codecs.get("florence2")
    bins = family.tokenizer.convert_tokens_to_ids([f"<loc_{value}>" for value in range(1000)])
    for at_once in (4, 1):
        out = tmp_path / str(at_once)
        train(dataclasses.replace(config, out=str(out), device_batch_size=at_once))
    total = count = 0.0
    for line in (out / "texts.jsonl").read_text().splitlines():
        text = json.loads(line)
        pixels = images.load(scenes / "train" / "images" / f"{text['image_id']}.png")
        batch = family.collate([Sample(pixels, text["text"], True)], codec.question(class_names))
        with torch.no_grad():
            rows = family.model(**family.on_device(batch)).logits[0].double().log_softmax(1).numpy()
        for row, token in zip(rows, batch["labels"][0].tolist(), strict=True):
            count += 1
            if token not in bins:
                total -= row[token]
                continue
            heights = np.exp(-((np.arange(1000) - bins.index(token)) ** 2) / (2 * 4.0**2))
            total -= (heights / heights.sum() * row[bins]).sum()
    for at_once in (4, 1):
        assert losses(tmp_path / str(at_once)) == [pytest.approx(total / count, rel=1e-4)]


@pytest.mark.slow
def test_held_out_windows_are_measured_without_it(config: TrainConfig, tmp_path: Path) -> None:
    """At a learning rate at which nothing is learnt."""
    config = dataclasses.replace(config, eval_split="val", eval_metric="loss", learning_rate=1e-12)
    plain = dataclasses.replace(config, soft_targets=0.0, out=str(tmp_path / "plain"))
    train(config)
    train(plain)
    ours, theirs = (losses(each.out, "evaluations", "eval_loss") for each in (config, plain))
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert losses(config.out) != pytest.approx(losses(plain.out), rel=1e-4)


@pytest.mark.parametrize("codec", ["plain", "kosmos2", "qwen2-vl", "geochat"])
def test_codecs_without_a_token_for_each_value_are_refused(codec: str, config: TrainConfig) -> None:
    with pytest.raises(ConfigError) as caught:
        dataclasses.replace(config, response_format=codec)
    assert "Codecs with a token for each value: florence2, falcon, paligemma, rex-omni." in str(caught.value)
    family = _families.load(config.model_name_or_path)
    with pytest.raises(ModelError, match="expected a codec whose coordinates are one token each, got"):
        family.soft_targets(codecs.get(codec), 1.0)
    assert family.soft_targets(codecs.get(codec), 0.0) is None


@pytest.mark.parametrize("name", ["florence2", "falcon", "paligemma", "rex-omni"])
def test_coordinate_tokens_are_what_the_codec_writes(name: str) -> None:
    """Boxes along a diagonal: their first numbers, in the order of the tokens."""
    codec = codecs.get(name)
    low, high = codec.coordinates.limits[0]
    assert len(codec.coordinate_tokens) == high - low + 1
    assert set(codec.coordinate_tokens) <= set(codec.added_tokens)
    places = []
    for at in (50, 400, 900):
        text = codec.encode([[at, at, 20, 20, 0]], [0], ["ship"], (1000, 1000))
        places.append(min(codec.coordinate_tokens.index(t) for t in codec.coordinate_tokens if t in text))
    assert places == pytest.approx([at - 10 for at in (50, 400, 900)], abs=0.03 * 1000)
