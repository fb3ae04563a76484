"""The folder in which a split keeps what it needs to resume: its settings, and the images that are done."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from rbox_formats import files, images
from rbox_formats._records import ImageRecord
from rbox_formats.errors import DatasetError, differing, said

_NAME = ".split"
_Corner = tuple[float, float]

T = TypeVar("T")


class _Window(msgspec.Struct):
    """A window that was written, as an `ImageRecord` in JSON."""

    image_id: str
    file: str
    width: Annotated[int, msgspec.Meta(ge=1)]
    height: Annotated[int, msgspec.Meta(ge=1)]
    boxes: list[tuple[float, float, float, float, float]]
    quads: list[tuple[_Corner, _Corner, _Corner, _Corner]] | None
    labels: list[Annotated[int, msgspec.Meta(ge=0, lt=2**31)]]
    difficult: list[bool]
    scores: list[float] | None
    metadata: dict[str, Any]
    masks: list[Any] | None = None


class _Image(msgspec.Struct):
    """An image whose windows are all there."""

    fingerprint: str
    objects: int
    unseen: int
    windows: list[_Window]


class _End(msgspec.Struct):
    """A run that came to its end."""

    fingerprint: str
    done: tuple[int, int, int]


class Done(NamedTuple):
    """One image that is split.

    Attributes:
        windows: The number of windows that were stored.
        objects: The number of objects on the image.
        unseen: The number of objects that are in no window.
    """

    windows: int
    objects: int
    unseen: int


class Folder:
    """`<out>/.split/<split>`: `settings.json`, `done.json` once all is done, and before that `records/<image id>.json`.

    Attributes:
        images: The folder of the windows' images.
        temporary: The folder in which they are written first.

    Args:
        out: The folder of the dataset that is written.
        split: The part of the dataset that is written.
        images: The folder of that part's images.
        settings: The settings of the split.

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
            _require_same(_read(path, dict), settings, path, out)
        else:
            files.write_text(path, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
        self.images.mkdir(parents=True, exist_ok=True)

    def begin(self) -> None:
        """Prepare the folder for a run, and remove the half-written files of one that was killed."""
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(parents=True)
        self._records.mkdir(exist_ok=True)

    def done(self, image_id: str, fingerprint: str) -> Done | None:
        """Return the result of an image; None if there is none, or if the image changed, whose old windows go."""
        path = self._record(image_id)
        if not path.is_file():
            return None
        noted = _read(path, _Image)
        paths = [self.images / files.safe_name(window.file, self.images) for window in noted.windows]
        if noted.fingerprint == fingerprint and all(path.is_file() for path in paths):
            return Done(len(paths), noted.objects, noted.unseen)
        for path in paths:
            path.unlink(missing_ok=True)
        return None

    def write(self, image_id: str, fingerprint: str, windows: Sequence[ImageRecord], objects: int, unseen: int) -> None:
        """Note that an image is done, after its windows' images are there."""
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
        """Yield the windows of all images, one image's at a time."""
        for image_id in image_ids:
            for window in _read(self._record(image_id), _Image).windows:
                yield _to_record(window, self.images)

    def finished(self, fingerprint: str) -> Done | None:
        """Return the result of a run that was completed; None if none was.

        Raises:
            DatasetError: If it was a run on another dataset.
        """
        path = self._base / "done.json"
        if not path.is_file():
            return None
        noted = _read(path, _End)
        if noted.fingerprint != fingerprint:
            raise DatasetError(
                "expected the dataset as it was split, got other annotations or images",
                path=path,
                remedy=f"Choose another --out, or remove {self._out}.",
            )
        self._clear()
        return Done(*noted.done)

    def finish(self, fingerprint: str, done: Done) -> None:
        """Note that all is done, and remove what only a run needs."""
        files.write_text(self._base / "done.json", json.dumps({"fingerprint": fingerprint, "done": done}) + "\n")
        self._clear()

    def _clear(self) -> None:
        for path in (self._records, self.temporary):
            shutil.rmtree(path, ignore_errors=True)  # a run that was killed here has removed some of it

    def _record(self, image_id: str) -> Path:
        return self._records / files.safe_name(f"{image_id}.json", self._records)


def fingerprint(record: ImageRecord) -> str:
    """Return a hash of an image's objects, and its file's name and size."""
    values = _to_dict(record) | {"bytes": record.file.stat().st_size}
    if not images.is_default():
        values["shown"] = [os.environ.get(name) for name in (images.BANDS_VARIABLE, images.STRETCH_VARIABLE)]
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
        **({} if record.masks is None else {"masks": record.masks.to_coco(record.width, record.height)}),
    }


def _to_record(window: _Window, images: Path) -> ImageRecord:
    return ImageRecord(
        image_id=window.image_id,
        boxes=np.array(window.boxes, dtype=np.float64).reshape(-1, 5),
        quads=None if window.quads is None else np.array(window.quads, dtype=np.float64).reshape(-1, 4, 2),
        labels=np.array(window.labels, dtype=np.int64),
        difficult=np.array(window.difficult, dtype=bool),
        scores=None if window.scores is None else np.array(window.scores, dtype=np.float64),
        path=images / files.safe_name(window.file, images),
        width=window.width,
        height=window.height,
        metadata=window.metadata,
        masks=window.masks,
    )


def _read(path: Path, kind: type[T]) -> T:
    """Read what a run noted in a file.

    Raises:
        DatasetError: If the file holds something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DatasetError(
            f"expected what a split notes of itself, got {said(error)}",
            path=path,
            remedy="Choose another --out, or remove the folder that it writes to.",
        ) from error


def _require_same(old: Mapping[str, Any], new: Mapping[str, Any], path: Path, out: Path) -> None:
    # Through JSON, which makes lists of tuples.
    wanted = json.loads(json.dumps(new))
    different = [differing(key, old.get(key), wanted[key]) for key in wanted if old.get(key) != wanted[key]]
    if different:
        raise DatasetError(
            f"expected a split with the same settings, got one with {'; '.join(different)}",
            path=path,
            remedy=f"Choose another --out, or remove {out}.",
        )
