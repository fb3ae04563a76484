"""Read and write datasets of one XML file per image: the files of a split, and records from files and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rbox_formats import files
from rbox_formats._geometry import quad_to_rbox
from rbox_formats._records import ClassNames, Dataset, ImageRecord, Unmatched
from rbox_formats.datasets._folders import (
    annotation_files,
    annotation_folder,
    below,
    files_beside_images,
    id_in,
    image_file,
    image_index,
    images_beside,
    unmatched,
)
from rbox_formats.errors import DatasetError, quoted
from rbox_formats.parsing import xml_elements
from rbox_formats.parsing.lines import read_text, split_lines
from rbox_formats.parsing.xml_elements import Element
from rbox_formats.typing import BoxesN, FlagsN, LabelsN, QuadsN, ScoresN


class Annotation(NamedTuple):
    """The content of an annotation file: an `ImageRecord` before its image is found.

    >>> annotation = Annotation.from_lists([0], quads=[[0, 0, 4, 0, 4, 2, 0, 2]], metadata={})
    >>> annotation.boxes.tolist()
    [[2.0, 1.0, 4.0, 2.0, 0.0]]

    Attributes:
        file_name: The image's name in the file, to find an image that is not named like the annotation.
    """

    boxes: BoxesN
    labels: LabelsN
    difficult: FlagsN
    metadata: Mapping[str, Any]
    quads: QuadsN | None = None
    scores: ScoresN | None = None
    width: int | None = None
    height: int | None = None
    file_name: str | None = None
    passed_over: Mapping[str, int] | None = None

    @classmethod
    def from_lists(
        cls,
        labels: Sequence[int],
        *,
        boxes: Sequence[Sequence[float]] | None = None,
        quads: Sequence[Sequence[float]] | None = None,
        difficult: Sequence[bool] | None = None,
        scores: Sequence[float] | None = None,
        **fields: Any,
    ) -> Annotation:
        """Make an annotation from one entry per object; without boxes, these are the quads' minimum-area rectangles."""
        corners = None if quads is None else np.array(quads, dtype=np.float64).reshape(-1, 4, 2)
        if boxes is not None:
            rectangles = np.array(boxes, dtype=np.float64).reshape(-1, 5)
        else:
            rectangles = quad_to_rbox(np.zeros((0, 4, 2)) if corners is None else corners)
        return cls(
            boxes=rectangles,
            labels=np.array(labels, dtype=np.int64),
            quads=corners,
            difficult=np.array([False] * len(labels) if difficult is None else difficult, dtype=bool),
            scores=None if scores is None else np.array(scores, dtype=np.float64),
            **fields,
        )


# From a file's root element to its content.
Parse: TypeAlias = Callable[[Element, ClassNames], Annotation]


class Layout(NamedTuple):
    """Where a dataset keeps its files, relative to its folder.

    Attributes:
        annotations: Folders of annotation files; the first one that exists is read, the first of all is written.
        lists: Folders of split lists, text files `<split>.txt` with one image name per line; chosen in the same way.
    """

    annotations: tuple[str, ...]
    lists: tuple[str, ...]


class Found(NamedTuple):
    """A split's folder, its annotation files, whether these are all or those in a list, and their folder.

    Without a folder, image ids are the files' names; with one, they are the files' paths in it.
    """

    base: Path
    files: list[Path]
    listed: bool = False
    folder: Path | None = None

    def image_id(self, path: Path) -> str:
        """Return the image id of an annotation file."""
        return path.stem if self.folder is None else id_in(path, self.folder)


def find(root: Path, split: str | None, layout: Layout) -> Found:
    """Find the annotation files of a split: in its list, or in a folder of its name; without a split, all of them.

    Raises:
        DatasetError: If there are no such files, or a list names a file that does not exist.
    """
    if split is None:
        return _all_files(root, layout)
    name = files.safe_name(split, root)
    for path in (root / folder / f"{name}.txt" for folder in layout.lists):
        if path.is_file():
            folder = annotation_folder(root, layout.annotations)
            return Found(root, _listed(path, folder), listed=True, folder=folder)
    if (root / name).is_dir():
        return _all_files(root / name, layout)
    lists = sorted(path.stem for folder in layout.lists for path in (root / folder).glob("*.txt"))
    raise DatasetError(
        f"expected a list {layout.lists[0]}/{name}.txt or a folder {name}, found neither",
        path=root,
        remedy=f"It has the lists {', '.join(lists)}."
        if lists
        else "Give the dataset's folder, or no split (--split).",
    )


def _all_files(base: Path, layout: Layout) -> Found:
    if not base.is_dir():
        raise DatasetError(
            "expected a dataset folder, found none",
            path=base,
            remedy=f"Give the folder that has {' or '.join(map(repr, layout.annotations))} in it.",
        )
    folder = annotation_folder(base, layout.annotations)
    if folder == base:
        return Found(base, files_beside_images(base, ".xml"), folder=base)
    return Found(base, annotation_files(folder, ".xml", nested=True), folder=folder)


def _listed(path: Path, folder: Path) -> list[Path]:
    """Return the annotation files that a split's list names, in its order."""
    there = {path.relative_to(folder).as_posix() for path in below(folder, nested=True)}
    found: dict[Path, int] = {}
    for number, line in enumerate(split_lines(read_text(path)), start=1):
        if not (name := line.strip()):
            continue
        try:
            file = folder / files.safe_path(f"{name}.xml", folder)
        except DatasetError as error:
            raise DatasetError(str(error), path=path, line=number) from error
        if f"{name}.xml" not in there:
            raise DatasetError(f"expected an annotation file {file}, found none", path=path, line=number)
        if file in found:
            raise DatasetError(
                f"expected each image once, got {quoted(name)} as in line {found[file]}", path=path, line=number
            )
        found[file] = number
    if not found:
        raise DatasetError("expected names of images, one a line, found none", path=path)
    return list(found)


def dataset(found: Found, image_files: dict[str, Path], class_names: ClassNames, parse: Parse) -> Dataset:
    """Make a dataset of annotation files, each read when it is asked for."""
    read_one = partial(load, image_files=image_files, class_names=class_names, parse=parse, image_id=found.image_id)
    return Dataset(class_names, found.files, read_one, _unmatched(found, image_files))


def _unmatched(found: Found, image_files: dict[str, Path]) -> Unmatched:
    """Return images and annotations without a partner, by the annotations' names or by the image that they name.

    Images beside the annotations of a list are not reported, since they may belong to other lists.
    """
    apart = unmatched(found.files, image_files, ids={path: found.image_id(path) for path in found.files})
    if not (apart.images and apart.labels):
        return replace(apart, images=() if found.listed else apart.images)
    claimed: set[str] = set()
    alone = []
    for path in apart.labels:
        try:
            said = xml_elements.read(path, lambda root: {xml_elements.text_of(element) for element in root.iter()})
        except DatasetError:  # reported when it is read
            said = set()
        named = {name for text in said for name in (text, Path(text).stem) if name in image_files}
        claimed |= named
        alone += [] if named else [path]
    others = tuple(path for path in apart.images if path.stem not in claimed)
    return replace(apart, images=() if found.listed else others, labels=tuple(alone))


def load(
    path: Path,
    image_files: dict[str, Path],
    class_names: ClassNames,
    parse: Parse,
    image_id: Callable[[Path], str] = lambda path: path.stem,
) -> ImageRecord:
    """Read the record of one annotation file.

    Its image is the one of the same name, or else the one that it names. The image's size is that of the image file, or
    without a file the size in the annotation.
    """
    annotation = xml_elements.read(path, lambda root: parse(root, class_names))
    called = image_id(path)
    names = (called, Path(annotation.file_name or "").stem, annotation.file_name or "", path.stem)
    image = image_file(image_files, next((name for name in names if name in image_files), called))
    return ImageRecord(
        image_id=called,
        boxes=annotation.boxes,
        labels=annotation.labels,
        quads=annotation.quads,
        difficult=annotation.difficult,
        scores=annotation.scores,
        path=image.path,
        width=image.width if image.path else annotation.width,
        height=image.height if image.path else annotation.height,
        metadata=annotation.metadata,
        stated_size=(annotation.width, annotation.height) if annotation.width and annotation.height else None,
        passed_over=annotation.passed_over,
    )


def write(
    records: Iterable[ImageRecord],
    root: Path,
    split: str | None,
    layout: Layout,
    write_record: Callable[[Path, ImageRecord], None],
    *,
    nested: bool = True,
) -> Path:
    """Write an annotation file per record, and the split's list once all are there.

    Args:
        records: The records.
        root: The dataset's folder.
        split: The split.
        layout: Where its files are.
        write_record: The function that writes one record into a file.
        nested: Whether images may be in subfolders, which `read` then finds.

    Returns:
        The folder of the annotation files.
    """
    folder = root / layout.annotations[0]
    folder.mkdir(parents=True, exist_ok=True)
    safe = files.safe_path if nested else files.safe_name
    with _list_writer(
        None if split is None else root / layout.lists[0] / files.safe_name(f"{split}.txt", root)
    ) as note:
        for record in records:
            name = safe(f"{record.image_id}.xml", folder)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_record(folder / name, record)
            note(record.image_id)
    return folder


@contextmanager
def _list_writer(path: Path | None) -> Iterator[Callable[[str], None]]:
    if path is None:
        yield lambda image_id: None
        return
    with files.replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:

        def note(image_id: str) -> None:
            if image_id.strip() != image_id or len(image_id.splitlines()) != 1:
                raise DatasetError(
                    f"expected an image name that fits a line of a list, got {quoted(image_id)}", path=path
                )
            stream.write(f"{image_id}\n")

        yield note


def image_name(record: ImageRecord, suffix: str) -> str:
    """Return the name of a record's image in its annotation: its file's, or its id with the dataset's suffix."""
    return f"{record.image_id}{suffix}" if record.path is None else record.path.name


def texts(metadata: Mapping[str, Any], keys: Iterable[str]) -> dict[str, str]:
    """Return some of a record's metadata as texts, without what is missing or neither text nor number."""
    return {key: str(metadata[key]) for key in keys if isinstance(metadata.get(key), str | int | float)}


def size_texts(record: ImageRecord, width: str, height: str) -> dict[str, str]:
    """Return the image's sides as texts under two keys, where they are known."""
    sides = {width: record.width, height: record.height}
    return {key: str(side) for key, side in sides.items() if side is not None}


def first_images(found: Found, folders: Iterable[str]) -> dict[str, Path]:
    """Return the images of the first folder that has any, by their names; empty where no folder has."""
    indexes = (
        images_beside(found.files, found.base) if folder == "." else image_index([found.base / folder], nested=True)
        for folder in folders
    )
    return next((index for index in indexes if index), {})
