"""Reading a checkpoint's weights without running anything out of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbox_formats import archives, files
from rbox_formats.errors import quoted, said

from lmm_detector.errors import ModelError

if TYPE_CHECKING:
    import torch

# In the order in which they are looked for.
_WHOLE = ("model.safetensors", "pytorch_model.bin")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ModelError: If there is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"expected a file {path.name}, found none", path=path.parent) from error
    except ValueError as error:
        raise ModelError(f"expected JSON, got: {said(error)}", path=path) from error
    if not isinstance(found, dict):
        raise ModelError(f"expected a JSON object, got {type(found).__name__}", path=path)
    return found


def weight_files(folder: Path) -> list[Path]:
    """The files of a checkpoint's weights: one, or the shards that an index names; safetensors go before pickles.

    Raises:
        ModelError: If there is none, or one that the index names is missing.
        DatasetError: If the index names a file outside the folder.
    """
    for name in _WHOLE:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = read_json(index).get("weight_map")
            if not isinstance(shards, dict) or not shards:
                raise ModelError("expected an index with a weight_map, got none", path=index)
            found = [folder / files.safe_name(str(shard), folder) for shard in sorted(set(shards.values()))]
            for path in found:
                if not path.is_file():
                    raise ModelError(f"expected the shard {path.name} beside its index, found none", path=index)
            return found
    raise ModelError(f"expected weights ({' or '.join(_WHOLE)}, or their index), found none", path=folder)


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All weights of a checkpoint, on the CPU, as they are stored.

    Pickles (`pytorch_model.bin`) are read by an unpickler that knows tensors and plain containers only.

    Raises:
        ModelError: If a file is missing, cut short, no file of weights, or holds anything but tensors.
    """
    weights: dict[str, torch.Tensor] = {}
    for path in weight_files(folder):
        part = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
        if again := sorted(weights.keys() & part.keys()):
            raise ModelError(f"expected each weight in one shard, got {quoted(again[0])} a second time", path=path)
        weights.update(part)
    return weights


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        remedy = "It may be cut short, or a Git LFS pointer: fetch it again."
        raise ModelError(f"expected a whole safetensors file, got: {said(error)}", path=path, remedy=remedy) from error


def _read_pickle(path: Path) -> dict[str, torch.Tensor]:
    import torch

    archives.check(path, ModelError)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken byte leads the unpickler to any of them
        # torch's words for what is no pickle, cut short, or asks for more than tensors; the first line says which.
        remedy = "Nothing but tensors is read from a pickle; a file that is cut short must be fetched again."
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"expected a whole file of weights, got: {quoted(reason, marks=False)}", path=path, remedy=remedy
        ) from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ModelError(f"expected a dictionary of tensors, got another {type(found).__name__}", path=path)
    return {str(key): value for key, value in found.items()}
