"""A detector whose results tell which windows shared a batch, as those of real ones do in their last bits."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rbox_formats import ClassNames, ImageRecord, predictions, tiling
from rbox_formats.detection import ImageLike, Listener, Prediction, Scene, SceneWindow
from rbox_formats.sharding import Parts, Shard, detect_shards, records_of

NAMES = ClassNames(["thing"])
HEADER = predictions.Header(NAMES, fingerprint="sha256:é")


@dataclass(frozen=True, eq=False)
class Telling:
    """Steps of such a detector: the score of a window is a hash of its batch; every third window is tried again."""

    batch_size: int = 3
    attempts: int = 2
    key: Hashable = None
    batches: list[list[str]] = field(default_factory=list)

    def group(self, window: SceneWindow) -> Hashable:
        """Return the size of the window."""
        return window.pixels.shape

    def scene(self, image: ImageLike, name: str = "image") -> Scene:
        """Make a scene of windows of 8 px, 6 apart."""
        return Scene.of(image, lambda width, height: tiling.windows(width, height, 8, 2), name, pad_whole=False)

    def detect(
        self, windows: Sequence[SceneWindow], *, attempt: int = 0, listener: Listener | None = None
    ) -> list[Any]:
        """Return the score of each window, and the attempt; or None."""
        names = [window.scene.window_name(window.number) for window in windows]
        self.batches.append(names)
        score = int(hashlib.sha256(" ".join(names).encode()).hexdigest()[:6], 16) / 16**6
        again = [attempt == 0 and window.number % 3 == 2 for window in windows]
        return [None if once_more else (score, attempt) for once_more in again]

    def record(self, scene: Scene, number: int, found: Any) -> ImageRecord:
        """Make a record of one object."""
        score, attempt = found
        window = {"window": list(scene.windows[number][:3]), "text": f"{attempt}", "status": "boxes", "rejected": []}
        metadata = {"status": "boxes", "windows": [window]}
        return ImageRecord(scene.image_id, [[4, 4, 3, 2, 0]], [0], scores=[score], metadata=metadata)

    def join(self, scene: Scene, found: Sequence[Any]) -> Prediction:
        """Make the prediction of an image."""
        records = [self.record(scene, number, each) for number, each in enumerate(found)]
        merged = together(scene, list(zip(scene.windows, records, strict=True)))
        width, height = scene.size
        return Prediction.of(merged, NAMES, width=width, height=height, path=scene.path)

    def stream(self, scene: Scene, number: int) -> None:
        """Return nothing: it writes no text."""
        return


@dataclass(frozen=True, eq=False)
class Failing(Telling):
    """One that stumbles over a window, or takes its process with it.

    Attributes:
        victim: The name of the window.
        flag: A file that is made at the first time; what happens then happens once. None: it happens each time.
        dies: Whether the process dies, and does not only raise an error.
        pause: Seconds that each batch takes.
    """

    victim: str = ""
    flag: Path | None = None
    dies: bool = True
    pause: float = 0.0

    def detect(
        self, windows: Sequence[SceneWindow], *, attempt: int = 0, listener: Listener | None = None
    ) -> list[Any]:
        """Detect as `Telling` does, or fail."""
        time.sleep(self.pause)
        is_here = any(window.scene.window_name(window.number) == self.victim for window in windows)
        if is_here and (self.flag is None or not self.flag.exists()):
            if self.flag is not None:
                self.flag.touch()
            if self.dies:
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError(f"no luck with {self.victim}")
        return super().detect(windows, attempt=attempt, listener=listener)


def together(scene: Scene, parts: Sequence[tuple[tiling.Window, ImageRecord]]) -> ImageRecord:
    """All objects of all windows."""
    return ImageRecord(
        scene.image_id,
        np.concatenate([tiling.to_image(record.boxes, window) for window, record in parts]),
        np.concatenate([record.labels for _, record in parts]),
        scores=np.concatenate([record.scores for _, record in parts]),
        metadata={"status": "boxes", "windows": [each for _, record in parts for each in record.metadata["windows"]]},
    )


def join_all(parts: Parts) -> Path:
    """Join what is there, as a run does whose plan names other images."""
    parts.join([], together)
    return parts.out


def scenes_of(counts: Sequence[int]) -> list[Scene]:
    """Images in memory with these numbers of windows."""
    found = []
    for number, count in enumerate(counts):
        pixels = np.full((8, 6 * count + 2, 3), number % 256, np.uint8)
        found.append(Telling().scene(pixels, f"P{number}"))
    return found


def compute(shards: Sequence[Shard], parts: Parts, steps: Telling | None = None) -> None:
    """Write the parts of some shards."""
    steps = steps or Telling()
    for shard, found in detect_shards(steps, shards):
        parts.write(shard, records_of(steps, found, Counter()))
