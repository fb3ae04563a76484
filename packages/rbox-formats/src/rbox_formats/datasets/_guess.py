"""Guess the format of a folder: the first format that reads its first objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rbox_formats import files
from rbox_formats._records import ImageRecord
from rbox_formats.datasets._format import Format
from rbox_formats.errors import RboxError

# How many images are read to find an object, and how many parts of a dataset are tried.
_IMAGES, _PARTS = 20, 8

# The beginning of a reader's message where a format fits, and its list of classes does not.
_NAMES = "--class-names"
_OPEN = ("dota", "yolo-obb")  # formats for any classes
_MAP = "geojson-map"  # a layer in pixels is no map, though the images have their place on one
_WELL_KNOWN = ("dota", "yolo-obb", "rolabelimg", "voc")  # others open folders of these


class Guess(NamedTuple):
    """A format that a folder looks like.

    >>> Guess("hrsc2016", split="val", needs_names=False).options
    '--format hrsc2016 --split val'

    Attributes:
        format: The name of the format.
        split: The part of the dataset that was read, or None.
        needs_names: Whether the class names must be given, since the format's own list does not fit.
    """

    format: str
    split: str | None
    needs_names: bool

    @property
    def options(self) -> str:
        """The options of a command that read this format."""
        split = "" if self.split is None else f" --split {self.split}"
        return f"--format {self.format}{split}{' --class-names ...' if self.needs_names else ''}"


def guess(root: Path, formats: Mapping[str, Format], split: str | None = None) -> Guess | None:
    """Try one format after the other, and return the first that fits, or None.

    Args:
        root: A dataset's folder or file.
        formats: The formats to try, in this order.
        split: The part that is tried first.
    """
    if not root.exists():
        return None
    asked = [] if split is None else [split]
    parts = list(dict.fromkeys([*asked, *_indexed(root), None, *islice(_parts(root), _PARTS)]))
    second: Guess | None = None
    for part in parts:
        for name, entry in formats.items():
            if entry.read is None:
                continue
            fits = _fits(entry, root, part, anywhere=name != _MAP)
            if fits:
                return Guess(name, part, False)
            if fits is None and second is None and name in _OPEN:
                second = Guess(name, part, True)
    return second


def nearest(root: Path, formats: Mapping[str, Format], split: str | None = None) -> tuple[Guess, RboxError] | None:
    """Return the format that a folder of no readable one comes nearest to, and what is wrong; None where none does.

    It is the first that fails on the annotations of the folder, or fails to open it though its own folders are there.

    Args:
        root: A dataset's folder or file.
        formats: The formats to try.
        split: The part that is tried first.
    """
    if not root.exists():
        return None
    order = {name: formats[name] for name in (*_WELL_KNOWN, *formats)}
    for part in dict.fromkeys([split, None, *islice(_parts(root), _PARTS)]):
        for name, entry in order.items():
            opened = False
            try:
                if entry.read is not None:
                    dataset = entry.read(root, part, entry.class_names)
                    opened = True
                    any(len(dataset.load(source)) for source in islice(dataset.sources, _IMAGES))
            except RboxError as error:
                if opened or _has_folders(name, root, part):
                    return Guess(name, part, False), error
            except (OSError, RecursionError):
                continue
    return None


def _has_folders(name: str, root: Path, split: str | None) -> bool:
    """Return whether the folders or files are there by which people know a format."""
    marks = {"dota": ("labelTxt", "annfiles"), "yolo-obb": ("data.yaml", "dataset.yaml", "classes.txt", "labels")}
    base = root / split if split and (root / split).is_dir() else root
    return any((base / mark).exists() for mark in marks.get(name, ()))


def _indexed(root: Path) -> list[str]:
    """Return the splits of YMIR's indexes, which no other format has, and which name files of several formats."""
    return [path.name.removesuffix("-index.tsv") for path in sorted(root.glob("*-index.tsv"))[:_PARTS]]


def _parts(root: Path) -> Iterator[str]:
    """Yield what may be names of splits: folders, and annotation files."""
    if not root.is_dir():
        return
    for folder in (root, root / "images", root / "ImageSets" / "Main", root / "ImageSets"):
        yield from (path.stem for path in files.visible(folder) if path.is_dir() or path.suffix == ".txt")
    for folder in (root, root / "annotations", root / "Annotations"):
        for path in files.visible(folder):
            if path.is_dir():
                yield path.name
            elif path.suffix == ".json":
                yield path.stem.removeprefix("instances_")


def _fits(entry: Format, root: Path, split: str | None, *, anywhere: bool) -> bool | None:
    """Return whether a format reads an object of a dataset; None where only the class names are missing.

    Args:
        entry: The format.
        root: The dataset's folder or file.
        split: The part that is read.
        anywhere: Whether the object may lie outside of its image.
    """
    assert entry.read is not None
    try:
        dataset = entry.read(root, split, entry.class_names)
        records = (dataset.load(source) for source in islice(dataset.sources, _IMAGES))
        return any(len(record) if anywhere else _on_image(record) for record in records)
    except RboxError as error:
        return None if _NAMES in str(error) else False
    except (OSError, RecursionError):
        return False


def _on_image(record: ImageRecord) -> bool:
    """Return whether the centre of an object lies on the image."""
    return any(0 <= x <= record.size[0] and 0 <= y <= record.size[1] for x, y in record.boxes[:, :2].tolist())
