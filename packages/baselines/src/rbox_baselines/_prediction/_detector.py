"""A trained model of MMRotate, ready to detect."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

import numpy as np
import rbox_formats
from rbox_formats import ClassNames, ImageRecord, files
from rbox_formats.detection import ImageLike, Prediction, PredictOptions, Scene, scenes_of
from rbox_formats.errors import quoted
from rbox_formats.sharding import detect_scenes
from rbox_formats.typing import Image

from rbox_baselines._configs._check import buildable
from rbox_baselines._configs._pipelines import innermost, kind_of
from rbox_baselines._parts._records import to_record
from rbox_baselines._prediction._device import check_device
from rbox_baselines._prediction._views import BATCH_SIZE, Steps, Views
from rbox_baselines._stack._registered import registered_alone
from rbox_baselines.errors import CheckpointError, ConfigError, ExportError

if TYPE_CHECKING:
    from mmengine.config import Config
    from PIL.Image import Image as Picture
else:
    Picture = Any  # Pillow is imported where a picture is read
    Config = Any  # mmengine is imported where a config is read

logger = logging.getLogger("rbox_baselines")

# The axes of an image (height, width, 3) that each flip turns round.
_AXES = {"horizontal": (1,), "vertical": (0,), "diagonal": (0, 1)}


@dataclass(frozen=True, eq=False, repr=False)
class Detector:
    """A model with its weights; it follows `rbox_formats.detection.Detector`.

    >>> detector = Detector.from_checkpoint("runs/dota/model.pth")  # doctest: +SKIP
    >>> found = detector.predict("scene.png")  # doctest: +SKIP
    >>> found.boxes, found.names, found.scores  # doctest: +SKIP

    Attributes:
        model: The module.
        config: The config that the model was built from.
        class_names: The classes that the labels are indices of.
        fingerprint: Names the weights: the SHA-256 of their file.
        device: The device that the model is on.
        is_stored: Whether the config came with the checkpoint, so that it may name registered classes alone.
    """

    model: Any
    config: Config
    class_names: ClassNames
    fingerprint: str
    device: str
    is_stored: bool = False

    @classmethod
    def from_checkpoint(
        cls, checkpoint: str | Path, config: str | Path | None = None, *, device: str | None = None
    ) -> Detector:
        """Load what `train` wrote, or a checkpoint that MMRotate published.

        Args:
            checkpoint: The file; nothing in it is run.
            config: A preset, a config of the zoo, or a file, which may import code of yours. None: the one that the
                checkpoint carries, which may not: it is made of the registered parts of detectors alone.
            device: The device to detect on, such as "cpu" or "cuda:0". None: the GPU, where there is one.

        Raises:
            CheckpointError: If the file is no checkpoint, does not say its classes, is of another model, or its config
                names what is no registered part of a detector.
            ConfigError: If the device is not there, the config cannot be read, or no model can be made of it.
        """
        from rbox_baselines._checkpoints import class_names_of, read_checkpoint
        from rbox_baselines._configs import _check, _classes, _load, _stored, _weights

        device = check_device(device)
        saved = read_checkpoint(checkpoint)
        if config is None:
            text = dict(saved.get("meta") or {}).get("cfg")
            if not isinstance(text, str):
                raise CheckpointError(
                    "expected a checkpoint that carries its config, got one without",
                    path=checkpoint,
                    remedy="Name the config that it was trained with: --config.",
                )
            try:
                found = _stored.load_stored(text)
            except CheckpointError as error:
                raise CheckpointError(str(error), path=checkpoint) from error
        else:
            found = _load.load_model(config)
        names = class_names_of(saved) or _load.class_names_of(found)
        if names is None:
            raise CheckpointError("expected a checkpoint that says its classes, got one without", path=checkpoint)
        _classes.set_num_classes(found.model, len(names))
        found = _weights.without_pretrained(found)
        _check.check_types(found, is_stored=config is None)
        model = _built(found, config is None)
        _load_weights(model, saved.get("state_dict", saved), Path(checkpoint))
        model.to(device).eval()
        return cls(model, found, ClassNames(names), _digest(Path(checkpoint)), device, config is None)

    @classmethod
    def from_onnx(cls, path: str | Path, *, device: str | None = None) -> Detector:
        """Load what `export` wrote as ONNX; onnxruntime detects.

        >>> detector = Detector.from_onnx("model.onnx")  # doctest: +SKIP

        Args:
            path: The file; it reads no other.
            device: "cpu", "cuda" or "cuda:N". None: the GPU, where onnxruntime has one.

        Raises:
            ExportError: If it is no file that `export` wrote, or the extra `export` is not installed.
            ConfigError: If the device is not there.
        """
        from rbox_baselines._configs import _stored
        from rbox_baselines._export._session import Session

        path = files.as_path(path, ExportError)
        session = Session(path, device)
        try:
            config = _stored.load_stored(session.description.config)
        except CheckpointError as error:
            raise ExportError(str(error), path=path) from error
        return cls(session, config, ClassNames(session.description.class_names), _digest(path), session.device, True)

    def export(self, path: str | Path, *, nms: bool = True) -> Path:
        """Write the detector as one file that other programs run: ONNX (.onnx), or a program of PyTorch (.pt2).

        It takes an image (1, 3, height, width) float32, RGB from 0 to 255, of any size that the model can take, and
        gives boxes (N, 5) as cx, cy, w, h, angle in le90, in pixels and radians, scores (N,) and labels (N,).

        >>> detector.export("model.onnx")  # doctest: +SKIP

        Args:
            path: The file.
            nms: Whether the program drops boxes that overlap better ones of their class. Otherwise it gives all that
                score above the model's own threshold, for a suppression of yours.

        Returns:
            The file.

        Raises:
            ExportError: If the model cannot be exported, or the extra `export` is not installed.
        """
        from rbox_baselines._export import _files

        files.require_writable_file(path)
        path = Path(path)
        model = self._module
        test_cfg = self.config.model.get("test_cfg") or {}
        last = test_cfg.get("rcnn", test_cfg)
        kept = {
            "model": {"type": self.config.model.type, "test_cfg": test_cfg},
            "test_dataloader": {"dataset": {"pipeline": self._steps}},
        }
        description = _files.Description(
            tuple(self.class_names),
            _text_of(kept),
            nms,
            self.nms_threshold,
            int(last.get("max_per_img", 2000)),
            model.data_preprocessor.pad_size_divisor > 1,
        )
        with _registered_alone(self.is_stored):
            _files.write(model, description, self.input_side, path)
        return path

    @property
    def input_side(self) -> int:
        """The side of the largest square that the model sees whole, in pixels."""
        return min(_resize(self._steps)["scale"])

    @property
    def nms_threshold(self) -> float:
        """The IoU above which the model's own suppression drops boxes."""
        return float(_nms_threshold(self.config.model.get("test_cfg")) or 0.1)

    @property
    def _module(self) -> Any:
        """Return the module of PyTorch.

        Raises:
            ExportError: If there is none, since the detector was exported.
        """
        if not hasattr(self.model, "data_preprocessor"):
            raise ExportError(
                "expected a detector of a checkpoint, got an exported one", remedy="Name the checkpoint it was made of."
            )
        return self.model

    @cached_property
    def _steps(self) -> list[Any]:
        """Return the transforms of the test pipeline, except those that read files and annotations."""
        loader = self.config.get("test_dataloader") or self.config.get("val_dataloader")
        if loader is None:
            raise ConfigError("expected a test_dataloader in the config, found none")
        steps = [
            step
            for step in innermost(loader.dataset).pipeline
            if not kind_of(step).startswith(("Load", "ConvertBox", "ConvertMask", "PackDetInputs"))
        ]
        _resize(steps)
        # Whatever else a config packs is of annotations.
        meta = ("img_id", "ori_shape", "img_shape", "scale_factor")
        return [*steps, {"type": "mmdet.PackDetInputs", "meta_keys": meta}]

    def _pipeline(self, scale: float) -> Any:
        from mmcv.transforms import Compose

        steps = [dict(step) for step in self._steps]
        for step in steps:
            for name in ("scale", "size"):
                if step.get(name) is not None and scale != 1.0:
                    step[name] = tuple(round(side * scale) for side in step[name])
        return Compose([{"type": "mmdet.LoadImageFromNDArray"}, *steps])

    def scene(self, image: ImageLike, views: Views | None = None, name: str = "image") -> Scene:
        """Make a scene of an image, with the windows in which the detector sees it; of a file it reads the header.

        Args:
            image: A path, a Pillow image, an array or a tensor.
            views: How images are looked at.
            name: The id of an image in memory.
        """
        return self.steps(views).scene(image, name)

    @overload
    def predict(  # type: ignore[overload-overlap]  # an array is an image, and not its rows
        self, images: Picture | np.ndarray, views: Views | None = None, **options: Unpack[PredictOptions]
    ) -> Prediction: ...

    @overload
    def predict(self, images: str | Path, views: Views | None = None, **options: Unpack[PredictOptions]) -> Any: ...

    @overload
    def predict(
        self, images: Iterable[ImageLike], views: Views | None = None, **options: Unpack[PredictOptions]
    ) -> Iterator[Prediction]: ...

    def predict(
        self,
        images: ImageLike,
        views: Views | None = None,
        *,
        window: int | None = None,
        gap: int | None = None,
        score_threshold: float | None = None,
        batch_size: int | None = None,
    ) -> Prediction | Iterator[Prediction] | Any:
        """Detect the objects on one image, or on many, window by window.

        If several windows, or several views of one window, find the same object, the box with the best score is kept:
        among windows by `rbox_metrics.merge_windows`, among the views of a window by `nms_rotated`.

        Args:
            images: One image: a path, a Pillow image, an array (height, width, 3) uint8, or a tensor. Or many: a
                folder, a pattern, a list of files, or a Python list (`rbox_formats.detection.scenes_of`). Files are
                opened one after the other, when they are needed.
            views: Windows, flips and scales. None: the defaults of `Views`.
            window: Side of the windows in pixels; 0: whole images. None: as `views` says.
            gap: Overlap of neighbouring windows in pixels. None: as `views` says.
            score_threshold: Drops predictions of a lower score. None: as `views` says.
            batch_size: How many windows are processed together, across images. None: 4.

        Returns:
            A `Prediction` for one image, for many an iterator over one each, in their order. An image's id is its
            file's name without the suffix; images in memory are called "image", or "image-0" and so on.

        Raises:
            ImageError: If something is not an image, or a file not a whole one.
            ConfigError: If a setting is out of its range.
        """
        views = _with_options(views, window, gap, score_threshold)
        steps = Steps(self, views, self.input_side, batch_size or BATCH_SIZE, views.score_threshold)
        scenes, is_one = scenes_of(images, steps.windows, pad_whole=False)
        found = detect_scenes(steps, scenes)
        return next(found) if is_one else found

    __call__ = predict

    def steps(
        self,
        views: Views | None = None,
        *,
        window: int | None = None,
        gap: int | None = None,
        score_threshold: float | None = None,
        batch_size: int | None = None,
    ) -> Steps:
        """Return what `predict` does with these options, step by step: see `rbox_formats.detection.Steps`.

        Args:
            views: As in `predict`.
            window: As in `predict`.
            gap: As in `predict`.
            score_threshold: As in `predict`.
            batch_size: As in `predict`.

        Raises:
            ConfigError: If a setting is out of its range.
        """
        views = _with_options(views, window, gap, score_threshold)
        return Steps(self, views, self.input_side, batch_size or BATCH_SIZE)

    def __repr__(self) -> str:
        name = self.config.model.get("type", "a model")
        return f"<Detector of {len(self.class_names)} classes: {kind_of(self.config.model) or name}, on {self.device}>"

    def detect(
        self, crops: Sequence[Image], *, flip: str | None = None, scale: float = 1.0, score_threshold: float = 0.0
    ) -> list[ImageRecord]:
        """Detect the objects on images.

        Args:
            crops: (height, width, 3) uint8, RGB.
            flip: Detects on the mirrored images: one of `FLIPS`. The boxes are those of the images as given.
            scale: Factor on the size to which the model's config resizes images.
            score_threshold: Leaves out what scores less.

        Returns:
            A record for each, its boxes in pixels of the image as given, by falling score. A model of masks gives them
            too, and the rotated rectangle around each as its box.
        """
        with _registered_alone(self.is_stored):
            return self._detected(crops, flip, scale, score_threshold)

    def features(self, crops: Sequence[Image]) -> np.ndarray:
        """Describe images by what the model's neck sees of them, each seen whole; for `rbox_metrics.mining`.

        Args:
            crops: (height, width, 3) uint8, RGB.

        Returns:
            (N, D) float32: the means of all channels of all levels.
        """
        import torch

        if not len(crops):
            return np.zeros((0, 1), dtype=np.float32)
        model = self._module
        with _registered_alone(self.is_stored), torch.inference_mode():
            batch = model.data_preprocessor(self._batch(crops, self._pipeline(1.0), ()), False)
            levels = model.extract_feat(batch["inputs"])
        levels = levels if isinstance(levels, list | tuple) else [levels]
        return torch.cat([level.mean(dim=(2, 3)) for level in levels], dim=1).float().cpu().numpy()

    def with_thresholds(self, *, score: float | None = None, iou: float | None = None) -> Detector:
        """Set the thresholds of the model's own suppression, of one stage or of two.

        Every part of the model that has a score threshold gets them; what suppresses proposals of regions has none,
        and keeps its own.

        Args:
            score: Boxes of a lower score are dropped before the suppression. None: the config's.
            iou: Of two boxes of a class with a larger rotated IoU the one of the higher score stays. None: the
                config's.

        Returns:
            This detector, which has changed.
        """
        for module in self._module.modules():
            _set_thresholds(getattr(module, "test_cfg", None), score, iou)
        _set_thresholds(self.config.model.get("test_cfg"), score, iou)
        return self

    def _batch(self, crops: Sequence[Image], pipeline: Any, axes: tuple[int, ...]) -> dict[str, Any]:
        # cv2, which mmcv reads images with, has blue first.
        inputs = [
            pipeline({"img": np.ascontiguousarray(np.flip(crop, (*axes, 2))), "img_id": number})
            for number, crop in enumerate(crops)
        ]
        return {name: [each[name] for each in inputs] for name in ("inputs", "data_samples")}

    def _detected(
        self, crops: Sequence[Image], flip: str | None, scale: float, score_threshold: float
    ) -> list[ImageRecord]:
        import torch

        pipeline = self._pipeline(scale)
        axes = _AXES[flip] if flip else ()
        batch = self._batch(crops, pipeline, axes)
        with torch.inference_mode():
            samples = self.model.test_step(batch)
        found = []
        for crop, sample in zip(crops, samples, strict=True):
            instances = sample.pred_instances
            size = (crop.shape[1], crop.shape[0])
            masks = getattr(instances, "masks", None)
            record = to_record("", instances.bboxes, instances.labels, instances.scores, masks=masks, size=size)
            found.append(_flipped(_above(record, score_threshold), flip))
        return found


def _with_options(views: Views | None, window: int | None, gap: int | None, score_threshold: float | None) -> Views:
    given: dict[str, Any] = {"window": window, "gap": gap, "score_threshold": score_threshold}
    return replace(views or Views(), **{name: value for name, value in given.items() if value is not None})


def _built(config: Config, is_stored: bool) -> Any:
    """Build the model of a config.

    Raises:
        ConfigError: If the config's parts do not take what it says.
    """
    from mmdet.registry import MODELS

    with buildable(config, "Name the config that it was trained with: --config."), _registered_alone(is_stored):
        return MODELS.build(config.model)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _text_of(config: dict[str, Any]) -> str:
    """Return a config as Python assignments, as a checkpoint carries it."""
    from mmengine.config import Config

    return str(Config(config).pretty_text)


def _registered_alone(is_stored: bool) -> AbstractContextManager[None]:
    return registered_alone() if is_stored else nullcontext()


def _above(record: ImageRecord, threshold: float) -> ImageRecord:
    scores = np.ones(len(record)) if record.scores is None else record.scores
    order = np.argsort(-scores, kind="stable")
    return record.select(order[scores[order] >= threshold])


def _flipped(record: ImageRecord, flip: Any) -> ImageRecord:
    if flip is None:
        return record
    quads = None if record.quads is None else rbox_formats.flip(record.quads, record.size, flip)
    masks = None if record.masks is None else record.masks.flipped(record.size, flip)
    return replace(record, boxes=rbox_formats.flip(record.boxes, record.size, flip), quads=quads, masks=masks)


def _resize(steps: Sequence[Any]) -> Any:
    """Return the transform that makes images as large as the model sees them."""
    for step in steps:
        if kind_of(step) == "Resize" and isinstance(step.get("scale"), tuple | list):
            return step
    raise ConfigError("expected a test pipeline with a Resize of fixed scale, got one without")


def _nms_threshold(test_cfg: Any) -> float | None:
    """Return the first `iou_threshold` of rotated boxes in a model's test_cfg: that of its last stage."""
    if not test_cfg:
        return None
    for name in ("rcnn", "nms"):
        if name in test_cfg:
            return _nms_threshold(test_cfg[name])
    return test_cfg.get("iou_threshold")


def _set_thresholds(test_cfg: Any, score: float | None, iou: float | None) -> None:
    """Set thresholds where a model's test_cfg has them, in its stages too."""
    if not isinstance(test_cfg, dict):
        return
    if "score_thr" in test_cfg:
        if score is not None:
            test_cfg["score_thr"] = score
        if iou is not None and isinstance(test_cfg.get("nms"), dict):
            test_cfg["nms"]["iou_threshold"] = iou
    _set_thresholds(test_cfg.get("rcnn"), score, iou)


def _load_weights(model: Any, weights: Any, path: Path) -> None:
    """Fill a model with weights, all of them.

    Raises:
        CheckpointError: If weights are missing or of other shapes.
    """
    own = model.state_dict()
    weights = {name.removeprefix("module."): value for name, value in weights.items()}
    missing = [name for name in own if name not in weights and not name.endswith("num_batches_tracked")]
    other = [
        f"{name} {tuple(weights[name].shape)} for {tuple(value.shape)}"
        for name, value in own.items()
        if name in weights and weights[name].shape != value.shape
    ]
    if missing or other:
        parts = []
        if missing:
            parts.append(f"none for {len(missing)} of {len(own)}, such as {quoted(missing[0])}")
        if other:
            parts.append(f"{len(other)} of other shapes, such as {quoted(other[0], marks=False)}")
        raise CheckpointError(
            f"expected the weights of this model, got {' and '.join(parts)}",
            path=path,
            remedy="Name the config that the checkpoint was trained with: --config.",
        )
    over = [name for name in weights if name not in own]
    if over:
        logger.warning(
            "%s has %d weights that the model has no place for, such as %s", path, len(over), quoted(over[0])
        )
    model.load_state_dict(weights, strict=False)
