"""A trained detector: a checkpoint and what it was taught."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from rbox_formats import images, tiling
from rbox_formats.errors import ImageError

from lmm_detector import _families
from lmm_detector._prediction._detection import check_generation, detect
from lmm_detector._prediction._generation import Generation
from lmm_detector._prediction._loaded import Loaded
from lmm_detector._prediction._result import Prediction
from lmm_detector._prediction._scenes import ImageLike, Scene, is_one_image
from lmm_detector._runtime import _ranks
from lmm_detector._runtime._memory import enough_memory
from lmm_detector._spec import DetectorSpec

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
else:
    Picture = Any  # Pillow is imported where a picture is read


class Detector(Loaded):
    """A model that writes the boxes of an image as text.

    >>> detector = Detector.from_pretrained("runs/dota/model")  # doctest: +SKIP
    >>> found = detector.predict("scene.png")  # doctest: +SKIP
    >>> found.boxes, found.names, found.scores, found.text  # doctest: +SKIP
    >>> found.plot()  # doctest: +SKIP
    """

    @classmethod
    def from_pretrained(cls, path: str | Path, *, device: str | None = None, dtype: str = "float32") -> Detector:
        """Loads a detector that `lmm_detector.train` made.

        Args:
            path: Its folder: `model`, or one of `checkpoints`, of a run. Or a detector on the hub, owner/name. Or
                "demo": a small detector of drawn scenes that comes with the package.
            device: Such as "cpu" or "cuda:0". None: the best that there is; under torchrun, each process's own.
            dtype: What to compute in: "float32", "bfloat16" or "float16".

        Raises:
            ModelError: If there is no detector there, or it does not fit the device.
        """
        path = _families.fetch_detector(path)
        spec = DetectorSpec.load(path)
        codec = spec.make_codec()
        device = _ranks.set_up(device)
        _ranks.check_device(device)
        less = "Take --dtype bfloat16, or a device with more memory."
        with enough_memory(f"the weights in {dtype}", less):
            family = _families.load(str(path), dtype=dtype)
        family.check(codec, spec.prompt, (spec.window, spec.window), spec.class_names)
        with enough_memory(f"the weights in {dtype} on {device}", less):
            family.model.to(device).eval()
        return cls(family, spec, codec, _fingerprint(Path(path)))

    def windows(self, path: str | Path) -> list[tiling.Window]:
        """The windows in which it sees an image file."""
        return tiling.windows(*images.read_size(path), self.spec.window, self.spec.gap)

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is a path, and not its letters
        self, images: str | Path | Picture | np.ndarray, generation: Generation | None = None
    ) -> Prediction: ...

    @overload
    def predict(self, images: Iterable[ImageLike], generation: Generation | None = None) -> Iterator[Prediction]: ...

    def predict(self, images: ImageLike, generation: Generation | None = None) -> Prediction | Iterator[Prediction]:
        """Detects the objects on one image, or on many, window by window, in batches that run across images.

        Args:
            images: One image: a path, a Pillow image, or an array (height, width, 3) uint8. Or a list of such, of
                which files are opened as they are needed; `lmm_detector.find_images` makes one of folders, patterns
                and lists.
            generation: How answers are generated.

        Returns:
            Of one image what was detected on it, of many an iterator over that, in their order. `scores` are from 0 to
            1, or None where none are asked for. `metadata` holds `status`, and `windows`: of each its place, raw text,
            status, and what decoding rejected and why, boxes that repeat an earlier one among it. An image's id is
            its file's name without the suffix; images in memory are called "image", or "image-0" and so on.

        Raises:
            ImageError: If something is not an image, or a file not a whole one.
            ModelError: If the answers cannot be as long, or as short, as asked for, or memory runs out.
        """
        generation = generation or Generation()
        check_generation(self, generation)
        if is_one_image(images):
            (found,) = detect(self, [self.scene(images)], generation)
            return found
        if not isinstance(images, Iterable):
            raise ImageError(f"expected an image, or a list of images, got {type(images).__name__}")
        scenes = [self.scene(image, f"image-{number}") for number, image in enumerate(images)]
        return detect(self, scenes, generation)

    def scene(self, image: ImageLike, name: str = "image") -> Scene:
        """An image with the windows in which the detector sees it; of a file the header alone is read."""
        return Scene.of(image, self.spec.window, self.spec.gap, name)


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
