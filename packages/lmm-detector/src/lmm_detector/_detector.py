"""A trained detector: a checkpoint and what it was taught."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rbox_metrics
from rbox_formats import ClassNames, ImageRecord, codecs, images, tiling

from lmm_detector import _families
from lmm_detector._spec import DetectorSpec
from lmm_detector.errors import ModelError


@dataclass(frozen=True)
class Generation:
    """How answers are generated.

    Attributes:
        num_beams: 1 is greedy; LMMRotate takes 3.
        max_new_tokens: The longest answer; None: the longest that the model can write.
        batch_size: Windows at a time.
    """

    num_beams: int = 1
    max_new_tokens: int | None = None
    batch_size: int = 8

    def __post_init__(self) -> None:
        for name in ("num_beams", "batch_size", "max_new_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ModelError(f"expected {name} of 1 or more, got {value}")


@dataclass(frozen=True)
class Detector:
    """A model that writes the boxes of an image as text.

    >>> detector = Detector.from_pretrained("runs/dota/model")  # doctest: +SKIP
    >>> for record in detector.predict(["scene.png"]):  # doctest: +SKIP
    ...     print(record.boxes, [detector.class_names[label] for label in record.labels])

    Attributes:
        family: The model with its processor.
        spec: What it was taught.
        codec: The codec of its texts.
        fingerprint: A hash of the checkpoint's weights, settings, tokenizer and processor.
    """

    family: _families.Family
    spec: DetectorSpec
    codec: codecs.Codec
    fingerprint: str

    @classmethod
    def from_pretrained(cls, path: str | Path, *, device: str | None = None, dtype: str = "float32") -> Detector:
        """Loads a detector that `lmm_detector.train` made.

        Args:
            path: Its folder: `model`, or one of `checkpoints`, of a run.
            device: Such as "cpu" or "cuda:0". None: the best that there is.
            dtype: What to compute in: "float32", "bfloat16" or "float16".

        Raises:
            ModelError: If there is no detector there.
        """
        import torch

        dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
        if dtype not in dtypes:
            raise ModelError(f"expected a dtype among {', '.join(dtypes)}, got {dtype!r}")
        spec = DetectorSpec.load(path)
        family = _families.load(str(path))
        codec = spec.make_codec()
        family.check(codec, spec.prompt)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            family.model.to(device, dtypes[dtype]).eval()
        except (RuntimeError, AssertionError) as error:
            # torch's own words for a device that there is not, or is too small.
            raise ModelError(
                f"expected a device for the model, got {device!r}: {str(error).splitlines()[0]}"
            ) from error
        return cls(family, spec, codec, _fingerprint(Path(path)))

    @property
    def class_names(self) -> ClassNames:
        """The classes that it was taught; a label is an index into them."""
        return self.spec.class_names

    def windows(self, path: str | Path) -> list[tiling.Window]:
        """The windows in which it sees an image file."""
        return tiling.windows(*images.read_size(path), self.spec.window, self.spec.gap)

    def predict(self, paths: Sequence[str | Path], generation: Generation | None = None) -> Iterator[ImageRecord]:
        """Detects the objects on image files, window by window, in batches that run across images.

        Args:
            paths: The files. An image's id is its file's name without the suffix.
            generation: How.

        Yields:
            A record for each image, in order, as soon as its last window is done. `scores` is None. `metadata` holds
            `status`, and `windows`: of each its place, raw text, status, and what decoding rejected and why.

        Raises:
            ImageError: If a file is not a whole image.
        """
        answers: list[tuple[tiling.Window, str]] = []
        for path, window, text, is_last in self._texts(paths, generation or Generation()):
            answers.append((window, text))
            if is_last:
                yield self._record(path, answers)
                answers = []

    def _texts(
        self, paths: Sequence[str | Path], generation: Generation
    ) -> Iterator[tuple[Path, tiling.Window, str, bool]]:
        """Each window's answer, and whether it is the last one of its image."""
        limit = self.family.max_target_tokens
        tokens = generation.max_new_tokens or limit
        if tokens > limit:
            raise ModelError(f"expected answers of at most {limit} tokens, which the model can write, got {tokens}")
        for batch in _batches(self._crops(paths), generation.batch_size):
            crops = [crop for *_, crop in batch]
            texts = self.family.generate(crops, self.spec.prompt, num_beams=generation.num_beams, max_new_tokens=tokens)
            for (path, window, is_last, _), text in zip(batch, texts, strict=True):
                yield path, window, text, is_last

    def _crops(self, paths: Sequence[str | Path]) -> Iterator[tuple[Path, tiling.Window, bool, np.ndarray]]:
        for path in paths:
            image = images.load(path)
            windows = self.windows(path)
            for number, window in enumerate(windows, start=1):
                yield Path(path), window, number == len(windows), tiling.crop(image, window)

    def _record(self, path: Path, answers: Sequence[tuple[tiling.Window, str]]) -> ImageRecord:
        """One image's record out of the answers to its windows."""
        parts, windows = [], []
        for window, text in answers:
            size = (window.output_size, window.output_size)
            part = self.codec.decode(text, self.class_names, size, on_invalid="ignore")
            parts.append(part)
            windows.append(
                {
                    "window": list(window[:3]),
                    "text": text,
                    # An answer that stops without end-of-text ran into the length limit, however well it reads.
                    "status": part.status if self.family.is_finished(text) else "truncated",
                    "rejected": [list(piece) for piece in part.rejected],
                }
            )
        boxes = np.concatenate(
            [tiling.to_image(part.boxes, window) for part, (window, _) in zip(parts, answers, strict=True)]
        )
        labels = np.concatenate([part.labels for part in parts])
        width, height = images.read_size(path)
        quads = [
            tiling.to_image(part.quads, window)
            for part, (window, _) in zip(parts, answers, strict=True)
            if part.quads is not None
        ]
        record = ImageRecord(
            image_id=path.stem,
            boxes=boxes,
            labels=labels,
            quads=np.concatenate(quads) if quads else None,
            path=path,
            width=width,
            height=height,
            metadata={"status": codecs.joined_status(str(window["status"]) for window in windows), "windows": windows},
        )
        if len(parts) == 1:
            return record
        kept = rbox_metrics.merge_windows(
            boxes,
            labels,
            None,
            window_index=np.repeat(np.arange(len(parts)), [len(part.boxes) for part in parts]),
            windows=np.array([window.corners for window, _ in answers], dtype=np.float64),
        )
        return record.select(kept)


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while batch := list(itertools.islice(items, size)):
        yield batch


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
