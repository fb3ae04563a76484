"""What every codec offers, and what decoding a text gives."""

from __future__ import annotations

import dataclasses
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np

from rbox_formats._geometry import quad_to_rbox
from rbox_formats._records import ClassNames
from rbox_formats._typing import BoxesN, BoxesOrQuadsN, LabelsN, NumberSpansN, QuadsN, SpansN
from rbox_formats.errors import CodecError

Status: TypeAlias = Literal["boxes", "empty", "truncated", "failed"]
OnInvalid: TypeAlias = Literal["warn", "ignore", "raise"]


class DecodeWarning(UserWarning):
    """Part of a text did not hold boxes and was left out."""


class Rejected(NamedTuple):
    """A piece of a text that gave no box.

    Attributes:
        start: Its first character.
        end: One past its last.
        reason: Why.
    """

    start: int
    end: int
    reason: str


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a text says.

    Attributes:
        boxes: (N, 5) float64, `le90`, pixels of the image.
        quads: (N, 4, 2) float64 as written, or None for formats that write boxes.
        labels: (N,) int64.
        status: "boxes": at least one, and the text came to its end. "empty": it says that there are none.
            "truncated": it stops in the middle of an object; the complete ones before are here. "failed": it says
            something, but no box.
        rejected: The pieces left out, in the order of the text.
        near_matches: (as written, as taken) for each name that is not a class, but near enough to one.
        label_spans: (N, 2) int64, first character and one past the last of each box's label.
        number_spans: (N, K, 2) int64, the same of each of its coordinates.
    """

    boxes: BoxesN
    quads: QuadsN | None
    labels: LabelsN
    status: Status
    rejected: tuple[Rejected, ...]
    near_matches: tuple[tuple[str, str], ...]
    label_spans: SpansN
    number_spans: NumberSpansN

    @classmethod
    def from_quads(
        cls,
        quads: QuadsN,
        labels: list[int],
        status: Status,
        rejected: list[Rejected],
        near_matches: list[tuple[str, str]],
        label_spans: list[tuple[int, int]],
        number_spans: list[list[tuple[int, int]]],
    ) -> Decoded:
        """Of the quads of a text (N, 4, 2), in pixels, and what else was found with them."""
        return cls(
            boxes=quad_to_rbox(quads),
            quads=quads,
            labels=np.array(labels, dtype=np.int64),
            status=status,
            rejected=tuple(rejected),
            near_matches=tuple(near_matches),
            label_spans=np.array(label_spans, dtype=np.int64).reshape(-1, 2),
            number_spans=np.array(number_spans, dtype=np.int64).reshape(-1, 8, 2),
        )


@dataclass(frozen=True)
class Codec(ABC):
    """A text format of boxes. Frozen: a checkpoint carries it by `to_dict`, and `codecs.from_dict` makes it again."""

    name: ClassVar[str]

    #: The prompt that asks a model for this text, as the format's source words it.
    prompt: ClassVar[str]

    @property
    @abstractmethod
    def added_tokens(self) -> tuple[str, ...]:
        """The strings that a tokenizer must hold as one token each."""

    @property
    @abstractmethod
    def empty_answer(self) -> str | None:
        """The text for an image without objects, or None where the format has none: such images are not trained on."""

    @abstractmethod
    def encode(
        self,
        boxes: BoxesOrQuadsN,
        labels: LabelsN,
        class_names: ClassNames,
        image_size: tuple[int, int],
        input_size: tuple[int, int] | None = None,
    ) -> str:
        """Writes boxes as text.

        Args:
            boxes: (N, 5) in `le90`, or quads (N, 4, 2) as annotated; pixels of the image.
            labels: (N,) indices into `class_names`.
            class_names: The names to write.
            image_size: (width, height) of the image in pixels.
            input_size: (width, height) of what the model sees, for formats in its pixels.
        """

    @abstractmethod
    def order(
        self, boxes: BoxesOrQuadsN, labels: LabelsN, class_names: ClassNames, image_size: tuple[int, int]
    ) -> LabelsN:
        """The order in which `encode` writes the boxes: indices (N,)."""

    def decode(
        self,
        text: str,
        class_names: ClassNames,
        image_size: tuple[int, int],
        input_size: tuple[int, int] | None = None,
        *,
        on_invalid: OnInvalid = "warn",
        near_match: float | None = None,
    ) -> Decoded:
        """Reads boxes from text, in time linear in its length.

        Args:
            text: What the model wrote, special tokens included or not.
            class_names: The names that count.
            image_size: (width, height) of the image in pixels.
            input_size: (width, height) of what the model saw, for formats in its pixels.
            on_invalid: What to do where pieces of the text give no box: "warn" (a `DecodeWarning`), "ignore", or
                "raise". The pieces are in `rejected` with the first two.
            near_match: Take an unknown name for the class that it resembles most, if the similarity (Levenshtein's,
                normalised to 0..1) is at least this; each such piece is warned of. None: unknown names are rejected.

        Raises:
            CodecError: With "raise", at the first piece that gives no box; names its position.
        """
        decoded = self._decode(text, class_names, image_size, input_size, near_match)
        if decoded.near_matches and on_invalid != "ignore":
            taken = ", ".join(f"{written!r} for {name!r}" for written, name in decoded.near_matches)
            warnings.warn(f"took in a {self.name} text: {taken}", DecodeWarning, stacklevel=2)
        if decoded.rejected and on_invalid != "ignore":
            first = decoded.rejected[0]
            piece = text[first.start : first.end]
            found = f"{first.reason} at characters {first.start} to {first.end}: {piece[:60]!r}"
            if on_invalid == "raise":
                raise CodecError(f"expected boxes in the format {self.name!r}, got {found}")
            more = f" (and {len(decoded.rejected) - 1} more)" if len(decoded.rejected) > 1 else ""
            warnings.warn(f"left out of a {self.name} text: {found}{more}", DecodeWarning, stacklevel=2)
        return decoded

    @abstractmethod
    def _decode(
        self,
        text: str,
        class_names: ClassNames,
        image_size: tuple[int, int],
        input_size: tuple[int, int] | None,
        near_match: float | None,
    ) -> Decoded: ...

    def to_dict(self) -> dict[str, Any]:
        """Name and options, for JSON; `codecs.from_dict` takes it back."""
        return {"name": self.name, **dataclasses.asdict(self)}


def find_label(name: str, class_names: ClassNames, near_match: float | None) -> int | None:
    """The label of a name as a model wrote it: exact up to case and separators, else the nearest above `near_match`."""
    label = class_names.find(name)
    if label is not None or near_match is None or not class_names:
        return label
    from rapidfuzz import process
    from rapidfuzz.distance import Levenshtein

    def plain(text: str) -> str:
        return text.replace("-", " ").replace("_", " ").casefold().strip()

    best = process.extractOne(
        name, class_names, processor=plain, scorer=Levenshtein.normalized_similarity, score_cutoff=near_match
    )
    return None if best is None else int(best[2])
