"""What goes into a family and comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from rbox_formats.typing import Image, LabelsN, ScoresN

from lmm_detector.errors import ModelError

if TYPE_CHECKING:
    from lmm_detector._decoding._circles import Circle
    from lmm_detector._decoding._token_automaton import TokenAutomaton

Part = Literal["vision", "language", "projection"]
PARTS: tuple[Part, ...] = ("vision", "language", "projection")

Size = tuple[int, int]  # (width, height) in pixels

IGNORED_LABEL = -100  # what PyTorch's cross entropy leaves out


class Sample(NamedTuple):
    """One window to train on.

    Attributes:
        image: (size, size, 3) uint8.
        text: The answer.
        complete: Whether the answer says all; one that was cut to the length limit is not followed by end-of-text.
    """

    image: Image
    text: str
    complete: bool


class Answer(NamedTuple):
    """What a model wrote about one image.

    Attributes:
        text: With special tokens, without prompt, start and padding.
        tokens: (T,) int64, the ids of that text's tokens.
        finished: Whether it came to its end, rather than to the length limit.
        repeated: Whether it was stopped because it ran in a circle.
        log_probabilities: (T,) float64, as `Family.log_probabilities` gives them, where they came with the answer.
    """

    text: str
    tokens: LabelsN
    finished: bool
    repeated: bool = False
    log_probabilities: ScoresN | None = None


@dataclass(frozen=True)
class Decoding:
    """How one batch of answers is generated.

    Attributes:
        max_new_tokens: The longest answer, end-of-text included.
        min_new_tokens: The shortest one; with both equal, speed is measured whatever the weights.
        num_beams: 1 is greedy.
        temperature: Of sampling; None: the likeliest token, or beams.
        top_p: Sampling leaves out the least likely tokens beyond this probability.
        automaton: What may be written (`lmm_detector._decoding._constrained.compile_grammar`); None: anything.
        expression: The same as a regular expression, for an engine that makes an automaton of its own; None: anything.
        circle: When an answer is stopped because it repeats itself; None: never.
        seed: Of the draws of this batch, for an engine with generators of its own; None: there are no draws.
        listener: Called with the ids (B,) of the tokens of each step, when they are written; with one beam only.
    """

    max_new_tokens: int
    min_new_tokens: int = 0
    num_beams: int = 1
    temperature: float | None = None
    top_p: float = 1.0
    automaton: TokenAutomaton | None = None
    expression: str | None = None
    circle: Circle | None = None
    seed: int | None = field(default=None, compare=False)
    listener: Callable[[LabelsN], None] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name, low in (("max_new_tokens", 1), ("min_new_tokens", 0), ("num_beams", 1)):
            if getattr(self, name) < low:
                raise ModelError(f"expected {name} of {low} or more, got {getattr(self, name)}")
        if self.temperature is not None and not self.temperature > 0:
            raise ModelError(f"expected a temperature above 0, or none for the likeliest token, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ModelError(f"expected top_p above 0 and up to 1, got {self.top_p}")
