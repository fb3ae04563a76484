"""Reading a checkpoint's weights without running anything out of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rbox_formats import archives
from rbox_formats.errors import quoted, said

from lmm_detector._model_files import weight_files
from lmm_detector.errors import ModelError

if TYPE_CHECKING:
    import torch


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Load all weights of a checkpoint to the CPU, in their stored precision.

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
        raise ModelError(f"expected a whole file of weights, got: {said(error)}", path=path, remedy=remedy) from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ModelError(f"expected a dictionary of tensors, got another {type(found).__name__}", path=path)
    return {str(key): value for key, value in found.items()}
