"""Feature maps of the teacher on disk, in half precision: computed once for each image."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rbox_formats import files
from torch import Tensor

_DIGEST = 32  # bytes of a SHA-256, which a file begins with


class Cache:
    """A folder of maps. A file that is damaged or cut is as good as none, and is written again.

    Args:
        folder: The folder.
        limit: How many bytes all its files may have together. Beyond it no more are written, and those that exist stay:
            each image comes once in a round, so that whatever made room would be missed in the next.
        key: Names the teacher, its layers and the images' size. A folder may hold the maps of several.
        writers: How many processes write; each has its share of what is left.
    """

    def __init__(self, folder: Path, limit: int, key: str, writers: int = 1) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._key = folder, key
        self._size = sum(path.stat().st_size for path in files.visible(folder))
        self._limit = self._size + (limit - self._size) // writers

    def read(self, image: bytes) -> list[Tensor] | None:
        """Return the maps (C, h, w) in float16 of an image, by its content; None where there are none."""
        path = self._path(image)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        digest, maps = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(maps).digest() != digest:
            return None
        with np.load(io.BytesIO(maps), allow_pickle=False) as found:
            return [torch.from_numpy(found[name]) for name in found.files]

    def write(self, image: bytes, maps: Sequence[Tensor]) -> None:
        """Write the maps of an image, where there is room; maps that float16 cannot hold are not written."""
        halves = [each.half().cpu().numpy() for each in maps]
        if not all(np.isfinite(each).all() for each in halves):
            return
        buffer = io.BytesIO()
        np.savez(buffer, *halves)
        content = buffer.getvalue()
        path = self._path(image)
        before = path.stat().st_size if path.exists() else 0
        if self._size - before + len(content) + _DIGEST > self._limit:
            return
        with files.replacing(path) as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
        self._size += len(content) + _DIGEST - before

    def _path(self, image: bytes) -> Path:
        return self._folder / f"{hashlib.sha256(self._key.encode() + image).hexdigest()[:40]}.maps"
