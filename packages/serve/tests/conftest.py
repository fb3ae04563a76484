"""Detectors that are quick and known, in the place of those that load_detector finds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, codecs, tiling
from rbox_formats.codecs import StreamDecoder
from rbox_formats.detection import Listener, Prediction, Scene, SceneWindow
from rbox_serve import _models, _running

SIDE = 32  # of a window, px
AGAIN = 7  # red in the corner of a window that is to be tried again
SPOILT = 9  # of one on which the detector fails


@dataclass(eq=False)
class Bright:
    """Finds, in each window, one box over all of it: "bright", or "dark", with its brightness as score.

    Attributes:
        codec: What it writes; None: no text.
        gate: Batches wait until it is open.
        batches: What was detected on together: ids of images and numbers of windows.
    """

    codec: codecs.Codec | None = None
    class_names: ClassNames = field(default_factory=lambda: ClassNames(["bright", "dark"]))
    fingerprint: str = "bright-1"
    gate: threading.Event = field(default_factory=threading.Event)
    batches: list[list[tuple[str, int]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    def steps(self, **options: Any) -> BrightSteps:
        return BrightSteps(self, **options)

    def predict(self, image: Any, **options: Any) -> Prediction:
        """One window after the other."""
        steps = self.steps(**options)
        scene = steps.scene(image)
        found = [steps.found(SceneWindow(scene, *crop)) for crop in scene.crops()]
        return steps.join(scene, found)

    __call__ = predict

    def detect(self, crops: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class BrightSteps:
    detector: Bright
    window: int | None = None
    gap: int | None = None
    score_threshold: float | None = None
    batch_size: int | None = None
    attempts = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "batch_size", self.batch_size or 4)

    @property
    def key(self) -> Hashable:
        return None

    def scene(self, image: Any, name: str = "image") -> Scene:
        side = SIDE if self.window is None else self.window
        return Scene.of(image, lambda w, h: tiling.windows(w, h, side or max(w, h), self.gap or 0), name)

    def group(self, window: SceneWindow) -> Hashable:
        return window.pixels.shape

    def detect(
        self, windows: Sequence[SceneWindow], *, attempt: int = 0, listener: Listener | None = None
    ) -> list[Any]:
        self.detector.batches.append([(window.scene.image_id, window.number) for window in windows])
        assert self.detector.gate.wait(20)
        if any(window.pixels[0, 0, 0] == SPOILT for window in windows):
            raise RuntimeError("spoilt")
        if listener is not None:
            for place, window in enumerate(windows):
                for character in self.found(window)[2]:
                    listener(place, character)
        again = [attempt == 0 and window.pixels[0, 0, 0] == AGAIN for window in windows]
        return [None if once_more else self.found(window) for window, once_more in zip(windows, again, strict=True)]

    def found(self, window: SceneWindow) -> tuple[int, float, str]:
        """The label, the score, and the text."""
        side = window.pixels.shape[1]
        score = round(float(window.pixels.mean()) / 255, 6)
        label = int(score < 0.5)
        if self.detector.codec is None:
            return label, score, ""
        box = [[side / 2, side / 2, side, side, 0]]
        return label, score, self.detector.codec.encode(box, [label], self.detector.class_names, (side, side))

    def join(self, scene: Scene, found: Sequence[Any]) -> Prediction:
        sides = [window.size for window in scene.windows]
        boxes = [[w.x + s / 2, w.y + s / 2, s, s, 0] for w, s in zip(scene.windows, sides, strict=True)]
        metadata: dict[str, Any] = {"status": "boxes"}
        spans = None
        if self.detector.codec is not None:
            metadata["windows"] = [
                {"window": list(window[:3]), "text": text, "status": "boxes", "rejected": []}
                for window, (_, _, text) in zip(scene.windows, found, strict=True)
            ]
            spans = np.array([[number, 0, len(text)] for number, (_, _, text) in enumerate(found)])
        whole = Prediction(
            scene.image_id,
            boxes,
            [label for label, _, _ in found],
            scores=[score for _, score, _ in found],
            path=scene.path,
            width=scene.size[0],
            height=scene.size[1],
            metadata=metadata,
            class_names=self.detector.class_names,
            spans=spans,
        )
        return whole.select(whole.scores >= (self.score_threshold or 0.0))

    def stream(self, scene: Scene, number: int) -> StreamDecoder | None:
        if self.detector.codec is None:
            return None
        side = scene.windows[number].size
        return self.detector.codec.stream(self.detector.class_names, (side, side))


@pytest.fixture
def detectors(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """By their paths; one that is missing cannot be loaded."""
    found: dict[str, Any] = {"bright": Bright(), "writer": Bright(codecs.get("plain"))}

    def load(path: str, *, device: str | None = None) -> Any:
        return found[path]

    monkeypatch.setattr(_models, "load_detector", load)
    for module in (_models, _running):
        monkeypatch.setattr(module, "command_of", lambda path: "test-detector")
    return found


def drawn(width: int = SIDE, height: int = SIDE, value: int = 200) -> np.ndarray:
    """An image that differs from window to window, and in none is AGAIN or SPOILT."""
    x, y = np.arange(width) // SIDE, np.arange(height)[:, None] // SIDE
    grey = (value + 3 * x + 5 * y).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def png(pixels: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def draw() -> Callable[..., np.ndarray]:
    return drawn


@pytest.fixture
def as_png() -> Callable[[np.ndarray], bytes]:
    return png


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(png(drawn(3 * SIDE, 2 * SIDE)))
    return path
