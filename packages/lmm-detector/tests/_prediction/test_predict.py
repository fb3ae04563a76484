"""Prediction: windows put together, and files that a killed run goes on with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lmm_detector import Detector, find_images, predict
from lmm_detector._families import Answer, Decoding, Sample
from lmm_detector._prediction._detector import Generation
from lmm_detector.errors import ModelError
from PIL import Image
from rbox_formats import codecs, files, images, predictions, rbox_to_quad, tiling
from rbox_formats.errors import DatasetError, ImageError, PredictionsError

CODEC = codecs.get("florence2")


@pytest.fixture
def paths(scenes: Path) -> list[Path]:
    return find_images([scenes / "val" / "images"])


class Oracle:
    """Stands in for the model alone: it answers each window with what is truly in it."""

    def __init__(self, boxes: np.ndarray, labels: np.ndarray, names: Any, size: int) -> None:
        self.boxes, self.labels, self.names, self.size = boxes, labels, names, size
        self.corners: list[tuple[int, int]] = []

    def answer_room(self, *_: object) -> int:
        return 1000

    def input_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        return image_size

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [10] * len(texts)

    def generate(self, crops: Sequence[np.ndarray], *_: object) -> list[Answer]:
        answers = []
        for crop in crops:
            y, x = (int(v) for v in crop[0, 0, :2])  # each pixel of the image holds its own place
            inside = (np.abs(self.boxes[:, :2] - (x + self.size / 2, y + self.size / 2)) < self.size / 2).all(axis=1)
            local = self.boxes[inside] - np.array([x, y, 0, 0, 0])
            text = CODEC.encode(local, self.labels[inside], self.names, (self.size, self.size)) + "</s>"
            answers.append(Answer(text, np.zeros(0, dtype=np.int64), True))
        return answers


def test_windows_put_together_give_the_image_back(detector: Detector, tmp_path: Path) -> None:
    """Each object comes out once, where it is, though most lie in two or four windows."""
    y, x = np.mgrid[:200, :230]
    Image.fromarray(np.stack([y, x, 0 * x], axis=-1).astype(np.uint8)).save(tmp_path / "a.png")
    grid = np.stack(np.meshgrid(np.arange(12, 220, 24), np.arange(12, 190, 24)), axis=-1).reshape(-1, 2)
    boxes = np.concatenate([grid, np.tile([12.0, 5.0, 0.4], (len(grid), 1))], axis=1).astype(np.float64)
    labels = np.arange(len(boxes)) % 4
    oracle = replace(detector, family=Oracle(boxes, labels, detector.class_names, 96))  # type: ignore[arg-type]
    (record,) = oracle.predict([tmp_path / "a.png"], Generation(scores="none"))
    assert record.size == (230, 200)
    assert len(record.metadata["windows"]) == 12
    assert record.metadata["status"] == "boxes"
    assert len(record) == len(boxes)
    order, ours = (np.lexsort((b[:, :2] // 24).T) for b in (boxes, record.boxes))
    np.testing.assert_allclose(record.boxes[ours][:, :2], boxes[order][:, :2], atol=0.1)
    np.testing.assert_array_equal(record.labels[ours], labels[order])


def test_coordinates_are_the_images(detector: Detector, paths: list[Path]) -> None:
    """Every box and quad of the file is one of a window's text, moved by the window's corner."""
    for record in detector.predict(paths):
        candidates, written = [], []
        for window in record.metadata["windows"]:
            x, y, size = window["window"]
            found = CODEC.decode(window["text"], detector.class_names, (size, size), on_invalid="ignore")
            candidates.append(rbox_to_quad(found.boxes) + np.array([x, y]))
            written.append(found.quads + np.array([x, y]))
        corners, quads = np.concatenate(candidates), np.concatenate(written)
        for quad in rbox_to_quad(record.boxes):
            assert np.abs(corners - quad).max(axis=(1, 2)).min() < 1e-9
        for quad in record.quads:
            assert np.abs(quads - quad).max(axis=(1, 2)).min() < 1e-9


@pytest.mark.slow
def test_batch_size_does_not_matter(detector: Detector, paths: list[Path]) -> None:
    one, many = (list(detector.predict(paths, Generation(batch_size=n))) for n in (1, 5))
    for ours, theirs in zip(one, many, strict=True):
        assert ours.image_id == theirs.image_id
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)
        assert ours.metadata == theirs.metadata
    assert sum(len(record) for record in one) > 0


def test_scores_are_the_probabilities_of_what_was_written(detector: Detector, paths: list[Path]) -> None:
    """Of every box of a window: eight coordinates and a label, each the softmax of the logits at its place."""
    tokenizer = detector.family.tokenizer
    record = next(iter(detector.predict(paths[:1], Generation(max_new_tokens=40, batch_size=1))))
    ours = sorted(record.scores.tolist())
    expected: list[float] = []
    image = images.load(paths[0])
    for about, window in zip(record.metadata["windows"], detector.windows(paths[0]), strict=True):
        batch = detector.family.collate([Sample(tiling.crop(image, window), about["text"], True)], detector.spec.prompt)
        ids = tokenizer(about["text"], add_special_tokens=False, return_tensors="pt").input_ids
        batch["labels"] = ids  # <s> is in the text
        del batch["decoder_input_ids"]
        with torch.no_grad():
            probabilities = detector.family.model(**detector.family.on_device(batch)).logits.softmax(dim=-1)[0]
        label, inside, eight = 1.0, False, []
        for token, row, number in zip(tokenizer.convert_ids_to_tokens(ids[0]), probabilities, ids[0], strict=True):
            chance = float(row[number])
            if token.startswith("<loc_"):
                eight.append(chance)
                if len(eight) == 8:
                    expected.append(label * sum(eight) / 8)
            elif token.startswith("<"):
                eight = []
            else:  # a piece of a name
                label = chance * (label if inside and not eight else 1.0)
                eight = []
            inside = not token.startswith("<")
    assert ours
    for score in ours:
        assert min(abs(score - other) for other in expected) < 1e-5


def test_constrained_answers_hold_nothing_else(detector: Detector, paths: list[Path]) -> None:
    for record in detector.predict(paths, Generation(constrained=True, max_new_tokens=40)):
        for window in record.metadata["windows"]:
            # Only boxes that come twice, which the grammar cannot see.
            assert all("repeats" in reason for *_, reason in window["rejected"])
            assert window["status"] in ("boxes", "empty")


def test_a_box_that_comes_again_is_dropped_and_said(detector: Detector, paths: list[Path]) -> None:
    box = "".join(f"<loc_{number}>" for number in (100, 100, 100, 300, 300, 300, 300, 100))

    class Circling:
        def __getattr__(self, name: str) -> Any:
            return getattr(detector.family, name)

        def generate(self, crops: Any, *args: Any) -> list[Answer]:
            tokens = detector.family.tokenizer(f"ship{box}<sep>{box}<sep>{box}</s>", add_special_tokens=False).input_ids
            return [Answer(detector.family.read(tokens)[0], np.array(tokens), True) for _ in crops]

    (record,) = replace(detector, family=Circling()).predict(paths[:1])  # type: ignore[arg-type]
    assert len(record) == 4  # one in each window
    for window in record.metadata["windows"]:
        assert [reason for *_, reason in window["rejected"]] == ["a box that repeats box 0"] * 2


def test_an_answer_that_is_cut_is_marked(detector: Detector, paths: list[Path], tmp_path: Path, caplog: Any) -> None:
    out = predict(detector, paths, tmp_path / "p.jsonl", generation=Generation(max_new_tokens=5))
    assert {record.metadata["status"] for record in predictions.read(out)} == {"truncated"}
    assert "3 of 3 images have an answer that ran into the length limit" in caplog.text


def test_the_file_says_what_made_it(detector: Detector, paths: list[Path], tmp_path: Path) -> None:
    file = predictions.read(predict(detector, paths, tmp_path / "p.jsonl", dataset={"data": "x"}))
    assert [record.image_id for record in file] == [path.stem for path in paths]
    assert file.header.codec == {"name": "florence2", "version": 2}
    assert file.header.dataset == {"data": "x"}
    assert file.header.generation == {
        "num_beams": 1,
        "max_new_tokens": None,
        "scores": "mean",
        "constrained": False,
        "temperature": None,
        "top_p": 1.0,
        "seed": 0,
        "max_repeats": 4,
        "dtype": "torch.float32",
    }
    assert file.header.fingerprint == detector.fingerprint
    for record, path in zip(file, paths, strict=True):
        assert record.size == images.read_size(path)
        assert record.scores is not None
        assert ((record.scores > 0) & (record.scores < 1)).all()
    bare = predictions.read(predict(detector, paths, tmp_path / "bare.jsonl", generation=Generation(scores="none")))
    assert all(record.scores is None for record in bare)


def test_other_weights_have_another_fingerprint(detector: Detector, tiny_model: Path, tmp_path: Path) -> None:
    for path in tiny_model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    detector.spec.save(tmp_path)
    assert Detector.from_pretrained(tmp_path, device="cpu").fingerprint != detector.fingerprint


# Of twelve images of four windows: how many a stopped run left, and how many windows are predicted then.
LEFT = [(0, 48), (1, 48), (4, 32), (7, 32), (8, 16), (11, 16), (12, 0)]


@pytest.mark.parametrize("left", [LEFT[5:], pytest.param(LEFT, marks=[pytest.mark.slow, pytest.mark.variant])], ids=len)
def test_what_a_file_holds_is_not_predicted_again(
    left: list[tuple[int, int]], detector: Detector, paths: list[Path], tmp_path: Path
) -> None:
    """Blocks of 16 windows at least: of four images each."""
    paths = copies(paths, tmp_path / "images", 4)  # twelve images of four windows
    generation = Generation(batch_size=4, max_new_tokens=20)
    out = predict(detector, paths, tmp_path / "p.jsonl", generation=generation)
    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)

    class Counting:
        calls = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(detector.family, name)

        def generate(self, crops: Any, *args: Any) -> list[Answer]:
            Counting.calls += len(crops)
            return detector.family.generate(crops, *args)

    counting = replace(detector, family=Counting())  # type: ignore[arg-type]
    # What a stop left: the header, so many images, and half of one. The same bytes, scores too, because the batches
    # are the same: those of the images' block are done again.
    for images_left, windows in left:
        Counting.calls = 0
        out.write_bytes(b"".join(lines[: images_left + 1]) + (b'{"image_id": "to' if windows else b""))
        predict(counting, paths, out, generation=generation)
        assert out.read_bytes() == whole
        assert Counting.calls == windows


def copies(paths: Sequence[Path], folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    made = [folder / f"{path.stem}_{number}.png" for number in range(count) for path in paths]
    for number, target in enumerate(made):
        target.write_bytes(paths[number % len(paths)].read_bytes())
    return made


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_file(
    start: Callable[..., Any], detector: Detector, scenes: Path, tmp_path: Path
) -> None:
    """SIGKILL as soon as the first part is there; the same bytes at the end."""
    model = Path(detector.family.model.name_or_path)
    source = tmp_path / "images"
    copies(sorted((scenes / "val" / "images").iterdir()), source, 4)

    def command(out: Path) -> Any:
        return start(["predict", "--model", model, "--out", out, "--batch-size", 2, "--max-new-tokens", 30, source])

    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    process = command(whole)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output

    process = command(killed)
    while process.poll() is None and not files.visible(tmp_path / "killed.jsonl.parts"):
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert files.visible(tmp_path / "killed.jsonl.parts")
    assert not killed.exists()

    process = command(killed)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "windows are done already" in output
    assert killed.read_bytes() == whole.read_bytes()
    ids = [json.loads(line)["image_id"] for line in killed.read_text().splitlines()[1:]]
    assert len(ids) == len(set(ids)) == 12


def test_another_detectors_file_is_refused(detector: Detector, paths: list[Path], tmp_path: Path) -> None:
    out = predict(detector, paths[:1], tmp_path / "p.jsonl")
    with pytest.raises(PredictionsError, match="fingerprint"):
        predict(replace(detector, fingerprint="sha256:other"), paths, out)
    with pytest.raises(PredictionsError, match="generation"):
        predict(detector, paths, out, generation=Generation(num_beams=3))


def test_images_are_looked_over_before_anything_is_written(
    detector: Detector, paths: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(paths[0].read_bytes()[:-40])
    with pytest.raises(ImageError, match=r"broken\.png: expected a whole image"):
        predict(detector, [*paths, broken], tmp_path / "p.jsonl")
    with pytest.raises(ImageError, match=r"(?s)and 1 more:\n.*gone\.png.*--skip-broken"):
        predict(detector, [broken, tmp_path / "gone.png"], tmp_path / "p.jsonl")
    (tmp_path / "copy").mkdir()
    twin = tmp_path / "copy" / paths[0].name
    twin.write_bytes(paths[0].read_bytes())
    with pytest.raises(DatasetError, match="expected images of different names"):
        predict(detector, [*paths, twin], tmp_path / "p.jsonl")
    assert not (tmp_path / "p.jsonl").exists()


def test_broken_images_are_left_out_where_that_is_asked_for(
    detector: Detector, paths: list[Path], tmp_path: Path, caplog: Any
) -> None:
    """Also where only decoding shows the damage, in the middle of an image; the others come out as without them."""
    generation = Generation(max_new_tokens=20, batch_size=3)
    header = tmp_path / "header.png"
    header.write_bytes(paths[0].read_bytes()[:-40])
    late = tmp_path / "late.tif"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (160, 160, 3), dtype=np.uint8)).save(late)
    late.write_bytes(late.read_bytes()[:-30000])  # its header stands in front
    images.check(late)
    given = [paths[0], header, late, *paths[1:], late]
    out = predict(detector, given, tmp_path / "p.jsonl", generation=generation, skip_broken=True)
    assert [record.image_id for record in predictions.read(out)] == [path.stem for path in paths]
    message = caplog.records[-1].getMessage()
    assert message.startswith("2 broken images were left out:\n")
    assert "header.png: expected a whole image" in message
    assert "late.tif: expected a whole image" in message
    with pytest.raises(ImageError, match=r"late\.tif: expected a whole image"):
        predict(detector, [late], tmp_path / "q.jsonl", generation=generation)


def test_beams_and_dtype_reach_the_model(detector: Detector, paths: list[Path]) -> None:
    asked = []

    class Recording:
        def __getattr__(self, name: str) -> Any:
            return getattr(detector.family, name)

        def generate(self, crops: Any, prompt: str, decoding: Decoding) -> list[Answer]:
            asked.append((prompt, decoding))
            return detector.family.generate(crops, prompt, decoding)

    recording = replace(detector, family=Recording())  # type: ignore[arg-type]
    list(recording.predict(paths[:1], Generation(num_beams=3, max_new_tokens=7)))
    ((prompt, decoding),) = asked
    assert prompt == CODEC.prompt
    assert decoding.circle is not None
    assert replace(decoding, circle=None) == Decoding(num_beams=3, max_new_tokens=7)
    # <s>, a name of up to two tokens, eight coordinates and the end
    assert (decoding.circle.repeats, decoding.circle.box_tokens) == (4, 12)
    folder = detector.family.model.name_or_path
    assert str(Detector.from_pretrained(folder, dtype="bfloat16", device="cpu").family.model.dtype) == "torch.bfloat16"


def test_answers_longer_than_the_model_can_write(detector: Detector, paths: list[Path]) -> None:
    with pytest.raises(ModelError, match="expected answers of at most 512 tokens, which the model can write, got 513"):
        list(detector.predict(paths, Generation(max_new_tokens=513)))


@pytest.mark.parametrize("option", [{"device": "bogus"}, {"dtype": "int8"}])
def test_devices_and_dtypes_that_there_are_not(option: dict[str, str], detector: Detector) -> None:
    with pytest.raises(ModelError, match="expected a"):
        Detector.from_pretrained(detector.family.model.name_or_path, **option)


def test_folders_that_are_no_detectors(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"expected a trained detector, found no detector\.json"):
        Detector.from_pretrained(tiny_model)
    (tmp_path / "detector.json").write_text("{}")
    with pytest.raises(ModelError, match="expected a detector's settings, got class_names"):
        Detector.from_pretrained(tmp_path)


@pytest.mark.parametrize("field", ["num_beams", "max_new_tokens", "batch_size"])
def test_settings_below_one(field: str) -> None:
    with pytest.raises(ModelError, match=f"expected {field} of 1 or more, got 0"):
        Generation(**{field: 0})


def test_how_images_are_shown_is_part_of_the_file(
    detector: Detector, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted((scenes / "train" / "images").iterdir())[:1]
    monkeypatch.setenv("RBOX_BANDS", "3,2,1")
    out = predict(detector, paths, tmp_path / "p.jsonl", generation=Generation(max_new_tokens=8))
    header = json.loads(out.read_text().splitlines()[0])
    assert header["generation"]["bands"] == "3,2,1"
    assert "stretch" not in header["generation"]
    monkeypatch.delenv("RBOX_BANDS")
    with pytest.raises(PredictionsError, match="generation"):
        predict(detector, paths, out, generation=Generation(max_new_tokens=8))
