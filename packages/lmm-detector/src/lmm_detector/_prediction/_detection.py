"""Batches of windows into answers, and answers into the records of windows and images."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import rbox_metrics
from rbox_formats import ImageRecord, codecs, tiling
from rbox_formats.detection import Prediction, Scene, SceneWindow
from rbox_formats.typing import Image, ScoresN, SpansN

from lmm_detector import _families
from lmm_detector._decoding._circles import Circle
from lmm_detector._prediction import _repetition, _scores
from lmm_detector._prediction._generation import Generation
from lmm_detector._prediction._hearing import Hearing
from lmm_detector._prediction._loaded import Loaded
from lmm_detector._runtime._memory import enough_memory
from lmm_detector.errors import ModelError

# A held-out window may have more objects than any that was trained on.
_MARGIN, _MORE = 1.5, 64


class Answered(NamedTuple):
    """What was found in a window.

    Attributes:
        found: What its text says, each box once.
        scores: (N,) of its boxes, or None.
        about: What a predictions file says of it.
    """

    found: codecs.Decoded
    scores: ScoresN | None
    about: dict[str, Any]


def check_generation(detector: Loaded, generation: Generation) -> None:
    """Make sure, before any long work, that answers can be generated so.

    Raises:
        RboxError: If not.
    """
    _scores.check_rule(generation.scores, detector.codec)
    if detector.engine is not None:
        detector.engine.check(generation)
    _limit(detector, generation)


def _limit(detector: Loaded, generation: Generation) -> int:
    """Return the longest answer in tokens: by default somewhat longer than the longest that the model was taught."""
    window = detector.spec.window
    limit = detector.family.answer_room(detector.spec.prompt, (window, window))
    tokens = generation.max_new_tokens
    if tokens is not None and tokens > limit:
        raise ModelError(f"expected answers of at most {limit} tokens, which the model can write, got {tokens}")
    taught = detector.spec.longest_answer
    return tokens or (limit if taught is None else min(limit, math.ceil(_MARGIN * taught) + _MORE))


def _circle(detector: Loaded, generation: Generation) -> Circle | None:
    """Return when answers are stopped because they repeat a box."""
    if generation.max_repeats == 0:
        return None
    side = detector.spec.window
    box = np.array([[0.51 * side, 0.51 * side, 0.9 * side, 0.37 * side, 0.41]])  # numbers of many digits
    seen = detector.family.input_size((side, side))
    texts = [
        detector.codec.encode(box, np.array([label]), detector.class_names, (side, side), seen)
        for label in range(len(detector.class_names))
    ]
    return Circle(generation.max_repeats, max(detector.family.count_tokens(texts)))


def _constraint(detector: Loaded) -> dict[str, Any]:
    """Return what of `Decoding` holds answers to the codec's texts."""
    if detector.engine is not None:
        return {"expression": detector.codec.grammar(detector.class_names)}
    from lmm_detector._decoding._constrained import compile_grammar

    family = detector.family
    return {
        "automaton": compile_grammar(detector.codec, detector.class_names, family.tokenizer, end=family.end_tokens[0])
    }


@dataclass(frozen=True)
class Answering:
    """How batches of windows are answered.

    Attributes:
        detector: What detects.
        generation: How.
        decodings: Of answers at their first attempt, their second, and so on.
    """

    detector: Loaded
    generation: Generation
    decodings: tuple[_families.Decoding, ...]

    @classmethod
    def of(cls, detector: Loaded, generation: Generation) -> Answering:
        """Make it.

        Raises:
            RboxError: If answers cannot be generated so.
        """
        limit = _limit(detector, generation)
        constraint = _constraint(detector) if generation.constrained else {}
        circle = _circle(detector, generation)
        decodings = (
            _families.Decoding(
                max_new_tokens=room,
                num_beams=generation.num_beams,
                temperature=generation.temperature,
                top_p=generation.top_p,
                circle=circle,
                **constraint,
            )
            # An engine begins another answer as soon as a short one has ended.
            for room in (generation.rooms(limit) if detector.engine is None else (limit,))
        )
        return cls(detector, generation, tuple(decodings))

    def attempt(
        self, number: int, batch: Sequence[SceneWindow], listener: Callable[[int, str], None] | None = None
    ) -> list[Answered | None]:
        """Answer a batch.

        Args:
            number: How many times these windows have been tried before.
            batch: The windows.
            listener: Called with the place of a window in the batch and what was added to its text.

        Returns:
            What was found in each window; None where its answer ran out of room and there is another attempt.
        """
        crops = [seen.pixels for seen in batch]
        writer, prompt = self.detector.writer, self.detector.spec.prompt
        seed = self._seed(batch)
        decoding, is_last = replace(self.decodings[number], seed=seed), number == len(self.decodings) - 1
        if listener is not None:
            decoding = replace(decoding, listener=Hearing(self.detector.family, len(batch), listener))
        with self._enough_memory(len(batch)):
            with self._draws(seed):
                answers = writer.generate(crops, prompt, decoding)
            if listener is not None and self.detector.engine is not None:  # which tells of answers when they have ended
                for place, answer in enumerate(answers):
                    listener(place, answer.text)
            ended = [place for place, each in enumerate(answers) if each.finished or each.repeated or is_last]
            logs: list[Any] = [None] * len(ended)
            if self.generation.scores != "none" and ended:
                logs = self._logs([crops[place] for place in ended], [answers[place] for place in ended])
        found: list[Answered | None] = [None] * len(batch)
        for place, log in zip(ended, logs, strict=True):
            window = batch[place].scene.windows[batch[place].number]
            found[place] = _answered(self.detector, window, answers[place], log, self.generation.scores)
        return found

    def prediction(self, scene: Scene, answers: Sequence[Answered]) -> Prediction:
        """Return one image's record out of the answers to its windows, in their order."""
        found = _prediction(self.detector, scene, answers)
        return found if found.scores is None else found.select(found.scores >= self.generation.score_threshold)

    def _logs(self, crops: Sequence[Image], answers: Sequence[_families.Answer]) -> list[Any]:
        """Return the log-probabilities of answers: those that came with them, or of one pass over all of them."""
        given = [answer.log_probabilities for answer in answers]
        if all(each is not None for each in given):
            return given
        tokens = [answer.tokens for answer in answers]
        return list(self.detector.writer.log_probabilities(crops, self.detector.spec.prompt, tokens))

    def _seed(self, batch: Sequence[SceneWindow]) -> int | None:
        """Return the seed of a batch's draws, its own; None where there are none."""
        if self.generation.temperature is None:
            return None
        places = [[seen.scene.image_id, seen.number] for seen in batch]
        digest = hashlib.sha256(json.dumps([self.generation.seed, places]).encode()).digest()
        return int.from_bytes(digest[:8], "little")

    def _draws(self, seed: int | None) -> Any:
        """Make PyTorch's generators draw from a seed, and restore them; an engine has generators of its own."""
        if seed is None or self.detector.engine is not None:
            return nullcontext()
        return _seeded(seed, self.detector.family.model.device)

    def _enough_memory(self, windows: int) -> Any:
        settings = self.generation
        knobs = {
            "a smaller --batch-size": settings.batch_size,
            "fewer --num-beams": settings.num_beams,
            "fewer --max-new-tokens": self.decodings[-1].max_new_tokens,
        }
        less = [f"{knob} ({value} now)" for knob, value in knobs.items() if value > 1]
        remedy = f"Take {', '.join(less)}, or --dtype bfloat16 in place of float32. What the file holds already stays."
        return enough_memory(f"a batch of {windows} windows", remedy)


def _seeded(seed: int, device: Any) -> Any:
    from contextlib import ExitStack

    import torch

    stack = ExitStack()
    stack.enter_context(torch.random.fork_rng(devices=[device] if device.type == "cuda" else []))
    torch.manual_seed(seed)
    return stack


def _answered(detector: Loaded, window: tiling.Window, answer: _families.Answer, log: Any, rule: str) -> Answered:
    """Return what an answer says of its window."""
    size = (window.output_size, window.output_size)
    found = detector.codec.decode(
        answer.text, detector.class_names, size, detector.family.input_size(size), on_invalid="ignore"
    )
    found, _ = _repetition.without_repeats(found)
    scores = None
    if log is not None:
        scores = _scores.box_scores(found, detector.family.token_spans(answer.tokens), log, rule)
    about = {
        "window": list(window[:3]),
        "text": answer.text,
        # An answer that stops without end-of-text was cut, however well it reads.
        "status": "repeated" if answer.repeated else found.status if answer.finished else "truncated",
        "rejected": [list(piece) for piece in found.rejected],
    }
    return Answered(found, scores, about)


def record(scene: Scene, number: int, answer: Answered) -> ImageRecord:
    """Return the record of one window, in pixels of the shown window."""
    side = scene.windows[number].output_size
    return ImageRecord(
        image_id=scene.image_id,
        boxes=answer.found.boxes,
        labels=answer.found.labels,
        quads=answer.found.quads,
        scores=answer.scores,
        width=side,
        height=side,
        metadata={"status": answer.about["status"], "windows": [answer.about]},
    )


def _prediction(detector: Loaded, scene: Scene, answers: Sequence[Answered]) -> Prediction:
    """Return one image's record out of the answers to its windows."""
    pairs = list(zip(answers, scene.windows, strict=True))
    boxes = np.concatenate([tiling.to_image(each.found.boxes, window) for each, window in pairs])
    labels = np.concatenate([each.found.labels for each in answers])
    quads = [tiling.to_image(each.found.quads, window) for each, window in pairs if each.found.quads is not None]
    scores = [each.scores for each in answers if each.scores is not None]
    windows = [each.about for each in answers]
    spans = [_spans(number, each.found) for number, each in enumerate(answers)]
    width, height = scene.size
    found = Prediction(
        image_id=scene.image_id,
        boxes=boxes,
        labels=labels,
        quads=np.concatenate(quads) if quads else None,
        scores=np.concatenate(scores) if scores else None,
        path=scene.path,
        width=width,
        height=height,
        metadata={"status": codecs.joined_status(str(window["status"]) for window in windows), "windows": windows},
        class_names=detector.class_names,
        pixels=scene.pixels,
        spans=np.concatenate(spans),
    )
    if len(answers) == 1:
        return found
    kept = rbox_metrics.merge_windows(
        boxes,
        labels,
        found.scores,
        window_index=np.repeat(np.arange(len(answers)), [len(each.found.boxes) for each in answers]),
        windows=np.array([window.corners for window in scene.windows], dtype=np.float64),
    )
    return found.select(kept)


def _spans(number: int, found: codecs.Decoded) -> SpansN:
    """Return (N, 3): a window's number, and of each box the first character of its numbers and one past the last."""
    numbers = found.number_spans
    bounds = [np.full(len(numbers), number), numbers[:, :, 0].min(axis=1), numbers[:, :, 1].max(axis=1)]
    return np.stack(bounds, axis=1).astype(np.int64)
