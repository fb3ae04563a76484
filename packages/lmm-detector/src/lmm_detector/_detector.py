"""A trained detector: a checkpoint and what it was taught."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rbox_metrics
from rbox_formats import ClassNames, ImageRecord, codecs, images, tiling

from lmm_detector import _families, _repetition, _scores
from lmm_detector._spec import DetectorSpec
from lmm_detector.errors import ModelError


@dataclass(frozen=True)
class Generation:
    """How answers are generated.

    Attributes:
        num_beams: 1 is greedy; LMMRotate takes 3.
        max_new_tokens: The longest answer; None: the longest that the model can write.
        batch_size: Windows at a time.
        scores: How a box's score comes of the probabilities of its tokens: a rule of `_scores.RULES`, "none" for no
            scores.
        constrained: Whether only texts of the codec, with the detector's classes, may be written.
    """

    num_beams: int = 1
    max_new_tokens: int | None = None
    batch_size: int = 8
    scores: str = "mean"
    constrained: bool = False

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

        spec = DetectorSpec.load(path)
        family = _families.load(str(path), dtype=dtype)
        codec = spec.make_codec()
        family.check(codec, spec.prompt, (spec.window, spec.window))
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            family.model.to(device).eval()
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

    def predict(
        self, paths: Sequence[str | Path], generation: Generation | None = None, *, done: Collection[str] = ()
    ) -> Iterator[ImageRecord]:
        """Detects the objects on image files, window by window, in batches that run across images.

        Args:
            paths: The files. An image's id is its file's name without the suffix.
            generation: How.
            done: The ids of images that were detected before. Batches are made as if they had not been, so that the
                others' come out the same to the last bit; those of which all images are done are passed over.

        Yields:
            A record for each other image, in order, as soon as its last window is done. `scores` are from 0 to 1, or
            None where none are asked for. `metadata` holds `status`, and `windows`: of each its place, raw text,
            status, and what decoding rejected and why, boxes that repeat an earlier one among it.

        Raises:
            ImageError: If a file is not a whole image.
            ModelError: If the answers cannot be as long, or as short, as asked for.
        """
        generation = generation or Generation()
        _scores.check_rule(generation.scores, self.codec)
        answers: list[_Answered] = []
        for path, answered, is_last in self._answers(paths, generation, done):
            if path.stem in done:
                continue
            answers.append(answered)
            if is_last:
                yield self._record(path, answers)
                answers = []

    def _answers(
        self, paths: Sequence[str | Path], generation: Generation, done: Collection[str]
    ) -> Iterator[tuple[Path, _Answered, bool]]:
        """What is found in each window, and whether it is the last one of its image."""
        limit = self.family.answer_room(self.spec.prompt, (self.spec.window, self.spec.window))
        tokens = generation.max_new_tokens or limit
        if tokens > limit:
            raise ModelError(f"expected answers of at most {limit} tokens, which the model can write, got {tokens}")
        decoding = _families.Decoding(
            max_new_tokens=tokens,
            num_beams=generation.num_beams,
            automaton=self._automaton() if generation.constrained else None,
        )
        for batch in _batches(self._places(paths), generation.batch_size):
            if all(path.stem in done for path, *_ in batch):
                continue
            crops = list(_crops(batch))
            answers = self.family.generate(crops, self.spec.prompt, decoding)
            scored = generation.scores != "none"
            logs = self._log_probabilities(crops, answers) if scored else [None] * len(crops)
            for (path, window, is_last), answer, log in zip(batch, answers, logs, strict=True):
                yield path, self._answered(window, answer, log, generation.scores), is_last

    def _places(self, paths: Sequence[str | Path]) -> Iterator[tuple[Path, tiling.Window, bool]]:
        for path in paths:
            windows = self.windows(path)
            for number, window in enumerate(windows, start=1):
                yield Path(path), window, number == len(windows)

    def _automaton(self) -> Any:
        from lmm_detector._constrained import compile_grammar

        return compile_grammar(self.codec, self.class_names, self.family.tokenizer, end=self.family.end_tokens[0])

    def _log_probabilities(self, crops: Sequence[np.ndarray], answers: Sequence[_families.Answer]) -> list[Any]:
        return self.family.log_probabilities(crops, self.spec.prompt, [answer.tokens for answer in answers])

    def _answered(self, window: tiling.Window, answer: _families.Answer, log: Any, rule: str) -> _Answered:
        """What an answer says of its window."""
        size = (window.output_size, window.output_size)
        found = self.codec.decode(
            answer.text, self.class_names, size, self.family.input_size(size), on_invalid="ignore"
        )
        found, _ = _repetition.without_repeats(found)
        scores = None
        if log is not None:
            scores = _scores.box_scores(found, self.family.token_spans(answer.tokens), log, rule)
        about = {
            "window": list(window[:3]),
            "text": answer.text,
            # An answer that stops without end-of-text ran into the length limit, however well it reads.
            "status": found.status if answer.finished else "truncated",
            "rejected": [list(piece) for piece in found.rejected],
        }
        return _Answered(window, found, scores, about)

    def _record(self, path: Path, answers: Sequence[_Answered]) -> ImageRecord:
        """One image's record out of the answers to its windows."""
        boxes = np.concatenate([tiling.to_image(each.found.boxes, each.window) for each in answers])
        labels = np.concatenate([each.found.labels for each in answers])
        quads = [tiling.to_image(each.found.quads, each.window) for each in answers if each.found.quads is not None]
        scores = [each.scores for each in answers if each.scores is not None]
        width, height = images.read_size(path)
        windows = [each.about for each in answers]
        record = ImageRecord(
            image_id=path.stem,
            boxes=boxes,
            labels=labels,
            quads=np.concatenate(quads) if quads else None,
            scores=np.concatenate(scores) if scores else None,
            path=path,
            width=width,
            height=height,
            metadata={"status": codecs.joined_status(str(window["status"]) for window in windows), "windows": windows},
        )
        if len(answers) == 1:
            return record
        kept = rbox_metrics.merge_windows(
            boxes,
            labels,
            record.scores,
            window_index=np.repeat(np.arange(len(answers)), [len(each.found.boxes) for each in answers]),
            windows=np.array([each.window.corners for each in answers], dtype=np.float64),
        )
        return record.select(kept)


class _Answered(NamedTuple):
    """What was found in a window.

    Attributes:
        window: Where it lies.
        found: What its text says, each box once.
        scores: (N,) of its boxes, or None.
        about: What a predictions file says of it.
    """

    window: tiling.Window
    found: codecs.Decoded
    scores: Any
    about: dict[str, Any]


def _crops(places: Sequence[tuple[Path, tiling.Window, bool]]) -> Iterator[np.ndarray]:
    """The pixels of windows; an image is read once for those that follow each other."""
    for path, group in itertools.groupby(places, key=lambda place: place[0]):
        image = images.load(path)
        for _, window, _ in group:
            yield tiling.crop(image, window)


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while batch := list(itertools.islice(items, size)):
        yield batch


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
