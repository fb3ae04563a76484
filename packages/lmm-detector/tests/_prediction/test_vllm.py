"""vLLM in place of our loop: the same prompts, answers, scores and statuses.

Where vLLM is not installed, a stand-in answers with the same model (`rbox_testing.fake_vllm`), and the tests of its own
classes are left out.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from lmm_detector import Detector, Generation, _families
from lmm_detector._decoding._circles import EVERY, Circle
from lmm_detector._families import Decoding
from lmm_detector._families.chat import MODELS, PATCHED
from lmm_detector._prediction import _vllm
from lmm_detector._spec import DetectorSpec
from lmm_detector.cli.main import main
from lmm_detector.errors import ConfigError, ModelError
from PIL import Image
from rbox_formats import ClassNames, codecs
from rbox_formats.detection import SceneWindow
from rbox_testing import fake_vllm
from rbox_testing.samples import sampled
from rbox_testing.tiny_families import save_tiny

Scenes = list[np.ndarray]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, class_names: ClassNames) -> Path:
    """A detector of random weights, with a chat template; constrained, its answers end by themselves."""
    codec = codecs.get("plain")
    folder = save_tiny("qwen2_5_vl", tmp_path_factory.mktemp("chat"), class_names, codec, seed=12)
    DetectorSpec(class_names, codec.to_dict(), codec.question(class_names), window=96, gap=32).save(folder)
    return folder


@pytest.fixture(scope="session")
def pictures() -> Scenes:
    """Noise, coarse noise, and one that is no square."""
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), np.ones((12, 12, 1), dtype=np.uint8))
    return [rng.integers(0, 255, (96, 96, 3), dtype=np.uint8), coarse, np.full((60, 80, 3), 90, dtype=np.uint8)]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[fake_vllm.LLM]:
    return fake_vllm.install(monkeypatch)


@pytest.fixture
def both(folder: Path, engine: type[fake_vllm.LLM]) -> tuple[Detector, Detector]:
    """Our loop, and vLLM."""
    return Detector.from_pretrained(folder, device="cpu"), Detector.from_pretrained(folder, engine="vllm")


def told(detector: Detector, pictures: Scenes, generation: Generation) -> list[dict[str, Any]]:
    return [window for found in detector.predict(pictures, generation) for window in found.metadata["windows"]]


def test_greedy_answers_and_their_probabilities(both: tuple[Detector, Detector], pictures: Scenes) -> None:
    ours, theirs = both
    generation = Generation(max_new_tokens=36, max_repeats=2)
    expected = told(ours, pictures, generation)
    assert told(theirs, pictures, generation) == expected
    assert len({window["text"] for window in expected}) > 1
    assert theirs.engine is not None
    prompt, decoding = ours.spec.prompt, Decoding(max_new_tokens=12)
    answers = theirs.engine.generate(pictures[:2], prompt, decoding)
    tokens = [answer.tokens for answer in answers]
    assert [each.tolist() for each in tokens] == [
        answer.tokens.tolist() for answer in ours.family.generate(pictures[:2], prompt, decoding)
    ]
    logs = ours.family.log_probabilities(pictures[:2], prompt, tokens)
    for answer, again, found in zip(
        answers, theirs.engine.log_probabilities(pictures[:2], prompt, tokens), logs, strict=True
    ):
        np.testing.assert_allclose(answer.log_probabilities, found, atol=1e-5)
        np.testing.assert_allclose(again, found, atol=1e-5)


def test_scores_of_constrained_answers_are_the_models_own(both: tuple[Detector, Detector], pictures: Scenes) -> None:
    ours, theirs = both
    generation = Generation(max_new_tokens=100, constrained=True)
    for expected, found in zip(ours.predict(pictures, generation), theirs.predict(pictures, generation), strict=True):
        assert found.metadata == expected.metadata
        assert found.metadata["status"] == "boxes"
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
        assert found.scores.max() < 0.9  # of allowed tokens alone, many would be sure


def test_draws_have_a_seed_each(both: tuple[Detector, Detector], pictures: Scenes) -> None:
    _, detector = both
    same = [pictures[0]] * 2

    def texts(seed: int) -> list[str]:
        generation = Generation(temperature=1.5, top_p=0.9, seed=seed, max_new_tokens=8)
        return [str(window["text"]) for window in told(detector, same, generation)]

    first = texts(3)
    assert first == texts(3)
    assert first[0] != first[1]
    assert first != texts(4)
    settings = fake_vllm.LLM.made[0].settings
    assert {(each.temperature, each.top_p) for each in settings} == {(1.5, 0.9)}
    assert len({each.seed for each in settings}) == 4
    assert all(0 <= each.seed < 2**63 for each in settings)


def test_what_is_asked_for(both: tuple[Detector, Detector], pictures: Scenes) -> None:
    ours, theirs = both
    generation = Generation(max_new_tokens=4, batch_size=2, first_tokens=1, scores="none")
    list(theirs.predict(pictures, generation))
    (made,) = fake_vllm.LLM.made
    assert made.arguments["trust_remote_code"] is False
    assert made.arguments["max_model_len"] == -1
    assert len(made.settings) == len(pictures)  # each is asked once, however short the others are
    for each in made.settings:
        assert (each.temperature, each.max_tokens, each.logprobs, each.detokenize) == (0.0, 4, 0, False)
        assert tuple(each.stop_token_ids) == ours.family.end_tokens
        assert each.bad_words == ["<|image_pad|>", "<|video_pad|>"]
    assert all(not each.is_floating_point() or each.device.type == "meta" for each in theirs.family.model.parameters())
    assert "on vllm 0.0>" in repr(theirs)


def test_another_prompt_than_ours_is_an_error(
    both: tuple[Detector, Detector], pictures: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, detector = both
    write = fake_vllm.LLM._one

    def other(self: Any, *arguments: Any) -> Any:
        output = write(self, *arguments)
        output.prompt_token_ids.append(0)
        return output

    monkeypatch.setattr(fake_vllm.LLM, "_one", other)
    with pytest.raises(ModelError, match=r"expected \d+ tokens of prompt and image, .* of vllm 0.0"):
        list(detector.predict(pictures, Generation(max_new_tokens=2)))


def test_text_that_is_listened_to_comes_at_the_end(both: tuple[Detector, Detector], pictures: Scenes) -> None:
    _, detector = both
    steps = detector.steps(Generation(max_new_tokens=6, scores="none"))
    scene = steps.scene(pictures[0])
    windows = [SceneWindow(scene, number, crop) for number, crop in scene.crops()]
    heard: list[tuple[int, str]] = []
    (found,) = steps.detect(windows, listener=lambda *piece: heard.append(piece))
    assert found is not None
    assert heard == [(0, found.about["text"])]


# Answers that run in a circle.


@pytest.mark.parametrize("seed", sampled(range(60), range(12)))
def test_an_answer_is_stopped_late_enough_to_be_cut_where_ours_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    circle = Circle(repeats=int(rng.integers(2, 6)), box_tokens=int(rng.integers(3, 40)))
    pattern = rng.integers(0, 50, int(rng.integers(1, 2 * max(circle.box_tokens, EVERY))))
    tokens = np.concatenate([rng.integers(0, 50, rng.integers(0, 50)), np.tile(pattern, 1000 // len(pattern))])
    stop = stopping(circle)
    length = next(size for size in range(1, len(tokens)) if stop(tokens[:size].tolist()))
    assert circle.stops_at(tokens[:length]) == circle.stops_at(tokens)
    assert length < len(tokens)


def stopping(circle: Circle) -> Any:
    """Return what stops vLLM: its own function where it is installed, else the stand-in's."""
    least = max(circle.box_tokens, EVERY)
    sizes = {"min_pattern_size": least, "max_pattern_size": 2 * least, "min_count": circle.repeats + 1}
    if importlib.util.find_spec("vllm") is None:
        return fake_vllm.RepetitionDetectionParams(**sizes).stops
    from vllm.sampling_params import RepetitionDetectionParams
    from vllm.v1.core.sched.utils import check_sequence_repetition

    settings = RepetitionDetectionParams(**sizes)
    return lambda tokens: check_sequence_repetition(tokens, settings)


# What is refused before anything is loaded.


def refused(folder: Path, match: str, **options: Any) -> str:
    with pytest.raises(ModelError, match=match) as caught:
        Detector.from_pretrained(folder, engine="vllm", **options)
    return str(caught.value)


def test_models_that_it_does_not_run(folder: Path, tmp_path: Path, engine: type[fake_vllm.LLM]) -> None:
    taught = (folder / "detector.json").read_text()
    for model_type, reason in (("florence2", "encoder-decoders"), ("paligemma", "left to right"), ("gemma3", "names")):
        place = tmp_path / model_type
        place.mkdir()
        (place / "config.json").write_text(json.dumps({"model_type": model_type}))
        (place / "detector.json").write_text(taught)
        assert "Leave --engine out" in refused(place, f"got {model_type}: .*{reason}")
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    (adapters / "adapter_config.json").write_text("{}")
    (adapters / "detector.json").write_text(taught)
    assert f"lmm-detector merge {adapters} OUT" in refused(adapters, "got adapters")
    assert not engine.made


def test_what_does_not_go_with_it(
    folder: Path, engine: type[fake_vllm.LLM], monkeypatch: pytest.MonkeyPatch, pictures: Scenes
) -> None:
    refused(folder, "expected no device with --engine vllm, got 'cuda:1'", device="cuda:1")
    with pytest.raises(ModelError, match="expected an engine among local, vllm, got 'tensorrt'"):
        Detector.from_pretrained(folder, engine="tensorrt")
    detector = Detector.from_pretrained(folder, engine="vllm")
    with pytest.raises(ConfigError, match="expected one beam with --engine vllm, got 3"):
        detector.predict(pictures, Generation(num_beams=3))
    assert not engine.made
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused(folder, "expected one process with --engine vllm, got 2 of a launcher")


def test_it_says_where_vllm_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_vllm.importlib.util, "find_spec", lambda _: None)
    refused(folder, "expected vLLM for --engine vllm, which is not installed")


def test_what_vllm_cannot_load_is_an_error_of_ours(
    both: tuple[Detector, Detector], pictures: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise ValueError("No available memory for the cache blocks.")

    monkeypatch.setattr(fake_vllm.LLM, "__init__", full)
    with pytest.raises(ModelError, match="expected a model that vLLM loads, got ValueError: No available memory"):
        list(both[1].predict(pictures))


# Files and the command.


def test_the_file_names_the_engine_and_belongs_to_it(
    folder: Path, engine: type[fake_vllm.LLM], pictures: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, out = tmp_path / "scene.png", tmp_path / "found.jsonl"
    Image.fromarray(pictures[0]).save(image)
    command = ("predict", "--model", folder, "--engine", "vllm", "--out", out, "--max-new-tokens", 4, image)
    words = [str(word) for word in command]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    header, line = map(json.loads, out.read_text().splitlines())
    assert header["generation"]["engine"] == "vllm 0.0"
    ours = Detector.from_pretrained(folder, device="cpu").predict(image, Generation(max_new_tokens=4))
    assert line["windows"][0]["text"] == ours.text
    monkeypatch.setattr(fake_vllm, "__version__", "0.1")
    fake_vllm.install(monkeypatch)
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 1
    assert "vllm 0.0" in again.output
    assert "vllm 0.1" in again.output


# Outlines: models without weights.


@pytest.mark.parametrize("model_type", sampled(list(MODELS), ["internvl"]))
def test_an_outline_reads_and_writes_as_the_model_does(
    model_type: str, class_names: ClassNames, tmp_path: Path, pictures: Scenes
) -> None:
    save_tiny(model_type, tmp_path, class_names, codecs.get("plain"))
    outline, family = _families.outline(str(tmp_path), dtype="bfloat16"), _families.load(str(tmp_path))
    assert outline.dtype == torch.bfloat16
    assert {each.device.type for each in outline.base.parameters()} == {"meta"}
    for size in (None, (96, 96), (80, 60)):
        assert outline.prompt_ids("Find?", size) == family.prompt_ids("Find?", size)
    assert (outline.end_tokens, outline.positions) == (family.end_tokens, family.positions)
    assert outline.never_written == family.never_written
    for picture in pictures:
        shown = outline.resized(picture)
        expected, found = (family._process([each], "Find?") for each in (picture, shown))
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            torch.testing.assert_close(found[name], values, rtol=0, atol=0)
        if model_type in PATCHED:
            assert shown.shape[1::-1] == outline.input_size((picture.shape[1], picture.shape[0]))


# vLLM's own classes.


def test_vllm_takes_what_is_built(folder: Path) -> None:
    vllm = pytest.importorskip("vllm")
    from vllm.engine.arg_utils import EngineArgs

    detector = Detector.from_pretrained(folder, engine="vllm")
    engine = detector.engine
    assert isinstance(engine, _vllm.Vllm)
    EngineArgs(**engine.arguments())
    for each in (
        Decoding(max_new_tokens=9, circle=Circle(4, 20)),
        Decoding(max_new_tokens=9, expression=detector.codec.grammar(detector.class_names)),
        Decoding(max_new_tokens=9, temperature=1.5, top_p=0.9, seed=2**64 - 1),
    ):
        settings = engine._settings(each, place=1)
        assert isinstance(settings, vllm.SamplingParams)


@pytest.mark.parametrize("name", sorted(codecs.CODECS))
def test_vllm_compiles_the_grammar(name: str, class_names: ClassNames) -> None:
    xgrammar = pytest.importorskip("xgrammar")
    codec = codecs.get(name)
    names = class_names[:1] if codec.one_class else class_names
    box = np.array([[40.0, 30.0, 20.0, 10.0, 0.3]])
    text = codec.encode(box, np.array([0]), names, (96, 96), (112, 112))
    alphabet = [bytes([byte]) for byte in range(256)]
    compiler = xgrammar.GrammarCompiler(xgrammar.TokenizerInfo([*alphabet, b"<end>"], stop_token_ids=[256]))
    matcher = xgrammar.GrammarMatcher(compiler.compile_regex(codec.grammar(names)))
    assert all(matcher.accept_token(byte) for byte in text.encode())
    assert matcher.accept_token(256)
