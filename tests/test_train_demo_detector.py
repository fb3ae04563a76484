"""The script that trains the small detector: its targets, its dense head, and that it goes on where it was stopped."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from lmm_detector import Detector
from rbox_formats import codecs, synthetic
from safetensors.torch import load_file
from torch.nn import functional
from transformers import Florence2ForConditionalGeneration, Florence2Processor

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import train_demo_detector
from _demo_model import ANGLES, NUMBERS, SIDE, save_model, waves
from _demo_teaching import Answered, AnswerHead, Numbers, Pointing, encoded, whereabouts

BOXES = np.array([
    [48.0, 30.0, 20.0, 9.0, 0.5], [10.0, 80.0, 14.0, 13.0, -math.pi / 2], [70.0, 65.0, 30.0, 12.0, 1.56],
])  # fmt: skip


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    save_model(folder, synthetic.CLASS_NAMES, codecs.get("plain"), seed=0)
    return folder


def test_the_model_is_the_stock_one_and_small(start: Path) -> None:
    model = Florence2ForConditionalGeneration.from_pretrained(start)
    assert sum(p.numel() for p in model.parameters()) < 3e6
    pixels = torch.zeros(1, 3, SIDE, SIDE)
    assert model.get_image_features(pixels).pooler_output.shape == (1, 65, 128)


def test_a_box_is_a_few_tokens(start: Path) -> None:
    tokenizer = Florence2Processor.from_pretrained(start).tokenizer
    codec, names = codecs.get("plain"), synthetic.CLASS_NAMES
    text = codec.encode(BOXES, [1, 1, 2], names, (SIDE, SIDE))
    pieces = tokenizer.tokenize(text, add_special_tokens=False)
    assert pieces[0] == "ship"
    assert sum(piece in NUMBERS for piece in pieces) == 12
    assert sum(piece in ANGLES for piece in pieces) == 3
    assert len(pieces) <= 3 * 6 + 2 + 1  # a bracket and five numbers for each, two names, and what is between
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == text
    other = "harbor[3,4,5,6,-90]"  # a class that it does not know
    assert tokenizer.decode(tokenizer(other, add_special_tokens=False).input_ids) == other


def numbers_of(start: Path, **options: float) -> tuple[Numbers, object]:
    tokenizer = Florence2Processor.from_pretrained(start).tokenizer
    ids = [tokenizer.convert_tokens_to_ids(list(tokens)) for tokens in (NUMBERS, ANGLES)]
    return Numbers(*ids, len(tokenizer), **options), tokenizer


def test_tokens_of_boxes_are_those_of_the_codec(start: Path) -> None:
    numbers, tokenizer = numbers_of(start)
    found = numbers.tokens_of(torch.from_numpy(BOXES).float(), SIDE)
    for box, tokens in zip(BOXES, found.tolist(), strict=True):
        text = codecs.get("plain").encode([box], [0], ["ship"], (SIDE, SIDE))
        assert "ship[" + "".join(tokenizer.convert_ids_to_tokens(tokens)) == text


def test_soft_targets(start: Path) -> None:
    numbers, tokenizer = numbers_of(start, number_deviation=2.0, angle_deviation=2.0)
    number, near, far, edge, across, bracket = tokenizer.convert_tokens_to_ids(
        ["500,", "502,", "600,", "89]", "-90]", "["]
    )
    count = len(tokenizer)
    # A token without neighbours: the usual cross-entropy.
    logits = torch.randn(1, count, generator=torch.Generator().manual_seed(0))
    found = numbers.loss(logits, torch.tensor([bracket]))
    torch.testing.assert_close(found, functional.cross_entropy(logits, torch.tensor([bracket])))
    # A normal distribution, worked by hand: where it is, the loss is its entropy, log(2.0 * sqrt(2 pi e)).
    values = torch.full((1, count), -1e4)
    for value in range(1001):
        values[0, tokenizer.convert_tokens_to_ids(f"{value},")] = -((value - 500) ** 2) / (2 * 2.0**2)
    entropy = math.log(2.0 * math.sqrt(2 * math.pi * math.e))
    assert float(numbers.loss(values, torch.tensor([number]))) == pytest.approx(entropy, abs=1e-3)
    # A little off is a little wrong; from the last degree it goes on with the first.
    certain = torch.zeros(3, count)
    certain[0, number], certain[1, near], certain[2, far] = 5.0, 5.0, 5.0
    losses = [float(numbers.loss(row[None], torch.tensor([number]))) for row in certain]
    assert losses[0] < losses[1] < losses[2]
    turned = torch.zeros(2, count)
    turned[0, across], turned[1, tokenizer.convert_tokens_to_ids("80]")] = 5.0, 5.0
    beside, away = (float(numbers.loss(row[None], torch.tensor([edge]))) for row in turned)
    assert beside < away - 0.5


def test_waves_are_smooth() -> None:
    torch.manual_seed(0)
    rows = waves(1000, 128, 2000, 32)
    assert float(rows.pow(2).mean()) == pytest.approx(1.0, abs=0.2)
    steps = (rows[1:] - rows[:-1]).norm(dim=1)
    apart = (rows[500:] - rows[:500]).norm(dim=1)
    assert float(steps.max()) < 0.2 * float(apart.min())


@pytest.mark.slow
def test_the_dense_head_learns_to_place_boxes(start: Path) -> None:
    torch.manual_seed(0)
    numbers, tokenizer = numbers_of(start)
    head, table = AnswerHead(32, 4, 8, SIDE), torch.randn(len(tokenizer), 32)
    features = torch.randn(2, 64, 32)
    objects = Answered(
        torch.tensor([0, 0, 1]),
        torch.from_numpy(BOXES).float(),
        torch.tensor([1, 3, 2]),
        torch.tensor([0, 1, 0]),
    )
    optimiser = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(200):
        losses = head.losses(features, objects, numbers, table)
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimiser.step()
    first, second = head.detect(features)
    assert sorted(first[1].tolist()) == [1, 3]
    assert second[1].tolist() == [2]
    found = torch.cat([first[0], second[0]]).detach().numpy()
    for box in BOXES:
        nearest = found[np.abs(found[:, :2] - box[:2]).sum(axis=1).argmin()]
        np.testing.assert_allclose(nearest[:4], box[:4], atol=1.0)
        turn = (nearest[4] - box[4] + math.pi / 2) % math.pi - math.pi / 2  # half a turn is none
        assert abs(turn) < 0.05


def test_without_objects_there_is_only_the_question_whether(start: Path) -> None:
    numbers, _ = numbers_of(start)
    head = AnswerHead(16, 4, 8, SIDE)
    none = torch.zeros(0, dtype=torch.int64)
    losses = head.losses(
        torch.randn(1, 64, 16), Answered(none, torch.zeros(0, 5), none, none), numbers, torch.zeros(1, 16)
    )
    assert set(losses) == {"there"}


def test_each_token_is_about_the_object_that_it_helps_to_write() -> None:
    """Two texts: an object of three tokens, a sign, another of two, the end; and no object."""
    last, end, padding = 9, 2, -100
    labels = torch.tensor([[0, 5, last, 7, 5, last, end], [0, end, *[padding] * 5]])
    is_last = torch.zeros(10, dtype=torch.bool)
    is_last[last] = True
    objects = Answered(torch.tensor([0, 0]), torch.zeros(2, 5), torch.zeros(2), torch.tensor([1, 0]))
    found = whereabouts(labels, is_last, objects, places=torch.tensor([40, 11]))
    assert found.tolist() == [[11, 11, 11, 40, 40, 40, -1], [-1] * 7]


def test_pointing_sees_the_attention_that_the_decoder_pays(start: Path) -> None:
    """Against the weights that the stock model gives out itself; and what it computes is the same."""
    model = Florence2ForConditionalGeneration.from_pretrained(start, attn_implementation="eager").eval()
    ids = torch.full((2, 67), model.config.image_token_id)
    ids[:, 65:] = torch.tensor([0, 2])
    inputs = {"input_ids": ids, "pixel_values": torch.randn(2, 3, SIDE, SIDE)}
    answers = torch.tensor([[2, 0, 300, 400], [2, 0, 500, 600]])
    with torch.no_grad():
        plain = model.model(**inputs, decoder_input_ids=answers, output_attentions=True, use_cache=False)
        torch.testing.assert_close(encoded(model, inputs), plain.encoder_last_hidden_state)
        with Pointing(model.model.language_model.decoder) as pointing:
            again = model.model(**inputs, decoder_input_ids=answers, use_cache=False)
            where = torch.tensor([[-1, 3, 4, 5], [6, 7, -1, -1]])
            loss = pointing.loss(where)
    torch.testing.assert_close(again.last_hidden_state, plain.last_hidden_state)
    image, token = torch.nonzero(where >= 0, as_tuple=True)
    expected = [-weights[image, 0, token, where[image, token]].log().mean() for weights in plain.cross_attentions[-2:]]
    torch.testing.assert_close(loss, torch.stack(expected).mean())
    assert not any(layer.encoder_attn._forward_pre_hooks for layer in model.model.language_model.decoder.layers)


@pytest.mark.slow
def test_a_stopped_run_learns_what_one_in_one_go_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("CHUNK", 4), ("HELD_OUT", 2), ("TEST", 3), ("LONGEST", 8)):
        monkeypatch.setattr(train_demo_detector, name, value)

    def run(out: Path, text_steps: int) -> None:
        folder = out / "scenes"
        folder.mkdir(parents=True, exist_ok=True)
        train_demo_detector.draw_chunk(folder / "00000.npz", 0)
        options = {"vision-steps": 2, "text-steps": text_steps, "batch": 2, "scenes": 4, "eval-every": 2}
        arguments = [f"--{name}={value}" for name, value in options.items()]
        result = CliRunner().invoke(train_demo_detector.main, ["--out", str(out), *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output

    monkeypatch.setattr(train_demo_detector.Plan, "rate", lambda self, step: 1e-3)
    run(tmp_path / "whole", 3)
    run(tmp_path / "parts", 1)
    run(tmp_path / "parts", 3)
    whole, parts = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "parts"))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value)
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert steps == [2, 3, 4, 5]
    detector = Detector.from_pretrained(tmp_path / "whole" / "model")
    assert detector.class_names == synthetic.CLASS_NAMES
    assert detector.predict(synthetic.scene(0, synthetic.VARIED)[0]).text is not None
    assert "3 scenes" in (tmp_path / "whole" / "model" / "README.md").read_text()
