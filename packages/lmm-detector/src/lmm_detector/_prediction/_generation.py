"""How answers are generated: the settings, and the rooms that short and long answers are given."""

from __future__ import annotations

from dataclasses import dataclass

from lmm_detector.errors import ConfigError, ModelError

# The room of an answer that ran out of room is multiplied by this, or by more, so that what was generated in vain is at
# most a third of what is generated in the end.
_GROWTH = 4


_LEAST = {"num_beams": 1, "batch_size": 1, "max_new_tokens": 1, "first_tokens": 0, "max_repeats": 0, "seed": 0}


@dataclass(frozen=True)
class Generation:
    """How answers are generated.

    Attributes:
        num_beams: 1 is greedy; LMMRotate takes 3.
        max_new_tokens: The longest answer. None: half as long again as the longest text that the model was taught, and
            64 tokens more; where that is not known, as long as it can write.
        batch_size: The most windows at a time.
        scores: How a box's score comes of the probabilities of its tokens: their "mean", "geometric" mean, "minimum" or
            "product", those of its "label" alone, or "none" for no scores.
        constrained: Whether only texts of the codec, with the detector's classes, may be written.
        temperature: Draws each token by its probability to the power of 1 / temperature. None: takes the likeliest.
        top_p: Draws among the likeliest tokens alone that together have this probability.
        seed: The seed of the draws. The same images in the same order and batches give the same answers, in one run or
            with stops, by one process or many. With other devices, batches or neighbouring images they may differ.
        first_tokens: The number of tokens that an answer may have at first. Longer answers are generated again from
            their beginning, in batches of their own and with more room, so that a long answer does not delay the
            short ones of its batch. The answers are the same. With beams, draws, constraints (which look ahead to the
            limit) and batches of one window, this is not used: the whole length is allowed at once. 0: never used.
        max_repeats: An answer that repeats the same box, or the same sequence of boxes, this number of times in a row
            is stopped there, and marked as "repeated". 0: it continues to its end or the length limit.
        score_threshold: Drops boxes of a lower score, from 0 to 1.
    """

    num_beams: int = 1
    max_new_tokens: int | None = None
    batch_size: int = 8
    scores: str = "mean"
    constrained: bool = False
    temperature: float | None = None
    top_p: float = 1.0
    seed: int = 0
    first_tokens: int = 128
    max_repeats: int = 4
    score_threshold: float = 0.0

    def __post_init__(self) -> None:
        for name, low in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ModelError(f"expected {name} of {low} or more, got {value}")
        if self.max_repeats == 1:
            raise ModelError("expected max_repeats of 2 or more, or 0 for none, got 1")
        if not 0 <= self.score_threshold <= 1:
            raise ModelError(f"expected a score threshold from 0 to 1, got {self.score_threshold}")
        if self.score_threshold > 0 and self.scores == "none":
            raise ConfigError(
                f"expected scores with a score threshold of {self.score_threshold}, got none",
                remedy="Choose how scores are made (--scores mean), or leave the threshold out.",
            )
        if self.temperature is not None and not self.temperature > 0:
            raise ModelError(f"expected a temperature above 0, or none for the likeliest token, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ModelError(f"expected top_p above 0 and up to 1, got {self.top_p}")
        if self.temperature is None and self.top_p < 1:
            raise ConfigError(
                f"expected a temperature with top_p of {self.top_p}, got none",
                remedy="Tokens are drawn where there is a temperature: --temperature 1 draws by the model's own odds.",
            )
        if self.temperature is not None and self.num_beams > 1:
            raise ConfigError(
                f"expected one beam with a temperature, got {self.num_beams}",
                remedy="Answers are drawn (--temperature), or searched for (--num-beams).",
            )

    def rooms(self, limit: int) -> tuple[int, ...]:
        """Return how many tokens answers may have, one attempt after the other.

        Args:
            limit: The longest answer.

        Returns:
            Rising, `limit` the last.
        """
        is_plain = self.num_beams == 1 and self.temperature is None and not self.constrained and self.batch_size > 1
        rooms = []
        room = self.first_tokens
        while is_plain and 0 < room <= limit // _GROWTH:
            rooms.append(room)
            room *= _GROWTH
        return (*rooms, limit)
