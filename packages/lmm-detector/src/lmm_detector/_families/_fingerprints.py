"""What tells a base from others: a hash of some bytes of every weight, which a large model takes a second for.

Each weight's name, precision and shape go into it, and a few pieces of its bytes, evenly spread from first to last.
Training changes nearly all values of the weights that it changes, so that some thousand pieces show it; weights that
are written into other shards, or into another folder, are the same. To read all of a model of 7 billion would take
minutes from most disks, each time that adapters are loaded.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import BinaryIO

from rbox_formats.errors import said

from lmm_detector._model_files import weight_files
from lmm_detector.errors import ModelError

_PIECES = 8
_PIECE = 64  # bytes
_OF_PICKLE = 2048  # pieces of a file in which the single weights are not known
_LONGEST_HEADER = 100_000_000  # bytes, as safetensors has it


def fingerprint(folder: str | Path) -> str:
    """Return the fingerprint of a folder's weights.

    Raises:
        ModelError: If there are none, or they are not as their files say.
    """
    folder, found = Path(folder), []
    for path in sorted(folder.glob("*.safetensors")) or weight_files(folder):
        try:
            with path.open("rb") as file:
                if path.suffix == ".safetensors":
                    found += _of_weights(file)
                else:
                    size = path.stat().st_size
                    found.append((path.name, str(size), _sampled(file, 0, size, _OF_PICKLE)))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ModelError(f"expected weights, got {type(error).__name__}: {said(error)}", path=path) from error
    return f"sha256:{hashlib.sha256(json.dumps(sorted(found)).encode()).hexdigest()}"


def _of_weights(file: BinaryIO) -> list[tuple[str, str, str]]:
    """Return name, description and a hash of the pieces of each weight in a file of safetensors."""
    length = int.from_bytes(file.read(8), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"a header of {length} bytes")
    header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    found = []
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        pieces = _sampled(file, 8 + length + begin, end - begin, _PIECES)
        found.append((name, f"{entry['dtype']} {entry['shape']}", pieces))
    return found


def _sampled(file: BinaryIO, begin: int, size: int, count: int) -> str:
    """Return a hash of `count` pieces of a part of a file; of the whole part if it is shorter."""
    digest = hashlib.sha256()
    if size <= count * _PIECE:
        file.seek(begin)
        digest.update(file.read(size))
    else:
        for number in range(count):
            file.seek(begin + (size - _PIECE) * number // (count - 1))
            digest.update(file.read(_PIECE))
    return digest.hexdigest()
