"""A checkpoint for others: the weights, their classes and their config, without the state of the training."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbox_formats import files

from rbox_baselines._checkpoints import read_checkpoint

_KEPT = ("state_dict", "meta")
# Of the meta data: the machine, and the messages of hooks.
_PRIVATE = ("env_info", "hook_msgs")
# How mmcv's EMAHook (MMRotate 0.x) names, among the weights, those that are not the average.
_SECOND_SET = "ema_"
_HASH = 8  # hex digits, as mmdet's publish_model.py and torch.hub have


@dataclass(frozen=True)
class Published:
    """The checkpoint that `publish` wrote.

    Attributes:
        path: The file.
        dropped: What the checkpoint held and the file does not.
        is_average: Whether the weights are the average over training (EMA) that was validated.
        size: Size of the file in bytes.
    """

    path: Path
    dropped: tuple[str, ...]
    is_average: bool
    size: int


def publish(checkpoint: str | Path, out: str | Path) -> Published:
    """Write a checkpoint's weights, classes and config, with the file's hash in its name.

    If a model was trained with an average of its weights (EMA), the average is published: when mmengine's EMAHook
    saves, it puts the average into `state_dict`, and the weights that training resumes from into `ema_state_dict`.
    mmcv's does the same with weights named `ema_...`. The weights that are not the average are dropped.

    Args:
        checkpoint: The file.
        out: A folder, or a file ending in .pth. The name gets a hyphen and the first 8 hex digits of the file's SHA-256
            before the ending, as torch.hub checks them; a folder takes the checkpoint's own name.

    Raises:
        CheckpointError: If it is no checkpoint; see `read_checkpoint`.
    """
    import torch

    source, out = Path(checkpoint), Path(out)
    found = read_checkpoint(source)
    kept, dropped, is_average = stripped(found)

    # To memory first: the hash is part of the name, and a name that torch knows would be part of the file.
    buffer = io.BytesIO()
    torch.save(kept, buffer)
    digits = hashlib.sha256(buffer.getbuffer()).hexdigest()[:_HASH]
    folder, stem = (out.parent, out.stem) if out.suffix == ".pth" else (out, source.stem)
    path = folder / f"{re.sub(rf'-[0-9a-f]{{{_HASH}}}$', '', stem)}-{digits}.pth"
    with files.replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    return Published(path, dropped, is_average, buffer.getbuffer().nbytes)


def stripped(found: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...], bool]:
    """Return what of a checkpoint runs the model.

    Args:
        found: The contents of a checkpoint, from `read_checkpoint`.

    Returns:
        The checkpoint with weights and meta data alone, what was dropped, and whether its weights are the average over
        training.
    """
    weights = found["state_dict"]
    second = [name for name in weights if name.startswith(_SECOND_SET)]
    meta = found.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    kept = {
        "meta": {name: value for name, value in meta.items() if name not in _PRIVATE},
        # Clones: a view of larger storage would be saved with all of it.
        "state_dict": {name: value.clone() for name, value in weights.items() if name not in second},
    }
    dropped = [name for name in found if name not in _KEPT]
    dropped += [f"meta.{name}" for name in _PRIVATE if name in meta]
    dropped += [f"state_dict.{_SECOND_SET}*"] if second else []
    return kept, tuple(dropped), "ema_state_dict" in found or bool(second)
