"""A server with the addresses of packages/serve/README.md and two detectors that never change their minds.

The page is tested against it, so that its tests depend on no weights.
"""

from __future__ import annotations

import io
import json
import re
import threading
import time
import warnings
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from PIL import Image
from rbox_formats import ImageRecord, rbox_to_quad, synthetic

PAGE = Path(__file__).parents[2] / "packages" / "serve" / "src" / "rbox_serve" / "page"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
CLASSES = list(synthetic.CLASS_NAMES)

#: Where images lie whose names begin with "map": turned a little, half a metre a pixel.
ON_THE_MAP = {"transform": [0.4, -0.3, 500000.0, -0.3, -0.4, 6000000.0], "crs": "EPSG:32631"}


def _place_of(name: str) -> dict[str, Any] | None:
    return ON_THE_MAP if name.startswith("map") else None


def _scene(name: str, seed: int) -> tuple[bytes, ImageRecord]:
    config = synthetic.SceneConfig(size=640)
    image, record = synthetic.scene(seed, config, image_id=name)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue(), record


@cache
def scenes() -> dict[str, tuple[bytes, ImageRecord]]:
    """Return the scenes by their names: each as PNG, and its ground truth."""
    return {name: _scene(name, seed) for seed, name in enumerate(["harbour", "airfield", "coast", "terminal"])}


@dataclass
class Detector:
    """What a detector finds: the truth of a scene, with flaws; other images have four boxes.

    Pictures of images whose names begin with "large" have a quarter of their sides.

    Attributes:
        name: The model's name.
        writes_text: Whether it answers as a multimodal model: with text and without scores.
        seed: Chooses the flaws.
        class_names: Its classes.
        ready: Whether it is loaded.
    """

    name: str
    writes_text: bool
    seed: int
    class_names: list[str] = field(default_factory=lambda: list(CLASSES))
    ready: bool = True

    def found(self, image_id: str, width: int, height: int) -> dict[str, Any]:
        """Return the answer of `format=json`."""
        rng = np.random.default_rng(self.seed)
        boxes, labels = self._boxes(image_id, width, height, rng)
        scores = np.round(np.sort(rng.uniform(0.05, 0.99, len(boxes)))[::-1], 3)
        names = [self.class_names[label] for label in labels]
        text, spans = "", []
        for name, box in zip(names, boxes.tolist(), strict=True):
            piece = f"{name} " + " ".join(f"<loc_{round(value)}>" for value in box[:4])
            spans.append([0, len(text), len(text) + len(piece)])
            text += piece + "; "
        record = {
            "image_id": image_id,
            "width": width,
            "height": height,
            "boxes": boxes.tolist(),
            "quads": None if self.seed % 2 else rbox_to_quad(boxes).tolist(),
            "labels": [int(label) for label in labels],
            "scores": None if self.writes_text else scores.tolist(),
            "status": "boxes",
        }
        if self.writes_text:
            window = {"window": [0, 0, max(width, height)], "text": text, "status": "boxes", "rejected": []}
            record["windows"] = [window]
        return {
            "model": self.name,
            "image": {"id": image_id, "width": width, "height": height},
            "header": {
                "schema_version": 1,
                "class_names": self.class_names,
                "fingerprint": f"fake:{self.name}",
                "codec": {"name": "florence2"} if self.writes_text else None,
                "generation": {},
                "dataset": {},
            },
            "record": record,
            "names": names,
            "text": text if self.writes_text else None,
            "spans": spans if self.writes_text else None,
            "map": _place_of(image_id),
            "seconds": 0.12,
        }

    def _boxes(self, image_id: str, width: int, height: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        if image_id in scenes():
            record = scenes()[image_id][1]
            kept = np.arange(len(record.boxes)) % 5 != self.seed % 5  # some are missed
            boxes = record.boxes[kept] + rng.normal(0, [2, 2, 1, 1, 0.02], (kept.sum(), 5))
            extra = [[0.3 * width, 0.7 * height, 60, 24, 0.5], [0.8 * width, 0.15 * height, 40, 20, -0.9]]
            labels = np.concatenate([record.labels[kept], [0, 1]])
            return np.concatenate([boxes, extra]), labels
        if image_id.startswith("many"):
            count = 5000
            centres = rng.uniform(0, [width, height], (count, 2))
            sides = rng.uniform(20, 60, (count, 2))
            boxes = np.column_stack([centres, sides, rng.uniform(-1.5, 1.5, count)])
            return boxes, rng.integers(0, len(self.class_names), count)
        at = np.array([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]) * [width, height]
        side = min(width, height)
        boxes = np.column_stack([at, np.full((4, 2), [side / 8, side / 16]), [0.0, 0.4, -0.4, 1.2]])
        return boxes, np.arange(4) % len(self.class_names)


@dataclass
class Fake:
    """The server and what tests read of it.

    Attributes:
        url: Where the page is.
        detectors: By name; tests may add some.
        requests: The addresses that were asked for, in order.
        pause: Seconds between the events of a stream, and before other answers.
        key: What clients have to send as `X-API-Key`; "" for nothing.
    """

    url: str
    detectors: dict[str, Detector]
    requests: list[str] = field(default_factory=list)
    pause: float = 0.0
    key: str = ""


def _default_detectors() -> dict[str, Detector]:
    return {
        "florence": Detector("florence", writes_text=True, seed=2),
        "retinanet": Detector("retinanet", writes_text=False, seed=1),
    }


def serve() -> tuple[Fake, ThreadingHTTPServer]:
    """Start the server in a thread, on a port of loopback that is free."""
    fake = Fake("", _default_detectors())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            fake.requests.append(f"GET {path}")
            if path.startswith("/v1/") and fake.key and self.headers["X-API-Key"] != fake.key:
                self._json({"error": {"message": "expected the server's key", "remedy": None}}, 401)
            elif path == "/v1/models":
                self._json({"models": [_described(detector) for detector in fake.detectors.values()]})
            elif path == "/v1/scenes":
                about = [
                    {"name": name, "width": 640, "height": 640, "url": f"/v1/scenes/{name}",
                     "truth_url": f"/v1/scenes/{name}/truth"}
                    for name in scenes()
                ]  # fmt: skip
                self._json({"scenes": about})
            elif match := re.fullmatch(r"/v1/scenes/([^/]+)", path):
                self._send(200, scenes()[match[1]][0], "image/png")
            elif match := re.fullmatch(r"/v1/scenes/([^/]+)/truth", path):
                self._send(200, truth_of(scenes()[match[1]][1]).encode(), "text/plain; charset=utf-8")
            else:
                file = PAGE / (path.lstrip("/") or "index.html")
                if file.is_file() and PAGE in file.resolve().parents:
                    self._send(200, file.read_bytes(), TYPES[file.suffix])
                else:
                    self._json({"error": {"message": f"no address {path}", "remedy": None}}, 404)

        def do_POST(self) -> None:
            address = urlsplit(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fake.requests.append(f"POST {self.path}")
            match = re.fullmatch(r"/v1/models/([^/]+)/detect", unquote(address.path))
            detector = fake.detectors.get(match[1]) if match else None
            if detector is None and address.path != "/v1/pictures":
                self._json({"error": {"message": "no such model", "remedy": "GET /v1/models lists them."}}, 404)
                return
            name, content = _upload(self.headers["Content-Type"], body)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # only its size is read
                    with Image.open(io.BytesIO(content)) as image:
                        width, height = image.size
                        if detector is None:
                            self._picture(image, name)
                            return
            except Image.UnidentifiedImageError:
                error = {"message": "expected a whole image, got a broken one", "remedy": "Fetch the file again."}
                self._json({"error": error}, 400)
                return
            answer = detector.found(Path(name).stem, width, height)
            if parse_qs(address.query).get("format") == ["events"]:
                self._events(answer)
            else:
                time.sleep(fake.pause)
                self._json(answer)

        def _picture(self, image: Image.Image, name: str) -> None:
            buffer = io.BytesIO()
            image.reduce(4 if name.startswith("large") else 1).save(buffer, "PNG", compress_level=1)
            about = {"X-Image-Width": str(image.width), "X-Image-Height": str(image.height)}
            about["X-Image-Map"] = json.dumps(_place_of(name))
            self._send(200, buffer.getvalue(), "image/png", about)

        def _events(self, answer: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            record = answer["record"]
            (window,) = record["windows"]

            def event(name: str, data: dict[str, Any]) -> None:
                self.wfile.write(f"event: {name}\r\ndata: {json.dumps(data)}\r\n\r\n".encode())
                self.wfile.flush()
                time.sleep(fake.pause)

            try:
                event("start", {"model": answer["model"], "image": answer["image"], "windows": [window["window"]]})
                for i, (_, start, stop) in enumerate(answer["spans"]):
                    event("text", {"window": 0, "text": window["text"][start : stop + 2]})
                    box = {"window": 0, "box": record["boxes"][i], "quad": None, "label": record["labels"][i]}
                    event("box", {**box, "name": answer["names"][i], "span": [start, stop]})
                event("window", {"window": 0})
                event("result", answer)
            except (BrokenPipeError, ConnectionResetError):
                fake.requests.append("cancelled")
            self.close_connection = True

        def _json(self, value: object, status: int = 200) -> None:
            self._send(status, json.dumps(value).encode(), "application/json")

        def _send(self, status: int, body: bytes, kind: str, more: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (more or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return fake, server


def truth_of(record: ImageRecord) -> str:
    """Return a scene's ground truth as DOTA's text; every seventh object is difficult."""
    lines = []
    for i, (quad, label) in enumerate(zip(record.corners, record.labels, strict=True)):
        corners = " ".join(repr(float(value)) for value in quad.ravel())
        lines.append(f"{corners} {CLASSES[label]} {int(i % 7 == 6)}\n")
    return "imagesource:drawn\ngsd:0.3\n" + "".join(lines)


def _described(detector: Detector) -> dict[str, Any]:
    return {
        "name": detector.name,
        "command": "lmm-detector" if detector.writes_text else "rbox-baselines",
        "classes": detector.class_names if detector.ready else [],
        "convention": "le90",
        "ready": detector.ready,
        "writes_text": detector.ready and detector.writes_text,
    }


def _upload(kind: str, body: bytes) -> tuple[str, bytes]:
    """Return name and content of the one file of a multipart form."""
    form = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    (part,) = (part for part in form.iter_parts() if part.get_param("name", header="content-disposition") == "image")
    return part.get_filename() or "image", part.get_payload(decode=True)
