"""A trained detector: a checkpoint and what it was taught."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

import numpy as np
from rbox_formats import images, tiling
from rbox_formats.detection import ImageLike, Prediction, PredictOptions, Scene, scenes_of
from rbox_formats.errors import quoted
from rbox_formats.sharding import detect_scenes
from rbox_formats.typing import Image

from lmm_detector import _families
from lmm_detector._prediction import _vllm
from lmm_detector._prediction._detection import Answering, check_generation
from lmm_detector._prediction._generation import Generation
from lmm_detector._prediction._loaded import Loaded
from lmm_detector._prediction._steps import Steps
from lmm_detector._runtime import _ranks
from lmm_detector._runtime._memory import enough_memory
from lmm_detector._spec import DetectorSpec
from lmm_detector.errors import ModelError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
else:
    Picture = Any  # Pillow is imported where a picture is read


#: What may run a model.
ENGINES = ("local", "vllm")


class Detector(Loaded):
    """A model that writes the boxes of an image as text.

    >>> detector = Detector.from_pretrained("runs/dota/model")  # doctest: +SKIP
    >>> found = detector.predict("scene.png")  # doctest: +SKIP
    >>> found.boxes, found.names, found.scores, found.text  # doctest: +SKIP
    >>> found.plot()  # doctest: +SKIP
    """

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, device: str | None = None, dtype: str = "float32", engine: str = "local"
    ) -> Detector:
        """Load a detector that `lmm_detector.train` made.

        Args:
            path: Its folder: `model`, or one of `checkpoints`, of a run. Or a detector on the hub, owner/name. Or
                "demo": a small detector of drawn scenes that comes with the package.
            device: Such as "cpu" or "cuda:0". None: the best that there is; under torchrun, each process's own.
            dtype: What to compute in: "float32", "bfloat16" or "float16".
            engine: What runs the model: "local", transformers in this process; or "vllm", for models with a chat
                template, on the first GPU that it sees.

        Raises:
            ModelError: If there is no detector there, it does not fit the device, or the engine does not run it.
        """
        path = _families.fetch_detector(path)
        if engine not in ENGINES:
            raise ModelError(f"expected an engine among {', '.join(ENGINES)}, got {quoted(engine)}")
        if engine == "vllm":
            return cls._on_vllm(Path(path), device, dtype)
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

    @classmethod
    def _on_vllm(cls, folder: Path, device: str | None, dtype: str) -> Detector:
        _vllm.require(folder, device)
        spec = DetectorSpec.load(folder)
        codec = spec.make_codec()
        family = _families.outline(str(folder), dtype=dtype)
        family.check(codec, spec.prompt, (spec.window, spec.window), spec.class_names)
        return cls(family, spec, codec, _fingerprint(folder), engine=_vllm.Vllm(folder, family, dtype))

    def windows(self, path: str | Path) -> list[tiling.Window]:
        """Return the windows in which it sees an image file."""
        return self._windows(*images.read_size(path))

    def with_windows(self, window: int | None = None, gap: int | None = None) -> Detector:
        """Return a detector with the same model that looks at other windows than it was taught.

        Args:
            window: Side of the windows in pixels; 0: whole images. None: as it was taught.
            gap: Overlap of neighbouring windows in pixels. None: in proportion to what it was taught.

        Raises:
            ModelError: If the gap is not below the window.
            RboxError: If the model cannot see such windows, or not write their coordinates.
        """
        if window is None and gap is None:
            return self
        taught = self.spec
        if window == 0:
            return replace(self, spec=replace(taught, longest_answer=None), views=(0, 0))
        side = taught.window if window is None else window
        overlap = side * taught.gap // taught.window if gap is None else gap
        if not 0 <= overlap < side:
            raise ModelError(f"expected a gap of 0 px or more, below the window of {side} px, got {overlap}")
        self.family.check(self.codec, taught.prompt, (side, side), taught.class_names)
        # Larger windows have more objects than any that was taught.
        longest = taught.longest_answer if side <= taught.window else None
        return replace(
            self, spec=replace(taught, window=side, gap=overlap, longest_answer=longest), views=(side, overlap)
        )

    def detect(self, crops: Sequence[Image], generation: Generation | None = None) -> list[Prediction]:
        """Detect the objects on windows; the model sees each window whole. See `rbox_formats.detection.Detector`.

        Args:
            crops: Each (height, width, 3) uint8, RGB; one that is not square is filled up to a square.
            generation: How answers are generated.

        Returns:
            A prediction for each crop, its boxes in pixels of that crop.
        """
        whole = replace(self, views=(0, 0))
        scenes = [whole.scene(crop, f"crop-{i}") for i, crop in enumerate(crops)]
        return list(detect_scenes(whole.steps(generation), scenes))

    @overload
    def predict(  # type: ignore[overload-overlap]  # an array is an image, and not its rows
        self, images: Picture | np.ndarray, generation: Generation | None = None, **options: Unpack[PredictOptions]
    ) -> Prediction: ...

    @overload
    def predict(
        self, images: str | Path, generation: Generation | None = None, **options: Unpack[PredictOptions]
    ) -> Any: ...

    @overload
    def predict(
        self, images: Iterable[ImageLike], generation: Generation | None = None, **options: Unpack[PredictOptions]
    ) -> Iterator[Prediction]: ...

    def predict(
        self,
        images: ImageLike,
        generation: Generation | None = None,
        *,
        window: int | None = None,
        gap: int | None = None,
        score_threshold: float | None = None,
        batch_size: int | None = None,
    ) -> Prediction | Iterator[Prediction] | Any:
        """Detect the objects on one image, or on many, window by window, in batches that run across images.

        Args:
            images: One image: a path, a Pillow image, an array (height, width, 3) uint8, or a tensor. Or many: a
                folder, a pattern, a list of files, or a Python list (`rbox_formats.detection.scenes_of`), whose files
                are opened when they are needed.
            generation: How answers are generated.
            window: Side of the windows in pixels; 0: whole images. None: as the model was taught.
            gap: Overlap of neighbouring windows in pixels. None: as the model was taught.
            score_threshold: Drops predictions of a lower score. None: as `generation` says.
            batch_size: Windows at a time. None: as `generation` says.

        Returns:
            A `Prediction` for one image, for many an iterator over one each, in their order. `scores` are from 0 to 1,
            or None where `generation` asks for none. `metadata` holds `status`, and `windows`: of each its place, raw
            text, status, and what decoding rejected and why, boxes that repeat an earlier one among it. An image's id
            is its file's name without the suffix; images in memory are called "image", or "image-0" and so on.

        Raises:
            ImageError: If something is not an image, or a file not a whole one.
            ModelError: If the answers cannot be as long, or as short, as asked for, or memory runs out.
        """
        steps = self.steps(generation, window=window, gap=gap, score_threshold=score_threshold, batch_size=batch_size)
        scenes, is_one = scenes_of(images, steps.windows)
        found = detect_scenes(steps, scenes)
        return next(found) if is_one else found

    __call__ = predict

    def steps(
        self,
        generation: Generation | None = None,
        *,
        window: int | None = None,
        gap: int | None = None,
        score_threshold: float | None = None,
        batch_size: int | None = None,
    ) -> Steps:
        """Return what `predict` does with these options, step by step: see `rbox_formats.detection.Steps`.

        Args:
            generation: As in `predict`.
            window: As in `predict`.
            gap: As in `predict`.
            score_threshold: As in `predict`.
            batch_size: As in `predict`.

        Raises:
            ModelError: As in `predict`.
        """
        given: dict[str, Any] = {"score_threshold": score_threshold, "batch_size": batch_size}
        generation = replace(generation or Generation(), **{k: v for k, v in given.items() if v is not None})
        detector = self.with_windows(window, gap)
        check_generation(detector, generation)
        return Steps(Answering.of(detector, generation), detector._windows)

    def scene(self, image: ImageLike, name: str = "image") -> Scene:
        """Make a scene of an image, with the windows in which the detector sees it; of a file it reads the header."""
        return Scene.of(image, self._windows, name)

    def _windows(self, width: int, height: int) -> list[tiling.Window]:
        if self.views == (0, 0):
            return [tiling.Window(0, 0, max(width, height))]
        return tiling.windows(width, height, self.spec.window, self.spec.gap)

    def __repr__(self) -> str:
        model = self.family.model
        seen = "whole images" if self.views == (0, 0) else f"windows of {self.spec.window} px"
        place = model.device if self.engine is None else self.engine.version
        return (
            f"<Detector of {len(self.class_names)} classes: {model.config.model_type}, writes {self.codec.name}, sees "
            f"{seen}, on {place}>"
        )


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
