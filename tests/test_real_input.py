"""The commands on real DOTA images, for a few steps, on windows of 1024 px and smaller."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import shapely
from click.testing import CliRunner, Result
from lmm_detector.cli.main import main
from rbox_formats import codecs, datasets
from rbox_formats.cli.main import main as rbox_formats
from rbox_formats.datasets import dota
from rbox_testing.places import SHARED
from rbox_testing.tiny_florence2 import save_tiny_florence2

DATA = SHARED / "data" / "dota-example"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="real DOTA images are not here")


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained; its 8,192 positions hold the text of every window."""
    folder = tmp_path_factory.mktemp("model")
    return save_tiny_florence2(folder, dota.V1_0, codecs.get("florence2"), max_tokens=8192)


@pytest.mark.slow
@pytest.mark.parametrize("window, windows", [(1024, 5), (512, 13)])
def test_train_predict_evaluate_visualize(window: int, windows: int, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(
        *("train", "--format", "dota", "--data", DATA, "--model", model, "--out", out, "--window", window),
        *("--steps", 3, "--batch-size", 2, "--log-every", 1, "--learning-rate", 1e-3, "--cpu"),
    )
    losses = [entry["loss"] for entry in read_lines(out / "losses.jsonl")]
    assert len(losses) == 3
    assert losses[-1] < losses[0]

    texts = read_lines(out / "texts.jsonl")
    assert len(texts) == windows
    assert all(entry["left_out"] == 0 for entry in texts)
    assert_texts_are_the_annotations(texts)

    predicted = ("--predictions", out / "p.jsonl")
    run("predict", "--model", out / "model", "--data", DATA, "--out", out / "p.jsonl", "--max-new-tokens", 30)
    lines = read_lines(out / "p.jsonl")[1:]
    assert [(line["image_id"], line["width"], line["height"]) for line in lines] == [
        ("P0706", 1111, 1182),
        ("P1888", 712, 557),
    ]
    assert sum(len(line["windows"]) for line in lines) == windows
    # Three of the five label files have no image here.
    report = run("evaluate", "--data", DATA, *predicted, "--only-with-images", "--out", out / "report.json")
    figures = json.loads((out / "report.json").read_text())
    assert 0.0 <= figures["f1_micro"] < 0.1  # three steps teach nothing
    assert "594" in report.output  # of 600 objects on the two images 6 are difficult
    run("visualize", "--data", DATA, *predicted, "--out", out / "pictures")
    assert {path.name for path in (out / "pictures").iterdir()} == {"P0706.png", "P1888.png", "sheet.png"}


def test_the_annotations_themselves_score_one(tmp_path: Path) -> None:
    """Written as text, read back and scored: every object is found, but for the difficult ones, which do not count."""
    names = ",".join(dota.V1_0)
    commands = (
        ["encode", "--data", DATA, "--out", tmp_path / "texts.jsonl"],
        ["decode", tmp_path / "texts.jsonl", "--class-names", names, "--out", tmp_path / "p.jsonl"],
    )
    for command in commands:
        result = CliRunner().invoke(rbox_formats, [str(word) for word in command], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    scored = ("--predictions", tmp_path / "p.jsonl", "--only-with-images", "--out", tmp_path / "report.json")
    run("evaluate", "--data", DATA, *scored)
    figures = json.loads((tmp_path / "report.json").read_text())
    assert figures["f1_micro"] == figures["map_nc_tied"] == 1.0


def assert_texts_are_the_annotations(texts: list[dict]) -> None:
    """Every annotated object inside a window is in its text, where it is, under its name; read here by hand."""
    annotated = {record.image_id: record for record in datasets.read("dota", DATA)}
    seen: dict[str, set[int]] = {}
    for entry in texts:
        record = annotated[entry["image_id"]]
        x, y, size = entry["window"]
        inside = [
            i
            for i, quad in enumerate(record.quads)
            if shapely.box(x, y, x + size, y + size).covers(shapely.Polygon(quad))
        ]
        seen.setdefault(record.image_id, set()).update(inside)
        written = []
        for group in entry["text"].split(">"):
            name, _, number = group.partition("<loc_")
            if name and not name.startswith("<sep"):
                written.append((name, []))
            elif name.startswith("<sep"):
                written.append((written[-1][0], []))
                continue
            if number:
                written[-1][1].append((int(number) + 0.5) * size / 1000)
        polygons = [(name, shapely.Polygon(zip(values[::2], values[1::2], strict=True))) for name, values in written]
        assert entry["objects"] == len(polygons) >= len(inside)
        for i in inside:
            name = dota.V1_0[record.labels[i]].replace("-", " ")
            quad = shapely.Polygon(record.quads[i] - (x, y))
            best = max(quad.intersection(p).area / quad.union(p).area for other, p in polygons if other == name)
            assert best > 0.8
    for image_id, objects in seen.items():
        whole = shapely.box(0, 0, *annotated[image_id].size)
        on_image = [i for i, quad in enumerate(annotated[image_id].quads) if whole.covers(shapely.Polygon(quad))]
        if texts[0]["window"][2] == 1024:
            assert objects == set(on_image)
