"""A server on a port of this machine: many clients, clients that go away, its start and its end."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from rbox_formats.detection import ENTRY_POINTS
from rbox_serve._app import make_app
from rbox_serve._running import named
from rbox_serve._settings import Limits, Settings
from rbox_serve.errors import RequestError
from rbox_testing.samples import sampled

DETECT = "/v1/models/bright/detect"
PNG = {"Content-Type": "image/png"}


@contextmanager
def serving(**settings: Any) -> Iterator[int]:
    """A server in a thread; its port."""
    app = make_app(Settings({"bright": "bright"}, **settings))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            until(lambda: server.started and ask(port, "GET", "/ready")[0] == 200)
            yield port
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def ask(port: int, method: str, path: str, body: bytes | None = None, timeout: float = 30) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, PNG)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def metrics(port: int) -> str:
    return ask(port, "GET", "/metrics")[1].decode()


def test_many_clients_get_their_own_answers_or_are_told_to_come_again(
    detectors: dict[str, Any], draw: Callable[..., Any], as_png: Callable[[Any], bytes]
) -> None:
    images = [draw(32 * (1 + n % 3), 32, value=60 + 5 * n) for n in range(24)]
    contents = [as_png(pixels) for pixels in images]
    expected = [detectors["bright"].predict(pixels).to_dict() for pixels in images]
    with serving(limits=Limits(requests=6)) as port, ThreadPoolExecutor(24) as pool:

        def client(number: int) -> Counter[int]:
            seen: Counter[int] = Counter()
            for turn in range(10):
                place = (number + turn) % len(images)
                status, body = ask(port, "POST", DETECT, contents[place])
                seen[status] += 1
                if status == 200:
                    assert json.loads(body)["record"] == expected[place]
            return seen

        statuses = sum(pool.map(client, range(24)), Counter())
        text = metrics(port)
    assert statuses.keys() <= {200, 429}
    assert statuses.total() == 240
    assert statuses[200] > 0
    assert "active_requests 0.0" in text
    assert 'waiting_windows{model="bright"} 0.0' in text
    counted = {
        int(code): float(n) for code, n in re.findall(r'requests_total{model="bright",status="(\d+)"} (\S+)', text)
    }
    assert counted == statuses


@pytest.mark.parametrize("query", ["", "?format=events"])
def test_a_client_that_goes_away_leaves_the_queue(
    detectors: dict[str, Any], draw: Callable[..., Any], as_png: Callable[[Any], bytes], query: str
) -> None:
    bright = detectors["bright"]
    content = as_png(draw(32 * 20, 32))
    with serving(limits=Limits(requests=1)) as port:
        bright.gate.clear()
        with socket.create_connection(("127.0.0.1", port)) as client:
            head = (
                f"POST {DETECT}{query} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(content)}"
            )
            client.sendall(head.encode() + b"\r\n\r\n" + content)
            until(lambda: 'waiting_windows{model="bright"} 20.0' in metrics(port) and len(bright.batches) == 1)
        until(lambda: 'waiting_windows{model="bright"} 0.0' in metrics(port))
        until(lambda: "active_requests 0.0" in metrics(port))
        bright.gate.set()
        assert ask(port, "POST", DETECT, content)[0] == 200
    assert len(bright.batches) == 1 + 5  # four windows of the first one were being detected on


def test_a_client_that_goes_away_while_it_sends(detectors: dict[str, Any]) -> None:
    with serving(limits=Limits(requests=1)) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(f"POST {DETECT} HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\nab".encode())
            until(lambda: "active_requests 1.0" in metrics(port))
        until(lambda: "active_requests 0.0" in metrics(port))


def test_a_client_that_sends_too_slowly(detectors: dict[str, Any]) -> None:
    with serving(limits=Limits(seconds=0.3)) as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(20)
        client.sendall(f"POST {DETECT} HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\nab".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 504 ")


def test_a_small_picture_is_answered_while_a_large_scene_is_detected_on(
    detectors: dict[str, Any], draw: Callable[..., Any], as_png: Callable[[Any], bytes]
) -> None:
    """Counted in batches, not in time."""
    bright = detectors["bright"]
    large, small = (as_png(np.full((32 * side, 32 * side, 3), 100, np.uint8)) for side in (20, 1))
    with serving() as port, ThreadPoolExecutor(2) as pool:
        bright.gate.clear()
        first = pool.submit(ask, port, "POST", DETECT, large)
        until(lambda: len(bright.batches) == 1)
        second = pool.submit(ask, port, "POST", DETECT, small)
        until(lambda: 'waiting_windows{model="bright"} 401.0' in metrics(port))
        time.sleep(0.1)  # it is read
        bright.gate.set()
        assert (first.result(60)[0], second.result(60)[0]) == (200, 200)
    assert len(bright.batches) == 101
    # Both have a first window; the scene's is in the first batch.
    [place] = [place for place, batch in enumerate(bright.batches) if place and ("image", 0) in batch]
    assert place <= 2


PACKAGE = """
    import sys, time
    from pathlib import Path
    import numpy as np
    from rbox_formats import ClassNames, ImageRecord, tiling
    from rbox_formats.detection import Prediction, Scene
    from rbox_formats.errors import ModelFileError

    COMMAND = "third-detector"

    def is_detector(path):
        return Path(path).suffix == ".third"

    def load_detector(path, *, device=None):
        if Path(path).stem == "broken":
            raise ModelFileError("expected weights, got none", path=path, remedy="Train it again.")
        return Detector()

    class Detector:
        class_names = ClassNames(["thing"])

        def steps(self, **options):
            return self

        batch_size, attempts, key = 2, 1, None

        def scene(self, image, name="image"):
            return Scene.of(image, lambda w, h: [tiling.Window(0, 0, max(w, h))], name)

        def group(self, window):
            return None

        def detect(self, windows, *, attempt=0, listener=None):
            Path("detecting").touch()
            while not Path("go").exists():
                time.sleep(0.01)
            return [ImageRecord("", [[9, 9, 5, 5, 0]], [0], scores=[0.5]) for _ in windows]

        def join(self, scene, found):
            return Prediction.of(found[0], self.class_names, image_id=scene.image_id)

        def stream(self, scene, number):
            return None

        def predict(self, images, **options):
            raise NotImplementedError

        __call__ = predict
"""


@pytest.fixture
def third(tmp_path: Path) -> dict[str, str]:
    """An environment with a package of a detector, as pip installs it."""
    (tmp_path / "third_detector.py").write_text(textwrap.dedent(PACKAGE))
    about = tmp_path / "third_detector-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: third-detector\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\nthird = third_detector\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path[1:]])}


@contextmanager
def command(environment: dict[str, str], folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command as users run it, and its port."""
    line = [sys.executable, "-m", "rbox_serve", "run", "--port", "0", *words]
    process = subprocess.Popen(line, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        match = re.search(r"http://127\.0\.0\.1:(\d+)/ until Ctrl-C", process.stdout.readline())
        assert match
        port = int(match[1])
        until(lambda: is_ready(port))
        yield process, port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def is_ready(port: int) -> bool:
    try:
        return ask(port, "GET", "/ready")[0] == 200
    except OSError:
        return False


# Other commands end within four seconds.
@pytest.mark.parametrize(
    "kind, seconds",
    [
        (signal.SIGTERM, 0.5),
        *(pytest.param(kind, 4.5, marks=pytest.mark.slow) for kind in (signal.SIGINT, signal.SIGTERM)),
    ],
)
def test_a_server_that_is_told_to_stop_finishes_what_runs(
    third: dict[str, str],
    tmp_path: Path,
    draw: Callable[..., Any],
    as_png: Callable[[Any], bytes],
    kind: signal.Signals,
    seconds: float,
) -> None:
    content = as_png(draw())
    with command(third, tmp_path, "--model", "x.third") as (process, port), ThreadPoolExecutor(3) as pool:
        # One is being detected on, and others wait.
        answers = [pool.submit(ask, port, "POST", "/v1/models/x.third/detect", content) for _ in range(3)]
        until(lambda: (tmp_path / "detecting").exists() and "active_requests 3.0" in metrics(port))
        process.send_signal(kind)
        time.sleep(seconds)
        assert process.poll() is None
        with pytest.raises(ConnectionError):
            ask(port, "GET", "/health")
        (tmp_path / "go").touch()
        assert [answer.result(30)[0] for answer in answers] == [200] * 3
        assert process.wait(30) == 0


def run(environment: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "rbox_serve", "run", *words]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_a_model_that_cannot_be_loaded_ends_the_server(third: dict[str, str], tmp_path: Path) -> None:
    result = run(third, tmp_path, "--model", "broken.third", "--port", "0")
    assert result.returncode == 1
    assert "broken.third: expected weights, got none" in result.stderr
    assert "Train it again." in result.stderr
    assert "Traceback" not in result.stderr


WRONG = [
    ("", 2, "Give --model, or --demo."),
    ("--model x.unknown", 1, "'x.unknown' is not one"),
    ("--model x.third --model x.third", 1, "models of different names"),
    ("--model x.third --images nowhere", 2, "expected a folder, got nowhere"),
    ("--model x.third --port PORT", 1, "127.0.0.1:PORT, got: Address already in use"),
]


@pytest.mark.parametrize("words, code, message", sampled(WRONG, WRONG[-1:]))
def test_what_is_wrong_is_said_before_anything_is_loaded(
    words: str, code: int, message: str, third: dict[str, str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run(third, tmp_path, *words.replace("PORT", port).split())
    assert (result.returncode, message.replace("PORT", port) in result.stderr) == (code, True), result.stderr


def test_names_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert named(["demo", "a=runs/x/epoch_12.pth", "runs/dota/model", "runs/b/epoch_3.pth", "c/retina net.onnx"]) == {
        "demo": "demo",
        "a": "runs/x/epoch_12.pth",
        "dota": "runs/dota/model",
        "b": "runs/b/epoch_3.pth",
        "retina-net": "c/retina net.onnx",
    }
    with pytest.raises(RequestError, match=r"(?s)two called 'a'.*--model a-2=y"):
        named(["a=x", "a=y"])
