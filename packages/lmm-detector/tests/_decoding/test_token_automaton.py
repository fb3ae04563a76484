"""Which tokens may follow and how far the end is, against texts that Python's `re` matches."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from lmm_detector._decoding._token_automaton import DONE, OUTSIDE, TokenAutomaton, compile_expression
from lmm_detector._decoding._vocabulary import Vocabulary
from lmm_detector.errors import ModelError

SMALL = ["a", "b", "c", "d", "ab", "bc", "abc", "dd", "ca"]


def vocabulary(pieces: list[str], *, strips_space: bool = False) -> Vocabulary:
    """Of these pieces and, last, end-of-text."""
    return Vocabulary(
        (*(piece.encode() for piece in pieces), b"</s>"), frozenset([len(pieces)]), len(pieces), strips_space
    )


def spelled(tokens: list[int], pieces: list[str]) -> str:
    return "".join(pieces[token] for token in tokens)


def state_behind(automaton: TokenAutomaton, tokens: list[int]) -> int:
    state = automaton.start
    for token in tokens:
        state = automaton.advance(state, token)
    return state


@pytest.mark.parametrize(
    "expression", ["(?:ab|abc)+d", "a*", "(?:abc|dd)?", "a{2,3}(?:bc|c){2}", "(?:a|b)*ca", "dd|dda"]
)
def test_it_allows_what_can_be_completed(expression: str) -> None:
    """Against all sequences of up to four tokens: with r left, a token is allowed if one of them goes on from there."""
    limit = 5  # end-of-text included
    automaton = compile_expression(expression, vocabulary(SMALL))
    end = len(SMALL)
    full = [
        (*tokens, end)
        for length in range(limit)
        for tokens in itertools.product(range(len(SMALL)), repeat=length)
        if re.fullmatch(expression, spelled(list(tokens), SMALL))
    ]
    expected: dict[tuple[tuple[int, ...], int], set[int]] = {}
    for tokens in full:
        for at in range(len(tokens)):
            for remaining in range(len(tokens) - at, limit + 1):
                expected.setdefault((tokens[:at], remaining), set()).add(tokens[at])
    prefixes = {prefix for prefix, _ in expected}
    for prefix in prefixes:
        state = state_behind(automaton, list(prefix))
        # With more left, longer texts than were listed could be written.
        for remaining in range(limit + 1 - len(prefix)):
            allowed = set(automaton.allowed(state, remaining).tolist())
            assert allowed == expected.get((prefix, remaining), set()), (prefix, remaining)
        least = min((len(t) - len(prefix) for t in full if t[: len(prefix)] == prefix), default=None)
        assert automaton.distances[state] == least


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6))
def test_it_allows_what_is_the_beginning_of_a_match(seed: int) -> None:
    """Far from the limit: every token for which `regex` finds that text and token begin a match, and no other."""
    expression = r"(?:ship|small café)(?:\[(?:[0-9]|[1-9][0-9]),(?:[0-9]|[1-9][0-9])\])+(?:;tank)?"
    pieces = ["s", "sh", "ip", "ship[", "small", " ", " caf", "é", "[", "]", "][", ",", ";tank", "tank", ";", "12", "3"]
    pieces += ["4]", "0", "t", "a", "n", "k", "p", "h", "i", "99", "100", "],", "m", "l", "c", "f"]
    automaton = AUTOMATA.setdefault("café", compile_expression(expression, vocabulary(pieces)))
    rng = np.random.default_rng(seed)
    text, state = "", automaton.start
    for _ in range(25):
        allowed = set(automaton.allowed(state, 10**6).tolist())
        begins = {i for i, piece in enumerate(pieces) if regex.fullmatch(expression, text + piece, partial=True)}
        ends = {len(pieces)} if re.fullmatch(expression, text) else set()
        assert allowed == begins | ends
        token = int(rng.choice(sorted(allowed)))
        state = automaton.advance(state, token)
        if state == DONE:
            return
        text += pieces[token]


AUTOMATA: dict[str, TokenAutomaton] = {}


def test_it_walks_bytes_of_characters() -> None:
    """Tokens that end within a character, as byte-level vocabularies have."""
    spellings = (b"\xc3", b"\xa9", b"\xe8\x88", b"\xb9", "é船".encode(), b"\x88", b"</s>")
    automaton = compile_expression("é+船", Vocabulary(spellings, frozenset([6]), 6))
    for tokens in ([0, 1, 2, 3, 6], [4, 6], [0, 1, 4, 6], [0, 1, 0, 1, 2, 3, 6]):
        assert state_behind(automaton, tokens) == DONE
    for tokens in ([0, 0], [1], [2], [0, 1, 5], [0, 1, 6]):
        assert state_behind(automaton, tokens) == OUTSIDE
    assert automaton.distances[automaton.start] == 2


def test_tokens_that_write_the_same_are_all_allowed() -> None:
    automaton = compile_expression("ab", vocabulary(["a", "b", "a", "x", "b", "ab"]))
    assert automaton.allowed(automaton.start, 9).tolist() == [0, 2, 5]
    assert automaton.allowed(automaton.advance(automaton.start, 2), 9).tolist() == [1, 4]


def test_some_texts_are_written_whole() -> None:
    pieces = ["ship", "<", "loc_", "<loc_", "1", ">", "<loc_1>", "<loc_12>", "2", "2>", ">x", "x", "<loc_1>x", "ship<"]
    expression = "ship(?:<loc_(?:1|12)>)+x?"
    free = compile_expression(expression, vocabulary(pieces))
    whole = compile_expression(expression, vocabulary(pieces), ["<loc_1>", "<loc_12>"])
    behind_ship = free.advance(free.start, 0)
    assert free.allowed(behind_ship, 99).tolist() == [1, 3, 6, 7, 12]
    behind_ship = whole.advance(whole.start, 0)
    assert whole.allowed(whole.start, 99).tolist() == [0]
    assert whole.allowed(behind_ship, 99).tolist() == [6, 7]
    assert whole.allowed(whole.advance(behind_ship, 6), 99).tolist() == [6, 7, 11, len(pieces)]
    # Where the vocabulary has not all of them, the rest can only be spelled.
    some = compile_expression(expression, vocabulary(pieces), ["<loc_1>", "<loc_12>", "<loc_3>"])
    assert some.tokens.tolist() == free.tokens.tolist()


def test_a_first_space_that_decoding_drops_may_be_written_once() -> None:
    automaton = compile_expression("ab", vocabulary([" a", "a", " ", "b", "  a", " ab"], strips_space=True))
    assert automaton.allowed(automaton.start, 9).tolist() == [0, 1, 2, 5]
    assert automaton.allowed(automaton.advance(automaton.start, 2), 9).tolist() == [1]


def test_tokens_before_the_text() -> None:
    automaton = compile_expression("ab", vocabulary(["a", "b", "ab"])).behind([7, 8])
    assert automaton.allowed(automaton.start, 4).tolist() == [7]
    assert automaton.allowed(automaton.start, 3).tolist() == []
    assert automaton.distances[automaton.start] == 4
    assert state_behind(automaton, [7, 8, 2, 3]) == DONE
    assert automaton.allowed(state_behind(automaton, [7, 8]), 2).tolist() == [2]
    assert state_behind(automaton, [8]) == OUTSIDE


def test_the_shortest_text_that_says_something() -> None:
    pieces = ["a", "b", "c", "bc"]
    assert compile_expression("(?:abc)*", vocabulary(pieces)).shortest() == [0, 3]


def test_ways_that_do_not_end_are_not_offered() -> None:
    """There is no token for "z"."""
    automaton = compile_expression("ab|az|zb", vocabulary(["a", "b"]))
    assert automaton.allowed(automaton.start, 9).tolist() == [0]
    assert automaton.allowed(automaton.advance(automaton.start, 0), 9).tolist() == [1]
    with pytest.raises(ModelError, match="expected a tokenizer that can write the codec's texts"):
        compile_expression("az", vocabulary(["a", "b"]))
