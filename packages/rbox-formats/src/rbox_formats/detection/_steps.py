"""Detection step by step: for programs that put windows of several images into one batch, such as a server."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from rbox_formats._records import ImageRecord
from rbox_formats.codecs import StreamDecoder
from rbox_formats.detection._prediction import Prediction
from rbox_formats.detection._scenes import ImageLike, Scene
from rbox_formats.typing import Image

#: Called with the place of a window in its batch, and the characters that were added to its text.
Listener: TypeAlias = Callable[[int, str], None]


class SceneWindow(NamedTuple):
    """A window of an image, as a detector sees it.

    >>> import numpy as np
    >>> from rbox_formats.detection import Scene, SceneWindow
    >>> from rbox_formats.tiling import Window
    >>> pixels = np.zeros((64, 96, 3), np.uint8)
    >>> scene = Scene.of(pixels, lambda width, height: [Window(0, 0, 64), Window(32, 0, 64)])
    >>> window = SceneWindow(scene, 1, pixels[:, 32:])
    >>> window.scene.windows[window.number].x
    32

    Attributes:
        scene: The image.
        number: The window's index into `scene.windows`.
        pixels: (height, width, 3) uint8, RGB.
    """

    scene: Scene
    number: int
    pixels: Image


@runtime_checkable
class Steps(Protocol):
    """What `Detector.predict` does with given options, in steps that another program puts in order.

    Images become scenes, scenes windows, batches of windows results, and the results of all windows of a scene its
    prediction. With the batches that `predict` makes, the predictions are those of `predict` to the last bit.

    >>> steps = detector.steps(window=1024)  # doctest: +SKIP
    >>> scene = steps.scene("scene.png")  # doctest: +SKIP
    >>> windows = [SceneWindow(scene, number, pixels) for number, pixels in scene.crops()]  # doctest: +SKIP
    >>> found = [steps.detect([window])[0] for window in windows]  # doctest: +SKIP
    >>> steps.join(scene, found)  # doctest: +SKIP
    <Prediction of 'scene': 3 ship>
    """

    @property
    def batch_size(self) -> int:
        """Return how many windows `predict` takes together."""
        ...

    @property
    def attempts(self) -> int:
        """Return how many times a window is tried at most, 1 or more; see `detect`."""
        ...

    @property
    def key(self) -> Hashable:
        """Return what must be equal in the steps of all windows of a batch."""
        ...

    def group(self, window: SceneWindow) -> Hashable:
        """Return what must be equal in all windows of a batch, such as their size.

        Args:
            window: The window.
        """
        ...

    def scene(self, image: ImageLike, name: str = "image") -> Scene:
        """Make a scene of an image, with the windows in which the detector sees it; of a file it reads the header.

        Args:
            image: A path, a Pillow image, an array or a tensor.
            name: The id of an image in memory.
        """
        ...

    def detect(
        self, windows: Sequence[SceneWindow], *, attempt: int = 0, listener: Listener | None = None
    ) -> Sequence[Any]:
        """Detect the objects on a batch of windows.

        Args:
            windows: The batch.
            attempt: How many times these windows have been tried before.
            listener: Called with each piece of a text as the model writes it, from the thread that calls this. With
                it, `attempt` is the last one, since texts of earlier ones may be begun again.

        Returns:
            For each window what `join` takes; or None, where the window is to be tried again.
        """
        ...

    def join(self, scene: Scene, found: Sequence[Any]) -> Prediction:
        """Make the prediction for an image.

        Args:
            scene: The image.
            found: What `detect` returned for each of its windows, in the order of `scene.windows`.
        """
        ...

    def record(self, scene: Scene, number: int, found: Any) -> ImageRecord:
        """Make the record of one window, in pixels of that window.

        Args:
            scene: The image.
            number: The window's index into `scene.windows`.
            found: What `detect` returned for it.
        """
        ...

    def stream(self, scene: Scene, number: int) -> StreamDecoder | None:
        """Return what reads boxes from the text about a window as it arrives, in pixels of that window.

        Args:
            scene: The image.
            number: The window's index into `scene.windows`.

        Returns:
            None for a detector that writes no text.
        """
        ...
