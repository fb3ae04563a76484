"""From the weights of remote code to a model of transformers that holds them, with every key accounted for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rbox_formats.errors import quoted

from lmm_detector._convert._names import EMBEDDINGS, LOGITS_BIAS, TRANSPOSED, native_name
from lmm_detector._convert._processors import CELL, IMAGE_TOKEN
from lmm_detector._convert._settings import native_config
from lmm_detector.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import Florence2Config

logger = logging.getLogger("lmm_detector")

_POSITION_OFFSET = 2  # BART's tables of positions begin with two rows that nothing uses
_ROWS_MULTIPLE = 64  # what the table of word embeddings grows to, as in transformers' own conversion
_NAMES_SHOWN = 5
# Names of transformers under which the table of word embeddings is found again; the first one holds it.
_TIED = tuple(native_name(key) for key in EMBEDDINGS[1:])
_SEED = 0  # of weights that are missing and drawn at random


@dataclass(frozen=True)
class Assembly:
    """A model in transformers' layout, and what did not fit.

    Attributes:
        model: `Florence2ForConditionalGeneration`.
        weights: How many tensors of the source it holds.
        left_over: Keys of the source that it has no place for.
        missing: Names of weights that the source does not have.
    """

    model: Any
    weights: int
    left_over: tuple[str, ...]
    missing: tuple[str, ...]


class _Table(NamedTuple):
    """A table whose number of rows is a setting: where it is looked for, and what else must have as many."""

    keys: tuple[str, ...]
    what: str


_POSITIONS = _Table(
    tuple(f"language_model.model.{part}.embed_positions.weight" for part in ("encoder", "decoder")),
    "positions of encoder and decoder",
)
_CELLS = _Table(
    tuple(f"image_pos_embed.{part}_embeddings.weight" for part in ("row", "column")), "rows and columns of an image"
)
_FRAMES = _Table(("visual_temporal_embed.pos_idx_to_embed",), "temporal positions")


def assemble(
    source_config: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    processor: Any,
    path: Path,
    *,
    dtype: str | None,
    strict: bool,
) -> Assembly:
    """Put a checkpoint's weights into a model of transformers.

    Args:
        source_config: Remote code's config.json.
        weights: By remote code's names.
        processor: What `make_processor` made.
        path: Of the checkpoint, for messages.
        dtype: What to cast to; None: as stored.
        strict: Whether left over and missing keys are refused.

    Raises:
        ModelError: See `lmm_detector.convert_checkpoint`.
    """
    import torch
    from transformers import Florence2ForConditionalGeneration

    weights = dict(weights)
    embeddings = _embeddings(weights, len(processor.tokenizer), path)
    _drop_zero_bias(weights)
    config = _config(source_config, weights, embeddings, processor, path)
    # Names and shapes alone, before anything is allocated.
    with torch.device("meta"):
        model: Any = Florence2ForConditionalGeneration(config)
    places = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name not in _TIED}

    if embeddings is not None:
        weights[EMBEDDINGS[0]] = embeddings
    state: dict[str, torch.Tensor] = {}
    left_over = []
    for key, tensor in weights.items():
        name = native_name(key)
        if name is None or name not in places:
            left_over.append(key)
            continue
        tensor = tensor.t() if key == TRANSPOSED else tensor
        if tuple(tensor.shape) != places[name]:
            raise ModelError(
                f"expected {quoted(key)} of the shape {_shape(places[name], key)}, got "
                f"{_shape(tuple(tensor.shape), key)}",
                path=path,
                remedy="config.json and weights must be of one model.",
            )
        state[name] = tensor
    missing = sorted(places.keys() - state.keys())
    _account(left_over, missing, path, strict=strict)
    state = {name: _cast(tensor, name, dtype, path) for name, tensor in state.items()}
    if missing:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            model = Florence2ForConditionalGeneration(config)
        for kind in {tensor.dtype for tensor in state.values()}:
            model.to(kind)  # that of the others, which transformers expects to be one
    model.load_state_dict(state, strict=False, assign=True)  # what may differ is accounted for above
    model.tie_weights()
    return Assembly(model.eval(), len(state), tuple(sorted(left_over)), tuple(missing))


def _config(
    source: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    embeddings: torch.Tensor | None,
    processor: Any,
    path: Path,
) -> Florence2Config:
    """Return the model's configuration; the sizes of its tables come from the weights."""
    text, vision = source["text_config"], source["vision_config"]
    positions = _rows(weights, _POSITIONS, int(text.get("max_position_embeddings", 1024)) + _POSITION_OFFSET, path)
    cells = _rows(weights, _CELLS, int(vision["image_pos_embed"].get("max_pos_embeddings", 50)), path)
    frames = _rows(weights, _FRAMES, int(vision["visual_temporal_embedding"].get("max_temporal_embeddings", 100)), path)
    side = processor.image_processor.size["height"]
    if side // CELL > cells:
        raise ModelError(
            f"expected images of at most {cells * CELL} px, which the model has positions for, got {side}", path=path
        )
    return native_config(
        source,
        vocabulary=int(text.get("vocab_size", 0)) if embeddings is None else len(embeddings),
        positions=positions - _POSITION_OFFSET,
        cells=cells,
        frames=frames,
        image_token_id=processor.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
    )


def _embeddings(weights: dict[str, torch.Tensor], tokens: int, path: Path) -> torch.Tensor | None:
    """Take out the table of word embeddings, under all its names, with rows for the tokens that it has none for.

    Args:
        weights: By remote code's names; the table's are removed.
        tokens: How many the tokenizer has, `<image>` as the last one.
        path: Of the checkpoint, for messages.

    Returns:
        None where there is no such table.
    """
    import torch

    found = [(key, weights.pop(key)) for key in EMBEDDINGS if key in weights]
    if not found:
        return None
    (first, table), *others = found
    for key, other in others:
        if not torch.equal(table, other):
            message = (
                f"expected one table of word embeddings under all its names, got another in {quoted(key)} than in "
            )
            raise ModelError(f"{message}{quoted(first)}", path=path)
    rows = len(table)
    if rows < tokens - 1:
        raise ModelError(
            f"expected a row of {quoted(first)} for each of the tokenizer's {tokens - 1} tokens, got {rows}",
            path=path,
            remedy="Tokenizer and weights must be of one model.",
        )
    if rows >= tokens:
        return table
    more = -(-tokens // _ROWS_MULTIPLE) * _ROWS_MULTIPLE - rows
    # In double precision: a sum over 51,289 rows of half precision would be far off.
    mean = table.mean(dim=0, keepdim=True, dtype=torch.float64).to(table.dtype)
    return torch.cat([table, mean.expand(more, -1)])


def _drop_zero_bias(weights: dict[str, torch.Tensor]) -> None:
    """Remove the bias of the logits if it is zero; any other stays, and counts as left over."""
    bias = weights.get(LOGITS_BIAS)
    if bias is not None and not bool(bias.any()):
        del weights[LOGITS_BIAS]


def _rows(weights: Mapping[str, torch.Tensor], table: _Table, otherwise: int, path: Path) -> int:
    """Return the rows of a table whose size is a setting; of one that is missing what the configuration says."""
    found = {key: len(weights[key]) for key in table.keys if key in weights and weights[key].ndim > 0}
    if not found:
        return otherwise
    rows = set(found.values())
    if len(rows) > 1:
        sizes = ", ".join(f"{quoted(key)} of {count}" for key, count in found.items())
        raise ModelError(f"expected as many {table.what}, got {sizes} rows", path=path)
    (count,) = rows
    if count != otherwise:
        logger.info(
            "%s: %d rows of %s in the weights, %d in config.json: the weights decide",
            path,
            count,
            table.what,
            otherwise,
        )
    return count


def _account(left_over: list[str], missing: list[str], path: Path, *, strict: bool) -> None:
    """Name what is left over and what is missing.

    Raises:
        ModelError: If anything is, and `strict`.
    """
    if not left_over and not missing:
        return
    # An error that named hundreds would bury them; the log has them all.
    for key in left_over:
        logger.info("%s: left over: %s", path, key)
    for name in missing:
        logger.info("%s: missing: %s", path, name)
    if strict:
        parts = [
            f"{len(names)} {what}: {', '.join(names[:_NAMES_SHOWN])}" + (", ..." if len(names) > _NAMES_SHOWN else "")
            for names, what in ((sorted(left_over), "left over"), (missing, "missing"))
            if names
        ]
        raise ModelError(
            f"expected each weight in its place, got {'; '.join(parts)}",
            path=path,
            remedy="To drop the former and draw the latter at random, give --no-strict.",
        )


def _cast(tensor: torch.Tensor, name: str, dtype: str | None, path: Path) -> torch.Tensor:
    """Return the tensor in another dtype, which must be able to hold it."""
    import torch

    if not tensor.is_floating_point():
        raise ModelError(f"expected weights in floating point, got {tensor.dtype} in {quoted(name)}", path=path)
    cast = tensor if dtype is None else tensor.to(getattr(torch, dtype))
    if not bool(cast.isfinite().all()):
        what = f"a number that {dtype} cannot hold" if bool(tensor.isfinite().all()) else "an infinity or no number"
        raise ModelError(f"expected finite weights, got {what} in {quoted(name)}", path=path)
    return cast.contiguous()


def _shape(shape: tuple[int, ...], key: str) -> str:
    """Return a shape as the source has it, for messages."""
    return "x".join(str(length) for length in (reversed(shape) if key == TRANSPOSED else shape))
