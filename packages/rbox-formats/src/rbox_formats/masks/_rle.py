"""COCO's run lengths: the counts of a mask, and the text into which pycocotools compresses them.

Counts alternate between pixels outside and inside, column by column, beginning outside. In the text, each count from
the fourth on is the difference to the count two before it; a number is written five bits at a time, the lowest first,
as characters from '0' on, whose sixth bit says that more follow.

Source: `rleToString` and `rleFrString` in common/maskApi.c, cocodataset/cocoapi at 8c9bcc3.
"""

from __future__ import annotations

import numpy as np

from rbox_formats.errors import FormatsError

_ZERO, _BITS, _MORE, _SIGN = 48, 5, 32, 16
_MOST_GROUPS = 12  # 60 bits


def decode_counts(text: str | bytes) -> np.ndarray:
    """Return the counts (K,) int64 that a text holds.

    Raises:
        FormatsError: If it is no such text.
    """
    try:
        raw = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError as error:
        raise FormatsError("expected run lengths compressed as pycocotools does, got other characters") from error
    codes = np.frombuffer(raw, dtype=np.uint8).astype(np.int64) - _ZERO
    if not len(codes):
        return codes
    last = np.flatnonzero((codes & _MORE) == 0)
    if codes.min() < 0 or codes.max() >= 2 * _MORE or not len(last) or last[-1] != len(codes) - 1:
        raise FormatsError("expected run lengths compressed as pycocotools does, got other characters, or a part")
    first = np.concatenate([[0], last[:-1] + 1])
    length = last - first + 1
    if length.max() > _MOST_GROUPS:
        raise FormatsError("expected run lengths compressed as pycocotools does, got a number of too many digits")
    place = np.arange(len(codes)) - np.repeat(first, length)
    counts = np.add.reduceat((codes & (_MORE - 1)) << (_BITS * place), first)
    counts -= np.where(codes[last] & _SIGN, 1 << (_BITS * length), 0)
    for start in (1, 2):
        counts[start::2] = np.cumsum(counts[start::2])
    return counts


def encode_counts(counts: np.ndarray) -> str:
    """Return the text for counts (K,)."""
    left = counts.astype(np.int64)
    left[3:] -= counts[1:-2]
    groups, shown = [], []
    going = np.ones(len(left), dtype=bool)
    while going.any():
        code = left & (_MORE - 1)
        left = left >> _BITS
        more = np.where(code & _SIGN, left != -1, left != 0)
        groups.append(code + np.where(more, _MORE, 0) + _ZERO)
        shown.append(going)
        going = going & more
    if not groups:
        return ""
    return np.stack(groups, axis=1)[np.stack(shown, axis=1)].astype(np.uint8).tobytes().decode("ascii")
