"""Served detectors of both kinds give what their `predict` gives, to the last bit."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from rbox_formats import load_detector, synthetic
from rbox_formats.detection import StepwiseDetector
from rbox_serve._app import make_app
from rbox_serve._settings import Settings
from rbox_testing import small_retinanet
from rbox_testing.places import ROOT
from rbox_testing.samples import sampled

KINDS = ("multimodal", "conventional")
BATCH = 4


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The detector that is shipped, and one that has learnt nothing and says all that it sees."""
    folder = tmp_path_factory.mktemp("detectors")
    for split in ("train", "val"):
        synthetic.write_scenes(folder / "data", split, range(2), synthetic.TINY)
    checkpoint = small_retinanet.save(folder / "model.pth", folder / "data", synthetic.CLASS_NAMES)
    saved = torch.load(checkpoint, weights_only=True)
    saved["meta"]["cfg"] = re.sub(r"score_thr=[\d.]+", "score_thr=0.0", saved["meta"]["cfg"])
    torch.save(saved, checkpoint)
    return {"multimodal": "demo", "conventional": str(checkpoint)}


@pytest.fixture(scope="module")
def detectors(models: dict[str, str]) -> dict[str, Any]:
    return {kind: load_detector(path, device="cpu") for kind, path in models.items()}


@pytest.fixture(scope="module")
def client(models: dict[str, str]) -> Iterator[TestClient]:
    # Windows wait long for others, so that the batches of these tests are known.
    app = make_app(Settings(models, device="cpu", batch_size=BATCH, wait=30.0))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        until(lambda: client.get("/ready").status_code == 200, 120)
        yield client


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Small pictures, and one of several windows."""
    folder = tmp_path_factory.mktemp("images")
    scenes = [synthetic.scene(30_000_000 + n, synthetic.VARIED)[0] for n in range(8)]
    pictures = [*scenes[:4], np.concatenate([np.concatenate(scenes[n : n + 3], axis=1) for n in (2, 5)])]
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / f"scene-{number}.png")
    return sorted(folder.iterdir())


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def detect(client: TestClient, kind: str, path: Path, **options: Any) -> dict[str, Any]:
    options = {"window": 96, "gap": 16, "score_threshold": 0.0, **options}
    answer = client.post(f"/v1/models/{kind}/detect", files={"image": (path.name, path.read_bytes())}, params=options)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def predict(detector: Any, images: Any, **options: Any) -> Any:
    return detector.predict(images, **{"window": 96, "gap": 16, "score_threshold": 0.0, "batch_size": BATCH, **options})


def plain(found: Any) -> Any:
    """As JSON has it: numbers of 64 bits are read back as they were."""
    return json.loads(json.dumps(found.to_dict()))


@pytest.mark.parametrize("kind", KINDS)
def test_exact_answers_are_those_of_predict_whatever_else_is_detected(
    kind: str, client: TestClient, detectors: dict[str, Any], images: list[Path]
) -> None:
    expected = [plain(predict(detectors[kind], path)) for path in images]
    assert sum(len(each["boxes"]) for each in expected) > 5
    with ThreadPoolExecutor(len(images)) as pool:
        found = list(pool.map(lambda path: detect(client, kind, path, exact="true"), images))
    assert [each["record"] for each in found] == expected


@pytest.mark.parametrize("kind", sampled(KINDS, ["conventional"]))
def test_pictures_that_share_a_batch_are_detected_as_predict_does_with_that_batch(
    kind: str, client: TestClient, detectors: dict[str, Any], images: list[Path]
) -> None:
    expected = [plain(found) for found in predict(detectors[kind], images[:BATCH])]
    alone = [plain(predict(detectors[kind], path)) for path in images[:BATCH]]
    found: dict[int, Any] = {}

    def ask(number: int) -> None:
        found[number] = detect(client, kind, images[number])["record"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(BATCH)]
    for number, thread in enumerate(threads):
        thread.start()
        if number + 1 < BATCH:  # the last one fills the batch
            waits = f'waiting_windows{{model="{kind}"}} {number + 1}.0'
            until(lambda waits=waits: waits in client.get("/metrics").text)  # type: ignore[misc]
            time.sleep(0.2)  # it is read
    for thread in threads:
        thread.join(60)
    assert [found[number] for number in range(BATCH)] == expected
    # What differs from a batch of one are the last bits alone.
    for one, other in zip(expected, alone, strict=True):
        assert one["labels"] == other["labels"]
        np.testing.assert_allclose(one["boxes"], other["boxes"], atol=1e-3)
        np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-5)


def test_texts_and_boxes_are_told_as_they_are_written(
    client: TestClient, detectors: dict[str, Any], images: list[Path]
) -> None:
    path = images[-1]
    options = {"format": "events", "window": 96, "gap": 16, "exact": "true"}
    answer = client.post(
        "/v1/models/multimodal/detect", files={"image": (path.name, path.read_bytes())}, params=options
    )
    events = [
        (lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: ")))
        for lines in (block.split("\n") for block in answer.text.split("\n\n")[:-1])
    ]
    kind, result = events[-1]
    expected = predict(detectors["multimodal"], path)
    assert (kind, result["record"]) == ("result", plain(expected))
    windows = result["record"]["windows"]
    texts = [
        "".join(d["text"] for kind, d in events if kind == "text" and d["window"] == n) for n in range(len(windows))
    ]
    assert texts == [window["text"] for window in windows]
    told = {(d["window"], tuple(d["span"])): d["box"] for kind, d in events if kind == "box"}
    assert len(told) >= len(expected) > 3  # windows overlap
    for box, (window, start, stop) in zip(result["record"]["boxes"], result["spans"], strict=True):
        np.testing.assert_allclose(told[window, (start, stop)], box)


@pytest.mark.parametrize("kind", sampled(KINDS, ["conventional"]))
def test_spans_stay_with_their_boxes(kind: str, detectors: dict[str, Any], images: list[Path]) -> None:
    """Read again, the characters of a span give the numbers of its box."""
    found = predict(detectors[kind], images[-1])
    assert isinstance(detectors[kind], StepwiseDetector)
    if kind == "conventional":
        assert found.spans is None
        return
    few = found[found.boxes[:, 0] > 100]
    assert 0 < len(few) < len(found)
    for box, (number, start, stop) in zip(few.boxes, few.spans, strict=True):
        window = few.metadata["windows"][number]
        cx, cy, w, h, degrees = (float(value) for value in window["text"][start:stop].split(","))
        x, y, side = window["window"]
        shape = [x + cx * side / 1000, y + cy * side / 1000, w * side / 1000, h * side / 1000]
        np.testing.assert_allclose(sorted(box[:4]), sorted(shape), atol=1e-6)
        turned = (box[4] - np.radians(degrees)) / (np.pi / 2)
        assert abs(turned - round(turned)) < 1e-6


def test_the_demonstration_serves_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the newest checkpoint of the other demonstration, which is run first where it is not there."""
    import subprocess

    from rbox_serve import _running

    tool = run_path(str(ROOT / "tools" / "serve_demo.py"))
    ran, served = [], []

    def train(words: list[Any], check: bool) -> None:
        ran.append(words)
        (tmp_path / "training").mkdir()
        for age, number in enumerate((8, 4)):
            path = tmp_path / "training" / f"epoch_{number}.pth"
            path.touch()
            os.utime(path, (1000 - age, 1000 - age))
        (tmp_path / "sheet.png").touch()

    monkeypatch.setattr(subprocess, "run", train)
    monkeypatch.setattr(_running, "serve", lambda settings, host, port: served.append((settings, port)))
    for name, value in (("RUN", tmp_path), ("DONE", tmp_path / "sheet.png")):
        monkeypatch.setitem(tool["main"].__globals__, name, value)
    monkeypatch.setattr("sys.argv", ["serve_demo.py", "--port", "7"])
    for _ in range(2):
        with pytest.raises(SystemExit):
            tool["main"]()
    [words] = ran
    assert words[1:] == [ROOT / "tools" / "demo_baseline.py", "--out", tmp_path]
    for settings, port in served:
        assert (settings.demo, port) == (True, 7)
        assert settings.models == {"demo": "demo", "retinanet": str(tmp_path / "training" / "epoch_8.pth")}
    assert len(served) == 2
