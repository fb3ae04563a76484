"""The folder in which a split keeps what it needs to go on: its settings, and what is done, image by image."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rbox_formats import files
from rbox_formats._records import ImageRecord
from rbox_formats.errors import DatasetError, differing

_NAME = ".split"


class Done(NamedTuple):
    """One image that is split.

    Attributes:
        windows: How many were stored.
        objects: How many the image has.
        unseen: How many of them are in no window.
    """

    windows: int
    objects: int
    unseen: int


class Folder:
    """`<out>/.split/<split>`: `settings.json`, `done.json` once all is done, and before that `records/<image id>.json`.

    Attributes:
        images: Where the windows' images go.
        temporary: Where they are written first.

    Args:
        out: The folder of the dataset that is written.
        split: The part of it that is written.
        images: Where that has its images.
        settings: What the split is made with.

    Raises:
        DatasetError: If `out` holds something else, or a split with other settings.
    """

    def __init__(self, out: Path, split: str | None, images: Path, settings: Mapping[str, Any]) -> None:
        self.images = images
        self._out = out
        self._base = out / _NAME / (files.safe_name(split, out) if split else "_")
        self.temporary = self._base / "temporary"
        self._records = self._base / "records"
        if not (out / _NAME).is_dir() and files.visible(out):
            raise DatasetError(
                "expected an empty folder to write to, got one with files", path=out, remedy="Choose another --out."
            )
        path = self._base / "settings.json"
        if path.is_file():
            _require_same(json.loads(path.read_text(encoding="utf-8")), settings, path, out)
        else:
            files.write_text(path, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
        self.images.mkdir(parents=True, exist_ok=True)

    def begin(self) -> None:
        """Makes room for a run, and removes what one that was killed left half written."""
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(parents=True)
        self._records.mkdir(exist_ok=True)

    def done(self, image_id: str, fingerprint: str) -> Done | None:
        """What was done of an image; None if nothing, or if the image is another now: its old windows are removed."""
        try:
            values = json.loads(self._record(image_id).read_text(encoding="utf-8"))
            names = [window["file"] for window in values["windows"]]
        except FileNotFoundError:
            return None
        paths = [self.images / files.safe_name(name, self.images) for name in names]
        if values["fingerprint"] == fingerprint and all(path.is_file() for path in paths):
            return Done(len(names), values["objects"], values["unseen"])
        for path in paths:
            path.unlink(missing_ok=True)
        return None

    def write(self, image_id: str, fingerprint: str, windows: Sequence[ImageRecord], objects: int, unseen: int) -> None:
        """Notes that an image is done, after its windows' images are there."""
        values = {
            "fingerprint": fingerprint,
            "objects": objects,
            "unseen": unseen,
            "windows": [_to_dict(window) for window in windows],
        }
        text = json.dumps(values, ensure_ascii=False, allow_nan=False)
        temporary = self.temporary / self._record(image_id).name
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self._record(image_id))

    def read(self, image_ids: Sequence[str]) -> Iterator[ImageRecord]:
        """The windows of all images, one image's at a time."""
        for image_id in image_ids:
            values = json.loads(self._record(image_id).read_text(encoding="utf-8"))
            for window in values["windows"]:
                yield _from_dict(window, self.images)

    def finished(self, fingerprint: str) -> Done | None:
        """What a run that came to its end did; None if none did.

        Raises:
            DatasetError: If it was another dataset.
        """
        path = self._base / "done.json"
        if not path.is_file():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["fingerprint"] != fingerprint:
            raise DatasetError(
                "expected the dataset as it was split, got other annotations or images",
                path=path,
                remedy=f"Choose another --out, or remove {self._out}.",
            )
        self._clear()
        return Done(*values["done"])

    def finish(self, fingerprint: str, done: Done) -> None:
        """Notes that all is done, and removes what only a run needs."""
        files.write_text(self._base / "done.json", json.dumps({"fingerprint": fingerprint, "done": done}) + "\n")
        self._clear()

    def _clear(self) -> None:
        for path in (self._records, self.temporary):
            shutil.rmtree(path, ignore_errors=True)  # a run that was killed here has removed some of it

    def _record(self, image_id: str) -> Path:
        return self._records / files.safe_name(f"{image_id}.json", self._records)


def fingerprint(record: ImageRecord) -> str:
    """A hash of what an image's windows are made of: its objects, and its file's name and size."""
    values = _to_dict(record) | {"bytes": record.file.stat().st_size}
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def _to_dict(record: ImageRecord) -> dict[str, Any]:
    return {
        "image_id": record.image_id,
        "file": record.file.name,
        "width": record.width,
        "height": record.height,
        "boxes": record.boxes.tolist(),
        "quads": None if record.quads is None else record.quads.tolist(),
        "labels": record.labels.tolist(),
        "difficult": record.difficult.tolist(),
        "scores": None if record.scores is None else record.scores.tolist(),
        "metadata": dict(record.metadata),
    }


def _from_dict(values: Mapping[str, Any], images: Path) -> ImageRecord:
    def floats(key: str, *shape: int) -> Any:
        return None if values[key] is None else np.array(values[key], dtype=np.float64).reshape(-1, *shape)

    return ImageRecord(
        image_id=values["image_id"],
        boxes=floats("boxes", 5),
        quads=floats("quads", 4, 2),
        labels=np.array(values["labels"], dtype=np.int64),
        difficult=np.array(values["difficult"], dtype=bool),
        scores=floats("scores"),
        path=images / files.safe_name(values["file"], images),
        width=values["width"],
        height=values["height"],
        metadata=values["metadata"],
    )


def _require_same(old: Mapping[str, Any], new: Mapping[str, Any], path: Path, out: Path) -> None:
    # Through JSON, which does not tell tuples and lists apart.
    wanted = json.loads(json.dumps(new))
    different = [differing(key, old.get(key), wanted[key]) for key in wanted if old.get(key) != wanted[key]]
    if different:
        raise DatasetError(
            f"expected a split with the same settings, got one with {'; '.join(different)}",
            path=path,
            remedy=f"Choose another --out, or remove {out}.",
        )
