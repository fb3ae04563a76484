"""The base class of all codecs: a codec has a `Syntax`, `Coordinates`, and a few methods of its own."""

from __future__ import annotations

import dataclasses
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from rbox_formats._geometry import rbox_to_hbox
from rbox_formats._records import ClassNames
from rbox_formats.codecs._arguments import as_class_names, as_labels, as_order, as_shapes, check_sizes
from rbox_formats.codecs._coordinates import Coordinates, Size
from rbox_formats.codecs._decoded import Decoded, DecodeWarning, OnInvalid, Rejected, Status
from rbox_formats.codecs._parser import Found, Parser
from rbox_formats.codecs._stream import StreamDecoder
from rbox_formats.codecs._syntax import END, IGNORED, Syntax, end_of, start_of
from rbox_formats.codecs._template import escape
from rbox_formats.errors import CodecError, quoted
from rbox_formats.typing import BoxesOrQuadsN, LabelsN, NumbersN, ScoresN

_ON_INVALID = get_args(OnInvalid)

# Answers that mean "no objects" in every format, without spaces.
_NONE = ("[]", "therearenone.", "therearenone")


@dataclass(frozen=True)
class Codec(ABC):
    """A text format of boxes. A checkpoint stores it by `to_dict`, and `codecs.from_dict` restores it.

    >>> from rbox_formats import codecs
    >>> codec = codecs.get("plain")
    >>> codec.encode([[50, 40, 30, 10, 0]], [0], ["ship"], image_size=(100, 80))
    'ship[500,400,300,100,0]'
    >>> codec.decode("ship[500,400,300,100,0]", ["ship"], image_size=(100, 80)).boxes.tolist()
    [[50.0, 40.0, 30.0, 10.0, 0.0]]
    """

    name: ClassVar[str]

    #: The prompt that asks a model for this text, as the format's source words it; `{classes}` stands for the names.
    prompt: ClassVar[str] = "Detect all {classes} in the image."

    #: The strings that a tokenizer must hold as one token each.
    added_tokens: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def coordinates(self) -> Coordinates:
        """How boxes become numbers."""

    @property
    @abstractmethod
    def syntax(self) -> Syntax:
        """How numbers and names become text."""

    @property
    def empty_answer(self) -> str | None:
        """The text for an image without objects, or None if the format has none: training then skips such images."""
        return None

    @property
    def holds_rotation(self) -> bool:
        """Whether decoding returns turned boxes; if not, the upright box around an object is written."""
        return self.coordinates.holds_rotation

    @property
    def one_class(self) -> bool:
        """Whether the class is in the prompt and not in the text: `class_names` then holds that one name."""
        return self.syntax.names == "prompt"

    def facts(self) -> dict[str, str]:
        """Return what a reader of the format must know, by topic: scale, rounding, clamp, axes, corners, angle."""
        where = {"before": "before its boxes", "after": "after its box", "prompt": "in the prompt only"}
        return {
            **self.coordinates.facts(),
            "class name": where[self.syntax.names],
            "empty answer": "none" if self.empty_answer is None else repr(self.empty_answer),
            "added tokens": _summary(self.added_tokens),
            "rotation": "held" if self.holds_rotation else "lost: the upright box around the object is written",
        }

    def question(self, class_names: Iterable[str]) -> str:
        """Return the prompt that asks for objects of these classes."""
        return self.prompt.replace("{classes}", ", ".join(class_names))

    def encode(
        self,
        boxes: ArrayLike,
        labels: ArrayLike,
        class_names: Iterable[str],
        image_size: Size,
        input_size: Size | None = None,
        *,
        order: ArrayLike | None = None,
    ) -> str:
        """Write boxes as text.

        Args:
            boxes: (N, 5) in `le90`, or quads (N, 4, 2) as annotated; pixels of the image.
            labels: (N,) indices into `class_names`.
            class_names: The names to write.
            image_size: (width, height) of the image in pixels.
            input_size: (width, height) of the resized image that the model sees, for formats that count its pixels.
                None: that of the image.
            order: Indices of the boxes to write, in this order. None: all, in the order of the method `order`.

        Raises:
            CodecError: If a box is not finite or far outside the image, a name cannot be written, or the format takes
                one class and several are given.
        """
        classes, shapes, whose = self._given(boxes, labels, class_names, image_size, input_size)
        names = self._spelled(classes)
        numbers = self._numbers(shapes, image_size, input_size)
        chosen = self._arranged(shapes, whose, classes, numbers) if order is None else as_order(order, len(shapes))
        if not len(chosen):
            return self.empty_answer or ""
        rows = [tuple(row) for row in numbers[chosen].tolist()]
        return self.syntax.write(rows, [names[label] for label in whose[chosen].tolist()])

    def order(
        self,
        boxes: ArrayLike,
        labels: ArrayLike,
        class_names: Iterable[str],
        image_size: Size,
        input_size: Size | None = None,
        *,
        by: Literal["category", "position"] = "category",
    ) -> np.ndarray:
        """Return the order in which `encode` writes the boxes: indices (N,), fewer where the format leaves some out.

        Args:
            boxes: As in `encode`.
            labels: As in `encode`.
            class_names: As in `encode`.
            image_size: As in `encode`.
            input_size: As in `encode`.
            by: "category": the format's own order, by class and within each class by position. "position": by position
                alone, so that the name of a class can occur several times.

        Raises:
            CodecError: For the reasons of `encode`, and if `by` is neither.
        """
        if by not in ("category", "position"):
            raise CodecError(f"expected an order by 'category' or 'position', got {quoted(by)}")
        classes, shapes, whose = self._given(boxes, labels, class_names, image_size, input_size)
        numbers = self._numbers(shapes, image_size, input_size)
        if by == "position":
            return np.lexsort(self.places(shapes, numbers))
        return self._arranged(shapes, whose, classes, numbers)

    def decode(
        self,
        text: str,
        class_names: Iterable[str],
        image_size: Size,
        input_size: Size | None = None,
        *,
        on_invalid: OnInvalid = "warn",
        near_match: float | None = None,
    ) -> Decoded:
        """Read boxes from text, in time linear in its length.

        Args:
            text: The model's answer, with or without its special tokens.
            class_names: The class names that are accepted.
            image_size: (width, height) of the image in pixels.
            input_size: (width, height) of the resized image that the model saw, for formats that count its pixels.
                None: that of the image.
            on_invalid: What to do if pieces of the text give no box: "warn" (a `DecodeWarning`), "ignore", or "raise".
                With "warn" and "ignore", the pieces are in `rejected`.
            near_match: The similarity (Levenshtein's, normalised to 0..1) from which an unknown name is read as the
                class that it resembles most; a warning lists such names. None: unknown names are rejected.

        Raises:
            CodecError: With "raise", at the first piece that gives no box; the message has its position.
        """
        if on_invalid not in _ON_INVALID:
            raise CodecError(f"expected on_invalid among {', '.join(_ON_INVALID)}, got {quoted(on_invalid)}")
        check_sizes(image_size, input_size)
        parser = self.parser(class_names, near_match)
        found, _ = parser.scan(text, final=True)
        decoded = self.decoded(found, parser, text, image_size, input_size)
        if decoded.near_matches and on_invalid != "ignore":
            taken = ", ".join(f"{quoted(written)} for {quoted(name)}" for written, name in decoded.near_matches)
            warnings.warn(f"took in a {self.name} text: {taken}", DecodeWarning, stacklevel=2)
        if decoded.rejected and on_invalid != "ignore":
            first = decoded.rejected[0]
            piece = text[first.start : first.end]
            what = f"{first.reason} at characters {first.start} to {first.end}: {quoted(piece)}"
            if on_invalid == "raise":
                raise CodecError(f"expected boxes in the format {quoted(self.name)}, got {what}")
            more = f" (and {len(decoded.rejected) - 1} more)" if len(decoded.rejected) > 1 else ""
            warnings.warn(f"left out of a {self.name} text: {what}{more}", DecodeWarning, stacklevel=2)
        return decoded

    def stream(
        self,
        class_names: Iterable[str],
        image_size: Size,
        input_size: Size | None = None,
        *,
        near_match: float | None = None,
    ) -> StreamDecoder:
        """Return a decoder for a text that arrives in pieces; see `decode` for the arguments."""
        check_sizes(image_size, input_size)
        return StreamDecoder(
            self.parser(class_names, near_match),
            partial(self.coordinates.to_shapes, image_size=image_size, input_size=input_size),
            partial(self.decoded, image_size=image_size, input_size=input_size),
        )

    def grammar(self, class_names: Iterable[str], *, at_least_one: bool = False) -> str:
        """Return one regular expression, without anchors, that matches every text that `encode` can write.

        `decode` rejects nothing of a text that it matches in full. It uses only classes, groups and counts, which
        automata can express, so that engines for guided generation can compile it.

        Args:
            class_names: The names that may be written.
            at_least_one: Leave out the answer for an image without objects. Engines that stop as soon as a text may
                end, such as outlines-core 0.2, would otherwise write an empty text wherever the grammar allows it.

        Raises:
            CodecError: If a class name cannot be written, or there are no class names.
        """
        names = self._checked(class_names)
        if not names:
            raise CodecError("expected at least one class name, got none")
        boxes = self.syntax.grammar(self._spelled(names), self.coordinates.limits)
        if at_least_one:
            return boxes
        return f"(?:{boxes})?" if self.empty_answer is None else f"(?:{boxes}|{escape(self.empty_answer)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the name and the options, for JSON; `codecs.from_dict` reads it."""
        return {"name": self.name, **dataclasses.asdict(self)}

    # The steps of these methods.

    def parser(self, class_names: Iterable[str], near_match: float | None) -> Parser:
        """Return a parser for one text."""
        if near_match is not None and not 0 <= near_match <= 1:
            raise CodecError(f"expected near_match as a similarity from 0 to 1, got {quoted(near_match)}")
        return Parser(self.syntax, self.coordinates.limits, self._checked(class_names), near_match)

    def decoded(self, found: Found, parser: Parser, text: str, image_size: Size, input_size: Size | None) -> Decoded:
        """Return the result, once the whole text is read."""
        rejected = parser.rejected
        status: Status = "boxes"
        of_each_none = parser.says_none and not parser.rejected and not parser.is_cut
        if not len(found.labels) and (of_each_none or self._says_none(text)):
            status, rejected = "empty", []
        elif parser.is_cut or (not len(found.labels) and not parser.ended and self._begins_none(text)):
            status = "truncated"
        elif not len(found.labels):
            status = "failed"
            rejected = rejected or [Rejected(0, end_of(text, start_of(text)), "nothing that is a box")]
        shapes = self.coordinates.to_shapes(found.numbers, image_size, input_size)
        return Decoded(
            shapes=shapes,
            labels=found.labels,
            status=status,
            rejected=tuple(sorted(rejected)),
            near_matches=tuple(parser.near_matches.items()),
            label_spans=found.label_spans,
            number_spans=found.number_spans,
        )

    def _says_none(self, text: str) -> bool:
        start = start_of(text)
        body = text[start : end_of(text, start)]
        bare = self.syntax.bare(body)
        answers = (*_NONE, self.syntax.bare(self.empty_answer or "").casefold())
        return bare.casefold() in answers if bare else not Syntax.bare(self.syntax, body)

    def _begins_none(self, text: str) -> bool:
        return self.empty_answer is not None and self.empty_answer.startswith(text[start_of(text) :].strip())

    def _given(
        self, boxes: Any, labels: Any, class_names: Iterable[str], image_size: Size, input_size: Size | None
    ) -> tuple[ClassNames, BoxesOrQuadsN, LabelsN]:
        check_sizes(image_size, input_size)
        names, shapes = self._checked(class_names), as_shapes(boxes)
        return names, shapes, as_labels(labels, len(shapes), len(names))

    def _checked(self, class_names: Iterable[str]) -> ClassNames:
        names = as_class_names(class_names)
        if self.one_class and len(names) != 1:
            raise CodecError(
                f"expected one class name, since texts of {quoted(self.name)} do not name the class, got {len(names)}",
                remedy="Ask for one class at a time: select its boxes, and give its name alone.",
            )
        return names

    def _spelled(self, class_names: ClassNames) -> list[str]:
        names = [self.syntax.spell(name) for name in class_names]
        for name in names:
            if bad := next((character for character in self.syntax.stop if character in name), None):
                raise CodecError(
                    f"expected class names without {quoted(bad)}, which ends a name in {quoted(self.name)}, got "
                    f"{quoted(name)}"
                )
            if bad := next((token for token in (*END, *IGNORED) if token in name), None):
                raise CodecError(f"expected class names without the token {quoted(bad)}, got {quoted(name)}")
            if len(name) > (longest := self.syntax.longest_name):
                raise CodecError(
                    f"expected class names of up to {longest} characters in {quoted(self.name)}, got {quoted(name)}"
                )
        return names

    def _numbers(self, boxes: BoxesOrQuadsN, image_size: Size, input_size: Size | None) -> NumbersN:
        """Return the numbers of all boxes, each within the range of the format."""
        numbers = self.coordinates.to_numbers(boxes, image_size, input_size) + 0.0  # no negative zeros
        low, high = np.array(self.coordinates.limits).T
        inside = ((low <= numbers) & (numbers <= high)).all(axis=1)
        if not inside.all():
            raise CodecError(
                f"expected boxes that {quoted(self.name)} can hold, got {boxes[~inside][0].tolist()}, whose numbers "
                f"{numbers[~inside][0].tolist()} are not all in {low.min():g} to {high.max():g}"
            )
        return numbers

    def _arranged(self, boxes: BoxesOrQuadsN, labels: LabelsN, class_names: ClassNames, numbers: NumbersN) -> LabelsN:
        """Return the indices of the boxes in the format's own order."""
        by_name = sorted(range(len(class_names)), key=lambda label: self.rank(class_names[label]))
        ranks = np.empty(len(class_names), dtype=np.int64)
        ranks[by_name] = np.arange(len(class_names))
        return np.lexsort((*self.places(boxes, numbers), ranks[labels]))

    def rank(self, name: str) -> Any:
        """Return the key by which classes are sorted."""
        return name.replace("-", " ").lower()

    def places(self, shapes: BoxesOrQuadsN, numbers: NumbersN) -> tuple[ScoresN, ...]:
        """Return the keys by which boxes of a class are sorted, the last key first: upper end, then left end."""
        corners = rbox_to_hbox(shapes)[:, :2] if shapes.ndim == 2 else shapes.min(axis=1)
        return corners[:, 0], corners[:, 1]


def _summary(tokens: tuple[str, ...]) -> str:
    if len(tokens) < 6:
        return ", ".join(f"`{token}`" for token in tokens) or "none"
    return f"{len(tokens)}: `{tokens[0]}`, `{tokens[1]}`, ... `{tokens[-1]}`"
