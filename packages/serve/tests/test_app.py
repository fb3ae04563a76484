"""What each address answers."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator
from PIL import Image
from rbox_formats import datasets, predictions, rbox_to_quad, synthetic
from rbox_formats.detection import Detector, StepwiseDetector
from rbox_serve import _pictures
from rbox_serve._app import make_app
from rbox_serve._models import Model
from rbox_serve._settings import Limits, Settings

DETECT = "/v1/models/bright/detect"


@contextmanager
def serving(*models: str, until_ready: bool = True, **settings: Any) -> Iterator[TestClient]:
    app = make_app(Settings({name: name for name in models or ("bright",)}, **{"wait": 0.0, **settings}))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        deadline = time.monotonic() + 20
        while until_ready and client.get("/ready").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield client


@pytest.fixture
def client(detectors: dict[str, Any]) -> Iterator[TestClient]:
    with serving("bright", "writer") as client:
        yield client


def upload(picture: Path) -> dict[str, Any]:
    return {"image": (picture.name, picture.read_bytes(), "image/png")}


def error_of(answer: Any) -> str:
    error = answer.json()["error"]
    assert set(error) == {"message", "remedy"}
    return f"{error['message']} {error['remedy']}"


def test_models_are_listed(client: TestClient) -> None:
    about = {"command": "test-detector", "classes": ["bright", "dark"], "convention": "le90", "ready": True}
    assert client.get("/v1/models").json() == {
        "models": [{"name": "bright", **about, "writes_text": False}, {"name": "writer", **about, "writes_text": True}]
    }
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ping").json() == {"status": "Healthy"}
    assert client.get("/ready").json() == {"ready": True, "models": {"bright": True, "writer": True}}
    page = client.get("/")
    assert "<html" in page.text
    assert page.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    [script] = re.findall(r'<script type="module" src="([^"]+)"', page.text)
    module = client.get(script)
    assert module.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert (module.headers["X-Content-Type-Options"], module.headers["Cache-Control"]) == ("nosniff", "no-cache")
    assert client.get(script, headers={"If-None-Match": module.headers["ETag"]}).status_code == 304


def test_an_answer_holds_what_predict_gives(client: TestClient, detectors: dict[str, Any], picture: Path) -> None:
    answer = client.post(DETECT, files=upload(picture)).json()
    expected = detectors["bright"].predict(picture)
    assert answer["record"] == expected.to_dict()
    assert answer["image"] == {"id": "picture", "width": 96, "height": 64}
    assert answer["names"] == expected.names
    assert answer["model"] == "bright"
    assert (answer["text"], answer["spans"], answer["map"]) == (None, None, None)
    assert 0 < answer["seconds"] < 20


def test_header_and_record_are_a_predictions_file(
    client: TestClient, detectors: dict[str, Any], picture: Path, tmp_path: Path
) -> None:
    answer = client.post("/v1/models/writer/detect", files=upload(picture), params={"score_threshold": 0.1}).json()
    path = tmp_path / "found.jsonl"
    path.write_text("".join(json.dumps(answer[part]) + "\n" for part in ("header", "record")))
    found = predictions.read(path)
    assert found.header.fingerprint == "bright-1"
    assert found.header.codec is not None
    assert found.header.codec["name"] == "plain"
    assert found.header.generation["score_threshold"] == 0.1
    np.testing.assert_array_equal(found[0].boxes, detectors["writer"].predict(picture).boxes)
    for window, start, stop in answer["spans"]:
        assert answer["record"]["windows"][window]["text"][start:stop].startswith(("bright", "dark"))
    assert answer["text"] == "\n".join(window["text"] for window in answer["record"]["windows"])


def test_an_image_comes_in_four_ways(
    client: TestClient, detectors: dict[str, Any], picture: Path, tmp_path: Path
) -> None:
    expected = detectors["bright"].predict(picture).to_dict()
    raw = client.post(DETECT, content=picture.read_bytes(), headers={"Content-Type": "image/png"}).json()
    text = client.post(DETECT, data={"image": base64.b64encode(picture.read_bytes()).decode()}).json()
    for answer in (raw, text):
        assert answer["record"] == {**expected, "image_id": "image"}
    with serving(folders=(tmp_path,)) as other:
        answer = other.post(DETECT, json={"path": "picture.png", "window": 64}).json()
        assert answer["record"] == detectors["bright"].predict(picture, window=64).to_dict()
        assert other.post(DETECT, json={"path": "../picture.png"}).status_code == 403
        assert other.post(DETECT, json={"path": "nowhere.png"}).status_code == 404
    assert client.post(DETECT, json={"path": "picture.png"}).status_code == 403


def test_options_in_the_address_and_in_the_form(client: TestClient, detectors: dict[str, Any], picture: Path) -> None:
    expected = detectors["bright"].predict(picture, window=64, gap=32, score_threshold=0.8).to_dict()
    options = {"window": 64, "gap": 32, "score_threshold": 0.8}
    for given in ({"params": options}, {"data": options}):
        assert client.post(DETECT, files=upload(picture), **given).json()["record"] == expected  # type: ignore[arg-type]
    dark = client.post(DETECT, files=upload(picture), params={"class": ["dark"]}).json()
    assert (dark["record"]["boxes"], dark["names"]) == ([], [])


def test_a_picture_and_a_map(client: TestClient, picture: Path) -> None:
    drawn = client.post(DETECT, files=upload(picture), headers={"Accept": "image/png"})
    assert drawn.headers["content-type"] == "image/png"
    with Image.open(BytesIO(drawn.content)) as image:
        assert image.size[0] >= 96
    answer = client.post(DETECT, files=upload(picture), params={"format": "geojson"})
    assert answer.headers["content-type"] == "application/geo+json"
    collection = answer.json()
    assert len(collection["features"]) == 6
    plain = client.post(DETECT, content=picture.read_bytes(), params={"format": "geojson"})  # a file without a suffix
    assert plain.json()["features"] == collection["features"]
    assert collection["features"][0]["properties"]["class"] == "bright"
    assert (
        client.post(DETECT, files=upload(picture), params={"format": "geojson", "crs": "EPSG:4326"}).status_code == 400
    )


def test_a_map_in_its_own_coordinates(detectors: dict[str, Any], picture: Path) -> None:
    picture.with_suffix(".pgw").write_text("0.5\n0\n0\n-0.5\n1000.25\n1999.75\n")  # half a metre a pixel, north up
    with serving(folders=(picture.parent,)) as client:
        collection = client.post(DETECT, json={"path": picture.name, "format": "geojson", "window": 0}).json()
    ring = np.array(collection["features"][0]["geometry"]["coordinates"][0])
    np.testing.assert_allclose([ring.min(axis=0), ring.max(axis=0)], [[1000, 1952], [1048, 2000]])


@pytest.fixture
def map_tiff(tmp_path: Path, draw: Callable[..., np.ndarray]) -> Path:
    """A GeoTIFF of 96 x 64 pixels, half a metre a pixel, north up."""
    rasterio = pytest.importorskip("rasterio")
    pixels, path = draw(96, 64), tmp_path / "map.tif"
    with rasterio.open(
        path, "w", "GTiff", 96, 64, 3, "EPSG:32631", rasterio.Affine(0.5, 0, 1000, 0, -0.5, 2000), "uint8"
    ) as target:
        target.write(np.moveaxis(pixels, 2, 0))
    return path


@pytest.mark.parametrize("model", ["bright", "writer"])
def test_an_answer_says_where_the_image_lies_on_the_map(client: TestClient, map_tiff: Path, model: str) -> None:
    """With which a client that filters boxes by itself writes the same GeoJSON as the server."""
    ask = f"/v1/models/{model}/detect"
    layer = client.post(ask, files=upload(map_tiff), params={"format": "geojson"}).json()
    body = client.post(ask, content=map_tiff.read_bytes(), params={"format": "geojson"}).json()  # which has no name
    assert body == {**layer, "image_id": "image"}
    answers = [client.post(ask, files=upload(map_tiff)).json()]
    answers.append(events_of(client.post(ask, files=upload(map_tiff), params={"format": "events"}).text)[-1][1])
    for answer in answers:
        assert answer["map"] == {"transform": [0.5, 0, 1000, 0, -0.5, 2000], "crs": "EPSG:32631"}
        corners = rbox_to_quad(answer["record"]["boxes"]) @ np.diag([0.5, -0.5]) + [1000, 2000]
        for quad, feature in zip(corners, layer["features"], strict=True):
            ring = np.array(feature["geometry"]["coordinates"][0])
            np.testing.assert_allclose(sorted(ring[:4].tolist()), sorted(quad.tolist()))


def test_a_broken_place_on_the_map_hinders_no_detection(detectors: dict[str, Any], picture: Path) -> None:
    picture.with_suffix(".pgw").write_text("0.5\nx\n")
    with serving(folders=(picture.parent,)) as client:
        assert client.post(DETECT, json={"path": picture.name}).json()["map"] is None


PICTURES = "/v1/pictures"


def test_a_picture_of_a_tiff(client: TestClient, map_tiff: Path, draw: Callable[..., np.ndarray]) -> None:
    answer = client.post(PICTURES, files=upload(map_tiff))
    assert answer.headers["content-type"] == "image/png"
    assert (answer.headers["X-Image-Width"], answer.headers["X-Image-Height"]) == ("96", "64")
    place = {"transform": [0.5, 0, 1000, 0, -0.5, 2000], "crs": "EPSG:32631"}
    assert json.loads(answer.headers["X-Image-Map"]) == place
    with Image.open(BytesIO(answer.content)) as image:
        np.testing.assert_array_equal(np.asarray(image), draw(96, 64))
    with serving(folders=(map_tiff.parent,)) as other:
        assert other.post(PICTURES, json={"path": "map.tif"}).content == answer.content


def test_pictures_have_limits_and_reasons(client: TestClient, map_tiff: Path, detectors: dict[str, Any]) -> None:
    broken = client.post(PICTURES, files={"image": ("a.tif", b"II*\0" + bytes(20))})
    assert broken.status_code == 400
    assert error_of(broken).startswith("a.tif: ")  # and no folder of the server
    assert client.post(PICTURES, json={"path": "map.tif"}).status_code == 403
    with serving(limits=Limits(pixels=5000, bytes=50_000)) as other:
        assert "at most 5,000 pixels, got 6,144" in error_of(other.post(PICTURES, files=upload(map_tiff)))
        assert other.post(PICTURES, content=bytes(50_001)).status_code == 413
    with serving(limits=Limits(seconds=1e-6)) as other:
        assert other.post(PICTURES, files=upload(map_tiff)).status_code == 504
    with serving(key="open") as other:
        assert other.post(PICTURES, files=upload(map_tiff)).status_code == 401


def test_no_more_pictures_than_places(
    detectors: dict[str, Any], map_tiff: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate = threading.Event(), threading.Event()

    def slow(path: Path) -> Any:
        begun.set()
        assert gate.wait(20)
        return made(path)

    made = _pictures.picture_of
    monkeypatch.setattr(_pictures, "picture_of", slow)
    with serving(limits=Limits(requests=1)) as client:
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(client.post(PICTURES, files=upload(map_tiff))))
        thread.start()
        assert begun.wait(20)
        refused = client.post(PICTURES, files=upload(map_tiff))
        gate.set()
        thread.join(20)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "2")
        assert answers[0].status_code == 200


def test_a_picture_has_as_many_pixels_as_browsers_decode(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (52, 75, 3), np.uint8).repeat(40, axis=0).repeat(40, axis=1)[:2050]
    path = tmp_path / "map.tif"
    Image.fromarray(pixels).save(path)
    whole = _pictures.picture_of(path)
    assert (whole.media_type, whole.size) == ("image/jpeg", (3000, 2050))
    smaller = _pictures.picture_of(path, 700_000)
    assert smaller.size == (3000, 2050)
    with Image.open(BytesIO(smaller.content)) as image:
        assert image.size == (750, 513)  # by 4
        found = np.asarray(image).astype(float)
    means = pixels[:2048].reshape(512, 4, 750, 4, 3).mean(axis=(1, 3))
    assert np.abs(found[:512] - means).mean() < 2  # JPEG rounds
    assert np.abs(found[:511] - means[1:]).mean() > 5  # a row further down is another picture


def events_of(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_events_tell_of_boxes_as_they_are_written(client: TestClient, detectors: dict[str, Any], picture: Path) -> None:
    answer = client.post("/v1/models/writer/detect", files=upload(picture), params={"format": "events"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    assert events[0] == (
        "start",
        {
            "model": "writer",
            "image": {"id": "picture", "width": 96, "height": 64},
            "windows": [[x, y, 32] for y in (0, 32) for x in (0, 32, 64)],
        },
    )
    kind, result = events[-1]
    expected = detectors["writer"].predict(picture)
    assert (kind, result["record"]) == ("result", expected.to_dict())
    texts = [window["text"] for window in result["record"]["windows"]]
    for number, text in enumerate(texts):
        assert "".join(data["text"] for kind, data in events if kind == "text" and data["window"] == number) == text
    boxes = sorted((data["window"], data["box"], data["name"]) for kind, data in events if kind == "box")
    assert boxes == [
        (n, box, name) for n, (box, name) in enumerate(zip(expected.boxes.tolist(), expected.names, strict=True))
    ]
    assert sorted(data["window"] for kind, data in events if kind == "window") == list(range(6))
    # A box is told as soon as its text is there, not at the end.
    kinds = [(kind, data.get("window")) for kind, data in events]
    assert all(kinds.index(("box", n)) < kinds.index(("window", n)) for n in range(6))


def test_events_of_a_detector_without_text(client: TestClient, picture: Path) -> None:
    events = events_of(client.post(DETECT, files=upload(picture), params={"format": "events"}).text)
    assert [kind for kind, _ in events] == ["start", *["window"] * 6, "result"]


def test_events_end_with_an_error(client: TestClient, as_png: Callable[[np.ndarray], bytes]) -> None:
    spoilt = as_png(np.full((32, 32, 3), 9, np.uint8))
    kind, values = events_of(client.post(DETECT, files={"image": spoilt}, params={"format": "events"}).text)[-1]
    assert kind == "error"
    assert "the model bright failed: RuntimeError: spoilt" in values["error"]["message"]


@pytest.mark.parametrize(
    "content, message",
    [(b"", "a request without a body"), (b"no image", "expected a whole image"), (b"\x89PNG\r\n\x1a\n", "image")],
)
def test_what_is_no_image_is_refused(client: TestClient, content: bytes, message: str) -> None:
    answer = client.post(DETECT, content=content, headers={"Content-Type": "image/png"})
    assert answer.status_code == 400
    assert message in error_of(answer)
    assert ".rbox-tmp" not in answer.text  # where it lies is not the client's business


def test_a_torn_image_is_refused(client: TestClient, picture: Path) -> None:
    """Its header is whole, so that it is found while its windows are read."""
    torn = picture.read_bytes()[:150]
    answer = client.post(DETECT, content=torn, headers={"Content-Type": "image/png"})
    assert (answer.status_code, "expected a whole image" in error_of(answer)) == (400, True)
    assert ".rbox-tmp" not in answer.text


def test_requests_that_are_not_as_they_should_be(client: TestClient, picture: Path) -> None:
    image = upload(picture)
    for given, status, message in (
        ({"files": {"picture": b"1"}}, 400, "in the field `image`"),
        ({"data": {"image": "no base 64"}}, 400, "base 64"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "expected JSON"),
        ({"json": ["path"]}, 400, "JSON with a path"),
        ({"json": {"path": 5}}, 400, "JSON with a path"),
        ({"content": b"{" + b" " * 2**16, "headers": {"Content-Type": "application/json"}}, 413, "65,536 bytes"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "expected a form"),
        ({"files": image, "params": {"class": "tram"}}, 400, "classes among bright, dark"),
        ({"files": image, "params": {"windows": 64}}, 400, "Did you mean 'window'?"),
    ):
        answer = client.post(DETECT, **given)  # type: ignore[arg-type]
        assert (answer.status_code, message in error_of(answer)) == (status, True), answer.text
    answer = client.post("/v1/models/nix/detect", files=image)
    assert (answer.status_code, "a model among bright, writer, got 'nix'" in error_of(answer)) == (404, True)
    assert (client.get("/v1/nothing").status_code, client.post("/").status_code) == (404, 405)
    assert "openapi.json" in error_of(client.get("/v1/nothing"))


def test_limits_of_one_request(detectors: dict[str, Any], picture: Path, as_png: Callable[[Any], bytes]) -> None:
    image = upload(picture)
    for limits, params, message in (
        (Limits(bytes=100), {}, "at most 100 bytes"),
        (Limits(pixels=1000), {}, "at most 1,000 pixels, got 6,144 pixels (96 x 64)"),
        (Limits(windows=5), {}, "at most 5 windows, got 6 windows"),
        (Limits(windows=5), {"window": 16, "gap": 15}, "at most 5 windows, got 3,969 windows"),
    ):
        with serving(limits=limits) as client:
            answer = client.post(DETECT, files=image, params=params)
            assert (answer.status_code, message in error_of(answer)) == (413, True), answer.text
    with serving(limits=Limits(bytes=100)) as client:  # of unknown length
        answer = client.post(DETECT, content=iter([b"x" * 90] * 9), headers={"Content-Type": "image/png"})
        assert answer.status_code == 413


def test_a_request_that_takes_too_long_ends(detectors: dict[str, Any], picture: Path) -> None:
    detectors["bright"].gate.clear()
    with serving(limits=Limits(seconds=0.3)) as client:
        answer = client.post(DETECT, files=upload(picture))
        assert (answer.status_code, "longer than 0.3 s" in error_of(answer)) == (504, True)
        events = events_of(client.post(DETECT, files=upload(picture), params={"format": "events"}).text)
        assert [kind for kind, _ in events] == ["start", "error"]
        detectors["bright"].gate.set()
        assert client.post(DETECT, files=upload(picture)).status_code == 200  # and leaves nothing in the queue


def test_a_request_that_ends_while_it_is_put_into_the_queue_leaves_it(
    detectors: dict[str, Any], picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    begin = Model.begin

    def late(self: Model, *arguments: Any) -> Any:
        job = begin(self, *arguments)
        assert gate.wait(20)
        return job

    monkeypatch.setattr(Model, "begin", late)
    detectors["bright"].gate.clear()
    with serving(limits=Limits(seconds=0.3)) as client:
        assert client.post(DETECT, files=upload(picture)).status_code == 504
        assert 'waiting_windows{model="bright"} 6.0' in client.get("/metrics").text
        gate.set()
        deadline = time.monotonic() + 20
        while 'waiting_windows{model="bright"} 0.0' not in client.get("/metrics").text:
            assert time.monotonic() < deadline
        detectors["bright"].gate.set()


def test_too_many_requests_are_told_to_come_again(detectors: dict[str, Any], picture: Path) -> None:
    bright = detectors["bright"]
    with serving(limits=Limits(requests=2)) as client:
        assert client.post(DETECT, files=upload(picture)).status_code == 200
        bright.gate.clear()
        answers: list[Any] = []
        threads = [
            threading.Thread(target=lambda: answers.append(client.post(DETECT, files=upload(picture))))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 20
        while "active_requests 2.0" not in client.get("/metrics").text or len(bright.batches) < 2:
            assert time.monotonic() < deadline
        answer = client.post(DETECT, files=upload(picture))
        assert answer.status_code == 429
        assert "2 requests to bright are waiting already" in error_of(answer)
        assert int(answer.headers["retry-after"]) >= 1
        bright.gate.set()
        for thread in threads:
            thread.join(20)
        assert {each.status_code for each in answers} == {200}
        assert client.post(DETECT, files=upload(picture)).status_code == 200


def test_a_model_that_is_being_loaded(
    detectors: dict[str, Any], picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rbox_serve import _models

    gate = threading.Event()
    load = _models.load_detector

    def slowly(path: str, **more: Any) -> Any:
        assert gate.wait(20)
        return load(path, **more)

    monkeypatch.setattr(_models, "load_detector", slowly)
    with serving(until_ready=False) as client:
        assert client.get("/ready").status_code == 503
        assert client.get("/health").status_code == 200
        [about] = client.get("/v1/models").json()["models"]
        assert (about["ready"], about["classes"]) == (False, [])
        answer = client.post(DETECT, files=upload(picture))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "is being loaded" in error_of(answer)
        gate.set()


def test_windows_of_several_requests_share_batches(
    detectors: dict[str, Any], draw: Callable[..., Any], as_png: Callable[[Any], bytes]
) -> None:
    bright = detectors["bright"]
    images = {f"p{n}": draw(value=100 + 20 * n) for n in range(6)}
    with serving("bright") as client:
        client.post(DETECT, files={"image": ("first.png", as_png(draw()))})  # one thread more
        bright.batches.clear()
        bright.gate.clear()
        answers: dict[str, Any] = {}

        def ask(name: str) -> None:
            answers[name] = client.post(DETECT, files={"image": (f"{name}.png", as_png(images[name]))}).json()

        threads = [threading.Thread(target=ask, args=(name,)) for name in images]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 20
        while 'waiting_windows{model="bright"} 6.0' not in client.get("/metrics").text:
            assert time.monotonic() < deadline
        bright.gate.set()
        for thread in threads:
            thread.join(20)
    assert max(len(batch) for batch in bright.batches) == 4
    assert sum(len(batch) for batch in bright.batches) == 6
    for name, pixels in images.items():
        [score] = answers[name]["record"]["scores"]
        assert score == pytest.approx(pixels.mean() / 255, abs=1e-6)


def test_what_fails_spoils_no_other_request(detectors: dict[str, Any], as_png: Callable[[Any], bytes]) -> None:
    bright = detectors["bright"]
    with serving("bright") as client:
        assert client.post(DETECT, files={"image": as_png(np.full((32, 32, 3), 99, np.uint8))}).status_code == 200
        bright.gate.clear()
        answers: dict[int, Any] = {}

        def ask(value: int) -> None:
            answers[value] = client.post(DETECT, files={"image": as_png(np.full((32, 32, 3), value, np.uint8))})

        threads = [threading.Thread(target=ask, args=(value,)) for value in (100, 9, 200)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 20
        while 'waiting_windows{model="bright"} 3.0' not in client.get("/metrics").text:
            assert time.monotonic() < deadline
        bright.gate.set()
        for thread in threads:
            thread.join(20)
    assert {value: answer.status_code for value, answer in answers.items()} == {100: 200, 9: 500, 200: 200}
    assert "the model bright failed: RuntimeError: spoilt" in error_of(answers[9])


def test_a_detector_that_loses_windows_fails_and_is_not_stuck(detectors: dict[str, Any], picture: Path) -> None:
    bright = detectors["bright"]
    found = bright.steps().__class__.detect
    with serving("bright") as client, pytest.MonkeyPatch.context() as patch:
        patch.setattr(bright.steps().__class__, "detect", lambda *given, **more: found(*given, **more)[1:])
        answer = client.post(DETECT, files=upload(picture))
        assert (answer.status_code, "the results of 4 windows" in error_of(answer)) == (500, True)
        patch.undo()
        assert client.post(DETECT, files=upload(picture)).status_code == 200


def test_windows_that_ran_out_of_room_are_tried_again(
    detectors: dict[str, Any], as_png: Callable[[Any], bytes]
) -> None:
    pixels = np.full((32, 96, 3), 50, np.uint8)
    pixels[:, 32:64] = 7
    with serving("bright") as client:
        answer = client.post(DETECT, files={"image": ("x.png", as_png(pixels))}).json()
    assert detectors["bright"].batches == [[("x", 0), ("x", 1), ("x", 2)], [("x", 1)]]
    assert answer["record"]["scores"] == pytest.approx([50 / 255, 7 / 255, 50 / 255], abs=1e-6)


def test_a_key(detectors: dict[str, Any], picture: Path) -> None:
    with serving(key="sésame") as client:
        for path in ("/v1/models", "/v1/scenes", "/metrics", "/openapi.json"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert "Authorization" in error_of(answer)
            assert client.get(path, headers={"Authorization": "Bearer other"}).status_code == 401
        for headers in ({"Authorization": "Bearer sésame".encode()}, {"X-API-Key": "sésame".encode()}):
            assert client.get("/v1/models", headers=headers).status_code == 200  # type: ignore[arg-type]
            assert client.post(DETECT, files=upload(picture), headers=headers).status_code == 200  # type: ignore[arg-type]
        assert client.post(DETECT, files=upload(picture)).status_code == 401
        assert client.put("/predictions/bright", content=picture.read_bytes()).status_code == 401
        assert [client.get(path).status_code for path in ("/", "/health", "/ready", "/ping")] == [200] * 4


def test_names_of_the_server(detectors: dict[str, Any]) -> None:
    with serving(hosts=("127.0.0.1", "::1")) as client:
        for host, status in (
            ("127.0.0.1:8000", 200),
            ("[::1]:80", 200),
            ("evil.example", 403),
            ("127.0.0.1.evil", 403),
        ):
            assert client.get("/health", headers={"Host": host}).status_code == status
            assert client.get("/", headers={"Host": host}).status_code == status


def test_pages_of_other_sites_may_not_call_it_unless_they_are_allowed(detectors: dict[str, Any], picture: Path) -> None:
    origin = {"Origin": "https://a.example"}
    ask = {**origin, "Access-Control-Request-Method": "POST"}
    with serving() as client:
        assert "access-control-allow-origin" not in client.get("/v1/models", headers=origin).headers
        assert client.options(DETECT, headers=ask).status_code == 405
        refused = client.post(DETECT, files=upload(picture), headers=origin)
        assert (refused.status_code, "--allow-origin https://a.example" in error_of(refused)) == (403, True)
        own = client.post(DETECT, files=upload(picture), headers={"Origin": "http://127.0.0.1"})
        assert own.status_code == 200
    with serving(origins=("https://a.example",)) as client:
        assert client.post(DETECT, files=upload(picture), headers=origin).status_code == 200
    with serving(origins=("https://a.example",), key="k") as client:
        assert client.options(DETECT, headers=ask).headers["access-control-allow-origin"] == "https://a.example"
        refused = client.get("/v1/models", headers=origin)
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://a.example")
        other = client.get("/health", headers={"Origin": "https://b.example"})
        assert "access-control-allow-origin" not in other.headers


def test_scenes_of_the_demonstration(detectors: dict[str, Any], tmp_path: Path) -> None:
    with serving(demo=True) as client:
        scenes = client.get("/v1/scenes").json()["scenes"]
        assert {scene["name"] for scene in scenes} >= {"harbour", "region", "empty"}
        (tmp_path / "images").mkdir()
        (tmp_path / "labelTxt").mkdir()
        for scene in scenes:
            image = client.get(scene["url"])
            assert image.headers["content-type"] == "image/png"
            with Image.open(BytesIO(image.content)) as opened:
                assert opened.size == (scene["width"], scene["height"])
            (tmp_path / "images" / f"{scene['name']}.png").write_bytes(image.content)
            (tmp_path / "labelTxt" / f"{scene['name']}.txt").write_text(client.get(scene["truth_url"]).text)
        assert client.get("/v1/scenes/nix").status_code == 404
    truth = {record.image_id: record for record in datasets.read("dota", tmp_path, None, synthetic.CLASS_NAMES)}
    _, expected = synthetic.scene(40_000_023, synthetic.VARIED)
    np.testing.assert_allclose(truth["harbour"].boxes, expected.boxes, atol=1e-6)
    assert len(truth["empty"]) == 0
    assert len(truth["region"]) > 50


def test_no_scenes_without_the_demonstration(client: TestClient) -> None:
    assert client.get("/v1/scenes").json() == {"scenes": []}


def test_torchserves_clients_are_answered(client: TestClient, detectors: dict[str, Any], picture: Path) -> None:
    """As MMRotate's mmrotate_handler does: an image in `data` or `body`, or as the body, and boxes above 0.5."""
    found = detectors["bright"].predict(picture)
    expected = [
        {"class_name": "bright", "bbox": box, "score": score}
        for score, box in sorted(zip(found.scores.tolist(), found.boxes.tolist(), strict=True), reverse=True)
    ]
    content = picture.read_bytes()
    for path in ("/predictions/bright", "/predictions/bright/1.0"):
        for answer in (
            client.put(path, content=content),  # curl -T
            client.post(path, content=content),
            client.post(path, files={"data": content}),
            client.post(path, files={"body": content}),
            client.post(path, data={"data": base64.b64encode(content).decode()}),
        ):
            assert answer.json() == expected
    few = client.post("/predictions/bright", content=content, params={"score_threshold": 0.805}).json()
    assert few == [each for each in expected if each["score"] >= 0.805]
    answer = client.post("/predictions/nix", content=content)
    assert answer.status_code == 404
    assert {key: answer.json()[key] for key in ("code", "type")} == {"code": 404, "type": "ModelNotFoundException"}
    assert error_of(answer).startswith(answer.json()["message"])


def test_what_happens_is_counted(client: TestClient, picture: Path) -> None:
    client.post(DETECT, files=upload(picture))
    client.post(DETECT, files={"image": b"no image"})
    text = client.get("/metrics").text
    assert 'rbox_serve_requests_total{model="bright",status="200"} 1.0' in text
    assert 'rbox_serve_requests_total{model="bright",status="400"} 1.0' in text
    assert 'rbox_serve_batch_windows_sum{model="bright"} 6.0' in text
    assert "rbox_serve_active_requests 0.0" in text
    assert 'rbox_serve_waiting_windows{model="bright"} 0.0' in text


def test_the_openapi_document_has_examples_that_are_true(client: TestClient, picture: Path) -> None:
    document = client.get("/openapi.json").json()
    post = document["paths"]["/v1/models/{name}/detect"]["post"]
    assert {each["name"] for each in post["parameters"]} >= {"window", "gap", "score_threshold", "class", "format"}
    assert set(post["requestBody"]["content"]) == {"multipart/form-data", "image/*", "application/json"}
    assert set(post["responses"]) >= {"200", "400", "404", "413", "429", "503", "504"}
    example = post["responses"]["200"]["content"]["application/json"]["example"]
    answer = client.post("/v1/models/writer/detect", files=upload(picture)).json()
    assert example.keys() == answer.keys()
    assert example["record"].keys() == answer["record"].keys()
    schema = json.loads((Path(__file__).parents[3] / "docs/predictions.schema.json").read_text())
    for line in (example["header"], example["record"], answer["header"], answer["record"]):
        Draft202012Validator(schema).validate(line)
    window, start, stop = example["spans"][0]
    assert example["record"]["windows"][window]["text"][start:stop].count("<loc_") == 8
    put = document["paths"]["/predictions/{name}"]["put"]["responses"]["200"]["content"]["application/json"]["example"]
    assert put[0].keys() == client.put("/predictions/bright", content=picture.read_bytes()).json()[0].keys()


def test_uploads_are_removed(client: TestClient, picture: Path, detectors: dict[str, Any], tmp_path: Path) -> None:
    import tempfile

    folders = [path for path in Path(tempfile.gettempdir()).glob(".rbox-tmp-*") if path.is_dir()]
    for format in ("json", "png", "events"):
        client.post(DETECT, files=upload(picture), params={"format": format})
    client.post(DETECT, files={"image": b"no image"})
    assert not [path for folder in folders if folder.exists() for path in folder.iterdir() if path.name != "owner"]


def test_the_detectors_of_these_tests_follow_the_protocol(detectors: dict[str, Any]) -> None:
    assert isinstance(detectors["bright"], Detector)
    assert isinstance(detectors["bright"], StepwiseDetector)


def test_a_detector_without_steps_is_refused(detectors: dict[str, Any]) -> None:
    detectors["bright"] = object()
    failed = []
    app = make_app(Settings({"bright": "bright"}), on_failure=failed.append)
    with TestClient(app):
        pass
    [model] = failed
    assert "a detector that detects in steps, got object" in str(model.error)
