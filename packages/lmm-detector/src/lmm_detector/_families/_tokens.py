"""New tokens: a place in the tokenizer, and a row in the embeddings that begins near what the token means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from lmm_detector.errors import ModelError

if TYPE_CHECKING:
    import torch

Initialisation = Literal["digits", "mean"]

_NUMBER = re.compile(r"\d+")
# How far a coordinate resembles its neighbours: the standard deviation of the smoothing, as a share of the axis.
# Unsmoothed, the mean of digits is that of 12 for 21; at a hundredth of 1000 bins it spans the last digit.
_SMOOTHING = 0.01
_ROWS_MULTIPLE = 64  # what GPUs multiply fast


def add_tokens(model: Any, tokenizer: Any, tokens: Sequence[str], initialisation: Initialisation) -> list[int]:
    """Add those of the tokens that the tokenizer lacks; see `Family.add_tokens`.

    The row of a token with one number in it, such as `<loc_12>`, begins with "digits" as the mean of the rows of the
    tokens that write the number, smoothed over the tokens that differ from it in the number only; that of any other
    token, such as `<sep>`, as the mean of those that have written it until now. The mean alone gives all tokens the
    same row, from which only their gradients tell them apart.

    Args:
        model: A transformers model; its tables grow where they must.
        tokenizer: Its tokenizer.
        tokens: The tokens.
        initialisation: "digits" or "mean".

    Returns:
        The ids of the new ones, in their order.

    Raises:
        ModelError: If there is no such initialisation.
    """
    if initialisation not in get_args(Initialisation):
        raise ModelError(f"expected an initialisation among {get_args(Initialisation)}, got {initialisation!r}")
    known = tokenizer.get_vocab()
    new = [token for token in dict.fromkeys(tokens) if token not in known]
    if not new:
        return []
    # Before they are there: how they have been written until now.
    writing = tokenizer([_meaning(token) for token in new], add_special_tokens=False).input_ids
    before = len(tokenizer)
    tokenizer.add_tokens(new, special_tokens=True)
    ids: list[int] = tokenizer.convert_tokens_to_ids(new)
    rows = model.get_input_embeddings().weight.shape[0]
    if max(ids) >= rows:
        model.resize_token_embeddings(max(ids) + 1, pad_to_multiple_of=_ROWS_MULTIPLE, mean_resizing=False)
    tables = [model.get_input_embeddings().weight]
    head = model.get_output_embeddings()
    if head is not None and head.weight is not tables[0]:
        tables.append(head.weight)
    for table in tables:
        _fill(table, new, ids, writing, before=before, grown_from=rows, initialisation=initialisation)
    return ids


def _meaning(token: str) -> str:
    numbers = _NUMBER.findall(token)
    return numbers[0] if len(numbers) == 1 else token


def _fill(
    table: torch.Tensor,
    new: Sequence[str],
    ids: Sequence[int],
    writing: Sequence[Sequence[int]],
    *,
    before: int,
    grown_from: int,
    initialisation: Initialisation,
) -> None:
    """Write the rows of new tokens, and those of no token, into a table (rows, width)."""
    import torch

    with torch.no_grad():
        # In float64: a sum over 150,000 rows of half precision would be far off.
        mean = table[: min(before, grown_from)].mean(dim=0, dtype=torch.float64)
        table[grown_from:] = mean.to(table.dtype)
        values = mean.expand(len(new), -1).clone()
        if initialisation == "digits":
            for place, pieces in enumerate(writing):
                if pieces:
                    values[place] = table[list(pieces)].mean(dim=0, dtype=torch.float64)
            for places in _axes(new):
                values[places] = _smoothed(values[places])
        table[list(ids)] = values.to(table.dtype)


def _axes(tokens: Sequence[str]) -> list[list[int]]:
    """Return the places of tokens that differ in their one number only, each axis in the order of its numbers."""
    axes: dict[str, list[tuple[int, int]]] = {}
    for place, token in enumerate(tokens):
        if len(numbers := _NUMBER.findall(token)) == 1:
            axes.setdefault(_NUMBER.sub("0", token), []).append((int(numbers[0]), place))
    return [[place for _, place in sorted(axis)] for axis in axes.values()]


def _smoothed(values: torch.Tensor) -> torch.Tensor:
    """Return values (N, width) averaged along their axis by a normal distribution, at the ends over fewer."""
    import torch

    count = len(values)
    places = torch.arange(count, dtype=torch.float64, device=values.device)
    distances = (places[:, None] - places) / (_SMOOTHING * count)
    return torch.softmax(-(distances**2) / 2, dim=1) @ values
