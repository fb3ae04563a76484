"""An automaton over tokens: which of them may follow, and how far the end is, for the texts of one regular expression.

outlines-core makes an automaton over bytes of the expression. Walking the tokens through it is done here, since of each
state must be known how many tokens the shortest way to the end of the text takes: without that no text can be closed in
time. Neither xgrammar 0.2 nor llguidance 1.9 shows its states; outlines-core's own index over tokens takes several
times as long, as it tries every token in every state, and does not tell the states inside of a token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lmm_detector._decoding._vocabulary import Vocabulary
from lmm_detector.errors import ModelError

DONE = 0  # the state after end-of-text
OUTSIDE = -1  # the state that no text of the expression has
_FAR = np.iinfo(np.int64).max  # no way to the end

# A character that stands after the whole expression: outlines-core 0.2 lets nothing follow a state where a text could
# end, so that of the bare expression nothing would be left but its shortest texts.
_MARK = 0


@dataclass(frozen=True, eq=False)
class TokenAutomaton:
    """States, and what tokens lead from one to another; `compile_expression` makes one.

    Attributes:
        start: The state before the first token.
        end: The token that ends a text. It leads from where a text may end to `DONE`.
        offsets: (S + 1,) where each state's tokens begin in the arrays below.
        tokens: (E,) ids, of each state in rising order.
        targets: (E,) the state after each token.
        distances: (S,) tokens from a state to the end of a text at least, end-of-text included.
    """

    start: int
    end: int
    offsets: np.ndarray
    tokens: np.ndarray
    targets: np.ndarray
    distances: np.ndarray

    def advance(self, state: int, token: int) -> int:
        """Return the state after a token, `OUTSIDE` if the token is not allowed in this state."""
        if state == OUTSIDE:
            return OUTSIDE
        first, last = self.offsets[state], self.offsets[state + 1]
        place = first + np.searchsorted(self.tokens[first:last], token)
        return int(self.targets[place]) if place < last and self.tokens[place] == token else OUTSIDE

    def allowed(self, state: int, remaining: int) -> np.ndarray:
        """Return the tokens that may follow (K,) and leave a way to the end within what remains.

        Args:
            state: Where the text stands.
            remaining: How many tokens may still be written, the next and end-of-text included.
        """
        first, last = self.offsets[state], self.offsets[state + 1]
        tokens = self.tokens[first:last]
        if remaining >= self.reserves[state]:
            return tokens
        return tokens[self.distances[self.targets[first:last]] < remaining]

    @cached_property
    def reserves(self) -> np.ndarray:
        """(S,) how many tokens must remain in a state so that all that may follow are allowed."""
        farthest = np.zeros(len(self.distances), dtype=np.int64)
        np.maximum.at(farthest, self._sources, self.distances[self.targets])
        return farthest + 1

    @cached_property
    def _sources(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.distances)), np.diff(self.offsets))

    def shortest(self) -> list[int]:
        """Return the tokens of one of the shortest texts that say something, without end-of-text."""
        state, written = self.start, list[int]()
        while state != DONE:
            first, last = self.offsets[state], self.offsets[state + 1]
            costs = self.distances[self.targets[first:last]]
            # At the beginning the empty text is left out.
            place = first + int(
                np.argmin(costs if written else np.where(self.targets[first:last] == DONE, _FAR, costs))
            )
            written.append(int(self.tokens[place]))
            state = int(self.targets[place])
        return written[:-1]

    def behind(self, tokens: Sequence[int]) -> TokenAutomaton:
        """Return the automaton of the same texts with these tokens before them, such as BART's `<s>`."""
        automaton = self
        for token in reversed(tokens):
            automaton = replace(
                automaton,
                start=len(automaton.distances),
                offsets=np.append(automaton.offsets, automaton.offsets[-1] + 1),
                tokens=np.append(automaton.tokens, token),
                targets=np.append(automaton.targets, automaton.start),
                distances=np.append(automaton.distances, automaton.distances[automaton.start] + 1),
            )
        return automaton


def compile_expression(expression: str, vocabulary: Vocabulary, whole: Iterable[str] = ()) -> TokenAutomaton:
    """Return the automaton of the texts that an expression matches in full.

    Args:
        expression: As `Codec.grammar` writes them.
        vocabulary: The tokens.
        whole: Texts that are written by their own token only, such as "<loc_12>", and not by "<", "loc" and so on, as
            a model is taught to. Taken into account if the vocabulary has a token for each.

    Raises:
        ModelError: If the vocabulary cannot write any text of the expression.
    """
    transitions, start, accepts = _byte_automaton(expression)
    if vocabulary.strips_space:
        # A first space is not part of the text.
        transitions = np.vstack([transitions, transitions[start]])
        transitions[-1, ord(" ")] = start
        accepts = np.append(accepts, accepts[start])
        start = len(transitions) - 1
    known = vocabulary.by_spelling
    spelled = [text.encode() for text in whole]
    singles = {spelling: known[spelling] for spelling in spelled if spelling in known}
    if len(singles) < len(set(spelled)):
        singles = {}
    others = {spelling: ids for spelling, ids in known.items() if spelling not in singles}
    edges = _walk(transitions, singles)
    inside = _inside(transitions, edges, singles)
    # No other token begins, ends or continues inside of one that is written whole.
    barred = np.where(np.isin(transitions, inside), OUTSIDE, transitions)
    barred[inside] = OUTSIDE
    more = _walk(barred, others)
    # State 0 is the one after end-of-text; those of the bytes follow it.
    accepting = np.flatnonzero(accepts) + 1
    sources = np.concatenate([edges[0] + 1, more[0] + 1, accepting])
    tokens = np.concatenate([edges[1], more[1], np.full(len(accepting), vocabulary.end)])
    targets = np.concatenate([edges[2] + 1, more[2] + 1, np.full(len(accepting), DONE)])
    return _assembled(start + 1, vocabulary.end, len(transitions) + 1, sources, tokens, targets)


def _assembled(
    start: int, end: int, count: int, sources: np.ndarray, tokens: np.ndarray, targets: np.ndarray
) -> TokenAutomaton:
    """Return the automaton of these edges, without those that lead away from every end."""
    distances = _distances(count, sources, targets)
    if distances[start] == _FAR:
        raise ModelError(
            "expected a tokenizer that can write the codec's texts, got one without some of their characters",
            remedy="Take a codec whose texts the tokenizer can write, or add the tokens that the codec names.",
        )
    ends_well = distances[targets] < _FAR
    sources, tokens, targets = sources[ends_well], tokens[ends_well], targets[ends_well]
    order = np.lexsort((tokens, sources))
    return TokenAutomaton(
        start=start,
        end=end,
        offsets=np.searchsorted(sources[order], np.arange(count + 1)),
        tokens=tokens[order].astype(np.int32),
        targets=targets[order].astype(np.int32),
        distances=distances,
    )


def _byte_automaton(expression: str) -> tuple[np.ndarray, int, np.ndarray]:
    """The states of an expression over bytes: where each byte leads (S, 256), the first, which ones may end (S,)."""
    from outlines_core import Index, Vocabulary

    alphabet = Vocabulary(256, {bytes([byte]): [byte] for byte in range(256)})
    index = Index(f"(?:{expression})\\x00", alphabet)
    found = index.get_transitions()
    numbers = {state: number for number, state in enumerate(found)}
    transitions = np.full((len(found), 256), OUTSIDE, dtype=np.int64)
    accepts = np.zeros(len(found), dtype=bool)
    for state, row in found.items():
        for byte, target in row.items():
            if byte == _MARK:
                accepts[numbers[state]] = True
            elif byte < 256:  # the end of the marked text is a token of its own
                transitions[numbers[state], byte] = numbers[target]
    return transitions, numbers[index.get_initial_state()], accepts


_Edges = tuple[np.ndarray, np.ndarray, np.ndarray]


def _walk(transitions: np.ndarray, spellings: dict[bytes, list[int]]) -> _Edges:
    """Walk tokens from every state, byte by byte, all at once; most go astray at their first bytes.

    Args:
        transitions: (S, 256).
        spellings: What tokens write, with the ids of those that write it.

    Returns:
        Edges (source, token, target), each (E,).
    """
    ordered = sorted(spellings)
    lengths = np.array([len(spelling) for spelling in ordered], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    letters = np.frombuffer(b"".join(ordered), dtype=np.uint8)
    first_at = np.searchsorted(letters[starts], np.arange(257))  # of each byte, the first token that begins with it

    sources, first_bytes = np.nonzero(transitions >= 0)
    counts = first_at[first_bytes + 1] - first_at[first_bytes]
    tokens = _ranges(first_at[first_bytes], counts)
    sources = np.repeat(sources, counts)
    places = sources
    arrived: list[_Edges] = [(sources[:0],) * 3]
    for depth in range(int(lengths.max(initial=0))):
        places = transitions[places, letters[starts[tokens] + depth]]
        there, is_last = places >= 0, lengths[tokens] == depth + 1
        arrived.append(tuple(column[there & is_last] for column in (sources, tokens, places)))
        sources, tokens, places = (column[there & ~is_last] for column in (sources, tokens, places))
    source, token, target = (np.concatenate(column) for column in zip(*arrived, strict=True))
    # Several ids may write the same.
    ids = [spellings[spelling] for spelling in ordered]
    counts = np.array([len(numbers) for numbers in ids], dtype=np.int64)
    flat = np.array([number for numbers in ids for number in numbers], dtype=np.int64)
    times = counts[token]
    return (
        np.repeat(source, times),
        flat[_ranges((np.cumsum(counts) - counts)[token], times)],
        np.repeat(target, times),
    )


def _inside(transitions: np.ndarray, edges: _Edges, spellings: dict[bytes, list[int]]) -> np.ndarray:
    """Return the states that tokens pass through on their way, (I,)."""
    by_id = {number: spelling for spelling, numbers in spellings.items() for number in numbers}
    passed = [edges[0][:0]]
    for token in np.unique(edges[1]).tolist():
        places = edges[0][edges[1] == token]
        for byte in by_id[token][:-1]:
            places = transitions[places, byte]
            passed.append(places)
    return np.unique(np.concatenate(passed))


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the ranges with these starts and lengths, one after the other."""
    return np.arange(counts.sum()) + np.repeat(starts - (np.cumsum(counts) - counts), counts)


def _distances(count: int, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return (S,) the fewest edges from each state to `DONE`: breadth first, against the edges."""
    distances = np.full(count, _FAR, dtype=np.int64)
    distances[DONE] = 0
    ring, steps = np.array([DONE]), 0
    while len(ring):
        steps += 1
        is_ring = np.zeros(count, dtype=bool)
        is_ring[ring] = True
        before = np.unique(sources[is_ring[targets]])
        ring = before[distances[before] == _FAR]
        distances[ring] = steps
    return distances
