"""Both kinds of detectors behave as one: the same calls, the same options, the same files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lmm_detector
import numpy as np
import pytest
import rbox_baselines
import torch
from click.testing import CliRunner
from lmm_detector.cli.main import main as lmm
from PIL import Image
from rbox_baselines.cli.main import main as baselines
from rbox_formats import Detector, Prediction, load_detector, predictions, synthetic
from rbox_formats.detection import command_of
from rbox_formats.errors import ImageError, RboxError
from rbox_testing import small_retinanet

KINDS = ("lmm-detector", "rbox-baselines")
COMMANDS = {"lmm-detector": lmm, "rbox-baselines": baselines}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A detector of each kind: the one that is shipped, and one that has learnt nothing."""
    folder = tmp_path_factory.mktemp("detectors")
    synthetic.write_scenes(folder / "data", "train", range(2), synthetic.TINY)
    synthetic.write_scenes(folder / "data", "val", range(2), synthetic.TINY)
    checkpoint = small_retinanet.save(folder / "model.pth", folder / "data", synthetic.CLASS_NAMES)
    saved = torch.load(checkpoint, weights_only=True)
    # One that has learnt nothing is sure of nothing.
    saved["meta"]["cfg"] = re.sub(r"score_thr=[\d.]+", "score_thr=0.0", saved["meta"]["cfg"])
    torch.save(saved, checkpoint)
    return {"lmm-detector": "demo", "rbox-baselines": str(checkpoint)}


@pytest.fixture(scope="module")
def detectors(paths: dict[str, str]) -> dict[str, Any]:
    return {kind: load_detector(path, device="cpu") for kind, path in paths.items()}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def detector(kind: str, detectors: dict[str, Any]) -> Any:
    return detectors[kind]


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """(96, 96, 3): a scene that neither has seen."""
    pixels, _ = synthetic.scene(30_000_007, synthetic.VARIED)
    return np.ascontiguousarray(pixels[:96, :96])


@pytest.fixture
def folder(scene: np.ndarray, tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    for name, pixels in (("a", scene), ("b", scene[:, ::-1])):
        Image.fromarray(np.ascontiguousarray(pixels)).save(images / f"{name}.png")
    return images


def same(one: Prediction, other: Prediction) -> None:
    """But for the last bits, which depend on the company in a batch."""
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_a_path_is_enough(kind: str, paths: dict[str, str], detector: Any) -> None:
    assert command_of(paths[kind]) == kind
    assert isinstance(detector, Detector)
    assert isinstance(detector, {"lmm-detector": lmm_detector, "rbox-baselines": rbox_baselines}[kind].Detector)
    assert repr(detector).startswith(f"<Detector of {len(synthetic.CLASS_NAMES)} classes: ")
    assert "\n" not in repr(detector)
    assert len(repr(detector)) < 120


def test_an_image_in_any_form_gives_one_prediction(detector: Any, scene: np.ndarray, folder: Path) -> None:
    expected = detector.predict(folder / "a.png", score_threshold=0.0)
    assert type(expected) is Prediction
    assert expected.class_names == detector.class_names
    assert expected.status in {"boxes", "empty"}
    for form in (str(folder / "a.png"), scene, Image.fromarray(scene), torch.from_numpy(scene).permute(2, 0, 1)):
        same(detector(form, score_threshold=0.0), expected)
    for many in (folder, f"{folder}/*.png", [folder / "a.png", scene], np.stack([scene, scene])):
        found = detector(many, score_threshold=0.0)
        assert isinstance(found, Iterator)
        first, _ = found
        same(first, expected)
    with pytest.raises(ImageError, match="got an address on the network"):
        detector("https://example.org/a.png")


def test_windows_are_those_asked_for(detector: Any, scene: np.ndarray) -> None:
    """Four copies of a scene side by side, in windows of one: the boxes of each, moved."""
    wide = np.concatenate([scene] * 4, axis=1)
    alone = detector.predict(scene, window=96, gap=0, score_threshold=0.0)
    found = detector.predict(wide, window=96, gap=0, score_threshold=0.0, batch_size=3)
    # What is cut by a border is merged with the neighbour's part.
    inside = alone.boxes[np.all((alone.corners >= 0) & (alone.corners <= 96), axis=(1, 2))]
    assert len(inside) > 0
    for number in range(4):
        moved = inside + np.array([96 * number, 0, 0, 0, 0])
        distances = np.abs(found.boxes[:, None] - moved).max(axis=2).min(axis=0)
        assert (distances < 1e-3).all()
    whole = detector.predict(wide, window=0, score_threshold=0.0)
    assert whole.size == (384, 96)
    if (windows := whole.metadata.get("windows")) is not None:
        assert [each["window"] for each in windows] == [[0, 0, 384]]


def test_windows_that_cannot_be(detector: Any, scene: np.ndarray) -> None:
    with pytest.raises(RboxError, match=r"expected a gap of 0 px or more, below the window.* of 64 px, got 64"):
        detector.predict(scene, window=64, gap=64)
    with pytest.raises(RboxError, match="expected a score threshold from 0 to 1, got 2"):
        detector.predict(scene, score_threshold=2)


def test_the_score_threshold_drops_what_scores_less(detector: Any, scene: np.ndarray) -> None:
    found = detector.predict(scene, score_threshold=0.0)
    assert len(found) > 1
    between = float(np.sort(found.scores)[-2:].mean())
    sure = detector.predict(scene, score_threshold=between)
    assert len(sure) == 1
    same(sure, found[found.scores >= between])


def test_windows_are_detected_one_by_one(detector: Any, scene: np.ndarray) -> None:
    records = detector.detect([scene, scene[:, ::-1].copy()])
    assert len(records) == 2
    assert [record.size for record in records] == [(96, 96)] * 2
    expected = detector.predict(scene, window=0, score_threshold=0.0)
    np.testing.assert_allclose(np.sort(records[0].boxes, axis=0), np.sort(expected.boxes, axis=0), atol=1e-3)


def predict(kind: str, paths: dict[str, str], *words: object) -> Any:
    given = ["predict", "--model", paths[kind], "--device", "cpu", *map(str, words)]
    return CliRunner().invoke(COMMANDS[kind], given, catch_exceptions=False)


def test_commands_take_the_same_options_and_write_the_same_files(
    kind: str, paths: dict[str, str], folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("rasterio")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:100])
    for name in ("a", "b", "broken"):  # half a metre a pixel, north up
        (folder / f"{name}.pgw").write_text("0.5\n0\n0\n-0.5\n1000.25\n1999.75\n")
    out = tmp_path / "found.jsonl"
    options = ("--window", 96, "--gap", 16, "--score-threshold", 0.001, "--batch-size", 2)
    more = ("--pictures", tmp_path / "pictures", "--geojson", tmp_path / "map.geojson")
    result = predict(kind, paths, folder, "--out", out, *options, *more)
    assert result.exit_code == 1, result.output
    assert "broken.png" in result.output
    assert "--skip-broken" in result.output
    for _ in range(2):  # the second time nothing is predicted again
        result = predict(kind, paths, folder, "--out", out, *options, *more, "--skip-broken")
        assert result.exit_code == 0, result.output
        assert "1 broken images were left out" in caplog.text
        assert f"The predictions are in {out}, the pictures in {tmp_path / 'pictures'}, for a map in" in result.output
    found = list(predictions.read(out))
    assert [record.image_id for record in found] == ["a", "b"]
    assert all((record.scores >= 0.001).all() for record in found)
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["a.png", "b.png", "sheet.png"]
    features = json.loads((tmp_path / "map.geojson").read_text())["features"]
    assert [feature["properties"]["image_id"] for feature in features] == [
        record.image_id for record in found for _ in range(len(record))
    ]
    x, y = np.array(features[0]["geometry"]["coordinates"][0][0])
    corner = found[0].corners[0, 0]
    np.testing.assert_allclose([x, y], [1000 + corner[0] / 2, 2000 - corner[1] / 2])


def test_what_cannot_be_written_is_said_before_the_model_is_loaded(
    kind: str, paths: dict[str, str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*_: Any, **__: Any) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(lmm_detector.Detector, "from_pretrained", loaded)
    monkeypatch.setattr(rbox_baselines.Detector, "from_checkpoint", loaded)
    out = ("--out", tmp_path / "p.jsonl")
    for words, code, message in (
        ((folder, *out, "--geojson", tmp_path / "x.gpkg"), 1, "a place on the map for a GeoPackage"),
        ((folder, *out, "--geojson", tmp_path / "x.geojson", "--geojson-crs", "EPSG:4326"), 1, "known system"),
        ((folder, *out, "--geojson-crs", "EPSG:4326"), 2, "give both"),
        ((folder, *out, "--pictures", folder), 1, "expected another file to write to: this one is read"),
        ((folder, "--data", folder, *out), 2, "Give one of --data, --shards, and images."),
        (out, 2, "Give one of --data, --shards, and images."),
        (("s3://bucket/a.png", *out), 1, "expected images"),
    ):
        result = predict(kind, paths, *words)
        assert (result.exit_code, message in result.output) == (code, True), result.output
    assert not (tmp_path / "p.jsonl").exists()


def test_the_wrong_command_names_the_right_one(paths: dict[str, str], folder: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "p.jsonl")
    result = predict("lmm-detector", {"lmm-detector": paths["rbox-baselines"]}, folder, *out)
    assert f"`rbox-baselines predict --model {paths['rbox-baselines']}`" in result.output
    weights = lmm_detector.__path__[0] + "/_demo/weights"
    result = predict("rbox-baselines", {"rbox-baselines": weights}, folder, *out)
    assert f"`lmm-detector predict --model {weights}`" in result.output
    assert result.exit_code == 1


def test_predictions_are_drawn_without_ground_truth(
    detectors: dict[str, Any], folder: Path, tmp_path: Path, invoke: Callable[..., Any]
) -> None:
    rbox_baselines.predict(detectors["rbox-baselines"], sorted(folder.iterdir()), tmp_path / "p.jsonl")
    words = ("visualize", "--predictions", tmp_path / "p.jsonl", "--out", tmp_path / "pictures")
    result = invoke(lmm, *words, folder / "b.png")
    assert "1 picture is in" in result.output
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["b.png", "sheet.png"]
    assert invoke(lmm, *words, code=2).output.endswith("Give either --data, or images.\n")


@pytest.fixture
def invoke() -> Callable[..., Any]:
    def run(group: Any, *words: object, code: int = 0) -> Any:
        result = CliRunner().invoke(group, [*map(str, words)], catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    return run
