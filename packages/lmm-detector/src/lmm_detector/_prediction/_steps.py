"""Detection step by step, as `rbox_formats.detection.Steps` has it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from rbox_formats import ImageRecord, tiling
from rbox_formats.codecs import StreamDecoder
from rbox_formats.detection import ImageLike, Listener, Prediction, Scene, SceneWindow

from lmm_detector._prediction import _detection
from lmm_detector._prediction._detection import Answered, Answering


@dataclass(frozen=True)
class Steps:
    """What `Detector.predict` does with given options, in steps.

    Attributes:
        answering: How batches are answered.
        windows: Gives the windows of an image of (width, height) pixels.
    """

    answering: Answering
    windows: Callable[[int, int], list[tiling.Window]]

    @property
    def batch_size(self) -> int:
        """See `rbox_formats.detection.Steps`."""
        return self.answering.generation.batch_size

    @property
    def attempts(self) -> int:
        """See `rbox_formats.detection.Steps`."""
        return len(self.answering.decodings)

    @property
    def key(self) -> Hashable:
        """See `rbox_formats.detection.Steps`: how answers are generated."""
        return self.answering.decodings

    def scene(self, image: ImageLike, name: str = "image") -> Scene:
        """See `rbox_formats.detection.Steps`."""
        return Scene.of(image, self.windows, name)

    def group(self, window: SceneWindow) -> None:
        """See `rbox_formats.detection.Steps`: processors take images of any sizes together."""
        return

    def detect(
        self, windows: Sequence[SceneWindow], *, attempt: int = 0, listener: Listener | None = None
    ) -> list[Answered | None]:
        """See `rbox_formats.detection.Steps`."""
        return self.answering.attempt(attempt, windows, listener)

    def join(self, scene: Scene, found: Sequence[Answered]) -> Prediction:
        """See `rbox_formats.detection.Steps`."""
        return self.answering.prediction(scene, found)

    def record(self, scene: Scene, number: int, found: Answered) -> ImageRecord:
        """See `rbox_formats.detection.Steps`."""
        return _detection.record(scene, number, found)

    def stream(self, scene: Scene, number: int) -> StreamDecoder:
        """See `rbox_formats.detection.Steps`."""
        detector = self.answering.detector
        side = scene.windows[number].output_size
        seen = detector.family.input_size((side, side))
        return detector.codec.stream(detector.class_names, (side, side), seen)
